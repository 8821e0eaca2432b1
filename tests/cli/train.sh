#!/bin/sh
# Tests the programs examples/mujoco/train.c and eval.c by their flags, files and exit codes.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/train.sh [DIR]

Builds train and eval by the lines in their heads, into DIR (default: build/test/cli), and runs them
there. Without MuJoCo they are built with -DTRAIN_NO_MUJOCO. Prints `ok   NAME` or `FAIL NAME` and
last `N passed, N failed`; exit status 1 if one failed.
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
mkdir -p "${1:-build/test/cli}"
build=$(cd "${1:-build/test/cli}" && pwd)
work=$build/work
. tests/cli/lib

# ------------------------------------------------------------------------------------------- build

mujoco=0
if echo '#include <mujoco/mujoco.h>' | ${CC:-cc} -E - >/dev/null 2>&1; then mujoco=1; fi

compile() # NAME: by the line in the head of examples/mujoco/NAME.c
{
    line=$(sed -n '/cc -O2.* -o build\//{s/^ *cc //;p;q;}' "examples/mujoco/$1.c")
    line=$(echo "$line" | sed "s|-o build/|-o \"\$build\"/|")
    [ $mujoco = 1 ] || line="-DTRAIN_NO_MUJOCO $(echo "$line" | sed 's/ -lmujoco//')"
    eval "${CC:-cc} $line"
}

rm -rf "$work"
mkdir -p "$work"
compile eval >"$work/eval.log" 2>&1 &
compile train >"$work/train.log" 2>&1
wait $!
for program in train eval; do
    if [ ! -x "$build/$program" ] || [ -s "$work/$program.log" ]; then
        bad "build $program" "$(head -n 3 "$work/$program.log")"
    else
        ok "build $program"
    fi
done
if [ ! -x "$build/train" ] || [ ! -x "$build/eval" ]; then
    echo "$passed passed, $failed failed"
    exit 1
fi
DIFFRL_MODELS=$top/examples/mujoco/models
export DIFFRL_MODELS
train() { "$build/train" "$@"; }
play() { "$build/eval" "$@"; } # eval is a word of the shell's own
cd "$work" || exit 1

# ------------------------------------------------------------------------------------------- flags

exits "train --help" 0 "--eval-every" train --help
is "train --help to stdout" [ -s out ]
exits "train -h" 0 "exit status" train -h
exits "train --version" 0 "diffrl " train --version
exits "train --list" 0 "Pendulum" train --list
is "train --list shows settings" grep -q lr_actor out
exits "eval --help" 0 "--episodes" play --help
exits "unknown flag" 2 "did you mean --steps?" train --stpes 5
exits "unknown flag of eval" 2 "did you mean --policy?" play --polcy x
exits "unknown task" 2 "did you mean Pendulum?" train --task Pendulm
exits "unknown algorithm" 2 "did you mean dime?" train --algo dim --task Pendulum
exits "unknown preset" 2 "did you mean paper?" train --preset papr --task Pendulum
exits "unknown setting" 2 "did you mean 'lr_actor'?" train --task Pendulum --set lr_actr=1
exits "clone without data" 2 "--data FILE.npz goes with" train --algo bc-diffusion --task Pendulum
exits "data for another algorithm" 2 "goes with --algo dppo" train --data x --task Pendulum
exits "data that are not there" 3 "cannot open x.npz" \
    train --algo dppo --task Pendulum --data x.npz --out "$work/x"
exits "setting out of range" 2 "gamma: expected" train --task Pendulum --set gamma=2
exits "setting of the task" 2 "the task has it" train --task Pendulum --set obs_dim=4
exits "setting without value" 2 "KEY=VALUE" train --task Pendulum --set gamma
exits "number that is none" 2 "steps: expected a whole number" train --steps many
exits "number out of range" 2 "threads: expected" train --threads 0
exits "missing value" 2 "--steps needs a value" train --steps
exits "value too many" 2 "takes no value" train --quiet=1
exits "constant of a task that has none" 2 "has no constants" \
    train --task Pendulum --task-set healthy_reward=1
exits "physics that is none" 2 "published or native" train --physics other
exits "plain word" 2 "Flags begin with --" train Pendulum
exits "word after --" 2 "what is '--steps'" train -- --steps
exits "no policy" 2 "--policy" play
exits "replay too large" 1 "transitions need" \
    train --task Pendulum --set replay_capacity=1e12 --out no
exits "folder that cannot be" 3 "cannot make folder" train --task Pendulum --out /dev/null/x
is "nothing left by refusals" [ "$(echo *)" = "err eval.log out train.log" ]

# --------------------------------------------------------------------------------------- a run

small() # SEED OUT [FLAG...]
{
    seed=$1 out=$2
    shift 2
    train --task=pendulum --steps 1.5k --seed "$seed" --eval_every=500 --eval-episodes 3 \
        --set batch=64 --set lr-actor=5e-4 --out "$out" "$@"
}

header=time/total_timesteps,time/updates,time/time_elapsed,time/fps,rollout/ep_rew_mean,\
rollout/ep_len_mean,eval/mean_reward,eval/std_reward,train/critic_loss,train/actor_loss,train/q,\
train/alpha,train/run_cost,train/log_density,train/dt,train/next_log_density

exits "a run" 0 "return by environment steps" small 3 a --threads 1
is "a run says what to do next" grep -q "eval --policy a/Pendulum__dime__3__" out
is "messages are plain where there is no terminal" [ -z "$(tr -d '\n -~' <err)" ]
run=$(echo a/Pendulum__dime__3__*)
for file in progress.csv config.json curve.svg policy.safetensors best.safetensors; do
    is "the run leaves $file" [ -s "$run/$file" ]
done
is "the run leaves a checkpoint" [ -s "$(echo "$run"/ckpt-*.safetensors)" ]
is "the run leaves nothing else" [ "$(ls "$run" | wc -l)" -eq 6 ]
is "csv header" [ "$(head -n 1 "$run/progress.csv")" = "$header" ]
is "csv has 16 columns in each row" [ -z "$(awk -F, 'NF != 16' "$run/progress.csv")" ]
is "csv rows" [ "$(cut -d, -f1 "$run/progress.csv" | tr '\n' ' ')" = \
    "time/total_timesteps 500 1000 1500 " ]
is "csv last row is evaluated" \
    [ -n "$(awk -F, '$1 == 1500 && $2 == 2000 && $7 < 0 && $8 > 0' "$run/progress.csv")" ]
is "config.json has the settings" grep -q '"batch": 64' "$run/config.json"
if command -v python3 >/dev/null 2>&1; then
    is "config.json is JSON" python3 -c '
import json, sys
c = json.load(open(sys.argv[1]))
assert c["task"] == "Pendulum" and c["steps"] == 1500 and c["seed"] == 3 and c["threads"] == 1
assert c["config"]["batch"] == 64 and abs(c["config"]["lr_actor"] - 5e-4) < 1e-9
assert c["trainer"]["n_step"] == 1 and c["version"]' "$run/config.json"
    is "curve.svg is XML" python3 -c '
import sys, xml.etree.ElementTree as e
assert e.parse(sys.argv[1]).getroot().tag == "{http://www.w3.org/2000/svg}svg"' "$run/curve.svg"
elif command -v xmllint >/dev/null 2>&1; then
    is "curve.svg is XML" xmllint --noout "$run/curve.svg"
fi

# without the columns of time, which are the 3rd and 4th
csv() { cut -d, -f1,2,5- "$1"/*/progress.csv >"$1.csv"; }
exits "the same run again, two threads" 0 "" small 3 b --threads 2 --quiet
is "quiet is quiet" [ ! -s err ]
exits "a run with another seed, profiled" 0 "profile updates" small 4 c --threads 1 --quiet --profile
csv a; csv b; csv c
is "same seed, same csv" cmp a.csv b.csv
is "same seed, same policy" cmp "$run/policy.safetensors" b/*/policy.safetensors
is "same seed, same best policy" cmp "$run/best.safetensors" b/*/best.safetensors
is "other seed, other csv" [ "$(cmp -s a.csv c.csv || echo differs)" = differs ]
exits "a run on three environments" 0 "" train --task PointMass --steps 1000 --envs 3 --out e \
    --eval-episodes 2 --threads 1 --set random_steps=900 --set n_step=3 --quiet
is "three environments step together" grep -q '^1002,' e/*/progress.csv

# ------------------------------------------------------------------------------------------ eval

policy=$run/policy.safetensors
exits "eval of the policy" 0 "latency" play --policy "$policy" --episodes 3 --csv returns.csv
is "eval knows the task" grep -q '^policy .* on Pendulum (obs 3, act 1), 1500 steps' out
is "eval shows each episode" [ "$(grep -c '^episode' out)" = 3 ]
mean=$(sed -n 's/^return *\([-0-9.]*\) .*/\1/p' out)
is "eval finds the return that train found" awk -F, -v mean="$mean" \
    '$1 == 1500 { d = $7 - mean; exit !(d < 0.01 && d > -0.01) }' "$run/progress.csv"
is "eval's csv" [ "$(cut -d, -f1,2,3,7 returns.csv | tail -n 1)" = "dime,Pendulum,1500,3" ]
cut -d, -f1-17 returns.csv >first.csv # all but the latency
exits "eval again, quiet" 0 "return" play "$policy" --episodes=3 --quiet --csv returns.csv
is "eval is quiet" [ "$(grep -c '^episode' out)" = 0 ]
cut -d, -f1-17 returns.csv >again.csv
is "eval gives the same again" cmp first.csv again.csv
exits "eval with another seed" 0 "" play "$policy" --episodes 3 --seed 5 --csv returns.csv
is "another seed is another episode" [ "$(cut -d, -f8 first.csv)" != "$(cut -d, -f8 returns.csv)" ]
exits "eval on a task of other size" 2 "the policy wants 3, 1" play "$policy" --task PointMass
exits "eval on an unknown task" 2 "did you mean PointMass?" play "$policy" --task PointMas

half=$(($(wc -c <"$policy") / 2))
head -c "$half" "$policy" >cut.safetensors
{
    head -c "$half" "$policy"
    printf 'corrupt!'
    tail -c +$((half + 9)) "$policy"
} >bits.safetensors
: >empty.safetensors
exits "eval of a file that is cut off" 3 "" play cut.safetensors
exits "eval of a file with wrong bits" 3 "" play bits.safetensors
exits "eval of an empty file" 3 "" play empty.safetensors
exits "eval of another file" 3 "" play "$run/config.json"
exits "eval of no file" 3 "no-such" play no-such.safetensors

# ------------------------------------------------------------------------------------- interrupted

"$build/train" --task Pendulum --steps 1M --out d --threads 1 >out 2>err </dev/null &
pid=$!
tries=0
until [ "$(cat d/*/progress.csv 2>/dev/null | wc -l)" -ge 2 ] || [ $tries -ge 200 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -INT $pid
status=0
wait $pid || status=$?
is "interrupt: exit status 130" [ $status = 130 ]
is "interrupt says where it stopped" grep -q 'stopped at step' out
for file in progress.csv config.json curve.svg policy.safetensors; do
    is "interrupt leaves $file" [ -s "$(echo d/*/$file)" ]
done
exits "interrupt leaves a policy that plays" 0 "return" play d/*/policy.safetensors --episodes 1

# a chain that is far from stable: its actions are nan as soon as it is asked for one
exits "stopped by nan" 4 "diverged" train --task Pendulum --steps 600 --out f --threads 1 \
    --eval-every 400 --eval-episodes 0 --set random_steps=450 --set batch=16 \
    --set dt=10 --set friction=0.001 --set steps=16
is "stop by nan keeps the last good policy" [ -s "$(echo f/*/policy.safetensors)" ]

# --------------------------------------------------------------------------------------- MuJoCo

if [ $mujoco = 1 ]; then
    exits "HalfCheetah" 0 "no learning in this run" \
        train --steps 300 --eval-episodes 1 --threads 1 --envs 2 --out m
    is "HalfCheetah-v5 is the default" [ -s m/HalfCheetah-v5__dime__1__*/best.safetensors ]
    exits "HalfCheetah's policy plays" 0 "obs 17, act 6" \
        play m/*/policy.safetensors --episodes 1
    exits "unknown constant" 2 "did you mean healthy_reward?" \
        train --task Ant-v5 --task-set helthy_reward=2
    exits "constant that is no pair" 2 "two numbers" train --task Ant-v5 --task-set healthy_z_range=1
    exits "list of constants" 0 "contact_cost_range=-inf,10" train --task Humanoid-v5 --list
    exits "constants are set" 0 "" train --task Ant-v5 --steps 200 --eval-episodes 1 --quiet \
        --task-set include_cfrc_ext_in_observation=no --task-set frame_skip=2 --out ant
    exits "eval sets them too" 0 "obs 27" play ant/*/policy.safetensors --episodes 1
    exits "own model" 0 "return" train --task "mjcf:$DIFFRL_MODELS/hopper.xml" --reward forward \
        --steps 200 --eval-episodes 1 --quiet --out own
    exits "own model's policy plays" 0 "obs 11" play own/hopper__*/policy.safetensors --episodes 1
    exits "own model with another reward" 1 "known: forward" \
        train --task "mjcf:$DIFFRL_MODELS/hopper.xml" --reward backward
    exits "own model that is not there" 1 "cannot read none.xml" train --task mjcf:none.xml
    exits "own model without a name" 1 "mjcf:FILE.xml" train --task mjcf:
    exits "a file is no task" 2 "--task mjcf:FILE.xml" train --task "$DIFFRL_MODELS/hopper.xml"
    exits "a name that is too long" 2 "longer than" train --task "mjcf:$(printf '%0300d' 0).xml"
    exits "reward of a task that has one" 2 "Hopper-v5 has its own" \
        train --task Hopper-v5 --reward forward
    exits "which constants there are" 2 "it has frame_skip, reset_noise_scale" \
        train --task HalfCheetah-v5 --task-set gravity=3
    exits "constant with a blank" 2 "without blanks" train --task Ant-v5 --task-set "frame_skip= 2"
    many= # 40 constants, the last one wrong
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
        many="$many --task-set frame_skip=$i --task-set frame_skip=2 --task-set frame_skip=3"
    done
    # shellcheck disable=SC2086 # words
    exits "the fortieth constant" 2 "frame_skip=x" train --task Ant-v5 $many --task-set frame_skip=x
    exits "reset that fails: why" 1 "no finite acceleration" train --task Ant-v5 --steps 10 \
        --task-set reset_noise_scale=1e300 --out ant
    sed 's/gear="200"/gear="1e12"/' "$DIFFRL_MODELS/hopper.xml" >"wild, odd.xml"
    exits "divergence is counted" 0 "diverged in 21 episodes" train --task "mjcf:wild, odd.xml" \
        --steps 20 --eval-episodes 1 --quiet --out wild
    exits "what to type next" 0 "--task 'mjcf:wild, odd.xml' --steps 200" \
        train --task "mjcf:wild, odd.xml" --steps 20 --eval-episodes 1 --out wild2
    exits "eval counts it" 0 "diverged in 2 episodes" play wild/*/policy.safetensors --episodes 2 \
        --csv wild.csv
    is "task with a comma in a table" grep -q '^dime,"mjcf:wild, odd.xml",20,' wild.csv
    exits "physics of this MuJoCo" 0 "return" train --task Reacher-v5 --physics native --steps 100 \
        --eval-episodes 1 --quiet --out native
else
    exits "no MuJoCo" 2 "try --task Pendulum" train --steps 300
fi
is "no MUJOCO_LOG.TXT" [ ! -e MUJOCO_LOG.TXT ]

echo "$passed passed, $failed failed"
[ $failed = 0 ]
