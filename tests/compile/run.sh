#!/bin/sh
# Builds the header in all ways that must work, and some that must not; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tests/compile/run.sh [--list] [GROUP...]

  gcc, clang   C99, C11, C++11, C++17 without a warning; two files; DIFFRL_STATIC in two files
  hooks        every DIFFRL_NO_*, DIFFRL_ONLY_*, allocators, what must be refused, declarations alone
  bits         the same results from all compilers and flags
  time         compile times (printed, never a failure)
  (default: all)

Prints one line per build and last `N passed, N failed`; exit status 1 if one failed, 77 if nothing
could run. A compiler that is not here is skipped. Programs go to build/test/compile.
END
}

groups="gcc clang hooks bits time"
case ${1-} in
-h | --help) usage; exit 0 ;;
--list) echo "$groups"; exit 0 ;;
-*) echo "tests/compile/run.sh: unknown flag $1" >&2; usage >&2; exit 2 ;;
esac
[ $# = 0 ] || groups=$*

src=tests/compile
cd "$(dirname "$0")/../.."
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wcast-qual"
warnings="$warnings -Werror"
cc=${CC:-cc}
passed=0
failed=0

ok() { passed=$((passed + 1)); echo "ok   $1"; }
bad() # NAME WHY [LOG]
{
    failed=$((failed + 1))
    echo "FAIL $1: $2"
    if [ -n "${3-}" ]; then head -n 6 "$3" | sed 's/^/     /'; fi
}
have() { command -v "$1" >/dev/null 2>&1 || { echo "skip $1 is not here"; return 1; }; }

# Compiles; must succeed.
builds() # NAME COMMAND...
{
    name=$1
    shift
    if "$@" >"$out/log" 2>&1; then ok "$name"
    else bad "$name" "$*" "$out/log"
    fi
}

# Compiles and links to $out/a.out, with libm alone, and runs that; all must succeed.
runs() # NAME COMMAND...
{
    name=$1
    shift
    if ! "$@" -o "$out/a.out" -lm >"$out/log" 2>&1; then bad "$name" "$*" "$out/log"
    elif ! "$out/a.out" >"$out/log" 2>&1; then bad "$name" "the program fails" "$out/log"
    else ok "$name"
    fi
}

# Compiles; must be refused with a certain text.
refuses() # NAME TEXT COMMAND...
{
    name=$1
    text=$2
    shift 2
    if "$@" -o "$out/no.o" >"$out/log" 2>&1; then bad "$name" "compiles, must be refused"
    elif ! grep -q -e "$text" "$out/log"; then bad "$name" "refused without \`$text\`" "$out/log"
    else ok "$name"
    fi
}

# The file must have symbols, but none that the condition selects (awk; k: kind, s: name).
no_symbol() # NAME FILE CONDITION
{
    nm "$2" >"$out/nm" 2>&1 || : >"$out/nm"
    awk "NF >= 2 { k = \$(NF - 1); s = \$NF; sub(/@.*/, \"\", s); if ($3) print k, s }" \
        "$out/nm" >"$out/log"
    if ! [ -s "$out/nm" ]; then bad "$1" "nm shows nothing"
    elif [ -s "$out/log" ]; then bad "$1" "nm shows $(head -n 3 "$out/log" | tr '\n' ' ')"
    else ok "$1"
    fi
}

# shellcheck disable=SC2086 # flags are words
standards() # C-COMPILER C++-COMPILER
{
    impl=-DDIFFRL_IMPLEMENTATION
    for std in c99 c11 c++11 c++17; do
        case $std in
        c++*) link=$2; compile="$2 -x c++ -std=$std $warnings" ;;
        *) link=$1; compile="$1 -std=$std $warnings -Wstrict-prototypes" ;;
        esac
        case $std in *11) o=-O0 ;; *) o=-O2 ;; esac
        runs "$1 $std $o" $compile $o $impl $src/use.c
        case $std in
        c99 | c++17)
            builds "$1 $std: implementation" $compile -O0 -c $src/impl.c -o "$out/impl.o"
            builds "$1 $std: user" $compile -O2 -DWITH_OTHER -c $src/use.c -o "$out/use.o"
            runs "$1 $std: both" $link "$out/use.o" "$out/impl.o"
            runs "$1 $std: baselines" $compile -O0 $src/more.c
            no_symbol "$1 $std: exports drl_* alone" "$out/impl.o" \
                'k ~ /^[A-TV-Z]$/ && s !~ /^(drl_.*|other)$/'
            no_symbol "$1 $std: no writable globals" "$out/impl.o" 'k ~ /^[bBdDC]$/' ;;
        c11)
            for f in use impl; do
                builds "$1 $std: DIFFRL_STATIC $f.c" $compile -O0 -DDIFFRL_STATIC $impl \
                    -DWITH_OTHER -c $src/$f.c -o "$out/$f.o"
            done
            runs "$1 $std: DIFFRL_STATIC, both" $link "$out/use.o" "$out/impl.o"
            no_symbol "$1 $std: DIFFRL_STATIC exports nothing" "$out/impl.o" \
                'k ~ /^[A-TV-Z]$/ && s != "other"' ;;
        esac
    done
    runs "$1 without -std" $1 -O2 $warnings $impl $src/use.c
}

group_gcc()
{
    if have gcc && have g++; then standards gcc g++; fi
}

group_clang()
{
    if have clang && have clang++; then
        standards clang clang++
        refuses 'clang -ffast-math is refused' DIFFRL_ALLOW_FAST_MATH \
            clang -O2 -ffast-math -c $src/impl.c
        runs 'clang -ffast-math -DDIFFRL_ALLOW_FAST_MATH' clang -O2 -ffast-math \
            -DDIFFRL_ALLOW_FAST_MATH -DDIFFRL_IMPLEMENTATION $src/use.c
    fi
}

# What must be gone from a program that is built with the switch: a condition of no_symbol.
gone() # SWITCH
{
    case $1 in
    DIFFRL_NO_STDIO)
        calls='f?(open|close|read|write|put[cs]|get[cs]|printf|seek|tell|flush|sync)|putchar'
        echo "k == \"U\" && s ~ /^($calls|std(out|err)|__.*printf_chk)\$/" ;;
    DIFFRL_NO_THREADS) echo 's ~ /^pthread_/' ;;
    DIFFRL_NO_SIMD) echo 's ~ /^drli_.*(avx2|avx512|neon)/' ;;
    *) # DIFFRL_NO_DIME: drl_dime_*
        echo "s ~ /^drli?_$(printf '%s\n' "${1#DIFFRL_NO_}" | tr '[:upper:]' '[:lower:]')_/" ;;
    esac
}

# shellcheck disable=SC2086 # flags are words
group_hooks()
{
    have "$cc" || return 0
    flags="-std=c99 -O0 $warnings"
    known=$(grep -o 'DIFFRL_NO_[A-Z0-9_]*' diffrl.h | sort -u)
    for s in $(printf '%s\n' "$known" DIFFRL_NO_SIMD DIFFRL_NO_THREADS DIFFRL_NO_STDIO \
        DIFFRL_NO_DIME | sort -u); do
        if printf '%s\n' "$known" | grep -q -x "$s"; then
            rm -f "$out/a.out"
            runs "$s" "$cc" $flags -D$s -DDIFFRL_IMPLEMENTATION $src/use.c
            no_symbol "$s: nothing left of it" "$out/a.out" "$(gone $s)"
        else
            bad "$s" "the header does not know it"
        fi
    done
    for s in $(grep -o 'DIFFRL_ONLY_[A-Z0-9]\{2,\}' diffrl.h | sort -u); do
        rm -f "$out/a.out"
        runs "$s" "$cc" $flags -D$s -DDIFFRL_IMPLEMENTATION $src/use.c
        others=$(printf '%s\n' "$known" | grep -x -e 'DIFFRL_NO_[A-Z]*' | grep -v -x \
            -e DIFFRL_NO_STDIO -e DIFFRL_NO_SIMD -e DIFFRL_NO_THREADS -e "DIFFRL_NO_${s#DIFFRL_ONLY_}" |
            sed 's/^DIFFRL_NO_//' | tr '[:upper:]\n' '[:lower:]|' | sed 's/|$//')
        no_symbol "$s: nothing left of others" "$out/a.out" "s ~ /^drli?_($others)_/"
        if ! nm "$out/a.out" | grep -q -e "_$(echo "${s#DIFFRL_ONLY_}" | tr '[:upper:]' '[:lower:]')_algo\$"; then
            bad "$s" 'leaves out its own algorithm, too'
        fi
    done
    runs 'DIFFRL_MALLOC and DIFFRL_FREE' "$cc" $flags -DMACROS $src/alloc.c
    runs 'allocator of a context' "$cc" $flags $src/alloc.c
    refuses 'DIFFRL_MALLOC without DIFFRL_FREE is refused' 'define both' \
        "$cc" '-DDIFFRL_MALLOC(n)=0' -c $src/impl.c
    refuses 'DIFFRL_FREE without DIFFRL_MALLOC is refused' 'define both' \
        "$cc" '-DDIFFRL_FREE(p)=(void)p' -c $src/impl.c
    runs 'declarations alone' "$cc" $flags $src/decl.c
    printf '#include <stddef.h>\n#include <stdint.h>\n' >"$out/two.c"
    included "$out/two.c" >"$out/want"
    included $src/decl.c | grep -v 'diffrl\.h$' >"$out/got" || :
    name='declarations include <stddef.h> and <stdint.h> alone'
    if cmp -s "$out/want" "$out/got"; then ok "$name"
    else
        comm -13 "$out/want" "$out/got" >"$out/log"
        bad "$name" 'also included:' "$out/log"
    fi
}

# The files that a source includes, directly or not.
included() # FILE
{
    "$cc" -E "$1" | sed -n 's/^# [0-9]* "\([^<"]*\)".*/\1/p' | grep '\.h$' | sort -u
}

group_bits()
{
    first=
    while read -r compiler flags; do
        case $compiler in '#'*) continue ;; esac
        have "$compiler" || continue
        name="$compiler $flags"
        case $compiler in *++) flags="$flags -x c++" ;; esac
        # shellcheck disable=SC2086
        if ! $compiler $flags $src/bits.c -o "$out/bits" -lm >"$out/log" 2>&1; then
            bad "$name" 'does not compile' "$out/log"
        elif ! "$out/bits" >"$out/bits.txt" 2>&1; then
            bad "$name" 'the program fails' "$out/bits.txt"
        elif [ -z "$first" ]; then
            first=$name
            mv "$out/bits.txt" "$out/first.txt"
            sed 's/^/     /' "$out/first.txt"
            ok "$name"
        elif ! cmp -s "$out/first.txt" "$out/bits.txt"; then
            diff "$out/first.txt" "$out/bits.txt" | grep '^>' >"$out/log"
            bad "$name" "other bits than $first" "$out/log"
        else ok "$name"
        fi
    done <<END
gcc -O2
gcc -O0
gcc -O2 -march=native
gcc -O2 -DDIFFRL_NO_SIMD
gcc -Ofast
gcc -Ofast -march=native
g++ -O2 -std=c++17
clang -O2
clang -O0
clang -O3 -march=native
clang -O2 -DDIFFRL_NO_SIMD
END
}

# Best wall time of the runs, in milliseconds.
best() # RUNS COMMAND...
{
    shortest=999999
    runs=$1
    shift
    while [ "$runs" -gt 0 ]; do
        runs=$((runs - 1))
        start=$(date +%s%N)
        "$@"
        t=$((($(date +%s%N) - start) / 1000000))
        [ $t -ge $shortest ] || shortest=$t
    done
    echo $shortest
}

group_time()
{
    for compiler in gcc clang; do
        have $compiler || continue
        if ! $compiler -O2 -c $src/impl.c -o "$out/t.o" 2>"$out/log"; then
            bad "$compiler: compile time" 'does not compile' "$out/log"
            continue
        fi
        all=$(best 3 $compiler -O2 -c $src/impl.c -o "$out/t.o")
        with=$(best 5 $compiler -O2 -c $src/decl.c -o "$out/t.o")
        without=$(best 5 $compiler -O2 -DNOTHING -c $src/decl.c -o "$out/t.o")
        ok "$compiler -O2: implementation $all ms (aim 5000; best of 3), declarations \
$((with - without)) ms more than nothing (aim 50; best of 5)"
    done
}

for group in $groups; do
    out=build/test/compile/$group
    rm -rf "$out"
    mkdir -p "$out"
    case $group in
    gcc | clang | hooks | bits | time) "group_$group" ;;
    *) echo "tests/compile/run.sh: unknown group $group" >&2; exit 2 ;;
    esac
done
[ $((passed + failed)) -gt 0 ] || exit 77
echo "$passed passed, $failed failed"
[ $failed = 0 ]
