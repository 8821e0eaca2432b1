#!/bin/sh
# Makes offline data sets of a task with SAC; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/make-data.sh [--task NAME] [--steps N] [--rows N] [--seed N] [--out DIR]

Trains SAC on a task and writes data sets in the way of D4RL (Fu et al. 2020) to DIR:

  NAME-random.npz         uniform actions
  NAME-medium.npz         the policy of the first evaluation that has come a third of the way from
                          random to the best one, with its noise
  NAME-medium-replay.npz  all that training had met until then
  NAME-expert.npz         the best policy, with its noise

Keys: observations, actions, rewards, next_observations (float32), terminals, timeouts (bool), in the
order of time (examples/mujoco/recorder.h). `build/train --algo dppo --data FILE` starts from one.

  --task NAME   task (HalfCheetah-v5)
  --steps N     environment steps of training (300000), evaluated every fiftieth
  --rows N      rows of random, medium and expert (100000)
  --seed N      of everything (1)
  --out DIR     where to (data)

SAC runs twice: from the same seed it comes by the same states, so the second run, which ends at the
medium evaluation, has its policy and its transitions. Takes twelve minutes for 100,000 steps on a
core.

examples:
  tools/make-data.sh --task Hopper-v5
  tools/make-data.sh --task Walker2d-v5 --steps 1000000 --rows 1000000 --out data
END
}

cd "$(dirname "$0")/.."
task=HalfCheetah-v5 steps=300000 rows=100000 seed=1 out=data
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --task) task=${2:?} ;;
    --steps) steps=${2:?} ;;
    --rows) rows=${2:?} ;;
    --seed) seed=${2:?} ;;
    --out) out=${2:?} ;;
    *) echo "tools/make-data.sh: unknown flag $1 (--help shows all)" >&2; exit 2 ;;
    esac
    shift 2
done

flags=
tools/install.sh cc mujoco || flags=--no-mujoco
for program in train collect; do tools/build.sh $flags examples/mujoco/$program.c; done
mkdir -p "$out/runs"
every=$((steps / 50 > 0 ? steps / 50 : 1))

train() # STEPS [FLAG...]
{
    n=$1
    shift
    build/train --algo sac --task "$task" --seed "$seed" --steps "$n" --eval-every $every \
        --set random_steps=$((steps / 30)) --out "$out/runs" --quiet "$@" | sed -n 's/^files *//p'
}
collect() # NAME FLAG...
{
    name=$1
    shift
    build/collect --steps "$rows" --seed "$seed" --out "$out/$task-$name.npz" "$@"
}

random=$(collect random --task "$task" | tee /dev/stderr | sed 's/.*return //; s/ .*//; s/,//g')
run=$(train "$steps")
# column 1: steps, 7: mean of an evaluation
medium=$(awk -F, -v random="$random" '
    NR > 1 && $7 != "" { step[++n] = $1; mean[n] = $7; if (n == 1 || $7 > best) best = $7 }
    END {
        for (i = 1; i < n && mean[i] < random + (best - random) / 3; i++) continue
        print step[i]
    }' "$run/progress.csv")
echo "medium: step $medium of $steps"
early=$(train "$medium" --record "$out/$task-medium-replay.npz")
collect medium --policy "$early/policy.safetensors"
collect expert --policy "$run/best.safetensors"
