#!/bin/sh
# Writes a trained policy as C source or ONNX; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/export.sh [FLAG...]

Builds tools/export.c to build/export by the line in its head and runs it in the top folder with
the FLAGs. Without --policy it takes the best policy of the latest run in runs/.

  --help    this text, then that of the program

examples:
  tools/export.sh --c policy.h                        the latest run, one C99 header
  tools/export.sh --policy runs/Walker*/best.safetensors --c walker.h --name walker
  tools/export.sh --onnx step.onnx --onnx-loop policy.onnx
END
}

cd "$(dirname "$0")/.."
case ${1-} in
-h | --help)
    usage
    if [ -x build/export ]; then
        echo
        exec build/export --help
    fi
    exit 0 ;;
esac

tools/install.sh cc
tools/build.sh tools/export.c
case " $* " in
*\ --policy* | *.safetensors*) ;;
*)
    # shellcheck disable=SC2012 # names of runs are plain
    latest=$(ls -t runs/*/best.safetensors 2>/dev/null | head -n 1)
    [ -n "$latest" ] || { echo "tools/export.sh: no run in runs/; give --policy FILE" >&2; exit 2; }
    echo "policy $latest"
    set -- --policy "$latest" "$@" ;;
esac
exec build/export "$@"
