/* The built-in tasks: steps worked out by hand, closed forms, saved state. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../../examples/envs/pendulum.h"
#include "../../examples/envs/pointmass.h"
#include "../test.h"

#define PI 3.14159265358979323846

static float pendulum_do(drl_env *env, pendulum *p, double theta, double speed, float torque,
                         float *obs)
{
    float reward;
    int flags = -1;
    p->theta = theta;
    p->speed = speed;
    CHECK(env->step_fn(env->user, &torque, obs, &reward, &flags) == 0 && flags == 0);
    return reward;
}

TEST(pendulum_steps)
{
    pendulum p;
    drl_env env = pendulum_env(&p);
    float obs[3];
    CHECK(env.obs_dim == 3 && env.act_dim == 1 && env.time_limit == 200);
    CHECK(env.act_low[0] == -2 && env.act_high[0] == 2);
    /* upright at rest: nothing moves, nothing costs */
    CHECK(pendulum_do(&env, &p, 0, 0, 0, obs) == 0 && obs[0] == 1 && obs[1] == 0 && obs[2] == 0);
    /* horizontal: acceleration 15 -> speed .75, angle + .0375; cost (pi/2)^2 */
    CHECK_NEAR(pendulum_do(&env, &p, PI / 2, 0, 0, obs), -PI * PI / 4, 1e-6);
    CHECK_NEAR(obs[2], .75, 1e-7);
    CHECK_NEAR(obs[0], -sin(.0375), 1e-7);
    CHECK_NEAR(obs[1], cos(.0375), 1e-7);
    /* hanging: sin(pi) = 0; torque 1 -> speed 1 + .15; cost pi^2 + .1 + .001 */
    CHECK_NEAR(pendulum_do(&env, &p, PI, 1, 1, obs), -(PI * PI + .101), 1e-6);
    CHECK_NEAR(obs[2], 1.15, 1e-6);
    /* the torque is limited to 2, also in the cost; the speed to 8 */
    CHECK_NEAR(pendulum_do(&env, &p, 0, 0, 5, obs), -.004, 1e-8);
    CHECK_NEAR(obs[2], .3, 1e-7);
    CHECK_NEAR(pendulum_do(&env, &p, PI / 2, 7.9, 0, obs), -(PI * PI / 4 + 6.241), 1e-5);
    CHECK(obs[2] == 8);
    pendulum_do(&env, &p, -PI / 2, -7.9, 0, obs);
    CHECK(obs[2] == -8);
    /* the cost counts the angle from upright, whatever the turns */
    CHECK_NEAR(pendulum_do(&env, &p, 6 * PI + .5, 0, 0, obs), -.25, 1e-6);
    CHECK_NEAR(pendulum_do(&env, &p, -6 * PI - .5, 0, 0, obs), -.25, 1e-6);
    CHECK_NEAR(pendulum_do(&env, &p, 3 * PI + .5, 0, 0, obs), -(PI - .5) * (PI - .5), 1e-5);
}

/* without torque the energy speed^2/2 + 15 cos(theta) is kept up to the integrator's order: swings
   from .5 rad off hanging have the period of an ideal pendulum, 2 pi / sqrt(15) (1 + .5^2/16) */
TEST(pendulum_swings)
{
    pendulum p;
    drl_env env = pendulum_env(&p);
    float obs[3], torque = 0, reward;
    int i, flags, turns = 0, first = 0, last = 0;
    double energy = 15 * cos(PI - .5), worst = 0, before;
    p.theta = PI - .5;
    for (i = 1; i <= 2000; i++) {
        before = p.speed;
        env.step_fn(env.user, &torque, obs, &reward, &flags);
        worst = fmax(worst, fabs(p.speed * p.speed / 2 + 15 * cos(p.theta) - energy));
        if (before < 0 && p.speed >= 0) {
            if (turns++ == 0) first = i;
            last = i;
        }
    }
    CHECK(worst < .1 * 15 * (1 - cos(.5)) * 2);
    CHECK_NEAR((last - first) * .05 / (turns - 1), 2 * PI / sqrt(15.) * (1 + .25 / 16), .01);
}

TEST(pendulum_reset_and_state)
{
    pendulum p, q;
    drl_env env = pendulum_env(&p), other = pendulum_env(&q);
    float a[3], b[3], torque = 1.5f, ra, rb;
    double low = 9, high = -9;
    char state[sizeof(pendulum)];
    int i, flags;
    env.reset_fn(env.user, 5, a);
    other.reset_fn(other.user, 5, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    other.reset_fn(other.user, 6, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    for (i = 0; i < 500; i++) {
        env.reset_fn(env.user, (uint64_t)i, a);
        CHECK(fabs(p.theta) <= PI && fabs(p.speed) <= 1);
        CHECK_NEAR(a[0] * a[0] + a[1] * a[1], 1, 1e-6);
        low = fmin(low, p.theta);
        high = fmax(high, p.theta);
    }
    CHECK(low < -3 && high > 3);
    CHECK(env.state_size_fn(env.user) == sizeof state);
    CHECK(env.save_fn(env.user, state, sizeof state) == 0);
    CHECK(env.save_fn(env.user, state, 1) != 0 && env.load_fn(env.user, state, 1) != 0);
    CHECK(other.load_fn(other.user, state, sizeof state) == 0);
    for (i = 0; i < 200; i++) {
        env.step_fn(env.user, &torque, a, &ra, &flags);
        other.step_fn(other.user, &torque, b, &rb, &flags);
        CHECK(memcmp(a, b, sizeof a) == 0 && ra == rb);
    }
}

static float pointmass_do(drl_env *env, pointmass *p, double x, double y, float dx, float dy,
                          int *flags)
{
    float action[2], obs[2], reward;
    action[0] = dx;
    action[1] = dy;
    p->x = x;
    p->y = y;
    CHECK(env->step_fn(env->user, action, obs, &reward, flags) == 0);
    CHECK(obs[0] == (float)p->x && obs[1] == (float)p->y);
    return reward;
}

TEST(pointmass_steps)
{
    pointmass p;
    drl_env env = pointmass_env(&p);
    int flags, i, j;
    CHECK(env.obs_dim == 2 && env.act_dim == 2 && env.act_low[1] == -1 && env.act_high[0] == 1);
    CHECK_NEAR(pointmass_do(&env, &p, 0, 0, 0, 0, &flags), -25, 1e-6);
    CHECK(flags == 0);
    CHECK_NEAR(pointmass_do(&env, &p, 0, 0, .5f, 0, &flags), -30 * .25 - 4.5 * 4.5, 1e-5);
    /* actions are limited to 1, positions to 7 */
    CHECK_NEAR(pointmass_do(&env, &p, 1, 1, 3, 0, &flags), -30 - (9 + 1), 1e-5);
    CHECK(p.x == 2 && p.y == 1);
    CHECK_NEAR(pointmass_do(&env, &p, 6.5, -7, 1, -1, &flags), -60 - (4 + 49), 1e-4);
    CHECK(p.x == 7 && p.y == -7 && flags == 0);
    /* each goal: ends within distance 1, with 10 on top; not at distance 1 */
    CHECK_NEAR(pointmass_do(&env, &p, 4, .5, .5f, 0, &flags), -7.5 - .5 + 10, 1e-5);
    CHECK(flags == DRL_ENV_TERMINATED);
    CHECK(pointmass_do(&env, &p, 0, 5, 0, 0, &flags) == 10 && flags == DRL_ENV_TERMINATED);
    CHECK(pointmass_do(&env, &p, -5, 0, 0, 0, &flags) == 10 && flags == DRL_ENV_TERMINATED);
    CHECK(pointmass_do(&env, &p, 0, -5, 0, 0, &flags) == 10 && flags == DRL_ENV_TERMINATED);
    CHECK(pointmass_do(&env, &p, 0, -4, 0, 0, &flags) == -1 && flags == 0);
    CHECK(pointmass_goal(3, 1) == 0 && pointmass_goal(1, 3) == 1);
    CHECK(pointmass_goal(-3, 1) == 2 && pointmass_goal(1, -3) == 3);
    /* the nearest goal, by search over all four */
    for (i = -14; i <= 14; i++)
        for (j = -14; j <= 14; j++) {
            static const double goal[4][2] = {{5, 0}, {0, 5}, {-5, 0}, {0, -5}};
            double best = 1e9, x = i / 2., y = j / 2.;
            int k;
            for (k = 0; k < 4; k++)
                best = fmin(best, (x - goal[k][0]) * (x - goal[k][0]) +
                                      (y - goal[k][1]) * (y - goal[k][1]));
            CHECK_NEAR(pointmass_do(&env, &p, x, y, 0, 0, &flags), best < 1 ? 10 - best : -best,
                       1e-5);
            CHECK(flags == (best < 1));
            k = pointmass_goal(x, y);
            x -= goal[k][0];
            y -= goal[k][1];
            CHECK(x * x + y * y == best);
        }
}

TEST(pointmass_reset_and_state)
{
    pointmass p, q;
    drl_env env = pointmass_env(&p), other = pointmass_env(&q);
    float a[2], b[2];
    double sum = 0, squares = 0;
    char state[sizeof(pointmass)];
    int i;
    env.reset_fn(env.user, 5, a);
    other.reset_fn(other.user, 5, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    for (i = 0; i < 1000; i++) {
        env.reset_fn(env.user, (uint64_t)i, a);
        sum += p.x + p.y;
        squares += p.x * p.x + p.y * p.y;
    }
    CHECK_NEAR(sum / 2000, 0, .012); /* 5 standard errors */
    CHECK_NEAR(squares / 2000, .01, .0016);
    CHECK(env.state_size_fn(env.user) == sizeof state);
    CHECK(env.save_fn(env.user, state, sizeof state) == 0);
    CHECK(env.save_fn(env.user, state, 1) != 0 && env.load_fn(env.user, state, 1) != 0);
    CHECK(other.load_fn(other.user, state, sizeof state) == 0 && q.x == p.x && q.y == p.y);
}

TEST_MAIN(TEST_ENTRY(pendulum_steps), TEST_ENTRY(pendulum_swings),
          TEST_ENTRY(pendulum_reset_and_state), TEST_ENTRY(pointmass_steps),
          TEST_ENTRY(pointmass_reset_and_state))
