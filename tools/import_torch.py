#!/usr/bin/env python3
"""Makes a policy file of this library from a PyTorch checkpoint.

What it knows, by the names of the tensors:

  DPPO (irom-princeton/dppo), state_N.pt of pre-training or fine-tuning: network.time_embedding.*,
  network.mlp_mean.layers.*, and actor.*, actor_ft.* after fine-tuning. The network must be the
  residual MLP of the Gym tasks: one block, ReLU, time_dim 16, no layer norm, no cond_mlp. Becomes
  `dppo`. The checkpoint has neither the number of denoising steps nor the range of the data:
  give --steps (denoising_steps) and --normalization (normalization.npz).

  QVPO (wadx2019/qvpo), actor.pth: model.time_mlp.*, model.layer.*, with --critic critic.pth, and
  the like. Cosine schedule, three hidden layers, Mish. Becomes `qvpo`. Without --critic an action
  is one sample, not the best of several.

  Diffusion-QL and what derives from it, actor.pth: model.time_mlp.*, model.mid_layer.*,
  model.final_layer.*. Schedule vp, becomes `dacer` without its noise; schedule cosine, `qvpo`.
  Actions are samples of the actor (its authors' code takes one of fifty by Q when it evaluates).

Weights are transposed to [in, out]. The time embedding differs from some of these networks'; it is
told nothing but t = 0 .. steps - 1, so its first layer is solved for to agree at these, to 1e-5, or
the file is refused. Also refused, with what was expected and what came: other layers, other
schedules, widths that do not fit. What a checkpoint does not tell is taken for granted: noise
prediction, actions clipped to [-1, 1], activations as above.
"""

import argparse
import math
import os
import pickle
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


class Refused(Exception):
    """Why a checkpoint cannot be represented."""


# -------------------------------------------------------------------------------- checkpoints


def read(path):
    """The tensors of a checkpoint, {name: float64 array}, and the name of what they are."""
    import torch

    data = torch.load(path, map_location="cpu", weights_only=True)
    which = "state dict"
    for key in ("ema", "model", "state_dict", "actor"):
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data, which = data[key], key
            break
    if not isinstance(data, dict) or not all(isinstance(v, torch.Tensor) for v in data.values()):
        raise Refused("%s: expected a state dict of tensors" % path)
    return {k: v.double().numpy() for k, v in data.items()}, which


class Linear:
    """A layer y = x w + b; w [in, out], b [1, out], as this library has them."""

    def __init__(self, w, b):
        self.w, self.b = w, b.reshape(1, -1)
        self.inputs, self.outputs = w.shape


def take(state, name):
    """The torch Linear of this name, taken from the state."""
    if name + ".weight" not in state:
        raise Refused("expected a tensor %s.weight; there are %s"
                      % (name, ", ".join(sorted(state)) or "none more"))
    if name + ".bias" not in state:
        raise Refused("expected a tensor %s.bias" % name)
    return Linear(state.pop(name + ".weight").T, state.pop(name + ".bias"))


def rest(state, where):
    """Refuse tensors that nothing has taken."""
    if state:
        raise Refused("%s: no place for %s" % (where, ", ".join(sorted(state))))


def part(state, prefix):
    return {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)}


def want(what, got, expected):
    if got != expected:
        raise Refused("%s: expected %s, got %s" % (what, expected, got))


# ------------------------------------------------------------------------- time and schedules


def features(kind, steps, dim):
    """The sinusoidal embedding of t = 0 .. steps - 1 (>>nn, drl_time_sinusoidal)."""
    half = dim // 2
    last, scale = (half, dim ** -0.5) if kind == "scaled" else (half - 1, 1.0)
    angle = np.arange(steps)[:, None] * np.exp(-math.log(10000) * np.arange(half) / last)
    return scale * np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def fit_time(t0, t1, steps, kind, dim, hidden):
    """The layers dim -> hidden -> dim over our features that agree with t0, t1 at every t."""
    if (kind, t0.inputs, t0.outputs) == ("ddpm", dim, hidden):
        return t0, t1
    if t0.outputs > hidden or t1.outputs > dim:
        raise Refused("time embedding: expected at most %d -> %d -> %d, got %d -> %d -> %d"
                      % (dim, hidden, dim, t0.inputs, t0.outputs, t1.outputs))
    inner = features("ddpm", steps, t0.inputs) @ t0.w + t0.b
    ours = np.concatenate([features(kind, steps, dim), np.ones((steps, 1))], axis=1)
    w = np.linalg.lstsq(ours, inner, rcond=1e-12)[0].astype(np.float32)
    error = np.abs(ours.astype(np.float32) @ w - inner).max()
    if not error < 1e-5 * (1 + np.abs(inner).max()):
        raise Refused("time embedding: %d steps cannot be told apart as finely as this network "
                      "does (error %.1e)" % (steps, error))
    wide, out = np.zeros((dim + 1, hidden)), np.zeros((hidden, dim))
    wide[:, :t0.outputs] = w
    out[:t1.inputs, :t1.outputs] = t1.w
    bias = np.zeros(dim)
    bias[:t1.outputs] = t1.b
    return Linear(wide[:-1], wide[-1]), Linear(out, bias)


def pad_time(first, act_dim, time_dim, dim):
    """The first layer of the trunk, input [x, e(t), s], for an e(t) with zeros at its end."""
    at = act_dim + time_dim
    zeros = np.zeros((dim - time_dim, first.outputs))
    return Linear(np.concatenate([first.w[:at], zeros, first.w[at:]]), first.b)


def betas(kind, steps):
    t = np.arange(1, steps + 1)
    if kind == "vp":
        return 1 - np.exp(-0.1 / steps - 0.5 * 9.9 * (2 * t - 1) / steps ** 2)
    level = np.cos(math.pi / 2 * (np.arange(steps + 1) / steps + 0.008) / 1.008) ** 2
    return np.clip(1 - level[1:] / level[:-1], 0, 0.999)


def find_schedule(state, args):
    """Its name and steps, from the buffers of the checkpoint or the command line."""
    if "betas" not in state:
        if not args.steps or not args.schedule:
            raise Refused("no betas in the checkpoint: give --steps and --schedule")
        return args.schedule, args.steps
    found = state["betas"]
    for kind in ("vp", "cosine"):
        if np.allclose(found, betas(kind, len(found)), rtol=1e-4, atol=1e-6):
            return kind, len(found)
    raise Refused("schedule: expected vp or cosine, got betas %g .. %g of %d steps"
                  % (found[0], found[-1], len(found)))


# ------------------------------------------------------------------------------------- networks


def mlp(state, name, last=None):
    """The layers NAME.0, NAME.2, ... (and the one called last); activations between them."""
    numbers = sorted(int(k[len(name) + 1:-7]) for k in state
                     if k.startswith(name + ".") and k.endswith(".weight"))
    want("layers of " + name, numbers, list(range(0, 2 * len(numbers), 2)))
    layers = [take(state, "%s.%d" % (name, i)) for i in numbers]
    if last:
        layers.append(take(state, last))
    for a, b in zip(layers, layers[1:]):
        want("width of " + name, b.inputs, a.outputs)
    return layers


def put(tensors, name, layer):
    tensors[name + ".w"], tensors[name + ".b"] = layer.w, layer.b


def put_all(tensors, prefix, layers):
    for i, layer in enumerate(layers):
        put(tensors, "%sl%d" % (prefix, i), layer)


def convert_mlp(state, args):
    """QVPO's and Diffusion-QL's actors."""
    kind, steps = find_schedule(state, args)
    state = part(state, "model.") if any(k.startswith("model.") for k in state) else {
        k: v for k, v in state.items() if k.split(".")[0] in ("time_mlp", "layer", "mid_layer",
                                                              "final_layer")}
    t0, t1 = take(state, "time_mlp.1"), take(state, "time_mlp.3")
    trunk = mlp(state, "layer") if "layer.0.weight" in state else mlp(state, "mid_layer",
                                                                      "final_layer")
    rest(state, "actor")
    act_dim, time_dim, width = trunk[-1].outputs, t1.outputs, trunk[0].outputs
    obs_dim = trunk[0].inputs - act_dim - time_dim
    if obs_dim < 1 or len({layer.outputs for layer in trunk[:-1]}) != 1:
        raise Refused("trunk: expected obs + act + time -> width -> .. -> act, got %s"
                      % " -> ".join(str(n) for n in [trunk[0].inputs] +
                                    [layer.outputs for layer in trunk]))
    config = {"steps": steps, "actor_width": width}
    tensors = {}
    if kind == "vp":
        algo, dim, hidden, form = "dacer", 16, 32, "scaled"
        config.update(layers=len(trunk) - 1, noise=0)
    else:
        algo, dim, hidden, form = "qvpo", 32, 256, "ddpm"
        want("hidden layers", len(trunk) - 1, 3)
        convert_critic(tensors, config, obs_dim, act_dim, args)
    u0, u1 = fit_time(t0, t1, steps, form, dim, hidden)
    put(tensors, "actor.t0", u0)
    put(tensors, "actor.t1", u1)
    put_all(tensors, "actor.", [pad_time(trunk[0], act_dim, time_dim, dim)] + trunk[1:])
    return algo, obs_dim, act_dim, config, tensors


def convert_critic(tensors, config, obs_dim, act_dim, args):
    """Twin critics, inputs [state, action] -> [action, state]; or none."""
    if not args.critic:
        print("no --critic: an action is one sample", file=sys.stderr)
        config.update(evaluation=1, behavior=1, critic_width=1)
        return
    state, _ = read(args.critic)
    for i in (0, 1):
        layers = mlp(state, "q%d_model" % (i + 1))
        want("layers of the critic", len(layers), 4)
        want("inputs of the critic", layers[0].inputs, obs_dim + act_dim)
        layers[0].w = np.concatenate([layers[0].w[obs_dim:], layers[0].w[:obs_dim]])
        config["critic_width"] = layers[0].outputs
        put_all(tensors, "critic.q%d." % i, layers)
    rest(state, "critic")


def dppo_net(state, prefix, name, tensors):
    """One network of DPPO; returns its dimensions."""
    net = part(state, prefix)
    if any(k.startswith("mlp_mean.moduleList") for k in net):
        raise Refused("%smlp_mean: expected residual_style: True, got a plain MLP" % prefix)
    if any(k.startswith("cond_mlp") for k in net):
        raise Refused("%scond_mlp: expected none (cond_mlp_dims)" % prefix)
    if any("norm" in k for k in net):
        raise Refused("%smlp_mean: expected use_layernorm: False" % prefix)
    t0, t1 = take(net, "time_embedding.1"), take(net, "time_embedding.3")
    want(prefix + "time_embedding", (t0.inputs, t0.outputs, t1.outputs), (16, 32, 16))
    blocks = len({k.split(".")[2] for k in net if ".l1." in k})
    want(prefix + "mlp_mean: residual blocks", blocks, 1)
    first, last = take(net, "mlp_mean.layers.0"), take(net, "mlp_mean.layers.2")
    block = [take(net, "mlp_mean.layers.1.l1"), take(net, "mlp_mean.layers.1.l2")]
    rest(net, prefix)
    for kind, layer in (("t0", t0), ("t1", t1), ("first", first), ("last", last)):
        put(tensors, name + kind, layer)
    put_all(tensors, name, block)
    return first.inputs - 16 - last.outputs, last.outputs, first.outputs


def dppo_range(path, cond_dim, out_dim, args, tensors):
    """obs = b + w x, act = b + w x; returns the action's dimension."""
    if path:
        data = np.load(path)
        low, high = (np.float64(data["obs_" + k]).reshape(-1) for k in ("min", "max"))
        if len(low) < 1 or cond_dim % len(low):
            raise Refused("%s: expected obs_min of %d numbers, got %d" % (path, cond_dim, len(low)))
        low, high = (np.tile(x, cond_dim // len(low)) for x in (low, high))
        a_low, a_high = (np.float64(data["action_" + k]).reshape(-1) for k in ("min", "max"))
        if max(np.abs(a_low).max(), np.abs(a_high).max()) > 1.001:
            raise Refused("%s: expected actions in [-1, 1], got %g .. %g; scale the range of the "
                          "task to it" % (path, a_low.min(), a_high.max()))
        act_dim = len(a_low)
    else:
        print("no --normalization: observations and actions as they are", file=sys.stderr)
        if not args.chunk or out_dim % args.chunk:
            raise Refused("chunk: expected a divisor of %d (horizon_steps), got %s; give --chunk"
                          % (out_dim, args.chunk))
        act_dim = out_dim // args.chunk
        low, high = -np.ones(cond_dim), np.ones(cond_dim) - 1e-6
        a_low, a_high = -np.ones(act_dim), np.ones(act_dim)
    half = (high - low + 1e-6) / 2
    put(tensors, "norm.obs", Linear(half.reshape(1, -1), low + half))
    half = (a_high - a_low) / 2
    put(tensors, "norm.act", Linear(half.reshape(1, -1), a_low + half))
    return act_dim


def convert_dppo(state, args):
    tuned = any(k.startswith("actor_ft.") for k in state)
    base = "actor." if tuned else "network."
    tensors = {}
    dims = dppo_net(state, base, "base.", tensors)
    want("actor_ft", dppo_net(state, "actor_ft." if tuned else base, "actor.", tensors), dims)
    cond_dim, out_dim, width = dims
    act_dim = dppo_range(args.normalization, cond_dim, out_dim, args, tensors)
    if out_dim % act_dim or (args.chunk and args.chunk * act_dim != out_dim):
        raise Refused("chunk: expected %d = chunk * %d actions, got chunk %s"
                      % (out_dim, act_dim, args.chunk))
    if not args.steps:
        raise Refused("steps: the checkpoint does not tell; give --steps (denoising_steps)")
    config = {"steps": args.steps, "chunk": out_dim // act_dim, "actor_width": width,
              "tuned": min(10, args.steps), "noise_clip": 3 if tuned else 10}
    return "dppo", cond_dim, act_dim, config, tensors


# ---------------------------------------------------------------------------------------- main


def convert(args):
    """Write the policy file; return the agent that was written."""
    state, which = read(args.checkpoint)
    if any(".time_embedding." in k for k in state):
        made = convert_dppo(state, args)
    elif any("time_mlp." in k for k in state):
        made = convert_mlp(state, args)
    else:
        raise Refused("expected network.time_embedding.* (DPPO) or model.time_mlp.* (QVPO, "
                      "Diffusion-QL), got %s" % ", ".join(sorted(state)[:8]))
    algo, obs_dim, act_dim, config, tensors = made
    for pair in args.set:
        if "=" not in pair:
            raise Refused("--set: expected KEY=VALUE, got %s" % pair)
        key, value = pair.split("=", 1)
        config[key] = value
    import diffrl

    agent = diffrl.Agent(algo, obs_dim, act_dim, **config)
    for name, value in agent.tensors().items():  # a critic that is not there is 0
        tensors.setdefault(name, np.zeros_like(value) if name.startswith("critic.") else value)
    agent.set_tensors({name: value.astype(np.float32) for name, value in tensors.items()})
    meta = {"source": os.path.basename(args.checkpoint)}
    if args.task:
        meta["task"] = args.task
    agent.save(args.out, **meta)
    print("%s: %s of %s, obs %d, act %d, %d steps" % (args.out, algo, which, obs_dim, act_dim,
                                                      agent.config["steps"]))
    return agent


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  tools/import_torch.py state_200.pt --steps 20 --normalization normalization.npz --task Hopper-v5
  tools/import_torch.py actor.pth --critic critic.pth --task Hopper-v5 --out hopper.safetensors

exit status: 0 ok, 2 usage, 3 a file that is refused""")
    parser.add_argument("checkpoint", help="file of torch.save")
    parser.add_argument("--out", default="policy.safetensors", help="(policy.safetensors)")
    parser.add_argument("--task", help="name of its task, for eval and record")
    parser.add_argument("--critic", help="QVPO: critic.pth")
    parser.add_argument("--steps", type=int, help="denoising steps, if the file does not tell")
    parser.add_argument("--schedule", choices=("vp", "cosine"), help="likewise")
    parser.add_argument("--normalization", help="DPPO: normalization.npz of its data")
    parser.add_argument("--chunk", type=int, help="DPPO: actions of a plan (horizon_steps)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a setting of the algorithm, such as evaluation=16, ddim_steps=5, "
                             "tuned=10 (ft_denoising_steps), noise_clip=3 (randn_clip_value)")
    args = parser.parse_args(argv)
    try:
        import torch  # noqa: F401
    except ImportError:
        print("import_torch: PyTorch is missing (tools/install.sh torch)", file=sys.stderr)
        return 1
    try:
        convert(args)
    except (Refused, OSError, EOFError, RuntimeError, KeyError, ValueError,
            pickle.UnpicklingError) as error:
        print("import_torch: %s: %s" % (args.checkpoint, error), file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
