/* Allocators: the macros DIFFRL_MALLOC and DIFFRL_FREE when built with -DMACROS, the functions of
   drl_allocator otherwise. All memory must come through them and go back with its size; a failing
   one must be reported. Exit status 0 if so. Valid C99 and C++11. */
#include <stdlib.h>

static size_t calls, live, budget = (size_t)-1;

static void *count_malloc(size_t size)
{
    if (calls >= budget) return NULL;
    calls++;
    live++;
    return malloc(size);
}

static void count_free(void *ptr)
{
    live--;
    free(ptr);
}

#ifdef MACROS
#define DIFFRL_MALLOC(size) count_malloc(size)
#define DIFFRL_FREE(ptr) count_free(ptr)
#endif
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"

static size_t bytes; /* asked for and not given back */

static void *user_alloc(size_t size, void *user)
{
    void *p = user == &bytes ? count_malloc(size) : NULL;
    if (p) bytes += size;
    return p;
}

static void user_free(void *ptr, size_t size, void *user)
{
    if (user == &bytes) bytes -= size;
    count_free(ptr);
}

static drl_status work(size_t limit)
{
    drl_context_config cfg = drl_context_config_default();
    drl_context ctx;
    drl_status status;
    void *p;
    calls = live = bytes = 0;
    budget = limit;
#ifndef MACROS
    cfg.allocator.alloc_fn = user_alloc;
    cfg.allocator.free_fn = user_free;
    cfg.allocator.user = &bytes;
#endif
    (void)user_alloc;
    (void)user_free;
    status = drl_context_init(&ctx, &cfg);
    if (status != DRL_OK) return status;
    p = drl_memory_alloc(&ctx, 1000);
    status = p ? DRL_OK : DRL_ERR_MEMORY;
    drl_memory_free(&ctx, p, 1000);
    drl_context_free(&ctx);
    return status;
}

int main(void)
{
    size_t n, limit;
    if (work((size_t)-1) != DRL_OK || calls == 0 || live != 0 || bytes != 0) return 1;
    n = calls;
    for (limit = 0; limit < n; limit++) { /* fail at each call */
        if (work(limit) != DRL_ERR_MEMORY || live != 0 || bytes != 0) return 2;
    }
    return 0;
}
