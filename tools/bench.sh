#!/bin/sh
# Measures speed; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/bench.sh [--peers] [FLAG...]

Builds tools/bench.c and runs it in the top folder: this machine's multiply-add peak and bandwidth;
matrix products beside OpenBLAS, BLIS and oneDNN where they are installed; activations; updates of
every algorithm with their share of the peak; latency of one action; memory. Tables on the screen,
the same figures in build/bench.csv.

  --quick   at most a minute
  --peers   the same updates and actions in PyTorch too (tools/peers), stock and tuned, in turn with
            ours; installs python3-torch by apt-get where /usr/bin/python3 (or $PYTHON) has no torch
  --help    this text, then that of the program; other FLAGs are the program's

examples:
  tools/bench.sh --quick
  tools/bench.sh --only update --match dime/paper --profile
  tools/bench.sh --only update --peers
END
}

cd "$(dirname "$0")/.."
peers=
help=
for flag; do
    shift
    case $flag in
    -h | --help) usage; help=1 ;;
    --peers) peers=1; continue ;;
    esac
    set -- "$@" "$flag"
done
tools/install.sh cc
tools/build.sh tools/bench.c
if [ -n "$peers" ] && [ -z "$help" ]; then
    tools/install.sh torch
    set -- "$@" --peers tools/peers --python "${PYTHON:-/usr/bin/python3}"
fi
exec build/bench "$@"
