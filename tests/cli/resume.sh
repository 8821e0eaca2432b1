#!/bin/sh
# Tests train --resume: the same bits as without a break, files that survive kill -9, and what is
# refused.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/resume.sh [--full] [DIR]

Builds train and tests/cli/checkpoint.c into DIR (default: build/test/cli/resume.build) and runs
them there. Without MuJoCo only built-in tasks are trained.

  quick (default)  one random break per algorithm and task, 6 kill -9 during saves, 300 bit flips
  --full           20 breaks per algorithm and task, one of every task, 200 kill -9, 10,000 bit
                   flips, each bit of the header; about half an hour

Prints `ok   NAME` or `FAIL NAME` and last `N passed, N failed`; exit status 1 if one failed.
END
}

breaks=1 kills=6 flips=300 every=211
case ${1-} in
-h | --help) usage; exit 0 ;;
--full) breaks=20 kills=200 flips=10000 every=1; shift ;;
-*) usage >&2; exit 2 ;;
esac

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
mkdir -p "${1:-build/test/cli/resume.build}"
build=$(cd "${1:-build/test/cli/resume.build}" && pwd)
work=$build/work
. tests/cli/lib

mujoco=0
if echo '#include <mujoco/mujoco.h>' | ${CC:-cc} -E - >/dev/null 2>&1; then mujoco=1; fi
rm -rf "$work"
mkdir -p "$work"
flags="-DTRAIN_NO_MUJOCO"
[ $mujoco = 0 ] || flags=${MUJOCO_FLAGS:--lmujoco}
${CC:-cc} -O1 -Wall -Wextra tests/cli/checkpoint.c -o "$build/checkpoint" -lm -lpthread &
# shellcheck disable=SC2086 # several words
${CC:-cc} -O1 examples/mujoco/train.c -I. -Iexamples -o "$build/train" $flags -lm -lpthread
wait $!
if [ ! -x "$build/train" ] || [ ! -x "$build/checkpoint" ]; then
    echo "0 passed, 1 failed"
    exit 1
fi
DIFFRL_MODELS=$top/examples/mujoco/models
export DIFFRL_MODELS
cd "$work" || exit 1
train() { "$build/train" --quiet "$@"; }
await() # PATTERN: until there is such a file, for a minute at most
{
    waited=0
    # shellcheck disable=SC2086 # a pattern
    until ls $1 >/dev/null 2>&1 || [ $waited = 1200 ]; do
        sleep 0.05
        waited=$((waited + 1))
    done
}
file() { for f in "$1"/*/ckpt-*; do :; done; echo "$f"; } # the newest checkpoint below a folder
same() { "$build/checkpoint" same "$@"; }

# A whole number below n; the same ones in each run of the test.
seed=$breaks
random() # N
{
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    number=$((seed / 65536 % $1))
}

# ----------------------------------------------------------------------------------- the same bits

# Settings that make any algorithm small, for those that it has.
"$build/train" --list >list
tiny() # ALGO
{
    awk -v algo="$1" '
        /^settings of / { on = $3 == algo }
        /^[a-z]/ && !/^settings of / { on = 0 }
        on { print $1 }' list | while read -r key; do
        case $key in
        *width) echo "--set $key=16" ;;
        layers | actor_layers) echo "--set $key=1" ;;
        atoms | time_frequencies) echo "--set $key=5" ;;
        steps | chunk) echo "--set $key=3" ;;
        tuned | utd | epochs | uniform | policy_delay) echo "--set $key=2" ;;
        batch) echo "--set $key=16" ;;
        samples | alpha_delay) echo "--set $key=8" ;;
        mixtures | candidates | evaluation) echo "--set $key=4" ;;
        random_steps) echo "--set $key=40" ;;
        update_every) echo "--set $key=2" ;;
        rollout) echo "--set $key=30" ;;
        brn_warmup) echo "--set $key=50" ;;
        esac
    done
}

# 2 n steps against n and, in another process with more threads, n more; n, how many environments
# there are and whether the ring is overwritten are random. Prints what differs.
broken() # ALGO TASK
{
    random 230
    n=$((20 + number))
    random 3
    envs=$((1 + number))
    random 2
    ring=$((number ? 100 : 10000))
    run="--preset toy --eval-episodes 0 --eval-every 70 --set replay_capacity=$ring --envs $envs"
    run="--algo $1 --task $2 $run $(tiny "$1" | tr '\n' ' ')"
    rm -rf a b
    # shellcheck disable=SC2086 # several words
    train $run --steps $((2 * n)) --out a --threads 1 >/dev/null &&
        train $run --steps $n --out b --threads 2 >/dev/null &&
        train --resume b/* --steps $((2 * n)) --threads 3 >/dev/null &&
        same "$(file a)" "$(file b)" || echo "train $run --steps $((2 * n)), break at $n"
}

tasks=Pendulum
[ $mujoco = 0 ] || tasks="Pendulum Hopper-v5"
for algo in $(sed -n 's/^settings of \([^ ]*\) .*/\1/p' list); do
    [ "$algo" != training ] || continue
    for task in $tasks; do
        i=0
        while [ $i -lt $breaks ]; do
            broken "$algo" "$task" >differs # not in a subshell: random goes on
            if [ -s differs ]; then break; fi
            i=$((i + 1))
        done
        if [ $i = $breaks ]; then ok "$algo on $task goes on to the bit, breaks: $breaks"
        else bad "$algo on $task goes on to the bit" "$(tr '\n' ' ' <differs)"; fi
    done
done

# each task once
if [ $breaks -gt 1 ]; then
    awk '/^tasks/ { on = 1; next } /^$/ { on = 0 } on && !/^  mjcf/ { print $1 }' list >tasks
    while read -r task; do
        "$build/train" --task "$task" --steps 1 --eval-episodes 0 --out none >none.log 2>&1 || {
            echo "(without $task: $(tail -n 1 none.log))"
            continue
        }
        broken sac "$task" >differs
        if [ -s differs ]; then bad "$task goes on to the bit" "$(tr '\n' ' ' <differs)"
        else ok "$task goes on to the bit"; fi
    done <tasks
fi

# A run as the next ones want it.
small="--task Pendulum --preset toy --threads 1 $(tiny dime | tr '\n' ' ')"
# shellcheck disable=SC2086 # several words
small() { train $small "$@"; }
without_times() { cut -d , -f 1,2,5- "$@"; }

rm -rf a c # of the runs before
# without --set replay_capacity a longer run has a larger replay
small --steps 777 --out a --eval-episodes 0 >/dev/null
small --steps 300 --out c --eval-episodes 0 >/dev/null
exits "a finished run grows" 0 "files" train --resume c/* --steps 777
is "it is the longer run" same "$(file a)" "$(file c)"

# --------------------------------------------------------------------------------------- signals

small --steps 6000 --out d --eval-every 1000 --eval-episodes 2 >/dev/null
# shellcheck disable=SC2086 # several words
"$build/train" $small --steps 6000 --out e --eval-every 1000 --eval-episodes 2 --save-every 0 \
    >out 2>err &
pid=$!
await "e/*/best.safetensors"
kill -USR1 $pid
await "e/*/ckpt-*.safetensors"
is "SIGUSR1 saves" [ -s "$(file e)" ]
is "and the run goes on" kill -0 $pid
kill -TERM $pid
wait $pid
status=$?
is "SIGTERM ends with 130" [ $status = 130 ]
is "SIGTERM saves" [ -s "$(file e)" ]
is "it says how to go on" grep -q -e "--resume e/Pendulum__dime__1__" out
is "the newest checkpoint stays, and the best" [ "$(echo e/*/ckpt-* | wc -w)" -le 2 ]
mkdir -p f && cp -r e/* f/
breaks_left=3
while [ $breaks_left -gt 0 ]; do # three more at random times, by number three it may have ended
    breaks_left=$((breaks_left - 1))
    "$build/train" --resume e/* >out 2>err &
    pid=$!
    random 8
    sleep "0.$((1 + number))"
    kill -INT $pid 2>/dev/null
    wait $pid
done
exits "interrupted four times" 0 "return" train --resume e/*
is "it ends as the one without a break" same "$(file d)" "$(file e)" run.save_every
without_times d/*/progress.csv >d.csv
without_times e/*/progress.csv >e.csv
is "its table, too" cmp d.csv e.csv
is "its best policy, too" cmp d/*/best.safetensors e/*/best.safetensors

# -------------------------------------------------------------------------------- what resumes what

exits "auto" 0 "" train --task Pendulum --resume auto --out f --steps 3000
is "auto goes on in the same folder" [ "$(echo f/* | wc -w)" = 1 ]
exits "auto without a checkpoint begins anew" 0 "a fresh start" "$build/train" --resume auto \
    --task Pendulum --steps 20 --seed 5 --out f --eval-episodes 0
is "in a folder of its own" [ "$(echo f/* | wc -w)" = 2 ]
rm -r f/*__5__*
exits "a finished run is at its end" 0 "" train --resume f/*
touch "$(echo f/Pend*)/ckpt-000000000007.safetensors.tmp.0" "$(echo f/Pend*)/config.json.tmp"
exits "after a crash" 0 "" train --resume f/Pend* --steps 3200
is "half written files go" [ -z "$(ls f/Pend* | grep tmp)" ]
is "the others stay" [ -s "$(echo f/Pend*/policy.safetensors)" ]
printf '99' >>"$(echo f/Pend*)/progress.csv"
exits "after a torn row" 0 "" train --resume f/Pend* --steps 4000
is "each row stands once" [ "$(cut -d , -f 1 f/Pend*/progress.csv | sort | uniq -d | wc -l)" = 0 ]
is "rows are in order" sh -c 'sed 1d f/Pend*/progress.csv | cut -d , -f 1 | sort -n -c'

small --steps 1500 --out g --save-every 500 --keep 2 --eval-every 400 --eval-episodes 1 >/dev/null
is "--keep 2" [ "$(echo g/*/ckpt-* | wc -w)" -ge 2 ]
older=$(for f in g/*/ckpt-*; do echo "$f"; break; done)
cp g/*/progress.csv g.csv
exits "an older checkpoint goes on elsewhere" 0 "files   h/" train --resume "$older" --out h \
    --steps 1500
is "and leaves the run as it was" cmp g/*/progress.csv g.csv
is "to the same end" same "$(file g)" "$(file h)" run.best_step run.best
exits "the last checkpoint, alone" 0 "" train --resume "$(file g)" --out j --steps 1500
is "has the last policy" cmp g/*/policy.safetensors j/*/policy.safetensors
exits "another number of evaluations" 0 "" train --resume h/* --steps 1600 --eval-every 50 --keep 3
small --steps 300 --out i --no-replay --eval-episodes 0 >/dev/null
exits "without a replay" 0 "it starts empty" "$build/train" --resume i/* --steps 400

exits "a checkpoint of format version 1" 0 "" train --out v1 --steps 130 \
    --resume "$top/tests/golden/checkpoint_v1.safetensors"

# --------------------------------------------------------------------------------- what is refused

run=$(echo g/*)
exits "another algorithm" 2 "--algo: expected dime, as in the checkpoint, got dacer" \
    train --resume "$run" --algo dacer
exits "another task" 2 "--task: expected Pendulum, as in the checkpoint, got PointMass" \
    train --resume "$run" --task pointmass
exits "another seed" 2 "--seed: expected 1, as in the checkpoint, got 2" \
    train --resume "$run" --seed 2
exits "other environments" 2 "--envs: expected 1, as in the checkpoint, got 2" \
    train --resume "$run" --envs 2
exits "another preset" 2 "--preset: expected toy" train --resume "$run" --preset cpu
exits "another width" 2 "--set actor_width=32: the checkpoint has another value" \
    train --resume "$run" --set actor_width=32
exits "another ring" 2 "--set n_step=3: the checkpoint has another value" \
    train --resume "$run" --set n_step=3
exits "the same again is fine" 0 "" train --resume "$run" --algo DIME --task pendulum --seed 1 \
    --set actor_width=16 --preset toy --envs 1
exits "recording" 2 "not recorded" train --resume "$run" --record x.npz
exits "no such file" 3 "cannot be read" train --resume nowhere
exits "a folder without" 3 "no checkpoint" train --resume .
exits "a policy" 3 "this is no checkpoint" train --resume "$run/policy.safetensors"
head -c 5000 "$(file g)" >short.safetensors
exits "a short file" 3 "header" train --resume short.safetensors
cp "$(file g)" flipped.safetensors
printf 'x' | dd of=flipped.safetensors bs=1 seek=40000 conv=notrunc 2>/dev/null
exits "a flipped bit" 3 "checksum" train --resume flipped.safetensors

# ----------------------------------------------------------------------------------------- damage

is "bit flips are found" "$build/checkpoint" flips "$(file g)" $flips
is "broken headers are refused" "$build/checkpoint" header "$(file g)" $every
is "opening takes at most 1 MiB more than the file" "$build/checkpoint" memory "$(file g)"

# kill -9 while it saves after each step: the newest checkpoint is good and not older than before
i=0 step=0 torn=0 faults=0
# shellcheck disable=SC2086 # several words
"$build/train" $small --steps 100000 --save-every 1 --keep 2 --eval-episodes 0 --out k \
    >/dev/null 2>&1 &
pid=$!
await "k/*/ckpt-*.safetensors"
while :; do
    random 60
    sleep "0.$((number < 10 ? 0 : number / 10))$((number % 10))"
    kill -9 $pid
    wait $pid 2>/dev/null
    ! ls k/* | grep -q tmp || torn=$((torn + 1))
    for f in k/*/ckpt-*.safetensors; do
        now=$("$build/checkpoint" step "$f") || faults=$((faults + 1))
    done
    if [ "$now" -ge $step ]; then step=$now; else faults=$((faults + 1)); fi
    i=$((i + 1))
    [ $i -lt $kills ] || break
    "$build/train" --resume k/* >/dev/null 2>&1 &
    pid=$!
    sleep 0.05
done 2>/dev/null
if [ $faults = 0 ]; then ok "kill -9: $i, $torn of them in the middle of a file, at step $step"
else bad "kill -9" "$faults of $i"; fi
step=$((step + 50))
train --resume k/* --steps $step >/dev/null
# shellcheck disable=SC2086 # several words
train $small --steps $step --eval-episodes 0 --out l --set replay_capacity=100000 >/dev/null
is "and it ends as the run that was not killed" same "$(file k)" "$(file l)" \
    run.save_every run.keep run.eval_every run.next_eval

echo "$passed passed, $failed failed"
[ $failed = 0 ]
