#!/bin/sh
# Runs every command that README.md, the --help texts and the man pages print; see commands.py here.
set -eu
cd "$(dirname "$0")/../.."
tools/install.sh cc python || { echo "no Python with NumPy"; exit 77; }
tools/install.sh mujoco || { echo "MuJoCo is not installed"; exit 77; }
tools/install.sh draw ffmpeg glfw xvfb torch clang mandoc || echo "(what needs a missing one fails)"
mkdir -p build/test/cli
exec "${PYTHON:-/usr/bin/python3}" tests/cli/commands.py build/test/cli "$@"
