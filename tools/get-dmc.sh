#!/bin/sh
# Fetches the models of the DeepMind Control Suite; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/get-dmc.sh [DIR]

Puts the MJCF files of the DeepMind Control Suite (Apache License 2.0) into DIR (default:
$XDG_CACHE_HOME/diffrl/dmc or ~/.cache/diffrl/dmc, where the programs look) and prints DIR. They
are taken from the Python package dm_control by pip; nothing of Python is installed. Does nothing
if they are there.

Version 1.0.14 is fetched (DMC_VERSION=1.0.44 for another). Its files for our tasks are the same as
those of 1.0.44, and load on MuJoCo 2.2.2 to 3.x.

examples:
  tools/get-dmc.sh
  tools/train.sh --task walker-walk
  tools/get-dmc.sh build/dmc && tools/train.sh --task dog-run --dmc build/dmc
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) echo "tools/get-dmc.sh: unknown flag $1" >&2; usage >&2; exit 2 ;;
esac
dir=${1:-${DIFFRL_DMC:-${XDG_CACHE_HOME:-$HOME/.cache}/diffrl/dmc}}
if [ -f "$dir/dog.xml" ] && [ -f "$dir/common/materials.xml" ]; then
    echo "$dir"
    exit 0
fi

fail() # WHAT
{
    echo "tools/get-dmc.sh: $1" >&2
    exit 1
}

python=$(command -v python3) || fail "needs python3 with pip (Debian: python3-pip)"
"$python" -m pip --version >/dev/null 2>&1 || fail "needs pip (Debian: apt-get install python3-pip)"
mkdir -p "$dir" || fail "cannot write $dir"
work=$(mktemp -d "$dir/fetch.XXXXXX") || fail "cannot write $dir"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir \
    --only-binary=:all: --dest "$work" "dm_control==${DMC_VERSION:-1.0.14}" >&2 ||
    fail "pip could not download dm_control"
"$python" - "$work" <<'END' || fail "the package has no suite folder"
import glob, sys, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/dm_control-*.whl")[0])
ends = (".xml", ".stl", ".STL", ".msh", ".skn", ".png")
names = [n for n in wheel.namelist() if n.startswith("dm_control/suite/") and n.endswith(ends)]
wheel.extractall(sys.argv[1], names)
sys.exit(not names)
END
cp -R "$work/dm_control/suite/." "$dir/"
echo "$dir"
