"""Random training programs, as source text that runs with danlu and with PyTorch.

`program(seed)` writes one: networks, losses, optimizers and a `step`, what happens `between` the
steps, and an `outer` function that calls the step as a user's loop does. `Run` executes the text
with a module in the place of `torch`, and reads everything that a program could look at.
"""

from __future__ import annotations

import linecache
import textwrap
from random import Random
from typing import NamedTuple

from tests.unit.compiling import copied
from tests.unit.random_networks import KINDS, Network, loss, network

STEPS = 8
SIZES = (*((6,) * STEPS,) * 4, (6, 6, 6, 6, 6, 6, 6, 4), (6, 6, 4, 6, 4, 6, 6, 4))

OPTIMIZERS = (
    "SGD({}, lr=0.05)", "SGD({}, lr=0.05, momentum=0.9)", "SGD({}, lr=0.02, weight_decay=0.1)",
    "SGD({}, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01)",
    "SGD({}, lr=0.05, momentum=0.8, dampening=0.3)", "SGD({}, lr=0.01, maximize=True)",
    "SGD({}, lr=0.05, foreach=False)", "SGD({}, lr=torch.tensor(0.03))",
    "Adam({}, lr=0.01)", "Adam({}, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.01)",
    "Adam({}, lr=0.01, amsgrad=True)", "Adam({}, lr=0.01, foreach=True)", "AdamW({}, lr=0.01)",
    "AdamW({}, lr=0.01, weight_decay=0.2, amsgrad=True)", "AdamW({}, lr=0.01, foreach=False)",
    "Adamax({}, lr=0.01)", "NAdam({}, lr=0.01)", "NAdam({}, lr=0.01, momentum_decay=0.01)",
    "RAdam({}, lr=0.01)", "Adagrad({}, lr=0.02)", "Adagrad({}, lr=0.02, lr_decay=0.1)",
    "Adadelta({}, lr=0.5)", "RMSprop({}, lr=0.01)", "RMSprop({}, lr=0.01, centered=True)",
    "RMSprop({}, lr=0.01, momentum=0.5, weight_decay=0.01)", "ASGD({}, lr=0.02)",
    "Rprop({}, lr=0.01)", "Adafactor({}, lr=0.01)",
)  # fmt: skip
NORMALISING = ("Adagrad", "Rprop", "NAdam", "RAdam", "Adam", "RMSprop", "Adafactor", "Adadelta")
WITHOUT_EPS = ("Rprop", "Adafactor")
SCHEDULERS = (
    "StepLR(optimizer, 2, gamma=0.5)", "ExponentialLR(optimizer, 0.9)",
    "CosineAnnealingLR(optimizer, 4)", "OneCycleLR(optimizer, 0.05, total_steps=20)",
    "LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))", "LinearLR(optimizer)",
    "CosineAnnealingWarmRestarts(optimizer, 2)", "PolynomialLR(optimizer, 6)",
    "MultiStepLR(optimizer, [1, 3])", "CyclicLR(optimizer, 0.01, 0.05, cycle_momentum=False)",
)  # fmt: skip


class Program(NamedTuple):
    """The text of a random program, and how far two roundings of its run may be apart."""

    seed: int
    source: str
    recipe: str
    precision: str  # "float64", "float32" or "bfloat16"


class Draft:
    """A program that is being written: a recipe fills its parts."""

    def __init__(self, random: Random, recipe: str):
        self.random, self.recipe = random, recipe
        self.kind = random.choice(KINDS)
        self.networks: list[Network] = []
        self.setup: list[str] = []
        self.step: list[str] = []
        self.between: list[str] = []
        self.outer = ["return step(x, y)"]
        self.sizes = random.choice(SIZES)
        self.objective = loss(random)
        self.optimizer = random.choice(OPTIMIZERS)
        self.precision = "float32"
        if random.random() < 0.5:
            self.precision = "float64"

    def one(self, *choices):
        return self.random.choice(choices)

    def network(self, name: str = "Net", **options) -> Network:
        made = network(self.random, self.kind, 4, name, **options)
        self.networks.append(made)
        return made

    def optimize(self, parameters: str = "net.parameters()", name: str = "optimizer") -> None:
        if self.optimizer.startswith(NORMALISING):  # of a vanishing gradient it takes the rounding
            if self.optimizer.startswith(WITHOUT_EPS):
                self.precision = "float64"
                if any("Norm" in made.source for made in self.networks):  # biases may not matter
                    self.optimizer = "SGD({}, lr=0.05, momentum=0.9, weight_decay=0.02)"
            elif "eps" in self.optimizer:
                self.precision = "float64"
            elif self.precision == "float32":
                self.optimizer = self.optimizer.replace("lr=", "eps=1e-3, lr=")
        self.setup.append(f"{name} = torch.optim.{self.optimizer.format(parameters)}")

    def result(self) -> str:
        return self.one(
            "loss", "loss", "loss.detach()", "(loss, out)", '{"loss": loss.detach(), "n": len(out)}',
            "[loss.detach(), (out.detach(), None)]", "None",
        )  # fmt: skip

    def zero(self) -> str:
        return self.one(
            "optimizer.zero_grad()", "optimizer.zero_grad()", "net.zero_grad()",
            "optimizer.zero_grad(set_to_none=False)",
            "for p in net.parameters():\n    p.grad = None",
        )  # fmt: skip

    def forward(self, net: str = "net", x: str = "x", out: str = "out") -> str:
        return f"{out} = {net}({x}){self.networks[0].result}"


# ---------------------------------------------------------------------- recipes of steps
def plain(d: Draft) -> None:
    """zero_grad, forward, backward, step: in the orders that people write."""
    d.network()
    d.optimize()
    forward = [d.forward(), f"loss = {d.objective.value}"]
    if d.random.random() < 0.7:
        d.step += [d.zero(), *forward, "loss.backward()", "optimizer.step()"]
    else:
        d.step += [*forward, "loss.backward()", "optimizer.step()", d.zero()]
    d.step.append(f"return {d.result()}")


def regularised(d: Draft) -> None:
    """Terms over the weights beside the loss."""
    plain(d)
    term = d.one(
        "1e-3 * sum(p.abs().sum() for p in net.parameters())",
        "0.01 * torch.stack([p.norm() for p in net.parameters()]).sum()",
        "1e-3 * torch.cat([p.flatten() for p in net.parameters()]).square().sum()",
        "0.01 * nn.utils.parameters_to_vector(net.parameters()).tanh().mean()",
    )
    place = d.step.index("loss.backward()")
    d.step.insert(place, f"loss = loss + {term}")


def clipped(d: Draft) -> None:
    """Gradients that are changed between backward and step."""
    plain(d)
    how = d.one(
        "nn.utils.clip_grad_norm_(net.parameters(), 0.5)",
        "nn.utils.clip_grad_norm_(net.parameters(), 0.3, norm_type=1)",
        'nn.utils.clip_grad_norm_(net.parameters(), 0.2, norm_type=float("inf"))',
        "nn.utils.clip_grad_value_(net.parameters(), 0.1)",
        "for p in net.parameters():\n    if p.grad is not None:\n        p.grad.mul_(0.5)",
        "for p in net.parameters():\n    if p.grad is not None:\n        p.grad = p.grad.clamp(-1, 1)",
        "for p in net.parameters():\n    if p.grad is not None:\n"
        "        p.grad.add_(torch.randn_like(p), alpha=0.01)",
        "for p in net.parameters():\n    if p.grad is not None and p.ndim > 1:\n"
        "        p.grad -= p.grad.mean(1, keepdim=True)",
    )
    d.step.insert(d.step.index("loss.backward()") + 1, how)


def accumulated(d: Draft) -> None:
    """Two backward passes before a step."""
    d.network()
    d.optimize()
    d.step += [
        d.zero(),
        f"for scale in (0.5, 0.25):\n    {d.forward()}\n    loss = {d.objective.value}\n"
        "    (scale * loss).backward()",
        "optimizer.step()",
        f"return {d.result()}",
    ]


def accumulated_over_calls(d: Draft) -> None:
    """The step makes gradients; the loop decides when they are used."""
    d.network()
    d.optimize()
    d.step += [d.forward(), f"loss = {d.objective.value}", "loss.backward()", "return loss"]
    d.setup.append("calls = []")
    d.outer = [
        "loss = step(x, y)",
        "calls.append(1)",
        "if len(calls) % 2 == 0:\n    optimizer.step()\n    optimizer.zero_grad()",
        "return loss",
    ]


def groups(d: Draft) -> None:
    """Parameter groups with options of their own."""
    d.network()
    d.setup.append("weights = [p for p in net.parameters() if p.ndim > 1]")
    d.setup.append("others = [p for p in net.parameters() if p.ndim <= 1]")
    d.optimize('[{"params": weights, "lr": 0.02}, {"params": others}]')
    d.step += [d.zero(), d.forward(), f"loss = {d.objective.value}", "loss.backward()"]
    d.step += ["optimizer.step()", f"return {d.result()}"]


def two_optimizers(d: Draft) -> None:
    """Weights and biases by optimizers of their own."""
    d.network()
    d.optimize("[p for p in net.parameters() if p.ndim > 1]")
    d.optimizer = d.one(*OPTIMIZERS)
    d.optimize("[p for p in net.parameters() if p.ndim <= 1]", "second")
    d.step += ["optimizer.zero_grad()", "second.zero_grad()", d.forward()]
    d.step += [f"loss = {d.objective.value}", "loss.backward()", "second.step()"]
    d.step += ["optimizer.step()", f"return {d.result()}"]


def adversarial(d: Draft) -> None:
    """A generator and a critic, each with its backward pass and optimizer."""
    d.kind = "vector"
    d.network(plain=True)
    d.network("Critic", plain=True)
    d.objective = loss(d.random)
    d.setup += ["critic = Critic().to(dtype)", "generator_in = nn.Linear(3, 5).to(dtype)"]
    d.setup.append("generator_out = nn.Linear(4, 5).to(dtype)")
    d.optimize("[*net.parameters(), *generator_in.parameters(), *generator_out.parameters()]")
    d.optimizer = d.one(*OPTIMIZERS)
    d.optimize("critic.parameters()", "second")
    d.step += [
        "noise = torch.randn(len(x), 3, dtype=dtype)",
        "fake = generator_out(net(generator_in(noise)))",
        "second.zero_grad()",
        "critic_loss = F.softplus(-critic(x)).mean() + F.softplus(critic(fake.detach())).mean()",
        "critic_loss.backward()",
        "second.step()",
        "optimizer.zero_grad()",
        "loss = F.softplus(-critic(fake)).mean()",
        "loss.backward()",
        "optimizer.step()",
        d.one("", "with torch.no_grad():\n    for p in critic.parameters():\n"
              "        p.clamp_(-0.8, 0.8)"),
        d.one("return loss, critic_loss", "return loss.detach() + critic_loss.detach()"),
    ]  # fmt: skip


def by_hand(d: Draft) -> None:
    """Gradient descent without an optimizer."""
    d.network()
    update = d.one(
        "p -= 0.05 * p.grad\n            p.grad = None",
        "p -= 0.05 * p.grad\n            p.grad.zero_()",
        "p.sub_(p.grad, alpha=0.05)\n            p.grad = None",
        "p.copy_(p - 0.05 * p.grad.sign() * p.grad.abs().sqrt())\n            p.grad.zero_()",
        "p.data.add_(p.grad, alpha=-0.05)\n            p.grad.detach_().zero_()",
        "v.mul_(0.9).add_(p.grad)\n            p.add_(v, alpha=-0.05)\n            p.grad = None",
        "v.lerp_(p.grad.square(), 0.1)\n            p.addcdiv_(p.grad, v.sqrt() + 0.1, value=-0.02)"
        "\n            p.grad = None",
    )
    d.setup.append("velocity = [torch.zeros_like(p) for p in net.parameters()]")
    d.step += [
        d.forward(),
        f"loss = {d.objective.value}",
        "loss.backward()",
        "with torch.no_grad():\n    for p, v in zip(net.parameters(), velocity):\n"
        f"        if p.grad is not None:\n            {update}",
        f"return {d.result()}",
    ]


def gradients_as_values(d: Draft) -> None:
    """torch.autograd.grad and an update of one's own."""
    d.network()
    d.step += [
        d.forward(),
        f"loss = {d.objective.value}",
        "parameters = [p for p in net.parameters() if p.requires_grad]",
        "gradients = torch.autograd.grad(loss, parameters, allow_unused=True)",
        "with torch.no_grad():\n    for p, g in zip(parameters, gradients):\n"
        "        if g is not None:\n            p -= 0.05 * g",
        d.one("return loss.detach(), gradients", "return loss", "return gradients"),
    ]


def penalised_inputs(d: Draft) -> None:
    """A penalty on the gradient with respect to the inputs."""
    d.kind = "vector"
    d.network(plain=True, smooth=True)
    d.optimize()
    d.step += [
        d.zero(),
        d.one("x = x.detach().requires_grad_()", "x = x.clone().requires_grad_(True)"),
        d.forward(),
        f"loss = {d.objective.value}",
        "slope, = torch.autograd.grad(out.sum(), x, create_graph=True)",
        "loss = loss + 0.1 * (slope.norm(dim=1) - 1).square().mean()",
        "loss.backward()",
        "optimizer.step()",
        f"return {d.result()}",
    ]


def penalised_weights(d: Draft) -> None:
    """A penalty on the gradient of the loss with respect to the weights."""
    d.kind = "vector"
    d.network(plain=True, smooth=True)
    d.optimize()
    d.objective = loss(d.random, smooth=True)
    d.step += [
        d.zero(),
        d.forward(),
        f"loss = {d.objective.value}",
        "parameters = [p for p in net.parameters() if p.requires_grad]",
        "slopes = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)",
        "loss = loss + 0.1 * sum(s.square().sum() for s in slopes if s is not None)",
        "loss.backward()",
        "optimizer.step()",
        f"return {d.result()}",
    ]


def physics(d: Draft) -> None:
    """A differential equation: second derivatives with respect to the inputs."""
    d.kind = "vector"
    d.network(plain=True, smooth=True)
    d.optimize()
    d.step += [
        d.zero(),
        "x = x.detach().requires_grad_()",
        "u = net(x)[:, :1]",
        "du = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0][:, :1]",
        "ddu = torch.autograd.grad(du.sum(), x, create_graph=True, allow_unused=True)[0]",
        "loss = (u - x[:, :1].sin()).square().mean() + 0.1 * du.square().mean()",
        "if ddu is not None:\n    loss = loss + 0.01 * (ddu[:, :1] + u).square().mean()",
        "loss.backward()",
        "optimizer.step()",
        "return loss",
    ]


def functional(d: Draft) -> None:
    """torch.func: the gradient of a function of the parameters."""
    d.kind = "vector"
    d.network(plain=True, smooth=True)
    d.objective = loss(d.random, smooth=True)
    d.step += [
        "parameters = dict(net.named_parameters())",
        "def compute(parameters):\n    out = torch.func.functional_call(net, parameters, (x,))\n"
        f"    return {d.objective.value}",
        d.one(
            "gradients = torch.func.grad(compute)(parameters)\nloss = compute(parameters)",
            "gradients, loss = torch.func.grad_and_value(compute)(parameters)",
        ),
        "with torch.no_grad():\n    for name, p in parameters.items():\n"
        "        p.sub_(0.05 * gradients[name])",
        "return loss.detach()",
    ]


def meta_learned(d: Draft) -> None:
    """An inner step of gradient descent through which the outer loss is derived."""
    d.kind = "vector"
    d.network(plain=True, smooth=True)
    d.optimize()
    d.objective = loss(d.random, smooth=True)
    d.step += [
        d.zero(),
        "inner = dict(net.named_parameters())",
        f"for _ in range(2):\n    out = torch.func.functional_call(net, inner, (x,))\n"
        f"    loss = {d.objective.value}\n"
        "    slopes = torch.autograd.grad(loss, list(inner.values()), create_graph=True)\n"
        "    inner = {k: p - 0.1 * g for (k, p), g in zip(inner.items(), slopes)}",
        "out = torch.func.functional_call(net, inner, (x,))",
        f"loss = {d.objective.value}",
        "loss.backward()",
        "optimizer.step()",
        "return loss",
    ]


def mixed_precision(d: Draft) -> None:
    """autocast to bfloat16 around the network."""
    d.kind = d.one("vector", "vector", "image")
    d.network(plain=True, smooth=d.kind == "vector")
    d.optimizer = d.one(*(text for text in OPTIMIZERS if text.startswith("SGD")))
    d.precision = "bfloat16"
    d.optimize()
    d.step += [
        d.zero(),
        f'with torch.autocast("cpu", dtype=torch.bfloat16):\n    {d.forward()}',
        "out = out.float()",
        f"loss = {d.objective.value}",
        "loss.backward()",
        "optimizer.step()",
        f"return {d.result()}",
    ]


def scaled(d: Draft) -> None:
    """GradScaler around the optimizer."""
    d.network()
    d.optimize()
    d.setup.append('scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)')
    d.step += [d.zero(), d.forward(), f"loss = {d.objective.value}"]
    d.step.append("scaler.scale(loss).backward()")
    if d.random.random() < 0.5:
        d.step += ["scaler.unscale_(optimizer)", "nn.utils.clip_grad_norm_(net.parameters(), 1.0)"]
    d.step += ["scaler.step(optimizer)", "scaler.update()", "return loss"]


def averaged(d: Draft) -> None:
    """Moving averages of the weights."""
    plain(d)
    last = d.step.pop()
    if d.random.random() < 0.5:
        d.setup.append("averaged = copy.deepcopy(net)")
        d.step.append(
            "with torch.no_grad():\n    for a, p in zip(averaged.parameters(), net.parameters()):\n"
            + d.one("        a.lerp_(p, 0.1)", "        a.mul_(0.9).add_(p, alpha=0.1)",
                    "        a.copy_(0.9 * a + 0.1 * p)")
        )  # fmt: skip
    else:
        average = d.one("", ", multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)")
        d.setup.append(f"averaged = torch.optim.swa_utils.AveragedModel(net{average})")
        d.step.append("averaged.update_parameters(net)")
    d.step.append(last)


def scheduled(d: Draft) -> None:
    """A scheduler of the learning rate, in the step or in the loop."""
    while "torch.tensor" in d.optimizer:
        d.optimizer = d.one(*OPTIMIZERS)
    plain(d)
    scheduler = d.one(*SCHEDULERS)
    if "OneCycle" in scheduler and not ("SGD" in d.optimizer and "momentum" in d.optimizer):
        scheduler = scheduler.replace("20)", "20, cycle_momentum=False)")
    d.setup.append(f"scheduler = torch.optim.lr_scheduler.{scheduler}")
    if d.random.random() < 0.5:
        d.step.insert(d.step.index("optimizer.step()") + 1, "scheduler.step()")
    else:
        d.outer = ["result = step(x, y)", "scheduler.step()", "return result"]


def validated(d: Draft) -> None:
    """The loss without gradients, after the step."""
    plain(d)
    last = d.step.pop()
    d.step.append(f"with torch.no_grad():\n    after = (net(x){d.networks[0].result}).mean()")
    d.step += [
        f"if loss is not None:\n    loss = loss.detach() + 0 * {d.one('after', 'after.exp()')}"
    ]
    d.step += [last] if "None" in last else ["return loss, after"]


def frozen(d: Draft) -> None:
    """Parameters without gradients."""
    plain(d)
    d.setup.insert(0, d.one(
        "for p in list(net.parameters())[:1]:\n    p.requires_grad_(False)",
        "for p in net.parameters():\n    p.requires_grad = p.ndim > 1",
    ))  # fmt: skip


def twice_through(d: Draft) -> None:
    """One graph, two backward passes."""
    d.network()
    d.optimize()
    d.step += [d.zero(), d.forward(), f"loss = {d.objective.value}"]
    d.step += ["loss.backward(retain_graph=True)", "(0.1 * out.square().mean()).backward()"]
    d.step += ["optimizer.step()", f"return {d.result()}"]


def sharpness_aware(d: Draft) -> None:
    """Weights that are moved up, differentiated there, and moved back."""
    d.network()
    d.optimize()
    d.step += [
        d.zero(), d.forward(), f"loss = {d.objective.value}", "loss.backward()",
        "moves = []",
        "with torch.no_grad():\n    for p in net.parameters():\n        if p.grad is not None:\n"
        "            move = 0.05 * p.grad / (p.grad.norm() + 1e-3)\n            p.add_(move)\n"
        "            moves.append((p, move))",
        "optimizer.zero_grad()", d.forward(), f"second = {d.objective.value}", "second.backward()",
        "with torch.no_grad():\n    for p, move in moves:\n        p.sub_(move)",
        "optimizer.step()",
        "return loss.detach(), second.detach()",
    ]  # fmt: skip


def distilled(d: Draft) -> None:
    """A frozen teacher in evaluation mode."""
    plain(d)
    d.setup.append("teacher = copy.deepcopy(net).eval().requires_grad_(False)")
    place = d.step.index("loss.backward()")
    d.step.insert(place, "loss = loss + 0.1 * F.mse_loss(out, known)")
    known = f"known = teacher(x){d.networks[0].result}"
    d.step.insert(place, d.one(known, f"with torch.no_grad():\n    {known}"))


def noisy(d: Draft) -> None:
    """Random numbers of every kind in the step."""
    plain(d)
    draw = d.one(
        "torch.randn_like(out)", "torch.rand(out.shape, dtype=dtype)",
        "torch.randint(0, 3, out.shape).to(dtype)", "torch.bernoulli(torch.full_like(out, 0.3))",
        "torch.empty_like(out).uniform_(-1, 1)", "torch.normal(0.0, 1.0, out.shape).to(dtype)",
        "torch.randperm(4).to(dtype)", "F.gumbel_softmax(out.detach(), tau=0.7)",
        "torch.empty(4, dtype=dtype).exponential_()", "torch.normal(out.detach(), 0.1)",
        "F.dropout(torch.ones_like(out), 0.4)", "torch.zeros_like(out).bernoulli_(0.4)",
        "torch.randn(4, dtype=dtype) * torch.rand((), dtype=dtype)",
    )  # fmt: skip
    d.step.insert(d.step.index("loss.backward()"), f"loss = loss + 0.1 * (out * {draw}).mean()")


def forward_alone(d: Draft) -> None:
    """The loop differentiates what the compiled function returned."""
    d.network()
    d.optimize()
    if d.random.random() < 0.5:
        d.step += [d.forward(), f"return {d.objective.value}"]
        d.outer = [d.zero(), "loss = step(x, y)", "loss.backward()", "optimizer.step()"]
    else:
        d.step += [f"return net(x){d.networks[0].result}"]
        d.outer = [d.zero(), "out = step(x, y)", f"loss = {d.objective.value}", "loss.backward()"]
        d.outer += ["optimizer.step()"]
    d.outer.append("return loss.detach()")


def evaluated(d: Draft) -> None:
    """Nothing is trained by the compiled function: it is called between steps of the loop."""
    d.network()
    d.optimize()
    d.step += [d.one("with torch.no_grad():", "with torch.inference_mode():")]
    d.step[0] += f"\n    {d.forward()}\n    return {d.objective.value}, out.argmax(1), out"
    d.outer = [
        "net.eval()", "found = step(x, y)", "net.train()", d.zero(), d.forward(),
        f"loss = {d.objective.value}", "loss.backward()", "optimizer.step()",
        "return [part.clone() for part in found]",
    ]  # fmt: skip


def hooked(d: Draft) -> None:
    """Hooks that compute and leave nothing behind."""
    plain(d)
    place = d.step.index("loss.backward()")
    if d.random.random() < 0.5:
        d.step.insert(place, d.one(
            "out.register_hook(lambda g: 0.5 * g)",
            "out.register_hook(lambda g: g.clamp(-0.1, 0.1))",
            "out.retain_grad()",
        ))  # fmt: skip
    else:
        d.setup.append(d.one(
            "for p in net.parameters():\n    p.register_hook(lambda g: g.clamp(-0.1, 0.1))",
            "hook = list(net.children())[-1].register_forward_hook(lambda m, a, o: 0.9 * o)",
            "net.register_forward_pre_hook(lambda module, arguments: None)",
            "list(net.children())[-1].register_forward_pre_hook(lambda m, a: (a[0] * 0.5,))",
        ))  # fmt: skip


def carried(d: Draft) -> None:
    """A state that goes out of one call and into the next."""
    plain(d)
    d.step[-1] = "return loss.detach(), memory"
    place = d.step.index("loss.backward()")
    d.step.insert(place, "memory = 0.5 * memory + 0.5 * out.detach().mean(0)")
    d.step.insert(place, "loss = loss + 0.1 * (out - memory).square().mean()")
    d.setup.append("memories = [torch.zeros(4, dtype=dtype)]")
    d.outer = ["loss, memories[0] = step(x, y, memories[0])", "return loss, memories[0]"]


def several_steps(d: Draft) -> None:
    """A loop of training steps inside one call."""
    d.network()
    d.optimize()
    body = [d.zero(), d.forward(), f"loss = {d.objective.value}", "loss.backward()"]
    body += ["optimizer.step()", "losses.append(loss.detach())"]
    loop = textwrap.indent("\n".join(body), "    ")
    d.step += ["losses = []", f"for _ in range(2):\n{loop}", "return torch.stack(losses)"]


def counted(d: Draft) -> None:
    """Tensors outside that the step writes."""
    plain(d)
    d.setup += ["total = torch.zeros((), dtype=dtype)", "count = torch.tensor(0)"]
    d.setup.append("history = torch.zeros(6, 4, dtype=dtype)")
    d.step[-1:] = [
        "if loss is not None:\n    total.add_(loss.detach())",
        d.one("count.add_(1)", "count.add_(len(out))"),
        d.one("history[:4] = out.detach()[:4]", "history[1].mul_(0.5).add_(out.detach().mean(0))",
              "history.copy_(history.roll(1, 0))", "history[:, 1:3] += out.detach().sum()"),
        "return loss",
    ]  # fmt: skip


RECIPES = (
    plain, plain, plain, plain, plain, regularised, clipped, accumulated, accumulated_over_calls,
    groups, two_optimizers, adversarial, by_hand, gradients_as_values, penalised_inputs,
    penalised_weights, physics, functional, meta_learned, mixed_precision, scaled, averaged,
    scheduled, validated, frozen, twice_through, sharpness_aware, distilled, noisy, forward_alone,
    evaluated, hooked, carried, several_steps, counted,
)  # fmt: skip

# What a user may do between two steps. `head` is the last layer of the network.
EVENTS = (
    'optimizer.param_groups[0]["lr"] = 0.5 * float(optimizer.param_groups[0]["lr"])',
    'optimizer.param_groups[0]["weight_decay"] = 0.05',
    "with torch.no_grad():\n    head.weight.mul_(0.9)",
    "head.weight.data = head.weight.data + 0.01",
    "head.bias.data[0] = 0.25",
    "head.weight.requires_grad_(False)\nhead.weight.grad = None",
    "head.bias.requires_grad = False",
    "head.bias = nn.Parameter(torch.full((4,), 0.1, dtype=dtype))",
    "net.load_state_dict(kept)",
    "net.eval()",
    "net.eval() if i % 2 else net.train()",
    "torch.manual_seed(7)",
    "optimizer.zero_grad()",
    "head.bias.grad = torch.full((4,), 0.1, dtype=dtype)",
    "optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))",
    "for module in net.modules():\n    if isinstance(module, nn.Dropout):\n        module.p = 0.6",
    "for name, buffer in net.named_buffers():\n    if buffer.is_floating_point():\n"
    "        buffer.mul_(0.5)",
    "head.register_forward_hook(lambda module, arguments, out: out * 0.8)",
    "head.weight.register_hook(lambda g: g * 0.5)",
    "setattr(net, head_name, nn.Linear(head.in_features, 4).to(dtype))",
    "torch.rand(3)",
    "net.requires_grad_(True)",
)


def program(seed: int) -> Program:
    """The random program of this seed."""
    random = Random(seed)
    write = random.choice(RECIPES)
    d = Draft(random, write.__name__)
    write(d)
    if random.random() < 0.4:
        event = random.choice([e for e in EVENTS if "optimizer" not in e or _optimizes(d)])
        d.between.append(f"if i == {random.choice((2, 3, 4))}:\n{textwrap.indent(event, '    ')}")
    return Program(seed, _assemble(seed, d), d.recipe, d.precision)


def _optimizes(d: Draft) -> bool:
    return any(line.startswith("optimizer = ") for line in d.setup)


FUNCTION = """\
class ScaledTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        out = torch.tanh(x * scale)
        ctx.save_for_backward(out)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, g):
        out, = ctx.saved_tensors
        return g * (1 - out * out) * ctx.scale, None

"""


def _assemble(seed: int, d: Draft) -> str:
    indent = "    "
    main = d.networks[0]
    dtype = "float64" if d.precision == "float64" else "float32"
    classes = "\n\n".join(made.source for made in d.networks)
    carries = "memory" in " ".join(d.step)
    if "ScaledTanh" in classes:
        classes = f"{FUNCTION}\n{classes}"
    head = main.source[: main.source.index("def forward")].rstrip().rsplit("\n", 1)[1]
    head_name = head.split("=")[0].strip().removeprefix("self.")
    setup = [
        "net = Net().to(dtype)",
        f'head_name = "{head_name}"',
        "head = getattr(net, head_name)",
        "kept = {name: value.clone() for name, value in net.state_dict().items()}",
        *([d.objective.setup] if d.objective.setup else []),
        *d.setup,
    ]
    step = f"def step(x, y{', memory' if carries else ''}):"
    body = [
        *setup,
        f"def batch(i):\n    n = {d.sizes}[i]\n    return {main.inputs}, {d.objective.targets}",
        f"{step}\n{textwrap.indent(chr(10).join(line for line in d.step if line), indent)}",
        f"def between(i):\n{textwrap.indent(chr(10).join(d.between) or 'pass', indent)}",
        f"def outer(step, x, y):\n{textwrap.indent(chr(10).join(d.outer), indent)}",
    ]
    text = "\n".join(body)
    if d.random.random() < 0.4:  # closures instead of globals
        text = f"def build():\n{textwrap.indent(text, indent)}\n    return locals()\n"
    return (
        f"# program {seed}: {d.recipe}\nimport copy\n\n"
        f"torch.manual_seed({seed})\nnn, F = torch.nn, torch.nn.functional\ndtype = torch.{dtype}\n"
        f"\n\n{classes}\n\n{text}\n"
    )


class Run:
    """A program that is running with `torch` or a module like it."""

    def __init__(self, program: Program, torch):
        self.torch = torch
        name = f"<program {program.seed}>"
        lines = program.source.splitlines(keepends=True)
        linecache.cache[name] = (len(program.source), None, lines, name)
        names: dict = {"torch": torch, "__name__": f"program{program.seed}"}
        exec(compile(program.source, name, "exec"), names)
        if "build" in names:
            names = {**names, **names["build"]()}
        self.names = names
        self.step = names["step"]

    def advance(self, i: int):
        """The i-th step with what came before it; a copy of what the loop got from the step."""
        self.names["between"](i)
        return copied(self.names["outer"](self.step, *self.names["batch"](i)))

    def state(self) -> dict:
        """A copy of everything that a program could look at, by where it is found."""
        found: dict = {"random state": self.torch.get_rng_state()}
        for name, value in self.names.items():
            if isinstance(value, self.torch.nn.Module):
                found[f"{name} state"] = value.state_dict()
                for path, parameter in value.named_parameters():
                    found[f"{name}.{path}.grad"] = parameter.grad
                    found[f"{name}.{path}.requires_grad"] = parameter.requires_grad
                found[f"{name} modes"] = [module.training for module in value.modules()]
            elif isinstance(value, self.torch.Tensor) or name in ("velocity", "memories"):
                found[name] = value
            elif hasattr(value, "state_dict") and not isinstance(value, type):
                found[f"{name} state"] = value.state_dict()
        return copied(found)
