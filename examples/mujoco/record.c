/* Films a saved policy: MP4 through ffmpeg, or GIF.   (2 stars of 4)

     cc -O2 examples/mujoco/record.c -I. -Iexamples -o build/record -lmujoco -lm -lpthread -ldl

   (in the top folder; or tools/record.sh, which installs what is missing. Linux.)

     build/record --policy runs/NAME/best.safetensors --out film.gif
     build/record --policy runs/NAME/best.safetensors --out film.mp4 --episodes 4
     build/record --task Ant-v5 --out random.gif --steps 100     random actions

   Teaches   drawing without a screen: EGL, or where that is missing OSMesa, both opened at run
             time; how a program writes to ffmpeg without a shell
   Expects   the episodes that eval plays with the same --seed, side by side, in the task's own
             speed
   Exit      0 ok, 1 failed, 2 usage, 3 bad file or ffmpeg missing, 4 stopped by nan */
#define _GNU_SOURCE
#define DIFFRL_IMPLEMENTATION
#include "play.h"
#include "gif.h"
#include <dlfcn.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

/* ------------------------------------------------------------------------------ drawing context */

/* Of the libraries' headers, which so need not be there, only what is used. */
typedef struct record_gl {
    void *library, *buffer, *display, *context;
    const char *name;
} record_gl;

#define RECORD_SYMBOL(fn, name) (*(void **)(&(fn)) = dlsym(gl->library, name)) != NULL

static int record_egl(record_gl *gl)
{
    enum { PBUFFER_BIT = 1, OPENGL_BIT = 8, OPENGL_API = 0x30A2, SURFACELESS = 0x31DD };
    static const int want[] = {0x3033, PBUFFER_BIT, 0x3040, OPENGL_BIT, 0x3024, 8, 0x3023, 8,
                               0x3022, 8,           0x3025, 24,         0x3038};
    static const int size[] = {0x3057, 16, 0x3056, 16, 0x3038};
    void *(*get_display)(void *), *(*get_platform)(unsigned, void *, const intptr_t *);
    unsigned (*initialize)(void *, int *, int *), (*bind)(unsigned);
    unsigned (*choose)(void *, const int *, void **, int, int *);
    unsigned (*current)(void *, void *, void *, void *);
    void *(*surface)(void *, void *, const int *), *(*create)(void *, void *, void *, const int *);
    void *config = NULL, *draw;
    int count = 0;
    gl->library = dlopen("libEGL.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!gl->library || !(RECORD_SYMBOL(get_display, "eglGetDisplay")) ||
        !(RECORD_SYMBOL(initialize, "eglInitialize")) || !(RECORD_SYMBOL(bind, "eglBindAPI")) ||
        !(RECORD_SYMBOL(choose, "eglChooseConfig")) ||
        !(RECORD_SYMBOL(surface, "eglCreatePbufferSurface")) ||
        !(RECORD_SYMBOL(create, "eglCreateContext")) ||
        !(RECORD_SYMBOL(current, "eglMakeCurrent")))
        return -1;
    gl->display = get_display(NULL);
    if (!gl->display || !initialize(gl->display, NULL, NULL)) { /* no screen: Mesa can do without */
        if (!(RECORD_SYMBOL(get_platform, "eglGetPlatformDisplay"))) return -1;
        gl->display = get_platform(SURFACELESS, NULL, NULL);
        if (!gl->display || !initialize(gl->display, NULL, NULL)) return -1;
    }
    if (!bind(OPENGL_API) || !choose(gl->display, want, &config, 1, &count) || count < 1) return -1;
    draw = surface(gl->display, config, size);
    gl->context = create(gl->display, config, NULL, NULL);
    gl->name = "EGL";
    return gl->context && current(gl->display, draw, draw, gl->context) ? 0 : -1;
}

static int record_osmesa(record_gl *gl)
{
    static const char *const names[] = {"libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"};
    enum { RGBA = 0x1908, UNSIGNED_BYTE = 0x1401 };
    void *(*create)(unsigned, int, int, int, void *);
    unsigned char (*current)(void *, void *, unsigned, int, int);
    int i;
    for (i = 0, gl->library = NULL; i < 3 && !gl->library; i++)
        gl->library = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
    if (!gl->library || !(RECORD_SYMBOL(create, "OSMesaCreateContextExt")) ||
        !(RECORD_SYMBOL(current, "OSMesaMakeCurrent")))
        return -1;
    gl->buffer = calloc(16 * 16, 4);
    gl->context = create(RGBA, 24, 8, 8, NULL);
    gl->name = "OSMesa";
    if (!gl->context || !gl->buffer) return -1;
    return current(gl->context, gl->buffer, UNSIGNED_BYTE, 16, 16) ? 0 : -1;
}

/* Returns 0, or -1 after telling. $RECORD_GL: egl or osmesa, to have only that. */
static int record_gl_open(record_gl *gl)
{
    const char *only = getenv("RECORD_GL");
    memset(gl, 0, sizeof *gl);
    if ((!only || strcmp(only, "osmesa") != 0) && record_egl(gl) == 0) return 0;
    if ((!only || strcmp(only, "egl") != 0) && record_osmesa(gl) == 0) return 0;
    fprintf(stderr, "record: cannot draw: neither EGL (Debian: libegl-dev, libgl1-mesa-dri) nor "
                    "OSMesa (libosmesa6-dev) works here; tools/install.sh draw installs them\n");
    return -1;
}

/* --------------------------------------------------------------------------------------- output */

typedef struct record_out {
    const char *path;
    int width, height;
    gif_writer gif;
    FILE *pipe; /* to ffmpeg, NULL: GIF */
    pid_t ffmpeg;
} record_out;

static int record_ffmpeg(record_out *out, double fps)
{
    char size[32], rate[32], path[1100];
    char *argv[] = {"ffmpeg", "-y",   "-loglevel", "error", "-f",    "rawvideo", "-pix_fmt",
                    "rgb24",  "-s",   size,        "-r",    rate,    "-i",       "-",
                    "-an",    "-pix_fmt", "yuv420p", "-movflags", "+faststart", path, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], rc;
    snprintf(size, sizeof size, "%dx%d", out->width, out->height);
    snprintf(rate, sizeof rate, "%.6g", fps);
    snprintf(path, sizeof path, "file:%s", out->path); /* a name is never a protocol or a flag */
    if (pipe(ends)) return fprintf(stderr, "record: %s\n", strerror(errno)), -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    rc = posix_spawnp(&out->ffmpeg, "ffmpeg", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    out->pipe = rc ? NULL : fdopen(ends[1], "wb");
    if (out->pipe) return 0;
    close(ends[1]);
    fprintf(stderr, "record: cannot start ffmpeg: %s; install it (tools/install.sh ffmpeg), or "
                    "give --out a name that ends with .gif\n", strerror(rc ? rc : errno));
    return -1;
}

static int record_out_frame(record_out *out, const unsigned char *rgb)
{
    size_t n = (size_t)out->width * (size_t)out->height * 3;
    if (!out->pipe) return gif_frame(&out->gif, rgb), 0;
    return fwrite(rgb, 1, n, out->pipe) == n ? 0 : -1;
}

/* Returns 0, or -1 after telling. */
static int record_out_close(record_out *out)
{
    int status = 0, bad;
    if (!out->pipe) bad = gif_close(&out->gif);
    else {
        bad = fclose(out->pipe);
        while (waitpid(out->ffmpeg, &status, 0) < 0 && errno == EINTR) {}
        bad |= status;
    }
    if (bad) fprintf(stderr, "record: cannot write %s\n", out->path);
    return bad ? -1 : 0;
}

/* ------------------------------------------------------------------------------------ the film */

typedef struct record_options {
    const char *policy, *out, *camera;
    run_task task; /* no name: the file's */
    uint64_t seed;
    int episodes, steps, fps, width, height, quiet;
} record_options;

static const drl_field record_numbers[] = {
    DRL_FIELD(record_options, episodes, INT, 1, 1, 64, "episodes, side by side"),
    DRL_FIELD(record_options, steps, INT, 1000000, 1, 1e6, "most steps of an episode"),
    DRL_FIELD(record_options, fps, INT, 30, 1, 50, "frames per second, at most"),
    DRL_FIELD(record_options, seed, UINT64, RUN_EVAL_SEED, 0, 0, "of the first episode"),
};

typedef struct record {
    record_options opt;
    play play;
    record_gl gl;
    mjModel *m; /* own copy, since the size of the picture is in it */
    mjvScene scene;
    mjrContext context;
    mjvCamera camera;
    mjvOption look;
    int stride, frames, columns, rows; /* steps per frame; tiles */
    size_t state_size;
    unsigned char *states; /* [episodes][frames + 1] saved states, the last ones repeated */
    unsigned char *tile, *rgb;
    record_out out;
} record;

enum {
    FLAG_POLICY, FLAG_OUT, FLAG_TASK, FLAG_TASK_SET, FLAG_PHYSICS, FLAG_REWARD, FLAG_DMC,
    FLAG_EPISODES, FLAG_SEED, FLAG_STEPS, FLAG_SIZE, FLAG_FPS, FLAG_CAMERA, FLAG_QUIET, FLAG_HELP,
    FLAG_VERSION
};

static const run_flag record_flags[] = {
    {"policy", "FILE", "policy.safetensors or best.safetensors of a run (random actions)"},
    {"out", "FILE", "film.gif, or .mp4 and whatever else ffmpeg writes (film.gif)"},
    {"task", "NAME", "another task than the file's"},
    RUN_TASK_FLAGS,
    {"episodes", "N", "side by side (1)"},
    {"seed", "N", "of the first episode, one more for each (10000, as in eval)"},
    {"steps", "N", "at most, of each episode (all)"},
    {"size", "WxH", "of one episode, in pixels (320x240)"},
    {"fps", "N", "frames per second at most (30); the film runs at the task's own speed"},
    {"camera", "NAME", "of the model, or free (the first that follows)"},
    {"quiet", NULL, "only errors"},
    {"help", NULL, "this text"},
    {"version", NULL, "of the library"},
};

static void record_help(void)
{
    printf("usage: record --policy FILE [--out FILE] [FLAG...]\n\nFilms a policy that train has "
           "saved.\n\n");
    run_flags_help(record_flags, RUN_COUNT(record_flags));
    printf("\nexamples:\n  build/record runs/Hopper*/best.safetensors --out film.mp4\n"
           "  build/record runs/Hopper*/best.safetensors --out four.gif --episodes 4\n"
           "  build/record --task Ant-v5 --steps 100 --out random.gif\n"
           "\nexit status: 0 ok, 1 failed, 2 usage, 3 bad file or no ffmpeg, 4 stopped by nan\n");
}

static int record_size(record_options *o, const char *text)
{
    char rest;
    if (sscanf(text, "%dx%d%c", &o->width, &o->height, &rest) == 2 && o->width >= 16 &&
        o->height >= 16 && o->width <= 4096 && o->height <= 4096 && o->width % 2 == 0 &&
        o->height % 2 == 0)
        return RUN_OK;
    fprintf(stderr, "record: --size %s: expected WxH, two even numbers of 16 to 4096\n", text);
    return RUN_USAGE;
}

/* Read the command line. Returns -1 to go on, or the exit code. */
static int record_parse(record_options *o, int argc, char **argv)
{
    run_args args = {"record", NULL, 0, 1, 0};
    const char *value;
    int flag, rc = RUN_OK;
    args.argc = argc;
    args.argv = argv;
    drl_fields_default(record_numbers, RUN_COUNT(record_numbers), o);
    o->out = "film.gif";
    o->width = 320, o->height = 240;
    while (rc == RUN_OK) {
        flag = run_args_next(&args, record_flags, RUN_COUNT(record_flags), &value);
        if (flag == RUN_ARGS_END) break;
        if (flag == RUN_ARGS_BAD) return RUN_USAGE;
        if (flag == FLAG_HELP) return record_help(), RUN_OK;
        if (flag == FLAG_VERSION) return printf("diffrl %s\n", DIFFRL_VERSION_STRING), RUN_OK;
        rc = flag < 0 ? -1 : run_task_flag(&o->task, "record", record_flags[flag].name, value);
        if (rc >= 0) continue;
        rc = RUN_OK;
        if (flag == FLAG_POLICY || (flag == RUN_ARGS_WORD && !o->policy)) o->policy = value;
        else if (flag == RUN_ARGS_WORD)
            rc = (fprintf(stderr, "record: one policy at a time, got '%s'\n", value), RUN_USAGE);
        else if (flag == FLAG_OUT) o->out = value;
        else if (flag == FLAG_CAMERA) o->camera = value;
        else if (flag == FLAG_SIZE) rc = record_size(o, value);
        else if (flag == FLAG_QUIET) o->quiet = 1;
        else
            rc = run_option("record", record_numbers, RUN_COUNT(record_numbers), o,
                            record_flags[flag].name, value);
    }
    if (rc == RUN_OK && !o->policy && !o->task.name[0])
        rc = (fprintf(stderr, "record: neither --policy nor --task (--help shows all flags)\n"),
              RUN_USAGE);
    return rc ? rc : -1;
}

/* Play all episodes and keep the states that will be drawn. */
static int record_play(record *r)
{
    const drl_env *env = &r->play.policy.env;
    int limit = env->time_limit, room, k, i, rc;
    size_t per;
    if (limit <= 0 || limit > r->opt.steps) limit = r->opt.steps;
    room = limit / r->stride + 1;
    r->state_size = env->state_size_fn(env->user);
    per = (size_t)room * r->state_size;
    r->states = (unsigned char *)malloc((size_t)r->opt.episodes * per);
    if (!r->states) return fprintf(stderr, "record: out of memory\n"), RUN_FAILED;
    for (k = 0; k < r->opt.episodes; k++) {
        unsigned char *at = r->states + (size_t)k * per;
        uint64_t seed = r->opt.seed + (uint64_t)k;
        rc = play_reset(&r->play, "record", seed);
        for (i = 0; i < room && rc == RUN_OK; i++) {
            int n;
            if (!r->play.over && i >= r->frames) r->frames = i + 1;
            env->save_fn(env->user, at + (size_t)i * r->state_size, r->state_size);
            for (n = 0; n < r->stride && !r->play.over && rc == RUN_OK; n++) {
                rc = play_step(&r->play, "record", 0);
                r->play.over |= r->play.steps >= limit;
            }
        }
        if (rc) return rc;
        if (!r->opt.quiet)
            printf("episode %2d  seed %" PRIu64 "  return %10.2f  length %4d\n", k + 1, seed,
                   r->play.ret, r->play.steps);
    }
    run_task_warn(run_task_faults(env, &r->play.policy.task));
    r->frames = r->frames < room ? r->frames + 1 : room;
    /* leave no gap between episodes if none was as long as the time limit */
    for (k = 1; k < r->opt.episodes; k++)
        memmove(r->states + (size_t)k * (size_t)r->frames * r->state_size,
                r->states + (size_t)k * per, (size_t)r->frames * r->state_size);
    return RUN_OK;
}

static int record_open(record *r)
{
    int n = r->opt.episodes;
    if (play_camera(r->play.e->model->m, r->opt.camera, &r->camera)) {
        fprintf(stderr, "record: the model has no camera %s\n", r->opt.camera);
        return RUN_USAGE;
    }
    if (record_gl_open(&r->gl)) return RUN_FAILED;
    for (r->columns = 1; r->columns * r->columns < n;) r->columns++;
    r->rows = (n + r->columns - 1) / r->columns;
    r->m = mj_copyModel(NULL, r->play.e->model->m);
    r->tile = (unsigned char *)malloc((size_t)r->opt.width * (size_t)r->opt.height * 3);
    r->out.width = r->opt.width * r->columns;
    r->out.height = r->opt.height * r->rows;
    r->out.path = r->opt.out;
    r->rgb = (unsigned char *)calloc((size_t)r->out.width * (size_t)r->out.height, 3);
    if (!r->m || !r->tile || !r->rgb)
        return fprintf(stderr, "record: out of memory\n"), RUN_FAILED;
    r->m->vis.global.offwidth = r->opt.width;
    r->m->vis.global.offheight = r->opt.height;
    mjv_defaultOption(&r->look);
    mjv_defaultScene(&r->scene);
    mjr_defaultContext(&r->context);
    mjv_makeScene(r->m, &r->scene, 2000);
    mjr_makeContext(r->m, &r->context, mjFONTSCALE_100);
    mjr_setBuffer(mjFB_OFFSCREEN, &r->context);
    if (r->context.currentBuffer == mjFB_OFFSCREEN) return RUN_OK;
    fprintf(stderr, "record: %s has no offscreen buffer\n", r->gl.name);
    return RUN_FAILED;
}

/* Draw frame i of all episodes to r->rgb. */
static void record_draw(record *r, int i)
{
    const drl_env *env = &r->play.policy.env;
    mjrRect view = {0, 0, 0, 0};
    size_t line = (size_t)r->opt.width * 3, width = (size_t)r->out.width * 3;
    int k, y;
    view.width = r->opt.width;
    view.height = r->opt.height;
    for (k = 0; k < r->opt.episodes; k++) {
        size_t at = (size_t)k * (size_t)r->frames + (size_t)i;
        unsigned char *to = r->rgb + (size_t)(k / r->columns * r->opt.height) * width +
                            (size_t)(k % r->columns) * line;
        env->load_fn(env->user, r->states + at * r->state_size, r->state_size);
        play_pose(&r->play);
        mjv_updateScene(r->m, r->play.e->data, &r->look, NULL, &r->camera, mjCAT_ALL, &r->scene);
        mjr_render(view, &r->scene, &r->context);
        mjr_readPixels(r->tile, NULL, view, &r->context);
        for (y = 0; y < r->opt.height; y++) /* OpenGL's rows go upwards */
            memcpy(to + (size_t)y * width, r->tile + (size_t)(r->opt.height - 1 - y) * line, line);
    }
}

/* Open the output; a GIF needs its colors first, from a few frames. */
static int record_output(record *r)
{
    const char *end = strrchr(r->opt.out, '.');
    int pixels = r->out.width * r->out.height, i, k, n = 0, delay;
    unsigned char *sample;
    if (!end || strcmp(end, ".gif") != 0)
        return record_ffmpeg(&r->out, 1 / (play_dt(&r->play) * r->stride)) ? RUN_FILE : RUN_OK;
    delay = (int)(100 * play_dt(&r->play) * r->stride + .5);
    sample = (unsigned char *)malloc((size_t)pixels * 3);
    if (!sample) return RUN_FAILED;
    for (k = 0; k < 8; k++) {
        record_draw(r, k * (r->frames - 1) / 7);
        for (i = k; i < pixels && n < pixels; i += 8) memcpy(sample + 3 * n++, r->rgb + 3 * i, 3);
    }
    gif_palette(&r->out.gif, sample, n);
    free(sample);
    if (!gif_open(&r->out.gif, r->opt.out, r->out.width, r->out.height, delay)) return RUN_OK;
    fprintf(stderr, "record: cannot write %s: %s\n", r->opt.out, strerror(errno));
    return RUN_FILE;
}

static int record_film(record *r)
{
    double dt = play_dt(&r->play);
    int rc, i, bad = 0;
    r->stride = (int)(1 / (dt * r->opt.fps) + .999);
    if (r->stride < 1) r->stride = 1;
    rc = record_play(r);
    if (rc == RUN_OK) rc = record_open(r);
    if (rc == RUN_OK) rc = record_output(r);
    if (rc) return rc;
    for (i = 0; i < r->frames && !bad; i++) {
        record_draw(r, i);
        bad = record_out_frame(&r->out, r->rgb);
    }
    if (record_out_close(&r->out)) return RUN_FILE;
    if (!r->opt.quiet)
        printf("wrote %s: %d frames of %dx%d, %.1f per second, drawn by %s\n", r->opt.out,
               r->frames, r->out.width, r->out.height, 1 / (dt * r->stride), r->gl.name);
    return RUN_OK;
}

int main(int argc, char **argv)
{
    static record r;
    int rc = record_parse(&r.opt, argc, argv);
    if (rc >= 0) return rc;
    signal(SIGPIPE, SIG_IGN); /* ffmpeg's end is seen by what fwrite returns */
    rc = play_open(&r.play, "record", r.opt.policy, &r.opt.task);
    if (rc == RUN_OK) rc = record_film(&r);
    if (r.context.currentBuffer || r.scene.maxgeom) {
        mjr_freeContext(&r.context);
        mjv_freeScene(&r.scene);
    }
    if (r.m) mj_deleteModel(r.m);
    free(r.states);
    free(r.tile);
    free(r.rgb);
    play_close(&r.play);
    return rc;
}
