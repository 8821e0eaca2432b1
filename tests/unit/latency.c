/* An action costs computing and nothing else: drl_agent_act allocates nothing and asks the system
   for nothing, for every algorithm, preset and mode, a row at a time, once it has run (a call of
   DPPO is a plan here). Calls of the system are counted by tracing a child; where that is not
   allowed, that part is skipped. The times are for reading; tools/bench.sh measures. */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include <time.h>
#ifdef __linux__
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#ifdef TEST_SHORT
enum { ACTIONS = 20 };
#else
enum { ACTIONS = 200 };
#endif

typedef struct policy {
    drl_context ctx;
    drl_agent *agent;
    float obs[17], act[6];
} policy;

static const char *const presets[] = {"paper", "cpu", "toy"};

/* Make an agent that has acted, or planned, once. */
static void begin(policy *p, drl_algo algo, const char *preset, drl_mode mode)
{
    void *config = calloc(1, algo.config_size);
    int i, calls;
    CHECK(drl_context_init(&p->ctx, NULL) == DRL_OK && !p->ctx.pool); /* no pool: no lock */
    p->agent = (drl_agent *)calloc(1, algo.size);
    drl_algo_default(algo, config, 17, 6);
    CHECK(drl_algo_preset(&p->ctx, algo, config, preset) == DRL_OK);
    /* buffers of learning are not what is asked for */
    drl_fields_set(&p->ctx, algo.fields, algo.field_count, config, "batch", "2");
    drl_fields_set(&p->ctx, algo.fields, algo.field_count, config, "rollout", "2");
    drl_fields_set(&p->ctx, algo.fields, algo.field_count, config, "critic_width", "64");
    CHECK(drl_agent_init(p->agent, &p->ctx, algo, config) == DRL_OK);
    for (i = 0; i < 17; i++) p->obs[i] = 0.1f * (float)(i - 8);
    calls = (int)drli_algo_number(&algo, config, "chunk", 1);
    for (i = 0; i < calls; i++)
        CHECK(drl_agent_act(p->agent, mode, 1, p->obs, p->act) == DRL_OK);
    free(config);
}

static void end(policy *p)
{
    drl_agent_free(p->agent);
    free(p->agent);
    drl_context_free(&p->ctx);
}

static int act(policy *p, drl_mode mode, int n)
{
    int i, bad = 0;
    for (i = 0; i < n; i++) {
        p->obs[i % 17] += 0.01f;
        bad |= drl_agent_act(p->agent, mode, 1, p->obs, p->act) != DRL_OK;
    }
    return bad;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

TEST(no_allocation)
{
    static double took[ACTIONS];
    policy p;
    int i, k, m, j;
    for (i = 0; drl_algo_at(i).name; i++)
        for (k = 0; k < 3; k++)
            for (m = 0; m < 2; m++) {
                drl_mode mode = m ? DRL_MODE_EVAL : DRL_MODE_EXPLORE;
                uint64_t allocations;
                size_t bytes;
                begin(&p, drl_algo_at(i), presets[k], mode);
                allocations = p.ctx.allocations;
                bytes = p.ctx.bytes;
                for (j = 0; j < ACTIONS; j++) {
                    struct timespec a, b;
                    clock_gettime(CLOCK_MONOTONIC, &a);
                    CHECK(act(&p, mode, 1) == 0);
                    clock_gettime(CLOCK_MONOTONIC, &b);
                    took[j] = 1e6 * (double)(b.tv_sec - a.tv_sec) + 1e-3 * (double)(b.tv_nsec -
                        a.tv_nsec);
                }
                if (p.ctx.allocations != allocations)
                    printf("  %s %s: %d allocations\n", p.agent->algo.name, presets[k],
                           (int)(p.ctx.allocations - allocations));
                CHECK(p.ctx.allocations == allocations && p.ctx.bytes == bytes);
                qsort(took, ACTIONS, sizeof(*took), by_value);
                printf("  %-5s %-5s %-7s median %8.1f us, longest %8.1f us\n", p.agent->algo.name,
                       presets[k], m ? "eval" : "explore", took[ACTIONS / 2], took[ACTIONS - 1]);
                end(&p);
            }
}

#ifdef __linux__
/* System calls of n actions in a child, its exit among them; -1 if it cannot be traced. more 1: one
   of the kind that is not wanted, to see that it is found. */
static int system_calls(policy *p, drl_mode mode, int n, int more)
{
    int status, stops = 0;
    pid_t pid;
    fflush(stdout);
    pid = fork();
    if (pid < 0) return -1;
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(1);
        raise(SIGSTOP);
        status = act(p, mode, n);
        if (more) (void)getppid();
        _exit(status);
    }
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status)) return -1;
    while (!ptrace(PTRACE_SYSCALL, pid, NULL, NULL) && waitpid(pid, &status, 0) == pid &&
           WIFSTOPPED(status))
        stops++;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) return -1;
    return (stops + 1) / 2; /* two stops per call, one of the exit */
}

TEST(no_system_call)
{
    policy p;
    int i, k, m;
    for (i = 0; drl_algo_at(i).name; i++)
        for (k = 0; k < 3; k++)
            for (m = 0; m < 2; m++) {
                drl_mode mode = m ? DRL_MODE_EVAL : DRL_MODE_EXPLORE;
                int none, calls, found;
                begin(&p, drl_algo_at(i), presets[k], mode);
                none = system_calls(&p, mode, 0, 0);
                calls = system_calls(&p, mode, ACTIONS, 0);
                found = system_calls(&p, mode, ACTIONS, 1);
                if (calls != none)
                    printf("  %s %s: %d calls\n", p.agent->algo.name, presets[k], calls - none);
                CHECK(none >= 1 && calls == none && found == none + 1);
                end(&p);
            }
}
#endif

int main(int argc, char **argv)
{
    static const test_entry tests[] = {
        TEST_ENTRY(no_allocation),
#ifdef __linux__
        TEST_ENTRY(no_system_call),
#endif
    };
    int n = (int)(sizeof(tests) / sizeof(tests[0]));
#ifdef __linux__
    policy p;
    begin(&p, drl_algo_at(0), "toy", DRL_MODE_EVAL);
    if (system_calls(&p, DRL_MODE_EVAL, 0, 0) < 0) {
        printf("skip no_system_call: a child cannot be traced here\n");
        n--;
    }
    end(&p);
#else
    printf("skip no_system_call: Linux only\n");
#endif
    return test_run(tests, n, argc, argv);
}
