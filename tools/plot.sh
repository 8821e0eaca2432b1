#!/bin/sh
# Draws learning curves; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/plot.sh RUN... [FLAG...]

Builds tools/plot.c to build/plot by the line in its head, unless that is done, and runs it with the
arguments; with --png it installs rsvg-convert first if that is missing (tools/install.sh).

  --help    this text, then that of the program

examples:
  tools/plot.sh runs/*
  tools/plot.sh runs/* --by algo --out fig.svg --png
END
}

top=$(cd "$(dirname "$0")/.." && pwd)
plot=$top/build/plot
for file in tools/plot.c examples/mujoco/curve.h examples/mujoco/run.h diffrl.h; do
    [ -x "$plot" ] && [ -z "$(find "$top/$file" -newer "$plot")" ] && continue
    "$top/tools/install.sh" cc
    "$top/tools/build.sh" tools/plot.c >&2
    break
done
case " $* " in
*\ -h\ * | *\ --help\ *) usage; echo ;;
*\ --png\ *) "$top/tools/install.sh" rsvg || exit 1 ;;
esac
exec "$plot" "$@"
