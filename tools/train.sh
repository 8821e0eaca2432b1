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

  --mujoco V   with MuJoCo V (3: the newest 3.x; 3.3.7) from tools/get-mujoco.sh
  --help       this text, then that of the program

examples:
  tools/train.sh
  tools/train.sh --task Pendulum
  tools/train.sh --task Hopper-v5 --steps 200000 --seed 1
  tools/train.sh --mujoco 3 --task Ant-v5
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

version=
left=$#
while [ $left -gt 0 ]; do # all but --mujoco go to the end of the line once
    left=$((left - 1))
    case $1 in
    --mujoco) version=${2:?--mujoco needs a version}; shift; left=$((left - 1)) ;;
    --mujoco=*) version=${1#*=} ;;
    *) set -- "$@" "$1" ;;
    esac
    shift
done
without=
if [ -n "$version" ]; then
    tools/install.sh cc
    MUJOCO_FLAGS=$(tools/get-mujoco.sh --flags "$version")
    export MUJOCO_FLAGS
elif ! tools/install.sh cc mujoco; then
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
