#!/usr/bin/env python3
"""Golden figures for SAC: an independent PyTorch computation in float64.

    python3 tools/make_golden_sac.py > tests/golden/sac.h    (needs torch; notes go to stderr)

Written from the paper (Haarnoja et al. 2018, arXiv:1812.05905), not from any implementation.
Gradients come from autograd; the density of an action is torch.distributions' own.
"""
import math

import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

import golden
from golden import (INPUTS, Adam, array, difference, far, near, norm, normal, normals, note,
                    tensors, uniform, uniforms)

golden.PREFIX = "golden_sac"
S, D, B, W, UPDATES = 5, 3, 8, 16, 6
GAMMA, TAU, LR, ALPHA, TARGET = 0.99, 0.05, 3e-3, 0.2, -1.0
WIDTHS = (-0.5, 0.2, 2.3)  # where ln sigma starts: the last is beyond its bound

ACTOR = [("l0.w", (S, W)), ("l0.b", (1, W)), ("l1.w", (W, W)), ("l1.b", (1, W)),
         ("l2.w", (W, 2 * D)), ("l2.b", (1, 2 * D))]
CRITIC = [("l0.w", (D + S, W)), ("l0.b", (1, W)), ("l1.w", (W, W)), ("l1.b", (1, W)),
          ("l2.w", (W, 1)), ("l2.b", (1, 1))]


def make_params(table, first):
    return [(uniforms(first + i, shape, 1 / math.sqrt(shape[0])) if name.endswith("w") else
             uniforms(first + i, shape, 0.1)).requires_grad_(True)
            for i, (name, shape) in enumerate(table)]


def make_batch(u):
    return {"s": uniforms(100 + 10 * u, (B, S), 1.5), "a": uniforms(101 + 10 * u, (B, D)),
            "r": uniforms(102 + 10 * u, (B, 1), 2.0), "s2": uniforms(103 + 10 * u, (B, S), 1.5),
            "d": (uniforms(104 + 10 * u, (B, 1)) > 0.5).to(golden.DT)}


def mlp(p, x):
    for i in (0, 2):
        x = torch.relu(x @ p[i] + p[i + 1])
    return x @ p[4] + p[5]


def policy(p, s):
    h = mlp(p, s)
    return h[:, :D], torch.clamp(h[:, D:], -20, 2)


def sample(p, s, noise):
    mu, log_std = policy(p, s)
    x = mu + torch.exp(log_std) * noise
    density = Normal(mu, torch.exp(log_std)).log_prob(x)
    density = density - TanhTransform().log_abs_det_jacobian(x, torch.tanh(x))
    return torch.tanh(x), density.sum(1, keepdim=True)


class Agent:
    def __init__(self):
        self.actor = make_params(ACTOR, 1)
        with torch.no_grad():
            for i, w in enumerate(WIDTHS):
                self.actor[5][0, D + i] = float(torch.tensor(w + 0.1 * uniform(6, D + i),
                                                             dtype=torch.float32))
        self.critics = [make_params(CRITIC, 20), make_params(CRITIC, 40)]
        self.targets = [[t.detach().clone() for t in p] for p in self.critics]
        self.kappa = torch.tensor([[math.log(ALPHA)]], dtype=torch.float32).to(golden.DT)
        self.adam = [Adam(self.actor, LR), Adam(self.critics[0] + self.critics[1], LR),
                     Adam([self.kappa], LR)]

    def alpha(self):
        return torch.exp(self.kappa)

    def q(self, nets, s, a):
        return [mlp(p, torch.cat([a, s], 1)) for p in nets]

    def critic_loss(self, b, noise):
        with torch.no_grad():
            a2, density = sample(self.actor, b["s2"], noise)
            soft = torch.minimum(*self.q(self.targets, b["s2"], a2)) - self.alpha() * density
            y = b["r"] + GAMMA * (1 - b["d"]) * soft
        return sum(0.5 * ((q - y) ** 2).mean() for q in self.q(self.critics, b["s"], b["a"]))

    def actor_loss(self, b, noise):
        a, density = sample(self.actor, b["s"], noise)
        q = torch.minimum(*self.q(self.critics, b["s"], a))
        return (self.alpha() * density - q).mean(), density.mean(), q.mean()

    def update(self, u):
        b = make_batch(u)
        loss = self.critic_loss(b, normals(200 + 10 * u, (B, D)))
        grads = torch.autograd.grad(loss, self.critics[0] + self.critics[1])
        self.adam[1].step(grads)
        actor_loss, density, q = self.actor_loss(b, normals(201 + 10 * u, (B, D)))
        actor_grads = torch.autograd.grad(actor_loss, self.actor)
        self.adam[0].step(actor_grads)
        # J(alpha) = E[-alpha L - alpha H], by kappa = ln alpha
        self.adam[2].step([-self.alpha() * (density.detach() + TARGET * D)])
        for p, t in zip(self.critics[0] + self.critics[1], self.targets[0] + self.targets[1]):
            t.mul_(1 - TAU).add_(TAU * p.detach())
        return {"figures": [float(f) for f in (loss, actor_loss, q, self.alpha(), density,
                                               norm(grads), norm(actor_grads))],
                "critic": grads, "actor": actor_grads}

    def all(self):
        return [t.detach().clone() for t in self.actor + self.critics[0] + self.critics[1]
                + self.targets[0] + self.targets[1]]


def self_tests():
    agent, b = Agent(), make_batch(0)
    noise = normals(201, (B, D))
    a, density = sample(agent.actor, b["s"], noise)
    mu, log_std = policy(agent.actor, b["s"])
    whole = TransformedDistribution(Normal(mu[:, :2], torch.exp(log_std[:, :2])), [TanhTransform()])
    plain = Normal(mu[:, 2:], torch.exp(log_std[:, 2:]))
    x = mu[:, 2:] + torch.exp(log_std[:, 2:]) * noise[:, 2:]
    last = plain.log_prob(x) - 2 * (math.log(2) - x - torch.nn.functional.softplus(-2 * x))
    near(density, (whole.log_prob(a[:, :2]).sum(1, keepdim=True) + last).detach(), 1e-9)
    assert bool((log_std[:, 2] == 2).any()) and bool((log_std[:, :2] < 2).all())
    difference("the actor loss", agent.actor, lambda: agent.actor_loss(b, noise)[0], 940)
    difference("the critic loss", agent.critics[0] + agent.critics[1],
               lambda: agent.critic_loss(b, noise), 910)


HEAD = r"""/* SAC: figures of %(updates)d consecutive updates. Made by tools/make_golden_sac.py.

     python3 tools/make_golden_sac.py > tests/golden/sac.h

   An independent computation from the paper in PyTorch %(torch)s, float64, gradients by autograd.

   SIZES  observation S=5, action D=3, batch B=8, all networks 2 hidden layers of 16, ReLU.

%(inputs)s
   Parameters: id = 1 + position in the actor, 20 + position in critic 0, 40 + position in critic 1
   (order of golden_sac_tensors); targets start as copies:
     weight [in, out]  u / sqrt(in)        bias  0.1 u
     but the last three of actor.l2.b are -0.5, 0.2, 2.3 (beyond the bound of ln sigma) + 0.1 u
   Batch of update t = 0..5, ids 100 + 10 t + (0: s = 1.5 u; 1: a = u; 2: r = 2 u; 3: s' = 1.5 u;
     4: terminated = u > 0.5). Noise of update t, ids 200 + 10 t + (0: next action; 1: actor).

   UPDATE t  y = r + 0.99 (1 - d) (min Q'(s', a') - alpha L'); critics (on [a, s]) on the sum of
     mean((Q - y)^2) / 2; actor on mean(alpha L - min Q(s, a)); kappa with gradient -alpha (mean L
     - 3), alpha from before; targets move by 0.05. ln sigma is cut to -20 .. 2. alpha starts at
     0.2. Adam, lr 3e-3, betas 0.9, 0.999, eps 1e-8.

   The same program in float32: parameters after the last update are %(far).1e off. */
#ifndef GOLDEN_SAC_H
#define GOLDEN_SAC_H
"""


def run():
    agent, outs, states = Agent(), [], []
    for u in range(UPDATES):
        outs.append(agent.update(u))
        states.append(agent.all())
    return outs, states


def main():
    self_tests()
    outs, states = run()
    golden.DT = torch.float32
    states32 = run()[1]
    golden.DT = torch.float64
    off = max(far(a, b) for a, b in zip(states32[-1], states[-1]))
    for u, o in enumerate(outs):
        note(u, " ".join("%.6g" % f for f in o["figures"]))
    table = [("actor." + n, s) for n, s in ACTOR]
    table += [("%s.q%d.%s" % (k, j, n), s) for k in ("critic", "target") for j in range(2)
              for n, s in CRITIC]
    print(HEAD % {"updates": UPDATES, "inputs": INPUTS, "torch": torch.__version__, "far": off})
    tensors(table)
    array("inputs: uniform(1, 0..3), uniform(4095, 1000), normal(200, 0..3), normal(233, 5)",
          "inputs", (10,), [uniform(1, i) for i in range(4)] + [uniform(4095, 1000)]
          + [normal(200, i) for i in range(4)] + [normal(233, 5)])
    array("per update: critic loss, actor loss, mean Q, alpha afterwards, mean L, gradient norms of"
          "\n   critics and actor", "updates", (UPDATES, 7),
          [f for o in outs for f in o["figures"]])
    array("[%d][%d][2]: sum and sum of squares of each tensor after each update"
          % (UPDATES, len(table)), "sums", (UPDATES, len(table), 2),
          [f for st in states for t in st for f in (float(t.sum()), float((t * t).sum()))])
    array("all tensors after the last update", "last", (sum(math.prod(s) for _, s in table),),
          states[-1], 9)
    array("critic gradients of the first update", "critic_grad",
          (2 * sum(math.prod(s) for _, s in CRITIC),), outs[0]["critic"], 9)
    array("actor gradient of the first update", "actor_grad",
          (sum(math.prod(s) for _, s in ACTOR),), outs[0]["actor"], 9)
    print("#endif")


main()
