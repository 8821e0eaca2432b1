/* Includes the declarations alone; -DNOTHING: not even those (to compare compile times). */
#ifndef NOTHING
#include "../../diffrl.h"
#endif

int main(void)
{
#ifdef NOTHING
    return 0;
#else
    return (int)DRL_OK + (sizeof(drl_context) == 0);
#endif
}
