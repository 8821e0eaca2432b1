"""Runs every command that README.md, the --help texts and the man pages print, as printed, in copies
of the repository. A command passes if it ends with status 0, or if it still runs after some seconds
and has printed something (or, if it is silent, works); then it gets Ctrl-C. Started by
tests/cli/commands.sh [TEXT], which runs only commands that contain TEXT.

In the copies lie the files that the commands name: policies of short runs, data, checkpoints. Each
program is compiled once, with -O0; time spent in the compiler does not count."""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SECONDS = 2       # that a command runs at least, if it does not end before
SILENT = 5        # that it may run without a word before it is asked whether it works
PATIENCE = 60     # that it may take to say or do anything
LIMIT = 240       # with its compilation
TOP = os.getcwd()
WORK = tempfile.mkdtemp(dir=os.path.abspath(sys.argv[1]))
ONLY = sys.argv[2] if len(sys.argv) > 2 else ""

# -------------------------------------------------------------------------------------- commands

COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:tools/[\w-]+\.|build/\w|cc |git |\./)")


def from_readme(text):
    """Indented or fenced lines, without comments, and words in backticks that are commands."""
    text = re.sub(r"```(?!sh)\w+\n.*?```", "", text, flags=re.S)
    for line in text.split("\n"):
        if line.startswith("    ") and COMMAND.match(line[4:]):
            yield re.sub(r"\s+# .*", "", line[4:])
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.S):
        yield from (re.sub(r"\s+# .*", "", line) for line in block.split("\n") if line.strip())
    for span in re.findall(r"`([^`]+)`", re.sub(r"^    .*", "", text, flags=re.M)):
        span = " ".join(span.split())
        if re.match(r"tools/[\w-]+\.sh( |$)|(tools|build)/\S+ ", span) and "ARGUMENTS" not in span:
            yield span


def from_help(text):
    """The lines after `examples:`, without what stands behind two blanks."""
    for block in re.findall(r"^examples:\n((?:  .*\n)+)", text, flags=re.M):
        for line in block.rstrip("\n").split("\n"):
            yield re.sub(r"\s\s+.*", "", line.strip())


def from_man(text):
    """One-line displays and literal blocks."""
    text = text.split(".Sh EXAMPLES")[-1].split(".Sh EXIT")[0]
    lines = re.findall(r"^\.Dl (.*)", text, flags=re.M)
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, flags=re.M | re.S):
        lines += [line for line in block.split("\n") if line and not line.startswith(".")]
    for line in lines:
        yield line.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")


def help_of(path, folder):
    done = subprocess.run([path, "--help"], cwd=folder, env=environment(folder), check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace")


def collect(folder):
    """[(where, command)], each command once."""
    found = []
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as f:
        found += [("README.md", c) for c in from_readme(f.read())]
    tools = sorted(glob.glob(os.path.join(folder, "tools/*.sh")) +
                   [p for p in glob.glob(os.path.join(folder, "tools/*"))
                    if p.endswith("import_torch.py") or "." not in os.path.basename(p)
                    and os.path.isfile(p)])
    for path in tools + sorted(glob.glob(os.path.join(folder, "build/*"))):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            name = os.path.relpath(path, folder)
            found += [(name + " --help", c) for c in from_help(help_of("./" + name, folder))]
    for path in sorted(glob.glob(os.path.join(folder, "tools/man/*.1"))):
        with open(path, encoding="ascii") as f:
            found += [(os.path.relpath(path, folder), c) for c in from_man(f.read())]
    seen, out = set(), []
    for where, command in found:
        if command not in seen and ONLY in command:
            out.append((where, command))
        seen.add(command)
    return out


# --------------------------------------------------------------------------------------- sandbox

WRAPPER = """#!/bin/sh
# The compiler, but each program only once, and with -O0.
name=$(basename "$0")
PATH=$(echo "$PATH" | sed "s|$WRAPPERS:||g")
out= last=
for word; do
    [ "$last" != -o ] || out=$word
    last=$word
done
case $out in
build/test/*) exec "$name" "$@" ;;
build/* | app | eval) ;;
*) exec "$name" "$@" ;;
esac
key=$WRAPPERS/$(echo "$name $*" | cksum | tr ' ' -)
if [ ! -x "$key" ]; then
    : >"$BUSY.$$"
    trap 'rm -f "$BUSY.$$" "$key.$$"' EXIT
    trap 'exit 130' INT TERM
    for word; do
        shift
        case $word in
        -O2) word=-O0 ;;
        "$out") word=$key.$$ ;;
        esac
        set -- "$@" "$word"
    done
    "$name" "$@" || exit 1
    mv "$key.$$" "$key"
fi
cp "$key" "$out"
"""

CHECKPOINTS = """
import math, numpy, torch
from torch import nn

def layers(dims, prefix, names):
    state = {}
    for (a, b), name in zip(zip(dims, dims[1:]), names):
        linear = nn.Linear(a, b)
        state[prefix + name + ".weight"], state[prefix + name + ".bias"] = linear.weight.data, \\
            linear.bias.data
    return state

t = numpy.arange(21) / 20
f = numpy.cos(math.pi / 2 * (t + 0.008) / 1.008) ** 2
actor = {"betas": torch.tensor(numpy.clip(1 - f[1:] / f[:-1], 0, 0.999)).float()}
actor.update(layers([32, 256, 32], "model.time_mlp.", "13"))
actor.update(layers([46, 256, 256, 256, 3], "model.layer.", "0246"))
torch.save(actor, "actor.pth")
critic = layers([14, 256, 256, 256, 1], "q1_model.", "0246")
critic.update(layers([14, 256, 256, 256, 1], "q2_model.", "0246"))
torch.save(critic, "critic.pth")
net = layers([16, 32, 16], "network.time_embedding.", "13")
net.update(layers([39, 512], "network.mlp_mean.layers.", "0"))
net.update(layers([512, 512, 512], "network.mlp_mean.layers.1.", ["l1", "l2"]))
net.update(layers([512, 12], "network.mlp_mean.layers.", "2"))
torch.save({"epoch": 200, "model": net, "ema": net}, "state_200.pt")
one = numpy.ones
numpy.savez("normalization.npz", obs_min=-5 * one(11), obs_max=5 * one(11),
            action_min=-one(3), action_max=one(3))
"""


def shell(command, folder, env):
    subprocess.run(["sh", "-ec", command], cwd=folder, env=env, check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def environment(folder):
    env = dict(os.environ, WRAPPERS=os.path.join(WORK, "cc"), BUSY=os.path.join(folder, ".busy"))
    env["PATH"] = env["WRAPPERS"] + ":" + env["PATH"]
    env["PYTHONPATH"] = os.path.join(TOP, "tools") + ":" + os.path.join(TOP, "build", "python")
    return env


def copy(folder):
    skip = {".git", "build", "runs"}
    shutil.copytree(TOP, folder, symlinks=True, ignore=lambda at, names: [
        n for n in names if at == TOP and (n in skip or n.startswith("."))])
    os.mkdir(os.path.join(folder, "build"))
    if os.path.isdir(os.path.join(TOP, "build", "python")):
        os.symlink(os.path.join(TOP, "build", "python"), os.path.join(folder, "build", "python"))


def furnish(folder):
    """The files that the commands name."""
    env = environment(folder)
    programs = glob.glob(os.path.join(folder, "examples/mujoco/*.c"))
    for path in sorted(programs + glob.glob(os.path.join(folder, "tools/*.c"))):
        shell("tools/build.sh %s 2>/dev/null" % os.path.relpath(path, folder), folder, env)
    tiny = ("--steps 300 --eval-every 150 --eval-episodes 1 --quiet --threads 1 --set actor_width=32 "
            "--set critic_width=32 --set steps=2 --set batch=16 --set random_steps=250")
    shell("build/train --task HalfCheetah-v5 %s --record cheetah.npz" % tiny, folder, env)
    shell("build/train --task Hopper-v5 %s --record hopper.npz" % tiny, folder, env)
    shell("build/train --task Walker2d-v5 %s --record walker.npz" % tiny, folder, env)
    for task in ("HalfCheetah-v5", "Hopper-v5"):
        shell("build/train --algo sac --task %s --steps 300 --eval-episodes 0 --quiet --threads 1 "
              "--set batch=16 --set random_steps=250 --out sac" % task, folder, env)
    shell("cp runs/Hopper*/policy.safetensors . && cp examples/mujoco/models/hopper.xml robot.xml "
          "&& cp diffrl.h build/draft.h", folder, env)
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as f:
        program = re.search(r"```c\n(.*?)```", f.read(), re.S)
    with open(os.path.join(folder, "app.c"), "w", encoding="utf-8") as f:
        f.write(program.group(1) if program else "")
    with open(os.path.join(folder, "s.csv"), "w", encoding="ascii") as f:  # Ant: 15, 14 numbers
        f.write("0,0,0.75,1,0,0,0,0,1,0,-1,0,-1,0,1\n" + ",".join(["0"] * 14) + "\n")
    with open(os.path.join(folder, "a.csv"), "w", encoding="ascii") as f:
        f.write(10 * ("0.1" + 7 * ",-0.1" + "\n"))
    subprocess.run([sys.executable, "-c", CHECKPOINTS], cwd=folder, env=env, check=False)


# ------------------------------------------------------------------------------------------- run


def stop(process):
    """Ctrl-C, and if that is not heard, kill."""
    for sign, seconds in ((signal.SIGINT, 15), (signal.SIGTERM, 3), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            pass
    try:  # what is left of its group
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def busy(folder):
    return glob.glob(os.path.join(folder, ".busy.*"))


def words(log):
    """What a command has said, without the lines that name a compilation."""
    with open(log, errors="replace", encoding="utf-8") as f:
        return "".join(x for x in f if not re.match(r"(cc|clang) -|installing ", x)).strip()


def ticks(group):
    """Time on a processor of all processes of a group."""
    total = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="ascii", errors="replace") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            total += int(fields[11]) + int(fields[12])
    return total


def run(command, folder, display):
    """(good, what happened)"""
    env = environment(folder)
    if display:
        env["DISPLAY"] = display
    for path in busy(folder):  # of a compiler that was killed
        os.remove(path)
    log = os.path.join(folder, ".log")
    with open(log, "wb") as out:
        process = subprocess.Popen(["sh", "-c", command], cwd=folder, env=env, stdout=out,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
    ran, start = 0.0, time.time()
    while process.poll() is None:
        time.sleep(0.05)
        ran += 0 if busy(folder) else 0.05
        if ran > SECONDS and words(log) or ran > PATIENCE or time.time() - start > LIMIT:
            break
        if ran > SILENT and round(20 * ran) % 20 == 0:
            before = ticks(process.pid)
            time.sleep(0.5)
            if ticks(process.pid) > before:
                break
    if process.poll() is not None:
        return process.returncode == 0, "status %d: %s" % (process.returncode, words(log)[-300:])
    stop(process)
    return ran <= PATIENCE and time.time() - start <= LIMIT + 30, "no word, no work"


lock = threading.Lock()
counts = {"passed": 0, "failed": 0, "skipped": 0}


def report(where, command, kind, what, seconds):
    with lock:
        counts[kind] += 1
        word = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}[kind]
        print("%s %5.1f s  %s  [%s]%s" % (word, seconds, command, where,
                                          "" if kind == "passed" else "\n     " + what), flush=True)


def runs(folder):
    return glob.glob(os.path.join(folder, "runs/*")) + glob.glob(os.path.join(folder, "sac/*"))


def tidy(folder, keep):
    """Runs that a command left would be found by the next one's *."""
    for path in runs(folder):
        if path not in keep:
            shutil.rmtree(path, ignore_errors=True)


def work(queue, folder, display):
    keep = set(runs(folder))
    while True:
        with lock:
            if not queue:
                return
            where, command = queue.pop(0)
        start, printed = time.time(), command
        if "<this repository>" in command:
            if not os.path.isdir(os.path.join(TOP, ".git")):
                report(where, printed, "skipped", "this is no clone", 0)
                continue
            command = "rm -rf diffrl; " + command.replace("<this repository>", TOP)
        good, what = run(command, folder, display)
        if not good and re.search(r"could not (down)?load|could not fetch|pip could not", what):
            report(where, printed, "skipped", "no network: " + what, time.time() - start)
        else:
            report(where, printed, "passed" if good else "failed", what, time.time() - start)
        tidy(folder, keep)


def screen():
    """A screen without a screen, as a process and its name."""
    if not shutil.which("Xvfb"):
        return None, ""
    read, write = os.pipe()
    process = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "320x240x24",
                                "-nolisten", "tcp"], pass_fds=[write], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(write)
    name = os.read(read, 16).decode().strip()
    return process, ":" + name if name else ""


def main():
    begin = time.time()
    wrappers = os.path.join(WORK, "cc")
    os.mkdir(wrappers)
    for name in ("cc", "gcc", "clang", "python3"):
        with open(os.path.join(wrappers, name), "w", encoding="ascii") as f:
            f.write(WRAPPER if name != "python3" else
                    "#!/bin/sh\nexec %s \"$@\"\n" % sys.executable)
        os.chmod(os.path.join(wrappers, name), 0o755)
    folders = [os.path.join(WORK, name) for name in ("one", "two")]
    copy(folders[0])
    furnish(folders[0])
    print("     %.1f s  compiled, prepared" % (time.time() - begin), flush=True)
    queue = collect(folders[0])
    shutil.copytree(folders[0], folders[1], symlinks=True)
    print("     %.1f s  %d commands" % (time.time() - begin, len(queue)), flush=True)
    server, display = screen()
    try:
        threads = [threading.Thread(target=work, args=(queue, f, display)) for f in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        if server:
            server.terminate()
    shutil.rmtree(WORK, ignore_errors=True)
    if counts["skipped"]:
        print("%d skipped" % counts["skipped"])
    print("%d passed, %d failed" % (counts["passed"], counts["failed"]))
    return counts["failed"] > 0


sys.exit(main())
