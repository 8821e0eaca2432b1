#!/bin/sh
# Tests examples/mujoco/replay.c: trajectories, formats of its files, exit codes.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/replay.sh [DIR]

Builds replay by the line in its head into DIR (default: build/test/cli), writes states and actions
as files and holds what it prints against tests/env/golden_*.csv. Prints `ok   NAME` or `FAIL NAME`
and last `N passed, N failed`; exit status 1 if one failed, 77 without MuJoCo.
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac

if ! echo '#include <mujoco/mujoco.h>' | ${CC:-cc} -E - >/dev/null 2>&1; then
    echo "MuJoCo is not installed"
    exit 77
fi
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
mkdir -p "${1:-build/test/cli}/replay.work"
build=$(cd "${1:-build/test/cli}" && pwd)
work=$build/replay.work
. tests/cli/lib

line=$(sed -n '/cc -O2.* -o build\//{s/^ *cc //;p;q;}' examples/mujoco/replay.c |
    sed "s|-o build/|-o \"\$build\"/|")
eval "${CC:-cc} $line" >"$work/log" 2>&1
if [ -x "$build/replay" ] && [ ! -s "$work/log" ]; then ok build; else bad build "$(cat "$work/log")"; fi
DIFFRL_MODELS=$top/examples/mujoco/models
export DIFFRL_MODELS
cd "$work" || exit 1

# Writes state.csv and actions.csv: the initial pose plus a wave, and waves.
waves() # MODEL NOISE_QPOS NOISE_QVEL LOW HIGH
{
    awk -v sq="$2" -v sv="$3" -v lo="$4" -v hi="$5" -v model="$1" '
        $1 == "qpos0" { for (i = 3; i <= NF; i++) q[i - 3] = $i + sq * sin(1.3 * (i - 3) + .5)
            nq = $2 }
        $1 == "dof_armature" { for (i = 0; i < $2; i++) v[i] = sv * cos(.9 * i + .2); nv = $2 }
        $1 == "actuator_acc0" { nu = $2 }
        END {
            if (model ~ /pusher/) {
                q[7] = -.21; q[8] = .13; q[9] = q[10] = 0
                for (i = 7; i < 11; i++) v[i] = 0
            }
            for (i = 0; i < nq; i++) printf "%s%.17g", i ? "," : "", q[i]
            printf "\n"
            for (i = 0; i < nv; i++) printf "%s%.17g", i ? "," : "", v[i]
            printf "\n"
            for (t = 0; t < 50; t++) {
                row = ""
                for (i = 0; i < nu; i++) {
                    u = (lo + hi) / 2 + (hi - lo) / 2 * (.5 * sin(.37 * t + 1.7 * i))
                    row = row (i ? "," : "") sprintf("%.17g", u)
                }
                print row >"actions.csv"
            }
        }' "$top/tests/env/model_$1.txt" >state.csv
}

# The observation of the file is that of the task, or begins with it.
trajectory() # TASK MODEL NOISE_QPOS NOISE_QVEL LOW HIGH RULES RULE STATES OBS
{
    waves "$2" "$3" "$4" "$5" "$6"
    "$build/replay" --task "$1" --state state.csv --actions actions.csv >out 2>err ||
        { bad "$1" "$(cat err)"; return; }
    result=$(awk -F, -v rules="$7" -v rule="$8" -v states="$9" -v obs="${10}" '
        /^#/ { next }
        NR == FNR { n = split($0, x, ","); for (i = 1; i <= n; i++) g[$1, i] = x[i]; w[$1] = n; next }
        {
            tolerance = $1 <= 10 ? 1e-9 : $1 <= 25 ? 1e-7 : 1e-4
            if (NF != 3 + obs || $1 != rows++ || $3 != g[$1, 4 + 2 * rule]) print "row " $1
            d = $2 - g[$1, 3 + 2 * rule]
            if ($1 > 0 && (d > tolerance || d < -tolerance)) print "reward " $1 ": " $2
            at = 2 + 2 * rules + states
            for (i = 1; i <= obs && w[$1] > at; i++) {
                d = $(3 + i) - g[$1, at + i]
                if (d > tolerance || d < -tolerance) print "obs " i " of row " $1 ": " $(3 + i)
            }
        }
        END { if (rows != 51) print rows " rows" }' "$top/tests/env/golden_$2.csv" out | head -n 1)
    if [ -z "$result" ]; then ok "$1"; else bad "$1" "$result"; fi
}

#          task             model       noise     actions rules, this, states, observations
trajectory HalfCheetah-v5   half_cheetah .1 .1     -1 1    1 0 18 17
trajectory Hopper-v4        hopper      .005 .005  -1 1    2 1 12 11
trajectory Walker2d-v5      walker2d_v5 .005 .005  -1 1    1 0 18 17
trajectory Pusher-v4        pusher      0 .005     -2 2    1 0 22 23
trajectory Ant-v4           ant         .1 .1      -1 1    2 1 29 27
trajectory Ant-v5           ant         .1 .1      -1 1    2 0 29 105
trajectory Humanoid-v4      humanoid    .01 .01    -.4 .4  2 1 47 376
trajectory InvertedPendulum-v5 inverted_pendulum .01 .01 -3 3 2 0 4 4

# what the files may look like, and what they may not
waves hopper .005 .005 -1 1
exits() # NAME STATUS TEXT COMMAND...
{
    name=$1 want=$2 text=$3 status=0
    shift 3
    "$@" >out 2>err || status=$?
    if [ $status != "$want" ]; then bad "$name" "exit status $status: $(cat err)"
    elif ! cat out err | grep -q -F -e "$text"; then bad "$name" "no '$text' in: $(cat err)"
    else ok "$name"; fi
}
replay() { "$build/replay" --task Hopper-v5 "$@"; }
replay --state state.csv --actions actions.csv >plain
{ echo '# qpos, qvel'; sed 's/$/\r/; s/,/ , /g' state.csv; echo; } >state2.csv
{ cat actions.csv; echo '   '; } >actions2.csv
replay --state state2.csv --actions actions2.csv >spaced
if cmp -s plain spaced; then ok "comments, blanks, CRLF"; else bad "comments, blanks, CRLF"; fi
printf %s "$(cat actions.csv)" >actions2.csv
replay --state state.csv --actions actions2.csv >spaced
if cmp -s plain spaced; then ok "no newline at the end"; else bad "no newline at the end"; fi
if grep -q '^0,0,0,' plain && [ "$(wc -l <plain)" -eq 51 ]; then ok "row 0"; else bad "row 0"; fi
: >none
replay --state state.csv --actions none >spaced
if [ "$(head -n 1 plain)" = "$(cat spaced)" ]; then ok "no actions"; else bad "no actions"; fi
sed 's/^/1,/' actions.csv >wide
exits "row of another length" 3 "wide, row 1: expected 3 numbers separated by commas, got 4" \
    replay --state state.csv --actions wide
exits "word in a row" 3 "expected 6 numbers" replay --state plain --actions actions.csv
echo 1,2,x3,4 >word
exits "what stands in the row" 3 "got 2 and then 'x3,4'" replay --state state.csv --actions word
head -n 1 state.csv >half
exits "no qvel" 3 "rows for qpos and qvel" replay --state half --actions actions.csv
exits "no file" 3 "cannot read missing" replay --state missing --actions actions.csv
exits "no flags" 2 "wants --task" "$build/replay"
exits "built-in task" 2 "no qpos" "$build/replay" --task Pendulum --state half --actions half
echo nan,0,0 >bad
exits "action that is none" 1 "step 1: the simulation diverged" \
    replay --state state.csv --actions bad
echo 1e300,-1e300,1e30 >huge
exits "huge actions: the cost is not finite" 1 "step 1" replay --state state.csv --actions huge
echo 1e6,-1e6,1e6 >huge
exits "large actions are clamped" 0 "1," replay --state state.csv --actions huge
exits "constants of the task" 0 "1," replay --state state.csv --actions huge \
    --task-set ctrl_cost_weight=0
if [ ! -e MUJOCO_LOG.TXT ]; then ok "no MUJOCO_LOG.TXT"; else bad "no MUJOCO_LOG.TXT"; fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
