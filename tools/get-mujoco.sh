#!/bin/sh
# Fetches a newer MuJoCo than the system's; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/get-mujoco.sh [--dir | --flags] [VERSION]

Puts headers and library of the newest MuJoCo 3.x, or of VERSION (3.3.7), into a cache
($XDG_CACHE_HOME/diffrl or ~/.cache/diffrl) and prints how to compile with it. They are taken
from the Python package mujoco (Apache License 2.0) by pip; nothing of Python is installed, nothing
of the system is changed. Does nothing if that version, or without VERSION any 3.x, is there.

  --dir     print the folder only: DIR/include/mujoco/mujoco.h, DIR/lib/libmujoco.so
  --flags   print the compiler's flags only

examples:
  tools/get-mujoco.sh
  tools/train.sh --mujoco 3 --task Ant-v5
  cc -O2 examples/mujoco/eval.c -I. -Iexamples -o eval $(tools/get-mujoco.sh --flags) -lm -lpthread
END
}

show=all
case ${1-} in
-h | --help) usage; exit 0 ;;
--dir | --flags) show=${1#--}; shift ;;
-*) echo "tools/get-mujoco.sh: unknown flag $1" >&2; usage >&2; exit 2 ;;
esac
case ${1-} in
'' | 3) want='mujoco>=3,<4' ;;
[2-9].*) want="mujoco==$1" ;;
*) echo "tools/get-mujoco.sh: $1 is no version like 3.3.7" >&2; exit 2 ;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/diffrl

fail() # WHAT
{
    echo "tools/get-mujoco.sh: $1" >&2
    exit 1
}

# the folder of what is asked for, if it is there: of several, the newest
have()
{
    case $want in
    *==*) ls -d "$cache/mujoco-${want#*==}" ;;
    *) ls -d "$cache"/mujoco-3.* | sort -t . -k 2,2n -k 3,3n | tail -n 1 ;;
    esac 2>/dev/null
}

tell() # DIR
{
    flags="-I$1/include -L$1/lib -Wl,-rpath,$1/lib -lmujoco"
    case $show in
    dir) echo "$1" ;;
    flags) echo "$flags" ;;
    *)
        echo "MuJoCo ${1##*/mujoco-} is in $1"
        echo "cc -O2 examples/mujoco/train.c -I. -Iexamples -o build/train $flags -lm -lpthread" ;;
    esac
    exit 0
}

dir=$(have) || dir=
[ -z "$dir" ] || tell "$dir"

python=$(command -v python3) || fail "needs python3 with pip (Debian: python3-pip)"
"$python" -m pip --version >/dev/null 2>&1 || fail "needs pip (Debian: apt-get install python3-pip)"
mkdir -p "$cache" || fail "cannot write $cache"
work=$(mktemp -d "$cache/fetch.XXXXXX") || fail "cannot write $cache"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

echo "fetching $want with pip" >&2
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir \
    --only-binary=:all: --dest "$work" "$want" >&2 || fail "pip could not download $want"
version=$("$python" - "$work" <<'END'
import glob, os, re, sys, zipfile
work = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(work + "/mujoco-*.whl")[0])
lib = [n for n in wheel.namelist() if re.fullmatch(r"mujoco/libmujoco\.(so\.[\d.]+|[\d.]+\.dylib)", n)]
if not lib:
    sys.exit(1)
keep = [n for n in wheel.namelist() if re.fullmatch(r"mujoco/include/mujoco/\w+\.h", n)]
wheel.extractall(work, keep + lib)
version = re.search(r"\d+\.\d+\.\d+", lib[0]).group()
os.makedirs(work + "/new/lib")
os.rename(work + "/mujoco/include", work + "/new/include")
name = os.path.basename(lib[0])
os.rename(work + "/mujoco/" + name, work + "/new/lib/" + name)
os.symlink(name, work + "/new/lib/libmujoco" + (".so" if ".so" in name else ".dylib"))
print(version)
END
) || fail "the package has no library"
[ -d "$cache/mujoco-$version" ] || mv "$work/new" "$cache/mujoco-$version"
tell "$cache/mujoco-$version"
