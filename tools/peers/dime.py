"""DIME in PyTorch, as plain code does it: the shapes of diffrl's presets, for comparing speed.
One cycle: three environment steps' updates (3 utd critic updates, utd actor updates)."""
import math
import common

common.parser.add_argument("--steps", type=int, default=16)
common.parser.add_argument("--width", type=int, default=256)
common.parser.add_argument("--frequencies", type=int, default=256)
common.parser.add_argument("--critic", type=int, default=2048)
common.parser.add_argument("--atoms", type=int, default=101)
common.parser.add_argument("--utd", type=int, default=2)
args, torch = common.arguments()
nn, F = torch.nn, torch.nn.functional
B, S, A, N = args.batch, args.obs, args.act, args.steps
SIGMA = 2.5


class Gelu(nn.Module):
    def forward(self, x):
        return F.gelu(x, approximate="tanh")


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        w = args.width
        self.phase = nn.Parameter(torch.zeros(args.frequencies))
        self.time = common.mlp(torch, [2 * args.frequencies, w, w], Gelu)
        self.trunk = common.mlp(torch, [A + S + w, w, w, w, A], Gelu)
        self.rho, self.phi = nn.Parameter(torch.tensor(-2.25)), nn.Parameter(torch.full((A,), 0.54))
        self.register_buffer("omega", torch.linspace(0.1, 100, args.frequencies))
        at = 1 - torch.arange(N) / N
        self.register_buffer("schedule", torch.cos(1.5707963 * (1.008 - at) / 1.008) ** 2 + 1e-3)

    def forward(self, s, density=True):
        """Action and, if wanted, log-density of the path, one row per state."""
        angle = self.omega[None] * torch.arange(N)[:, None] + self.phase
        time = self.time(torch.cat([angle.sin(), angle.cos()], 1))
        rate = F.softplus(self.rho) / F.softplus(self.phi)
        x = SIGMA * torch.randn(len(s), A)
        if density:
            cost = -(0.5 * (x / SIGMA) ** 2 + math.log(SIGMA) + 0.5 * math.log(2 * math.pi)).sum(1)
        for k in range(N):
            eta = rate * self.schedule[k]
            u = self.trunk(torch.cat([x, s, time[k].expand(len(s), -1)], 1)).clamp(-1e4, 1e4)
            noise = torch.randn(len(s), A)
            y = x + (u - x / SIGMA ** 2) * eta + noise * torch.sqrt(2 * eta)
            if density:
                back = x - y * (1 - eta / SIGMA ** 2)
                cost = cost + (back ** 2 / (4 * eta) - 0.5 * noise ** 2).sum(1)
            x = y
        if not density:
            return torch.tanh(x)
        return torch.tanh(x), cost - (2 * (math.log(2) - x - F.softplus(-2 * x))).sum(1)


def critic():
    w = args.critic
    norm = [nn.BatchNorm1d(n, eps=1e-3, momentum=0.01) for n in (S + A, w, w)]
    return nn.Sequential(norm[0], nn.Linear(S + A, w), nn.ReLU(), norm[1], nn.Linear(w, w),
                         nn.ReLU(), norm[2], nn.Linear(w, args.atoms))


actor, critics = Actor(), nn.ModuleList([critic(), critic()])
log_alpha = nn.Parameter(torch.zeros(()))
adam_actor = torch.optim.Adam(actor.parameters(), 3e-4, (0.5, 0.999))
adam_critic = torch.optim.Adam(critics.parameters(), 3e-4, (0.5, 0.999))
adam_alpha = torch.optim.Adam([log_alpha], 1e-3)
draw = common.transitions(torch, args)
LOW, HIGH = -1600.0, 1600.0
atoms = torch.linspace(LOW, HIGH, args.atoms)
GAP = (HIGH - LOW) / (args.atoms - 1)


def project(p, shift):
    at = ((shift[:, None] + 0.99 * atoms).clamp(LOW, HIGH) - LOW) / GAP
    left = at.floor().clamp(max=args.atoms - 2).long()
    part = at - left
    out = torch.zeros_like(p)
    out.scatter_add_(1, left, p * (1 - part))
    return out.scatter_add_(1, left + 1, p * part)


def critic_update():
    s, a, r, s2 = draw(B)
    with torch.no_grad():
        a2, density = actor(s2)
    joint = torch.cat([torch.cat([s, a], 1), torch.cat([s2, a2], 1)], 0)
    logits = [q(joint) for q in critics]
    with torch.no_grad():
        shift = r - 0.99 * log_alpha.exp() * density
        target = sum(project(F.softmax(x[B:], 1), shift) for x in logits) / 2
    loss = 0
    for x in logits:
        log_p = F.log_softmax(x[:B], 1)
        loss = loss + (-target * log_p + 0.005 * log_p.exp() * log_p).sum(1).mean()
    adam_critic.zero_grad()
    loss.backward()
    adam_critic.step()


def actor_update():
    s = draw(B)[0]
    critics.requires_grad_(False)
    critics.eval()
    a, density = actor(s)
    x = torch.cat([s, a], 1)
    q = sum((F.softmax(c(x), 1) * atoms).sum(1) for c in critics) / 2
    adam_actor.zero_grad()
    (log_alpha.exp().detach() * density - q).mean().backward()
    nn.utils.clip_grad_value_(actor.parameters(), 1.0)
    adam_actor.step()
    adam_alpha.zero_grad()
    (-log_alpha.exp() * (density.detach().mean() - 4 * A)).backward()
    adam_alpha.step()
    critics.train()
    critics.requires_grad_(True)


count = 0


def cycle():
    global count
    for _ in range(3 * args.utd):
        critic_update()
        count += 1
        if count % 3 == 0:
            actor_update()


@torch.no_grad()
def action():
    return actor(one, density=False)


one = torch.randn(1, S)
common.serve(args, update=cycle, action=action)
