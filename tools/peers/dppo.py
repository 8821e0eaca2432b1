"""DPPO in PyTorch, as plain code does it, for comparing speed. One cycle: one gradient step on a
minibatch of pairs (state, denoising step), HalfCheetah's networks with chunks of four actions.
Stock, like the authors' code (p_mean_var), evaluates the frozen actor for all pairs, and puts the
tuned actor's output in its place where the step is a tuned one, here everywhere; tuned does not."""
import copy
import math
import common

common.parser.set_defaults(batch=50000)
args, torch = common.arguments()
nn, Mish = torch.nn, common.mish(args, torch)
B, S, A, T, TUNED = args.batch, args.obs, 4 * args.act, 20, 10


class Residual(nn.Module):
    def __init__(self, inputs, width, outputs, act):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.block = nn.Sequential(act(), nn.Linear(width, width), act(), nn.Linear(width, width))

    def forward(self, x):
        h = self.first(x)
        return self.last(h + self.block(h))


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = common.mlp(torch, [16, 32, 16], Mish)
        self.trunk = Residual(A + 16 + S, 512, A, nn.ReLU)
        self.register_buffer("features", common.sinusoidal(torch, T, 16))

    def forward(self, x, t, s):
        return self.trunk(torch.cat([x, self.time(self.features[t]), s], 1))


t = torch.arange(T + 1) / T
bar = torch.cos((t + 0.008) / 1.008 * 1.5707963) ** 2
beta = (1 - bar[1:] / bar[:-1]).clamp(max=0.999)
bar = torch.cumprod(1 - beta, 0)
before = torch.cat([torch.ones(1), bar[:-1]])
first = beta * before.sqrt() / (1 - bar)
second = (1 - before) * (1 - beta).sqrt() / (1 - bar)
std = (beta * (1 - before) / (1 - bar)).sqrt().clamp(min=0.1)

actor, critic = Actor(), Residual(S, 256, 1, Mish)
frozen = copy.deepcopy(actor).requires_grad_(False)
adam_actor = torch.optim.AdamW(actor.parameters(), 1e-4, weight_decay=0)
adam_critic = torch.optim.AdamW(critic.parameters(), 1e-3, weight_decay=0)

STATES = 20000
states = torch.randn(STATES, S)
chains = torch.randn(STATES, TUNED + 1, A).clamp(-2, 2)
advantages, returns = torch.randn(STATES), torch.randn(STATES)
old = torch.randn(STATES, TUNED) * 0.01


def noise(x, t, s):
    if args.variant == "tuned":  # the rows are of one kind
        return (actor if t[0] < TUNED else frozen)(x, t, s)
    eps, i = frozen(x, t, s), torch.where(t < TUNED)[0]
    if len(i):
        eps[i] = actor(x[i], t[i], s[i])
    return eps


def mean(s, x, t):
    eps = noise(x, t, s)
    clean = ((x - (1 - bar[t]).sqrt()[:, None] * eps) / bar[t].sqrt()[:, None]).clamp(-1, 1)
    return first[t][:, None] * clean + second[t][:, None] * x


def log_prob(s, x, y, t):
    sigma = std[t][:, None]
    log = -0.5 * ((y - mean(s, x, t)) / sigma) ** 2 - sigma.log() - 0.5 * math.log(2 * math.pi)
    return log.clamp(-5, 2).mean(1)


def cycle():
    pair = torch.randint(STATES * TUNED, (B,))
    n, i = torch.div(pair, TUNED, rounding_mode="floor"), pair % TUNED
    s = states[n]
    ratio = (log_prob(s, chains[n, i], chains[n, i + 1], TUNED - 1 - i) - old[n, i]).exp()
    advantage = advantages[n]
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    advantage = advantage * 0.99 ** (TUNED - 1 - i)
    policy = torch.max(-advantage * ratio, -advantage * ratio.clamp(0.99, 1.01)).mean()
    value = 0.5 * ((critic(s)[:, 0] - returns[n]) ** 2).mean()
    adam_actor.zero_grad()
    adam_critic.zero_grad()
    (policy + 0.5 * value).backward()
    adam_actor.step()
    adam_critic.step()


@torch.no_grad()
def action():
    x = torch.randn(1, A)
    for k in range(T - 1, -1, -1):
        x = mean(one, x, torch.full((1,), k)) + std[k] * torch.randn_like(x)
    return x.clamp(-1, 1)


one = torch.randn(1, S)
common.serve(args, update=cycle, action=action)
