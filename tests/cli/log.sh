#!/bin/sh
# Tests examples/mujoco/log.h: what train --log writes, and what is left of it after kill -9.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/log.sh [DIR]

Builds train without MuJoCo into DIR (default: build/test/cli), runs it with all formats of --log
and decodes the files: TensorBoard's with protoc and an own CRC. Then a program that writes rows
without end is killed 50 times with kill -9; each file must have whole rows and at most one torn one. Prints
`ok   NAME` or `FAIL NAME` and last `N passed, N failed`; exit status 1 if one failed, 77 without
protoc and its Python module (tools/install.sh protoc).
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
if ! tools/install.sh protoc; then
    echo "protoc or its Python module is not installed"
    exit 77
fi
mkdir -p "${1:-build/test/cli}/log.work"
build=$(cd "${1:-build/test/cli}" && pwd)
work=$build/log.work
python=${PYTHON:-/usr/bin/python3}
. tests/cli/lib

rm -rf "$work"
mkdir -p "$work"
cat >"$work/writer.c" <<'END'
/* writer DIR [KEEP ROWS]: rows in all formats, from step KEEP + 1 on (KEEP -1: anew); for ever */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "mujoco/log.h"
int main(int argc, char **argv)
{
    static const char *const names[] = {"time/total_timesteps", "a/x", "a/y", "a/z", "b/never",
                                        "b/large", "b/text long enough to matter in a row"};
    double row[7], keep = argc > 3 ? atof(argv[2]) : -1, rows = argc > 3 ? atof(argv[3]) : 1e12, i;
    run_log log;
    if (run_log_open(&log, argv[1], LOG_CSV | LOG_JSONL | LOG_TENSORBOARD, names, 7, keep)) return 1;
    for (i = keep < 0 ? 1 : keep + 1; rows > 0; i++, rows--) {
        row[0] = i, row[1] = i / 3, row[2] = -i, row[3] = 1e-9 * i;
        row[4] = NAN, row[5] = i > 3 ? INFINITY : 1e30, row[6] = .5;
        if (run_log_row(&log, row)) return 1;
    }
    run_log_close(&log);
    return 0;
}
END
cat >"$work/event.proto" <<'END'
syntax = "proto3";
message SessionLog { int32 status = 1; }
message Summary {
    message Value { string tag = 1; float simple_value = 2; }
    repeated Value value = 1;
}
message Event {
    double wall_time = 1;
    int64 step = 2;
    oneof what { string file_version = 3; Summary summary = 5; SessionLog session_log = 7; }
}
END
cat >"$work/check.py" <<'END'
# check.py train DIR: the three files of a run say the same
# check.py cut DIR: whole rows in each file, at most one torn; check.py killed DIR: those of writer
# check.py steps DIR: prints the last whole step
# check.py resumed DIR LAST: steps 1 ... LAST, each once
import csv, glob, json, math, os, struct, sys
import event_pb2

TABLE = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)

def crc(data):
    c = 0xFFFFFFFF
    for b in data:
        c = TABLE[(c ^ b) & 255] ^ (c >> 8)
    return c ^ 0xFFFFFFFF

def masked(data):
    c = crc(data)
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF

assert crc(b"123456789") == 0xE3069283

def events(path, whole=True):
    """All records; a torn one may stand at the end unless whole."""
    data, at, found = open(path, "rb").read(), 0, []
    while at < len(data):
        if at + 12 > len(data):
            break
        size, check = struct.unpack("<QI", data[at:at + 12])
        assert check == masked(data[at:at + 8]), "check of a length"
        if at + 16 + size > len(data):
            break
        body = data[at + 12:at + 12 + size]
        assert struct.unpack("<I", data[at + 12 + size:at + 16 + size])[0] == masked(body), "check"
        e = event_pb2.Event()
        e.ParseFromString(body)
        assert not e.UnknownFields() if hasattr(e, "UnknownFields") else True
        found.append(e)
        at += 16 + size
    assert at == len(data) or not whole, "a torn record"
    assert not found or found[0].file_version == "brain.Event:2"
    return found[1:]

def lines(path):
    text = open(path, newline="").read()
    whole = text.split("\n")[:-1]
    return whole, text.endswith("\n") or not text

def strict(constant):
    raise ValueError(constant)

def load(d, whole):
    rows, end = lines(d + "/progress.csv")
    assert end or not whole
    rows = list(csv.reader(rows))
    head = rows[0]
    assert all(len(r) == len(head) for r in rows), "a csv row of another length"
    table = [[float(x) if x else None for x in r] for r in rows[1:]]
    objects, end = lines(d + "/progress.jsonl")
    assert end or not whole
    objects = [json.loads(o, parse_constant=strict) for o in objects]
    assert all(list(o) == head for o in objects), "keys of json"
    scalars = []
    for path in sorted(glob.glob(d + "/events.out.tfevents.*"), key=os.path.getmtime):
        for e in events(path, whole):
            if e.WhichOneof("what") == "session_log":
                assert e.session_log.status == 1
                scalars = [s for s in scalars if s[0] < e.step]
            else:
                assert e.WhichOneof("what") == "summary" and e.wall_time > 1e9
                scalars.append((e.step, {v.tag: v.simple_value for v in e.summary.value}))
    return head, table, objects, scalars

def same(head, row, o, s):
    values = {k: v for k, v in zip(head, row)}
    assert o == values, (o, values)
    step = values.pop(head[0])
    assert s[0] == step
    there = {k: v for k, v in values.items() if v is not None}
    assert set(s[1]) == set(there), (set(s[1]) ^ set(there))
    for k, v in there.items():
        assert s[1][k] == struct.unpack("f", struct.pack("f", v))[0], k

what, d = sys.argv[1], sys.argv[2]
if what == "killed" and (len(glob.glob(d + "/*")) < 3 or not lines(d + "/progress.csv")[0]):
    print(0, 0) # killed before it could begin
    sys.exit()
head, table, objects, scalars = load(d, what == "train")
if what == "train":
    assert len(table) == len(objects) == len(scalars) == 3
    assert table[0][0] == 500 and table[2][0] == 1500
    assert {"rollout/ep_rew_mean", "eval/mean_reward", "train/critic_loss"} <= set(scalars[2][1])
    assert objects[0]["train/critic_loss"] is None and "train/critic_loss" not in scalars[0][1]
for row, o, s in zip(table, objects, scalars):
    same(head, row, o, s)
if what in ("cut", "killed"): # csv is written first, TensorBoard last
    assert len(table) >= len(objects) >= len(scalars) >= len(table) - 1, "rows are missing"
if what == "cut":
    assert len(table) > 1
if what == "killed": # each step is i, the values are known
    assert [r[0] for r in table] == list(range(1, len(table) + 1))
    for r in table:
        assert r[2] == -r[0] and r[4] is None and r[6] == .5 and (r[5] is None) == (r[0] > 3)
        assert abs(r[1] - r[0] / 3) <= 1e-7 * r[0]
    torn = 0
    for path in glob.glob(d + "/progress.*"):
        torn += not lines(path)[1]
    print(len(table), torn)
if what == "steps":
    print(int(table[-1][0]))
if what == "resumed":
    want = list(range(1, int(sys.argv[3]) + 1))
    assert [r[0] for r in table] == want and [o[head[0]] for o in objects] == want
    assert [s[0] for s in scalars] == want
END

compile() { ${CC:-cc} -O1 -DTRAIN_NO_MUJOCO -I. -Iexamples "$@" -lm -lpthread; }
is "build train" compile examples/mujoco/train.c -o "$build/train_log"
is "build writer" compile "$work/writer.c" -o "$work/writer"
cd "$work" || exit 1
is "protoc" protoc --python_out=. event.proto
check() { "$python" check.py "$@"; }

# ------------------------------------------------------------------------------------------ a run

run() { "$build/train_log" --task Pendulum --steps 1500 --eval-every 500 --eval-episodes 1 --threads 1 \
    --set random_steps=600 --set batch=32 "$@"; }

is "a run with all formats" run --log csv,jsonl,tensorboard,table --out a
is "csv, json and TensorBoard agree" check train a/Pendulum__*
run --log table --out b >out 2>err
is "a table per row" [ "$(grep -c '^| rollout/ ' out)" = 3 ]
is "tables are straight" [ -z "$(grep '^[|-]' out | awk '
    /^-/ { n = length($0); next } length($0) != n || !/^\| .* \| .* \|$/')" ]
is "csv is always written" [ "$(cat b/Pendulum__*/progress.csv | wc -l)" -eq 4 ]
is "other formats only if asked for" [ "$(find b -name "*jsonl" -o -name "events*")" = "" ]
status=0
run --log csv,jsno --out c >out 2>err || status=$?
is "unknown format" [ "$status $(grep -c 'did you mean jsonl' err)" = "2 1" ]

# ---------------------------------------------------------------------------------------- kill -9

mkdir killed
kills=0 wrong=0 rows=0 torn=0
while [ $kills -lt 50 ]; do
    rm -f killed/*
    ./writer killed &
    pid=$!
    sleep "0.00$((1 + kills * 7 % 9))"
    kill -9 $pid
    wait $pid 2>/dev/null
    if result=$(check killed killed 2>&1); then
        rows=$((rows + ${result% *}))
        torn=$((torn + ${result#* }))
    else
        wrong=$((wrong + 1))
        echo "     kill $kills: $(echo "$result" | tail -n 4 | tr '\n' ' ')"
    fi
    kills=$((kills + 1))
done
echo "     50 kills: $rows rows, $torn files with a torn last row"
is "50 kills: whole rows and at most one torn" [ $wrong = 0 ]
is "the writer got to write" [ $rows -gt 500 ]

wrong=0
for i in 1 2 3 4 5; do
    "$build/train_log" --task Pendulum --algo ppo --steps 10M --eval-every 1000 --eval-episodes 1 \
        --threads 1 --quiet --log csv,jsonl,tensorboard --out "t$i" >/dev/null 2>&1 &
    pid=$!
    tries=0
    until [ "$(cat "t$i"/*/progress.csv 2>/dev/null | wc -l)" -gt 3 ] || [ $tries -ge 200 ]; do
        sleep "0.0$i"
        tries=$((tries + 1))
    done
    kill -9 $pid
    wait $pid 2>/dev/null
    result=$(check cut "t$i"/* 2>&1) || { wrong=$((wrong + 1)); echo "     $result" | tail -n 1; }
done
is "train is killed five times: the same" [ $wrong = 0 ]

# a torn row, and rows after the step from where a run goes on, are cut off
rm -f killed/*
./writer killed -1 100
printf '101,33.6' >>killed/progress.csv
printf '{"time/total_timesteps":101,"a/x' >>killed/progress.jsonl
is "torn rows are left out" [ "$(check steps killed)" = 100 ]
sleep 1 # TensorBoard reads files in the order of their names, which have the second
is "a run goes on after step 90" ./writer killed 90 30
is "each step is there once" check resumed killed 120

echo "$passed passed, $failed failed"
[ $failed = 0 ]
