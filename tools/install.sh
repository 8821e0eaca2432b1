#!/bin/sh
# Installs what the other scripts need; see usage below.
set -eu

usage()
{
    cat <<'END'
usage: tools/install.sh [THING...]
       tools/install.sh --have THING    only look; exit status 0 if it works

Looks whether each THING works here and installs what does not with apt-get (through sudo if you
are not root). Exit status 0 if all work at the end, else 1 with lines that say what to do.

  cc        C compiler with libc and libm     packages gcc, libc6-dev
  mujoco    MuJoCo 2.2.2 or newer             package libmujoco-dev
  c++       C++ compiler                      package g++
  clang     clang, C and C++, sanitizers      packages clang, g++, libclang-rt-dev
  draw      EGL or OSMesa, for record         packages libegl-dev, libgl1-mesa-dri, libosmesa6-dev
  ffmpeg    films other than GIF              package ffmpeg
  glfw      GLFW 3, for view                  package libglfw3-dev
  xvfb      a screen without a screen         packages xvfb, xdotool
  python    Python with NumPy                 packages python3, python3-numpy
  torch     PyTorch, for tools/bench.sh       packages python3-torch, libopenblas0
  gymnasium, safetensors                      Python packages of that name, by pip to build/python
  mandoc    checks man pages                  package mandoc
  rsvg      rsvg-convert, for plot --png      package librsvg2-bin
  protoc    protoc and Python's protobuf      packages protobuf-compiler, python3-protobuf
  arm       compiler and emulator of Cortex-M packages gcc-arm-none-eabi, qemu-system-arm
  onnx      ONNX's checker and runtime        Python packages of that name, by pip to build/onnx
  (default: cc mujoco)

examples:
  tools/install.sh                      what training needs
  tools/install.sh cc c++ clang mujoco  what the tests use
  tools/install.sh --have mujoco && echo yes
END
}

top=$(cd "$(dirname "$0")/.." && pwd)
log=$top/build/install.log
python=${PYTHON:-/usr/bin/python3}

# Compile, link and run a small program.
probe() # PROGRAM LIBRARY COMPILER [FLAG...]
{
    program=$1
    library=$2
    shift 2
    command -v "$1" >/dev/null 2>&1 || return 1
    dir=$(mktemp -d)
    echo "$program" >"$dir/probe.c"
    result=0
    # shellcheck disable=SC2086 # no library is no word
    { "$@" "$dir/probe.c" -o "$dir/probe" $library -lm && "$dir/probe"; } >/dev/null 2>&1 ||
        result=1
    rm -rf "$dir"
    return $result
}

works() # THING
{
    c='#include <math.h>
int main(int n, char **v) { return v[0] ? (int)floor(0.5 * n) : 1; }'
    case $1 in
    cc) probe "$c" '' "${CC:-cc}" ;;
    c++) probe "$c" '' "${CXX:-c++}" -x c++ ;;
    clang) probe "$c" '' clang && probe "$c" '' clang++ -x c++ ;;
    mujoco)
        probe '#include <mujoco/mujoco.h>
int main(void) { return mj_version() > 0 ? 0 : 1; }' -lmujoco "${CC:-cc}" ;;
    draw)
        probe '#include <dlfcn.h>
int main(void)
{
    void *l = dlopen("libOSMesa.so", RTLD_NOW), *d;
    void *(*platform)(unsigned, void *, const void *);
    unsigned (*start)(void *, int *, int *);
    if (l) return 0;
    l = dlopen("libEGL.so", RTLD_NOW);
    if (!l) return 1;
    *(void **)&platform = dlsym(l, "eglGetPlatformDisplay");
    *(void **)&start = dlsym(l, "eglInitialize");
    d = platform ? platform(0x31DD, (void *)0, (void *)0) : (void *)0;
    return !d || !start || !start(d, (int *)0, (int *)0);
}' -ldl "${CC:-cc}" ;;
    ffmpeg) command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null ;;
    glfw)
        probe '#include <GLFW/glfw3.h>
int main(void) { return glfwGetVersionString() ? 0 : 1; }' -lglfw "${CC:-cc}" ;;
    xvfb) command -v Xvfb >/dev/null && command -v xdotool >/dev/null ;;
    python) "$python" -c 'import ctypes, numpy' >/dev/null 2>&1 ;;
    torch) # not on the reference BLAS, which is 20 times slower
        "$python" -c 'import torch; assert "/blas/libblas" not in open("/proc/self/maps").read()' \
            >/dev/null 2>&1 ;;
    gymnasium | safetensors)
        PYTHONPATH="$top/build/python" "$python" -c "import $1" >/dev/null 2>&1 ;;
    mandoc) command -v mandoc >/dev/null ;;
    rsvg) command -v rsvg-convert >/dev/null ;;
    arm)
        command -v qemu-system-arm >/dev/null &&
            echo 'int f(int a) { return a; }' | arm-none-eabi-gcc -mcpu=cortex-m4 -ffreestanding \
                -xc -c - -o /dev/null 2>/dev/null ;;
    onnx) PYTHONPATH="$top/build/onnx" "$python" -c 'import onnx, onnxruntime' >/dev/null 2>&1 ;;
    protoc)
        command -v protoc >/dev/null &&
            "$python" -c 'import google.protobuf' >/dev/null 2>&1 ;;
    *) echo "tools/install.sh: unknown thing $1 (--help lists all)" >&2; exit 2 ;;
    esac
}

packages() # THING
{
    case $1 in
    cc) echo gcc libc6-dev ;;
    c++) echo g++ ;;
    clang) echo clang g++ libclang-rt-dev ;;
    mujoco) echo libmujoco-dev ;;
    draw) echo libegl-dev libgl1-mesa-dri libosmesa6-dev ;;
    ffmpeg) echo ffmpeg ;;
    glfw) echo libglfw3-dev ;;
    xvfb) echo xvfb xdotool ;;
    python) echo python3 python3-numpy ;;
    torch) echo python3-torch libopenblas0 ;;
    arm) echo gcc-arm-none-eabi qemu-system-arm ;;
    gymnasium | safetensors | onnx) "$python" -m pip --version >/dev/null 2>&1 || echo python3-pip ;;
    mandoc) echo mandoc ;;
    rsvg) echo librsvg2-bin ;;
    protoc) echo protobuf-compiler python3-protobuf ;;
    esac
}

apt() # PACKAGE...
{
    # shellcheck disable=SC2086 # $sudo may be nothing or several words
    $sudo env DEBIAN_FRONTEND=noninteractive "${APT_GET:-apt-get}" -y -q \
        -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null
}

# Fetch a Python package of pure Python or with wheels, to build/python.
pip() # PACKAGE...
{
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
        --only-binary=:all: --target "$top/build/python" "$@" >>"$log" 2>&1 </dev/null
}

advice() # THING
{
    case $1 in
    mujoco)
        echo "MuJoCo is missing. Install libmujoco-dev (Debian 12 or newer), or run" \
            "tools/train.sh --mujoco 3,"
        echo "which fetches it with pip (tools/get-mujoco.sh), or unpack a release of" \
            "github.com/google-deepmind/mujoco"
        echo "into DIR and set CPATH=DIR/include LIBRARY_PATH=DIR/lib LD_LIBRARY_PATH=DIR/lib." ;;
    cc) echo "A C compiler is missing. Install gcc and the headers of libc, or set CC." ;;
    c++) echo "A C++ compiler is missing. Install g++, or set CXX." ;;
    clang) echo "clang is missing. Install clang." ;;
    draw) echo "Neither EGL nor OSMesa works. Install libegl-dev and libgl1-mesa-dri." ;;
    ffmpeg) echo "ffmpeg is missing. Install ffmpeg." ;;
    glfw) echo "GLFW is missing. Install libglfw3-dev." ;;
    xvfb) echo "Xvfb or xdotool is missing. Install xvfb and xdotool." ;;
    python) echo "Python with NumPy is missing. Install python3-numpy, or set PYTHON." ;;
    rsvg) echo "rsvg-convert is missing. Install librsvg2-bin." ;;
    protoc) echo "protoc is missing. Install protobuf-compiler and python3-protobuf." ;;
    torch) echo "PyTorch is missing. Install python3-torch and libopenblas0, or set PYTHON to a Python that has it." ;;
    gymnasium | safetensors) echo "The Python package $1 is missing. Install it with pip." ;;
    mandoc) echo "mandoc is missing. Install mandoc." ;;
    arm) echo "arm-none-eabi-gcc or qemu-system-arm is missing. Install them." ;;
    onnx) echo "The Python packages onnx and onnxruntime are missing. Install them with pip." ;;
    esac
}

case ${1-} in
-h | --help) usage; exit 0 ;;
--have) works "${2:?THING is missing}"; exit ;;
-*) echo "tools/install.sh: unknown flag $1" >&2; usage >&2; exit 2 ;;
esac
[ $# -gt 0 ] || set -- cc mujoco

missing=
for thing in "$@"; do
    works "$thing" || missing="$missing $thing"
done
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
list=
for thing in $missing; do
    list="$list $(packages "$thing")"
done
mkdir -p "${log%/*}"
: >"$log"
# shellcheck disable=SC2086 # a list of words
set -- $list
if [ $# = 0 ]; then
    : # all by pip
elif ! command -v "${APT_GET:-apt-get}" >/dev/null 2>&1; then
    echo "tools/install.sh: no apt-get here, so nothing was installed" >&2
elif [ -n "$sudo" ] && ! command -v sudo >/dev/null 2>&1; then
    echo "tools/install.sh: neither root nor sudo here, so nothing was installed" >&2
else
    echo "installing $* with apt-get (log: build/install.log)"
    # ask for the password while the terminal is still ours
    if [ -n "$sudo" ]; then sudo -v || sudo="sudo -n"; fi
    apt update || echo "tools/install.sh: apt-get update failed, trying to install all the same" >&2
    if ! apt install --no-install-recommends "$@"; then
        for package; do # one that cannot be had must not keep the others out
            apt install --no-install-recommends "$package" || :
        done
    fi
fi
for thing in $missing; do
    case $thing in
    gymnasium) pip gymnasium cloudpickle typing-extensions farama-notifications || : ;;
    safetensors) pip safetensors || : ;;
    onnx) # with the NumPy that it wants, so in a folder of its own
        pip --target "$top/build/onnx" onnx onnxruntime numpy protobuf ml_dtypes typing_extensions \
            flatbuffers packaging || : ;;
    esac
done

status=0
for thing in $missing; do
    works "$thing" && continue
    status=1
    [ "$thing" = mujoco ] && ! works cc && continue # nothing can be said without a compiler
    advice "$thing" >&2
done
exit $status
