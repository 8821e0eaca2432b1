#!/usr/bin/env python3
"""Golden figures for DPPO: an independent PyTorch computation in float64.

    python3 tools/make_golden_dppo.py > tests/golden/dppo.h    (needs torch; notes go to stderr)
    python3 tools/make_golden_dppo.py --float32                (no header: how far float32 is off)

Written from the equations (DPPO: Ren et al. 2024; PPO: Schulman et al. 2017; cosine schedule:
Nichol and Dhariwal 2021), not from any other implementation. Gradients come from autograd. The
comment at the head of the output says how the inputs are made.
"""
import math
import sys

import torch

import golden
from golden import (INPUTS, array, far, near, norm, normal, normals, note, tensor, tensors, uniform,
                    uniforms)

golden.PREFIX = "golden_dppo"

S, A, C, K, TUNED, W, H = 4, 2, 3, 6, 3, 16, 12
D = A * C
N, E, BATCH, EPOCHS, ITERATIONS = 12, 3, 12, 2, 2
GAMMA, LAMBDA, GAMMA_DEN, CLIP, CLIP_BASE, RATE = 0.99, 0.95, 0.9, 0.05, 0.01, 3.0
FLOOR, LR = 0.1, 3e-3
BC_UPDATES, BC_ROWS, BC_BATCH, BC_LR, BC_LAST, DECAY, EMA, EMA_FIRST = (
    5, 40, 8, 1e-2, 1e-3, 1e-2, 0.9, 3)

ACTOR = [("t0.w", (16, 32)), ("t0.b", (1, 32)), ("t1.w", (32, 16)), ("t1.b", (1, 16)),
         ("in.w", (D + 16 + S, W)), ("in.b", (1, W)), ("a.w", (W, W)), ("a.b", (1, W)),
         ("b.w", (W, W)), ("b.b", (1, W)), ("out.w", (W, D)), ("out.b", (1, D))]
CRITIC = [("in.w", (S, H)), ("in.b", (1, H)), ("a.w", (H, H)), ("a.b", (1, H)),
          ("b.w", (H, H)), ("b.b", (1, H)), ("out.w", (H, 1)), ("out.b", (1, 1))]


def init(first, table):
    return [uniforms(first + i, shape, 0.1 if name[-1] == "b" else 1 / math.sqrt(shape[0]))
            for i, (name, shape) in enumerate(table)]


# ---- the method ----------------------------------------------------------------------------------

def schedule():
    """abar_0 .. abar_K."""
    f = lambda t: math.cos(math.pi / 2 * (t / K + 0.008) / 1.008) ** 2
    out = [1.0]
    for t in range(1, K + 1):
        out.append(out[-1] * (1 - min(1 - f(t) / f(t - 1), 0.999)))
    return out


ABAR = schedule()
BETA = [0.0] + [1 - ABAR[t] / ABAR[t - 1] for t in range(1, K + 1)]
STD = [0.0] + [math.sqrt(BETA[t] * (1 - ABAR[t - 1]) / (1 - ABAR[t])) for t in range(1, K + 1)]


def residual(p, x, act):
    h = x @ p[0] + p[1]
    return (h + act(act(h) @ p[2] + p[3]) @ p[4] + p[5]) @ p[6] + p[7]


def mish(x):
    return x * torch.tanh(torch.nn.functional.softplus(x))


def eps_net(p, x, t, s):
    """t [B]: 1 .. K; the net is told t - 1."""
    w = torch.exp(-math.log(10000.0) * torch.arange(8, dtype=torch.float64) / 7)
    angle = (t.to(torch.float64) - 1)[:, None] * w
    e = torch.cat([torch.sin(angle), torch.cos(angle)], 1).to(golden.DT)
    e = mish(e @ p[0] + p[1]) @ p[2] + p[3]
    return residual(p[4:], torch.cat([x, e, s], 1), torch.relu)


def column(values, t):
    return torch.tensor([values[int(i)] for i in t], dtype=golden.DT)[:, None]


def mean_of(p, x, t, s):
    """Mean of the step from x_t, by the posterior of the clipped x_0."""
    abar, below, beta = column(ABAR, t), column([0.0] + ABAR[:-1], t), column(BETA, t)
    x0 = (x - torch.sqrt(1 - abar) * eps_net(p, x, t, s)) / torch.sqrt(abar)
    x0 = torch.clamp(x0, -1, 1)
    return (torch.sqrt(below) * beta * x0 + torch.sqrt(1 - beta) * (1 - below) * x) / (1 - abar)


def log_prob(p, x, after, t, s):
    sigma = torch.clamp(column(STD, t), min=FLOOR)
    z = (after - mean_of(p, x, t, s)) / sigma
    lp = -z * z / 2 - torch.log(sigma) - 0.5 * math.log(2 * math.pi)
    return torch.clamp(lp, -5, 2).mean(1), ((lp < -5).sum(), (lp > 2).sum())


def adamw(params, grads, state, lr, decay=0.0):
    state["t"] = state.get("t", 0) + 1
    for i, (p, g) in enumerate(zip(params, grads)):
        m = state.setdefault(("m", i), torch.zeros_like(p))
        v = state.setdefault(("v", i), torch.zeros_like(p))
        m.mul_(0.9).add_(0.1 * g)
        v.mul_(0.999).add_(0.001 * g * g)
        with torch.no_grad():
            p.mul_(1 - lr * decay)
            p.sub_(lr * (m / (1 - 0.9 ** state["t"]))
                   / (torch.sqrt(v / (1 - 0.999 ** state["t"])) + 1e-8))


# ---- pre-training --------------------------------------------------------------------------------

def integer(ident, i, n):
    return int((uniform(ident, i) + 1) / 2 * n)


def normalized(data):
    low, high = data.min(0).values, data.max(0).values
    return 2 * (data - low) / (high - low + 1e-6) - 1, torch.stack([low, high])


def pretrain():
    student = [p.requires_grad_() for p in init(1, ACTOR)]
    ema = [p.detach().clone() for p in student]
    obs, obs_range = normalized(uniforms(50, (BC_ROWS, S), 1.5, 0.3))
    act, act_range = normalized(uniforms(51, (BC_ROWS, A), 0.9))
    state, outs = {}, []
    for u in range(BC_UPDATES):
        ident = 100 + 10 * u
        rows = [integer(ident, i, BC_ROWS - C + 1) for i in range(BC_BATCH)]
        t = torch.tensor([1 + integer(ident + 1, i, K) for i in range(BC_BATCH)])
        noise = normals(ident + 2, (BC_BATCH, D))
        x0 = torch.stack([act[r:r + C].flatten() for r in rows])
        abar = column(ABAR, t)
        x = torch.sqrt(abar) * x0 + torch.sqrt(1 - abar) * noise
        loss = ((eps_net(student, x, t, obs[rows]) - noise) ** 2).mean()
        grads = torch.autograd.grad(loss, student)
        lr = BC_LAST if u == 0 else BC_LAST + (BC_LR - BC_LAST) * 0.5 * (
            1 + math.cos(math.pi * (u - 1) / (BC_UPDATES - 1)))
        adamw(student, grads, state, lr, DECAY)
        keep = 0.0 if u + 1 < EMA_FIRST else EMA
        if u % 2 == 0:
            ema = [keep * e + (1 - keep) * p.detach() for e, p in zip(ema, student)]
        outs.append((float(loss), norm(grads), lr))
    return outs, [p.detach() for p in student], ema, obs_range, act_range


# ---- fine-tuning ---------------------------------------------------------------------------------

def sample(base, actor, s, noise):
    """noise [K + 1, N, D]; returns x_TUNED .. x_0, [TUNED + 1, N, D]."""
    x, out = noise[0], []
    for t in range(K, 0, -1):
        if t <= TUNED:
            out.append(x)
        p = actor if t <= TUNED else base
        x = mean_of(p, x, torch.full((len(s),), t), s) + max(STD[t], FLOOR) * torch.clamp(
            noise[K + 1 - t], -3, 3)
    return torch.stack(out + [x])


def width(i):
    return CLIP_BASE + (CLIP - CLIP_BASE) * (math.exp(RATE * i / (TUNED - 1)) - 1) / (
        math.exp(RATE) - 1)


def rollout(it, base, actor):
    ident = 300 + 20 * it
    r = {"s": uniforms(ident, (N, S), 1.2), "s1": uniforms(ident + 1, (N, S), 1.2),
         "reward": uniforms(ident + 2, (N,), 3.0, 1.0),
         "end": [uniform(ident + 3, n) > 0.6 for n in range(N)],
         "first": [uniform(ident + 4, n) > 0.5 for n in range(N)]}
    with torch.no_grad():
        exact = sample(base, actor, r["s"], normals(ident + 5, (K + 1, N, D))).transpose(0, 1)
    chain = exact.clone()
    chain[5, 0] += 3.0  # x_0 beyond its bounds
    chain[7, TUNED] += 0.5  # a log-probability below its bound
    r["sampled"], r["chain"] = exact, chain.to(torch.float32).to(golden.DT)
    return r


def order(it, epoch):
    p = list(range(N * TUNED))
    return [(7 * q + 5 * epoch + 11 * it) % (N * TUNED) for q in p]


def finetune(chains=None):
    base = init(1, ACTOR)
    actor = [p.clone().requires_grad_() for p in base]
    critic = [p.requires_grad_() for p in init(30, CRITIC)]
    mean, var, count, run = 0.0, 1.0, 1e-4, [0.0] * E
    states, steps, parts = ({}, {}), [], []
    for it in range(ITERATIONS):
        r = rollout(it, base, actor)
        if chains:  # in float32: the same chains
            r["chain"] = chains[it].to(golden.DT)
        x = r["chain"][:, :-1].reshape(-1, D)
        after = r["chain"][:, 1:].reshape(-1, D)
        chunk = torch.arange(N).repeat_interleave(TUNED)
        step = torch.arange(TUNED).repeat(N)
        with torch.no_grad():
            v, v1 = (residual(critic, r[k], mish)[:, 0] for k in ("s", "s1"))
            old, cut = log_prob(actor, x, after, TUNED - step, r["s"][chunk])
        rets = []
        for n in range(N):  # chunk n is of environment n mod E
            run[n % E] = float(r["reward"][n]) + (0 if r["first"][n] else 0.99) * run[n % E]
            rets.append(run[n % E])
        m = sum(rets) / N
        M2 = var * count + sum((a - m) ** 2 for a in rets)
        M2 += (m - mean) ** 2 * count * N / (count + N)
        mean, count = mean + (m - mean) * N / (count + N), count + N
        var = M2 / (count - 1)
        reward = torch.clamp(r["reward"] / math.sqrt(var + 1e-8), -10, 10)
        adv, carry = [0.0] * N, [0.0] * E
        for n in reversed(range(N)):
            g = 0.0 if r["end"][n] else GAMMA
            adv[n] = float(reward[n] + g * v1[n] - v[n]) + g * LAMBDA * carry[n % E]
            carry[n % E] = 0.0 if r["first"][n] else adv[n]
        adv = torch.tensor(adv, dtype=golden.DT)
        target = adv + v
        parts.append((r, v, v1, old, adv, target, mean, var, count, cut))
        for epoch in range(EPOCHS):
            pairs = order(it, epoch)
            for first in range(0, N * TUNED, BATCH):
                b = torch.tensor(pairs[first:first + BATCH])
                n, i = chunk[b], step[b]
                a = (adv[n] - adv[n].mean()) / (adv[n].std() + 1e-8)
                weight = [GAMMA_DEN ** (TUNED - 1 - int(k)) for k in i]
                a = a * torch.tensor(weight, dtype=golden.DT)
                w = torch.tensor([width(int(k)) for k in i], dtype=golden.DT)
                lp, _ = log_prob(actor, x[b], after[b], TUNED - i, r["s"][n])
                ratio = torch.exp(lp - old[b])
                clipped = torch.maximum(torch.minimum(ratio, 1 + w), 1 - w)
                policy = torch.maximum(-a * ratio, -a * clipped).mean()
                value = ((residual(critic, r["s"][n], mish)[:, 0] - target[n]) ** 2).mean()
                kl = (ratio - 1 - (lp - old[b])).mean()
                out = ((ratio - 1).abs() > w).double().mean()
                ga = torch.autograd.grad(policy, actor)
                gc = torch.autograd.grad(0.5 * 0.5 * value, critic)
                adamw(actor, ga, states[0], LR)
                adamw(critic, gc, states[1], LR)
                steps.append([float(policy), float(value), float(kl), float(out) * BATCH, norm(ga),
                              norm(gc), float((torch.exp(lp - old[b]) - 1).abs().max())])
                if len(steps) == 1:
                    first_grads = ga, gc
    return steps, parts, first_grads, [p.detach() for p in actor + critic]


# ---- checks, output ------------------------------------------------------------------------------

def self_tests():
    """Closed forms of the specification, with this file's functions."""
    global K, ABAR, BETA, STD, CLIP, CLIP_BASE, TUNED
    saved = K, ABAR, BETA, STD, CLIP, CLIP_BASE, TUNED
    K = 20
    ABAR = schedule()
    BETA = [0.0] + [1 - ABAR[t] / ABAR[t - 1] for t in range(1, K + 1)]
    STD = [0.0] + [math.sqrt(BETA[t] * (1 - ABAR[t - 1]) / (1 - ABAR[t])) for t in range(1, K + 1)]
    zero = [torch.zeros(s, dtype=torch.float64) for _, s in ACTOR]
    x = torch.tensor([[0.5], [0.6], [0.55]], dtype=torch.float64).repeat(1, D)
    s = torch.zeros(2, S, dtype=torch.float64)
    t = torch.tensor([2, 1])
    near(mean_of(zero, x[:2], torch.tensor([2, 1]), s)[:, 0], [0.5050955991, 0.6024122866], 1e-9)
    lp = log_prob(zero, x[:2], x[1:], t, s)[0]
    zero[-1] += 0.1
    note("T13 log-probabilities", lp.tolist())
    near(lp, [0.9333042943, 1.2462941704], 1e-9)
    near(log_prob(zero, x[:1], x[1:2], t[:1], s[:1])[0] - lp[0], -0.1225774549, 1e-9)
    TUNED, CLIP, CLIP_BASE = 10, 0.01, 0.001
    near([width(i) for i in range(10)], [.001, .001187, .001447, .001810, .002317, .003025, .004013,
                                         .005391, .007315, .01], 1e-6)
    K, ABAR, BETA, STD, CLIP, CLIP_BASE, TUNED = saved


HEAD = r"""/* DPPO: figures of %(bc)d updates of pre-training and %(ft)d gradient steps of fine-tuning, in
   two iterations. Made by tools/make_golden_dppo.py.

     python3 tools/make_golden_dppo.py > tests/golden/dppo.h

   An independent computation from the paper's equations in PyTorch %(torch)s, float64, gradients by
   autograd; neither diffrl.h nor another implementation was used. 12 significant digits, in the
   arrays *_grad 9.

   SIZES  observation S=4, action A=2, chunk 3, so D=6; K=6 denoising steps, K'=3 tuned; widths 16
   and 12, one residual block each, time embedding 16 -> 32 -> 16.

%(inputs)s   Parameters: id = 1 + position in the actor (base and student alike), 30 + position in the
     critic:
     weight [in, out]  u / sqrt(in)        bias  0.1 u
   An integer below n: (int)((u + 1) / 2 n).

   PRE-TRAINING  data obs = 0.3 + 1.5 u (id 50) [40, 4], act = 0.9 u (id 51) [40, 2], one episode.
     Update u = 0 .. 4 is the only one of epoch u: batch 8, first rows integer(38) of id 100 + 10 u,
     t = 1 + integer(6) of id + 1, noise z [8, D] of id + 2. AdamW, lr 1e-3, then from 1e-2 to 1e-3
     along a cosine over the 4 intervals after epoch 1, decay 1e-2; the average takes the weights in
     updates 0, 2, 4: as they are while u + 1 < 3, then with 0.9.

   FINE-TUNING  iteration j = 0, 1; ids 300 + 20 j + (0: s = 1.2 u [12, 4]; 1: s' = 1.2 u;
     2: reward = 1 + 3 u; 3: terminated = u > 0.6; 4: episode begins = u > 0.5;
     5: noise z [7, 12, D]).
     Chunk n is of environment n mod 3. The chain starts at z[0] and is sampled by base (t > K') and
     actor; then 3 is added to x_K' of chunk 5, 0.5 to x_0 of chunk 7 (bounds of x_0 and of the
     log-probability; %(cut)s elements of old are below -5), and it is rounded to float.
     Reward scaler, values, old, advantages; then 2 epochs e of 3 minibatches of 12 pairs, in the
     order (7 q + 5 e + 11 j) mod 36, q = 0 .. 35. gamma 0.99, lambda 0.95, gamma_den 0.9, clip 0.05 and
     0.01, rate 3, both floors 0.1, lr 3e-3 of both nets, value loss times 0.25.

   The same program in float32 lies this far off (relative to each tensor's largest element):
   %(distance)s. */
#ifndef GOLDEN_DPPO_H
#define GOLDEN_DPPO_H
"""


def main():
    self_tests()
    bc, student, ema, obs_range, act_range = pretrain()
    steps, parts, grads, last = finetune()
    golden.DT = torch.float32
    bc32, student32, ema32, _, _ = pretrain()
    steps32, parts32, grads32, last32 = finetune([p[0]["chain"] for p in parts])
    golden.DT = torch.float64
    for s in steps:
        note("policy %.6f value %.6f kl %.2e out %d norms %.4f %.4f ratio-1 %.3f" % tuple(s))
    far_bc = max(far(a, b) for a, b in zip(student32 + ema32, student + ema))
    far_last = max(far(a, b) for a, b in zip(last32, last))
    far_grad = max(far(a, b) for x, y in zip(grads32, grads) for a, b in zip(x, y))
    note("float32: student %.2g, tuned %.2g, first gradients %.2g" % (far_bc, far_last, far_grad))
    note("below, above the bounds of the log-probability:", [[int(c) for c in p[9]] for p in parts])
    assert steps[0][6] == 0 and steps[-1][3] > 0
    if "--float32" in sys.argv[1:]:
        return
    ceil = lambda v: "%.0e" % (10 ** math.ceil(math.log10(v)))
    print(HEAD % {"bc": BC_UPDATES, "ft": len(steps), "torch": torch.__version__, "inputs": INPUTS,
                  "cut": " and ".join(str(int(p[9][0])) for p in parts),
                  "distance": "pre-trained parameters below %s, tuned ones below %s" % (
                      ceil(far_bc), ceil(far_last))})
    tensors([("actor." + n, s) for n, s in ACTOR] + [("critic." + n, s) for n, s in CRITIC])
    actor_size = sum(math.prod(s) for _, s in ACTOR)
    critic_size = sum(math.prod(s) for _, s in CRITIC)
    array("inputs, to check the formulae first: uniform(1, 0..3), uniform(4095, 1000), "
          "normal(200, 0..3),\n   normal(233, 5) in double", "inputs", (10,),
          [uniform(1, i) for i in range(4)] + [uniform(4095, 1000)]
          + [normal(200, i) for i in range(4)] + [normal(233, 5)])
    array("least and largest of obs, of act", "range", (2 * S + 2 * A,), [obs_range, act_range])
    array("[5][3]: loss, gradient norm, learning rate of each update of pre-training", "bc",
          (BC_UPDATES, 3), [f for o in bc for f in o])
    array("average of the weights after them", "ema", (actor_size,), ema)
    array("[2][12][4][6]: chains as sampled", "sampled", (ITERATIONS, N, TUNED + 1, D),
          [p[0]["sampled"] for p in parts])
    array("[2][4][12]: V(s), V(s'), A, R = V + A", "chunks", (ITERATIONS, 4, N),
          [torch.stack([p[1], p[2], p[4], p[5]]) for p in parts])
    array("[2][12][3]: old", "old", (ITERATIONS, N, TUNED), [p[3] for p in parts])
    array("[2][3]: mean, variance, count of the reward scaler", "scale", (ITERATIONS, 3),
          [f for p in parts for f in p[6:9]])
    array("[12][6]: policy loss, mean (V - R)^2, KL estimate, ratios beyond the bounds, gradient"
          "\n   norm of actor, of critic", "steps", (len(steps), 6), [f for s in steps for f in s[:6]])
    array("first gradient of the actor, of the critic", "grad", (actor_size + critic_size,),
          list(grads[0]) + list(grads[1]), 9)
    array("actor and critic after all steps", "last", (actor_size + critic_size,), last)
    print("#endif")


main()
