#!/bin/sh
# Tests examples/mujoco/eval.c: modes, fewer denoising steps, seeds, its table.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/eval.sh [DIR]

Builds train and eval without MuJoCo into DIR (default: build/test/cli), makes a small policy of
each algorithm without training it, and plays it in all ways. Prints `ok   NAME` or `FAIL NAME` and last
`N passed, N failed`; exit status 1 if one failed.
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
mkdir -p "${1:-build/test/cli}/eval.work"
build=$(cd "${1:-build/test/cli}" && pwd)
work=$build/eval.work
. tests/cli/lib

# Runs eval on FILE and wants the exit status, and TEXT in the output.
plays() # NAME STATUS TEXT FILE [FLAG...]
{
    name=$1 want=$2 text=$3
    shift 3
    status=0
    "$build/eval_cli" "$@" >out 2>&1 </dev/null || status=$?
    if [ $status != "$want" ]; then bad "$name" "exit status $status: $(tail -n 1 out)"
    elif ! grep -q -F -e "$text" out; then bad "$name" "no '$text' in: $(tail -n 1 out)"
    else ok "$name"; fi
}

# The returns of episodes, as printed.
returns() { "$build/eval_cli" "$@" --episodes 2 | sed -n 's/^episode.*return *//p'; }
same() # NAME FLAGS-OF-ONE FLAGS-OF-OTHER [FILE-OF-OTHER]
{
    # shellcheck disable=SC2086 # flags are words
    a=$(returns "$file" $2) b=$(returns "${4-$file}" $3)
    if [ -n "$a" ] && [ "$a" = "$b" ]; then ok "$1"; else bad "$1" "$a, $b"; fi
}
differ() # NAME FLAGS FLAGS
{
    # shellcheck disable=SC2086
    a=$(returns "$file" $2) b=$(returns "$file" $3)
    if [ -n "$a" ] && [ -n "$b" ] && [ "$a" != "$b" ]; then ok "$1"; else bad "$1" "$a"; fi
}

rm -rf "$work"
mkdir -p "$work"
compile() { ${CC:-cc} -O1 -DTRAIN_NO_MUJOCO -I. -Iexamples "$@" -lm -lpthread; }
compile examples/mujoco/train.c -o "$build/train_cli" >"$work/train.log" 2>&1 &
compile examples/mujoco/eval.c -o "$build/eval_cli" >"$work/eval.log" 2>&1
wait $!
cd "$work" || exit 1
if [ -s train.log ] || [ -s eval.log ]; then bad "build" "$(cat train.log eval.log | head -n 2)"
else ok "build"; fi

policy() # ALGO NAME [FLAG...]: sets file
{
    algo=$1 name=$2
    shift 2
    "$build/train_cli" --algo "$algo" --task Pendulum --steps 40 --eval-episodes 0 --threads 1 --quiet \
        --out "$name" "$@" >"$name.log" 2>&1 || bad "policy of $algo" "$(tail -n 1 "$name.log")"
    file=$(echo "$name"/*/policy.safetensors)
}

policy dacer dacer
plays "a table" 0 "95 % intervals" "$file" --episodes 3 --seeds 2 --csv table.csv
is "each seed is told" [ "$(grep -c '^seed ' out)" = 2 ]
is "head of the table" [ "$(head -n 1 table.csv)" = \
    "algo,task,env_steps,mode,steps,seed,episodes,mean,std,min,max,iqm,\
mean_low,mean_high,iqm_low,iqm_high,length,p50_ms,p99_ms" ]
is "a row per seed and one of all" [ "$(cut -d, -f1-7 table.csv | tail -n 3 | tr '\n' ' ')" = \
    "dacer,Pendulum,40,default,5,10000,3 dacer,Pendulum,40,default,5,10003,3 \
dacer,Pendulum,40,default,5,all,6 " ]
is "numbers of the table" awk -F, '
    NR > 1 { if (NF != 19 || $10 > $8 || $8 > $11 || $10 > $12 || $12 > $11) exit 1
             if ($13 > $8 || $8 > $14) exit 1
             if (!($18 > 0 && $18 <= $19 && $17 == 200)) exit 1
             mean[NR] = $8 }
    END { d = mean[4] - (mean[2] + mean[3]) / 2; exit !(NR == 4 && d * d < 1e-4) }' table.csv
same "a seed is a block of episodes" "--seed 10000 --seeds 1" "--seed 10000"
same "dacer samples by itself" "" "--mode sample"
differ "dacer deterministic" "" "--mode deterministic"
differ "dacer in one step" "" "--steps 1"
same "all its steps" "" "--steps 5"
plays "steps are told" 0 "mode     deterministic, 1 denoising steps" "$file" --episodes 1 --steps 1 \
    --mode deterministic
plays "steps that do not divide" 2 "expected a divisor of 5" "$file" --steps 2
plays "more steps" 2 "expected a divisor of 5" "$file" --steps 10
plays "no critic" 2 "dacer keeps no critic" "$file" --mode best-of-4
plays "no such mode" 2 "expected deterministic, sample or best-of-K" "$file" --mode best
plays "best of none" 2 "expected deterministic, sample or best-of-K" "$file" --mode best-of-0
plays "no such place for the table" 3 "cannot write no/t.csv" "$file" --csv no/t.csv

policy dime dime
differ "dime deterministic" "" "--mode deterministic"
same "dime through all its steps" "" "--steps 8"
plays "dime has no shorter chain" 2 "learned: there is no shorter one" "$file" --steps 4

policy qvpo qvpo
same "qvpo takes the best of its setting" "" "--mode best-of-16"
differ "best of others" "--mode best-of-16" "--mode best-of-3"
same "a sample is the best of one" "--mode sample" "--mode best-of-1"
differ "qvpo in two steps" "--mode sample" "--mode sample --steps 2"
differ "qvpo deterministic" "--mode sample" "--mode deterministic"
plays "best of too many" 2 "4096 actions at most" "$file" --mode best-of-5000

# the shorter chain of a policy is that of one made with it: its last tuned step of 10 of 20 is at
# time 9, in 5 steps the third
few="--preset toy --set rollout=64 --set batch=32"
# shellcheck disable=SC2086
policy dppo short $few --set steps=20 --set ddim_steps=5 --set tuned=3
short=$file
# shellcheck disable=SC2086
policy dppo full $few --set steps=20 --set tuned=10
same "dppo by fewer steps" "--steps 5" "" "$short"
same "dppo by still fewer" "--steps 1" "--steps 1" "$short"
differ "dppo in all and in few" "" "--steps 5"
differ "dppo deterministic" "" "--mode deterministic"

policy sac sac
same "sac is deterministic" "" "--mode deterministic"
differ "sac sampled" "" "--mode sample"
same "sac's samples come from the seed" "--mode sample" "--mode sample --seeds 1"
plays "sac has no chain" 2 "sac has no denoising steps" "$file" --steps 2

echo "$passed passed, $failed failed"
[ $failed = 0 ]
