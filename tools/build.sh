#!/bin/sh
# Builds an example by its own line; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/build.sh [--no-mujoco] FILE.c [FLAG...]

Runs the build line of an example in the top folder of the repository, and prints it. FILE.c is
looked for in the present folder, then in the top folder. The line is
the one in the first 60 lines of the file that contains `cc -O2` and `-o build/`, for example
     build   cc -O2 examples/03_bandit.c -o build/03_bandit -lm
(`mkdir -p build` is done here). FLAGs are appended. CC, if set, stands for cc.

MUJOCO_FLAGS, if set, stands for -lmujoco (tools/get-mujoco.sh --flags prints some).

  --no-mujoco   leave -lmujoco out and define TRAIN_NO_MUJOCO
  --name        print the path of the program (build/...) and build nothing

examples:
  tools/build.sh examples/03_bandit.c
  tools/build.sh --no-mujoco examples/mujoco/train.c
  CC=clang tools/build.sh examples/03_bandit.c -g -fsanitize=address
END
}

no_mujoco=0
name=0
while :; do
    case ${1-} in
    -h | --help) usage; exit 0 ;;
    --no-mujoco) no_mujoco=1 ;;
    --name) name=1 ;;
    -* | '') echo "tools/build.sh: no file given, or unknown flag ${1-}" >&2; usage >&2; exit 2 ;;
    *) break ;;
    esac
    shift
done
file=$1
shift
[ -f "$file" ] || case $file in /*) ;; *) file=$(dirname "$0")/../$file ;; esac
[ -f "$file" ] || { echo "tools/build.sh: no file $file" >&2; exit 2; }

line=$(head -n 60 "$file" | grep 'cc -O2.* -o build/') || line=
if [ "$(printf '%s\n' "$line" | grep -c .)" != 1 ]; then
    echo "$file: want one line with \`cc -O2 ... -o build/NAME ...\` in the first 60 lines" >&2
    exit 1
fi
line=$(printf '%s\n' "$line" | sed 's/^.*\(cc -O2\)/\1/; s/[ *\/]*$//')
program=$(printf '%s\n' "$line" | sed 's/.* -o \(build\/[^ ]*\).*/\1/')
if [ $name = 1 ]; then
    echo "$program"
    exit 0
fi
if [ $no_mujoco = 1 ]; then
    line=$(printf '%s\n' "$line" | sed 's/ -lmujoco//g; s/^cc/cc -DTRAIN_NO_MUJOCO/')
fi
if [ -n "${MUJOCO_FLAGS-}" ]; then
    line=$(printf '%s\n' "$line" | sed "s|-lmujoco|$MUJOCO_FLAGS|")
fi
line="${CC:-cc}${line#cc}${*:+ $*}"

cd "$(dirname "$0")/.."
mkdir -p "$(dirname "$program")"
echo "$line"
exec sh -c "$line"
