/* The file of a program that holds the implementation; see use.c. */
#ifndef DIFFRL_IMPLEMENTATION
#define DIFFRL_IMPLEMENTATION
#endif
#include "../../diffrl.h"
#include "../../diffrl.h" /* a second time: harmless */

#ifdef __cplusplus
extern "C"
#endif
int other(void);

int other(void)
{
    return drl_status_string(DRL_ERR_MEMORY) == NULL;
}
