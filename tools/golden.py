"""What the generators of golden figures share: inputs by formula, Adam, comparisons, output.

A golden test checks diffrl.h against an independent float64 computation with PyTorch. Both make
weights, batches and noise by the same formulae (tests/golden/golden.h has them in C).
"""
import math
import sys

import torch

torch.set_num_threads(1)

DT = torch.float64  # what is computed in; a generator changes it to see how far float32 is off
PREFIX = "golden"   # of the arrays


def note(*words):
    print(*words, file=sys.stderr)


# ---- inputs by formula ---------------------------------------------------------------------------

def mix(x):
    x = (x + 0x9E3779B9) & 0xFFFFFFFF
    x ^= x >> 16
    x = (x * 0x7FEB352D) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


def bits(ident, i):
    return mix(((ident << 20) + i) & 0xFFFFFFFF)


def uniform(ident, i):
    return bits(ident, i) / 4294967296.0 * 2.0 - 1.0


def normal(ident, i):
    u1 = (bits(ident, 2 * i) + 0.5) / 4294967296.0
    u2 = bits(ident, 2 * i + 1) / 4294967296.0
    return math.sqrt(-2.0 * math.log(u1)) * math.cos(6.283185307179586 * u2)


def tensor(values, shape):
    """Rounded to float32 first, so that a float implementation starts from the same numbers."""
    return torch.tensor(values, dtype=torch.float64).reshape(shape).to(torch.float32).to(DT)


def uniforms(ident, shape, scale=1.0, offset=0.0):
    return tensor([offset + scale * uniform(ident, i) for i in range(math.prod(shape))], shape)


def normals(ident, shape):
    return tensor([normal(ident, i) for i in range(math.prod(shape))], shape)


# ---- pieces --------------------------------------------------------------------------------------

class Adam:
    def __init__(self, params, lr, beta1=0.9, beta2=0.999, eps=1e-8):
        self.params, self.lr, self.t = params, lr, 0
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.m = [torch.zeros_like(p) for p in params]
        self.v = [torch.zeros_like(p) for p in params]

    def step(self, grads):
        self.t += 1
        for p, g, m, v in zip(self.params, grads, self.m, self.v):
            m.mul_(self.beta1).add_((1 - self.beta1) * g)
            v.mul_(self.beta2).add_((1 - self.beta2) * g * g)
            mhat, vhat = m / (1 - self.beta1 ** self.t), v / (1 - self.beta2 ** self.t)
            with torch.no_grad():
                p.sub_(self.lr * mhat / (torch.sqrt(vhat) + self.eps))


def near(got, want, tol):
    got = torch.as_tensor(got, dtype=torch.float64).flatten().tolist()
    want = torch.as_tensor(want, dtype=torch.float64).flatten().tolist()
    worst = max(abs(g - w) for g, w in zip(got, want))
    assert len(got) == len(want) and worst <= tol, (got, want)
    return worst


def norm(grads):
    return math.sqrt(sum(float((g * g).sum()) for g in grads))


def difference(what, params, loss_of, ident, h=1e-6):
    """Directional derivative by central differences against autograd."""
    grads = torch.autograd.grad(loss_of(), params)
    way = [uniforms(ident + i, t.shape) for i, t in enumerate(params)]
    want = sum(float((g * d).sum()) for g, d in zip(grads, way))
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for t, d in zip(params, way):
                t.add_(sign * h * d)
            ends.append(float(loss_of()))
            for t, d in zip(params, way):
                t.sub_(sign * h * d)
    got = (ends[0] - ends[1]) / (2 * h)
    note("central difference of %s: %.9g, autograd %.9g" % (what, got, want))
    assert abs(got - want) <= 1e-6 * max(1.0, abs(want))


# ---- output --------------------------------------------------------------------------------------

INPUTS = """\
   INPUTS are made by formula in double, then each is rounded to float (also for the figures here):
     mix(x):  x += 0x9e3779b9; x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x *= 0x846ca68b;
              x ^= x >> 16                                                     (uint32, wraps)
     uniform(id, i) = mix((id << 20) + i) / 2^32 * 2 - 1                       in [-1, 1)
     normal(id, i)  = sqrt(-2 log u1) cos(6.283185307179586 u2),
                      u1 = (mix((id << 20) + 2 i) + 0.5) / 2^32,
                      u2 = mix((id << 20) + 2 i + 1) / 2^32
   i is the row-major position in the tensor. Below u = uniform(id, i), z = normal(id, i)."""


def figure(v, digits):
    v = float(v)
    assert math.isfinite(v)
    text = "%.*g" % (digits, v)
    if text.startswith("0."):
        return text[1:]
    if text.startswith("-0."):
        return "-" + text[2:]
    return text


def array(comment, name, dims, values, digits=12):
    values = [v for t in values for v in (t.flatten().tolist() if torch.is_tensor(t) else [t])]
    assert math.prod(dims) == len(values), (name, dims, len(values))
    print("/* %s */" % comment)
    print("static const double %s_%s[%d] = {" % (PREFIX, name, len(values)))
    line = ""
    for v in values:
        text = figure(v, digits) + ","
        if len(line) + len(text) > 98:
            print(line)
            line = ""
        line += text
    print(line.rstrip(",") + "};")


def tensors(table):
    """table: (name, shape) of every tensor."""
    print("/* every tensor in the order of %s_sums and %s_last */" % (PREFIX, PREFIX))
    print("static const struct {\n    const char *name;\n    int rows, cols;\n} "
          "%s_tensors[%d] = {" % (PREFIX, len(table)))
    for name, shape in table:
        print('    {"%s", %d, %d},' % (name, shape[0], shape[1]))
    print("};")


def far(a, b):
    """Largest difference, relative to the largest element."""
    a, b = a.detach().to(torch.float64), b.detach().to(torch.float64)
    return float((a - b).abs().max() / max(float(b.abs().max()), 1e-30))
