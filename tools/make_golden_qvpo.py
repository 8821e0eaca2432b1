#!/usr/bin/env python3
"""Golden figures for QVPO: an independent PyTorch computation in float64.

    python3 tools/make_golden_qvpo.py > tests/golden/qvpo.h    (needs torch; notes go to stderr)
    python3 tools/make_golden_qvpo.py --float32                (no header: how far float32 is off)

Written from the equations (QVPO: Ding et al. 2024; DDPM: Ho et al. 2020, cosine schedule: Nichol
and Dhariwal 2021), with whole products instead of the library's shared parts of the first layer.
Gradients come from autograd. The comment at the head of the output says how the inputs are made.
"""
import math
import sys

import torch

import golden
from golden import (INPUTS, Adam, array, far, norm, normals, note, tensor, tensors, uniform,
                    uniforms)

golden.PREFIX = "golden_qvpo"

S, D, B, T, KT, ND, NE = 5, 3, 8, 6, 3, 5, 2
TIME, TIME_HIDDEN, W, H = 32, 256, 16, 24
GAMMA, TAU, EPS, CLIP, LR_A, LR_C = 0.99, 0.05, 1e-5, 0.5, 3e-3, 2e-3
ALPHA0, FLOOR, N, STARTS = 0.5, 0.2, 10, 2
UPDATES = 6
WEIGHTS = ("qadv", "qrelu", "qcut", "qexpn", "qcut0n", "qcut1n")


# ---- inputs ------------------------------------------------------------------------------------

ACTOR = [("t0.w", (TIME, TIME_HIDDEN)), ("t0.b", (1, TIME_HIDDEN)),
         ("t1.w", (TIME_HIDDEN, TIME)), ("t1.b", (1, TIME)),
         ("l0.w", (D + TIME + S, W)), ("l0.b", (1, W)), ("l1.w", (W, W)), ("l1.b", (1, W)),
         ("l2.w", (W, W)), ("l2.b", (1, W)), ("l3.w", (W, D)), ("l3.b", (1, D))]
CRITIC = [("q%d.l%d.%s" % (j, i, p), shape) for j in range(2) for i, (a, b) in
          enumerate(((D + S, H), (H, H), (H, H), (H, 1))) for p, shape in (("w", (a, b)),
                                                                          ("b", (1, b)))]


def make_params(table, first):
    """w: uniform / sqrt(rows), b: 0.1 uniform."""
    return [uniforms(first + i, s, 1 / math.sqrt(s[0]) if name.endswith("w") else 0.1)
            .requires_grad_(True) for i, (name, s) in enumerate(table)]


def make_batch(ident):
    return {"s": uniforms(ident, (B, S), 1.5), "a": uniforms(ident + 1, (B, D)),
            "r": uniforms(ident + 2, (B, 1), 2.0), "s2": uniforms(ident + 3, (B, S), 1.5),
            "d": (uniforms(ident + 4, (B, 1)) > 0.5).to(golden.DT)}


# ---- networks and chain --------------------------------------------------------------------------

def mish(x):
    return x * torch.tanh(torch.nn.functional.softplus(x))


def chain():
    """beta, abar for t = 1 .. T at index t."""
    f = [math.cos((t / T + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(T + 1)]
    beta = [0.0] + [min(0.999, 1 - f[t] / f[t - 1]) for t in range(1, T + 1)]
    abar = [1.0]
    for t in range(1, T + 1):
        abar.append(abar[-1] * (1 - beta[t]))
    return beta, abar


BETA, ABAR = chain()


def embed(t):
    half = TIME // 2
    rate = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=golden.DT) / (half - 1))
    angle = (t.to(golden.DT) - 1)[:, None] * rate[None, :]
    return torch.cat([torch.sin(angle), torch.cos(angle)], 1)


def eps(p, x, t, s):
    e = mish(embed(t) @ p[0] + p[1]) @ p[2] + p[3]
    h = torch.cat([x, e, s], 1)
    for i in (4, 6, 8):
        h = mish(h @ p[i] + p[i + 1])
    return h @ p[10] + p[11]


def q_values(p, s, a):
    out = []
    for j in range(2):
        h = torch.cat([a, s], 1)
        for i in range(3):
            h = mish(h @ p[8 * j + 2 * i] + p[8 * j + 2 * i + 1])
        out.append(h @ p[8 * j + 6] + p[8 * j + 7])
    return out


def sample(p, s, noise):
    """noise [T + 1][rows, D]: x_T, then z of each step."""
    x = noise[0]
    for i, t in enumerate(range(T, 0, -1)):
        e = eps(p, x, torch.full((len(s),), t), s)
        x0 = ((x - math.sqrt(1 - ABAR[t]) * e) / math.sqrt(ABAR[t])).clamp(-1, 1)
        var = BETA[t] * (1 - ABAR[t - 1]) / (1 - ABAR[t])
        x = (math.sqrt(ABAR[t - 1]) * BETA[t] / (1 - ABAR[t]) * x0
             + math.sqrt(1 - BETA[t]) * (1 - ABAR[t - 1]) / (1 - ABAR[t]) * x
             + (math.sqrt(var) * noise[i + 1] if t > 1 else 0))
    return x


def offer(actor, critic, s, k, ident):
    """K chains for each state, row k B + b; actions [K, B, D] and min Q [K, B]."""
    many = s.repeat(k, 1)
    noise = [normals(ident + i, (k * B, D)) for i in range(T + 1)]
    x = sample(actor, many, noise)
    q1, q2 = q_values(critic, many, x)
    return x.reshape(k, B, D), torch.minimum(q1, q2).reshape(k, B)


def transform(kind, best, v, m, sd):
    return {"qadv": (best - v).clamp(min=0), "qrelu": best.clamp(min=-0.25) + 0.25,
            "qcut": best.clamp(min=0.1), "qexpn": torch.exp(1.5 * ((best - m) / sd).clamp(-8, 8)),
            "qcut0n": (1.5 * (best - m)).clamp(min=0),
            "qcut1n": (1.5 * (best - m)).clamp(min=1)}[kind]


# ---- one update ----------------------------------------------------------------------------------

def clipped(grads, limit):
    n = norm(grads)
    return ([g * (limit / n) for g in grads] if n > limit else grads), n


def run(kind):
    actor, critic = make_params(ACTOR, 1), make_params(CRITIC, 20)
    actor_t = [p.detach() + 0.05 * uniforms(60 + i, p.shape) for i, p in enumerate(actor)]
    critic_t = [p.detach() + 0.05 * uniforms(80 + i, p.shape) for i, p in enumerate(critic)]
    adam_a, adam_c = Adam(actor, LR_A, eps=EPS), Adam(critic, LR_C, eps=EPS)
    m, sd, outs = 0.0, 1.0, []
    for u in range(UPDATES):
        out = {}
        b = make_batch(100 + 10 * u)
        with torch.no_grad():
            _, q = offer(actor_t, critic_t, b["s2"], KT, 300 + 40 * u)
            y = b["r"] + GAMMA * (1 - b["d"]) * q.max(0).values[:, None]
        loss = sum(((q - y) ** 2).mean() for q in q_values(critic, b["s"], b["a"]))
        grads, out["critic_norm"] = clipped(torch.autograd.grad(loss, critic), CLIP)
        out["critic_loss"], out["y"] = float(loss), float(y.mean())
        adam_c.step(grads)
        if u % 2 == 1:
            s = make_batch(105 + 10 * u)["s"]
            with torch.no_grad():
                x, q = offer(actor, critic, s, ND, 320 + 40 * u)
                best, k = q.max(0)
                a = x[k, torch.arange(B)]
                m += 0.001 * (float(q.mean()) - m)
                sd += 0.001 * (float(q.std()) - sd)
                w = transform(kind, best, q.mean(0), m, sd)
            alpha = min(ALPHA0, max(FLOOR, ALPHA0 * (1 - (u + 1 + STARTS) / N)))
            uni = uniforms(330 + 40 * u, (NE * B, D))
            rows = torch.cat([a, uni])
            weight = torch.cat([w, alpha * w.repeat(NE)])[:, None]
            t = torch.tensor([1 + int((uniform(331 + 40 * u, i) + 1) / 2 * T)
                              for i in range(len(rows))])
            noise = normals(332 + 40 * u, (len(rows), D))
            ab = torch.tensor(ABAR, dtype=golden.DT)[t][:, None]
            guess = eps(actor, torch.sqrt(ab) * rows + torch.sqrt(1 - ab) * noise, t,
                        s.repeat(1 + NE, 1))
            loss = (weight * (guess - noise) ** 2).mean()
            grads, out["actor_norm"] = clipped(torch.autograd.grad(loss, actor), CLIP)
            out["actor_loss"], out["q"] = float(loss), float(q.mean())
            out["w"], out["alpha"] = float(w.mean()), alpha
            adam_a.step(grads)
        with torch.no_grad():
            for target, now in ((critic_t, critic), (actor_t, actor)):
                for p, n in zip(target, now):
                    p.mul_(1 - TAU).add_(TAU * n)
        outs.append(out)
    state = [p.detach().clone() for p in actor + critic + actor_t + critic_t]
    return outs, state, (m, sd)


def main():
    if "--float32" in sys.argv:
        _, exact, _ = run("qadv")
        golden.DT = torch.float32
        _, rough, _ = run("qadv")
        note("float32 is off by", max(far(a, b) for a, b in zip(rough, exact)))
        return
    runs = {kind: run(kind) for kind in WEIGHTS}
    outs, state, running = runs["qadv"]
    table = ACTOR + CRITIC
    table = [(p + n, s) for p, t in (("actor.", ACTOR), ("critic.", CRITIC),
                                     ("actor_target.", ACTOR), ("critic_target.", CRITIC))
             for n, s in t]
    print("/* Made by tools/make_golden_qvpo.py; do not edit.\n" + INPUTS + "\n" + """
   S = %d, D = %d, B = %d, T = %d, K_t = %d, N_d = %d, N_e = %d; widths actor %d, critic %d.
   Tensors: w = u / sqrt(rows), b = 0.1 u; ids actor from 1, critic from 20; targets are these plus
   0.05 u with ids from 60 and 80. Batch of update t: ids 100 + 10 t + 0 .. 4 (s 1.5 u, a, r 2 u,
   s2 1.5 u, terminated where u > 0.5); the actor's s: 105 + 10 t. Normals of the chains: ids 300 +
   40 t + step, the actor's 320 + 40 t + step. Uniform actions 330 + 40 t, t = 1 + floor((u + 1) / 2
   T) 331 + 40 t, noise 332 + 40 t. */""" % (S, D, B, T, KT, ND, NE, W, H))
    print("#ifndef GOLDEN_QVPO_H\n#define GOLDEN_QVPO_H")
    print("#define GOLDEN_QVPO_TENSORS %d" % len(table))
    tensors(table)
    array("per update: critic loss, mean y, norm of its gradient; actor loss, mean Q, mean w,"
          "\n   alpha, norm of its gradient (0: none)", "updates", (UPDATES, 8),
          [o.get(k, 0.0) for o in outs for k in ("critic_loss", "y", "critic_norm", "actor_loss",
                                                 "q", "w", "alpha", "actor_norm")])
    array("sum and sum of squares of each tensor after the last update", "sums", (len(table), 2),
          [f for t in state for f in (float(t.sum()), float((t * t).sum()))])
    small = [t for (n, _), t in zip(table, state) if ".t0." not in n and ".t1." not in n]
    array("those but the time embedding's, whole", "last", (sum(t.numel() for t in small),), small)
    array("running mean and deviation of Q", "running", (2,), list(running))
    array("mean w of the actor updates with each weight: " + ", ".join(WEIGHTS), "weights",
          (len(WEIGHTS), UPDATES // 2),
          [o["w"] for kind in WEIGHTS for o in runs[kind][0][1::2]])
    array("uniform(1, 0..3), uniform(4095, 1000), normal(200, 0..3), normal(233, 5)", "inputs",
          (10,), [uniform(1, i) for i in range(4)] + [uniform(4095, 1000)]
          + [golden.normal(200, i) for i in range(4)] + [golden.normal(233, 5)])
    print("#endif")


main()
