"""Tests tools/import_torch.py: networks with the layers and names of DPPO, QVPO and Diffusion-QL
are built in PyTorch, saved, imported, and run by this library; with the same noise the actions of
the whole chain must agree within 1e-5. Run by tests/cli/import.sh."""

import contextlib
import io
import math
import os
import re
import shutil
import sys
import tempfile

import numpy as np
import torch
from torch import nn

import diffrl
import import_torch

torch.manual_seed(11)
torch.set_num_threads(1)
work = tempfile.mkdtemp(dir=sys.argv[1])
passed = failed = 0


def check(name, good, what=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("ok   " + name if good else "FAIL %s%s" % (name, ": %s" % what if what else ""))


def close(name, got, want, least=0.05):
    """Within 1e-5, and not because all is the same."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    error = np.abs(got - want).max()
    check("%s (error %.0e)" % (name, error), got.shape == want.shape and error < 1e-5
          and want.std() > least, (got, want))


def path(name):
    return os.path.join(work, name)


# ----------------------------------------------------------------- the networks, as users have them


class Sinusoid(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, t):
        w = torch.exp(-math.log(10000) * torch.arange(self.dim // 2) / (self.dim // 2 - 1))
        return torch.cat([(t[:, None] * w).sin(), (t[:, None] * w).cos()], -1)


def time_net(dim, hidden):
    return nn.Sequential(Sinusoid(dim), nn.Linear(dim, hidden), nn.Mish(), nn.Linear(hidden, dim))


def louder(net):
    """Larger weights than PyTorch's first ones, so that the network's output matters."""
    for p in net.parameters():
        p.data *= 1.5


def stack(dims, act):
    layers = []
    for a, b in zip(dims, dims[1:]):
        layers += [nn.Linear(a, b), act()]
    return layers


class Block(nn.Module):
    def __init__(self, width, norm):
        super().__init__()
        self.l1, self.l2 = nn.Linear(width, width), nn.Linear(width, width)
        if norm:
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        return x + self.l2(self.l1(x.relu()).relu())


class Residual(nn.Module):
    def __init__(self, n_in, width, n_out, blocks, norm):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(n_in, width)] + [Block(width, norm)
                                                                for _ in range(blocks)] +
                                    [nn.Linear(width, n_out), nn.Identity()])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Plain(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.moduleList = nn.ModuleList([nn.Sequential() for _ in dims[1:]])
        for m, a, b in zip(self.moduleList, dims, dims[1:]):
            m.add_module("linear_1", nn.Linear(a, b))


class DppoNet(nn.Module):
    def __init__(self, obs, out, width=512, blocks=1, norm=False, plain=False, cond=0, time=16):
        super().__init__()
        self.time_embedding = time_net(time, 2 * time)
        n_in = obs + out + time
        self.mlp_mean = Plain([n_in, width, out]) if plain else Residual(n_in, width, out, blocks,
                                                                         norm)
        if cond:
            self.cond_mlp = Plain([obs, cond])
        louder(self)

    def forward(self, x, t, s):
        return self.mlp_mean(torch.cat([x, self.time_embedding(t), s], -1))


class QlNet(nn.Module):
    """Of Diffusion-QL: mid_layer, final_layer; of QVPO: layer."""

    def __init__(self, obs, act, time, hidden, one=False, width=256, layers=3):
        super().__init__()
        self.time_mlp = time_net(time, hidden)
        mid = stack([obs + act + time] + [width] * layers, nn.Mish)
        if one:
            self.layer = nn.Sequential(*mid, nn.Linear(width, act))
        else:
            self.mid_layer, self.final_layer = nn.Sequential(*mid), nn.Linear(width, act)
        louder(self)

    def forward(self, x, t, s):
        x = torch.cat([x, self.time_mlp(t), s], -1)
        return self.layer(x) if hasattr(self, "layer") else self.final_layer(self.mid_layer(x))


class Critic(nn.Module):
    def __init__(self, obs, act, width=256):
        super().__init__()
        dims = [obs + act, width, width, width]
        self.q1_model = nn.Sequential(*stack(dims, nn.Mish), nn.Linear(width, 1))
        self.q2_model = nn.Sequential(*stack(dims, nn.Mish), nn.Linear(width, 1))

    def forward(self, s, a):
        x = torch.cat([s, a], -1)
        return torch.min(self.q1_model(x), self.q2_model(x))


class Diffusion(nn.Module):
    """A model with the buffers of its schedule, as in QVPO and Diffusion-QL."""

    def __init__(self, model, betas):
        super().__init__()
        self.model = model
        abar = torch.cumprod(1 - betas, 0)
        self.register_buffer("betas", betas)
        self.register_buffer("alphas_cumprod", abar)
        self.register_buffer("sqrt_alphas_cumprod", abar.sqrt())


def cosine(steps):
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    f = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(0, 0.999).float()


def vp(steps):
    t = torch.arange(1, steps + 1, dtype=torch.float64)
    return (1 - torch.exp(-0.1 / steps - 0.5 * 9.9 * (2 * t - 1) / steps ** 2)).float()


@torch.no_grad()
def chain(net, betas, obs, noise, floor=0.0, clip=1e9):
    """x_0 from noise [T + 1, rows, A]; net(x, t, s) is the noise network at t."""
    abar = torch.cumprod(1 - betas.double(), 0).float()
    x = noise[0]
    for k, t in enumerate(reversed(range(len(betas)))):
        before = abar[t - 1] if t else torch.tensor(1.0)
        eps = net(x, torch.full((len(x),), float(t)), obs)
        x0 = (x / abar[t].sqrt() - (1 / abar[t] - 1).sqrt() * eps).clamp(-1, 1)
        mean = betas[t] * before.sqrt() / (1 - abar[t]) * x0 + \
            (1 - before) * (1 - betas[t]).sqrt() / (1 - abar[t]) * x
        std = (betas[t] * (1 - before) / (1 - abar[t])).sqrt().clamp(min=floor) if t else 0.0
        x = mean + std * noise[k + 1].clamp(-clip, clip)
    return x


@torch.no_grad()
def ddim(net, betas, steps, obs, x):
    """Deterministic: at t = (steps - 1) r, .., r, 0."""
    abar = torch.cumprod(1 - betas.double(), 0).float()
    ratio = len(betas) // steps
    for j in reversed(range(steps)):
        t = j * ratio
        before = abar[t - ratio] if j else torch.tensor(1.0)
        eps = net(x, torch.full((len(x),), float(t)), obs)
        x0 = ((x - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()).clamp(-1, 1)
        eps = (x - abar[t].sqrt() * x0) / (1 - abar[t]).sqrt()
        x = before.sqrt() * x0 + (1 - before).sqrt() * eps
    return x


def run(*arguments):
    """The converter as from the command line: exit status and all that it says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = import_torch.main([*arguments, "--out", path("policy")])
    return status, said.getvalue()


def imported(name, *arguments):
    status, said = run(*arguments)
    check(name + " is imported", status == 0, said)
    return diffrl.load(path("policy"))


def refused(name, text, *arguments):
    status, said = run(*arguments)
    check("refused: " + name, status == 3 and text in said and len(said) < 600, said)


def normals(algo, *shape):
    """What the agent draws after begin(7)."""
    return torch.from_numpy(diffrl.Rng(7, algo + " eval").normals(*shape))


def actions(policy, obs, calls=1):
    policy.begin(7)
    return np.concatenate([policy.act(obs.numpy()) for _ in range(calls)], 1)


ROWS = 5

# ------------------------------------------------------------------------------------------- DPPO

S, A, CHUNK, T = 11, 3, 4, 20
raw = 3 * torch.randn(ROWS, S)
limits = {"obs_min": -5 - np.random.RandomState(1).rand(S), "obs_max": 4 + np.arange(S) / 3.0,
          "action_min": np.array([-1, -0.9, -0.8]), "action_max": np.array([1, 0.95, 0.99])}
np.savez(path("normalization.npz"), **{k: v.astype(np.float32) for k, v in limits.items()})
low, high = (torch.tensor(limits["obs_" + k], dtype=torch.float32) for k in ("min", "max"))
obs = 2 * ((raw - low) / (high - low + 1e-6) - 0.5)
a_low, a_high = (torch.tensor(limits["action_" + k], dtype=torch.float32) for k in ("min", "max"))


def plan_of(x):
    """A chunk in the units of the task, actions side by side."""
    x = (x.reshape(ROWS, CHUNK, A) + 1) / 2 * (a_high - a_low) + a_low
    return x.reshape(ROWS, -1).clamp(-1, 1)


net, tuned = DppoNet(S, CHUNK * A), DppoNet(S, CHUNK * A)
noise = normals("dppo", T + 1, ROWS, CHUNK * A)
torch.save({"epoch": 9, "model": {"network." + k: v + 1 for k, v in net.state_dict().items()},
            "ema": {"network." + k: v for k, v in net.state_dict().items()}}, path("pre.pt"))
range_ = ("--normalization", path("normalization.npz"))
policy = imported("DPPO, pre-trained", path("pre.pt"), "--steps", "20", "--task", "Hopper-v5",
                  *range_)
close("DPPO: four actions of a plan, whole chain", actions(policy, raw, CHUNK),
      plan_of(chain(net, cosine(T), obs, noise, 1e-3, 10)))
check("DPPO: the file's words", policy.meta["task"] == "Hopper-v5"
      and policy.meta["source"] == "pre.pt" and policy.config["chunk"] == CHUNK, policy.meta)

state = {"critic.Q1.weight": torch.zeros(2, 2)}
for prefix, of in (("network.", net), ("actor.", net), ("actor_ft.", tuned)):
    state.update({prefix + k: v for k, v in of.state_dict().items()})
torch.save({"itr": 3, "model": state}, path("tuned.pt"))
policy = imported("DPPO, fine-tuned", path("tuned.pt"), "--steps", "20", *range_)
close("DPPO: the tuned network in the last ten steps", actions(policy, raw, CHUNK),
      plan_of(chain(lambda x, t, s: (tuned if t[0] < 10 else net)(x, t, s), cosine(T), obs, noise,
                    1e-3, 3)))
policy = imported("DPPO with DDIM", path("tuned.pt"), "--steps", "100", *range_, "--set",
                  "ddim_steps=5", "--set", "tuned=5")
close("DPPO: five DDIM steps of a hundred", actions(policy, raw, CHUNK),
      plan_of(ddim(tuned, cosine(100), 5, obs, normals("dppo", 6, ROWS, CHUNK * A)[0])))
policy = imported("DPPO without the range of the data", path("pre.pt"), "--steps", "20", "--chunk",
                  "4")
close("DPPO: then nothing is scaled", actions(policy, obs, CHUNK),
      chain(net, cosine(T), obs, noise, 1e-3, 10).clamp(-1, 1))

for name, text, wrong in (
        ("plain MLP", "residual_style: True", {"plain": True}),
        ("layer norm", "use_layernorm: False", {"norm": True}),
        ("three blocks", "residual blocks: expected 1, got 3", {"blocks": 3}),
        ("encoder of states", "cond_mlp_dims", {"cond": 16}),
        ("other time embedding", "expected (16, 32, 16), got (32, 64, 32)", {"time": 32})):
    state = DppoNet(S, CHUNK * A, 32, **wrong).state_dict()
    torch.save({"model": {"network." + k: v for k, v in state.items()}}, path("wrong.pt"))
    refused("DPPO with " + name, text, path("wrong.pt"), "--steps", "20", *range_)
refused("DPPO without --steps", "give --steps", path("pre.pt"), *range_)
refused("DPPO without --chunk", "give --chunk", path("pre.pt"), "--steps", "20")
refused("a chunk that does not fit", "chunk: expected 12", path("pre.pt"), "--steps", "20",
        "--chunk", "5", *range_)
np.savez(path("far.npz"), **{**limits, "action_max": np.array([2.0, 1, 1])})
refused("actions out of [-1, 1]", "scale the range", path("pre.pt"), "--steps", "20",
        "--normalization", path("far.npz"))
refused("a setting that is none", "did you mean", path("pre.pt"), "--steps", "20", *range_, "--set",
        "tund=4")

# ------------------------------------------------------------------------------------------- QVPO

S, A, K = 6, 2, 32
obs = torch.randn(ROWS, S)
net, critic = QlNet(S, A, 32, 256, one=True), Critic(S, A, 200)
torch.save(Diffusion(net, cosine(T)).state_dict(), path("actor.pth"))
torch.save(critic.state_dict(), path("critic.pth"))
policy = imported("QVPO", path("actor.pth"), "--critic", path("critic.pth"))
many = obs.repeat(K, 1)
x = chain(net, cosine(T), many, normals("qvpo", T + 1, K * ROWS, A))
with torch.no_grad():
    best = critic(many, x).reshape(K, ROWS).argmax(0)
close("QVPO: the best of 32", actions(policy, obs),
      torch.stack([x[k * ROWS + b] for b, k in enumerate(best)]))
policy = imported("QVPO without its critic", path("actor.pth"))
close("QVPO: then a sample", actions(policy, obs),
      chain(net, cosine(T), obs, normals("qvpo", T + 1, ROWS, A)))
torch.save(net.state_dict(), path("bare.pth"))
policy = imported("the model alone", path("bare.pth"), "--steps", "20", "--schedule", "cosine")
close("QVPO: the model alone", actions(policy, obs),
      chain(net, cosine(T), obs, normals("qvpo", T + 1, ROWS, A)))

# ----------------------------------------------------------------------------------- Diffusion-QL

for steps in (5, 10):
    net = QlNet(S, A, 16, 32)
    torch.save(Diffusion(net, vp(steps)).state_dict(), path("ql.pth"))
    policy = imported("Diffusion-QL, vp, %d steps" % steps, path("ql.pth"))
    close("Diffusion-QL: whole chain, vp", actions(policy, obs),
          chain(net, vp(steps), obs, normals("dacer", steps + 1, ROWS, A)))
    noise = torch.from_numpy(diffrl.Rng(1, "dacer act").normals(steps + 1, ROWS, A))
    close("Diffusion-QL: exploring adds no noise", policy.act(obs.numpy(), explore=True),
          chain(net, vp(steps), obs, noise))
net = QlNet(S, A, 16, 32)
torch.save(Diffusion(net, cosine(10)).state_dict(), path("ql.pth"))
policy = imported("Diffusion-QL, cosine", path("ql.pth"))
close("Diffusion-QL: whole chain, cosine", actions(policy, obs),
      chain(net, cosine(10), obs, normals("qvpo", 11, ROWS, A)))

net = QlNet(S, A, 32, 256, width=128)
torch.save(Diffusion(net, cosine(20)).state_dict(), path("ql.pth"))
policy = imported("QVPO's time embedding with the other names, 128 wide", path("ql.pth"))
close("whole chain", actions(policy, obs),
      chain(net, cosine(20), obs, normals("qvpo", 21, ROWS, A)))

torch.save(Diffusion(QlNet(S, A, 16, 32), torch.linspace(1e-4, 0.02, 100)).state_dict(),
           path("wrong.pth"))
refused("a linear schedule", "expected vp or cosine, got betas 0.0001 .. 0.02", path("wrong.pth"))
torch.save(Diffusion(QlNet(S, A, 16, 32), vp(100)).state_dict(), path("wrong.pth"))
refused("a hundred steps that cannot be told apart", "100 steps cannot", path("wrong.pth"))
torch.save(Diffusion(QlNet(S, A, 32, 256), vp(5)).state_dict(), path("wrong.pth"))
refused("a wide time embedding", "got 32 -> 256 -> 32", path("wrong.pth"))
torch.save(Diffusion(QlNet(S, A, 32, 256, layers=2), cosine(5)).state_dict(), path("wrong.pth"))
refused("two hidden layers", "hidden layers: expected 3, got 2", path("wrong.pth"))
torch.save(Critic(S + 1, A).state_dict(), path("other.pth"))
refused("the critic of another task", "inputs of the critic: expected 8, got 9", path("actor.pth"),
        "--critic", path("other.pth"))
refused("a model without its schedule", "give --steps and --schedule", path("bare.pth"))

# --------------------------------------------------------------------------------- other files

torch.save({"a": torch.zeros(3)}, path("wrong.pth"))
refused("another network", "expected network.time_embedding", path("wrong.pth"))
torch.save([1, 2], path("wrong.pth"))
refused("another thing", "state dict of tensors", path("wrong.pth"))
torch.save(net, path("wrong.pth"))
refused("a pickle that could run code", "", path("wrong.pth"))
with open(path("wrong.pth"), "w", encoding="ascii") as f:
    f.write("no checkpoint")
refused("a text", "", path("wrong.pth"))
refused("no file", "none.pth", path("none.pth"))

# ------------------------------------------------------------- the reader in README, of our weights

try:
    import safetensors.torch  # noqa: F401
except ImportError:
    print("skip the reader in README: no safetensors")
else:
    with open(os.path.join(os.path.dirname(diffrl.__file__), "..", "README.md"),
              encoding="utf-8") as f:
        code = re.search(r"```python\n(import torch\n.*?)```", f.read(), re.S).group(1)
    agent = diffrl.Agent("dime", 17, 6, "cpu", seed=3)
    random = diffrl.Rng(3, "test")
    agent.set_tensors({k: v + 0.05 * random.normals(*v.shape) if k.startswith("actor.") else v
                       for k, v in agent.tensors().items()})
    agent.save(path("policy.safetensors"))
    here = os.getcwd()
    os.chdir(work)
    names = {}
    exec(code, names)  # noqa: S102
    os.chdir(here)
    obs = torch.randn(ROWS, 17)
    with torch.no_grad():
        want = names["actor"](obs, normals("dime", agent.config["steps"] + 1, ROWS, 6))
    close("README: the actor in torch", actions(agent, obs), want)
    check("README: about 15 lines", len([x for x in code.split("\n") if x.strip()]) <= 22)

shutil.rmtree(work)
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed > 0)
