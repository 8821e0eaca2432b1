#!/bin/sh
# Tests tools/import_torch.py and the names and shapes of our own weights; see tests/cli/import.py.
set -eu
cd "$(dirname "$0")/../.."
tools/install.sh cc python torch || { echo "no PyTorch"; exit 77; }
tools/install.sh safetensors || echo "(no safetensors: the reader in README is skipped)"
mkdir -p build/test/cli
PYTHONPATH=$PWD/tools:$PWD/build/python exec nice "${PYTHON:-/usr/bin/python3}" \
    tests/cli/import.py build/test/cli
