"""Functions, classes and modules that change after a trace are seen, or were refused."""

from __future__ import annotations

import abc
import collections
import contextvars
import decimal
import functools
import itertools
import operator
import os
import sys
import threading
import time
import types
import weakref

import pytest

import danlu as torch
import danlu.nn.functional as F
from danlu import nn
from danlu.compiler.bytecode import Names
from danlu.compiler.watch import Refused
from tests.unit.watching import checker, observe


def _default():
    def step(x, by=2.0):
        return x * by

    return step, lambda: setattr(step, "__defaults__", (4.0,))


def _keyword_default():
    def step(x, *, by=2.0):
        return x * by

    return step, lambda: setattr(step, "__kwdefaults__", {"by": 4.0})


def _keyword_default_item():
    def step(x, *, by=2.0):
        return x * by

    return step, lambda: step.__kwdefaults__.update(by=4.0)


def _own_code():
    def step(x):
        return x * 2

    return step, lambda: setattr(step, "__code__", (lambda x: x * 3).__code__)


def _code_of_a_helper():
    def helper(x):
        return x * 2

    return lambda x: helper(x), lambda: setattr(helper, "__code__", (lambda x: x * 3).__code__)


def _default_of_a_method():
    class Scale:
        def by(self, x, factor=2.0):
            return x * factor

    scale = Scale()
    return lambda x: scale.by(x), lambda: setattr(Scale.by, "__defaults__", (3.0,))


def _default_of_init():
    class Scale:
        def __init__(self, factor=2.0):
            self.factor = factor

    return lambda x: x * Scale().factor, lambda: setattr(Scale.__init__, "__defaults__", (3.0,))


def _class_of_a_module():
    net = nn.Sequential(nn.Tanh())
    return net, lambda: setattr(net[0], "__class__", nn.Sigmoid)


def _twins():
    class Double:
        def __call__(self, x):
            return x * 2

    class Triple:
        def __call__(self, x):
            return x * 3

    return Double(), Triple


def _class_of_a_callable():
    double, triple = _twins()
    return lambda x: double(x), lambda: setattr(double, "__class__", triple)


def _class_of_the_function_itself():
    double, triple = _twins()
    return double, lambda: setattr(double, "__class__", triple)


def _class_of_an_optimizer():
    class Other(torch.optim.SGD):
        pass

    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    return (
        lambda x: x * isinstance(optimizer, Other),
        lambda: setattr(optimizer, "__class__", Other),
    )


def _base_and_derived():
    class Base:
        factor = 2.0

        def __mul__(self, x):
            return x * 2

        def by(self, x):
            return x * self.factor

    class Derived(Base):
        pass

    return Base, Derived


def _attribute_that_hides():
    _, derived = _base_and_derived()
    scale = derived()
    return lambda x: scale.by(x), lambda: setattr(derived, "factor", 3.0)


def _method_that_hides():
    _, derived = _base_and_derived()
    scale = derived()
    return lambda x: scale.by(x), lambda: setattr(derived, "by", lambda self, x: x)


def _operator_that_hides():
    _, derived = _base_and_derived()
    scale = derived()
    return lambda x: scale * x, lambda: setattr(derived, "__mul__", lambda self, x: x)


def _forward_that_hides():
    class Block(nn.Linear):
        pass

    return Block(2, 2), lambda: setattr(Block, "forward", lambda self, x: x)


def _other_base():
    base, derived = _base_and_derived()
    scale, other = derived(), type("Other", (base,), {"factor": 3.0})
    return lambda x: scale.by(x), lambda: setattr(derived, "__bases__", (other,))


def _truth():
    thing = type("Thing", (), {})()
    return (
        lambda x: x if thing else -x,
        lambda: setattr(type(thing), "__bool__", lambda self: False),
    )


def _metaclass():
    class Meta(type):
        factors = [2.0]

        def __getitem__(cls, number):
            return cls.factors[number]

    class Scale(metaclass=Meta):
        pass

    return lambda x: x * Scale[0], lambda: Meta.factors.__setitem__(0, 3.0)


def _registered_class():
    class Abstract(abc.ABC):  # noqa: B024
        pass

    class Thing:
        pass

    thing = Thing()
    return lambda x: x * isinstance(thing, Abstract), lambda: Abstract.register(Thing)


def _name_of_a_class():
    thing = type("Thing", (), {})()
    return (
        lambda x: x * len(type(thing).__name__),
        lambda: setattr(type(thing), "__name__", "Other"),
    )


def _attribute_past_getattr():
    class Lazy:
        def __getattr__(self, name):
            return 2.0

    lazy = Lazy()
    return lambda x: x * lazy.factor, lambda: setattr(lazy, "factor", 3.0)


def _missing_attribute():
    thing = type("Thing", (), {})()

    def step(x):
        try:
            return x * thing.factor
        except AttributeError:
            return x

    return step, lambda: setattr(thing, "factor", 3.0)


def _unset_slot():
    thing = type("Thing", (), {"__slots__": ("factor",)})()
    return lambda x: x * hasattr(thing, "factor"), lambda: setattr(thing, "factor", 3.0)


def _missing_class_attribute():
    cls = type("Thing", (), {})
    return lambda x: x * hasattr(cls, "factor"), lambda: setattr(cls, "factor", 3.0)


def _attribute_of_a_named_tuple():
    class Pair(collections.namedtuple("Pair", "a b")):
        pass

    pair = Pair(1.0, 2.0)
    pair.factor = 2.0
    return lambda x: x * pair.factor, lambda: setattr(pair, "factor", 3.0)


def _default_factory():
    table = collections.defaultdict(lambda: 2.0)

    def step(x):
        try:
            return x * table["a"]
        finally:
            del table["a"]

    return step, lambda: setattr(table, "default_factory", lambda: 3.0)


def _view_of_a_dictionary():
    table = {"a": 2.0}
    values = table.values()
    return lambda x: x * sum(values), lambda: table.update(a=3.0)


def _proxy_of_a_dictionary():
    table = {"a": 2.0}
    proxy = types.MappingProxyType(table)
    return lambda x: x * proxy["a"], lambda: table.update(a=3.0)


def _cell():
    cell = types.CellType(2.0)
    return lambda x: x * cell.cell_contents, lambda: setattr(cell, "cell_contents", 3.0)


def _text_of_a_namespace():
    config = types.SimpleNamespace(size=1)
    return lambda x: x * len(f"{config}"), lambda: setattr(config, "size", 100)


def _environment():
    os.environ["DANLU_TEST"] = "2"
    return lambda x: x * float(os.getenv("DANLU_TEST")), lambda: os.environ.update(DANLU_TEST="3")


def _hidden_builtin():
    scope = {"__name__": "scope"}
    exec("def step(x):\n    return x * max(1.0, 2.0)", scope)
    return scope["step"], lambda: scope.update(max=min)


def _function_of_danlu():
    return lambda x: F.relu(x), lambda: setattr(F, "relu", F.gelu)


def _constant_of_danlu():
    torch.factor = 2.0
    return lambda x: x * torch.factor, lambda: setattr(torch, "factor", 3.0)


def _asks_for_gradients():
    weight = torch.ones(1)
    return lambda x: x * weight.requires_grad, weight.requires_grad_


def _entries_of_an_optimizer():
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight])

    def change():
        weight.sum().backward()
        optimizer.step()

    return lambda x: x * len(optimizer.state), change


def _attribute_of_an_optimizer():
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    return lambda x: x * optimizer.defaults["lr"], lambda: optimizer.defaults.update(lr=0.2)


def _attribute_of_a_scheduler():
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return lambda x: x * scheduler.last_epoch, lambda: setattr(scheduler, "last_epoch", 5)


def _kept_results():
    factors = [2.0]

    def factor():
        return factors[0]

    kept = functools.lru_cache(lambda number: factor() * number)
    kept(1)

    def change():
        factors[0] = 3.0
        kept.cache_clear()
        kept(1)

    return lambda x: x * kept(1), change


CHANGES = {name: make for name, make in list(globals().items()) if name.startswith("_") and (
    getattr(make, "__code__", None) and not make.__code__.co_argcount)}  # fmt: skip
del CHANGES["_twins"], CHANGES["_base_and_derived"]


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_seen(name, monkeypatch):
    monkeypatch.setattr(F, "relu", F.relu)
    monkeypatch.setattr(torch, "factor", 0.0, raising=False)
    monkeypatch.setenv("DANLU_TEST", "")
    function, change = CHANGES[name]()
    _, guards = observe(function)
    check = checker(guards)
    assert check(), guards.broken()
    change()
    assert not check()


def _imports():
    import settings_for_a_test

    return settings_for_a_test.factor


def _imports_from():
    from settings_for_a_test import factor

    return factor


@pytest.mark.parametrize("read", [_imports, _imports_from])
def test_modules_that_a_function_imports(read, monkeypatch):
    module = types.ModuleType("settings_for_a_test")
    module.factor = 2.0
    monkeypatch.setitem(sys.modules, module.__name__, module)
    _, guards = observe(lambda x: x * read())
    check = checker(guards)
    assert check()
    module.factor = 3.0
    assert not check()
    module.factor = 2.0
    assert check()
    sys.modules[module.__name__] = types.ModuleType(module.__name__)
    assert not check()


def test_copies_of_objects_change_no_class():
    config = types.SimpleNamespace(inner=type("Config", (), {"factor": 2.0})())
    _, guards = observe(lambda x: x * config.inner.factor)
    check = checker(guards)
    config.inner.__reduce_ex__(4)  # as copy and pickle do, which leave a note in the class
    assert check()


class Thing:
    pass


thing = Thing()
alive = weakref.ref(thing)
weakly = weakref.WeakSet([thing])
here = threading.local()
here.count = 0
context = contextvars.ContextVar("context", default=1)
number = decimal.Decimal(2)
factor_of = operator.attrgetter("factor")
call_it = operator.methodcaller("random")
clock = functools.partial(time.time)
weight = torch.ones(1)
optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)


def _count_here(x):
    here.count += 1
    return x


REFUSED = {
    "version": lambda x: x * weight._version,
    "version by name": lambda x: x * getattr(weight, "_version"),  # noqa: B009
    "version in C": lambda x: x * operator.attrgetter("_version")(weight),
    "threads": lambda x: x * torch.get_num_threads(),
    "seed": lambda x: x * torch.initial_seed(),
    "default device": lambda x: x * len(str(torch.get_default_device())),
    "deterministic": lambda x: x * torch.are_deterministic_algorithms_enabled(),
    "learning rate": lambda x: x * scheduler.get_last_lr()[0],
    "weak reference": lambda x: x * (alive() is not None),
    "weak set": lambda x: x * len(weakly),
    "thread's own": lambda x: x * here.count,
    "counted in a thread": _count_here,
    "context": lambda x: x * context.get(),
    "decimal": lambda x: x * float(number / 3),
    "getter": lambda x: x * factor_of(thing),
    "caller": lambda x: x * call_it(thing),
    "address": lambda x: x * id(x),
    "addresses": lambda x: x * sum(map(id, [x])),
    "hash": lambda x: x * hash(thing),
    "references": lambda x: x * sys.getrefcount(thing),
    "size": lambda x: x * sys.getsizeof(thing),
    "recursion": lambda x: x * sys.getrecursionlimit(),
    "subclasses": lambda x: x * len(Thing.__subclasses__()),
    "file": lambda x: x * os.path.exists("a"),
    "folder": lambda x: x * len(os.path.abspath("a")),
    "partial": lambda x: x * clock(),
    "started in C": lambda x: x * next(iter(time.time, None)),
    "called in C": lambda x: x * sum(itertools.starmap(time.time, [()])),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_of_the_moment_is_refused(name):
    with pytest.raises(Refused) as caught:
        observe(REFUSED[name])
    assert caught.value.where.startswith(__file__)
    assert here.count == 0


def test_effects_on_classes_are_undone():
    class Box:
        pass

    def count(x):
        setattr(Box, "n", getattr(Box, "n", 0) + 1)  # noqa: B010
        return x * Box.n

    def write(x):
        Box.n = 5
        return x

    for step in (count, write):
        with pytest.raises(Refused, match="the class attribute n is changed"):
            observe(step)
        assert not hasattr(Box, "n")


def test_functions_that_were_made_by_exec_are_watched():
    scope = {"log": []}
    exec("def step(x):\n    log.append(1)\n    return x", scope)
    with pytest.raises(Refused, match="log"):
        observe(scope["step"])
    assert scope["log"] == []


def test_what_code_does_besides_reading_names():
    def plain(x):
        with torch.no_grad():
            return x

    def catching(x):
        try:
            return x.y
        except AttributeError:
            return x

    def catching_all(x):
        try:
            return x.y
        except:  # noqa: E722
            return x

    assert not Names(plain.__code__).catches or sys.version_info < (3, 11)
    assert Names(catching.__code__).catches
    assert Names(catching_all.__code__).catches
    assert Names((lambda x: f"{x}").__code__).formats
    assert Names((lambda x, time: map(time.time, x)).__code__).held == {"time"}
    assert Names(_imports_from.__code__).imports == {(0, "settings_for_a_test")}


def test_compiled_functions_within():
    pytest.importorskip("llvmlite")
    factors = [2.0]

    @torch.compile
    def inner(x):
        return x * factors[0]

    for outer in (torch.compile(functools.partial(inner)), torch.compile(lambda x: inner(x))):
        for factor in (2.0, 2.0, 2.0, 3.0, 3.0):
            factors[0] = factor
            assert outer(torch.ones(2)).tolist() == [factor] * 2
        assert torch.compiler.stats(outer).traces == 2


def test_slices_that_are_made_for_every_call():
    pytest.importorskip("llvmlite")
    step = torch.compile(lambda x, part: x[part] * 2)
    for _ in range(4):
        assert step(torch.arange(3.0), slice(0, 2)).tolist() == [0.0, 2.0]
    assert torch.compiler.stats(step).traces == 1
