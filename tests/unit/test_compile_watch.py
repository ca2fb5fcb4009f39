"""What a traced function does besides computing is refused, on its line, and undone."""

from __future__ import annotations

import array
import collections
import functools
import inspect
import io
import os
import random
import sys
import threading
import time
import types

import numpy as np
import pytest

import danlu as torch
from danlu import nn
from danlu.compiler.watch import Observer, Refused
from tests.unit.watching import observe

counter = 0
history = [1]
table = {"a": 1}
kept = {1, 2}
waiting = collections.deque([1])
marks = np.zeros(3)
numbers_left = iter([1, 2, 3])
wide = list(range(2000))


def generate():
    yield from range(3)


outside_generator = generate()


class Meter:
    total = 0
    log: list = []

    def __init__(self):
        self.count = 0
        self.values = [1]

    def add(self, x):
        self.count += 1  # <-
        return x

    def note(self, x):
        self.log.append(1)  # <-
        return x


class Slotted:
    __slots__ = ("count",)

    def __init__(self):
        self.count = 0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.calls = 0
        self.widths = [1, 2]

    def forward(self, x):
        return self.layer(x)


class CountingNet(Net):
    def forward(self, x):
        self.calls += 1  # <-
        return self.layer(x)


meter = Meter()
tensor = torch.ones(2)
tensor.calls = 0
slotted = Slotted()
net = Net()
counting_net = CountingNet()
settings = types.SimpleNamespace(lr=0.1, sizes=[1, 2])


def effect_print(x):
    y = x * 2
    print(y.shape)  # <-
    return y


def effect_print_spread(x):
    print(*x.shape)  # <-
    return x


def effect_open(x):
    with open(os.devnull) as file:  # <-
        file.read()
    return x


def effect_time(x):
    started = time.perf_counter()  # <-
    return x, started


def effect_random(x):
    return x * random.random()  # <-


def effect_random_in_python(x):
    return x * random.randint(1, 2)  # <-


def effect_numpy_random(x):
    return x * np.random.rand()  # <-


def effect_numpy(x):
    return x * float(np.mean([1.0, 2.0]))  # <-


def effect_numpy_array(x):
    return x * np.array([1.0])  # <-


def effect_input(x):
    input()  # <-
    return x


def effect_thread(x):
    threading.Thread(target=len).start()  # <-
    return x


def effect_environment(x):
    os.getcwd()  # <-
    return x


def effect_handed_on(x):
    return [*map(print, [])], x  # <-


def effect_append(x):
    history.append(1)  # <-
    return x


def effect_alias(x):
    items = meter.values
    items.append(2)  # <-
    return x


def effect_extend_spread(x):
    history.extend(*[[1]])  # <-
    return x


def effect_dict_update(x):
    table.update(b=2)  # <-
    return x


def effect_set_add(x):
    kept.add(3)  # <-
    return x


def effect_deque(x):
    waiting.append(x.shape)  # <-
    return x


def effect_item(x):
    table["a"] = 2  # <-
    return x


def effect_delete_item(x):
    del table["a"]  # <-
    return x


def effect_operator(x):
    global history
    history += [1]  # <-
    return x


def effect_array(x):
    marks[0] = 1  # <-
    return x


def effect_global(x):
    global counter
    counter += 1  # <-
    return x


def effect_new_global(x):
    global not_there_before
    not_there_before = 1  # <-
    return x


def effect_attribute(x):
    meter.count = 5  # <-
    return x


def effect_new_attribute(x):
    meter.fresh = 5  # <-
    return x


def effect_slot(x):
    slotted.count += 1  # <-
    return x


def effect_delete_attribute(x):
    del meter.count  # <-
    return x


def effect_setattr(x):
    setattr(meter, "count", 9)  # noqa: B010  <-
    return x


def effect_object_setattr(x):
    object.__setattr__(meter, "count", 9)  # <-
    return x


def effect_class_attribute(x):
    Meter.total += 1  # <-
    return x


def effect_method(x):
    return meter.add(x)


def effect_class_list(x):
    return meter.note(x)


def effect_function_attribute(x):
    effect_print.calls = 1  # <-
    return x


def effect_module(x):
    net.calls = 3  # <-
    return net(x)


def effect_module_in_forward(x):
    return counting_net(x)


def effect_module_mode(x):
    net.eval()  # <-
    return net(x)


def effect_module_list(x):
    net.widths[0] = 5  # <-
    return net(x)


def effect_module_buffer(x):
    net.register_buffer("extra", None)  # <-
    return net(x)


def effect_new_hook(x):
    net.register_forward_hook(len)  # <-
    return x


def effect_nested(x):
    def inner():
        history.append(2)  # <-

    inner()
    return x


def effect_default(x, cache={}):  # noqa: B006
    cache["x"] = 1  # <-
    return x


def effect_caught(x):
    try:
        print()  # <-
    except Exception:
        pass
    return x


def effect_tensor_attribute(x):
    tensor.calls += 1  # <-
    return x


def effect_new_tensor_attribute(x):
    tensor.fresh = 1  # <-
    return x


def effect_namespace(x):
    settings.lr = 0.2  # <-
    return x


def effect_save(x):
    torch.save(x, os.devnull)  # <-
    return x


def effect_iterator(x):
    y = x + 1
    return y * next(numbers_left)  # <-


def effect_generator(x):
    y = x + 1
    return y * next(outside_generator)  # <-


def effect_too_wide(x):
    y = x + 1
    return y * wide[0]  # <-


EFFECTS = {name: f for name, f in list(globals().items()) if name.startswith("effect_")}
ELSEWHERE = {
    "effect_method": Meter.add, "effect_class_list": Meter.note,
    "effect_module_in_forward": CountingNet.forward,
}  # fmt: skip


def marked_line(function) -> str | None:
    lines, first = inspect.getsourcelines(function)
    marked = [first + i for i, line in enumerate(lines) if line.rstrip().endswith("<-")]
    return f"{__file__}:{marked[0]}" if marked else None


def python_state():
    return (
        counter, [*history], {**table}, {*kept}, [*waiting], marks.tolist(), vars(meter).copy(),
        [*meter.values], [*Meter.log], Meter.total, slotted.count, net.calls, net.training,
        [*net.widths], [*net._buffers], counting_net.calls, "not_there_before" in globals(),
        len(net._forward_hooks), vars(effect_print).copy(), vars(settings).copy(), vars(tensor).copy(),
        effect_default.__defaults__[0].copy(),
    )  # fmt: skip


if sys.version_info < (3, 11):  # its bytecode does not tell calls from other uses
    del EFFECTS["effect_handed_on"]


@pytest.mark.parametrize("name", EFFECTS)
def test_effects_are_refused_and_undone(name):
    before = python_state()
    with pytest.raises(Refused) as caught:
        observe(EFFECTS[name])
    line = marked_line(ELSEWHERE.get(name, EFFECTS[name]))
    assert line is None or caught.value.where == line, caught.value.reason
    assert caught.value.reason
    assert python_state() == before
    assert sys.getprofile() is None


def test_outside_iterators_are_not_advanced():
    for name in ("effect_iterator", "effect_generator"):
        with pytest.raises(Refused, match="iterator from outside"):
            observe(EFFECTS[name])
    assert next(outside_generator) == 0
    assert next(numbers_left) == 1


@pytest.mark.parametrize("value", [array.array("d", [1.0]), memoryview(b"ab"), io.StringIO()])
def test_state_that_cannot_be_compared(value):
    with pytest.raises(Refused, match="value is a"):
        observe(lambda x: x * bool(value))


def test_too_much_state():
    with pytest.raises(Refused, match="too much Python state to guard"):
        observe(effect_too_wide)


def test_enclosed_variables_are_restored():
    total = 0
    kept_list = []

    def step(x):
        nonlocal total
        total += 1  # <-
        return x

    def appending(x):
        kept_list.append(x)  # <-
        return x

    for function in (step, appending):
        with pytest.raises(Refused) as caught:
            observe(function)
        assert caught.value.where == marked_line(function)
    assert total == 0
    assert kept_list == []


def test_arguments_are_not_changed():
    def step(batch):
        batch["x"] = batch["x"] * 2  # <-
        return batch["x"]

    batch = {"x": torch.ones(2)}
    with pytest.raises(Refused) as caught:
        observe(step, batch)
    assert caught.value.where == marked_line(step)
    assert batch["x"].tolist() == [1, 1]


def test_iterators_as_arguments():
    with pytest.raises(Refused, match="iterator"):
        observe(lambda items: next(items), iter([1]))


def test_exceptions_pass_and_undo():
    def failing(x):
        table["b"] = 1
        raise KeyError("mine")  # <-

    observer = Observer(failing)
    with pytest.raises(KeyError, match="mine"):
        observer.run((1,), {})
    assert observer.where == marked_line(failing)
    assert table == {"a": 1}


def test_profiler_is_put_back():
    seen = []

    def profile(frame, event, argument):
        seen.append(event)

    sys.setprofile(profile)
    try:
        observe(lambda x: x + 1)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


def test_functions_that_the_walk_does_not_meet():
    def make():
        seen = []

        def hook(module, args):
            seen.append(1)  # <-

        return hook, seen

    hook, seen = make()
    layer = nn.Linear(2, 2)
    with layer.register_forward_pre_hook(hook), pytest.raises(Refused) as caught:
        observe(layer)
    assert caught.value.where == marked_line(hook)
    assert seen == []


def test_caches_that_fill():
    @functools.lru_cache
    def mask(n):
        return torch.ones(n)

    def step(x):
        return x * mask(2)

    with pytest.raises(Refused, match="cache") as caught:
        observe(step)
    assert not caught.value.lasting
    assert mask.cache_info().currsize == 0
    mask(2)
    observe(step)
