/* Uses the library a little, in every form that tests/compile/run.sh builds: alone with
   -DDIFFRL_IMPLEMENTATION, or beside impl.c with -DWITH_OTHER. Exit status 0 if all is right.
   Valid C99 and C++11. */
#include "../../diffrl.h"

#ifdef __cplusplus
extern "C"
#endif
int other(void);

int main(void)
{
    drl_context ctx;
    drl_rng rng = drl_rng_make(1, "test");
    float a[4], b[4], c[4];
    int fault;
    if (drl_context_init(&ctx, NULL) != DRL_OK) return 1;
    drl_rng_normal_fill(&ctx, &rng, a, 4);
    drl_rng_normal_fill(&ctx, &rng, b, 4);
    drl_gemm(&ctx, DRL_GEMM_NN, 2, 2, 2, a, 2, b, 2, c, 2, NULL);
    fault = !(c[0] > -1e6f && c[0] < 1e6f) || a[0] == a[1] || !drl_status_string(DRL_OK)[0];
    drl_context_free(&ctx);
#ifdef WITH_OTHER
    fault |= other();
#endif
    return fault;
}
