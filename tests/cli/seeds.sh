#!/bin/sh
# Tests train --seeds, --config, --dump-config, --dry-run, and what is left when training diverges.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/seeds.sh [DIR]

Builds train and eval without MuJoCo into DIR (default: build/test/cli) and runs them there. Prints
`ok   NAME` or `FAIL NAME` and last `N passed, N failed`; exit status 1 if one failed.
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
mkdir -p "${1:-build/test/cli}/seeds.work"
build=$(cd "${1:-build/test/cli}" && pwd)
work=$build/seeds.work
. tests/cli/lib

# Runs train, output to out, and wants the exit status, and TEXT in the output.
trains() # NAME STATUS TEXT FLAG...
{
    name=$1 want=$2 text=$3
    shift 3
    status=0
    "$build/train_seeds" --task Pendulum --threads 1 "$@" >out 2>&1 </dev/null || status=$?
    if [ $status != "$want" ]; then bad "$name" "exit status $status: $(tail -n 1 out)"
    elif ! grep -q -F -e "$text" out; then bad "$name" "no '$text' in: $(head -n 3 out)"
    else ok "$name"; fi
}

rm -rf "$work"
mkdir -p "$work"
compile() { ${CC:-cc} -O1 -DTRAIN_NO_MUJOCO -I. -Iexamples "$@" -lm -lpthread; }
compile examples/mujoco/eval.c -o "$build/eval_seeds" >"$work/eval.log" 2>&1 &
compile examples/mujoco/train.c -o "$build/train_seeds" >"$work/train.log" 2>&1
wait $!
cd "$work" || exit 1
if [ -s train.log ] || [ -s eval.log ]; then bad "build" "$(cat train.log eval.log | head -n 2)"
else ok "build"; fi

# ------------------------------------------------------------------------------------------ seeds

small="--algo sac --steps 600 --eval-every 200 --eval-episodes 2 --set random_steps=300 --set batch=16"
# shellcheck disable=SC2086 # flags are words
trains "three seeds, two at a time" 0 "over 3 seeds" $small --seed 4 --seeds 3 --jobs 2 --out a
mean=$(sed -n 's/^return *\(-[0-9.]*\) .*/\1/p' out)
is "each is told" [ "$(grep -c '^seed ' out)" = 3 ]
dir=$(echo a/Pendulum__sac__4-6__*)
is "three runs, table, curve" [ "$(ls "$dir" | wc -l)" -eq 5 ]
is "head of the table" [ "$(head -n 1 "$dir/seeds.csv")" = "seed,steps,return,std,best,exit_status" ]
is "rows of the table" [ "$(cut -d, -f1,2,6 "$dir/seeds.csv" | tail -n 3 | tr '\n' ' ')" = \
    "4,600,0 5,600,0 6,600,0 " ]
# shellcheck disable=SC2086
trains "seed 5 by itself" 0 "" $small --seed 5 --quiet --out b
is "it is the same run" cmp b/*/policy.safetensors "$dir"/Pendulum__sac__5__*/policy.safetensors
last=$(tail -n 1 b/*/progress.csv | cut -d, -f7)
is "its return is in the table" [ "$(sed -n 's/^5,600,\([^,]*\),.*/\1/p' "$dir/seeds.csv")" = "$last" ]
is "the mean is that of the table" awk -F, -v mean="$mean" '
    NR > 1 { sum += $3 } END { d = mean - sum / 3; exit !(NR == 4 && d < 0.01 && d > -0.01) }' \
    "$dir/seeds.csv"
is "curve.svg" grep -q "sac on Pendulum, 3 seeds" "$dir/curve.svg"
# shellcheck disable=SC2086
trains "settings are looked at once" 2 "did you mean" $small --seeds 3 --set gama=1 --out c
is "and nothing begins" [ ! -e c ]
trains "no resume of seeds" 2 "does not go with --resume" --seeds 2 --resume auto
trains "no record of seeds" 2 "does not go with --record" --seeds 2 --record x.npz

wait_for() # PATTERN: until two files have such names, at most 20 s
{
    tries=0
    until [ "$(find . -path "./$1" | wc -l)" -ge 2 ]; do
        [ $tries -lt 200 ] || return 1
        sleep 0.1
        tries=$((tries + 1))
    done
}

# Ctrl-C, as a terminal or a shell sends it: the children stop and save, none is left
"$build/train_seeds" --task Pendulum --steps 10M --seeds 4 --jobs 2 --out d >out 2>&1 </dev/null &
pid=$!
wait_for "d/*/*/progress.csv"
sleep 1 # and they step
kill -INT $pid
status=0
wait $pid || status=$?
is "interrupt: exit status 130" [ $status = 130 ]
echo "$build/train_seeds" >pattern # from a file: grep must not find itself
is "the runs have ended" [ "$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' |
    grep -c -F -f pattern)" = 0 ]
is "two had begun" [ "$(cut -d, -f1,6 d/*/seeds.csv | tail -n +2 | tr '\n' ' ')" = "1,130 2,130 " ]
is "they saved" [ "$(echo d/*/*/ckpt-*.safetensors | wc -w)" -eq 2 ]
is "the seeds that are missing are told" grep -q "seeds have no return" out

# a parent that is killed takes them with it
"$build/train_seeds" --task Pendulum --steps 10M --seeds 2 --jobs 2 --out k >out 2>&1 </dev/null &
pid=$!
wait_for "k/*/*/progress.csv"
sleep 1
kill -9 $pid
wait $pid 2>/dev/null
is "a parent that is killed takes the runs with it" wait_for "k/*/*/ckpt-*.safetensors"

# ----------------------------------------------------------------------------------------- config

cat >run.ini <<'END'
# all of it
task = PointMass
algo= dacer
steps =2k
eval_every = 500
quiet
[set]
lr_actor = 2e-4
steps = 3
END
config() { "$build/train_seeds" "$@" --dump-config; }
config --config run.ini >c1 2>err
for line in "task = PointMass" "algo = dacer" "steps = 2000" "eval_every = 500" "lr_actor = 0.0002" \
    "steps = 3" "seed = 1"; do
    is "config: $line" grep -q -x "$line" c1
done
config --config=c1 >c2 2>err
is "a dumped config is itself" cmp c1 c2
config --config run.ini --steps 5k --set lr_actor=0.5 --seed 8 >c3 2>err
is "flags win" [ "$(diff c1 c3 | grep '^>' | tr '\n' ' ')" = \
    "> steps = 5000 > seed = 8 > replay_capacity = 5000 > lr_actor = 0.5 " ]
trains "a run by a config" 0 "return" --config run.ini --task Pendulum --steps 40 --eval-episodes 1 --out e
is "config.json says so" grep -q '"algo": "dacer"' e/*/config.json
echo "stps = 3" >bad.ini
trains "wrong key" 2 "did you mean --steps?" --config bad.ini
printf 'steps = 3\n[sets]\n' >bad.ini
trains "wrong section" 3 "bad.ini: line 2" --config bad.ini
printf '[set]\ngamma\n' >bad.ini
trains "key without value" 3 "bad.ini: line 2" --config bad.ini
trains "no config" 3 "cannot open none.ini" --config none.ini

# ---------------------------------------------------------------------------------------- dry run

trains "dry run" 0 "when the replay is full" --dry-run --algo sac --steps 20k --out f
is "time" grep -q "^time    about .* for 20,000 steps" out
is "weights" grep -q "weights (policy" out
is "nothing is written" [ ! -e f ]

# ------------------------------------------------------------------------------------- divergence

far="--algo dacer --set lr_critic=1 --set lr_actor=1 --set layers=7 --set critic_width=256 --set gamma=1"
# shellcheck disable=SC2086
trains "a learning rate far too large" 4 "is not finite after" $far --steps 1500 --set random_steps=260 \
    --set batch=32 --eval-every 100 --eval-episodes 1 --save-every 1 --keep 2 --out g
is "the layer is named" grep -q "tensor critic[.a-z_]*q[01].l[0-9].[wb]" out
is "where the last good one is" grep -q "stopped; the .* of step [0-9]* is in g/" out
is "no row has nan" [ "$(grep -c -i -e nan -e inf g/*/progress.csv)" = 0 ]
is "the policy plays" "$build/eval_seeds" g/*/policy.safetensors --episodes 1
for file in g/*/ckpt-*.safetensors; do
    trains "$(basename "$file") goes on, and diverges" 4 "is not finite" --resume "$file"
done

echo "$passed passed, $failed failed"
[ $failed = 0 ]
