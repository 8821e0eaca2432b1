#!/bin/sh
# Trains; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/train.sh [FLAG...]

Installs what is missing (C compiler, MuJoCo; tools/install.sh), builds examples/mujoco/train.c to
build/train by the line in its head, and runs it in the top folder with the FLAGs. Without flags it
trains DIME on HalfCheetah-v5 for a short while and ends with a learning curve. Without MuJoCo the
program still knows the built-in tasks.

  --help    this text, then that of the program

examples:
  tools/train.sh
  tools/train.sh --task Pendulum
  tools/train.sh --task Hopper-v5 --steps 200000 --seed 1
END
}

cd "$(dirname "$0")/.."
case ${1-} in
-h | --help)
    usage
    if [ -x build/train ]; then
        echo
        exec build/train --help
    fi
    exit 0 ;;
esac

without=
if ! tools/install.sh cc mujoco; then
    tools/install.sh --have cc || exit 1
    without=--no-mujoco
    echo "Building without it; the built-in tasks work, as in  tools/train.sh --task Pendulum" >&2
fi
# shellcheck disable=SC2086 # nothing, or one flag
tools/build.sh $without examples/mujoco/train.c
if [ -n "$without" ] && [ $# = 0 ]; then
    exit 1 # the default task needs MuJoCo; what to do has been said
fi
exec build/train "$@"
