#!/bin/sh
# Tests tools/plot.c: means and deviations of known curves, names, figures, exit codes.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/plot.sh [DIR]

Builds plot into DIR (default: build/test/cli) and lets it draw curves whose mean and deviation are
known. Prints `ok   NAME` or `FAIL NAME` and last `N passed, N failed`; exit status 1 if one failed.
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
mkdir -p "${1:-build/test/cli}/plot.work"
build=$(cd "${1:-build/test/cli}" && pwd)
work=$build/plot.work
. tests/cli/lib

# Runs plot with its output in $work/out and wants the exit status, and TEXT in the output.
plots() # NAME STATUS TEXT ARGUMENT...
{
    name=$1 want=$2 text=$3
    shift 3
    status=0
    "$build/plot" "$@" >out 2>&1 </dev/null || status=$?
    if [ $status != "$want" ]; then bad "$name" "exit status $status: $(tail -n 1 out)"
    elif ! tr -s ' ' <out | grep -q -F -e "$text"; then bad "$name" "no '$text' in $(tail -n 1 out)"
    else ok "$name"; fi
}

rm -rf "$work"
mkdir -p "$work"
${CC:-cc} -O0 tools/plot.c -I. -Iexamples -DTRAIN_NO_MUJOCO -o "$build/plot" -lm -lpthread \
    >"$work/cc.log" 2>&1
if [ -s "$work/cc.log" ]; then bad "build" "$(head -n 2 "$work/cc.log")"; else ok "build"; fi
cd "$work" || exit 1
is "tools/build.sh in another folder" \
    [ "$("$top/tools/build.sh" --name tools/plot.c)" = build/plot ]

# run NAME ROW...: a folder with rows "steps,seconds,return,evaluation,deviation,loss"
run()
{
    mkdir -p "$1"
    echo "time/total_timesteps,time/time_elapsed,rollout/ep_rew_mean,eval/mean_reward,\
eval/std_reward,train/critic_loss" >"$1/progress.csv"
    dir=$1
    shift
    for row in "$@"; do echo "$row" >>"$dir/progress.csv"; done
}

run a__x__1__9 0,0,,0,1,9 50,10,3,,,9 100,20,4,0,1,8
run a__x__2__9 0,0,,10,1,9 50,10,3,30,1,9 100,20,4,10,1,8
run a__y__1__9 0,0,,7,2,9 100,20,4,8,2,8
run b__x__1__9 0,0,,70,2,9 200,10000,4,80,0.5,

# ---------------------------------------------------------------------------------------- numbers

plots "mean over two seeds" 0 "a x 2 seeds 5.00 +- 5.00 at 100.0 environment steps" a__x__*
plots "what one of them lacks is on the line between its points" 0 "wrote" a__x__* --out mean.svg
plots "one seed: the deviation of its episodes" 0 "a y 1 seed 8.00 +- 2.00" a__y__*
plots "never a mean over tasks" 0 "x b 1 seed 80.0 +- 0.50" ./*__x__* --by task
plots "each seed" 0 "a, x seed 2 1 seed 10.0 +- 1.00" a__x__* --by seed
plots "time" 0 "at 20.0 seconds" a__y__* --x time
plots "logarithmic" 0 "wrote" a__y__* --x log --out log.svg
is "three decades" [ "$(grep -c -E '"middle".*>(0\.1|1|10|100)<' log.svg)" = 4 ]
plots "long time" 0 "at 2.78 hours" b__x__* --x time
plots "another column" 0 "8.00 +- 0.00 at 100.0" a__x__* --y train/critic_loss
plots "a file" 0 "a y 1 seed" a__y__1__9/progress.csv
cp a__y__1__9/progress.csv Ant-v5_dacer_3.csv
plots "the name of a file" 0 "Ant-v5 dacer 1 seed" Ant-v5_dacer_3.csv
mkdir torn__x__1__9
printf '%s\n100,1,,5,1,1\n200,2,,6,1,1\n300,3,,7' "$(head -n 1 a__x__1__9/progress.csv)" \
    >torn__x__1__9/progress.csv
plots "a torn last row is none" 0 "6.00 +- 1.00 at 200.0" torn__x__1__9
run c__x__1__9 0,0,5,,,9 100,20,6,,,8
plots "training where there is no evaluation" 0 "c x 1 seed 6.00 at 100.0" c__x__1__9
run c__x__2__9 0,0,5,,,9 50,20,6,,,8
plots "a seed that ends early is told" 0 "seed 2 ends early" c__x__*
plots "and ends the mean" 0 "2 seeds 5.75 +- 0.25 at 50.0" c__x__*

# ---------------------------------------------------------------------------------------- figures

plots "terminal" 0 "return by environment steps" a__x__* a__y__*
plots "curves are told apart" 0 "o y" a__x__* a__y__*
plots "several panels" 0 "wrote several.svg" ./*__9 --out several.svg --title "a < b"
plots "folders are made" 0 "wrote new/f.svg" a__x__* --out new/f.svg
python=${PYTHON:-/usr/bin/python3}
if command -v "$python" >/dev/null; then
    cat >svg.py <<'END'
import sys, xml.etree.ElementTree as e
S = "{http://www.w3.org/2000/svg}"
def points(shape):
    return [tuple(map(float, p.split(","))) for p in shape.get("points").split()]
def shapes(root, kind, name):
    return [points(s) for s in root.iter(S + kind) if s.get("class") == name]
root = e.parse("mean.svg").getroot()
axis, = shapes(root, "polyline", "axis")
(left, top), _, (right, bottom) = axis
line = shapes(root, "polyline", "c0")[-1]
band, = shapes(root, "polygon", "b0")
low, high = 0 - .03 * 30, 30 + .03 * 30   # means 5, 15, 5; deviations 5, 15, 5
def place(x, y):
    return (left + (right - left) * x / 100, bottom - (bottom - top) * (y - low) / (high - low))
def near(got, want):
    assert len(got) == len(want), (got, want)
    for g, w in zip(got, want):
        assert abs(g[0] - w[0]) < .11 and abs(g[1] - w[1]) < .11, (g, w)
near(line, [place(0, 5), place(50, 15), place(100, 5)])
near(band, [place(0, 10), place(50, 30), place(100, 10), place(100, 0), place(50, 0), place(0, 0)])
root = e.parse("several.svg").getroot()
texts = [t.text for t in root.iter(S + "text")]
assert texts.count("environment steps") == 4 and {"a < b", "a", "b", "c", "torn", "x", "y"} <= set(texts)
for t in root.iter(S + "text"):
    if t.get("x"):
        assert 0 <= float(t.get("x")) <= 860 and 0 <= float(t.get("y")) <= 700
END
    is "figures are XML with the right points" "$python" svg.py
fi
if command -v rsvg-convert >/dev/null 2>&1; then
    plots "png" 0 "wrote mean.png" a__x__* --out mean.svg --png
    is "png is one" [ "$(head -c 4 mean.png | tail -c 3)" = PNG ]
fi
status=0
PATH=/nowhere "$build/plot" a__x__1__9 --out n.svg --png >out 2>&1 || status=$?
is "no rsvg-convert" [ "$status $(grep -c "Debian's package librsvg2-bin" out)" = "1 1" ]

# ---------------------------------------------------------------------------------------- refused

plots "help" 0 "--by" --help
plots "no run" 2 "usage: plot RUN" --by task
plots "png without a name" 2 "goes with --out" a__x__* --png
plots "unknown flag" 2 "did you mean --by?" a__x__* --bx task
plots "unknown group" 2 "expected one of: algo task seed" a__x__* --by lgo
plots "no such run" 3 "cannot open nothing" nothing
plots "unknown column" 3 "has no numbers of train/los" a__x__* --y train/los
mkdir empty
plots "a folder without run is told" 0 "no run in empty" empty a__x__1__9
mkdir all
cp -r a__x__1__9 a__x__2__9 all
echo "x" >all/notes.txt
plots "the runs in a folder" 0 "a x 2 seeds 5.00 +- 5.00" all
plots "what is no run is told" 0 "all/notes.txt is no run" all/*
plots "nothing at all" 3 "nothing to draw" empty
run short__x__1__9 1,2,3,4,5,6 1,2,3 1,2,3,4,5,6
plots "a row of another length" 3 "line 3: expected 6 cells, got 3" short__x__1__9
run word__x__1__9 1,2,x,4,5,6
plots "a word" 3 "line 2: x is no number" word__x__1__9
plots "a folder that cannot be" 3 "cannot write /dev/null/x/f.svg" a__x__1__9 --out /dev/null/x/f.svg

echo "$passed passed, $failed failed"
[ $failed = 0 ]
