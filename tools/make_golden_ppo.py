#!/usr/bin/env python3
"""Golden figures for PPO: an independent PyTorch computation in float64.

    python3 tools/make_golden_ppo.py > tests/golden/ppo.h    (needs torch; notes go to stderr)

Written from the papers (PPO: Schulman et al. 2017, arXiv:1707.06347; GAE: Schulman et al. 2015,
arXiv:1506.02438), not from any implementation. Gradients come from autograd, densities from
torch.distributions; advantages are summed forwards, the reward's scale is made from all returns.
"""
import math

import torch
from torch.distributions import Normal

import golden
from golden import (INPUTS, Adam, array, difference, far, near, norm, normal, normals, note,
                    tensors, uniform, uniforms)

golden.PREFIX = "golden_ppo"
S, D, W, ENVS, N, B, STEPS = 4, 2, 12, 2, 24, 8, 9
GAMMA, LAMBDA, CLIP, LR, GRAD = 0.99, 0.95, 0.2, 5e-3, 0.5
ENDS = {10: "terminated", 15: "truncated"}  # row t * ENVS + env

NET = [("policy.l0.w", (S, W)), ("policy.l0.b", (1, W)), ("policy.l1.w", (W, W)),
       ("policy.l1.b", (1, W)), ("policy.l2.w", (W, D)), ("policy.l2.b", (1, D)),
       ("value.l0.w", (S, W)), ("value.l0.b", (1, W)), ("value.l1.w", (W, W)),
       ("value.l1.b", (1, W)), ("value.l2.w", (W, 1)), ("value.l2.b", (1, 1)),
       ("log_std", (1, D))]


def make_net():
    return [(uniforms(1 + i, shape, 1 / math.sqrt(shape[0])) if name.endswith("w") else
             uniforms(1 + i, shape, 0.1, -1.0 if name == "log_std" else 0)).requires_grad_(True)
            for i, (name, shape) in enumerate(NET)]


def mlp(p, x):
    return torch.tanh(torch.tanh(x @ p[0] + p[1]) @ p[2] + p[3]) @ p[4] + p[5]


def see(obs):
    """By statistics seen before: count 50, mean 0.3 u, sum of squares 10 + 5 u, the last 1e-4."""
    mean = uniforms(60, (1, S), 0.3)
    m2 = uniforms(61, (1, S), 5.0, 10.0)
    m2[0, S - 1] = float(torch.tensor(1e-4, dtype=torch.float32))
    return torch.clamp((obs - mean) / torch.sqrt(m2 / 50 + 1e-8), -10, 10)


def density(net, x, act):
    return Normal(mlp(net[:6], x), torch.exp(net[12])).log_prob(act).sum(1, keepdim=True)


def scale(rewards):
    """r over the spread of all discounted returns up to it; 1e-4 of an observation with mean 0 and
    variance 1 comes first."""
    returns, running, out = [], [0.0] * ENVS, []
    for i, r in enumerate(rewards):
        running[i % ENVS] = GAMMA * running[i % ENVS] + r
        returns.append(running[i % ENVS])
        count = len(returns) + 1e-4
        mean = sum(returns) / count
        square = 1e-4 * (1 + mean * mean) + sum((g - mean) ** 2 for g in returns)
        out.append(max(-10.0, min(10.0, r / math.sqrt(square / (count - 1) + 1e-8))))
        if i in ENDS:
            running[i % ENVS] = 0.0
    return torch.tensor(out, dtype=golden.DT).reshape(-1, 1)


def advantages(r, v, v_next):
    """A_t = sum over l of (gamma lambda)^l delta_{t+l} within the episode."""
    out = []
    for i in range(N):
        total, weight, j = 0.0, 1.0, i
        while j < N:
            keep = 0.0 if ENDS.get(j) == "terminated" else GAMMA
            total = total + weight * (r[j] + keep * v_next[j] - v[j])
            if j in ENDS:
                break
            weight, j = weight * GAMMA * LAMBDA, j + ENVS
        out.append(total)
    return torch.stack(out)


def step_loss(net, x, act, adv, target, old):
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    log_ratio = density(net, x, act) - old
    ratio = torch.exp(log_ratio)
    gain = torch.minimum(ratio * adv, torch.clamp(ratio, 1 - CLIP, 1 + CLIP) * adv).mean()
    error = 0.25 * ((mlp(net[6:12], x) - target) ** 2).mean()
    return error - gain, -gain, error, (ratio - 1 - log_ratio).mean(), ratio


def order(k):
    """The rows of gradient step k."""
    rows = sorted(range(N), key=lambda i: uniform(400 + k // 3, i))
    return rows[k % 3 * B:k % 3 * B + B]


def run():
    net = make_net()
    adam = Adam(net, LR, eps=1e-5)
    obs, next_obs = uniforms(100, (N, S), 1.5), uniforms(101, (N, S), 1.5)
    act, rewards = normals(102, (N, D)) * 0.5, uniforms(103, (N, 1), 2.0, 0.5)
    x, x_next = see(obs), see(next_obs)
    with torch.no_grad():
        r, v, v_next = scale(rewards.flatten().tolist()), mlp(net[6:12], x), mlp(net[6:12], x_next)
        adv, old = advantages(r, v, v_next), density(net, x, act)
    target = adv + v
    outs, states = [], []
    for k in range(STEPS):
        i = order(k)
        if k == 0 and golden.DT == torch.float64:
            difference("the loss", net,
                       lambda: step_loss(net, x[i], act[i], adv[i], target[i], old[i])[0], 900)
        loss, policy, value, kl, ratio = step_loss(net, x[i], act[i], adv[i], target[i], old[i])
        if k == 0:
            near(ratio.detach(), torch.ones(B, 1), 1e-5)
        grads = torch.autograd.grad(loss, net)
        size = norm(grads)
        adam.step([g * min(1.0, GRAD / size) for g in grads])
        outs.append([float(f) for f in (policy, value, kl, size)])
        outs[-1].append(float(((ratio - 1).abs() > CLIP).sum()))
        states.append([t.detach().clone() for t in net])
    cut = float((x.abs() == 10).to(golden.DT).sum())
    return outs, states, (r, adv, target, old), cut


HEAD = r"""/* PPO: a rollout and %(steps)d gradient steps on it. Made by tools/make_golden_ppo.py.

     python3 tools/make_golden_ppo.py > tests/golden/ppo.h

   An independent computation from the papers in PyTorch %(torch)s, float64, gradients by autograd.

   SIZES  observation S=4, action D=2, 2 hidden layers of 12, 2 environments, rollout of 24 rows,
   row 2 t + environment; 8 rows per gradient step.

%(inputs)s
   Parameters: id = 1 + position in golden_ppo_tensors:
     weight [in, out]  u / sqrt(in)        bias  0.1 u        log_std  -1 + 0.1 u
   Rollout: s = 1.5 u of id 100, s' = 1.5 u of id 101, action before the cut = float(z) / 2 of id
     102, reward 0.5 + 2 u of id 103. Row 10 is terminated, row 15 truncated.
   Statistics of observations seen before: count 50, mean 0.3 u of id 60, sum of squares 10 + 5 u of
     id 61, but that of the last element is float(1e-4) (so that the cut at 10 is met).
   Gradient step k uses rows k %% 3 * 8 .. + 7 of the order of increasing uniform(400 + k / 3, i).

   gamma 0.99, lambda 0.95, clip 0.2, value loss / 4, gradient norm at most 0.5, Adam lr 5e-3,
   eps 1e-5. Rewards are divided by the deviation of all discounted returns so far.

   The same program in float32: parameters after the last step are %(far).1e off. */
#ifndef GOLDEN_PPO_H
#define GOLDEN_PPO_H
"""


def main():
    near(scale_single(), [1.01506863], 1e-8)
    outs, states, rollout, cut = run()
    golden.DT = torch.float32
    states32 = run()[1]
    golden.DT = torch.float64
    off = max(far(a, b) for a, b in zip(states32[-1], states[-1]))
    for k, o in enumerate(outs):
        note("step %d: policy loss %.6g, value loss %.6g, kl %.3g, gradient %.3g, rows clipped %d"
             % (k, *o))
    note("observations cut: %d; largest reward %.3g" % (cut, float(rollout[0].abs().max())))
    assert any(o[4] for o in outs) and any(o[3] > GRAD for o in outs)
    print(HEAD % {"steps": STEPS, "inputs": INPUTS, "torch": torch.__version__, "far": off})
    tensors(NET)
    array("inputs: uniform(1, 0..3), uniform(4095, 1000), normal(200, 0..3), normal(233, 5)",
          "inputs", (10,), [uniform(1, i) for i in range(4)] + [uniform(4095, 1000)]
          + [normal(200, i) for i in range(4)] + [normal(233, 5)])
    for name, values in zip(("reward", "advantage", "target", "old"), rollout):
        array({"reward": "scaled rewards", "advantage": "A by GAE", "target": "A + V",
               "old": "ln pi of the actions before the update"}[name], name, (N,), [values])
    array("the rows of each step", "order", (STEPS, B), [float(i) for k in range(STEPS)
                                                         for i in order(k)])
    array("per step: policy loss, value loss, kl, gradient norm, rows clipped", "steps", (STEPS, 5),
          [f for o in outs for f in o])
    array("[%d][%d][2]: sum and sum of squares of each tensor after each step" % (STEPS, len(NET)),
          "sums", (STEPS, len(NET), 2),
          [f for st in states for t in st for f in (float(t.sum()), float((t * t).sum()))])
    array("all tensors after the last step", "last", (sum(math.prod(s) for _, s in NET),),
          states[-1], 9)
    print("#endif")


def scale_single():
    """Rewards 1, 1, 1 of one environment: the third, scaled."""
    global ENVS
    envs, ENVS = ENVS, 1
    out = scale([1.0, 1.0, 1.0])[2:]
    ENVS = envs
    return out


main()
