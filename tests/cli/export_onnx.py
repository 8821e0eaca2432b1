"""For tests/cli/export.sh: checks ONNX files by onnx and runs them by onnxruntime.

    export_onnx.py DIR CASE...    with DIR/CASE.step.onnx, DIR/CASE.onnx, DIR/CASE.rows
                                  (export_train.c); prints `ok   NAME` or `FAIL NAME: why`
"""
import sys

import numpy as np
import onnx
import onnxruntime

LIMIT = 1e-5


def rows(path):
    """Dimensions; obs, noise, act of each plan: a row's, or those of `chunk` rows."""
    data = np.fromfile(path, np.uint8)
    n, obs, act, noise, chunk, steps, K, dim = np.frombuffer(data[:32], np.int32)
    table = np.frombuffer(data[32:], np.float32).reshape(n, obs + noise + act)
    table = table[: n // chunk * chunk]
    first = table[::chunk]
    shape = (len(first), steps + 1, K, dim) if noise else (len(first), 0, K, dim)
    return (steps, K, dim, chunk, first[:, :obs], first[:, obs:obs + noise].reshape(shape),
            table[:, obs + noise:].reshape(-1, chunk, act))


def session(path):
    """The file, checked, ready to run."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return model, onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def constant(model, name):
    for t in model.graph.initializer:
        if t.name == name:
            return onnx.numpy_helper.to_array(t)
    return None


def worst(name, got, want, ties=0):
    """Prints the verdict."""
    error = np.abs(got.reshape(want.shape) - want).max(axis=(1, 2))
    if error.max() <= LIMIT:
        print(f"ok   {name}: {len(want)} plans, largest difference {error.max():.1e}"
              + (f", {ties} ties" if ties else ""))
    else:
        print(f"FAIL {name}: largest difference {error.max():.1e}, {(error > LIMIT).sum()} of "
              f"{len(want)} plans")


def inside(model, feed, *outputs):
    """What flows out of these nodes: (type, 0: what flows in, 1: out)."""
    names = []
    for kind, out in outputs:
        node, = [n for n in model.graph.node if n.op_type == kind]
        names.append(node.output[0] if out else node.input[0])
        if names[-1] not in [o.name for o in model.graph.output]:
            model.graph.output.append(onnx.ValueInfoProto(name=names[-1]))
    run = onnxruntime.InferenceSession(model.SerializeToString(),
                                       providers=["CPUExecutionProvider"])
    return run.run(names, feed)


def ties(model, feed, got, want, K):
    """Of two candidates whose values differ less than rounding does, the library may take one and
    this the other: then got becomes the library's. Returns how often, at most twice in a
    thousand."""
    q, x = inside(model, feed, ("Min", 1), ("GatherElements", 0))
    q = q.reshape(K, -1)
    count = 0
    for b in np.nonzero(np.abs(got - want[:, 0]).max(axis=1) > LIMIT)[0]:
        k = np.abs(x[:, b] - want[b]).max(axis=1).argmin()
        gap = q[:, b].max() - q[k, b]
        if gap <= 2e-6 * max(1, abs(q[k, b])) and count < 2:
            got[b] = x[k, b]
            count += 1
    return count


def loop(path, case, data):
    steps, K, dim, chunk, obs, noise, act = data
    model, run = session(path)
    # [plan, step, candidate, dim] -> [step, candidate plan, dim]
    if steps == 0:
        worst(f"{case}: onnx, the loop", run.run(["action"], {"obs": obs})[0], act)
        return
    z = noise.transpose(1, 2, 0, 3).reshape(steps + 1, -1, dim)
    many, = run.run(["action"], {"obs": obs, "noise": z})
    worst(f"{case}: onnx, the loop", many, act,
          ties(model, {"obs": obs, "noise": z}, many, act, K) if K > 1 else 0)
    one, = run.run(["action"], {"obs": obs[:1], "noise": z.reshape(steps + 1, K, -1, dim)[:, :, 0]})
    worst(f"{case}: onnx, the loop, a batch of one", one, act[:1])


def step(path, case, data, model):
    """The chain by its steps; what follows it as the file of the loop has it. With several
    candidates, all of them against the loop's."""
    steps, K, dim, chunk, obs, noise, act = data
    _, run = session(path)
    z = noise.transpose(1, 2, 0, 3).reshape(steps + 1, -1, dim)
    x = z[0] * np.float32(prior(model) if model.graph.name == "dime" else 1)
    for k in range(steps):
        x, = run.run(["x_next"], {"obs": np.tile(obs, (K, 1)), "x": x, "noise": z[k + 1],
                                  "step": np.array([k], np.int64)})
    if K > 1:
        act, = inside(model, {"obs": obs, "noise": z}, ("GatherElements", 0))
    if model.graph.name == "dime":
        x = np.tanh(x)
    if model.graph.name == "dppo":
        x = x.reshape(act.shape) * constant(model, "act.w") + constant(model, "act.b")
        x = np.clip(x, -1, 1)
    worst(f"{case}: onnx, step by step", x, act)


def prior(model):
    """sigma_0: the factor of noise[0], the first product of the graph with it."""
    first = next(n for n in model.graph.node if n.op_type == "Gather" and n.input[0] == "noise")
    times = next(n for n in model.graph.node if n.op_type == "Mul" and first.output[0] in n.input)
    return constant(model, times.input[1])


def main():
    folder = sys.argv[1]
    for case in sys.argv[2:]:
        data = rows(f"{folder}/{case}.rows")
        model, _ = session(f"{folder}/{case}.onnx")
        loop(f"{folder}/{case}.onnx", case, data)
        if data[0]:
            step(f"{folder}/{case}.step.onnx", case, data, model)


main()
