#!/bin/sh
# Tests examples/mujoco/record.c without a screen, and view.c on one that Xvfb makes up.
set -u

usage()
{
    cat <<'END'
usage: tests/cli/record.sh [DIR]

Installs what is missing (tools/install.sh), builds train, eval, record and view by the lines in
their heads, into DIR (default: build/test/record), and looks at films and at the window. What
cannot be installed is skipped with a word. Prints `ok   NAME`, `skip NAME` or `FAIL NAME` and last
`N passed, N failed`; exit status 1 if one failed, 77 if MuJoCo or all ways to draw are missing.
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
-*) usage >&2; exit 2 ;;
esac

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
mkdir -p "${1:-build/test/record}"
build=$(cd "${1:-build/test/record}" && pwd)
work=$build/work
rm -rf "$work"
mkdir -p "$work"
DIFFRL_MODELS=$top/examples/mujoco/models
export DIFFRL_MODELS
. tests/cli/lib
xvfb=

trap '[ -z "$xvfb" ] || kill "$xvfb" 2>/dev/null' EXIT
trap 'exit 130' INT TERM

skip() { echo "skip $1: $2"; }

# Runs the command and wants the exit status; TEXT, if not empty, must stand in its output.
exits() # NAME STATUS TEXT COMMAND...
{
    name=$1 want=$2 text=$3
    shift 3
    status=0
    "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    if [ $status != "$want" ]; then
        bad "$name" "exit status $status, expected $want: $(tail -n 1 "$work/err")"
    elif [ -n "$text" ] && ! cat "$work/out" "$work/err" | grep -q -F -e "$text"; then
        bad "$name" "no '$text' in: $(head -n 1 "$work/err")"
    else
        ok "$name"
    fi
}

end()
{
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

# ------------------------------------------------------------------------------------------- build

tools/install.sh cc mujoco draw || { echo "no MuJoCo, or no way to draw"; exit 77; }
have_ffmpeg=0 have_window=0
tools/install.sh ffmpeg && have_ffmpeg=1
tools/install.sh glfw xvfb && have_window=1

compile() # NAME: by the line in the head of examples/mujoco/NAME.c
{
    line=$(sed -n '/cc -O2.* -o build\//{s/^ *cc //;p;q;}' "examples/mujoco/$1.c")
    line=$(echo "$line" | sed "s|-o build/|-o \"\$build\"/|")
    eval "${CC:-cc} -Wall -Wextra $line" >"$work/$1.log" 2>&1
}

programs="train eval record"
[ $have_window = 0 ] || programs="$programs view"
for program in $programs; do
    compile "$program"
    if [ ! -x "$build/$program" ] || [ -s "$work/$program.log" ]; then
        bad "build $program" "$(head -n 3 "$work/$program.log")"
        end
    fi
    ok "build $program"
done

exits "train a policy" 0 "" "$build/train" --task Hopper-v5 --steps 1200 --eval-episodes 1 --seed 1 \
    --threads 1 --quiet --out "$work/runs"
policy=$(echo "$work"/runs/*/policy.safetensors)
cd "$work" || exit 1

# ------------------------------------------------------------------------------------------- films

number() # FILE OFFSET: 16 bits, low byte first
{
    od -An -tu1 -j "$2" -N 2 "$1" | awk '{ print $1 + 256 * $2 }'
}

# Brightness of each frame, 8 x 8 points of it: mean, least, most.
frames() # FILE
{
    ffmpeg -v error -i "$1" -vf scale=8:8 -pix_fmt gray -f rawvideo - | od -An -v -tu1 -w64 | awk '{
        low = 255; high = sum = 0
        for (i = 1; i <= NF; i++) {
            sum += $i
            if ($i < low) low = $i
            if ($i > high) high = $i
        }
        print sum / NF, low, high
    }'
}

# Every frame is neither black nor of one color, and the last differs from the first.
film() # NAME FILE WIDTH HEIGHT FRAMES
{
    if [ $have_ffmpeg = 0 ]; then skip "$1" "no ffmpeg"; return; fi
    probe=$(ffprobe -v error -select_streams v:0 -count_frames -of csv=p=0 -show_entries \
        stream=width,height,nb_read_frames "$2")
    if [ "$probe" = "$3,$4,$5" ]; then ok "$1: ffprobe"; else bad "$1: ffprobe" "$probe"; fi
    frames "$2" >"$work/frames"
    bad_frames=$(awk '$1 < 15 || $1 > 240 || $3 - $2 < 30' "$work/frames" | wc -l)
    if [ "$bad_frames" = 0 ] && [ -s "$work/frames" ]; then ok "$1: not black"
    else bad "$1: not black" "$bad_frames frames"; fi
    first=$(head -n 1 "$work/frames")
    last=$(tail -n 1 "$work/frames")
    if [ "$first" != "$last" ]; then ok "$1: moves"; else bad "$1: moves" "$first"; fi
}

for gl in egl osmesa; do
    status=0
    RECORD_GL=$gl "$build/record" --policy "$policy" --out $gl.gif --steps 40 --episodes 3 \
        --size 160x120 >"$work/out" 2>"$work/err" || status=$?
    if grep -q 'cannot draw' "$work/err"; then skip "$gl" "$(tail -n 1 "$work/err")"; continue; fi
    [ $status = 0 ] || { bad "$gl" "$(tail -n 1 "$work/err")"; continue; }
    is "$gl: says so" grep -q -i "drawn by $gl" "$work/out"
    is "$gl: size of the GIF" [ "$(number $gl.gif 6) $(number $gl.gif 8)" = "320 240" ]
    film "$gl" $gl.gif 320 240 "$(sed -n 's/.*: \([0-9]*\) frames.*/\1/p' "$work/out")"
done
if [ -f egl.gif ] && [ -f osmesa.gif ]; then
    is "EGL and OSMesa: as many frames" \
        [ "$(frames egl.gif | wc -l)" = "$(frames osmesa.gif | wc -l)" ]
fi

# the episodes are those of eval
"$build/eval" --policy "$policy" --episodes 2 | grep '^episode' | awk '{ print $4, $6, $8 }' >eval.txt
"$build/record" --policy "$policy" --episodes 2 --out two.gif --size 64x48 | grep '^episode' |
    awk '{ print $4, $6, $8 }' >record.txt
is "the same episodes as eval" cmp eval.txt record.txt

if [ $have_ffmpeg = 1 ]; then
    exits "MP4" 0 "wrote -odd name'.mp4" "$build/record" --task Ant-v5 --steps 40 --seed 3 \
        --out "-odd name'.mp4" --size 160x120
    film "MP4" "file:-odd name'.mp4" 160 120 \
        "$(sed -n 's/.*: \([0-9]*\) frames.*/\1/p' "$work/out")"
    exits "a format that ffmpeg does not know" 3 "cannot write" "$build/record" --task Ant-v5 \
        --steps 10 --out film.nonsense
fi
mkdir -p empty
exits "without ffmpeg" 3 "tools/install.sh ffmpeg" env PATH="$work/empty" "$build/record" \
    --task Ant-v5 --steps 10 --out film.mp4
exits "unwritable" 3 "cannot write" "$build/record" --task Ant-v5 --steps 10 --out /nowhere/film.gif
exits "free camera" 0 "" "$build/record" --task Ant-v5 --steps 10 --camera free --size 64x48
exits "no such camera" 2 "no camera nose" "$build/record" --task Ant-v5 --camera nose
exits "odd size" 2 "even" "$build/record" --task Ant-v5 --size 321x240
exits "a task that is not MuJoCo's" 2 "cannot be shown" "$build/record" --task Pendulum
exits "nothing to film" 2 "neither" "$build/record"
exits "no such policy" 3 "nowhere" "$build/record" --policy nowhere.safetensors
exits "help" 0 "usage: record" "$build/record" --help

# ------------------------------------------------------------------------------------- the window

if [ $have_window = 0 ]; then
    skip "window" "no GLFW or no Xvfb here"
    end
fi
exits "no screen" 1 "without a screen" env -u DISPLAY -u WAYLAND_DISPLAY "$build/view" \
    --policy "$policy"
exits "window: help" 0 "usage: view" "$build/view" --help

mkfifo display
Xvfb -displayfd 3 -screen 0 320x240x24 -nolisten tcp 3>display >/dev/null 2>&1 &
xvfb=$!
DISPLAY=:$(head -n 1 display)
export DISPLAY
unset WAYLAND_DISPLAY

exits "window: closes by itself" 0 "" "$build/view" --policy "$policy" --frames 3 --width 320 \
    --height 240
if [ $have_ffmpeg = 0 ]; then skip "window: picture" "no ffmpeg"; end; fi

grab() # FILE: what the screen shows, with the pointer out of the way
{
    ffmpeg -v error -y -f x11grab -draw_mouse 0 -video_size 320x240 -i "$DISPLAY" -frames:v 1 \
        -pix_fmt rgb24 -f rawvideo "$1"
}

key() { xdotool key --clearmodifiers "$1"; sleep 1; } # KEY

# two pictures half a second apart
# shellcheck disable=SC2317
moves() { grab a.rgb; sleep 0.5; grab b.rgb; ! cmp -s a.rgb b.rgb; }
# shellcheck disable=SC2317
stands() { ! moves; }

"$build/view" --policy "$policy" --width 320 --height 240 >view.out 2>view.err &
view=$!
sleep 3
grab first.rgb
is "window: size of the picture" [ "$(wc -c <first.rgb)" = $((320 * 240 * 3)) ]
colors=$(od -An -v -tu1 -w3 first.rgb | sort -u | wc -l)
is "window: not black ($colors colors)" [ "$colors" -gt 100 ]
xdotool mousemove 160 120
xdotool search --onlyvisible --name Hopper windowfocus 2>/dev/null
is "window: moves" moves
key space
is "window: space stops it" stands
grab stopped.rgb
key Right
grab stepped.rgb
is "window: one step" [ "$(cmp -s stopped.rgb stepped.rgb; echo $?)" = 1 ]
is "window: stops again" stands
key c
grab camera.rgb
is "window: another camera" [ "$(cmp -s stepped.rgb camera.rgb; echo $?)" = 1 ]
key p
key r
key s
key space
is "window: goes on" moves
kill -0 $view 2>/dev/null && key q
status=0
wait $view || status=$?
is "window: Q ends it" [ $status = 0 ]
is "window: no complaint" [ ! -s view.err ]
end
