#!/bin/sh
# Tests tools/export.c: C source to the bit, on several compilers and on ARM; ONNX; exit codes.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/export.sh [DIR]

Builds export into DIR (default: build/test/cli), makes policies of every algorithm (trained on the
pendulum for 400 steps, and of other sizes), exports them and holds them against the actions that
the library chooses on 1,000 observations (export_train.c, export_check.c). Runs the self-test on
emulated Cortex-M boards, and the ONNX files by onnxruntime; what is not there and cannot be
installed is told and left out. Prints `ok   NAME`, `FAIL NAME` or `skip NAME` and last
`N passed, N failed`; exit status 1 if one failed.
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac

cd "$(dirname "$0")/../.." || exit 1
mkdir -p "${1:-build/test/cli}/export.work"
build=$(cd "${1:-build/test/cli}" && pwd)
work=$build/export.work
rm -f "$work"/*
passed=0
failed=0
ok() { passed=$((passed + 1)); echo "ok   $1"; }
bad() # NAME [WHAT]
{
    failed=$((failed + 1))
    echo "FAIL $1${2:+: $2}" | head -n 8
}

# Runs a command; ok if it succeeds.
good() # NAME COMMAND...
{
    name=$1
    shift
    if "$@" >"$work/log" 2>&1; then ok "$name"; else bad "$name" "$(cat "$work/log")"; fi
}

warnings="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wcast-qual"
warnings="$warnings -Werror"

# The line in the file's head, but to $build and without optimization for time.
line=$(sed -n '/cc -O2.* -o build\//{s/^ *cc -O2 //;p;q;}' tools/export.c |
    sed "s|-o build/|-o \"\$build\"/|")
# shellcheck disable=SC2086 # flags
eval "${CC:-cc} -O1 $warnings $line" >"$work/log" 2>&1
if [ -x "$build/export" ] && [ ! -s "$work/log" ]; then ok build
else bad build "$(cat "$work/log")"
fi
# shellcheck disable=SC2086 # flags
good policies sh -c "${CC:-cc} -O1 $warnings tests/cli/export_train.c -o '$build/export_train' \
    -lm && '$build/export_train' '$work'"

# ------------------------------------------------------------------------------------- C source

# Builds export_check with the policy CASE and holds it against the library's rows.
check() # CASE COMPILER FLAG...
{
    policy=$1
    shift
    if ! command -v "$1" >/dev/null; then echo "skip $policy: no $1"; return; fi
    # shellcheck disable=SC2086 # flags
    "$@" $warnings -DPOLICY="$policy" -DPOLICY_FILE="\"$policy.h\"" -I"$work" \
        tests/cli/export_check.c -o "$work/check" -lm >"$work/log" 2>&1 &&
        "$work/check" "$work/$policy.rows" >"$work/log" 2>&1
    status=$?
    if [ $status = 0 ]; then ok "$policy: $*"; else bad "$policy: $*" "$(cat "$work/log")"; fi
}

for policy in dime qvpo dacer dppo dime2 qvpo2 qvpo3 dacer2 dppo2 dppo3 sac ppo; do
    good "export $policy" "$build/export" --policy "$work/$policy.safetensors" \
        --c "$work/$policy.h" --name $policy
done
for policy in dime qvpo dacer dppo; do
    check "$policy" gcc -std=c99 -O2 -march=native -Wstrict-prototypes
    check "$policy" g++ -x c++ -std=c++17 -O1
done
for policy in dime2 qvpo2 qvpo3 dacer2 dppo2 dppo3; do
    check "$policy" gcc -std=c99 -O1 -Wstrict-prototypes
    check "$policy" clang -std=c99 -O2 -march=native
done
for policy in sac ppo; do
    check "$policy" gcc -std=c99 -O1 -Wstrict-prototypes -DNO_NOISE
    check "$policy" clang++ -x c++ -std=c++17 -O2 -march=native -DNO_NOISE
done
check dime clang++ -x c++ -std=c++17 -O0
check dppo2 clang -std=c99 -O0 -march=native
check dacer gcc -O0 -march=native
check dime2 gcc -Ofast -march=native

# it must be able to fail
sed '/const float dime_net0_w0/{n;s/0\./1./;}' "$work/dime.h" >"$work/dime2.h"
sed -i 's/dime_/dime2_/g' "$work/dime2.h"
if gcc -DPOLICY=dime2 -DPOLICY_FILE='"dime2.h"' -I"$work" tests/cli/export_check.c \
    -o "$work/check" -lm 2>"$work/log" && "$work/check" "$work/dime.rows" >"$work/log"; then
    bad "another weight is found"
elif grep -q 'self-test: 1' "$work/log" && grep -q 'rows differ' "$work/log"; then
    ok "another weight is found"
else bad "another weight is found" "$(cat "$work/log")"
fi

# all in one program, beside the library, and needing nothing
{
    echo '#include "diffrl.h"'
    for policy in dime qvpo dacer dppo; do echo "#include \"$policy.h\""; done
    echo 'int all(float *p);'
    echo 'int all(float *p)'
    echo '{'
    for policy in dime qvpo dacer dppo; do
        echo "    static ${policy}_policy $policy;"
        echo "    ${policy}_rng r_$policy;"
    done
    echo '    int n = 0;'
    for policy in dime qvpo dacer dppo; do
        echo "    ${policy}_rng_begin(&r_$policy, 1);"
        echo "    ${policy}_rng_normals(&r_$policy, 1, p);"
        echo "    ${policy}_act(&$policy, p, p, p);"
        echo "    n += ${policy}_selftest(&$policy);"
    done
    echo '    return n;'
    echo '}'
} >"$work/all.c"

# Compiles all.c for a target; only the compiler's own arithmetic may be missing.
needs_nothing() # NAME NM COMPILER FLAG...
{
    name=$1 nm=$2
    shift 2
    if ! command -v "$1" >/dev/null; then echo "skip $name: no $1"; return; fi
    # shellcheck disable=SC2086 # flags
    if ! "$@" -Wall -Wextra -Werror -I. -I"$work" -c "$work/all.c" -o "$work/all.o" \
        >"$work/log" 2>&1; then
        bad "$name" "$(cat "$work/log")"
    elif $nm -u "$work/all.o" | grep -v -E ' (__aeabi_|__stack_chk_|_GLOBAL_OFFSET_)' \
        >"$work/log"; then
        bad "$name" "$(cat "$work/log")"
    else ok "$name"
    fi
}
needs_nothing "gcc: no symbol of others" nm gcc -std=c99 -O3
needs_nothing "g++, C++11: no symbol of others" nm g++ -x c++ -std=c++11 -O1 -pedantic
needs_nothing "clang: no symbol of others" nm clang -std=c99 -O2 -ffreestanding

# ------------------------------------------------------------------------------------------ ARM

m4='-mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard'
m3='-mthumb -mcpu=cortex-m3'
arm() # BOARD CASE FLAG...
{
    board=$1 policy=$2
    shift 2
    arm-none-eabi-gcc -std=c99 "$@" -ffreestanding -nostdlib -Wall -Wextra -Werror \
        -DPOLICY="$policy" -DPOLICY_FILE="\"$policy.h\"" -I"$work" tests/cli/export_arm.c -lgcc \
        -Wl,--section-start=.vectors=0,-Ttext=0x40,-Tbss=0x20000000,-e,start -o "$work/arm.elf" \
        >"$work/log" 2>&1 &&
        timeout 60 qemu-system-arm -M "$board" -nographic -monitor none -serial none \
            -semihosting-config enable=on,target=native -kernel "$work/arm.elf" \
            >"$work/log" 2>&1 </dev/null
    status=$?
    if [ $status = 0 ] && grep -q '^passed' "$work/log"; then ok "$board: $policy $*"
    else bad "$board: $policy $*" "exit status $status: $(cat "$work/log")"
    fi
}
if tools/install.sh arm; then
    for policy in dime qvpo dacer dppo; do
        # shellcheck disable=SC2086 # flags
        arm mps2-an386 $policy $m4 -O2
        # shellcheck disable=SC2086 # flags
        arm mps2-an385 $policy $m3 -Os
    done
    # shellcheck disable=SC2086 # flags
    needs_nothing "Cortex-M4: no symbol of others" arm-none-eabi-nm \
        arm-none-eabi-gcc $m4 -std=c99 -O3 -ffreestanding
    # shellcheck disable=SC2086 # flags
    needs_nothing "Cortex-M4, C++: no symbol of others" arm-none-eabi-nm \
        arm-none-eabi-g++ $m4 -x c++ -std=c++17 -O2 -ffreestanding
else
    echo "skip Cortex-M: no arm-none-eabi-gcc or qemu-system-arm"
fi

# ----------------------------------------------------------------------------------------- ONNX

if tools/install.sh onnx; then
    set -- dime qvpo dacer dppo dime2 qvpo2 qvpo3 dacer2 dppo2 dppo3
    for policy in "$@"; do
        good "export $policy, ONNX" "$build/export" "$work/$policy.safetensors" \
            --onnx "$work/$policy.step.onnx" --onnx-loop "$work/$policy.onnx"
    done
    for policy in sac ppo; do
        good "export $policy, ONNX" "$build/export" "$work/$policy.safetensors" \
            --onnx-loop "$work/$policy.onnx"
    done
    PYTHONPATH=build/onnx "${PYTHON:-/usr/bin/python3}" tests/cli/export_onnx.py "$work" "$@" \
        sac ppo \
        >"$work/out" 2>"$work/err" || echo "FAIL onnx: $(tail -n 1 "$work/err")" >>"$work/out"
    cat "$work/out"
    passed=$((passed + $(grep -c '^ok' "$work/out")))
    failed=$((failed + $(grep -c '^FAIL' "$work/out")))
else
    echo "skip ONNX: no Python packages onnx and onnxruntime"
fi

# ----------------------------------------------------------------------------------- exit codes

exits() # NAME STATUS TEXT ARGUMENT...
{
    name=$1 want=$2 text=$3 status=0
    shift 3
    "$build/export" "$@" >"$work/out" 2>"$work/err" || status=$?
    if [ $status != "$want" ]; then bad "$name" "exit status $status: $(cat "$work/err")"
    elif ! cat "$work/out" "$work/err" | grep -q -F -e "$text"; then
        bad "$name" "no '$text' in: $(cat "$work/err")"
    else ok "$name"
    fi
}
p=$work/dime.safetensors
exits "help" 0 "--onnx-loop FILE" --help
exits "no flags" 2 "want --policy FILE"
exits "nothing to write" 2 "want --policy FILE" --policy "$p"
exits "unknown flag" 2 "did you mean --onnx" --policy "$p" --onx "$work/x"
exits "no identifier" 2 "expected an identifier" "$p" --c "$work/x.h" --name 3d
exits "no chain" 1 "no denoising steps" "$work/ppo.safetensors" --onnx "$work/x.onnx"
exits "no file" 3 "missing.safetensors" --policy "$work/missing.safetensors" --c "$work/x.h"
exits "no directory" 3 "cannot write" --policy "$p" --c "$work/none/x.h"
head -c 5000 "$p" >"$work/short.safetensors"
exits "cut file" 3 "short.safetensors" --policy "$work/short.safetensors" --c "$work/x.h"
echo before >"$work/kept.h"
exits "a failure" 3 "beyond the end" --policy "$work/short.safetensors" --c "$work/kept.h"
if [ "$(cat "$work/kept.h")" = before ]; then ok "keeps the old file"
else bad "keeps the old file"
fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
