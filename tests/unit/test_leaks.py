"""Memory: deep graphs are built, run and destroyed without recursion, and training leaves nothing
behind."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest

import danlu

DEEP = 100_000


def chain(length, step=lambda y: y * 1.00001):
    x = danlu.tensor(1.0, dtype=danlu.float64, requires_grad=True)
    y = x
    for _ in range(length):
        y = step(y)
    return x, y


def test_a_deep_graph_runs_backward_and_is_destroyed():
    x, y = chain(DEEP)
    node = weakref.ref(y.grad_fn.next_functions[0][0])
    y.backward()
    assert x.grad.item() == pytest.approx(1.00001**DEEP)
    del y
    assert node() is None


def test_a_deep_graph_is_destroyed_without_backward():
    _, y = chain(DEEP)
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None


def test_a_deep_graph_under_create_graph():
    x, y = chain(DEEP // 4)
    (first,) = danlu.autograd.grad(y * y, x, create_graph=True)
    (second,) = danlu.autograd.grad(first, x)
    assert second.item() == pytest.approx(2 * 1.00001 ** (DEEP // 2))
    del first, y


def test_many_writes_to_one_buffer():
    x, buffer = danlu.tensor(1.0, requires_grad=True), danlu.zeros(3)
    for _ in range(3000):
        buffer[0].add_(x)
    buffer.sum().backward()
    assert x.grad.item() == 3000


@pytest.fixture
def training_step():
    danlu.manual_seed(0)
    net = danlu.nn.Sequential(
        danlu.nn.Linear(2, 4), danlu.nn.ReLU(), danlu.nn.BatchNorm1d(4), danlu.nn.Dropout(0.1),
        danlu.nn.Linear(4, 1),
    )  # fmt: skip
    optimizer = danlu.optim.Adam(net.parameters())
    inputs, targets = danlu.rand(10, 2), danlu.rand(10, 1)

    def step():
        loss = danlu.nn.functional.mse_loss(net(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return weakref.ref(loss), weakref.ref(loss.grad_fn)

    for _ in range(5):
        step()
    return step


def test_a_training_step_makes_no_reference_cycles(training_step):
    gc.collect()
    gc.disable()
    try:
        assert [each() for each in training_step()] == [None, None]
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_ten_thousand_training_steps_leak_nothing(training_step):
    for _ in range(2000):  # until the last generated code is loaded, which stays
        training_step()
    gc.collect()
    objects, blocks = len(gc.get_objects()), sys.getallocatedblocks()
    for _ in range(10_000):
        training_step()
    gc.collect()
    assert len(gc.get_objects()) - objects < 50
    assert sys.getallocatedblocks() - blocks < 500


@pytest.mark.parametrize(
    "run",
    [
        lambda x: danlu.autograd.grad((x**3).sum(), x, create_graph=True)[0].sum().backward(),
        lambda x: (x * 1).mul_(2)[0].add_(1).backward(),
        lambda x: _hooked(x).sum().backward(),
        lambda x: danlu.autograd.functional.hessian(lambda x: (x**3).sum(), x),
        lambda x: danlu.utils.checkpoint.checkpoint(
            lambda x: x.exp().sum(), x, use_reentrant=False
        ).backward(),
    ],
    ids=["create_graph", "in place", "hooks", "hessian", "checkpoint"],
)
def test_less_ordinary_passes_make_no_reference_cycles(run):
    x = danlu.ones(2, requires_grad=True)
    run(x)
    x.grad = None
    gc.collect()
    gc.disable()
    try:
        run(x)
        x.grad = None
        assert gc.collect() == 0
    finally:
        gc.enable()


def _hooked(x):
    y = x * 2
    y.register_hook(lambda g: g + 1)
    y.retain_grad()
    return y
