#!/bin/sh
# The house's own checks of diffrl.h; see usage below.
set -eu
LC_ALL=C
export LC_ALL

usage()
{
    cat <<'END'
usage: tools/check.sh [HEADER]      check HEADER (default: diffrl.h of this repository)
       tools/check.sh --selftest    break a small header in every way and see that each is found

Prints one line `FILE:LINE: what` per finding; exit status 1 if there is one. The rules:
  contents   CONTENTS in the opening comment, one line `   >>tag  title` per section; each tag has
             one banner in the API part and one in the implementation, in the same order. A title
             that ends with [api] or [impl] says that the section stands in that part only.
  order      no section uses a function or type that a later section defines
  names      functions and types drl_* (public; DRLDEF before prototypes alone) or drli_*
             (private), macros DRL_*, DRLI_* or DIFFRL_*; exported symbols drl_*; nm shows no writable globals (which it calls
             const tables with pointers, too: the loader writes them)
  guards     every #if closed in the section that opens it; push and pop pragmas in pairs
  budget     10,000 lines, 350 KiB, 100 columns, opening comment 180 lines, functions 60 lines
             (>>kernels excepted), ASCII, no tabs, no trailing spaces
  public     each prototype has its comment directly above (one comment may serve consecutive
             one-line prototypes) and an implementation; the API part includes only <stddef.h>
             and <stdint.h>

examples:
  tools/check.sh
  tools/check.sh build/draft.h
  CC=clang tools/check.sh
END
}

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Everything that can be seen in the text. One pass; the order rule needs the whole and ends it.
check_text() # HEADER NAME
{
    : >"$work/prototypes"
    awk -v name="$2" -v prototypes="$work/prototypes" -f "$root/tools/check.awk" "$1" ||
        echo "$2:1: tools/check.awk failed"
}

# Line of the first place that defines the symbol or at least names it, else 1.
line_of() # HEADER SYMBOL
{
    { grep -n -E "(^|[^A-Za-z0-9_])$2(\[[^]]*\])* *=" "$1" || grep -n -w -e "$2" "$1" || echo 1; } |
        head -n 1 | cut -d : -f 1
}

# What only the compiled library shows: exported names and writable globals.
check_symbols() # HEADER NAME
{
    cp "$1" "$work/header.h"
    printf '#define DIFFRL_IMPLEMENTATION\n#include "header.h"\n' >"$work/unit.c"
    if ! ${CC:-cc} -O0 -c "$work/unit.c" -o "$work/unit.o" 2>"$work/cc.log"; then
        # the path of the copy becomes the name of the header
        grep -E 'error' "$work/cc.log" | head -n 3 |
            sed "s|^[^:]*header\.h:\([0-9]*\):\([0-9]*:\)* |$2:\1: does not compile: |"
        [ -s "$work/cc.log" ] || echo "$2:1: does not compile"
        return 0
    fi
    ${NM:-nm} -f sysv "$work/unit.o" | tr -d ' ' |
        awk -F '|' 'NF == 7 && $3 !~ /[trU]/ { print $3, $1, $7 }' >"$work/symbols"
    while read -r kind symbol place; do
        at=$(line_of "$1" "${symbol%%.[0-9]*}")
        case $kind in
        [bBdDCgGsS]) # all but constants and code
                case $place in
            .data.rel.ro*) what="const $symbol holds addresses, so nm shows a writable global" ;;
            *) what="writable global $symbol" ;;
            esac
            echo "$2:$at: $what (nm: $kind)" ;;
        esac
        case $kind in
        [A-TV-Z]) # all uppercase kinds but U are defined and exported
            case $symbol in
            drl_*)
                [ "$kind" != T ] || grep -q "^$symbol " "$work/prototypes" ||
                    echo "$2:$at: public function $symbol without prototype" ;;
            *) echo "$2:$at: exported symbol $symbol has no prefix drl_" ;;
            esac ;;
        esac
    done <"$work/symbols"
    awk -v name="$2" '
        FILENAME == ARGV[1] { line[$1] = $2; next }
        $1 == "T" { defined[$2] = 1 }
        END {
            for (f in line) if (!(f in defined))
                printf "%s:%d: prototype of %s without implementation\n", name, line[f], f
        }' "$work/prototypes" "$work/symbols"
}

check() # HEADER NAME: findings in order of lines on stdout; status 1 if there is one
{
    { check_text "$1" "$2"; check_symbols "$1" "$2"; } | sort -t : -k 2,2n >"$work/findings"
    cat "$work/findings"
    ! [ -s "$work/findings" ]
}

# ---------------------------------------------------------------------------------------- selftest

flat='======'

write_good()
{
    cat <<END
/* good.h - a small header that keeps all rules

   CONTENTS
   >>config   platform
   >>base     what the others stand on
   >>extra    types alone  [api]
   >>hidden   inside alone  [impl]
   >>top      uses all */
#ifndef DIFFRL_GOOD_H
#define DIFFRL_GOOD_H
#include <stddef.h>

/* $flat >>config
   Linkage. */
#ifndef DRLDEF
#define DRLDEF extern
#endif

/* $flat >>base
   The base. */

/* A number. */
typedef struct drl_pair {
    int a, b; /* two of them */
} drl_pair;

/* Return the sum. */
DRLDEF int drl_pair_sum(const drl_pair *p);

/* Return the first and the second. */
DRLDEF int drl_pair_first(const drl_pair *p);
DRLDEF int drl_pair_second(const drl_pair *p);

/* $flat >>extra
   Types. */
/* Called back. */
typedef int (*drl_extra_fn)(void *user,
                            int x);

#ifndef DIFFRL_NO_TOP
/* $flat >>top
   The top. */
/* Return all of it. */
DRLDEF int drl_top_all(const drl_pair *p,
                       drl_extra_fn fn);
#endif
#endif /* DIFFRL_GOOD_H */

#if defined(DIFFRL_IMPLEMENTATION) && !defined(DIFFRL_IMPLEMENTATION_DONE)
#define DIFFRL_IMPLEMENTATION_DONE

/* $flat >>config
   Platform. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#endif

/* $flat >>base
   Sums. */
int drl_pair_sum(const drl_pair *p)
{
    const char *s = "} /* \" ";
    return p->a + p->b + (s[0] == '{');
}

int drl_pair_first(const drl_pair *p) { return p->a; }
int drl_pair_second(const drl_pair *p) { return p->b; }

/* $flat >>hidden
   Private. */
static const int drli_hidden_table[2] = {1, 2};

static int drli_hidden_add(int a, int b)
{
    return a + b + drli_hidden_table[0];
}

#ifndef DIFFRL_NO_TOP
/* $flat >>top
   All. */
int drl_top_all(const drl_pair *p, drl_extra_fn fn)
{
    return drli_hidden_add(drl_pair_sum(p), fn(NULL, 1));
}
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
#endif /* DIFFRL_IMPLEMENTATION */
END
}

# Wants a finding in $work/bad.h that matches the pattern, at the given line if one is given.
wants() # RULE PATTERN [LINE]
{
    rules=$((rules + 1))
    if check "$work/bad.h" bad.h >"$work/out"; then
        echo "FAIL $1: not found"
    elif ! grep -E -q "^bad\.h:${3:-[0-9]+}: .*($2)" "$work/out"; then
        echo "FAIL $1: found instead: $(head -n 1 "$work/out")"
    else
        echo "ok   $1"
        return 0
    fi
    failed=$((failed + 1))
}

# Applies the sed script to the good header, then as above.
breaks() # RULE SED-SCRIPT PATTERN [LINE]
{
    sed "$2" "$work/good.h" >"$work/bad.h"
    wants "$1" "$3" "${4-}"
}

repeat() # COUNT TEXT: for use in a sed script
{
    awk -v n="$1" -v text="$2" 'BEGIN { while (n--) printf "%s", text }'
}

selftest()
{
    write_good >"$work/good.h"
    rules=1
    failed=0
    if check "$work/good.h" good.h; then
        echo "ok   the good header passes"
    else
        echo "FAIL the good header passes"
        failed=1
    fi
    add='s/^static int drli_hidden_add/' # edits that put something before this function

    breaks 'contents: none' 's/CONTENTS/CONTENT/' 'no CONTENTS' 1
    breaks 'contents: a line is missing' '/^   >>hidden/d' '>>hidden is not in CONTENTS'
    breaks 'contents: a line too many' 's/^   >>top.*/   >>more  more\n&/' \
        '>>more has no banner in the API part' 8
    breaks 'contents: twice' 's/^   >>base.*/&\n&/' '>>base stands twice' 6
    breaks 'contents: order' '/^   >>base/{h;d;};/^   >>extra/G' '>>extra stands after >>base'
    breaks 'contents: order of banners' 's/>>base$/>>swap/;s/>>extra$/>>base/;s/>>swap$/>>extra/' \
        '>>base stands after >>extra'
    breaks 'contents: mark [api]' 's/  \[api\]//' \
        '>>extra has no banner in the implementation part' 6
    breaks 'contents: mark [impl]' 's/  \[impl\]//' '>>hidden has no banner in the API part' 7
    breaks 'contents: wrong mark' 's/\[impl\]/[api]/' '>>hidden is marked \[api\]'
    breaks 'banner: gone' '/= >>top$/,/\*\//d' '>>top has no banner in the API part' 8
    breaks 'banner: twice' "s,^static const int,/* $flat >>hidden\\n   Again. */\\n&," \
        'second banner >>hidden'
    breaks 'banner: form' 's/= >>base$/ >>base  base/' 'banner is not of the form' 19

    breaks 'order: function' 's/return p->a + p->b/return drli_hidden_add(p->a, p->b)/' \
        '>>base uses drli_hidden_add, which >>hidden defines later' 63
    breaks 'order: public function' 's/return a + b +/(void)drl_top_all; &/' \
        '>>hidden uses drl_top_all'
    breaks 'order: type' 's/^    const char \*s/    drl_extra_fn f = 0; (void)f;\n&/' \
        '>>base uses drl_extra_fn, which >>extra'
    breaks 'order: kernel' \
        "s/return p->a + p->b/return drli_late(p->a)/;${add}DRLI_KERNEL(late, (int a), (a))\\n&/" \
        '>>base uses drli_late'

    breaks 'names: exported function' \
        "${add}int hidden_add(int a);\\nint hidden_add(int a) { return a; }\\n\\n&/" \
        'exported symbol hidden_add has no prefix' 73
    breaks 'names: exported private function' 's/^static int drli_hidden_add/int drli_hidden_add/' \
        'exported symbol drli_hidden_add'
    breaks 'names: static function' 's/drli_hidden_add/hidden_add/' \
        'function hidden_add has no prefix' 73
    breaks 'names: type' 's/drl_extra_fn/extra_fn/' 'type extra_fn has no prefix'
    breaks 'names: macro' 's/^#ifndef DRLDEF/#define GOOD 1\n&/' 'macro GOOD has no prefix' 15
    breaks 'names: public without DRLDEF' 's/^DRLDEF \(int drl_pair_sum(.*);\)/\1/' \
        'public function drl_pair_sum without DRLDEF' 28
    breaks 'names: definition with DRLDEF' 's/^int drl_top_all/DRLDEF &/' \
        'DRLDEF is for prototypes of public functions; drl_top_all has it'
    breaks 'globals: zeroed' "${add}int drl_count;\\n&/" 'writable global drl_count .nm: [BC]' 73
    breaks 'globals: static' 's/static const int/static int/' 'writable global drli_hidden_table'
    breaks 'globals: const with addresses' \
        "${add}static const char *const drli_name[] = {\"a\"};\\n&/;s/return a/& + *drli_name[a]/" \
        'const drli_name holds addresses.* .nm: d' 73
    breaks 'globals: in a function' 's/^    return p->a + p->b/    static int n;\n    n++;\n&/' \
        'writable global n'

    breaks 'guards: #endif missing' '/^#endif \/\* DIFFRL_IMPL/d' 'guard is never closed' 49
    breaks 'guards: #endif too many' "\$s/\$/\\n#endif/" '#endif without #if'
    breaks 'guards: open at a banner' '/^#define DRLDEF/{n;d;}' \
        'guard is still open where >>base begins' 15
    breaks 'guards: closed before a banner' 's/^static const int/#endif\n&/' \
        'a guard is closed once too often before >>top'
    breaks 'guards: push without pop' '/pop_options/d' 'push pragma without pop' 55
    breaks 'guards: pop without push' '/push_options/d' 'pop pragma without push'

    breaks 'budget: columns' "s/^   The base\\./& $(printf '%100s' . | tr ' ' =) /" \
        'columns, more than 100' 20
    breaks 'budget: tab' "s/^   The base/$(printf '\t')&/" 'tab' 20
    breaks 'budget: trailing space' 's/the second\. \*\/$/& /' 'space at the end' 30
    breaks 'budget: ASCII' "s/^   The base/&$(printf '\303\251')/" 'not ASCII' 20
    long=$(repeat 60 '    (void)0;\\n')
    breaks 'budget: function' "s/^    return p->a + p->b/$long&/" \
        'function drl_pair_sum has 65 lines' 60
    head='#define DRLI_OP(x) static int drli_##x(int a)\nDRLI_OP(y)\n{\n'
    breaks 'budget: function by macro' "${add}$head${long}    return a;\\n}\\n&/" \
        'function DRLI_OP.y. has 64 lines' 74
    breaks 'budget: opening' "s/^   CONTENTS/$(repeat 200 '   text\\n')&/" \
        'opening comment has 208 lines'
    awk '{ print } /^   The base/ { for (i = 0; i < 10000; i++) print "   text" }' \
        "$work/good.h" >"$work/bad.h"
    wants 'budget: lines' 'more than 10,000 lines' 10001
    awk '{ print } /^   The base/ { for (i = 0; i < 4000; i++) printf "   %090d\n", i }' \
        "$work/good.h" >"$work/bad.h"
    wants 'budget: bytes' 'more than 350 KiB'

    breaks 'public: no comment' '/^\/\* Return the sum/d' \
        'prototype of drl_pair_sum without a comment' 27
    breaks 'public: comment not directly above' 's/^DRLDEF int drl_pair_sum(.*);$/\n&/' \
        'prototype of drl_pair_sum without a comment' 29
    breaks 'public: a banner is no comment' '/^\/\* Return all/d' \
        'prototype of drl_top_all without a comment'
    breaks 'public: long prototype in a group' \
        's/^\(DRLDEF int drl_pair_second(\)\(.*;\)$/\1\n\2/' \
        'prototype of drl_pair_second without a comment' 32
    breaks 'public: no implementation' \
        's/drl_pair_second(.*}$/drl_pair_third(void) { return 0; }/' \
        'prototype of drl_pair_second without implementation' 32
    breaks 'public: no prototype' '/^DRLDEF int drl_pair_second.*);$/d' \
        'public function drl_pair_second without prototype'
    breaks 'public: include' 's/stddef\.h/stdio.h/' 'may include only' 11
    breaks 'compiles' 's/return p->a + p->b/return p->a + p->c/' 'does not compile' 63

    echo "$((rules - failed)) passed, $failed failed"
    [ "$failed" = 0 ]
}

case ${1-} in
-h | --help) usage; exit 0 ;;
--selftest) selftest; exit ;;
-*) echo "tools/check.sh: unknown flag $1" >&2; usage >&2; exit 2 ;;
esac
header=${1:-$root/diffrl.h}
[ -f "$header" ] || { echo "tools/check.sh: no file $header" >&2; exit 2; }
name=${header#"$root/"}
check "$header" "$name" || exit 1
awk -v name="$name" '{ n += length($0) + 1 }
    END { printf "%s: %d lines, %d KiB, no findings\n", name, NR, n / 1024 }' "$header"
