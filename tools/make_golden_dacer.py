#!/usr/bin/env python3
"""Golden figures for DACER: an independent PyTorch computation in float64.

    python3 tools/make_golden_dacer.py > tests/golden/dacer.h    (needs torch; notes go to stderr)

Written from the equations (Wang et al. 2024; the value distribution of Duan et al. 2023; VP schedule
of Song et al. 2021) with the constants of the official code, not from any other implementation.
Gradients come from autograd. The comment at the head of the output says how the inputs are made.
"""
import math

import torch

import golden
from golden import (INPUTS, Adam, array, far, near, norm, normal, normals, note, tensor, tensors,
                    uniform, uniforms)

golden.PREFIX = "golden_dacer"

S, D, B, T, W, H = 5, 3, 8, 4, 16, 24
TIME, HIDDEN = 16, 32
GAMMA, SCALE, TAU, EPS, LAMBDA, ALPHA0, TARGET = 0.99, 0.2, 0.05, 0.1, 0.15, 3.0, -0.9
LR, LR_ALPHA, UPDATES, DELAY, ALPHA_DELAY = 3e-3, 0.03, 5, 2, 3
SAMPLES, MIXTURES, RIDGE = 16, 4, 1e-6


def mlp_table(prefix, dims):
    return [(prefix + "l%d.%s" % (i, k), (dims[i], dims[i + 1]) if k == "w" else (1, dims[i + 1]))
            for i in range(len(dims) - 1) for k in "wb"]


ACTOR = [("t0.w", (TIME, HIDDEN)), ("t0.b", (1, HIDDEN)), ("t1.w", (HIDDEN, TIME)),
         ("t1.b", (1, TIME))] + mlp_table("", (D + TIME + S, W, W, W, D))
CRITIC = mlp_table("", (D + S, H, H, H, 2))


def make_params(table, first):
    return [(uniforms(first + i, shape, 1 / math.sqrt(shape[0])) if name.endswith("w") else
             uniforms(first + i, shape, 0.1)).requires_grad_(True)
            for i, (name, shape) in enumerate(table)]


def make_batch(u):
    return {"s": uniforms(100 + 10 * u, (B, S), 1.5), "a": uniforms(101 + 10 * u, (B, D)),
            "r": uniforms(102 + 10 * u, (B, 1), 25.0), "s2": uniforms(103 + 10 * u, (B, S), 1.5),
            "d": (uniforms(104 + 10 * u, (B, 1)) > 0.5).to(golden.DT)}


def make_noise(ident, rows):
    """x_T, z_T .. z_2, n."""
    return normals(ident, (T + 1, rows, D))


# ---- actor ---------------------------------------------------------------------------------------

def schedule():
    """(abar_t, abar_{t-1}, beta_t) for t = 1..T."""
    rows, last = [], 1.0
    for t in range(1, T + 1):
        beta = 1 - math.exp(-0.1 / T - 0.5 * 9.9 * (2 * t - 1) / T ** 2)
        rows.append((last * (1 - beta), last, beta))
        last *= 1 - beta
    return rows


def mish(x):
    return x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x)))


def layers(p, x):
    for i in range(0, len(p), 2):
        x = x @ p[i] + p[i + 1]
        x = mish(x) if i + 2 < len(p) else x
    return x


def embedding(t):
    """t = 0..T-1"""
    w = [10000.0 ** (-j / (TIME / 2)) for j in range(TIME // 2)]
    e = [math.sin(t * f) for f in w] + [math.cos(t * f) for f in w]
    return torch.tensor([e], dtype=golden.DT) / math.sqrt(TIME)


def predict(p, x, s, t):
    e = layers(p[:4], embedding(t)).expand(x.shape[0], -1)
    return layers(p[4:], torch.cat([x, e, s], 1))


def action(p, s, noise, level):
    x, cut = noise[0], 0
    for t in range(T, 0, -1):
        abar, before, beta = schedule()[t - 1]
        eps = predict(p, x, s, t - 1)
        x0 = x / math.sqrt(abar) - math.sqrt(1 / abar - 1) * eps
        cut += int((x0.abs() > 1).sum())
        mean = (beta * math.sqrt(before) * x0.clamp(-1, 1)
                + (1 - before) * math.sqrt(1 - beta) * x) / (1 - abar)
        x = mean
        if t > 1:
            x = mean + math.sqrt(beta * (1 - before) / (1 - abar)) * noise[T - t + 1]
    return (x + level * noise[T]).clamp(-1, 1), cut


# ---- mixtures of Gaussians -----------------------------------------------------------------------

def fit(x, r):
    """Entropy bound of the mixture that EM reaches from responsibilities r [n, k]; EM steps."""
    n, d = x.shape
    last = None
    for step in range(101):
        w = r.sum(0) + 2.2e-15
        mean = (r.T @ x) / w[:, None]
        cov = []
        for c in range(r.shape[1]):
            v = x - mean[c]
            cov.append((r[:, c, None] * v).T @ v / w[c] + RIDGE * torch.eye(d, dtype=x.dtype))
        w = w / n
        h = -(w * w.log()).sum() + sum(
            0.5 * w[c] * (d * math.log(2 * math.pi * math.e) + torch.logdet(cov[c]))
            for c in range(len(cov)))
        if step and last is not None and abs(now - last) < 1e-3:
            break
        logp = torch.stack([w[c].log() - 0.5 * (d * math.log(2 * math.pi) + torch.logdet(cov[c])
                            + ((x - mean[c]) @ torch.inverse(cov[c]) * (x - mean[c])).sum(1))
                            for c in range(len(cov))], 1)
        last = now if step else None
        now = float(torch.logsumexp(logp, 1).mean())
        r = torch.softmax(logp, 1)
    return float(h), step


def piece_gmm():
    """60 samples of three bells, from the k-means partition."""
    centers = [(-0.5, 0.2, 0.1), (0.5, -0.3, 0.0), (0.1, 0.6, -0.4)]
    member = [0] * 30 + [1] * 18 + [2] * 12
    x = tensor([centers[member[i]][a] + 0.3 * normal(700, 3 * i + a)
                for i in range(60) for a in range(3)], (60, 3))
    label = torch.tensor(member)
    for _ in range(50):
        mean = torch.stack([x[label == c].mean(0) for c in range(3)])
        label = ((x[:, None] - mean[None]) ** 2).sum(2).argmin(1)
    moved = sum(int(a) != b for a, b in zip(label, member))
    h, steps = fit(x, torch.nn.functional.one_hot(label, 3).to(golden.DT))
    note("mixture: %d samples change their bell in k-means, %d EM steps, entropy %.6f" %
         (moved, steps, h))
    return x, h


# ---- the agent -----------------------------------------------------------------------------------

def value(q, s, a):
    out = layers(q, torch.cat([a, s], 1))
    return out[:, :1], torch.logaddexp(out[:, 1:], torch.zeros_like(out[:, 1:]))


class Agent:
    def __init__(self):
        self.actor = make_params(ACTOR, 1)
        self.critics = [make_params(CRITIC, 20), make_params(CRITIC, 40)]
        self.targets = [[t.detach().clone() for t in q] for q in self.critics]
        self.log_alpha = torch.full((1, 1), math.log(ALPHA0), dtype=golden.DT)
        self.omega = [None, None]
        self.adams = [Adam(p, LR) for p in [self.actor] + self.critics]
        self.adam_alpha = Adam([self.log_alpha], LR_ALPHA)

    def level(self):
        return LAMBDA * float(self.log_alpha.exp())

    def backups(self, u, batch):
        with torch.no_grad():
            a, cut = action(self.actor, batch["s2"], make_noise(200 + 10 * u, B), self.level())
            z = (2 * normals(205 + 10 * u, (2, B, 1))).clamp(-3, 3)
            q = [value(p, batch["s2"], a) for p in self.targets]
            first = q[0][0] < q[1][0]
            mean = torch.where(first, q[0][0], q[1][0])
            sample = torch.where(first, q[0][0] + q[0][1] * z[0], q[1][0] + q[1][1] * z[1])
            rest = (1 - batch["d"]) * GAMMA
            return (SCALE * batch["r"] + rest * mean, SCALE * batch["r"] + rest * sample, a, cut,
                    int((z.abs() == 3).sum()))

    def critic_loss(self, j, batch, y, y_sample):
        q, sigma = value(self.critics[j], batch["s"], batch["a"])
        now = sigma.mean().detach()
        omega = now if self.omega[j] is None else TAU * now + (1 - TAU) * self.omega[j]
        free, s = (y_sample - q).detach(), sigma.detach()
        bounded = q.detach() + free.clamp(-3 * omega, 3 * omega)
        loss = -(omega ** 2 + EPS) * (
            q * (y - q).detach() / (s ** 2 + EPS)
            + sigma * ((q.detach() - bounded) ** 2 - s ** 2) / (s ** 3 + EPS)).mean()
        return loss, omega, int((free.abs() > 3 * omega).sum())

    def actor_loss(self, u, batch):
        a, cut = action(self.actor, batch["s"], make_noise(201 + 10 * u, B), self.level())
        q = [value([t.detach() for t in p], batch["s"], a)[0] for p in self.critics]
        return -torch.minimum(q[0], q[1]).mean(), cut, int((a.abs() == 1).sum())

    def entropy(self, u, batch):
        with torch.no_grad():
            a = torch.stack([action(self.actor, batch["s"][:MIXTURES],
                                    make_noise(400 + 20 * u + m, MIXTURES), self.level())[0]
                             for m in range(SAMPLES)], 1)
            return sum(fit(x, torch.ones(SAMPLES, 1, dtype=golden.DT))[0] for x in a) / MIXTURES

    def update(self, u):
        batch, out = make_batch(u), {}
        y, y_sample, out["next"], cut, ends = self.backups(u, batch)
        out["y"], out["y_sample"] = y, y_sample
        losses = [self.critic_loss(j, batch, y, y_sample) for j in range(2)]
        grads = [list(torch.autograd.grad(l[0], q)) for l, q in zip(losses, self.critics)]
        out["critic_loss"] = float(losses[0][0] + losses[1][0])
        out["critic_grads"] = grads
        self.omega = [l[1] for l in losses]
        note("update %d: next action: x_0 cut %d of %d, z cut %d; targets cut %d, %d of %d" %
             (u, cut, T * B * D, ends, losses[0][2], losses[1][2], B))
        if u % ALPHA_DELAY == 0:
            out["entropy"] = self.entropy(u, batch)
        if u % DELAY == 0:
            loss, cut, ends = self.actor_loss(u, batch)
            out["actor_loss"] = float(loss)
            out["actor_grads"] = list(torch.autograd.grad(loss, self.actor))
            note("          actor: x_0 cut %d of %d, actions at the ends %d of %d; gradient %.3g" %
                 (cut, T * B * D, ends, B * D, norm(out["actor_grads"])))
        for adam, g in zip(self.adams[1:], grads):
            adam.step(g)
        if u % DELAY == 0:
            self.adams[0].step(out["actor_grads"])
            for q, t in zip(sum(self.critics, []), sum(self.targets, [])):
                t.mul_(1 - TAU).add_(TAU * q.detach())
        if u % ALPHA_DELAY == 0:
            self.adam_alpha.step([torch.full((1, 1), out["entropy"] - TARGET * D,
                                             dtype=golden.DT)])
        out["alpha"] = float(self.log_alpha.exp())
        out["omega"] = [float(o) for o in self.omega]
        return out

    def state(self):
        return [t.detach().clone() for t in self.actor + sum(self.critics, []) +
                sum(self.targets, [])]


def run_updates():
    agent, outs, states = Agent(), [], []
    for u in range(UPDATES):
        outs.append(agent.update(u))
        states.append(agent.state())
    return outs, states


def self_tests():
    near([b for _, _, b in schedule()][:1], [1 - math.exp(-0.025 - 4.95 / 16)], 1e-15)
    near(embedding(3)[0, [0, 7, 8, 15]], [.03528, .0002372 * 2, -.2474981, .2499999], 1e-3)
    # one dimension, one component: the variance itself
    x = torch.tensor([[-1.0], [1.0], [3.0]], dtype=golden.DT)
    near(fit(x, torch.ones(3, 1, dtype=golden.DT))[0],
         0.5 * math.log(2 * math.pi * math.e * (8 / 3 + 1e-6)), 1e-12)
    # the actor loss against differences, in every tensor
    agent, batch = Agent(), make_batch(0)
    grads = torch.autograd.grad(agent.actor_loss(0, batch)[0], agent.actor)
    worst = 0.0
    for t, g in zip(agent.actor, grads):
        i, h = int(g.flatten().abs().argmax()), 1e-6
        with torch.no_grad():
            flat, ends = t.flatten(), []
            for sign in (1, -1):
                t.view(-1)[i] = flat[i] + sign * h
                ends.append(float(agent.actor_loss(0, batch)[0]))
                t.view(-1)[i] = flat[i] - sign * h
            t.copy_(flat.reshape(t.shape))
        worst = max(worst, abs((ends[0] - ends[1]) / (2 * h) - float(g.flatten()[i])))
    note("actor gradient, largest element of each tensor, against differences: %.1e off" % worst)


HEAD = r"""/* DACER: figures of 5 consecutive updates. Made by tools/make_golden_dacer.py.

     python3 tools/make_golden_dacer.py > tests/golden/dacer.h

   An independent computation from the equations in PyTorch %(torch)s, float64, gradients by
   autograd; neither diffrl.h nor another implementation was used. 12 significant digits, in the
   arrays *_grad 9.

   SIZES  observation S=5, action D=3, batch B=8, denoising steps T=4, actor width 16, critic width
   24, 3 hidden layers each, 2 critics, 16 samples of 4 states, 1 component.

%(inputs)s   Parameters: id = 1 + position in the actor, 20 + position in critic 0, 40 + position in critic 1:
     weight [in, out]  u / sqrt(in)        bias  0.1 u        targets start as the critics
   Batch of update t = 0..4, ids 100 + 10 t + (0: s = 1.5 u; 1: a = u; 2: r = 25 u; 3: s' = 1.5 u;
     4: terminated = u > 0.5).
   Noise of update t: ids 200 + 10 t next action, z [T + 1, B, D]: x_T, normals of the steps
     t = T .. 2, n; 205 + 10 t: 2 z [2, B] for y_sample; 201 + 10 t: the actor's, as the first;
     400 + 20 t + m: sample m for the entropy, z [T + 1, 4, D], of the first 4 states.

   UPDATE t  As the official code: target of the critic with the smaller mean; the gradients of both
     critics; entropy and alpha for t = 0, 3; actor for t = 0, 2, 4 by the critics before their step;
     then Adam (betas 0.9, 0.999, eps 1e-8; lr 3e-3, ln alpha 0.03), then targets with tau 0.05 for
     t = 0, 2, 4; omega moves in all with the same tau. gamma 0.99, reward scale 0.2, lambda 0.15,
     alpha starts at 3, target entropy -0.9 per dimension.

   The same program in float32 lies this far off (relative to each tensor's largest element):
   %(distance)s. */
#ifndef GOLDEN_DACER_H
#define GOLDEN_DACER_H
"""


def main():
    self_tests()
    outs, states = run_updates()
    x, h = piece_gmm()
    golden.DT = torch.float32
    outs32, states32 = run_updates()
    golden.DT = torch.float64
    g64 = outs[0]["actor_grads"] + sum(outs[0]["critic_grads"], [])
    g32 = outs32[0]["actor_grads"] + sum(outs32[0]["critic_grads"], [])
    grad_far = max(far(a, b) for a, b in zip(g32, g64))
    last_far = max(far(a, b) for a, b in zip(states32[-1], states[-1]))
    table = ([("actor." + n, s) for n, s in ACTOR] +
             [("%s.q%d.%s" % (kind, j, n), s) for kind in ("critic", "target") for j in (0, 1)
              for n, s in CRITIC])
    for u, o in enumerate(outs):
        note("update %d: critic %.6f, actor %.6f, entropy %.6f, alpha %.6f, omega %.6f %.6f" %
             (u, o["critic_loss"], o.get("actor_loss", 0), o.get("entropy", 0), o["alpha"],
              *o["omega"]))
    ceil = lambda v: "%.0e" % (10 ** math.ceil(math.log10(v)))
    print(HEAD % {"inputs": INPUTS, "torch": torch.__version__, "distance":
                  "first gradients below %s, parameters after update 5 below %s"
                  % (ceil(grad_far), ceil(last_far))})
    tensors(table)
    print("enum { GOLDEN_DACER_ACTOR_TENSORS = %d, GOLDEN_DACER_CRITIC_TENSORS = %d, "
          "GOLDEN_DACER_TENSORS = %d };" % (len(ACTOR), len(CRITIC), len(table)))
    array("inputs, to check the formulae first: uniform(1, 0..3), uniform(4095, 1000), "
          "normal(200, 0..3),\n   normal(233, 5) in double", "inputs", (10,),
          [uniform(1, i) for i in range(4)] + [uniform(4095, 1000)]
          + [normal(200, i) for i in range(4)] + [normal(233, 5)])
    rows = []
    for o in outs:
        rows += [o["critic_loss"], o.get("actor_loss", 0.0), o.get("entropy", 0.0), o["alpha"]]
        rows += o["omega"] + [norm(g) for g in o["critic_grads"]]
        rows += [norm(o.get("actor_grads", []))]
    array("per update, 9 figures: critic loss, actor loss, entropy, alpha afterwards, omega of both"
          "\n   critics, gradient norms of critic 0, critic 1, actor; 0 where an update has none",
          "updates", (UPDATES, 9), rows)
    array("[8]: y, y_sample of update t = 0", "y", (2 * B,), [outs[0]["y"], outs[0]["y_sample"]])
    array("[8][3]: next action of update t = 0", "next", (B * D,), [outs[0]["next"]])
    array("actor gradient of update t = 0", "actor_grad", (sum(math.prod(s) for _, s in ACTOR),),
          outs[0]["actor_grads"], 9)
    array("gradients of critic 0, critic 1 in update t = 0", "critic_grad",
          (2 * sum(math.prod(s) for _, s in CRITIC),), sum(outs[0]["critic_grads"], []), 9)
    array("[5][%d][2]: sum and sum of squares of each tensor after each update" % len(table),
          "sums", (UPDATES, len(table), 2),
          [f for st in states for t in st for f in (float(t.sum()), float((t * t).sum()))])
    array("all tensors of actor and critics after update 5", "last",
          (sum(math.prod(s) for n, s in table if not n.startswith("target")),),
          states[-1][:len(ACTOR) + 2 * len(CRITIC)])
    print("\n/* MIXTURE  60 samples [60, 3]: 30, 18, 12 of bells around (-0.5, 0.2, 0.1),"
          "\n   (0.5, -0.3, 0), (0.1, 0.6, -0.4), + 0.3 normal(700, i); 3 components, EM from the"
          "\n   partition that k-means ends with, ridge 1e-6, until the mean log-likelihood moves by"
          "\n   less than 1e-3 */")
    array("entropy of the mixture; sum of the samples", "gmm", (2,), [h, float(x.sum())])
    print("#endif")


main()
