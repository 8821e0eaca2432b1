/* Shows a saved policy in a window.   (2 stars of 4)

     cc -O2 examples/mujoco/view.c -I. -Iexamples -o build/view -lmujoco -lglfw -lm -lpthread

   (in the top folder; GLFW 3: tools/install.sh mujoco glfw)

     build/view --policy runs/NAME/best.safetensors
     build/view --task Humanoid-v5          random actions

   Keys      space pause   right one step   S slower, down to 1/16, then full speed   R next episode
             C camera   P policy on and off (off: the middle of all actions)   Q or Esc quit
   Mouse     drag turns, wheel zooms; both take the camera that goes round the model
   Teaches   a loop that keeps a simulation in step with the clock
   Exit      0 ok, 1 failed (no screen), 2 usage, 3 bad file, 4 stopped by nan */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "play.h"
#include <GLFW/glfw3.h>

typedef struct view_options {
    const char *policy, *camera;
    run_task task; /* no name: the file's */
    uint64_t seed;
    int frames, width, height;
} view_options;

static const drl_field view_numbers[] = {
    DRL_FIELD(view_options, frames, INT, 0, 0, 1e9, "frames to draw, 0: until it is closed"),
    DRL_FIELD(view_options, width, INT, 960, 160, 8192, "pixels"),
    DRL_FIELD(view_options, height, INT, 640, 120, 8192, "pixels"),
    DRL_FIELD(view_options, seed, UINT64, RUN_EVAL_SEED, 0, 0, "of the first episode"),
};

enum {
    FLAG_POLICY, FLAG_TASK, FLAG_TASK_SET, FLAG_PHYSICS, FLAG_REWARD, FLAG_DMC, FLAG_SEED,
    FLAG_CAMERA, FLAG_WIDTH, FLAG_HEIGHT, FLAG_FRAMES, FLAG_HELP, FLAG_VERSION
};

static const run_flag view_flags[] = {
    {"policy", "FILE", "policy.safetensors or best.safetensors of a run (random actions)"},
    {"task", "NAME", "another task than the file's"},
    RUN_TASK_FLAGS,
    {"seed", "N", "of the first episode, one more for each (10000, as in eval)"},
    {"camera", "NAME", "of the model, or free (the first that follows)"},
    {"width", "N", "of the window (960)"},
    {"height", "N", "of the window (640)"},
    {"frames", "N", "close after so many (never)"},
    {"help", NULL, "this text"},
    {"version", NULL, "of the library"},
};

typedef struct view {
    view_options opt;
    play play;
    GLFWwindow *window;
    mjvScene scene;
    mjrContext context;
    mjvCamera camera;
    mjvOption look;
    uint64_t seed;            /* of this episode                           */
    int paused, single, off;  /* single: one step is due; off: the policy */
    int slower;               /* speed is 1 / 2^slower                     */
    int status;               /* exit code once something failed           */
    double mouse_x, mouse_y;
    double next;              /* when the next step is due                 */
} view;

static void view_help(void)
{
    printf("usage: view --policy FILE [FLAG...]\n\nShows a policy that train has saved.\n\n");
    run_flags_help(view_flags, RUN_COUNT(view_flags));
    printf("\nkeys: space pause, right one step, S slower, R next episode, C camera, P policy on "
           "and off,\n      Q quit; drag to turn, wheel to zoom\n"
           "\nexit status: 0 ok, 1 failed (no screen), 2 usage, 3 bad file, 4 stopped by nan\n");
}

/* Read the command line. Returns -1 to go on, or the exit code. */
static int view_parse(view_options *o, int argc, char **argv)
{
    run_args args = {"view", NULL, 0, 1, 0};
    const char *value;
    int flag, rc = RUN_OK;
    args.argc = argc;
    args.argv = argv;
    drl_fields_default(view_numbers, RUN_COUNT(view_numbers), o);
    while (rc == RUN_OK) {
        flag = run_args_next(&args, view_flags, RUN_COUNT(view_flags), &value);
        if (flag == RUN_ARGS_END) break;
        if (flag == RUN_ARGS_BAD) return RUN_USAGE;
        if (flag == FLAG_HELP) return view_help(), RUN_OK;
        if (flag == FLAG_VERSION) return printf("diffrl %s\n", DIFFRL_VERSION_STRING), RUN_OK;
        rc = flag < 0 ? -1 : run_task_flag(&o->task, "view", view_flags[flag].name, value);
        if (rc >= 0) continue;
        rc = RUN_OK;
        if (flag == FLAG_POLICY || (flag == RUN_ARGS_WORD && !o->policy)) o->policy = value;
        else if (flag == RUN_ARGS_WORD)
            rc = (fprintf(stderr, "view: one policy at a time, got '%s' too\n", value), RUN_USAGE);
        else if (flag == FLAG_CAMERA) o->camera = value;
        else
            rc = run_option("view", view_numbers, RUN_COUNT(view_numbers), o, view_flags[flag].name,
                            value);
    }
    if (rc == RUN_OK && !o->policy && !o->task.name[0])
        rc = (fprintf(stderr, "view: neither --policy nor --task (--help shows all flags)\n"),
              RUN_USAGE);
    return rc ? rc : -1;
}

/* ------------------------------------------------------------------------------------- the user */

static void view_episode(view *v, uint64_t seed)
{
    v->seed = seed;
    if (!v->status) v->status = play_reset(&v->play, "view", seed);
}

/* Take the camera that goes round the first body. */
static void view_round(view *v)
{
    if (v->camera.type != mjCAMERA_FIXED) return;
    v->camera.type = mjCAMERA_TRACKING;
    v->camera.trackbodyid = 1;
}

static void view_on_key(GLFWwindow *window, int key, int code, int act, int mods)
{
    view *v = (view *)glfwGetWindowUserPointer(window);
    int cameras = (int)v->play.e->model->m->ncam;
    (void)code, (void)mods;
    if (act == GLFW_RELEASE) return;
    if (key == GLFW_KEY_SPACE) v->paused = !v->paused;
    if (key == GLFW_KEY_RIGHT) v->paused = v->single = 1;
    if (key == GLFW_KEY_S) v->slower = (v->slower + 1) % 5;
    if (key == GLFW_KEY_P) v->off = !v->off;
    if (key == GLFW_KEY_R) view_episode(v, v->seed + 1);
    if (key == GLFW_KEY_Q || key == GLFW_KEY_ESCAPE) glfwSetWindowShouldClose(window, 1);
    if (key != GLFW_KEY_C) return;
    if (v->camera.type == mjCAMERA_FIXED && v->camera.fixedcamid + 1 < cameras)
        v->camera.fixedcamid++;
    else if (v->camera.type == mjCAMERA_FIXED || cameras == 0) view_round(v);
    else v->camera.type = mjCAMERA_FIXED, v->camera.fixedcamid = 0;
}

static void view_on_move(GLFWwindow *window, double x, double y)
{
    view *v = (view *)glfwGetWindowUserPointer(window);
    double dx = x - v->mouse_x, dy = y - v->mouse_y;
    v->mouse_x = x, v->mouse_y = y;
    if (glfwGetMouseButton(window, GLFW_MOUSE_BUTTON_LEFT) != GLFW_PRESS) return;
    view_round(v);
    v->camera.azimuth -= .4 * dx;
    v->camera.elevation = mju_clip(v->camera.elevation - .4 * dy, -89, 89);
}

static void view_on_scroll(GLFWwindow *window, double x, double y)
{
    view *v = (view *)glfwGetWindowUserPointer(window);
    (void)x;
    view_round(v);
    v->camera.distance *= exp(-.1 * y);
}

/* ---------------------------------------------------------------------------------- the picture */

/* the action as bars from the middle of its range, the range itself behind them */
static void view_bars(const view *v, mjrRect window)
{
    const drl_env *env = &v->play.policy.env;
    int n = env->act_dim, pitch = (window.width - 20) / n, height = window.height / 8, i;
    if (pitch > 28) pitch = 28;
    if (pitch < 2) return;
    for (i = 0; i < n; i++) {
        float middle = (env->act_low[i] + env->act_high[i]) / 2;
        float u = (v->play.action[i] - middle) / (env->act_high[i] - middle);
        int size = (int)(fabsf(u > 1 ? 1 : u < -1 ? -1 : u) * (float)height / 2);
        mjrRect back = {0, 10, 0, 0}, bar;
        back.left = 10 + i * pitch;
        back.width = pitch > 4 ? pitch - 2 : pitch - 1;
        back.height = height;
        bar = back;
        bar.height = size > 0 ? size : 1;
        bar.bottom = 10 + height / 2 - (u < 0 ? bar.height : 0);
        mjr_rectangle(back, .1f, .1f, .12f, .6f);
        mjr_rectangle(bar, u < 0 ? .95f : .3f, .65f, u < 0 ? .3f : .95f, 1);
    }
}

static void view_draw(view *v)
{
    const mjModel *m = v->play.e->model->m;
    mjrRect window = {0, 0, 0, 0};
    char values[512];
    glfwGetFramebufferSize(v->window, &window.width, &window.height);
    play_pose(&v->play);
    mjv_updateScene(m, v->play.e->data, &v->look, NULL, &v->camera, mjCAT_ALL, &v->scene);
    mjr_render(window, &v->scene, &v->context);
    snprintf(values, sizeof values, "%s\n%" PRIu64 "\n%d\n%.2f\n1/%d%s\n%s\n%s",
             v->play.policy.task.name, v->seed, v->play.steps, v->play.ret,
             1 << v->slower, v->paused ? ", paused" : "",
             v->off ? "off" : v->play.policy.agent ? "on" : "random",
             v->camera.type == mjCAMERA_FIXED ? m->names + m->name_camadr[v->camera.fixedcamid]
                                              : "round the model");
    mjr_overlay(mjFONT_NORMAL, mjGRID_TOPLEFT, window,
                "task\nseed\nstep\nreturn\nspeed  S, space\npolicy P\ncamera C", values,
                &v->context);
    view_bars(v, window);
    glfwSwapBuffers(v->window);
}

/* Do the steps that are due at this time. */
static void view_advance(view *v, double now)
{
    double dt = play_dt(&v->play) * (1 << v->slower);
    if (v->next < now - .25) v->next = now; /* too slow to keep up: do not run after it */
    while (!v->status && (v->single || (!v->paused && v->next <= now))) {
        v->single = 0;
        v->next += dt;
        if (v->play.over) {
            printf("seed %" PRIu64 "  return %10.2f  length %4d\n", v->seed, v->play.ret,
                   v->play.steps);
            view_episode(v, v->seed + 1);
        } else v->status = play_step(&v->play, "view", v->off);
    }
}

static int view_open(view *v)
{
    const char *why = NULL;
    if (play_camera(v->play.e->model->m, v->opt.camera, &v->camera)) {
        fprintf(stderr, "view: the model has no camera %s\n", v->opt.camera);
        return RUN_USAGE;
    }
    if (glfwInit())
        v->window = glfwCreateWindow(v->opt.width, v->opt.height,
                                     v->play.policy.task.name, NULL, NULL);
    if (!v->window) {
        glfwGetError(&why);
        fprintf(stderr, "view: no window: %s; build/record makes a film without a screen\n",
                why ? why : "no screen");
        return RUN_FAILED;
    }
    glfwMakeContextCurrent(v->window);
    glfwSwapInterval(1);
    glfwSetWindowUserPointer(v->window, v);
    glfwSetKeyCallback(v->window, view_on_key);
    glfwSetCursorPosCallback(v->window, view_on_move);
    glfwSetScrollCallback(v->window, view_on_scroll);
    mjv_defaultOption(&v->look);
    mjv_defaultScene(&v->scene);
    mjr_defaultContext(&v->context);
    mjv_makeScene(v->play.e->model->m, &v->scene, 2000);
    mjr_makeContext(v->play.e->model->m, &v->context, mjFONTSCALE_100);
    return RUN_OK;
}

static int view_run(view *v)
{
    int drawn = 0;
    view_episode(v, v->opt.seed);
    v->next = run_now();
    while (!v->status && !glfwWindowShouldClose(v->window)) {
        double start = run_now();
        view_advance(v, start);
        view_draw(v);
        if (v->opt.frames && ++drawn >= v->opt.frames) break;
        glfwPollEvents();
        /* where the screen does not set the pace */
        if (run_now() - start < .01) glfwWaitEventsTimeout(.01);
    }
    return v->status;
}

int main(int argc, char **argv)
{
    static view v;
    int rc = view_parse(&v.opt, argc, argv);
    if (rc >= 0) return rc;
    rc = play_open(&v.play, "view", v.opt.policy, &v.opt.task);
    if (rc == RUN_OK) rc = view_open(&v);
    if (rc == RUN_OK) rc = view_run(&v);
    if (v.window) {
        mjr_freeContext(&v.context);
        mjv_freeScene(&v.scene);
        glfwTerminate();
    }
    play_close(&v.play);
    return rc;
}
