/* 08_own_mjcf: a robot of your own in MuJoCo's XML, its reward in C                 [**..] level 2
   Teaches   mujoco_task: what a model lacks to be a task. No name of a task, no file, is needed.
   Build     cc -O2 examples/08_own_mjcf.c -I. -Iexamples -o build/08_own_mjcf -lmujoco -lm
   Run       build/08_own_mjcf, or build/08_own_mjcf FILE.xml for another robot with slide joints
             along x (first), z and a hinge as its root
   Output    Worm: 9 observations, 2 actions
             step 1000   return   45.7 +-  18.4
             step 2000   return  240.4 +-  27.9
             step 3000   return  443.5 +-  20.5
             step 4000   return  456.0 +-  43.3
             step 5000   return  547.0 +-  10.9
             (the reward is in 10 seconds; 500 is half a meter per second) */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#define MUJOCO_ENV_IMPLEMENTATION
#include "mujoco/mujoco_env.h"

/* three links on the floor, driven at the two joints between them */
static const char worm[] =
    "<mujoco model='worm'>"
    "  <option timestep='.005'/>"
    "  <default>"
    "    <joint type='hinge' axis='0 1 0' armature='.005' damping='.1'/>"
    "    <geom type='capsule' size='.04' density='400' friction='.8 .1 .1'/>"
    "    <motor ctrllimited='true' ctrlrange='-1 1' gear='4'/>"
    "  </default>"
    "  <worldbody>"
    "    <geom type='plane' size='50 5 .1'/>"
    "    <body name='middle' pos='0 0 .05'>"
    "      <joint name='x' type='slide' axis='1 0 0' armature='0' damping='0'/>"
    "      <joint name='z' type='slide' axis='0 0 1' armature='0' damping='0'/>"
    "      <joint name='pitch' armature='0' damping='0'/>"
    "      <geom fromto='-.12 0 0 .12 0 0'/>"
    "      <body name='tail' pos='-.12 0 0'>"
    "        <joint name='tail' limited='true' range='-80 80'/>"
    "        <geom fromto='0 0 0 -.24 0 0'/>"
    "      </body>"
    "      <body name='head' pos='.12 0 0'>"
    "        <joint name='head' limited='true' range='-80 80'/>"
    "        <geom fromto='0 0 0 .24 0 0'/>"
    "      </body>"
    "    </body>"
    "  </worldbody>"
    "  <actuator><motor joint='tail'/><motor joint='head'/></actuator>"
    "</mujoco>";

/* before and after each step: where the robot is */
static void worm_measure(const mujoco_env *e, double *m) { m[0] = e->data->qpos[0]; }

/* five for a meter per second, less what the motors cost */
static double worm_reward(const mujoco_env *e, const double *action, int healthy)
{
    double dt = e->model->task.frame_skip * e->model->m->opt.timestep, cost = 0;
    (void)healthy;
    for (int i = 0; i < e->model->task.act_dim; i++) cost += action[i] * action[i];
    return 5 * (e->after[0] - e->before[0]) / dt - .02 * cost;
}

int main(int argc, char **argv)
{
    /* starts within .02 of the initial pose; sees all but the place along x; never ends early */
    mujoco_task task = {.name = "Worm", .frame_skip = 10, .time_limit = 200,
                        .kind = {.measure_fn = worm_measure, .reward_fn = worm_reward},
                        .rules = {.noise = .02, .hidden = 1}};
    mujoco_options options = {.xml = worm};
    drl_env env, test;
    drl_context ctx;
    drl_dime dime = {0};
    drl_trainer trainer = {0};
    drl_evaluation result = {0};
    char error[512];
    if (argc > 1) options.xml = NULL, task.model = argv[1];
    if (mujoco_env_make(&env, &task, &options, error, sizeof error) ||
        mujoco_env_clone(&test, &env, error, sizeof error))
        return fprintf(stderr, "%s\n", error), 1;
    printf("%s: %d observations, %d actions\n", env.name, env.obs_dim, env.act_dim);

    drl_dime_config cfg = drl_dime_config_default(env.obs_dim, env.act_dim);
    drl_trainer_config loop = drl_trainer_config_default();
    drl_status status = drl_context_init(&ctx, NULL);
    if (status == DRL_OK) status = drl_algo_preset(&ctx, drl_dime_algo(), &cfg, "toy");
    if (status == DRL_OK) status = drl_dime_init(&dime, &ctx, &cfg);
    if (status == DRL_OK) status = drl_trainer_init(&trainer, &ctx, &loop, &env, 1, &dime.agent);
    while (status == DRL_OK && trainer.steps < 5000) {
        status = drl_trainer_step(&trainer);
        if (status == DRL_OK && trainer.steps % 1000 == 0) {
            status = drl_evaluate(&ctx, &dime.agent, &test, 5, 1, &result, NULL);
            printf("step %4d   return %6.1f +- %5.1f\n", (int)trainer.steps, result.mean,
                   result.std);
        }
    }
    if (status != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    drl_trainer_free(&trainer), drl_agent_free(&dime.agent), drl_context_free(&ctx);
    env.free_fn(env.user), test.free_fn(test.user);
    return status != DRL_OK || result.mean < 200;
}
