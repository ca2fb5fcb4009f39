"""Programs made to deceive a tracer: compiled code may refuse them, and is never wrong."""

from __future__ import annotations

import contextvars
import functools
import weakref

import pytest

import danlu as torch
from danlu import nn
from tests.unit.compiling import copied, differences, outcome

pytest.importorskip("llvmlite")

TRAPS = []


def trap(factory):
    """Registers a factory of (step, what happens before each call, what there is to see)."""
    TRAPS.append(pytest.param(factory, id=factory.__name__))
    return factory


def nothing(i):
    pass


def linear():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


# ---------------------------------------------------------------------- caches
@trap
def cached_tensor():
    @functools.lru_cache
    def positions(n):
        return torch.arange(n) * 1.0

    return lambda x: x + positions(x.shape[1]), nothing, lambda: copied(positions(3) + 1)


@trap
def cached_property():
    class Net(nn.Module):
        @functools.cached_property
        def mask(self):
            return torch.ones(3) * 2

        def forward(self, x):
            return x * self.mask

    net = Net()
    return (lambda x: net(x)), nothing, lambda: copied(net.mask * 3)


@trap
def memory_of_a_closure():
    known = {}

    def step(x):
        scale = known.setdefault(x.shape, torch.full((3,), 2.0))
        return x * scale

    return step, nothing, lambda: copied([value + 1 for value in known.values()])


@trap
def default_that_remembers():
    def step(x, seen=[]):  # noqa: B006
        seen.append(x.sum())
        return x * len(seen)

    return step, nothing, lambda: copied(step.__defaults__[0])


@trap
def made_when_first_called():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = None

        def forward(self, x):
            if self.layer is None:
                torch.manual_seed(4)
                self.layer = nn.Linear(x.shape[1], 2)
            return self.layer(x)

    net = Net()
    return (lambda x: net(x)), nothing, lambda: copied(net.state_dict())


@trap
def lazy_module():
    torch.manual_seed(0)
    net = nn.LazyLinear(2)
    return (lambda x: net(x)), nothing, lambda: copied(net.state_dict())


@trap
def lazy_module_in_training():
    torch.manual_seed(0)
    net = nn.Sequential(nn.LazyLinear(3), nn.Tanh(), nn.LazyLinear(1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step, nothing, lambda: copied(net.state_dict())


def test_a_lazy_module_is_compiled_from_its_second_call_on():
    step, _, _ = lazy_module_in_training()
    compiled = torch.compile(step)
    for _ in range(5):
        compiled(torch.ones(4, 3))
    stats = torch.compiler.stats(compiled)
    assert not stats.refusals
    assert stats.compiled_calls == 3


# ---------------------------------------------------------------------- values that are baked
@trap
def rate_returned():
    net = linear()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach(), optimizer.param_groups[0]["lr"]

    def before(i):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)

    return step, before, lambda: copied(net.state_dict())


@trap
def rate_decides():
    net = linear()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        scale = 2.0 if optimizer.param_groups[0]["lr"] > 0.03 else 3.0
        loss = net(x).square().mean() * scale * optimizer.param_groups[0]["lr"]
        loss.backward()
        optimizer.step()
        return loss.detach()

    def before(i):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)

    return step, before, lambda: copied(net.state_dict())


@trap
def rate_changed_inside():
    net = linear()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.param_groups[0]["lr"] *= 0.7
        optimizer.step()
        return loss.detach()

    return step, nothing, lambda: copied([net.state_dict(), optimizer.state_dict()])


@trap
def last_rate_of_a_scheduler():
    net = linear()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.detach() * scheduler.get_last_lr()[0], scheduler.last_epoch

    return step, nothing, lambda: copied([net.state_dict(), scheduler.state_dict()])


@trap
def length_of_a_list():
    seen = []
    return lambda x: x * len(seen), seen.append, lambda: seen


@trap
def membership():
    seen = set()
    return lambda x: x * 2 if 3 in seen else x, seen.add, lambda: sorted(seen)


@trap
def order_of_a_dict():
    table = {"a": 1.0, "b": 2.0}

    def before(i):
        table["a"] = table.pop("a")
        table["b"] = table.pop("b") if i % 2 else table["b"]

    def step(x):
        for value in table.values():
            x = (x + value) * value
        return x

    return step, before, lambda: list(table)


@trap
def state_of_an_optimizer():
    net = linear()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean() * (1 + len(optimizer.state))
        loss.backward()
        optimizer.step()
        return loss.detach(), len(optimizer.state)

    return step, nothing, lambda: copied(optimizer.state_dict())


@trap
def count_of_steps():
    net = linear()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach(), optimizer.state[net.weight]["step"] * 2

    return step, nothing, lambda: copied(optimizer.state_dict())


@trap
def version_of_a_tensor():
    w = torch.ones(3)
    return lambda x: x * w._version, lambda i: w.add_(1), lambda: w._version


@trap
def address_of_a_tensor():
    kept = [torch.ones(3), torch.zeros(3)]

    def before(i):
        kept.reverse()

    def step(x):
        return x * (kept[0].data_ptr() != kept[1].data_ptr()) + kept[0]

    return step, before, lambda: copied(kept)


@trap
def identity_of_tensors():
    first, second = torch.ones(3), torch.ones(3)
    chosen = [first]

    def before(i):
        chosen[0] = second if i % 3 == 2 else first

    return lambda x: x * (2 if chosen[0] is first else 3), before, lambda: None


@trap
def modes_that_are_read():
    def before(i):
        torch.set_grad_enabled(i % 2 == 0)

    def look():
        torch.set_grad_enabled(True)

    return lambda x: x * (2 if torch.is_grad_enabled() else 3), before, look


@trap
def threads_that_are_read():
    known = torch.get_num_threads()

    def before(i):
        torch.set_num_threads(1 + i % 2)

    return lambda x: x * torch.get_num_threads(), before, lambda: torch.set_num_threads(known)


@trap
def seed_that_is_read():
    return lambda x: x * (torch.initial_seed() % 7), torch.manual_seed, lambda: None


@trap
def weak_reference():
    class Config:
        scale = 2.0

    box = [Config()]
    reference = weakref.ref(box[0])

    def before(i):
        if i == 3:
            box.clear()

    return lambda x: x * (2.0 if reference() is not None else 3.0), before, lambda: len(box)


@trap
def class_of_an_object():
    class Double:
        def __call__(self, x):
            return x * 2

    class Triple:
        def __call__(self, x):
            return x * 3

    scale = Double()

    def before(i):
        scale.__class__ = Triple if i % 4 == 3 else Double

    return lambda x: scale(x), before, lambda: None


@trap
def context_variable_that_is_read():
    scale = contextvars.ContextVar("scale", default=2.0)
    return lambda x: x * scale.get(), lambda i: scale.set(i + 1.0), lambda: None


@trap
def attribute_by_name():
    class Config:
        a, b = 2.0, 3.0

    config, name = Config(), ["a"]

    def before(i):
        setattr(config, name[0], i + 1.0)

    return lambda x: x * getattr(config, "ab"[len(name) - 1]) * vars(config)["a"], before, lambda: 0


@trap
def getattr_hook():
    values = {"scale": 2.0}

    class Config:
        def __getattr__(self, name):
            return values[name]

    config = Config()
    return lambda x: x * config.scale, lambda i: values.update(scale=i + 1.0), lambda: None


@trap
def descriptor():
    values = [2.0]

    class Scale:
        def __get__(self, instance, owner):
            return values[0]

    class Config:
        scale = Scale()

    config = Config()
    return lambda x: x * config.scale, lambda i: values.__setitem__(0, i + 1.0), lambda: None


@trap
def closure_of_a_closure():
    value = 1.0

    def outer():
        def inner(x):
            return x * value

        return inner

    inner = outer()

    def before(i):
        nonlocal value
        value = i + 1.0

    return lambda x: inner(x), before, lambda: value


@trap
def dropout_seeded_inside():
    def step(x):
        torch.manual_seed(11)
        return torch.dropout(x, 0.5, True), torch.rand(2)

    return step, nothing, lambda: torch.rand(2)


@trap
def state_forked():
    def step(x):
        with torch.random.fork_rng():
            a = torch.rand(3)
        return x + a - torch.rand(3)

    return step, nothing, lambda: torch.rand(2)


@trap
def grad_mode_left_changed():
    def step(x):
        torch.set_grad_enabled(not torch.is_grad_enabled())
        return x * 2

    def look():
        mode = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        return mode

    return step, nothing, look


@trap
def tied_weights():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, nothing, lambda: copied(net.state_dict())


@trap
def weights_that_share_memory():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight.data = first.weight.data.t()
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = second(first(x).tanh()).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, nothing, lambda: copied([first.state_dict(), second.state_dict()])


@trap
def input_is_the_tensor_that_is_written():
    w = torch.ones(4, 3)

    def step(x):
        other = shared[0]
        w.add_(1)
        return x + other * 2

    shared = [torch.zeros(4, 3)]

    def before(i):
        shared[0] = w if i % 3 == 2 else torch.zeros(4, 3)

    return step, before, lambda: copied(w)


@trap
def buffer_assigned():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x):
            self.mean = 0.5 * self.mean + x.mean(0)
            return x - self.mean

    net = Net()
    return (lambda x: net(x)), nothing, lambda: copied(net.state_dict())


@trap
def weights_loaded_inside():
    net = linear()
    kept = {name: value.clone() for name, value in net.state_dict().items()}

    def step(x):
        net.load_state_dict(kept)
        with torch.no_grad():
            net.weight.add_(x.mean())
        return net(x)

    return step, nothing, lambda: copied(net.state_dict())


@trap
def modes_changed_inside():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))

    def step(x):
        net.eval()
        with torch.no_grad():
            before = net(x)
        net.train()
        return net(x), before

    return step, nothing, lambda: copied([net.state_dict(), net.training])


@trap
def mode_left_changed():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))

    def step(x):
        out = net(x)
        net.train(not net.training)
        return out

    return step, nothing, lambda: net.training


@trap
def full_backward_hook():
    net, seen = linear(), []
    net.register_full_backward_hook(lambda module, inner, outer: seen.append(copied(outer[0])))

    def step(x):
        net.zero_grad()
        net(x.requires_grad_()).sum().backward()
        return net.weight.grad * 2

    return step, nothing, lambda: copied(seen)


@trap
def hook_after_accumulation():
    net, seen = linear(), []
    net.weight.register_post_accumulate_grad_hook(lambda p: seen.append(copied(p.grad)))

    def step(x):
        net.zero_grad()
        net(x).sum().backward()

    return step, nothing, lambda: copied(seen)


@trap
def hook_of_an_optimizer():
    net, seen = linear(), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *arguments: seen.append(1))

    def step(x):
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()

    return step, nothing, lambda: (copied(net.state_dict()), list(seen))


@trap
def gradient_shared_with_another_name():
    net = linear()
    kept = []

    def before(i):
        kept[:] = [net.weight.grad]

    def step(x):
        net(x).square().sum().backward()

    return step, before, lambda: copied([kept, net.weight.grad])


@trap
def tensor_subclass():
    class Named(torch.Tensor):
        pass

    w = torch.ones(3).as_subclass(Named) if hasattr(torch.Tensor, "as_subclass") else torch.ones(3)
    return lambda x: (x * w, type(w).__name__), nothing, lambda: None


@trap
def anomaly_mode():
    w = torch.ones(3, requires_grad=True)

    def step(x):
        w.grad = None
        with torch.autograd.detect_anomaly(check_nan=False):
            (x * w).sum().backward()
        return w.grad

    return step, nothing, lambda: None


@pytest.mark.parametrize("factory", TRAPS)
def test_nothing_deceives(factory):
    expected = outcome(factory, lambda step: step)
    assert not differences(outcome(factory, torch.compile), expected, "float32")
