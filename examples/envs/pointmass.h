/* PointMass: walk from the middle of a square to any of four goals. All four ways are equally good:
   a policy that keeps only one of them has lost three modes. The rules are those of DACER's
   multi-goal task (Wang et al., NeurIPS 2024), which has them from Haarnoja et al. 2017, soft
   Q-learning.

     pointmass p;
     drl_env env = pointmass_env(&p);

   Observed  x, y in +-7
   Action    step (dx, dy), each in +-1
   Reward    -30 |step|^2 - d^2, and +10 at a goal; d is the distance to the nearest of (+-5, 0),
             (0, +-5) after the step
   Episode   terminates at d < 1; starts at normal(0, 0.1); the limit of 30 steps is our choice */
#ifndef POINTMASS_H
#define POINTMASS_H

#ifndef DIFFRL_H
#include "../../diffrl.h"
#endif
#include <math.h>
#include <string.h>

typedef struct pointmass {
    double x, y;
} pointmass;

static double pointmass_clip(double x, double bound)
{
    if (x < -bound) return -bound;
    return x > bound ? bound : x;
}

static void pointmass_observe(const pointmass *p, float *obs)
{
    obs[0] = (float)p->x;
    obs[1] = (float)p->y;
}

/* Return the nearest goal: 0 east, 1 north, 2 west, 3 south. */
static inline int pointmass_goal(double x, double y)
{
    if (fabs(x) >= fabs(y)) return x >= 0 ? 0 : 2;
    return y >= 0 ? 1 : 3;
}

static int pointmass_reset(void *user, uint64_t seed, float *obs)
{
    pointmass *p = (pointmass *)user;
    drl_rng rng = drl_rng_make(seed, "reset");
    p->x = .1 * (double)drl_rng_normal(&rng);
    p->y = .1 * (double)drl_rng_normal(&rng);
    pointmass_observe(p, obs);
    return 0;
}

static int pointmass_step(void *user, const float *action, float *obs, float *reward, int *flags)
{
    pointmass *p = (pointmass *)user;
    double dx = pointmass_clip((double)action[0], 1), dy = pointmass_clip((double)action[1], 1);
    double near_x, near_y, squared;
    p->x = pointmass_clip(p->x + dx, 7);
    p->y = pointmass_clip(p->y + dy, 7);
    /* the goals lie on the axes: fold the square into the wedge around one of them */
    near_x = fmax(fabs(p->x), fabs(p->y)) - 5;
    near_y = fmin(fabs(p->x), fabs(p->y));
    squared = near_x * near_x + near_y * near_y;
    *flags = squared < 1 ? DRL_ENV_TERMINATED : 0;
    *reward = (float)(-30 * (dx * dx + dy * dy) - squared + (*flags ? 10 : 0));
    pointmass_observe(p, obs);
    return 0;
}

static size_t pointmass_state_size(const void *user)
{
    (void)user;
    return sizeof(pointmass);
}

static int pointmass_save(const void *user, void *state, size_t size)
{
    if (size != sizeof(pointmass)) return -1;
    memcpy(state, user, size);
    return 0;
}

static int pointmass_load(void *user, const void *state, size_t size)
{
    if (size != sizeof(pointmass)) return -1;
    memcpy(user, state, size);
    return 0;
}

/* Return the environment over p, which must outlive it. Nothing to free. */
static inline drl_env pointmass_env(pointmass *p)
{
    static const float low[2] = {-1.0f, -1.0f}, high[2] = {1.0f, 1.0f};
    drl_env env;
    memset(&env, 0, sizeof env);
    memset(p, 0, sizeof *p);
    env.name = "PointMass";
    env.obs_dim = 2;
    env.act_dim = 2;
    env.act_low = low;
    env.act_high = high;
    env.time_limit = 30;
    env.user = p;
    env.reset_fn = pointmass_reset;
    env.step_fn = pointmass_step;
    env.state_size_fn = pointmass_state_size;
    env.save_fn = pointmass_save;
    env.load_fn = pointmass_load;
    return env;
}

#endif /* POINTMASS_H */
