#!/bin/sh
# Tests tools/man/*.1: mandoc finds nothing, and the flags are those that each program's --help shows.
set -eu
cd "$(dirname "$0")/../.."
tools/install.sh cc || exit 77
build=build/test/cli/man
mkdir -p "$build"
passed=0
failed=0
ok() { passed=$((passed + 1)); echo "ok   $1"; }
bad() { failed=$((failed + 1)); echo "FAIL $1: $2"; }

flags_of_man() # FILE: lines `--flag ARG`
{
    sed -n 's/^\.It Fl Fl \([a-z-]*\) Ar \(.*\)/--\1 \2/p; s/^\.It Fl Fl \([a-z-]*\)$/--\1/p' "$1"
}

flags_of_help()
{
    sed -n 's/^  \(--[a-z-]*\) \([A-Z|a-z.=]*\)  *[^ ].*/\1 \2/p' | sed 's/ $//'
}

for page in tools/man/*.1; do
    name=$(basename "$page" .1)
    for file in examples/mujoco/$name.c tools/$name.c; do
        [ -f "$file" ] && source=$file
    done
    # by its own line, without optimization and without MuJoCo
    line=$(grep -m 1 'cc -O2.* -o build/' "$source" |
        sed "s|^.*cc -O2|-O0|; s| -o build/[^ ]*| -o $build/$name|
            s| -lmujoco| -DTRAIN_NO_MUJOCO|")
    # shellcheck disable=SC2086 # a list of words
    ${CC:-cc} $line
    "$build/$name" --help >"$build/$name.txt"
    flags_of_help <"$build/$name.txt" >"$build/$name.help"
    flags_of_man "$page" >"$build/$name.man"
    if difference=$(diff "$build/$name.help" "$build/$name.man"); then
        ok "$name: $(wc -l <"$build/$name.man") flags as in --help"
    else
        bad "$name: flags" "$difference"
    fi
    if [ "$(wc -l <"$build/$name.man")" -gt 5 ]; then ok "$name: flags"; else bad "$name" "few"; fi
    # the exit codes, too: lines `.It 3` after the section's head
    sed -n 's/^exit status: //p' "$build/$name.txt" | tr ',' '\n' | sed 's/^ *\([0-9]*\) .*/\1/' \
        >"$build/$name.help"
    sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EX[^I]/s/^\.It \([0-9]*\)$/\1/p' "$page" >"$build/$name.man"
    if difference=$(diff "$build/$name.help" "$build/$name.man"); then
        ok "$name: exit status as in --help"
    else
        bad "$name: exit status" "$difference"
    fi
done

if tools/install.sh mandoc; then
    cd tools/man # where it finds what the pages refer to
    for page in *.1; do
        if lint=$(mandoc -T lint "$page" 2>&1); then ok "mandoc -T lint $page"; else
            bad "mandoc -T lint $page" "$lint"; fi
    done
else
    echo "skip mandoc -T lint: no mandoc here"
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
