#!/bin/sh
# Films a trained policy; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/record.sh [FLAG...]
       tools/record.sh --view [FLAG...]

Installs what is missing (C compiler, MuJoCo, EGL or OSMesa, ffmpeg for a film that is no GIF;
tools/install.sh), builds examples/mujoco/record.c to build/record by the line in its head, and runs
it in the top folder with the FLAGs. Needs no screen. Without --policy and --task it takes the best
policy of the latest run in runs/.

  --view    a window instead: examples/mujoco/view.c, which needs GLFW and a screen
  --help    this text, then that of the program

examples:
  tools/record.sh                                     the latest run, to film.gif
  tools/record.sh --policy runs/Hopper*/best.safetensors --out film.mp4 --episodes 4
  tools/record.sh --view
END
}

cd "$(dirname "$0")/.."
program=record
want='cc mujoco draw'
if [ "${1-}" = --view ]; then
    shift
    program=view
    want='cc mujoco glfw'
fi
case ${1-} in
-h | --help)
    usage
    if [ -x build/$program ]; then
        echo
        exec build/$program --help
    fi
    exit 0 ;;
esac

case " $* " in
*.mp4\ * | *.mkv\ * | *.webm\ * | *.mov\ *) want="$want ffmpeg" ;;
esac
# shellcheck disable=SC2086 # a list of words
tools/install.sh $want
tools/build.sh examples/mujoco/$program.c

case " $* " in
*\ --policy* | *\ --task\ * | *\ --task=* | *.safetensors*) ;;
*)
    # shellcheck disable=SC2012 # names of runs are plain
    latest=$(ls -t runs/*/best.safetensors 2>/dev/null | head -n 1)
    [ -n "$latest" ] || { echo "tools/record.sh: no run in runs/; give --policy FILE" >&2; exit 2; }
    echo "policy $latest"
    set -- --policy "$latest" "$@" ;;
esac
exec build/$program "$@"
