"""What `danlu.compile` refuses it says once, with the line, and runs eagerly."""

from __future__ import annotations

import inspect
import logging
import os
import random
import re
import tempfile
import threading
import time
import warnings
from collections import Counter

import numpy as np
import pytest

import danlu as torch
from danlu import nn
from tests.unit.compiling import copied, differences, inputs, recorded

pytest.importorskip("llvmlite")

HERE = "# here"  # marks the lines that a refusal has to name
counter = 0
shelf: list = []


def marked_lines(factory):
    lines, first = inspect.getsourcelines(factory)
    return {first + i for i, line in enumerate(lines) if HERE in line}


def line_of(text):
    """The line of this file that a warning names."""
    found = re.search(rf"{re.escape(os.path.basename(__file__))}\D{{1,8}}(\d+)", text)
    return int(found[1]) if found else text


# ---------------------------------------------------------------------- what is refused
# Expressions whose value, or shape, tells what is computed.
BY_VALUE = {
    "item": lambda x: x * x.sum().item(),
    "float of": lambda x: x * float(x.sum()),
    "int of": lambda x: x + int(x[0, 0] * 10),
    "conditional expression": lambda x: x * 2 if (x.mean() > 0).all() else x - 1,
    "builtin max": lambda x: max(x.sum(), x.mean()) * x,
    "tolist": lambda x: x * len(str(x.tolist())),
    "as numpy": lambda x: torch.from_numpy(x.numpy() * 2),
    "numpy function": lambda x: torch.as_tensor(np.sin(np.asarray(x))),
    "equal": lambda x: x + 1 if torch.equal(x, x.clamp(min=0)) else x - 1,
    "allclose": lambda x: x + 1 if torch.allclose(x, x.abs()) else x - 1,
    "formatted": lambda x: x + len(f"{x.sum()}"),
    "number into a tensor": lambda x: torch.tensor([x[0, 0].item(), 1.0]) + x[:, :2],
    "mask selects": lambda x: x[x > 0].sum(),
    "masked select": lambda x: torch.masked_select(x, x > 0),
    "nonzero": lambda x: (x > 0).nonzero(),
    "where alone": lambda x: torch.where(x > 0)[0],
    "unique": lambda x: torch.unique((x * 2).round()),
    "bincount": lambda x: torch.bincount(x.abs().long().flatten()),
    "repeated by tensor": lambda x: x.repeat_interleave((x[:, 0] > 0).long() + 1, dim=0),
    "split by value": lambda x: x[: x.abs().argmax() % 4],
}

REFUSED = []


def refused(factory):
    """Registers a factory of (function, what there is to see of its effects)."""
    REFUSED.append(pytest.param(factory, id=factory.__name__))
    return factory


@refused
def decision():
    def step(x):
        if x.sum() > 0:  # here
            return x * 2
        return x - 1

    return step, lambda: None


@refused
def loop_until():
    def step(x):
        while x.abs().sum() > 1:  # here
            x = x / 2
        return x

    return step, lambda: None


@refused
def loop_over_a_count():
    def step(x):
        for _ in range((x > 0).sum()):  # here
            x = x * 0.9
        return x

    return step, lambda: None


@refused
def asserted():
    def step(x):
        assert (x.abs() < 100).all()  # here
        return x * 2

    return step, lambda: None


@refused
def printed_tensor():
    def step(x):
        print(x.sum())  # here
        return x * 2

    return step, lambda: None


@refused
def printed_text():
    def step(x):
        print("step")  # here
        return x * 2

    return step, lambda: None


@refused
def logged():
    def step(x):
        logging.getLogger("a").warning("step")  # here
        return x * 2

    return step, lambda: None


@refused
def appended():
    seen = []

    def step(x):
        seen.append(1)  # here
        return x * 2

    return step, lambda: list(seen)


@refused
def tensor_appended():
    losses = []

    def step(x):
        losses.append(x.sum())  # here
        return x * 2

    return step, lambda: copied(losses)


@refused
def appended_to_a_global():
    shelf.clear()

    def step(x):
        shelf.append(len(shelf))  # here
        return x * 2

    return step, lambda: list(shelf)


@refused
def added_to_a_list():
    seen = []

    def step(x):
        nonlocal seen
        seen += [1]  # here
        return x * 2

    return step, lambda: list(seen)


@refused
def dict_item():
    seen = {"n": 0}

    def step(x):
        seen["n"] += 1  # here
        return x * seen["n"]

    return step, lambda: dict(seen)


@refused
def dict_update():
    seen = {"n": 0}

    def step(x):
        seen.update(n=seen["n"] + 2)  # here
        return x

    return step, lambda: dict(seen)


@refused
def counted():
    seen = Counter()

    def step(x):
        seen["calls"] += 1  # here
        return x + 1

    return step, lambda: dict(seen)


@refused
def set_add():
    seen = set()

    def step(x):
        seen.add(len(seen))  # here
        return x + 1

    return step, lambda: set(seen)


@refused
def popped():
    weights = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]

    def step(x):
        return x * weights.pop()  # here

    return step, lambda: list(weights)


@refused
def global_counter():
    global counter
    counter = 0

    def step(x):
        global counter
        counter += 1  # here
        return x * counter

    return step, lambda: counter


@refused
def nonlocal_counter():
    calls = 0

    def step(x):
        nonlocal calls
        calls += 1  # here
        return x * 2

    return step, lambda: calls


@refused
def nonlocal_tensor():
    last = torch.zeros(4, 3)

    def step(x):
        nonlocal last
        last = 0.5 * last + x  # here
        return last * 2

    return step, lambda: copied(last)


@refused
def module_counter():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1  # here
            return x * self.calls

    net = Net()
    return (lambda x: net(x)), lambda: net.calls


@refused
def module_keeps_a_result():
    class Net(nn.Module):
        def forward(self, x):
            self.last = x * 2  # here
            return self.last + 1

    net = Net()
    return (lambda x: net(x)), lambda: copied(net.last)


@refused
def object_counter():
    class State:
        calls = 0

    state = State()

    def step(x):
        state.calls += 1  # here
        return x * 2

    return step, lambda: state.calls


@refused
def setattr_counter():
    class State:
        calls = 0

    state = State()

    def step(x):
        setattr(state, "calls", state.calls + 1)  # noqa: B010  # here
        return x * 2

    return step, lambda: state.calls


@refused
def namespace_counter():
    class State:
        calls = 0

    state = State()

    def step(x):
        vars(state)["calls"] = state.calls + 1  # here
        return x * 2

    return step, lambda: state.calls


@refused
def attribute_of_a_function():
    def step(x):
        step.calls = getattr(step, "calls", 0) + 1  # here
        return x * 2

    return step, lambda: step.calls


@refused
def numpy_randomness():
    np.random.seed(1)

    def step(x):
        return x * float(np.random.rand())  # here

    return step, lambda: np.random.get_state()[1].tolist()


@refused
def numpy_generator():
    stream = np.random.default_rng(1)

    def step(x):
        return x * stream.random()  # here

    return step, lambda: stream.bit_generator.state["state"]


@refused
def python_randomness():
    random.seed(1)

    def step(x):
        return x * random.random()  # here

    return step, random.getstate


@refused
def shuffled():
    order = random.Random(1)

    def step(x):
        rows = [0, 1, 2, 3]
        order.shuffle(rows)  # here
        return x[rows]

    return step, order.getstate


@refused
def clock():
    times = []

    def step(x):
        return x * (time.time() > 0)  # here

    return step, lambda: times


@refused
def stopwatch():
    def step(x):
        start = time.perf_counter()  # here
        y = x * 2
        return y + 0 * (time.perf_counter() - start)

    return step, lambda: None


@refused
def file_writes():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "log")

    def step(x):
        with open(path, "a") as file:  # here
            file.write("step\n")
        return x * 2

    def look():
        with open(path) as file:
            return file.read()

    return step, look


@refused
def file_kept_open():
    file = tempfile.TemporaryFile("w+")  # noqa: SIM115

    def step(x):
        file.write("step\n")  # here
        return x * 2

    return step, lambda: file.tell()


@refused
def tensor_hook_with_effect():
    seen = []
    w = torch.ones(3, requires_grad=True)

    def step(x):
        y = x * w
        y.register_hook(lambda g: seen.append(1))  # here
        y.sum().backward()
        return w.grad * 2

    return step, lambda: (list(seen), copied(w.grad))


@refused
def parameter_hook_with_effect():
    seen = []
    w = torch.ones(3, requires_grad=True)
    w.register_hook(lambda g: seen.append(1))  # here

    def step(x):
        (x * w).sum().backward()
        return x + 1

    return step, lambda: (list(seen), copied(w.grad))


@refused
def forward_hook_with_effect():
    seen = []
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    net.register_forward_hook(lambda module, arguments, out: seen.append(out.shape))  # here

    def step(x):
        return net(x)

    return step, lambda: list(seen)


@refused
def generator_consumed():
    factors = iter(range(1, 9))

    def step(x):
        return x * next(factors)  # here

    return step, lambda: factors.__reduce__()[1:]


@refused
def generator_in_a_loop():
    factors = (n / 2 for n in range(1, 20))

    def step(x):
        for factor in factors:  # here
            return x * factor
        return x

    return step, lambda: None


@refused
def thread_started():
    seen = []

    def step(x):
        thread = threading.Thread(target=lambda: seen.append(1))  # here
        thread.start()
        thread.join()
        return x * 2

    return step, lambda: list(seen)


@refused
def effect_in_a_helper():
    seen = []

    def note(value):
        seen.append(value)  # here

    def step(x):
        note(1)
        return x * 2

    return step, lambda: list(seen)


@refused
def effect_in_a_comprehension():
    seen = []

    def step(x):
        return sum([seen.append(1) or part for part in x])  # here

    return step, lambda: list(seen)


@refused
def effect_in_a_property():
    class Config:
        reads = 0

        @property
        def scale(self):
            self.reads += 1  # here
            return 2.0

    config = Config()
    return (lambda x: x * config.scale), lambda: config.reads


@refused
def warned():
    def step(x):
        warnings.warn("look", UserWarning, stacklevel=1)  # here
        return x * 2

    return step, lambda: None


@refused
def saved():
    path = os.path.join(tempfile.mkdtemp(), "x.pt")

    def step(x):
        torch.save(x, path)  # here
        return x * 2

    return step, lambda: copied(torch.load(path))


@refused
def attribute_of_a_tensor():
    w = torch.ones(3)
    w.calls = 0

    def step(x):
        w.calls += 1  # here
        return x * w

    return step, lambda: w.calls


@pytest.mark.parametrize("factory", REFUSED)
def test_a_refusal_warns_once_with_the_line_and_runs_eagerly(factory, capfd):
    step, look = factory()
    expected, _ = recorded(step, *inputs())
    seen = look()
    shown = capfd.readouterr()
    step, look = factory()
    compiled = torch.compile(step)
    found, told = recorded(compiled, *inputs())
    assert not differences(found, expected, "float32")
    assert repr(look()) == repr(seen)
    again = capfd.readouterr()
    assert (again.out, again.err) == (shown.out, shown.err)
    stats = torch.compiler.stats(compiled)
    assert len(told) == 1, told
    assert line_of(told[0]) in marked_lines(factory)
    assert stats.compiled_calls == 0 and stats.eager_calls == 4
    assert len(stats.refusals) == 1 and stats.refusals[0] in told[0]


@pytest.mark.parametrize("name", BY_VALUE)
def test_what_depends_on_values_is_refused(name):
    step = BY_VALUE[name]
    expected, _ = recorded(step, *inputs())
    compiled = torch.compile(step)
    found, told = recorded(compiled, *inputs())
    assert not differences(found, expected, "float32")
    assert len(told) == 1, told
    assert line_of(told[0]) == step.__code__.co_firstlineno
    assert torch.compiler.stats(compiled).compiled_calls == 0


def test_lbfgs_is_right():
    def run(transform):
        torch.manual_seed(1)
        net = nn.Linear(3, 1)
        optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=4)

        def step(x):
            def closure():
                optimizer.zero_grad()
                loss = (net(x) - 1).square().mean()
                loss.backward()
                return loss

            return optimizer.step(closure)

        found, told = recorded(transform(step), *inputs())
        return [found, copied(net.state_dict())], told

    (expected, _), (found, told) = run(lambda step: step), run(torch.compile)
    assert not differences(found, expected, "float32")
    assert len(told) <= 1


def test_each_refused_function_warns_for_itself():
    def first(x):
        return x * x.sum().item()

    def second(x):
        return x - x.mean().item()

    _, told = recorded(torch.compile(first), *inputs())
    _, more = recorded(torch.compile(second), *inputs())
    assert len(told) == len(more) == 1 and told != more


def test_fullgraph_raises_instead():
    @torch.compile(fullgraph=True)
    def step(x):
        return x * x.sum().item()

    with pytest.raises(RuntimeError, match="step"):
        step(torch.ones(3))
