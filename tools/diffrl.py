"""diffrl in Python: load policies, act on numpy batches, train on Gymnasium environments.

One file over numpy and ctypes, for the tools folder or beside diffrl.h. The first import compiles the header with
the C compiler at hand (five seconds) into ~/.cache/diffrl; later ones take what lies there.

A policy that was trained anywhere, to the bit what the C program does:

    import diffrl
    policy = diffrl.load("policy.safetensors")
    actions = policy.act(observations)              # [rows, obs_dim] -> [rows, act_dim] in [-1, 1]

Training (tests/cli/python.sh runs this very program):

    import gymnasium
    import diffrl

    env = gymnasium.wrappers.RescaleAction(gymnasium.make("Pendulum-v1"), -1.0, 1.0)
    agent = diffrl.Agent("dime", env.observation_space.shape[0], env.action_space.shape[0],
                         preset="toy", seed=1)
    obs, _ = env.reset(seed=1)
    total, returns = 0.0, []
    for step in range(4000):
        action = agent.act(obs, explore=True)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        agent.observe(obs, action, reward, next_obs, terminated, truncated)
        agent.update()
        total, obs = total + reward, next_obs
        if terminated or truncated:
            returns.append(total)
            print(f"step {step + 1}  return {total:.0f}")
            total, (obs, _) = 0.0, env.reset()
    agent.save("pendulum.safetensors")

Actions are in [-1, 1], as everywhere in diffrl; RescaleAction maps them to the task's bounds.
act, observe, update are what drl_trainer_step does, in its order: the same seed and the same task
give the same weights as the C trainer. An agent is used by one thread at a time.

    DIFFRL_HEADER   the header, if it is neither beside this file nor one folder above
    CC              the compiler; else cc, gcc, clang
    XDG_CACHE_HOME  instead of ~/.cache
"""

import ctypes
import glob
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile

import numpy as np

__all__ = ["Agent", "Error", "Policy", "Rng", "algorithms", "load"]


class Error(RuntimeError):
    """What the library reports: what, where, what was expected, what came."""


# ----------------------------------------------------------------------------------- the library

# Flat functions over the header: no struct of C is described in Python.
_SHIM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct handle {
    drl_context ctx;
    drl_agent *agent;
    drl_replay replay;
    drl_rng random;
    drl_state state; /* of py_tensors */
    drl_file file;   /* of py_load, until py_file_close */
} handle;

handle *py_new(int threads)
{
    handle *h = (handle *)calloc(1, sizeof *h);
    drl_context_config cfg = drl_context_config_default();
    cfg.threads = threads;
    if (h && drl_context_init(&h->ctx, &cfg)) h->ctx.cfg.threads = 0;
    return h;
}

int py_status(const handle *h) { return h->ctx.status; }
const char *py_error(const handle *h) { return drl_context_error(&h->ctx); }
const char *py_version(void) { return DIFFRL_VERSION_STRING; }
const char *py_algo(int i) { return drl_algo_at(i).name; }
const char *py_about(int i) { return drl_algo_at(i).about; }

void py_free(handle *h)
{
    drl_state_free(&h->state);
    drl_file_close(&h->file);
    drl_replay_free(&h->replay);
    if (h->agent) drl_agent_free(h->agent);
    free(h->agent);
    drl_context_free(&h->ctx);
    free(h);
}

static int py_agent(handle *h, const drl_algo *algo)
{
    h->agent = (drl_agent *)calloc(1, algo->size);
    return h->agent != NULL;
}

/* The setting envs, if there is one, is at least envs: dppo keeps a plan for each. */
static int py_room(drl_context *ctx, const drl_algo *algo, void *config, int envs)
{
    const drl_field *f = algo->fields;
    char text[DRL_FIELD_TEXT];
    int i;
    for (i = 0; i < algo->field_count && strcmp(f[i].name, "envs"); i++) {}
    if (i == algo->field_count) return DRL_OK;
    drl_fields_get(ctx, f, algo->field_count, config, "envs", text);
    if (atoi(text) >= envs) return DRL_OK;
    snprintf(text, sizeof text, "%d", envs);
    return drl_fields_set(ctx, f, algo->field_count, config, "envs", text);
}

int py_make(handle *h, const char *name, const char *preset, int obs_dim, int act_dim, int envs,
            int n, const char *const *keys, const char *const *values)
{
    drl_algo algo = drl_algo_find(name);
    void *config = calloc(1, algo.config_size);
    int i, s;
    if (!config || !py_agent(h, &algo)) s = DRL_ERR_MEMORY;
    else {
        drl_algo_default(algo, config, obs_dim, act_dim);
        s = drl_algo_preset(&h->ctx, algo, config, preset);
        for (i = 0; i < n && !s; i++)
            s = drl_fields_set(&h->ctx, algo.fields, algo.field_count, config, keys[i], values[i]);
        if (!s) s = py_room(&h->ctx, &algo, config, envs);
        if (!s) s = drl_agent_init(h->agent, &h->ctx, algo, config);
    }
    free(config);
    return s;
}

/* The name of the file's algorithm, NULL if there is none. */
const char *py_open(handle *h, const char *path)
{
    if (drl_file_open(&h->file, &h->ctx, path)) return NULL;
    return drl_meta_get(&h->file.meta, "algo");
}

int py_load(handle *h, const char *name, const char *path)
{
    drl_algo algo = drl_algo_find(name);
    return py_agent(h, &algo) ? drl_agent_load(h->agent, &h->ctx, algo, path) : DRL_ERR_MEMORY;
}

int py_meta(const handle *h, int i, const char **key, const char **value)
{
    if (i >= h->file.meta.count) return 0;
    *key = h->file.meta.pairs[i].key;
    *value = h->file.meta.pairs[i].value;
    return 1;
}

void py_file_close(handle *h) { drl_file_close(&h->file); }
int py_obs_dim(const handle *h) { return h->agent->obs_dim; }
int py_act_dim(const handle *h) { return h->agent->act_dim; }
int py_time_limit_terminal(const handle *h) { return h->agent->time_limit_terminal; }
int64_t py_random_steps(const handle *h) { return h->agent->random_steps; }
int64_t py_update_every(const handle *h) { return h->agent->update_every; }
int64_t py_updates(const handle *h) { return h->agent->updates; }
double py_gamma(const handle *h) { return (double)h->agent->gamma; }

/* Name, text and value of setting i; 0 past the last. */
int py_setting(handle *h, int i, const char **name, char *value)
{
    const drl_algo *algo = &h->agent->algo;
    if (i >= algo->field_count) return 0;
    *name = algo->fields[i].name;
    return !drl_fields_get(&h->ctx, algo->fields, algo->field_count, drl_agent_config(h->agent),
                           *name, value);
}

void py_begin(handle *h, int env, uint64_t seed) { drl_agent_begin(h->agent, env, seed); }

int py_act(handle *h, int explore, int rows, const float *obs, float *act)
{
    return drl_agent_act(h->agent, explore ? DRL_MODE_EXPLORE : DRL_MODE_EVAL, rows, obs, act);
}

/* What a trainer of this seed keeps beside the agent. */
int py_train(handle *h, int64_t capacity, int envs, int n_step, uint64_t seed)
{
    drl_replay_config cfg = drl_replay_config_default(h->agent->obs_dim, h->agent->act_dim);
    int e;
    cfg.capacity = capacity;
    cfg.envs = envs;
    cfg.n_step = n_step;
    cfg.gamma = h->agent->gamma;
    h->random = drl_rng_make(seed, "random actions");
    for (e = 0; e < envs; e++) drl_agent_begin(h->agent, e, 0);
    return h->agent->algo.observe_fn ? DRL_OK : drl_replay_init(&h->replay, &h->ctx, &cfg);
}

void py_random(handle *h, int n, float *act)
{
    int i;
    for (i = 0; i < n; i++) act[i] = 2.0f * drl_rng_uniform(&h->random) - 1.0f;
}

int py_observe(handle *h, int env, const float *obs, const float *act, float reward,
               const float *next_obs, int flags)
{
    drl_agent *a = h->agent;
    int s = DRL_OK;
    if (a->algo.observe_fn) s = a->algo.observe_fn(a, env, obs, act, reward, next_obs, flags);
    else drl_replay_push(&h->replay, obs, act, reward, next_obs, flags);
    if (flags && !s) drl_agent_begin(a, env, 0);
    return s;
}

int py_update(handle *h) { return drl_agent_update(h->agent, &h->replay); }

int py_metric(const handle *h, int i, const char **name, double *value)
{
    if (i >= h->agent->metric_count) return 0;
    *name = h->agent->metrics[i].name;
    *value = h->agent->metrics[i].value;
    return 1;
}

int py_pretrain(handle *h, int64_t rows, const float *obs, const float *act, const uint8_t *ends)
{
    return drl_dppo_pretrain((drl_dppo *)h->agent, rows, obs, act, ends);
}

int py_tensors(handle *h, int all)
{
    drl_state_free(&h->state);
    drl_state_init(&h->state, &h->ctx);
    drl_agent_state(h->agent, &h->state, all);
    return h->state.status ? -1 : h->state.count;
}

int py_tensor(const handle *h, int i, const char **name, int64_t *shape, void **data)
{
    const drl_entry *e = &h->state.entries[i];
    int k;
    *name = e->name;
    for (k = 0; k < e->rank; k++) shape[k] = e->shape[k];
    *data = e->data;
    return 16 * (int)e->dtype + e->rank;
}

/* Everything of training but the task; counts [2] go with it. */
static void py_everything(handle *h, drl_state *state, int64_t *counts)
{
    static const int64_t two = 2, rng = sizeof(drl_rng) / 8;
    drl_agent_state(h->agent, state, 1);
    drl_state_add(state, "python.random", DRL_U64, 1, &rng, &h->random);
    drl_state_add(state, "python.counts", DRL_I64, 1, &two, counts);
    if (!h->agent->algo.observe_fn) drl_replay_state(&h->replay, state, "replay.");
}

/* counts NULL: a policy; else a checkpoint. */
int py_save(handle *h, const char *path, int n, const char *const *keys,
            const char *const *values, int64_t *counts)
{
    drl_meta meta;
    drl_state state;
    int i, s;
    drl_meta_init(&meta, &h->ctx);
    for (i = 0; i < n; i++) drl_meta_set(&meta, keys[i], values[i]);
    if (meta.status || !counts) {
        s = meta.status ? (int)meta.status : (int)drl_agent_save(h->agent, path, &meta);
    } else {
        drl_state_init(&state, &h->ctx);
        py_everything(h, &state, counts);
        s = drl_state_save(&h->ctx, path, &state, &meta);
        drl_state_free(&state);
    }
    drl_meta_free(&meta);
    return s;
}

/* From the file of py_open. */
int py_resume(handle *h, int64_t *counts)
{
    drl_state state;
    int s;
    drl_state_init(&state, &h->ctx);
    state.file = &h->file;
    py_everything(h, &state, counts);
    s = drl_file_load(&h->file, &state, 0);
    drl_state_free(&state);
    return s;
}

void py_rng_make(drl_rng *r, uint64_t seed, const char *name) { *r = drl_rng_make(seed, name); }
void py_rng_split(drl_rng *r, const drl_rng *of, uint64_t i) { *r = drl_rng_split(of, i); }
uint32_t py_rng_bits(drl_rng *r) { return drl_rng_bits(r); }
float py_rng_uniform(drl_rng *r) { return drl_rng_uniform(r); }
float py_rng_normal(drl_rng *r) { return drl_rng_normal(r); }
int py_rng_size(void) { return (int)sizeof(drl_rng); }
"""

_FLAGS = ["-O2", "-shared", "-fPIC", "-Werror=implicit-function-declaration"]
_INT64, _UINT64, _PTR = ctypes.c_int64, ctypes.c_uint64, ctypes.c_void_p
_RESULTS = {  # of functions that do not return int
    "py_new": _PTR, "py_error": ctypes.c_char_p, "py_version": ctypes.c_char_p,
    "py_algo": ctypes.c_char_p, "py_about": ctypes.c_char_p, "py_open": ctypes.c_char_p,
    "py_random_steps": _INT64, "py_update_every": _INT64, "py_updates": _INT64,
    "py_gamma": ctypes.c_double, "py_rng_bits": ctypes.c_uint32, "py_rng_uniform": ctypes.c_float,
    "py_rng_normal": ctypes.c_float, "py_free": None, "py_file_close": None, "py_begin": None,
    "py_random": None, "py_rng_make": None, "py_rng_split": None,
}


def _find_headers():
    """The file to include, first, and those that it includes: with the baselines if they are there.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    places = [os.environ.get("DIFFRL_HEADER"), os.path.join(here, "diffrl.h"),
              os.path.join(os.path.dirname(here), "diffrl.h")]
    for place in places:
        if place and os.path.isfile(place):
            place = os.path.abspath(place)
            more = os.path.join(os.path.dirname(place), "examples", "baselines", "*.h")
            return sorted(glob.glob(more)) + [place]
    raise Error("diffrl: no diffrl.h beside diffrl.py or one folder above; set DIFFRL_HEADER")


def _find_compiler():
    named = shlex.split(os.environ.get("CC", ""))
    for words in [named] if named else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(words[0]):
            return words
    raise Error("diffrl: no C compiler (%s); install one (Debian: apt-get install gcc libc6-dev), "
                "or set CC" % (named[0] if named else "cc, gcc, clang"))


def _build(compiler, header, folder, name):
    """Compile to folder/name, which is there wholly or not at all."""
    with tempfile.TemporaryDirectory(prefix="build.", dir=folder) as work:
        source, made = os.path.join(work, "shim.c"), os.path.join(work, name)
        with open(source, "w", encoding="ascii") as f:
            f.write("#define DIFFRL_STATIC\n#define DIFFRL_IMPLEMENTATION\n"
                    '#include "%s"\n' % header + _SHIM)
        done = subprocess.run(compiler + _FLAGS + [source, "-o", made, "-lm", "-lpthread"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0 or not os.path.exists(made):
            raise Error("diffrl: %s failed:\n%s" % (" ".join(compiler),
                                                    done.stdout.decode(errors="replace")))
        os.replace(made, os.path.join(folder, name))
    return os.path.join(folder, name)


def _open_library():
    headers = _find_headers()
    words = [_SHIM, os.environ.get("CC", ""), platform.machine(), sys.platform, *_FLAGS]
    key = hashlib.sha256("\0".join(words).encode())
    for header in headers:
        with open(header, "rb") as f:
            key.update(f.read())
    name = "python-%s.so" % key.hexdigest()[:24]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(cache, "diffrl")
    path = os.path.join(folder, name)
    if os.path.exists(path):
        return ctypes.CDLL(path)
    compiler = _find_compiler()
    try:
        os.makedirs(folder, exist_ok=True)
        return ctypes.CDLL(_build(compiler, headers[0], folder, name))
    except OSError:  # nowhere to keep it: for this process alone
        with tempfile.TemporaryDirectory() as work:
            return ctypes.CDLL(_build(compiler, headers[0], work, name))


_lib = _open_library()
for _name, _type in _RESULTS.items():
    getattr(_lib, _name).restype = _type

__version__ = _lib.py_version().decode()


def algorithms():
    """Return {name: what it is} of all algorithms."""
    names, i = {}, 0
    while _lib.py_algo(i):
        names[_lib.py_algo(i).decode()] = _lib.py_about(i).decode()
        i += 1
    return names


# ------------------------------------------------------------------------------------- numbers

_DTYPES = ["<u8", "<i8", "<f8", "<f4", "<i4", None, "<f2", "u1", "?"]  # in the order of drl_dtype


def _address(array):
    return ctypes.c_void_p(array.ctypes.data)


def _rows(x, width, what):
    """x as float32 [rows, width], and whether it was a single row."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    if x.ndim in (1, 2) and x.shape[-1] == width and x.size:
        return x.reshape(-1, width), x.ndim == 1
    raise ValueError("%s: expected shape (%d,) or (rows, %d), got %s"
                     % (what, width, width, x.shape))


def _text(value):
    """A setting as text."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _strings(pairs):
    """Arrays of C strings: keys, values."""
    kind = ctypes.c_char_p * len(pairs)
    return kind(*[k.encode() for k in pairs]), kind(*[_text(v).encode() for v in pairs.values()])


class Rng:
    """A stream of the library's random numbers: the same numbers for the same seed and name."""

    def __init__(self, seed, name):
        self._rng = ctypes.create_string_buffer(_lib.py_rng_size())
        _lib.py_rng_make(self._rng, _UINT64(seed), name.encode())

    def split(self, index):
        """Return sub-stream `index`."""
        other = Rng(0, "")
        _lib.py_rng_split(other._rng, self._rng, _UINT64(index))
        return other

    def bits(self):
        """Return 32 random bits."""
        return _lib.py_rng_bits(self._rng)

    def uniform(self):
        """Return a number in [0, 1)."""
        return _lib.py_rng_uniform(self._rng)

    def normals(self, *shape):
        """Return standard normal numbers as a float32 array."""
        n = int(np.prod(shape))
        return np.array([_lib.py_rng_normal(self._rng) for _ in range(n)],
                        np.float32).reshape(shape)


# ------------------------------------------------------------------------------------- policies


class Policy:
    """A policy that acts. Made by load; an Agent is one, too.

    algo, obs_dim, act_dim   what it is
    meta                     what its file says beside the settings: {"task": "Hopper-v5", ...}
    """

    def __init__(self, threads=1):
        self.meta = {}
        self._h = ctypes.c_void_p(_lib.py_new(ctypes.c_int(threads)))
        if not self._h:
            raise MemoryError("diffrl")
        if _lib.py_status(self._h):
            self._check(_lib.py_status(self._h))

    def __del__(self):
        if getattr(self, "_h", None):
            _lib.py_free(self._h)
            self._h = None

    def _check(self, status):
        if status:
            raise Error(_lib.py_error(self._h).decode(errors="replace") or "status %d" % status)

    def _adopt(self, algo):
        self.algo = algo
        self.obs_dim, self.act_dim = _lib.py_obs_dim(self._h), _lib.py_act_dim(self._h)

    def __repr__(self):
        return "<diffrl %s %s, obs %d, act %d>" % (self.algo, type(self).__name__.lower(),
                                                   self.obs_dim, self.act_dim)

    def _settings(self):
        """{name: text}"""
        out, name, i = {}, ctypes.c_char_p(), 0
        text = ctypes.create_string_buffer(64)
        while _lib.py_setting(self._h, i, ctypes.byref(name), text):
            out[name.value.decode()] = text.value.decode()
            i += 1
        return out

    @property
    def config(self):
        """The algorithm's settings, {name: number or word}."""
        out = {}
        for name, text in self._settings().items():
            for kind in (int, float, str):
                try:
                    out[name] = kind(text)
                    break
                except ValueError:
                    pass
        return out

    def _open(self, path):
        """Open a file: its algorithm and {key: value} of its metadata."""
        algo = _lib.py_open(self._h, os.fsencode(path))
        if algo is None:
            self._check(_lib.py_status(self._h))
        key, value, meta = ctypes.c_char_p(), ctypes.c_char_p(), {}
        while _lib.py_meta(self._h, len(meta), ctypes.byref(key), ctypes.byref(value)):
            meta[key.value.decode()] = value.value.decode()
        return algo.decode() if algo else "none", meta

    def begin(self, seed=0):
        """Start an episode of evaluation: all noise comes from the seed. Call it at every reset.

        DPPO's plans of several actions are made anew; row r of act's batch is environment r.
        """
        _lib.py_begin(self._h, -1, _UINT64(seed))

    def act(self, obs, explore=False):
        """Return actions in [-1, 1] for obs (obs_dim,) or (rows, obs_dim), float32.

        Deterministic where the method is (with explore False), else sampled.
        """
        obs, single = _rows(obs, self.obs_dim, "obs")
        act = np.empty((len(obs), self.act_dim), np.float32)
        self._check(_lib.py_act(self._h, int(explore), len(obs), _address(obs), _address(act)))
        return act[0] if single else act

    def _views(self, every=False):
        count = _lib.py_tensors(self._h, int(every))
        self._check(-count if count < 0 else 0)
        name, data, shape = ctypes.c_char_p(), _PTR(), (_INT64 * 4)()
        out = {}
        for i in range(count):
            kind = _lib.py_tensor(self._h, i, ctypes.byref(name), shape, ctypes.byref(data))
            dtype, dims = np.dtype(_DTYPES[kind // 16]), tuple(shape[:kind % 16])
            size = int(np.prod(dims)) * dtype.itemsize
            memory = (ctypes.c_char * size).from_address(data.value) if size else b""
            out[name.value.decode()] = np.frombuffer(memory, dtype).reshape(dims)
        return out

    def tensors(self, every=False):
        """Return {name: array} of what acting needs; every: of all that the agent holds.

        Weights are [in, out], biases [1, out].
        """
        return {name: view.copy() for name, view in self._views(every).items()}

    def set_tensors(self, tensors):
        """Copy arrays to the tensors of these names; all shapes must fit."""
        views = self._views(True)
        for name, value in tensors.items():
            if name not in views:
                raise KeyError("no tensor %s; there are %s" % (name, ", ".join(views)))
            if views[name].shape != np.shape(value):
                raise ValueError("%s: expected shape %s, got %s"
                                 % (name, views[name].shape, np.shape(value)))
        for name, value in tensors.items():
            np.copyto(views[name], value, casting="same_kind" if views[name].dtype.kind != "f"
                      else "unsafe")

    def save(self, path, **meta):
        """Write settings and what acting needs; meta (such as task="Hopper-v5") goes with it."""
        keys, values = _strings({**self.meta, **meta})
        self._check(_lib.py_save(self._h, os.fsencode(path), len(keys), keys, values, None))


def load(path, threads=1):
    """Load a policy file of train, Agent.save or import_torch."""
    policy = Policy(threads)
    algo, meta = policy._open(path)
    _lib.py_file_close(policy._h)
    if algo not in algorithms():
        raise Error("%s: expected a policy of %s, got %s" % (path, ", ".join(algorithms()), algo))
    policy._check(_lib.py_load(policy._h, algo.encode(), os.fsencode(path)))
    policy._adopt(algo)
    own = ("algo", "format", "version", "crc32c", "meta_crc32c")
    policy.meta = {k: v for k, v in meta.items() if k not in own and not k.startswith("config.")}
    return policy


class Agent(Policy):
    """An agent that learns.

    algo        one of algorithms()
    preset      "paper" (the values of the paper), "cpu", "toy", ...
    envs        environments that are stepped in turn
    replay      transitions kept (algorithms that learn from a replay); the memory is taken at the
                first observe
    n_step      rewards summed before bootstrapping
    threads     of the matrix products; the result is the same
    config      settings that differ from the preset: gamma=0.98, batch=128, seed=3, ...
    """

    def __init__(self, algo, obs_dim, act_dim, preset="paper", *, envs=1, replay=1000000,
                 n_step=1, threads=1, **config):
        if algo not in algorithms():
            raise Error("unknown algorithm %s; there are %s" % (algo, ", ".join(algorithms())))
        super().__init__(threads)
        self._envs, self._replay, self._n_step, self._ready = envs, replay, n_step, False
        self.steps = self._paid = 0
        keys, values = _strings(config)
        self._check(_lib.py_make(self._h, algo.encode(), preset.encode(), int(obs_dim),
                                 int(act_dim), int(envs), len(keys), keys, values))
        self._adopt(algo)
        self.random_steps = _lib.py_random_steps(self._h)
        self._update_every = _lib.py_update_every(self._h)
        self._time_limit_terminal = bool(_lib.py_time_limit_terminal(self._h))

    @property
    def updates(self):
        """Gradient updates so far."""
        return _lib.py_updates(self._h)

    def _train(self):
        if not self._ready:
            self._check(_lib.py_train(self._h, _INT64(self._replay), self._envs, self._n_step,
                                      _UINT64(self.config["seed"])))
            self._ready = True

    def act(self, obs, explore=False):
        """As Policy.act; exploring begins with random_steps uniform actions."""
        if not explore:
            return super().act(obs)
        self._train()
        if self.steps >= self.random_steps:
            return super().act(obs, True)
        obs, single = _rows(obs, self.obs_dim, "obs")
        act = np.empty((len(obs), self.act_dim), np.float32)
        _lib.py_random(self._h, act.size, _address(act))
        return act[0] if single else act

    def observe(self, obs, act, reward, next_obs, terminated, truncated=False):
        """Take in a step of every environment: shapes (obs_dim,) and so on, or (envs, obs_dim).

        next_obs is what the step led to, not the start of the next episode. terminated: the value
        is 0 from here on; truncated: the episode was cut off, the value goes on.
        """
        self._train()
        obs, _ = _rows(obs, self.obs_dim, "obs")
        next_obs, _ = _rows(next_obs, self.obs_dim, "next_obs")
        act, _ = _rows(act, self.act_dim, "act")
        reward = np.array(reward, np.float32, ndmin=1)
        ends = np.broadcast_to(np.array(terminated, bool), reward.shape)
        cuts = np.broadcast_to(np.array(truncated, bool), reward.shape)
        if not len(obs) == len(next_obs) == len(act) == len(reward) == self._envs:
            raise ValueError("expected %d environments, got %d obs, %d act, %d rewards, %d next_obs"
                             % (self._envs, len(obs), len(act), len(reward), len(next_obs)))
        for what, x in (("obs", obs), ("act", act), ("reward", reward), ("next_obs", next_obs)):
            if not np.isfinite(x).all():
                raise ValueError("%s%s is not finite at step %d" % (
                    what, np.argwhere(~np.isfinite(x))[0].tolist(), self.steps))
        for e in range(self._envs):
            cut = cuts[e] and not ends[e]
            flags = (ends[e] or (cut and self._time_limit_terminal)) + 2 * cut
            self._check(_lib.py_observe(self._h, e, _address(obs[e]), _address(act[e]),
                                        ctypes.c_float(reward[e]), _address(next_obs[e]),
                                        int(flags)))
        self.steps += self._envs

    def update(self):
        """Learn what the steps since the last call pay for. Return the last update's figures."""
        done = False
        while self._paid < self.steps:
            self._paid += 1
            if self._paid > self.random_steps and self._paid % self._update_every == 0:
                self._check(_lib.py_update(self._h))
                done = True
        name, value, i, figures = ctypes.c_char_p(), ctypes.c_double(), 0, {}
        while done and _lib.py_metric(self._h, i, ctypes.byref(name), ctypes.byref(value)):
            figures[name.value.decode()] = value.value
            i += 1
        return figures

    def checkpoint(self, path):
        """Write everything but the task: weights, optimizer, replay, random numbers, counters."""
        self._train()
        meta = {"algo": self.algo}
        meta.update({"config." + name: text for name, text in self._settings().items()})
        keys, values = _strings(meta)
        counts = (_INT64 * 2)(self.steps, self._paid)
        self._check(_lib.py_save(self._h, os.fsencode(path), len(keys), keys, values, counts))

    def resume(self, path):
        """Go on from a checkpoint, to the same bits; this agent must have been made like that one.

        The task is the caller's: go on in the same state of it, or with a new episode.
        """
        self._train()
        algo, meta = self._open(path)
        try:
            for name, text in [("algo", self.algo)] + sorted(self._settings().items()):
                then = meta.get(name if name == "algo" else "config." + name)
                if then != text:
                    raise Error("%s: %s: expected %s, got %s" % (path, name, text, then))
            counts = (_INT64 * 2)()
            self._check(_lib.py_resume(self._h, counts))
        finally:
            _lib.py_file_close(self._h)
        self.steps, self._paid = counts

    def pretrain(self, obs, act, ends):
        """DPPO: clone data for one epoch; return the mean loss.

        obs (rows, obs_dim), act (rows, act_dim) in [-1, 1], ends (rows,) true in the last row of an
        episode.
        """
        if self.algo != "dppo":
            raise Error("pretrain: expected dppo, got %s" % self.algo)
        obs, _ = _rows(obs, self.obs_dim, "obs")
        act, _ = _rows(act, self.act_dim, "act")
        ends = np.ascontiguousarray(ends, np.bool_)
        if not len(obs) == len(act) == len(ends):
            raise ValueError("expected as many obs, act and ends, got %d, %d, %d"
                             % (len(obs), len(act), len(ends)))
        self._check(_lib.py_pretrain(self._h, _INT64(len(obs)), _address(obs), _address(act),
                                     _address(ends)))
        name, value, i = ctypes.c_char_p(), ctypes.c_double(), 0
        while _lib.py_metric(self._h, i, ctypes.byref(name), ctypes.byref(value)):
            if name.value == b"bc_loss":
                return value.value
            i += 1
        return None
