"""Compiled functions whose results are differentiated outside, and what the first run compares."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import danlu as torch
import danlu.nn.functional as F
from danlu.kernels.graph.traced import trace
from danlu.tensor import wrap

pytest.importorskip("llvmlite")

from danlu.compiler.function import trace as program_of
from danlu.compiler.partition import Later
from danlu.compiler.verify import Differs, _sample, _tried, compare
from danlu.kernels.graph.nodes import Slot
from danlu.kernels.graph.plan import plan_graph
from danlu.kernels.graph.single import single


def normal(*shape, grad=True, seed=0):
    array = np.random.default_rng(seed + sum(shape)).standard_normal(shape)
    return wrap(np.asarray(array, np.float32)).requires_grad_(grad)


def gradients_of(function, tensors):
    for each in tensors:
        each.grad = None
    result = function(*tensors)
    results = result if isinstance(result, tuple) else (result,)
    total = 0
    for each in results:
        weights = torch.arange(each.numel(), dtype=each.dtype).add(1.3).sin().reshape(each.shape)
        total = total + (each * weights).sum()
    total.backward()
    found = [each.detach() for each in results]
    return found + [each.grad for each in tensors if each.requires_grad]


def stays_compiled(function, *tensors, rtol=1e-4, atol=1e-5):
    """Two compiled calls give what the eager one gives, with their gradients."""
    compiled = torch.compile(function, fullgraph=True)
    gradients_of(compiled, tensors)  # the one that traces
    found = [gradients_of(compiled, tensors) for _ in range(2)]
    expected = gradients_of(function, tensors)
    for each in found:
        for one, other in zip(expected, each, strict=True):
            np.testing.assert_allclose(other._array, one._array, rtol=rtol, atol=atol)
    assert torch.compiler.stats(compiled).compiled_calls == 2


OPERATORS = {
    "cumsum": lambda w: w.cumsum(1),
    "cumprod": lambda w: w.cumprod(1),
    "sort": lambda w: w.sort(1).values,
    "topk": lambda w: w.topk(3, 1).values,
    "fft": lambda w: torch.fft.rfft(w, dim=1).real,
    "conv1d": lambda w: F.conv1d(w[None], torch.ones(2, 3, 2))[0],
    "max_pool1d": lambda w: F.max_pool1d(w[None], 2)[0],
    "interpolate": lambda w: F.interpolate(w[None], scale_factor=2.0, mode="linear")[0],
    "pad": lambda w: F.pad(w[None], (1, 2), mode="reflect")[0],
    "unfold": lambda w: w.unfold(1, 3, 1)[:, :, 0],
    "softmax": lambda w: w.softmax(1),
    "cat": lambda w: torch.cat([w * 2])[:, 1:],
    "inverse": lambda w: torch.linalg.inv(w[:, :3] @ w[:, :3].T + torch.eye(3)),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("planned", [False, True])
def test_slices_of_results(name, planned, monkeypatch):
    if planned:
        monkeypatch.setattr("danlu.kernels.graph.single.MOST_NODES", 0)
    operator = OPERATORS[name]
    stays_compiled(lambda w: operator(w)[:, -1].square().mean(), normal(3, 5))
    stays_compiled(lambda w: operator(w)[:, 1:] * 1, normal(3, 5))


def test_slices_of_rows_looked_up():
    numbers = torch.tensor([[1, 2, 1], [0, 1, 3]])
    stays_compiled(lambda w: F.embedding(numbers, w, scale_grad_by_freq=True)[:, -1], normal(5, 4))


@pytest.mark.parametrize("planned", [False, True])
def test_concatenations_of_one_part(planned):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    graph, (first, last) = trace(
        lambda x: (np.concatenate([x])[:, 1:].sum(), np.concatenate([x])[:, -1] * 2), [x]
    )
    make = plan_graph if planned else single
    made = make(graph, [first.node, last.node], [x])
    with made.poisoned():
        first, last = made.launch(x)
    assert first == x[:, 1:].sum()
    np.testing.assert_array_equal(last, x[:, -1] * 2)


def test_saved_values_keep_the_order_of_their_axes():
    stays_compiled(
        lambda x, w: F.conv2d(x.permute(0, 1, 3, 2).tanh(), w, padding=1) * 0.1,
        normal(8, 16, 30, 30), normal(16, 16, 3, 3), atol=1e-3,
    )  # fmt: skip


def test_results_that_are_numbers():
    stays_compiled(lambda x: torch.linalg.det(x * 1.0), normal(3, 3))
    stays_compiled(lambda x, y: torch.dot(x * 1.0, y) * 2, normal(5), normal(5, seed=1))
    stays_compiled(lambda x: (x.sum() * 2).reshape(1, 1), normal(3))
    stays_compiled(lambda x: (x, torch.tensor(2.0).reshape(1, 1) + 0 * x.sum())[1], normal(3))


def test_a_saved_result_that_was_written_to():
    compiled, x = torch.compile(lambda x: x.exp()), normal(3)
    for _ in range(3):
        result = compiled(x)
        result.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.sum().backward()
    compiled(x).mul(2).sum().backward()
    np.testing.assert_allclose(x.grad._array, 2 * np.exp(x.detach()._array), rtol=1e-5)


def test_the_later_part_keeps_no_numbers_and_no_places():
    x, g = np.ones((2, 3), np.float32), np.ones(2, np.float32)

    def function(x, g):
        kept = np.exp(x)[:, 0] * np.conjugate(x[:, 1])
        zeros = np.zeros_like(x[:, :2])
        return np.concatenate([zeros, (g * kept).reshape(2, 1)], axis=1)

    graph, result = trace(function, [x, g])
    later = Later(graph, [result.node], [1])
    assert [node.op for node in later.saved] == ["multiply"]
    assert later.given == []
    made, nodes = later.graph([np.zeros((2,), np.float32)])
    assert {part.op for node in made.nodes if node.op == "concatenate" for part in node.args} == {
        "part"
    }
    assert nodes[0].shape == (2, 3)


def test_the_later_part_finds_saved_values_as_they_lie():
    x, g = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    graph, result = trace(lambda x, g: np.exp(x) * g, [x, g])
    later = Later(graph, [result.node], [1])
    made, _ = later.graph([np.empty((3, 2), np.float32).T])
    strides = [node.info.strides for node in made.nodes
               if node.op == "leaf" and node.info.slot == Slot("argument", 0)]  # fmt: skip
    assert strides == [(1, 2)]


# ------------------------------------------------------------------ calls
def test_integer_division_is_compiled_and_refuses_zeros():
    compiled = torch.compile(lambda x, y: x // y + x % y, fullgraph=True)
    x, y = torch.tensor([7, -7, 7, -7]), torch.tensor([2, 2, -2, -2])
    for _ in range(3):
        assert compiled(x, y).tolist() == [4, -3, -5, 2]
    assert torch.compiler.stats(compiled).compiled_calls == 2
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        compiled(x, y * 0)


def test_gather_at_the_largest():
    stays_compiled(lambda x: x.gather(1, (2 * x).argmax(1, keepdim=True)), normal(3, 5))


def test_functions_without_a_module():
    stays_compiled(lambda x: torch.special.i0(x) + torch.lgamma(x.abs() + 1), normal(5))


def test_launches_warn_as_a_part_of_danlu():
    compiled = torch.compile(lambda x: torch.fft.rfft(x.log(), dim=0).abs(), fullgraph=True)
    x = torch.tensor([1.0, -1.0, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="danlu")
        for _ in range(3):
            compiled(x)
    assert torch.compiler.stats(compiled).compiled_calls == 2


# ------------------------------------------------------------------ what the first run compares
def first_run(compiled_as, function, *tensors):
    """The comparison of a program that computes `compiled_as` with another function."""
    program = program_of(compiled_as, tensors, {})
    return compare(program, lambda: function(*tensors), tensors, {})


def test_other_results_and_gradients_differ():
    x = normal(4, 3)
    assert first_run(torch.exp, torch.exp, x).shape == (4, 3)
    with pytest.raises(Differs, match="a result that is"):
        first_run(torch.exp, lambda x: x.exp() * 1.1, x)
    with pytest.raises(Differs, match="a gradient that is"):
        first_run(torch.exp, lambda x: x.exp() * 2 - x.exp().detach(), x)
    with pytest.raises(Differs, match="gives none"):
        first_run(torch.exp, lambda x: x.exp().detach(), x)
    other = normal(4, 3)
    with pytest.raises(Differs, match="gradients of other tensors"):
        first_run(lambda x, y: x + y, lambda x, y: x + y.detach(), x, other)


def test_small_results_differ_too():
    """Rounding is no excuse where the arguments tell the results."""
    x = normal(50, grad=False)
    with pytest.raises(Differs):
        first_run(lambda x: x * 1e-12, lambda x: x * 1e-12 + 1e-12, x)
    with pytest.raises(Differs):
        first_run(lambda x: x.softmax(0).sum() - 1 + x[0], lambda x: x[0] * 1.1, x)


def test_results_that_are_rounding_alone_are_accepted():
    stays_compiled(lambda x: x.softmax(1).sum(), normal(70, 9))
    stays_compiled(lambda x: F.layer_norm(x, (9,)).sum(), normal(70, 9), atol=1e-3)


def test_double_results_of_single_numbers():
    x = normal(20_000, grad=False)
    torch.set_default_dtype(torch.float64)
    try:
        stays = torch.compile(
            lambda x: torch.full((3,), 0.1) * x.exp().mean() + torch.zeros(3), fullgraph=True
        )
        found = [stays(x) for _ in range(3)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert {each.dtype for each in found} == {torch.float64}
    np.testing.assert_allclose(found[2]._array, found[0]._array, rtol=1e-5)


@pytest.mark.parametrize("planned", [False, True])
def test_memory_that_is_not_written_holds_nan(planned):
    x = np.ones(100, np.float32)
    graph, result = trace(lambda x: np.exp(x)[::-1] * 2, [x])
    made = (plan_graph if planned else single)(graph, [result.node], [x])
    with made.poisoned():
        (found,) = made.launch(x)
        if planned:
            assert np.isnan(made.names["empty"]((2, 3), np.float32)).all()
            assert np.isnan(made.names["empty"]((), np.float64))
    np.testing.assert_allclose(found, 2 * np.exp(x), rtol=1e-5)
    assert not planned or made.names["empty"] is np.empty


def test_samples_reach_every_column():
    array = np.broadcast_to(np.arange(128), (4096, 128))
    found = _sample(array)
    assert found.size <= 1 << 16
    assert set(found) == set(range(128))


def test_trying_out_changes_nothing():
    total = torch.zeros(3)
    x = normal(3, grad=False)
    program = program_of(lambda x: total.add_(x * torch.rand(3)).sum(), (x,), {})
    before, state = total._array.copy(), torch.get_rng_state()
    run = _tried(program, program.arguments((x,), {}))
    np.testing.assert_array_equal(total._array, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(run.results) == len(run.after) == 1
