#!/bin/sh
# Prints one section of diffrl.h; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/show.sh [TAG]

Prints the section >>TAG of diffrl.h: its line in the contents, its public part, its implementation.
Without TAG: the contents.

examples:
  tools/show.sh
  tools/show.sh rng
  tools/show.sh dime | less
END
}

header=${DIFFRL_H:-$(dirname "$0")/../diffrl.h}
case ${1-} in
-h | --help) usage; exit 0 ;;
-*) echo "tools/show.sh: unknown flag $1" >&2; usage >&2; exit 2 ;;
'') exec awk '/CONTENTS/ { on = 1 } on && />>[a-z]/ { print } /\*\// { exit }' "$header" ;;
esac
awk -v tag="${1#>>}" '
    /^\/\* =+ >>/ { on = $NF == ">>" tag; if (on) { found = 1; printf "%s:%d\n", "diffrl.h", NR } }
    /^#endif \/\* DIFFRL_(H|IMPLEMENTATION) \*\// { on = 0 }
    !title && $1 == ">>" tag { print; print ""; title = 1 }
    on { print }
    END { exit found ? 0 : 9 }' "$header" || {
    [ $? = 9 ] || exit 0 # the reader of a pipe has seen enough
    echo "tools/show.sh: no section >>${1#>>}; tools/show.sh without a tag lists them" >&2
    exit 1
}
