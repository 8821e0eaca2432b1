/* diffrl.h and the Gaussian baselines that the papers compare with, known by name to drl_algo_find.

   Include this in place of diffrl.h, in one file after #define DIFFRL_IMPLEMENTATION. An algorithm
   of your own comes in the same way: a file like sac.h, X(its name), an #include. */
#ifndef BASELINES_H
#define BASELINES_H
#define DIFFRL_MORE_ALGOS(X) X(ppo) X(sac)
#endif
#include "../../diffrl.h"
#include "ppo.h"
#include "sac.h"
