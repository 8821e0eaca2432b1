"""QVPO in PyTorch, as plain code does it, for comparing speed. One cycle: one critic and one actor
update with 64 candidates per state, as the paper's code runs HalfCheetah."""
import copy
import common

args, torch = common.arguments()
nn, Mish = torch.nn, common.mish(args, torch)
B, S, A, T, TRAIN, TARGET, UNIFORM = args.batch, args.obs, args.act, 20, 64, 4, 10


def cosine():
    t = torch.arange(T + 1) / T
    bar = torch.cos((t + 0.008) / 1.008 * 1.5707963) ** 2
    return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)


beta = cosine()
bar = torch.cumprod(1 - beta, 0)
before = torch.cat([torch.ones(1), bar[:-1]])
root = bar.rsqrt().tolist()
rootm1 = (1 / bar - 1).sqrt().tolist()
first = (beta * before.sqrt() / (1 - bar)).tolist()
second = ((1 - before) * (1 - beta).sqrt() / (1 - bar)).tolist()
std = (beta * (1 - before) / (1 - bar)).sqrt().tolist()


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = common.mlp(torch, [32, 256, 32], Mish)
        self.trunk = common.mlp(torch, [A + 32 + S, 256, 256, 256, A], Mish)
        self.register_buffer("features", common.sinusoidal(torch, T, 32))

    def forward(self, x, t, s):
        return self.trunk(torch.cat([x, self.time(self.features[t]), s], 1))

    @torch.no_grad()
    def sample(self, s):
        x = torch.randn(len(s), A)
        for t in range(T - 1, -1, -1):
            eps = self(x, torch.full((len(s),), t), s)
            clean = (root[t] * x - rootm1[t] * eps).clamp(-1, 1)
            x = first[t] * clean + second[t] * x
            if t:
                x = x + std[t] * torch.randn_like(x)
        return x.clamp(-1, 1)


class Twin(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.ModuleList([common.mlp(torch, [S + A, 256, 256, 256, 1], Mish)
                                for _ in range(2)])

    def forward(self, s, a):
        x = torch.cat([s, a], 1)
        return self.q[0](x), self.q[1](x)

    def least(self, s, a):
        return torch.min(*self(s, a))


actor, critic = Actor(), Twin()
actor_target, critic_target = copy.deepcopy(actor), copy.deepcopy(critic)
adam_actor = torch.optim.Adam(actor.parameters(), 1e-4, eps=1e-5)
adam_critic = torch.optim.Adam(critic.parameters(), 3e-4, eps=1e-5)
draw = common.transitions(torch, args)


@torch.no_grad()
def best(actor, critic, s, count):
    """The best of `count` actions per state, its value, and the mean value."""
    many = s.repeat(count, 1)
    a = actor.sample(many)
    q = critic.least(many, a).view(count, len(s))
    value, i = q.max(0)
    return a.view(count, len(s), A)[i, torch.arange(len(s))], value, q.mean(0)


def cycle():
    s, a, r, s2 = draw(B)
    with torch.no_grad():
        a2 = best(actor_target, critic_target, s2, TARGET)[0]
        y = r[:, None] + 0.99 * critic_target.least(s2, a2)
    q0, q1 = critic(s, a)
    loss = ((q0 - y) ** 2).mean() + ((q1 - y) ** 2).mean()
    adam_critic.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(critic.parameters(), 2.0)
    adam_critic.step()

    s = draw(B)[0]
    a, value, mean = best(actor, critic, s, TRAIN)
    weight = (value - mean).clamp(min=0)
    s = s.repeat(1 + UNIFORM, 1)
    a = torch.cat([a, torch.rand(UNIFORM * B, A) * 2 - 1], 0)
    weight = torch.cat([weight, 0.02 * weight.repeat(UNIFORM)], 0)
    t = torch.randint(T, (len(s),))
    noise = torch.randn_like(a)
    x = bar[t].sqrt()[:, None] * a + (1 - bar[t]).sqrt()[:, None] * noise
    loss = (weight[:, None] * (actor(x, t, s) - noise) ** 2).mean()
    adam_actor.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(actor.parameters(), 2.0)
    adam_actor.step()
    common.polyak(torch, actor_target, actor)
    common.polyak(torch, critic_target, critic)


def action():
    return best(actor, critic, one, 4)[0]


one = torch.randn(1, S)
common.serve(args, update=cycle, action=action)
