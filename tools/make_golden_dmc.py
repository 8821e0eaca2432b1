#!/usr/bin/env python3
"""Writes tests/env/golden_dmc_*.csv: trajectories of dm_control's own tasks.

Needs dm_control; the figures of the repository come from dm_control 1.0.7 with mujoco 2.2.2:

    python3.10 -m venv v && v/bin/pip install 'dm_control==1.0.7' 'mujoco==2.2.2' 'numpy<1.25'
    MUJOCO_GL=disable v/bin/python tools/make_golden_dmc.py tests/env

and, since the dog weighs less on MuJoCo 3, dog_3 from dm_control 1.0.34 with mujoco 3.3.7:

    MUJOCO_GL=disable v3/bin/python tools/make_golden_dmc.py tests/env dog

A file per model, since the tasks of a model differ in the reward alone. Lines:
    # versions
    tasks whose rewards follow
    qpos, qvel of the start, which is a reset without randomness; offset of the target
    step, contacts, reward of each task[, observation]   for 0 and each of the steps
The action of step s is .8 sin(.37 (s - 1) + 1.7 i), from the middle of the range of actuator i to
its ends; the target of fish and finger is moved from its place in the file by the offset.
"""
import math
import sys
from importlib.metadata import version

import mujoco
import numpy as np
from dm_control import suite

STEPS = 60
# file: tasks, changes of qpos, changes of qvel, offset of the target
FILES = {
    "acrobot": (["acrobot-swingup"], {0: .3, 1: -.2}, {}, None),
    "cartpole": (["cartpole-balance", "cartpole-swingup"], {1: .2}, {}, None),
    "cheetah": (["cheetah-run"], {}, {0: 6}, None),
    "dog": (["dog-stand", "dog-walk", "dog-trot", "dog-run"], {}, {0: 1.5}, None),
    "finger": (["finger-spin"], {0: -.4, 1: -.9, 2: 0}, {0: 0, 1: 0, 2: -30}, None),
    "finger_turn": (["finger-turn_easy", "finger-turn_hard"], {}, {2: 6}, (.23, 0, .12)),
    "fish": (["fish-swim", "fish-upright"], {}, {}, (.05, -.25, .02)),
    "hopper": (["hopper-stand", "hopper-hop"], {}, {0: 1.6}, None),
    "humanoid": (["humanoid-stand", "humanoid-walk", "humanoid-run"], {}, {0: .7}, None),
    "pendulum": (["pendulum-swingup"], {0: .1}, {0: -.1}, None),
    "quadruped": (["quadruped-walk", "quadruped-run"], {2: .5}, {0: .4}, None),
    "walker": (["walker-stand", "walker-walk", "walker-run"], {}, {1: .8}, None),
}


def start(env, dq, dv, offset):
    """Put the environment where the file says; return qpos, qvel."""
    p, m = env.physics, env.physics.model
    site, geom = m.site_pos.copy(), m.geom_pos.copy()
    env.reset()
    m.site_pos[:], m.geom_pos[:] = site, geom
    if offset:
        named = p.named.model
        (named.geom_pos if m.name.startswith("fish") else named.site_pos)["target"] += offset
    q = np.array([m.qpos0[i] + dq.get(i, .05 * math.sin(1.3 * i + .5)) for i in range(m.nq)])
    v = np.array([dv.get(i, .2 * math.cos(.9 * i + .2)) for i in range(m.nv)])
    for j in range(m.njnt):
        if m.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE:
            a = m.jnt_qposadr[j] + 3
            q[a:a + 4] /= np.linalg.norm(q[a:a + 4])
    with p.reset_context():
        p.data.qpos[:], p.data.qvel[:] = q, v
    return q, v


def line(f, numbers):
    f.write(",".join(x if isinstance(x, str) else repr(float(x)) if x != int(x) else str(int(x))
                     for x in numbers) + "\n")


def write(path, tasks, dq, dv, offset):
    envs = [suite.load(*t.split("-"), task_kwargs={"random": 0}) for t in tasks]
    with open(path, "w") as f:
        f.write("# dm_control %s, mujoco %s\n" % (version("dm_control"), mujoco.__version__))
        line(f, tasks)
        for env in envs:
            q, v = start(env, dq, dv, offset)
        line(f, q)
        line(f, v)
        line(f, offset or (0, 0, 0))
        for s in range(STEPS + 1):
            rewards = []
            for env in envs:
                m = env.physics.model
                low, high = m.actuator_ctrlrange.T
                wave = np.array([.8 * math.sin(.37 * (s - 1) + 1.7 * i) for i in range(m.nu)])
                if s:
                    rewards.append(env.step((low + high) / 2 + (high - low) / 2 * wave).reward)
                else:
                    rewards.append(0)
            p = envs[0].physics
            row = [s, p.data.ncon] + rewards
            if s in (0, 1, 2, 5, 10, 20, 40, 60):
                obs = envs[0].task.get_observation(p)
                row += list(np.concatenate([np.ravel(x) for x in obs.values()]))
            line(f, row)
        print(path, flush=True)


for name in sys.argv[2:] or FILES:
    three = "_3" if name == "dog" and not mujoco.__version__.startswith("2.") else ""
    write("%s/golden_dmc_%s%s.csv" % (sys.argv[1], name, three), *FILES[name])
