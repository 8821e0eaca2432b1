#!/bin/sh
# Tests tools/diffrl.py against the library called from C; see tests/cli/python.py.
set -eu
cd "$(dirname "$0")/../.."
tools/install.sh cc python || { echo "no Python with NumPy"; exit 77; }
tools/install.sh gymnasium || echo "(no gymnasium: the example of diffrl.py is skipped)"
out=$PWD/build/test/cli
mkdir -p "$out"
${CC:-cc} -O2 -Wall -Wextra tests/cli/python.c -o "$out/python-driver" -lm -lpthread
PYTHONPATH=$PWD/tools:$PWD/build/python exec "${PYTHON:-/usr/bin/python3}" tests/cli/python.py "$out"
