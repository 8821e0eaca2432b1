"""Tests tools/diffrl.py: the same bits as the library called from C (tests/cli/python.c), messages
for wrong use, and the example in its head. Run by tests/cli/python.sh, which builds the driver."""

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import diffrl

out = sys.argv[1]
driver = os.path.join(out, "python-driver")
work = tempfile.mkdtemp(dir=out)
passed = failed = 0


def check(name, good, what=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("ok   " + name if good else "FAIL %s%s" % (name, ": %s" % what if what else ""))


def refused(name, kind, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as error:
        check(name, text in str(error), error)
    else:
        check(name, False, "no error")


def c(*words):
    return subprocess.run([driver, *map(str, words)], stdout=subprocess.PIPE, check=True).stdout


class Pendulum:
    """examples/envs/pendulum.h in double precision, with the trainer's seeds of episodes."""

    def __init__(self, seed, env):
        self.root, self.env, self.episode = diffrl.Rng(seed, "episodes"), env, 0

    def observe(self):
        return np.array([math.cos(self.theta), math.sin(self.theta), self.speed], np.float32)

    def reset(self):
        rng = self.root.split((self.env << 40) + self.episode)
        high = rng.bits()
        rng = diffrl.Rng(high << 32 | rng.bits(), "reset")
        self.theta = math.pi * (2 * rng.uniform() - 1)
        self.speed = 2 * rng.uniform() - 1
        self.episode, self.length = self.episode + 1, 0
        return self.observe()

    def step(self, action):
        # bounds -2, 2: fmaf(0.5 (a + 1), 4, -2) is one rounding of an exact double
        half = np.float32(0.5) * (np.float32(action[0]) + np.float32(1))
        u = float(min(max(np.float32(float(half) * 4.0 - 2.0), np.float32(-2)), np.float32(2)))
        turn = math.floor((self.theta + math.pi) / (2 * math.pi))
        angle = self.theta - 2 * math.pi * turn
        reward = -(angle * angle + .1 * self.speed * self.speed + .001 * u * u)
        self.speed += (3 * 10.0 / 2.0 * math.sin(self.theta) + 3.0 * u) * .05
        self.speed = min(max(self.speed, -8.0), 8.0)
        self.theta += self.speed * .05
        self.length += 1
        return self.observe(), reward, False, self.length >= 200


def train(algo, preset, seed, envs, steps, path, cut=0, **config):
    """What drl_trainer_step does, by Python; after step cut by a new agent."""
    def make():
        return diffrl.Agent(algo, 3, 1, preset, envs=envs, replay=4000, seed=seed, **config)

    agent = make()
    tasks = [Pendulum(seed, e) for e in range(envs)]
    obs = np.stack([task.reset() for task in tasks])
    figures = {}
    while agent.steps < steps:
        act = agent.act(obs, explore=True)
        got = [task.step(a) for task, a in zip(tasks, act)]
        next_obs, reward, ends, cuts = (np.array(x) for x in zip(*got))
        agent.observe(obs, act, reward, next_obs, ends, cuts)
        obs = np.stack([task.reset() if cut else x for task, x, cut in zip(tasks, next_obs, cuts)])
        figures = agent.update() or figures
        if agent.steps == cut:
            agent.checkpoint(path + ".ckpt")
            agent = make()
            agent.resume(path + ".ckpt")
    agent.save(path)
    return agent, figures


def same_file(a, b):
    with open(a, "rb") as f, open(b, "rb") as g:
        return f.read() == g.read()


# every algorithm: trained by the C trainer and by Python, the file is the same to the bit
small = {"dppo": {"rollout": 200, "batch": 500, "chunk": 2},
         "qvpo": {"batch": 32, "candidates": 4}, "dacer": {"batch": 32, "alpha_delay": 40},
         "ppo": {"rollout": 200, "batch": 50}}
for algo in diffrl.algorithms():
    config = small.get(algo, {"batch": 32})
    envs, steps = (4, 1200) if algo in ("dppo", "ppo") else (2, 640)
    paths = [os.path.join(work, algo + end) for end in (".c", ".py", ".3")]
    settings = ["%s=%s" % pair for pair in config.items()]
    c("train", algo, "toy", 3, envs, steps, paths[0], *settings)
    agent, figures = train(algo, "toy", 3, envs, steps, paths[1], **config)
    check("%s: Python's training has the bits of C's" % algo, same_file(paths[0], paths[1]))
    check("%s: it learned" % algo, agent.updates > 5 and figures and
          all(math.isfinite(v) for v in figures.values()), (agent.updates, figures))
    train(algo, "toy", 3, envs, steps, paths[2], cut=steps // 2 + 4, **config)
    check("%s: resumed in mid-episode, the same bits" % algo, same_file(paths[0], paths[2]))
    rows, calls = (3, 4)
    want = np.frombuffer(c("act", paths[0], rows, calls), np.float32).reshape(calls, rows, 1)
    policy = diffrl.load(paths[0])
    obs = diffrl.Rng(5, "obs").normals(rows, 3)
    policy.begin(7)
    got = np.stack([policy.act(obs) for _ in range(calls)])
    check("%s: act has the bits of C's" % algo, got.tobytes() == want.tobytes())
    check("%s: the file's settings" % algo, policy.config == agent.config and policy.algo == algo)
    policy.begin(7)
    one = policy.act(obs[0])
    check("%s: a single state" % algo, one.shape == (1,) and np.isfinite(one).all())
    policy.save(paths[2])
    check("%s: a loaded policy is saved as it was" % algo, same_file(paths[0], paths[2]))
    full = agent.tensors(every=True)
    check("%s: tensors" % algo, set(agent.tensors()) < set(full) and "rng.agent" in full)
    other = diffrl.Agent(algo, 3, 1, "toy", seed=8, **config)
    other.set_tensors(policy.tensors())
    mine = other.tensors()
    check("%s: weights can be set" % algo,
          all((mine[name] == value).all() for name, value in policy.tensors().items()))

# two threads, the same bits
a = diffrl.Agent("dime", 3, 1, "toy", seed=4, threads=2)
b = diffrl.Agent("dime", 3, 1, "toy", seed=4)
obs = diffrl.Rng(1, "obs").normals(512, 3)
check("threads change nothing", (a.act(obs) == b.act(obs)).all())

# DPPO clones data from numpy arrays
agent = diffrl.Agent("dppo", 3, 1, "toy", bc_updates=50)
obs = diffrl.Rng(2, "data").normals(600, 3)
ends = np.arange(600) % 100 == 99
losses = [agent.pretrain(obs, np.tanh(obs[:, :1]), ends) for _ in range(4)]
check("pretrain lowers the loss", losses[-1] < 0.9 * losses[0], losses)

# wrong use
agent = diffrl.Agent("qvpo", 3, 1, "toy")
ok = np.zeros(3)
refused("unknown algorithm", diffrl.Error, "there are dacer", diffrl.Agent, "sacc", 3, 1)
refused("unknown preset", diffrl.Error, "no preset", diffrl.Agent, "dime", 3, 1, "fast")
refused("unknown setting", diffrl.Error, "gamma", diffrl.Agent, "dime", 3, 1, gama=0.9)
refused("setting out of range", diffrl.Error, "gamma: expected", diffrl.Agent, "dime", 3, 1,
        gamma=2.0)
refused("wrong shape", ValueError, "(3,) or (rows, 3), got (4,)", agent.act, np.zeros(4))
refused("wrong shape of a transition", ValueError, "next_obs", agent.observe, ok, [0.0], 0.0,
        np.zeros(2), False)
refused("wrong number of environments", ValueError, "expected 1 environments", agent.observe,
        np.zeros((2, 3)), np.zeros((2, 1)), [0.0, 0.0], np.zeros((2, 3)), [False, False])
refused("reward that is nan", ValueError, "reward[0] is not finite at step 0", agent.observe, ok,
        [0.0], math.nan, ok, False)
refused("no file", diffrl.Error, "none.safetensors", diffrl.load, "none.safetensors")
with open(os.path.join(work, "bad"), "wb") as f:
    f.write(open(os.path.join(work, "dime.c"), "rb").read()[:-9])
refused("file that is cut off", diffrl.Error, "bad", diffrl.load, os.path.join(work, "bad"))
agent.checkpoint(os.path.join(work, "ckpt"))
refused("checkpoint of other settings", diffrl.Error, "gamma: expected 0.5, got 0.99",
        diffrl.Agent("qvpo", 3, 1, "toy", gamma=0.5).resume, os.path.join(work, "ckpt"))
refused("checkpoint of another algorithm", diffrl.Error, "algo: expected dime, got qvpo",
        diffrl.Agent("dime", 3, 1, "toy").resume, os.path.join(work, "ckpt"))
refused("tensor of another name", KeyError, "no tensor x", agent.set_tensors, {"x": ok})
refused("tensor of another shape", ValueError, "expected shape", agent.set_tensors,
        {"actor.t0.b": ok})
refused("pretrain of another algorithm", diffrl.Error, "expected dppo, got qvpo", agent.pretrain,
        np.zeros((4, 3)), np.zeros((4, 1)), np.zeros(4))
agent.save(os.path.join(work, "meta"), task="Pendulum", note="a = b")
check("metadata", diffrl.load(os.path.join(work, "meta")).meta == {"task": "Pendulum",
                                                                   "note": "a = b"})


# a module that is imported anew, elsewhere
def fresh(**env):
    return subprocess.run([sys.executable, "-c", "import diffrl"], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "XDG_CACHE_HOME": os.path.join(work, "cache"), **env})


done = fresh(CC="no-such-cc")
check("no compiler", done.returncode == 1 and "no C compiler (no-such-cc)" in done.stdout,
      done.stdout)
done = fresh(CC="false")
check("a compiler that fails", done.returncode == 1 and "false failed" in done.stdout, done.stdout)
check("nothing half-made is left", os.listdir(os.path.join(work, "cache", "diffrl")) == [])
alone = os.path.join(work, "alone")
os.mkdir(alone)
shutil.copy(diffrl.__file__, alone)
done = fresh(PYTHONPATH=alone)
check("no header", done.returncode == 1 and "no diffrl.h beside" in done.stdout, done.stdout)

# the example in the head of the module, as it stands
try:
    import gymnasium  # noqa: F401
except ImportError:
    print("skip the example: no gymnasium")
else:
    code = r"    import gymnasium\n.*?\n\n.*?save\([^\n]*\n"
    code = re.search(code, diffrl.__doc__, re.S).group()
    code = "\n".join(line[4:] for line in code.split("\n"))
    lines = [line for line in code.split("\n") if line.strip() and "import" not in line]
    check("the example has about 20 lines", len(lines) <= 20, len(lines))
    done = subprocess.run([sys.executable, "-c", code], cwd=work, stdout=subprocess.PIPE, text=True,
                          check=False)
    returns = [float(x) for x in re.findall(r"return (\S+)", done.stdout)]
    check("the example runs", done.returncode == 0 and len(returns) == 20, done.stdout)
    check("the example learns", np.mean(returns[-5:]) > np.mean(returns[:3]) + 400, returns)
    check("the example leaves a policy",
          diffrl.load(os.path.join(work, "pendulum.safetensors")).obs_dim == 3)

shutil.rmtree(work)
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed > 0)
