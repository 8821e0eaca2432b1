/* Pendulum: swing a rod up and hold it, with a motor too weak to lift it at once. The rules are
   those of Gymnasium's Pendulum-v1, so returns compare (about -150 is solved, -1200 is random).

     pendulum p;
     drl_env env = pendulum_env(&p);

   Observed  cos(theta), sin(theta), speed          theta 0 is up, radians; speed in rad/s
   Action    torque in +-2
   Reward    -(theta^2 + 0.1 speed^2 + 0.001 torque^2), of the state before the step
   Episode   200 steps, never terminates; starts at any angle with speed in +-1 */
#ifndef PENDULUM_H
#define PENDULUM_H

#ifndef DIFFRL_H
#include "../../diffrl.h"
#endif
#include <math.h>
#include <string.h>

typedef struct pendulum {
    double theta, speed;
} pendulum;

#define PENDULUM_PI 3.14159265358979323846

static void pendulum_observe(const pendulum *p, float *obs)
{
    obs[0] = (float)cos(p->theta);
    obs[1] = (float)sin(p->theta);
    obs[2] = (float)p->speed;
}

static int pendulum_reset(void *user, uint64_t seed, float *obs)
{
    pendulum *p = (pendulum *)user;
    drl_rng rng = drl_rng_make(seed, "reset");
    p->theta = PENDULUM_PI * (2 * (double)drl_rng_uniform(&rng) - 1);
    p->speed = 2 * (double)drl_rng_uniform(&rng) - 1;
    pendulum_observe(p, obs);
    return 0;
}

static int pendulum_step(void *user, const float *action, float *obs, float *reward, int *flags)
{
    const double gravity = 10, mass = 1, length = 1, dt = .05, max_speed = 8, max_torque = 2;
    pendulum *p = (pendulum *)user;
    double u = (double)action[0], acceleration;
    double angle = p->theta - 2 * PENDULUM_PI * floor((p->theta + PENDULUM_PI) / (2 * PENDULUM_PI));
    if (u < -max_torque) u = -max_torque;
    if (u > max_torque) u = max_torque;
    *reward = (float)-(angle * angle + .1 * p->speed * p->speed + .001 * u * u);
    acceleration = 3 * gravity / (2 * length) * sin(p->theta) + 3 / (mass * length * length) * u;
    p->speed += acceleration * dt;
    if (p->speed < -max_speed) p->speed = -max_speed;
    if (p->speed > max_speed) p->speed = max_speed;
    p->theta += p->speed * dt;
    pendulum_observe(p, obs);
    *flags = 0;
    return 0;
}

static size_t pendulum_state_size(const void *user)
{
    (void)user;
    return sizeof(pendulum);
}

static int pendulum_save(const void *user, void *state, size_t size)
{
    if (size != sizeof(pendulum)) return -1;
    memcpy(state, user, size);
    return 0;
}

static int pendulum_load(void *user, const void *state, size_t size)
{
    if (size != sizeof(pendulum)) return -1;
    memcpy(user, state, size);
    return 0;
}

/* Return the environment over p, which must outlive it. Nothing to free. */
static inline drl_env pendulum_env(pendulum *p)
{
    static const float low[1] = {-2.0f}, high[1] = {2.0f};
    drl_env env;
    memset(&env, 0, sizeof env);
    memset(p, 0, sizeof *p);
    env.name = "Pendulum";
    env.obs_dim = 3;
    env.act_dim = 1;
    env.act_low = low;
    env.act_high = high;
    env.time_limit = 200;
    env.user = p;
    env.reset_fn = pendulum_reset;
    env.step_fn = pendulum_step;
    env.state_size_fn = pendulum_state_size;
    env.save_fn = pendulum_save;
    env.load_fn = pendulum_load;
    return env;
}

#endif /* PENDULUM_H */
