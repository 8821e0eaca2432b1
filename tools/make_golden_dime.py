#!/usr/bin/env python3
"""Golden figures for DIME: an independent PyTorch computation in float64.

    python3 tools/make_golden_dime.py > tests/golden/dime.h    (needs torch; notes go to stderr)
    python3 tools/make_golden_dime.py --float32                (no header: how far float32 is off)

Written from the equations (DIME: Celik et al. 2025; CrossQ: Bhatt et al. 2024; C51: Bellemare et
al. 2017; Batch Renormalization: Ioffe 2017), not from any other implementation. Gradients come
from autograd. The comment at the head of the output says how the inputs are made.
"""
import math
import sys

import torch

import golden
from golden import (INPUTS, Adam, array, difference, far, near, norm, normal, normals, note,
                    tensor, tensors, uniform, uniforms)

golden.PREFIX = "golden_dime"

S, D, B, N, W, F = 5, 3, 8, 4, 16, 8
LAYERS, H, ATOMS, VMIN, VMAX = 3, 24, 11, -5.0, 5.0
SIGMA0, GAMMA, BONUS = 2.5, 0.99, 0.005
BRN_EPS, BRN_MOMENTUM, BRN_WARMUP, RMAX, DMAX = 1e-3, 0.9, 2, 3.0, 5.0
LR, BETA1, BETA2, ADAM_EPS, LR_ALPHA, BETA1_ALPHA = 3e-3, 0.5, 0.999, 1e-8, 1e-3, 0.9
UPDATES, DELAY, CLIP, CLIP_ALPHA = 5, 2, 1.0, 32.0
RHO0 = math.log(math.expm1(0.1))
PHI0 = math.log(math.expm1(1.0))

DEAD = []  # the norm layers whose training forward met a feature that is the same in all rows


# ---- inputs ------------------------------------------------------------------------------------

def init(ident, kind, shape):
    if kind == "weight":
        return tensor([uniform(ident, i) / math.sqrt(shape[0]) for i in range(math.prod(shape))],
                      shape)
    offset, scale = {"bias": (0.0, 0.1), "scale": (1.0, 0.2), "psi": (0.0, 0.3),
                     "rho": (RHO0, 0.0), "phi": (PHI0, 0.1)}[kind]
    return uniforms(ident, shape, scale, offset)


ACTOR = [("psi", "psi", (1, F)),
         ("t0.w", "weight", (2 * F, W)), ("t0.b", "bias", (1, W)),
         ("t1.w", "weight", (W, W)), ("t1.b", "bias", (1, W)),
         ("l0.w", "weight", (D + S + W, W)), ("l0.b", "bias", (1, W)),
         ("l1.w", "weight", (W, W)), ("l1.b", "bias", (1, W)),
         ("l2.w", "weight", (W, W)), ("l2.b", "bias", (1, W)),
         ("out.w", "weight", (W, D)), ("out.b", "bias", (1, D)),
         ("rho", "rho", (1, 1)), ("phi", "phi", (1, D))]
CRITIC = [("bn0.scale", "scale", (1, S + D)), ("bn0.bias", "bias", (1, S + D)),
          ("l0.w", "weight", (S + D, H)), ("l0.b", "bias", (1, H)),
          ("bn1.scale", "scale", (1, H)), ("bn1.bias", "bias", (1, H)),
          ("l1.w", "weight", (H, H)), ("l1.b", "bias", (1, H)),
          ("bn2.scale", "scale", (1, H)), ("bn2.bias", "bias", (1, H)),
          ("out.w", "weight", (H, ATOMS)), ("out.b", "bias", (1, ATOMS))]
RUNNING = (S + D, H, H)


def make_params(table, first):
    return [init(first + i, kind, shape).requires_grad_(True)
            for i, (_, kind, shape) in enumerate(table)]


def make_batch(u):
    return {"s": uniforms(100 + 10 * u, (B, S), 1.5), "a": uniforms(101 + 10 * u, (B, D)),
            "r": uniforms(102 + 10 * u, (B, 1), 2.0), "s2": uniforms(103 + 10 * u, (B, S), 1.5),
            "d": (uniforms(104 + 10 * u, (B, 1)) > 0.5).to(golden.DT)}


def make_noise(u, purpose):
    """purpose 0: next action, 1: actor."""
    return (normals(200 + 10 * u + 2 * purpose, (B, D)),
            normals(201 + 10 * u + 2 * purpose, (N, B, D)))


# ---- actor ---------------------------------------------------------------------------------------

def cosine_schedule(steps):
    m, s = 0.001, 0.008
    t = [(steps - k) / steps for k in range(steps)]
    return [(1 - m) * math.cos(0.5 * math.pi * (1 + s - tk) / (1 + s)) ** 2 + m for tk in t]


def frequencies():
    return tensor([0.1 + i * (99.9 / (F - 1)) for i in range(F)], (1, F))


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))


def control(p, x, s, k):
    phase = frequencies() * k + p[0]
    h = gelu(torch.cat([torch.sin(phase), torch.cos(phase)], 1) @ p[1] + p[2]) @ p[3] + p[4]
    h = torch.cat([x, s, h.expand(x.shape[0], -1)], 1)
    for i in range(LAYERS):
        h = gelu(h @ p[5 + 2 * i] + p[6 + 2 * i])
    return torch.clamp(h @ p[11] + p[12], -1e4, 1e4)


def sample_path(p, s, noise, steps=N):
    """Returns a, L, R, T0, log-ratio and the states x_0..x_N; L, R, T0 have shape [B, 1]."""
    x, xi = SIGMA0 * noise[0], noise[1]
    prior = (-0.5 * (x / SIGMA0) ** 2 - math.log(SIGMA0)
             - 0.5 * math.log(2 * math.pi)).sum(1, keepdim=True)
    base = softplus(p[13]) / softplus(p[14])  # [1, D]
    ratio, states = torch.zeros_like(prior), [x]
    for k, c in enumerate(cosine_schedule(steps)):
        eta = base * c
        y = x + eta * (-x / SIGMA0 ** 2 + control(p, x, s, float(k))) + torch.sqrt(2 * eta) * xi[k]
        back = x - (1 - eta / SIGMA0 ** 2) * y
        ratio = ratio + (back ** 2 / (4 * eta) - 0.5 * xi[k] ** 2).sum(1, keepdim=True)
        x = y
        states.append(x)
    squash = -(2 * (math.log(2) - x - softplus(-2 * x))).sum(1, keepdim=True)
    run = ratio + squash
    return torch.tanh(x), run + prior, run, prior, ratio, states


# ---- critic --------------------------------------------------------------------------------------

class Root(torch.autograd.Function):
    """sqrt with derivative 0 at 0: a dead feature passes no gradient through its spread."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return torch.sqrt(v)

    @staticmethod
    def backward(ctx, g):
        v, = ctx.saved_tensors
        return torch.where(v > 0, g / (2 * torch.sqrt(torch.where(v > 0, v, torch.ones_like(v)))),
                           torch.zeros_like(v))


def renorm_train(x, scale, bias, mean, var, renorm, momentum=BRN_MOMENTUM, textbook=False):
    """Returns y, new running mean, new running variance, r, delta."""
    m = x.mean(0, keepdim=True)
    v = ((x - m) ** 2).mean(0, keepdim=True)
    new_mean = (momentum * mean + (1 - momentum) * m).detach()
    new_var = (momentum * var + (1 - momentum) * v).detach()
    r, delta = torch.ones_like(m), torch.zeros_like(m)
    if renorm:
        std = torch.sqrt(var + BRN_EPS)
        r = torch.clamp(torch.sqrt(v + BRN_EPS) / std, 1 / RMAX, RMAX).detach()
        delta = torch.clamp((m - mean) / std, -DMAX, DMAX).detach()
    if textbook:
        return r * (x - m) / torch.sqrt(v + BRN_EPS) + delta, new_mean, new_var, r, delta
    y = scale * (x - m + delta * Root.apply(v) / r) / torch.sqrt(v / r ** 2 + BRN_EPS) + bias
    return y, new_mean, new_var, r, delta


def renorm_eval(x, scale, bias, mean, var):
    return scale * (x - mean) / torch.sqrt(var + BRN_EPS) + bias


def critic_forward(p, running, x, train, renorm=False):
    """running: [mean0, var0, mean1, var1, mean2, var2], replaced in place when train. Logits."""
    def norm(x, i, scale, bias):
        if not train:
            return renorm_eval(x, scale, bias, running[2 * i], running[2 * i + 1])
        if i > 0 and bool((x == x[:1]).all(0).any()):
            DEAD.append(i)
        y, running[2 * i], running[2 * i + 1], _, _ = renorm_train(
            x, scale, bias, running[2 * i], running[2 * i + 1], renorm)
        return y
    h = norm(x, 0, p[0], p[1])
    h = norm(torch.relu(h @ p[2] + p[3]), 1, p[4], p[5])
    h = norm(torch.relu(h @ p[6] + p[7]), 2, p[8], p[9])
    return h @ p[10] + p[11]


def atoms(count=ATOMS, low=VMIN, high=VMAX):
    return tensor([low + i * ((high - low) / (count - 1)) for i in range(count)], (1, count))


def project(p, shift, scale, count=ATOMS, low=VMIN, high=VMAX):
    """C51 by its hat functions: mass of atom m = sum_j p_j max(0, 1 - |y_j - z_m| / gap)."""
    z = atoms(count, low, high)
    y = torch.clamp(shift + scale * z, low, high)
    gap = (high - low) / (count - 1)
    hat = torch.clamp(1 - (y[:, :, None] - z[:, None, :]).abs() / gap, min=0.0)
    return (p[:, :, None] * hat).sum(1)


# ---- updates -------------------------------------------------------------------------------------

class Agent:
    def __init__(self):
        self.actor = make_params(ACTOR, 1)
        self.critics = [make_params(CRITIC, 20), make_params(CRITIC, 40)]
        self.running = [[f(1, n).to(golden.DT) for n in RUNNING for f in (torch.zeros, torch.ones)]
                        for _ in range(2)]
        self.kappa = torch.zeros(1, 1, dtype=golden.DT)
        self.adam_actor = Adam(self.actor, LR, BETA1)
        self.adam_critic = [Adam(p, LR, BETA1) for p in self.critics]
        self.adam_alpha = Adam([self.kappa], LR_ALPHA, BETA1_ALPHA)

    def alpha(self):
        return torch.exp(self.kappa)

    def critic_loss(self, u, batch, noise, running):
        with torch.no_grad():
            a2, ell, _, _, _, _ = sample_path(self.actor, batch["s2"], noise)
            keep = GAMMA * (1 - batch["d"])
            shift = batch["r"] - keep * self.alpha() * ell
        rows = torch.cat([torch.cat([batch["s"], batch["a"]], 1),
                          torch.cat([batch["s2"], a2], 1)], 0)
        probs = [torch.softmax(critic_forward(p, w, rows, True, u >= BRN_WARMUP), 1)
                 for p, w in zip(self.critics, running)]
        target = sum(project(p[B:].detach(), shift, keep) for p in probs) / 2
        loss = torch.zeros(1, 1, dtype=golden.DT)
        for p in probs:
            log_p = torch.log(p[:B] + 1e-15)
            loss = loss - (target * log_p).sum(1).mean() + BONUS * (p[:B] * log_p).sum(1).mean()
        y = shift + keep * atoms()
        info = {"next_ell": ell.mean(), "target": target, "rows": rows, "shift": shift,
                "cut": float(((y < VMIN) | (y > VMAX)).to(golden.DT).mean())}
        return loss, info

    def actor_loss(self, batch, noise):
        a, ell, run, _, _, _ = sample_path(self.actor, batch["s"], noise)
        x = torch.cat([batch["s"], a], 1)
        q = sum((torch.softmax(critic_forward(p, w, x, False), 1) * atoms()).sum(1, keepdim=True)
                for p, w in zip(self.critics, self.running)) / 2
        return (self.alpha() * ell - q).mean(), ell.mean(), run.mean(), q.mean()

    def update(self, u, clip=CLIP):
        out = {}
        batch = make_batch(u)
        loss, info = self.critic_loss(u, batch, make_noise(u, 0), self.running)
        flat = self.critics[0] + self.critics[1]
        grads = torch.autograd.grad(loss, flat)
        n = len(CRITIC)
        out["critic_grads"] = [grads[:n], grads[n:]]
        for adam, g in zip(self.adam_critic, out["critic_grads"]):
            adam.step(g)
        out.update(critic_loss=float(loss), next_ell=float(info["next_ell"]), cut=info["cut"],
                   target=info["target"], rows=info["rows"], done=float(batch["d"].sum()))
        if (u + 1) % DELAY == 0:
            loss, ell, run, q = self.actor_loss(batch, make_noise(u, 1))
            grads = torch.autograd.grad(loss, self.actor)
            out["actor_grads"] = grads
            out["clipped"] = sum(int((g.abs() > clip).sum()) for g in grads)
            grads = [torch.where(torch.isnan(g), torch.zeros_like(g), g) for g in grads]
            self.adam_actor.step([torch.clamp(g, -clip, clip) for g in grads])
            self.adam_alpha.step([-self.alpha() * (run.detach() - 4 * D)])
            out.update(actor_loss=float(loss), mean_ell=float(ell), mean_run=float(run),
                       mean_q=float(q))
        out["alpha"] = float(self.alpha())
        return out

    def tensors(self):
        """In the order of the header: actor, critic 0, critic 1, running 0, running 1."""
        return [t.detach().clone() for t in self.actor + self.critics[0] + self.critics[1]
                + self.running[0] + self.running[1]]


def tensor_table():
    rows = [("actor." + n, s) for n, _, s in ACTOR]
    rows += [("critic%d.%s" % (j, n), s) for j in range(2) for n, _, s in CRITIC]
    rows += [("critic%d.bn%d.%s" % (j, i, n), (1, w)) for j in range(2)
             for i, w in enumerate(RUNNING) for n in ("mean", "var")]
    return rows


def run_updates():
    agent, outs, states = Agent(), [], []
    for u in range(UPDATES):
        DEAD.clear()
        outs.append(agent.update(u))
        outs[-1]["dead"] = ", ".join("bn%d" % i for i in DEAD) or "none"
        states.append(agent.tensors())
    return outs, states


# ---- small pieces --------------------------------------------------------------------------------

def piece_projection():
    """Rows: inside, cut above, cut below, terminated, y on atoms exactly."""
    p = torch.softmax(uniforms(300, (5, ATOMS), 2.0), 1).to(torch.float32).to(golden.DT)
    shift = tensor([0.3, 3.6, -2.7, 0.75, 1.0], (5, 1))
    scale = tensor([0.99, 0.99, 0.99, 0.0, 1.0], (5, 1))
    return p, shift, scale, project(p, shift, scale)


RENORM_SHAPE = (6, 5)


def piece_renorm_inputs():
    """Feature 0 within all bounds, 1 r too large, 2 r too small, 3 delta too large, 4 dead."""
    x = uniforms(310, RENORM_SHAPE, 2.0)
    x[:, 4] = 0.0
    mean = tensor([0.8, -0.3, 0.1, -4.0, 0.5], (1, 5))
    var = tensor([0.4, 0.05, 30.0, 0.5, 0.25], (1, 5))
    return (x, uniforms(311, (1, 5), 0.2, 1.0), uniforms(312, (1, 5), 0.1), mean, var,
            uniforms(313, RENORM_SHAPE))


def piece_renorm(mode):
    """mode 0 plain, 1 renorm, 2 eval: y, dx, dscale, dbias, new mean, new var, r, delta"""
    x, scale, bias, mean, var, dy = piece_renorm_inputs()
    x, scale, bias = (t.clone().requires_grad_(True) for t in (x, scale, bias))
    r, delta, new_mean, new_var = torch.ones(1, 5), torch.zeros(1, 5), mean, var
    if mode == 2:
        y = renorm_eval(x, scale, bias, mean, var)
    else:
        y, new_mean, new_var, r, delta = renorm_train(x, scale, bias, mean, var, mode == 1)
    return (y,) + torch.autograd.grad(y, (x, scale, bias), dy) + (new_mean, new_var, r, delta)


def piece_path():
    """Initial actor, states of batch 0, actor noise of update 0; gradient of mean L."""
    p = make_params(ACTOR, 1)
    a, ell, run, prior, ratio, states = sample_path(p, make_batch(0)["s"], make_noise(0, 1))
    g_ell = torch.autograd.grad(ell.mean(), (p[13], p[14]))
    u = [control(p, states[k], make_batch(0)["s"], float(k)) for k in range(N)]
    return a, ell, run, prior, ratio, states[-1], torch.cat(g_ell, 1), torch.stack(u)


def piece_loss_gradient():
    """Initial actor and critics (eval mode), alpha = 1: gradient of the actor loss."""
    agent = Agent()
    loss = agent.actor_loss(make_batch(0), make_noise(0, 1))[0]
    return torch.autograd.grad(loss, agent.actor[13:15])


def piece_clip(clip=CLIP):
    """Four updates from alpha = 32 and a shifted actor: elements of its gradient are clipped, and
    mean R > 4 D > mean L, so that alpha must rise.

    Adam's first step hardly depends on the gradient's size: only the second actor step shows it."""
    agent = Agent()
    agent.kappa.fill_(math.log(CLIP_ALPHA))
    with torch.no_grad():
        agent.actor[12].copy_(uniforms(13, (1, D), 0.1, 5.5))
    outs = [agent.update(u, clip) for u in range(4)]
    return outs, [t.detach().clone() for t in agent.actor]


# ---- self-tests ----------------------------------------------------------------------------------

def self_tests():
    # schedule
    c = cosine_schedule(16)
    near(c, [0.99985, 0.98799, 0.95770, 0.91011, 0.84703, 0.77085, 0.68444, 0.59107, 0.49427,
             0.39771, 0.30504, 0.21977, 0.14511, 0.08389, 0.03843, 0.01045], 6e-6)
    for steps, total in ((2, 0.1494), (4, 0.2486), (8, 0.4472), (16, 0.84437), (32, 1.6388)):
        near(0.1 * sum(cosine_schedule(steps)), total, 6e-5)
    # u = 0: L without squash = log N(x_N; 0, s0^2) + sum eta (x_{k+1}^2 - x_k^2) / (4 s0^4)
    p = [t.detach().clone() for t in make_params(ACTOR, 1)]
    p[11].zero_(), p[12].zero_()
    for steps in (4, 16):
        noise = (normals(900, (B, D)), normals(901, (steps, B, D)))
        _, _, _, prior, ratio, xs = sample_path(p, make_batch(0)["s"], noise, steps)
        want = (-0.5 * (xs[-1] / SIGMA0) ** 2 - math.log(SIGMA0) - 0.5 * math.log(2 * math.pi))
        for k, ck in enumerate(cosine_schedule(steps)):
            eta = ck * softplus(p[13]) / softplus(p[14])
            want = want + eta * (xs[k + 1] ** 2 - xs[k] ** 2) / (4 * SIGMA0 ** 4)
        near(prior + ratio, want.sum(1), 1e-12)
    # the log-ratio and the squash as plain log-densities (torch.distributions)
    p = [t.detach() for t in make_params(ACTOR, 1)]
    s, noise = make_batch(0)["s"], make_noise(0, 1)
    a, ell, run, prior, _, xs = sample_path(p, s, noise)
    gauss = torch.distributions.Normal
    want = gauss(0 * xs[0], SIGMA0 + 0 * xs[0]).log_prob(xs[0]).sum(1)
    want = want - torch.log(1 - a ** 2).sum(1)
    for k, ck in enumerate(cosine_schedule(N)):
        eta = ck * softplus(p[13]) / softplus(p[14])
        mu = xs[k] + eta * (control(p, xs[k], s, float(k)) - xs[k] / SIGMA0 ** 2)
        want = want + gauss(mu, torch.sqrt(2 * eta)).log_prob(xs[k + 1]).sum(1)
        back = gauss((1 - eta / SIGMA0 ** 2) * xs[k + 1], torch.sqrt(2 * eta))
        want = want - back.log_prob(xs[k]).sum(1)
    near(ell, want, 1e-10)
    near(run, want[:, None] - prior, 1e-10)
    # C51
    z, q = (5, -2.0, 2.0), torch.tensor([[.1, .2, .4, .2, .1]], dtype=golden.DT)
    for shift, scale, want in ((.2, .9, (.06, .18, .38, .26, .12)),
                               (1.5, .9, (0, .03, .15, .32, .5)), (.3, 0, (0, 0, .7, .3, 0))):
        shift, scale = (torch.full((1, 1), f, dtype=golden.DT) for f in (shift, scale))
        near(project(q, shift, scale, *z), want, 1e-12)
    # batch renorm
    x = torch.tensor([[1.], [2.], [3.], [4.]], dtype=golden.DT)
    one, zero = torch.ones(1, 1, dtype=golden.DT), torch.zeros(1, 1, dtype=golden.DT)
    y, m, v, r, delta = renorm_train(x, one, zero, one, .25 * one, True, 0.99)
    near(torch.cat([y.flatten(), m[0], v[0], r[0], delta[0]]),
         [-.001195, 1.991646, 3.984487, 5.977329, 1.015, .26, 2.232502, 2.994018], 6e-7)
    y = renorm_train(x, one, zero, one, .25 * one, True, 0.99, textbook=True)[0]
    near(y, [0, 1.996012, 3.992024, 5.988036], 6e-7)
    near(renorm_train(x, one, zero, one, .25 * one, False)[0], (x - 2.5) / math.sqrt(1.251), 1e-12)
    r, delta = piece_renorm(1)[6:]
    near(r[0, [1, 2, 4]], [3, 1 / 3, 1 / 3], 1e-12)
    near(delta[0, 3], 5, 1e-12)
    assert 0.4 < r[0, 0] < 2.5 and 0.4 < r[0, 3] < 2.5 and float(delta[0, :3].abs().max()) < 4
    near(torch.cat(piece_renorm(1)[:1])[:, 4], piece_renorm_inputs()[2][0, 4].expand(6), 1e-15)
    # the hand-written pieces against torch's own
    t = torch.linspace(-6, 6, 101, dtype=golden.DT)
    near(gelu(t), torch.nn.functional.gelu(t, approximate="tanh"), 1e-14)
    near(softplus(t), torch.nn.functional.softplus(t, threshold=100), 1e-14)
    w = [torch.ones(3, dtype=golden.DT, requires_grad=True) for _ in range(2)]
    ours, theirs = Adam(w[:1], LR, BETA1), torch.optim.Adam(w[1:], LR, (BETA1, BETA2), ADAM_EPS)
    for u in range(5):
        g = uniforms(902, (3,), u + .5)
        w[1].grad = g.clone()
        ours.step([g])
        theirs.step()
    near(w[0].detach(), w[1].detach(), 1e-14)


def difference_tests():
    """Directional derivatives by central differences against autograd, initial parameters."""
    agent = Agent()

    batch = make_batch(0)

    def critic_loss():
        # detached next-action half: hold the target of the unmoved critics
        loss, info = agent.critic_loss(0, batch, make_noise(0, 0), [list(w) for w in agent.running])
        probs = [torch.softmax(critic_forward(p, list(w), info["rows"], True), 1)[:B]
                 for p, w in zip(agent.critics, agent.running)]
        return sum(-(held * torch.log(p + 1e-15)).sum(1).mean()
                   + BONUS * (p * torch.log(p + 1e-15)).sum(1).mean() for p in probs)
    first, info = agent.critic_loss(0, batch, make_noise(0, 0), [list(w) for w in agent.running])
    held = info["target"]
    flat = agent.critics[0] + agent.critics[1]
    for g, k in zip(torch.autograd.grad(first, flat), torch.autograd.grad(critic_loss(), flat)):
        near(g, k, 1e-15)
    difference("the critic loss", flat, critic_loss, 910)
    loss_of = lambda: agent.actor_loss(batch, make_noise(0, 1))[0]
    difference("the actor loss", agent.actor, loss_of, 940)
    difference("the actor loss in rho", agent.actor[13:14], loss_of, 960)
    difference("the actor loss in phi", agent.actor[14:15], loss_of, 961)


# ---- output --------------------------------------------------------------------------------------

HEAD = r"""/* DIME: figures of %(updates)d consecutive updates. Made by tools/make_golden_dime.py.

     python3 tools/make_golden_dime.py > tests/golden/dime.h

   An independent computation from the papers' equations in PyTorch %(torch)s, float64, gradients
   by autograd; neither diffrl.h nor another implementation was used. 12 significant digits, in the
   arrays *_grad of whole nets 9.

   SIZES  observation S=5, action D=3, batch B=8, denoising steps N=4, actor width 16, trunk of 3
   hidden layers, F=8 frequencies; critic width 24, 11 atoms on [-5, 5], 2 critics.

%(inputs)s
   Parameters: id = 1 + position in the actor, 20 + position in critic 0, 40 + position in critic 1
   (order of golden_dime_tensors); running mean and variance start at 0 and 1:
     weight [in, out]  u / sqrt(in)        bias  0.1 u        scale  1 + 0.2 u        psi  0.3 u
     rho  log(expm1(0.1)), without u       phi   log(expm1(1)) + 0.1 u
     frequencies omega_i = 0.1 + i (99.9 / 7), also rounded to float
   Batch of update t = 0..4, ids 100 + 10 t + (0: s = 1.5 u; 1: a = u; 2: r = 2 u; 3: s' = 1.5 u;
     4: terminated = u > 0.5).
   Noise of update t, ids 200 + 10 t + (0: x_0 of the next action, z [B, D]; 1: its xi, z [N, B, D];
     2: x_0 of the actor's path; 3: its xi). The path starts at 2.5 z; step k = 0..N-1 uses xi[k].

   ACTOR  t_emb = Linear(gelu(Linear([sin(omega k + psi), cos(omega k + psi)]))), k = 0..N-1 as is;
     u = clip(Linear(3 x [Linear, gelu](concat(x, s, t_emb))), +-1e4); gelu in the tanh form.
     eta_k = softplus(rho) c_k / softplus(phi); path, L and R as in DIME, prior N(0, 2.5^2).
   CRITIC  BRN(concat(s, a)), 2 x [Linear, ReLU, BRN], Linear, softmax. BRN eps 1e-3, momentum 0.9,
     r_max 3, d_max 5: y = scale (x - m + delta sqrt(v) / r) / sqrt(v / r^2 + eps) + bias, biased v;
     r and delta from the running statistics before this update, without gradient. At v = 0 (a dead
     feature; %(dead)s) the derivative of sqrt(v) counts as 0.
     Warm-up 2: the joint forward of update t is plain batch norm (r = 1, delta = 0) for t = 0, 1
     and renorm for t = 2, 3, 4; running statistics move in all five.
   UPDATE t  Critics on batch t: one training forward of the 16 rows [(s, a); (s', a')]; both
     regress on the mean of the two projections; loss = sum over critics of mean_b cross entropy
     + 0.005 mean_b sum p log(p + 1e-15). For t = 1, 3 then the actor on s of batch t
     (critics and running statistics just updated, eval mode; alpha before its step; NaN -> 0, then
     each element clipped to +-1), then alpha = exp(kappa) with gradient -alpha (mean R - 4 D), R
     from before the actor's step.
     gamma 0.99, alpha starts at 1. Adam, bias-corrected, eps 1e-8 added to the root: actor and
     critics lr 3e-3, betas 0.5, 0.999; kappa lr 1e-3, betas 0.9, 0.999.

   The same program in float32 lies this far off (relative to each tensor's largest element):
   %(distance)s. */
#ifndef GOLDEN_DIME_H
#define GOLDEN_DIME_H
"""


def in_float32():
    golden.DT = torch.float32
    result = run_updates(), piece_path(), [piece_renorm(m) for m in range(3)], piece_clip()[1]
    golden.DT = torch.float64
    return result


def main():
    self_tests()
    difference_tests()
    outs, states = run_updates()
    (outs32, states32), path32, renorm32, clip32 = in_float32()
    path, renorms = piece_path(), [piece_renorm(m) for m in range(3)]
    table = tensor_table()
    clip_outs, clip_actor = piece_clip()
    free_actor = piece_clip(1e30)[1]
    note("alpha = 32: elements clipped %s of %d; R %s, L %s; the clip changes in the end: %s" % (
        [o.get("clipped", 0) for o in clip_outs], sum(t.numel() for t in clip_actor),
        ["%.3f" % clip_outs[u]["mean_run"] for u in (1, 3)],
        ["%.3f" % clip_outs[u]["mean_ell"] for u in (1, 3)],
        ", ".join("%s %.2g" % (n, float((a - b).abs().max()))
                  for (n, _, _), a, b in zip(ACTOR, clip_actor, free_actor))))
    assert all(clip_outs[u]["mean_run"] > 4 * D > clip_outs[u]["mean_ell"] for u in (1, 3))
    assert float((clip_actor[5] - free_actor[5]).abs().max()) > 1e-4

    # what the run exercises, and what float32 makes of it
    for u, o in enumerate(outs):
        note("update %d: critic loss %.6f, terminated %d of %d, atoms cut %.0f %%, alpha %.6f, "
             "dead features: %s" % (u, o["critic_loss"], o["done"], B, 100 * o["cut"], o["alpha"],
                                    o["dead"]))
        if "actor_loss" in o:
            note("          actor loss %.6f, L %.6f, R %.6f, Q %.6f, gradient elements clipped: %d"
                 % (o["actor_loss"], o["mean_ell"], o["mean_run"], o["mean_q"], o["clipped"]))
    for name, key in (("actor", "actor_grads"), ("critic0", 0), ("critic1", 1)):
        grads = outs[1][key] if key == "actor_grads" else outs[0]["critic_grads"][key]
        flat = torch.cat([g.flatten().abs() for g in grads])
        note("first gradient of %s: norm %.6g, largest %.3g, smallest nonzero %.3g, zeros %d of %d"
             % (name, norm(grads), flat.max(), flat[flat > 0].min(), (flat == 0).sum(), len(flat)))
    g64 = outs[1]["actor_grads"] + outs[0]["critic_grads"][0] + outs[0]["critic_grads"][1]
    g32 = outs32[1]["actor_grads"] + outs32[0]["critic_grads"][0] + outs32[0]["critic_grads"][1]
    grad_far = max(far(a, b) for a, b in zip(g32, g64))
    per_update = [max(far(a, b) for a, b in zip(states32[u], states[u])) for u in range(UPDATES)]
    last = [(far(a, b), n[0]) for a, b, n in zip(states32[-1], states[-1], table)]
    note("float32: first gradients %.2g; parameters after update 1..5: %s; worst tensor %s"
         % (grad_far, " ".join("%.2g" % f for f in per_update), max(last)))
    note("float32: path pieces %s; renorm %.2g" % (
        " ".join("%.1g" % far(torch.as_tensor(a), torch.as_tensor(b))
                 for a, b in zip(path32, path)),
        max(far(a, b) for x, y in zip(renorm32, renorms) for a, b in zip(x, y))))
    note("float32: actor of the case alpha = 32: %.2g" % max(far(a, b)
                                                         for a, b in zip(clip32, clip_actor)))
    for key in ("critic_loss", "next_ell", "actor_loss", "mean_ell", "mean_run", "mean_q", "alpha"):
        note("float32: %s %.2g" % (key, max(abs(a[key] - b[key]) for a, b in zip(outs32, outs)
                                            if key in a)))
    if "--float32" in sys.argv[1:]:
        return
    dead = [str(u) for u, o in enumerate(outs) if o["dead"] != "none"]
    dead = "updates t = %s have some" % ", ".join(dead) if dead else "no update here has one"
    ceil = lambda v: "%.0e" % (10 ** math.ceil(math.log10(v)))
    print(HEAD % {"inputs": INPUTS, "updates": UPDATES, "dead": dead,
                  "torch": torch.__version__, "distance":
                  "first gradients below %s, parameters after update 5 below %s"
                  % (ceil(grad_far), ceil(max(per_update)))})

    tensors(table)
    count_actor, count_critic = len(ACTOR), len(CRITIC)
    print("enum { GOLDEN_DIME_ACTOR_TENSORS = %d, GOLDEN_DIME_CRITIC_TENSORS = %d, "
          "GOLDEN_DIME_TENSORS = %d };" % (count_actor, count_critic, len(table)))

    print()
    array("inputs, to check the formulae first: uniform(1, 0..3), uniform(4095, 1000), "
          "normal(200, 0..3),\n   normal(233, 5) in double", "inputs", (10,),
          [uniform(1, i) for i in range(4)] + [uniform(4095, 1000)]
          + [normal(200, i) for i in range(4)] + [normal(233, 5)])
    keys = ("critic_loss", "next_ell", "actor_loss", "mean_ell", "mean_run", "mean_q", "alpha")
    rows = []
    for o in outs:
        rows += [o.get(k, 0.0) for k in keys]
        rows += [norm(o["critic_grads"][0]), norm(o["critic_grads"][1]),
                 norm(o.get("actor_grads", [])), float(o.get("clipped", 0))]
    array("per update, 11 figures: critic loss, mean L of the next action, actor loss, mean L,"
          "\n   mean R, mean (Q_1 + Q_2) / 2, alpha afterwards, gradient norms of critic 0,"
          "\n   critic 1, actor (before the clip), elements clipped; actor figures are 0 in updates"
          "\n   without one",
          "updates", (UPDATES, 11), rows)
    array("[5][%d][2]: sum and sum of squares of each tensor after each update" % len(table),
          "sums", (UPDATES, len(table), 2),
          [f for st in states for t in st for f in (float(t.sum()), float((t * t).sum()))])
    array("all tensors after update 5", "last", (sum(math.prod(s) for _, s in table),), states[-1])
    array("critic gradients of the first update (t = 0), critic 0 then 1", "critic_grad",
          (2 * sum(math.prod(s) for _, _, s in CRITIC),),
          list(outs[0]["critic_grads"][0]) + list(outs[0]["critic_grads"][1]), 9)
    array("actor gradient of the first actor update (t = 1), before the clip", "actor_grad",
          (sum(math.prod(s) for _, _, s in ACTOR),), outs[1]["actor_grads"], 9)
    array("[8][11]: target distribution of update t = 0", "target", (B, ATOMS), [outs[0]["target"]])

    print("\n/* PATH  initial actor, s of batch 0, actor noise of update 0 (ids 202, 203) */")
    a, ell, run, prior, ratio, last_x, g_ell, u = path
    array("[4][8][3]: u at each step", "path_u", (N, B, D), [u])
    array("[8][3]: x_N", "path_x", (B, D), [last_x])
    array("[8][3]: a = tanh x_N", "path_a", (B, D), [a])
    array("[8][4]: L, R, prior term, log-ratio", "path_terms", (B, 4),
          [torch.cat([ell, run, prior, ratio], 1)])
    array("gradient of mean L in rho, then phi", "path_grad", (1 + D,), [g_ell])
    array("gradient of mean(L - (Q_1 + Q_2) / 2) in rho, then phi; initial critics, eval mode",
          "path_loss_grad", (1 + D,), piece_loss_gradient())

    print("\n/* CLIP  the first four updates again, but from alpha = 32 (kappa = log 32) and"
          "\n   actor.out.b = 5.5 + 0.1 u: elements of the actor's gradient exceed 1 (the second"
          "\n   actor step shows it), and mean R > 4 D > mean L, so that alpha rises */")
    array("per update, 6 figures: critic loss, actor loss, mean L, mean R, alpha afterwards,"
          "\n   elements clipped", "clip_updates", (4, 6),
          [f for o in clip_outs for f in (o["critic_loss"], o.get("actor_loss", 0.0),
                                          o.get("mean_ell", 0.0), o.get("mean_run", 0.0),
                                          o["alpha"], float(o.get("clipped", 0)))])
    array("sum and sum of squares of each actor tensor after update 4", "clip_sums",
          (count_actor, 2), [f for t in clip_actor for f in (float(t.sum()), float((t * t).sum()))])
    array("actor.out.w, actor.out.b, actor.rho, actor.phi after update 4", "clip_last",
          (W * D + D + 1 + D,), clip_actor[11:])

    p, shift, scale, out = piece_projection()
    print("\n/* C51  p = float(softmax(2 uniform(300, i))) [5, 11], y = shift + scale z on [-5, 5];"
          "\n   rows: inside, cut above, cut below, terminated, exactly on atoms */")
    array("[5][11]: p", "c51_p", (5, ATOMS), [p])
    array("shift", "c51_shift", (5,), [shift])
    array("scale", "c51_scale", (5,), [scale])
    array("[5][11]: projected", "c51_out", (5, ATOMS), [out])

    x, scale, bias, mean, var, dy = piece_renorm_inputs()
    print("\n/* BRN  x = 2 uniform(310, i) [6, 5] but column 4 is 0,"
          "\n   scale = 1 + 0.2 uniform(311, i), bias = 0.1 uniform(312, i),"
          "\n   upstream dy = uniform(313, i); momentum 0.9, eps 1e-3, r_max 3, d_max 5. Columns:"
          "\n   r and delta inside, r cut at 3, r cut at 1/3, delta cut at 5, dead (y = bias,"
          " and\n   sqrt(v) passes no gradient) */")
    array("running mean before", "brn_mean", (5,), [mean])
    array("running variance before", "brn_var", (5,), [var])
    array("running mean, variance after a training forward", "brn_running", (10,),
          [renorms[0][4], renorms[0][5]])
    array("r, delta of renorm", "brn_r_delta", (10,), [renorms[1][6], renorms[1][7]])
    for mode, name in enumerate(("plain", "renorm", "eval")):
        y, dx, dscale, dbias = renorms[mode][:4]
        array("%s: y [6][5], dx [6][5], dscale [5], dbias [5]" % name, "brn_" + name, (70,),
              [y, dx, dscale, dbias])
    print("#endif")


main()
