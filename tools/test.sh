#!/bin/sh
# Builds and runs all tests; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/test.sh [--list] [--jobs N] [FILTER]

Installs what is missing (compilers, MuJoCo; tools/install.sh), builds and runs all tests whose name
contains FILTER (default: all), N at a time (default: one per core, at least 2). Cheap ones first.

  check/*      tools/check.sh on diffrl.h, and the proof that its rules fire
  unit/*       tests/unit/NAME.c
  golden/*     tests/golden/NAME.c     figures of independent computations
  env/*        tests/env/NAME.c        tasks against recorded trajectories
  learn/*      tests/learn/NAME.c      training runs that must reach a return
  compile/*    tests/compile/run.sh    compilers, standards, switches, same bits
  sanitize/*   unit and golden tests once more with ASan, UBSan and -DTEST_SHORT, at -O0,
               and -O1 where that would run for minutes
  cli/*        tests/cli/NAME.sh       the training and evaluation programs, as users call them
  fuzz/*       tests/fuzz/NAME.c       twenty seconds of libFuzzer
  example/*    examples/NAME.c, each by its own build line, cut off after twenty seconds

MUJOCO_FLAGS, if set, stands for -lmujoco (tools/get-mujoco.sh --flags prints some).
Tests are built with -O2 and run in the top folder. What includes MuJoCo is skipped where that
cannot be installed. Output goes to build/test/NAME.log. Prints one line per test, an excerpt of the
log of those that fail, and last `N passed, N failed`, the sum of the single checks; exit status 1
if one failed.

examples:
  tools/test.sh
  tools/test.sh unit/rng
  tools/test.sh --jobs 1 learn/
END
}

cd "$(dirname "$0")/.."
out=build/test

# ---------------------------------------------------------------------------------------- one test

uses_mujoco() { grep -q -e '-lmujoco' -e 'mujoco_env\.h' -e '<mujoco/' "$1"; }

skip() # WHY
{
    echo "$1"
    exit 77
}

limited() { timeout --foreground -k 5 "$@"; } # SECONDS COMMAND...; 124: cut off

# Builds FILE.c to $out/$test and runs that.
program() # FILE SECONDS [FLAG...]
{
    file=$1
    limit=$2
    shift 2
    if uses_mujoco "$file"; then
        [ "${MUJOCO:-1}" = 1 ] || skip "MuJoCo is not installed"
        # shellcheck disable=SC2086 # several words
        set -- "$@" ${MUJOCO_FLAGS:--lmujoco}
    fi
    case $test in env/dmc) tools/get-dmc.sh || : ;; esac # what needs the models skips itself
    mkdir -p "$(dirname "$out/$test")"
    "${CC:-cc}" -O2 -Wall -Wextra "$file" -o "$out/$test" "$@" -lm
    limited "$limit" "$out/$test"
}

# Builds an example by its own line and runs it. It may be cut off by the limit, not fail before.
example() # FILE SECONDS [ARGUMENT...]
{
    file=$1
    limit=$2
    shift 2
    if uses_mujoco "$file" && [ "${MUJOCO:-1}" != 1 ]; then skip "MuJoCo is not installed"; fi
    tools/build.sh "$file"
    status=0
    limited "$limit" "$(tools/build.sh --name "$file")" "$@" || status=$?
    [ $status = 124 ] || return $status
    echo "(cut off after $limit s)"
}

# Lets a fuzzer look for inputs that break FILE.c for a short while.
fuzz() # FILE SECONDS
{
    mkdir -p "$out/$test.corpus"
    echo 'int LLVMFuzzerTestOneInput(const char *p, long n) { return 0 * *p * n; }' >"$out/$test.c"
    clang -fsanitize=fuzzer "$out/$test.c" -o "$out/$test" 2>&1 || skip "no clang with libFuzzer"
    clang -g -O1 -DDIFFRL_NO_SIMD -fsanitize=fuzzer,address,undefined \
        -fno-sanitize-recover=undefined "$1" -o "$out/$test" -lm
    set -- "${1%.c}.dict" -max_total_time="$2" -max_len=4096
    if [ -f "$1" ]; then set -- "$@" -dict="$1"; fi
    shift
    "$out/$test" "$@" -print_final_stats=1 -artifact_prefix="$out/$test-" "$out/$test.corpus"
}

run_test() # exit status 77: skipped
{
    case $test in
    check/header) tools/check.sh ;;
    check/selftest) tools/check.sh --selftest ;;
    unit/* | golden/* | env/*) program "tests/$test.c" 300 ;;
    learn/*) program "tests/$test.c" 840 ;;
    compile/*) tests/compile/run.sh "${test#compile/}" ;;
    sanitize/*)
        file=$(echo "${test#sanitize/}" | sed 's,-,/,')
        case $file in
        unit/algos | unit/kernels | unit/latency | unit/qvpo) level=-O1 ;;
        *) level=-O0 ;;
        esac
        program "tests/$file.c" 600 $level -g -DTEST_SHORT -fno-omit-frame-pointer \
            -fsanitize=address,undefined -fno-sanitize-recover=all ;;
    cli/*) "tests/$test.sh" ;;
    fuzz/*) fuzz "tests/$test.c" 20 ;;
    example/*) example "examples/${test#example/}.c" 20 ;;
    esac
}

# What to show of a failure: the head of a sanitizer's report, else the end.
excerpt() # LOG
{
    grep -m 1 -A 11 -E 'ERROR: [A-Za-z]*Sanitizer|: runtime error: ' "$1" ||
        grep -v '^ok ' "$1" | tail -n 12
}

# Runs $test with its output in the log; writes the counts to $test.result and prints the line.
job()
{
    mkdir -p "$(dirname "$out/$test")"
    log=$out/$test.log
    start=$(date +%s.%N)
    status=0
    tools/test.sh --run "$test" >"$log" 2>&1 </dev/null || status=$?
    seconds=$(echo "$start $(date +%s.%N)" | awk '{ printf "%.1f", $2 - $1 }')
    # counts: those that the test prints last, else the program as one test
    counts=$(tail -n 1 "$log" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
    if [ $status = 77 ]; then
        echo "0 0 1" >"$out/$test.result"
        printf 'skip  %-28s %s\n' "$test" "$(tail -n 1 "$log")"
        return
    elif [ $status = 0 ]; then
        # shellcheck disable=SC2086
        set -- ${counts:-1 0}
    else
        # shellcheck disable=SC2086
        set -- ${counts:-0 1}
        [ "$2" -gt 0 ] || set -- "$1" 1 # it passed its tests and then crashed
    fi
    skips=$(grep -c '^skip ' "$log") || :
    echo "$1 $2 $skips" >"$out/$test.result"
    if [ "$2" = 0 ]; then
        printf 'ok    %-28s %4d passed %8s s\n' "$test" "$1" "$seconds"
        grep '^skip ' "$log" | sed 's/^/        /' || :
    else
        [ $status != 124 ] || echo "(ended: time limit)" >>"$log"
        printf 'FAIL  %-28s %4d passed, %d failed %s s, %s:\n%s\n' "$test" "$1" "$2" "$seconds" \
            "$log" "$(excerpt "$log" | cut -c 1-200 | sed 's/^/        /')"
    fi
}

# --------------------------------------------------------------------------------------- all tests

sources() # PATTERN... : of test files that exist, their names without tests/ and .c or .sh
{
    for f in "$@"; do
        [ -f "$f" ] || continue
        f=${f#tests/}
        echo "${f%.*}"
    done
}

all_tests()
{
    echo check/header
    echo check/selftest
    sources tests/unit/*.c tests/golden/*.c tests/env/*.c tests/cli/*.sh tests/learn/*.c
    for group in $(tests/compile/run.sh --list); do
        echo "compile/$group"
    done
    sources tests/unit/*.c tests/golden/*.c | sed 's,/,-,; s,^,sanitize/,'
    sources tests/fuzz/*.c
    for f in examples/*.c; do # those in examples/mujoco/ want flags: cli/*
        f=${f#examples/}
        echo "example/${f%.c}"
    done
}

jobs=$(nproc 2>/dev/null || echo 2)
[ "$jobs" -gt 1 ] || jobs=2
list=0
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --list) list=1 ;;
    --jobs) jobs=${2:?N is missing}; shift ;;
    --job) test=$2; job; exit ;;      # one test with its line, for the loop below
    --run) test=$2; run_test; exit ;; # one test, for job
    -*) echo "tools/test.sh: unknown flag $1" >&2; usage >&2; exit 2 ;;
    *) break ;;
    esac
    shift
done
tests=$(all_tests | grep -F -e "${1-}") || { echo "tools/test.sh: no test named *$1*" >&2; exit 2; }
if [ $list = 1 ]; then
    echo "$tests"
    exit 0
fi

case $tests in
*compile/*) tools/install.sh cc mujoco c++ clang || echo "(what needs a missing one is skipped)" ;;
*) tools/install.sh cc mujoco || : ;;
esac
tools/install.sh --have cc || exit 1
MUJOCO=1
tools/install.sh --have mujoco || MUJOCO=0
export MUJOCO

mkdir -p "$out"
find "$out" -name '*.result' -exec rm -f {} +
start=$(date +%s)
echo "$tests" | xargs -P "$jobs" -n 1 tools/test.sh --job || :

# every test must have left its counts
for t in $tests; do
    cat "$out/$t.result" 2>/dev/null || echo "0 1 0"
done | awk -v seconds=$(($(date +%s) - start)) '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        printf "%d tests in %d s", NR, seconds
        if (skipped) printf ", %d skipped", skipped
        printf "\n%d passed, %d failed\n", passed, failed
        exit failed > 0
    }'
