/* Algorithms in files of their own (examples/baselines) are known by name, and the header's are. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"

int main(void)
{
    int i = 0;
    while (drl_algo_at(i).name) i++;
    return !(i == 6 && drl_algo_find("sac").name && drl_algo_find("ppo").name &&
             drl_algo_find("dime").name && !drl_algo_find("nothing").name);
}
