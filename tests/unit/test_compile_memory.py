"""How much memory compiled steps hold, and for how long."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import danlu as torch
from danlu import nn

pytest.importorskip("llvmlite")

from danlu.compiler import session as sessions
from danlu.kernels.graph.nodes import Graph, Slot
from danlu.kernels.graph.plan import plan_graph
from danlu.kernels.graph.traced import Traced
from danlu.kernels.pooling import max_pool, max_pool_input

FLOAT = np.dtype("float32")


def recorded(function, *arrays):
    """The plan of what a function does to recording arrays."""
    graph = Graph()
    traced = [
        Traced(graph, graph.leaf(array, Slot("argument", number)))
        for number, array in enumerate(arrays)
    ]
    return plan_graph(graph, [each.node for each in function(*traced)], list(arrays))


@pytest.fixture
def seen(monkeypatch):
    """Weak references to the sessions that are made."""
    found = []
    before = sessions.Session.__init__

    def noted(self, *given):
        before(self, *given)
        found.append(weakref.ref(self))

    monkeypatch.setattr(sessions.Session, "__init__", noted)
    return found


@pytest.mark.parametrize("differentiated", [False, True], ids=["step", "module"])
@pytest.mark.parametrize("rows", [4, 4096])
def test_nothing_of_a_trace_is_left(seen, differentiated, rows):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    compiled = torch.compile(model if differentiated else step)
    for _ in range(3):
        x = torch.rand(rows, 64)
        array = weakref.ref(x._array)
        result = compiled(x)
        if differentiated:
            result.sum().backward()
        del x, result
    assert torch.compiler.stats(compiled).compiled_calls >= 1
    gc.collect()
    assert array() is None
    assert seen
    assert all(each() is None for each in seen)
    assert not any(type(each) is Traced for each in gc.get_objects())


def test_the_input_of_the_traced_call_is_free():
    weight = torch.rand(256, 256)
    compiled = torch.compile(lambda x: (x @ weight).tanh())
    x = torch.rand(512, 256)
    array = weakref.ref(x._array)
    compiled(x)
    del x
    gc.collect()
    assert array() is None
    compiled(torch.rand(512, 256))
    assert torch.compiler.stats(compiled).compiled_calls == 1


def test_sums_are_taken_as_soon_as_possible():
    # as gradients of biases are: of values of one shape, made one after the other
    def chain(x, w):
        first = np.matmul(x, w)
        second = np.matmul(first, w)
        third = np.matmul(second, w)
        return [first.sum(0), second.sum(0), third.sum(0)]

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2048, 256)).astype(FLOAT)
    w = rng.standard_normal((256, 256)).astype(FLOAT)
    made = recorded(chain, x, w)
    lines = made.source.split("\n")
    products = [number for number, line in enumerate(lines) if "matmul" in line]
    loops = [number for number, line in enumerate(lines) if line.strip().startswith("k")]
    assert len(products) == len(loops) == 3
    assert loops[0] < products[2]
    assert loops[1] < loops[2]
    for found, expected in zip(made.launch(x, w), chain(x, w)):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


def test_cheap_values_are_made_twice_where_most_is_held():
    def there_and_back(x, w, scale):
        held = []
        for _ in range(10):
            rows = np.tanh(x)
            held.append((rows, rows * scale))
            x = np.matmul(held[-1][1], w)
        found = []
        for rows, scaled in reversed(held):
            found.append(np.matmul(scaled.T, x))
            x = np.matmul(x * rows, w)
        return [*found, x]

    rng = np.random.default_rng(0)
    x = rng.standard_normal((4096, 64)).astype(FLOAT)
    w = (rng.standard_normal((64, 64)) / 8).astype(FLOAT)
    scale = rng.standard_normal(64).astype(FLOAT)
    made = recorded(there_and_back, x, w, scale)
    again = [line for line in made.source.split("\n") if line.strip().startswith("m")]
    assert again
    assert len(again) < 10  # within bounds
    for found, expected in zip(made.launch(x, w, scale), there_and_back(x, w, scale)):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("sizes", "kernel", "stride", "padding"), [
    ((26, 26), (2, 2), (2, 2), (0, 0)), ((9, 9), (2, 2), (2, 2), (0, 0)),
    ((13, 11), (3, 3), (2, 2), (1, 1)), ((7, 40), (2, 3), (2, 3), (0, 0)),
])  # fmt: skip
def test_the_gradient_of_a_pool_over_its_input(sizes, kernel, stride, padding):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, *sizes)).astype(FLOAT)
    positions = tuple((n + 2 * p - k) // s + 1
                      for n, k, s, p in zip(sizes, kernel, stride, padding))  # fmt: skip
    options = kernel, stride, padding, (1, 1)
    values = max_pool(x, positions, *options)
    grad = rng.standard_normal(values.shape).astype(FLOAT)
    before = x.copy()
    expected = max_pool_input(grad, x, values, *options)
    assert np.array_equal(x, before)
    found = max_pool_input(grad, x, values, *options, over=True)
    assert np.array_equal(found, expected)
    assert np.shares_memory(found, x)


def test_a_pool_is_differentiated_in_the_memory_of_its_input():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 5 * 5, 4),
    )  # fmt: skip

    def step(x):
        model.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    x = torch.rand(64, 1, 28, 28)
    step(x)
    expected = [each.grad.clone() for each in model.parameters()]
    compiled = torch.compile(step)
    compiled(x)
    compiled(x)
    assert "over=True" in torch.compiler.explain(compiled)
    for each, wanted in zip(model.parameters(), expected):
        assert torch.allclose(each.grad, wanted, rtol=1e-3, atol=1e-5)
