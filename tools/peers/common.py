"""What the PyTorch scripts share: arguments, protocol, a faster Mish.

Import it before torch: it sets the number of threads and, for the tuned variant, the vector length
of ATen. A script builds its networks, defines a function that runs a cycle of updates and one that
draws the action for a state, and ends with serve(arguments, update=..., action=...)."""
import argparse
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--obs", type=int, default=17)
parser.add_argument("--act", type=int, default=6)
parser.add_argument("--batch", type=int, default=256)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--call", choices=["update", "action"], default="update")
parser.add_argument("--variant", choices=["stock", "tuned"], default="stock",
                    help="tuned: Mish by one exponential, AVX-512 in ATen where the CPU has it")


def arguments():
    """Parse, set the environment, import torch; returns (arguments, torch)."""
    args = parser.parse_args()
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[name + "_NUM_THREADS"] = str(args.threads)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # it shall choose its best kernels
        os.environ.pop(name, None)
    if args.variant == "tuned" and " avx512f " in open("/proc/cpuinfo").read():
        os.environ["ATEN_CPU_CAPABILITY"] = "avx512"
    import torch
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    return args, torch


def mish(args, torch):
    """The activation as a module: torch's, or x u / (u + 2) with u = e^x (e^x + 2)."""
    if args.variant == "stock":
        return torch.nn.Mish

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            e = torch.exp(torch.clamp(x, max=30.0))
            ctx.save_for_backward(x, e)
            u = e * (e + 2)
            return x * u / (u + 2)

        @staticmethod
        def backward(ctx, dy):
            x, e = ctx.saved_tensors
            u = e * (e + 2)
            d = u + 2
            return dy * (u / d + 4 * x * e * (e + 1) / (d * d))

    class Mish(torch.nn.Module):
        def forward(self, x):
            return Once.apply(x)

    return Mish


def mlp(torch, sizes, act):
    layers = []
    for i in range(len(sizes) - 1):
        layers.append(torch.nn.Linear(sizes[i], sizes[i + 1]))
        if i + 2 < len(sizes):
            layers.append(act())
    return torch.nn.Sequential(*layers)


def sinusoidal(torch, steps, dim):
    """[steps, dim] sine and cosine features of t = 0 .. steps-1."""
    half = dim // 2
    rate = 10000.0 ** (-torch.arange(half) / (half - 1.0))
    angle = torch.arange(steps)[:, None] * rate[None]
    return torch.cat([angle.sin(), angle.cos()], 1)


def polyak(torch, to, source, tau=0.005):
    with torch.no_grad():
        for a, b in zip(to.parameters(), source.parameters()):
            a.lerp_(b, tau)


def transitions(torch, args, rows=20000):
    """A function that draws a batch (obs, act, reward, next_obs) from random transitions."""
    obs, act = torch.randn(rows + 1, args.obs), torch.rand(rows, args.act) * 2 - 1
    reward = torch.randn(rows)

    def draw(batch):
        i = torch.randint(rows, (batch,))
        return obs[i], act[i], reward[i], obs[i + 1]

    return draw


def serve(args, **calls):
    """Say ready; then for each line N do --call N times and print the seconds: of CPU time, which
    other programs do not count into, or of the wall with several threads."""
    clock = time.process_time if args.threads == 1 else time.perf_counter
    call = calls[args.call]
    call()
    print("ready", flush=True)
    for line in sys.stdin:
        start = clock()
        for _ in range(int(line)):
            call()
        print(clock() - start, flush=True)
