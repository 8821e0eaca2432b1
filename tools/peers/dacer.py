"""DACER in PyTorch, as plain code does it, for comparing speed. One cycle: two critic updates and
one actor update through the whole chain."""
import copy
import common

args, torch = common.arguments()
nn, F, Mish = torch.nn, torch.nn.functional, common.mish(args, torch)
B, S, A, T = args.batch, args.obs, args.act, 20

t = torch.arange(1, T + 1)
beta = 1 - torch.exp(-0.1 / T - 0.5 * 9.9 * (2 * t - 1) / T ** 2)
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
        self.time = common.mlp(torch, [16, 32, 16], Mish)
        self.trunk = common.mlp(torch, [S + A + 16, 256, 256, 256, A], Mish)
        self.register_buffer("features", common.sinusoidal(torch, T, 16))

    def forward(self, s):
        time = self.time(self.features)
        x = torch.randn(len(s), A)
        for t in range(T - 1, -1, -1):
            eps = self.trunk(torch.cat([s, x, time[t].expand(len(s), -1)], 1))
            clean = (root[t] * x - rootm1[t] * eps).clamp(-1, 1)
            x = first[t] * clean + second[t] * x
            if t:
                x = x + std[t] * torch.randn_like(x)
        return (x + 0.15 * torch.randn_like(x)).clamp(-1, 1)


def value(q, s, a):
    """Mean and standard deviation of the return."""
    y = q(torch.cat([s, a], 1))
    return y[:, 0], F.softplus(y[:, 1])


actor = Actor()
critics = nn.ModuleList([common.mlp(torch, [S + A, 256, 256, 256, 2], Mish) for _ in range(2)])
actor_target, critics_target = copy.deepcopy(actor), copy.deepcopy(critics)
adam_actor = torch.optim.Adam(actor.parameters(), 1e-4)
adam_critic = torch.optim.Adam(critics.parameters(), 1e-4)
draw = common.transitions(torch, args)
spread = [torch.tensor(1.0), torch.tensor(1.0)]


def critic_update():
    s, a, r, s2 = draw(B)
    with torch.no_grad():
        a2 = actor_target(s2)
        (m0, d0), (m1, d1) = [value(q, s2, a2) for q in critics_target]
        less = m0 < m1
        mean = torch.where(less, m0, m1)
        sample = mean + torch.where(less, d0, d1) * torch.randn(B).clamp(-3, 3)
        y, y_sample = r + 0.99 * mean, r + 0.99 * sample
    loss = 0
    for j, q in enumerate(critics):
        m, d = value(q, s, a)
        spread[j] = 0.995 * spread[j] + 0.005 * d.detach().mean()
        w, bound, m0, d0 = spread[j] ** 2 + 0.1, 3 * spread[j], m.detach(), d.detach()
        cut = m0 + torch.maximum(torch.minimum(y_sample - m0, bound), -bound)
        loss = loss - w * (m * (y - m0) / (d0 ** 2 + 0.1) +
                           d * ((m0 - cut) ** 2 - d0 ** 2) / (d0 ** 3 + 0.1)).mean()
    adam_critic.zero_grad()
    loss.backward()
    adam_critic.step()
    return s


def cycle():
    critic_update()
    s = critic_update()
    critics.requires_grad_(False)
    a = actor(s)
    loss = -torch.min(*[value(q, s, a)[0] for q in critics]).mean()
    adam_actor.zero_grad()
    loss.backward()
    adam_actor.step()
    critics.requires_grad_(True)
    common.polyak(torch, actor_target, actor)
    common.polyak(torch, critics_target, critics)


@torch.no_grad()
def action():
    return actor(one)


one = torch.randn(1, S)
common.serve(args, update=cycle, action=action)
