"""Loops over rows of few columns: blocks of rows are transposed in registers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
from danlu.kernels.codegen.function import Function, Module
from danlu.kernels.codegen.target import host, named
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I8, I16, I64
from danlu.kernels.graph.emit import text
from danlu.kernels.graph.plan import plan
from danlu.kernels.graph.short_rows import load_columns, store_columns
from danlu.kernels.runtime import launch, machine
from tests.unit.guarded import guarded

random = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    return random.standard_normal(shape).astype(dtype)


def shorts(made):
    """The numbers of columns that a launch's loops are written for."""
    return {laid.program.short for laid in made.laid.values()}


def same(function, *arguments, rtol=1e-5, atol=1e-5, short=None):
    """Run a function as NumPy and as a launch; results and updated arguments must agree."""
    made = plan(function, arguments)
    if short is not None:
        assert short in shorts(made)
    one = [each.copy() for each in arguments]
    with np.errstate(all="ignore"):
        expected = function(*one)
        found = made.launch(*arguments)
    if not isinstance(expected, tuple):
        expected, found = (expected,), (found,)
    expected = [each for each in expected if each is not None]
    found = [each for each in found if each is not None]
    for want, got in zip((*expected, *one), (*found, *arguments), strict=True):
        assert (got.shape, got.dtype) == (np.shape(want), want.dtype)
        np.testing.assert_allclose(got, want, rtol, atol)
    return made


def tall(width, more=0):
    """Rows enough for loops of their own, and more than whole vectors hold."""
    return 16 * (1024 // width + 40) + more


# ------------------------------------------------------------------------------ registers
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
@pytest.mark.parametrize("type", [FLOAT, DOUBLE, I8, I16])
def test_blocks_are_turned_and_touch_no_other_memory(type, lanes):
    dtype = {FLOAT: np.float32, DOUBLE: np.float64, I8: np.int8, I16: np.int16}[type]
    for width, gap in ((2, 0), (3, 0), (5, 3), (7, 0), (8, 1), (10, 0), (13, 2), (16, 0), (31, 0)):

        def write(width=width):
            f = Function.task()
            arguments = f.parameters[0]
            source, out, back = (f.slot(arguments, number) for number in range(3))
            stride = f.slot(arguments, 3, I64)
            columns = load_columns(f, source, type, stride, width, lanes)
            for number, column in enumerate(columns):
                f.store(column, out, number * lanes)
            store_columns(f, columns, back, stride)
            f.ret()
            return Module(f).text()

        kernel = launch.kernel(("turned", type, lanes, width), write)
        size = (lanes - 1) * (width + gap) + width  # no gap behind the last row
        numbers = (normal(size) * 40).astype(dtype)
        for end in (True, False):
            source, back = guarded(numbers, end), guarded(np.full(size, -7, dtype), end)
            out = np.zeros((width, lanes), dtype)
            kernel.call(1, source, out, back, width + gap)
            padded = np.append(numbers, np.full(gap, -7, dtype)).reshape(lanes, width + gap)
            assert np.array_equal(out, padded[:, :width].T)
            padded[:, width:] = -7
            assert np.array_equal(back, padded.reshape(-1)[:size])


# ------------------------------------------------------------------------------ loops
def regression(x, w, b, y):
    error = (x * w).sum(axis=1, keepdims=True) + b - y
    return (error * error).sum(), (error * x).sum(axis=0), error.sum(), error * w


@pytest.mark.parametrize("width", [2, 3, 4, 5, 7, 8, 10, 13, 16, 23, 31, 32])
def test_a_step_of_regression(width):
    for dtype, more in ((np.float32, 1), (np.float64, 13)):
        x = guarded(normal(tall(width, more), width, dtype=dtype))
        y = normal(len(x), 1, dtype=dtype)
        w, b = normal(1, width, dtype=dtype), normal(1, 1, dtype=dtype)
        accuracy = 1e-3 if dtype == np.float32 else 1e-10
        made = same(regression, x, w, b, y, rtol=accuracy, atol=accuracy, short=width)
        assert sum(map(bool, shorts(made))) == 1


def test_the_few_rows_behind_the_last_whole_vector():
    for more in range(17):
        x, w = normal(tall(10, more), 10), normal(1, 10)
        same(lambda x, w: ((x * w).sum(axis=1), (x * w).sum(axis=0)), x, w, atol=1e-3, short=10)


@pytest.mark.parametrize("width", [3, 8, 10, 13])
def test_softmax_and_norms(width):
    def softmax(x):
        weights = np.exp(x - x.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True), weights.max(axis=0)

    def standardised(x):
        centred = x - x.mean(axis=1, keepdims=True)
        return centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + x.dtype.type(1))

    for dtype in (np.float32, np.float64):
        x = guarded(normal(tall(width, 5), width, dtype=dtype), end=False)
        same(softmax, x, short=width)
        same(standardised, x, short=width)


def test_nan_and_infinity_stay_in_their_rows_and_columns():
    x = normal(tall(6, 3), 6)
    x[5, 2], x[100, 0], x[-1, 5], x[33, 1] = np.nan, np.inf, -np.inf, np.nan
    w = normal(1, 6)
    made = same(
        lambda x, w: (x * w, x.max(axis=1), x.sum(axis=0), (x - w).sum(axis=1)),
        x, w, atol=1e-3, short=6,
    )  # fmt: skip
    found = made.launch(x, w)[2]
    assert np.isnan(found).tolist() == [False, True, True, False, False, False]


@pytest.mark.parametrize("width", [2, 5, 10])
def test_rows_of_a_wider_matrix(width):
    def step(x, y, w):
        total = (x * w).sum(axis=1, keepdims=True)
        y[...] = x * total
        return total

    wide, target = normal(tall(width, 7), width + 6), normal(tall(width, 7), width + 3)
    outside = target[:, width:].copy()
    same(step, wide[:, 4:][:, :width], target[:, :width], normal(1, width), short=width)
    assert np.array_equal(target[:, width:], outside)


def test_rows_from_the_last_to_the_first_and_columns_that_are_rows():
    def step(x, w):
        return (x * w).sum(axis=1), x * w

    w = normal(1, 7)
    same(step, normal(tall(7), 7)[::-1], w)
    same(step, normal(7, tall(7)).T, w)
    same(step, normal(tall(7), 14)[:, ::2], w)


def test_updates_in_place():
    def step(x, w):
        x[...] = x - (x * w).sum(axis=1, keepdims=True) * w

    for width in (3, 9, 16):
        same(step, guarded(normal(tall(width, 11), width)), normal(1, width), short=width)


def test_masks_whole_numbers_and_narrow_floats():
    rows = tall(5, 9)
    x, mask = normal(rows, 5), normal(rows, 5) > 0
    whole = random.integers(-9, 9, (rows, 5))
    same(lambda x, m: np.where(m, x, x.max(axis=1, keepdims=True)), x, mask, short=5)
    same(lambda x: x > x.mean(axis=1, keepdims=True), x, short=5)
    same(lambda m, x: ((m & (x > 0)).sum(axis=1), m * x.mean(axis=1, keepdims=True)), mask, x)
    same(lambda x: x.argmax(axis=1), x)
    same(lambda n: (n - n.max(axis=1, keepdims=True), n.sum(axis=0)), whole, short=5)
    same(lambda n, x: (n * x).sum(axis=1), whole, x.astype(np.float64), short=5)
    same(lambda n: n * n.min(axis=1, keepdims=True), whole.astype(np.int32), short=5)
    half = x.astype(np.float16)
    same(lambda h, x: (h.astype(np.float32) * x).sum(axis=1), half, x, short=5)


def test_the_element_of_each_row_that_an_index_names():
    rows = tall(10, 3)
    labels = random.integers(0, 10, rows)

    def loss(x, labels):
        shifted = x - x.max(axis=1, keepdims=True)
        logarithm = np.log(np.exp(shifted).sum(axis=1))
        return (logarithm - shifted[np.arange(rows), labels]).sum()

    same(loss, normal(rows, 10), labels, rtol=1e-4)


def test_the_bits_do_not_depend_on_the_number_of_threads():
    x, w, b, y = normal(20_011, 10), normal(1, 10), normal(1, 1), normal(20_011, 1)
    before = danlu.get_num_threads()
    results = []
    try:
        made = plan(regression, (x, w, b, y))
        for threads in (1, 2):
            danlu.set_num_threads(threads)
            results.append(made.launch(x, w, b, y))
    finally:
        danlu.set_num_threads(before)
    assert 10 in shorts(made)
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)


# ------------------------------------------------------------------------------ decisions
def test_long_heavy_and_small_rows_have_the_programs_of_all_shapes():
    def total(x, w):
        return (x * w).sum(axis=1)

    def heavy(x, w):
        return np.tanh(x * w).sum(axis=1)

    assert shorts(plan(total, (normal(1000, 32), normal(1, 32)))) == {32}
    assert shorts(plan(total, (normal(1000, 33), normal(1, 33)))) == {0}
    assert shorts(plan(total, (normal(100, 10), normal(1, 10)))) == {0}
    assert shorts(plan(heavy, (normal(1000, 30), normal(1, 30)))) == {0}
    assert shorts(plan(lambda x, w: x * w, (normal(1000, 32), normal(1, 32)))) == {0}


@pytest.mark.parametrize("depth", [2, 3, 4, 10])
def test_products_with_a_column_are_one_loop(depth):
    def step(x, w, y):
        error = x @ w - y
        return (error * error).sum(), x.T @ error, error.T @ x

    rows = tall(depth, 5)
    made = same(
        step, normal(rows, depth), normal(depth, 1), normal(rows, 1),
        rtol=1e-3, atol=1e-2, short=depth,
    )  # fmt: skip
    assert sum(map(bool, shorts(made))) == 1


@pytest.mark.parametrize(
    ("triple", "cpu"),
    [("x86_64-unknown-linux-gnu", "skylake-avx512"), ("x86_64-unknown-linux-gnu", "x86-64"),
     ("aarch64-unknown-linux-gnu", "generic")],
)  # fmt: skip
def test_written_for_other_processors(triple, cpu):
    target = named(triple, cpu)
    for width in (3, 10):
        for dtype in (np.float32, np.float64):
            x, y = normal(tall(width), width, dtype=dtype), normal(tall(width), 1, dtype=dtype)
            w, b = normal(1, width, dtype=dtype), normal(1, 1, dtype=dtype)
            made = plan(regression, (x, w, b, y))
            programs = {each.program for each in made.laid.values() if each.program.short}
            for program in programs:
                assert machine.emit_object(text(program, target), target)
    assert host().lanes(FLOAT) >= 4


# ------------------------------------------------------------------------------ sums along rows
def network(x, w, b, v, y):
    """A hidden layer that is nowhere in memory, its error and gradients."""
    hidden = np.tanh(x * w + b)
    error = (hidden * v).sum(axis=1, keepdims=True) - y
    back = error * v * (1 - hidden * hidden)
    return (
        (error * error).sum(), (hidden * error).sum(axis=0), back.sum(axis=0),
        (back * x).sum(axis=0), hidden.max(axis=0),
    )  # fmt: skip


@pytest.mark.parametrize("width", [3, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_hidden_layer_of_few_units(dtype, width):
    rows = (normal(3000 * 20 // width + 5, 1, dtype=dtype) for _ in range(2))
    x, y = rows
    w, b, v = (normal(1, width, dtype=dtype) for _ in range(3))
    made = same(network, x, w, b, v, y, rtol=1e-3, atol=1e-2, short=width if width == 3 else 0)
    wide = [laid for laid in made.laid.values() if laid.program.wide_sums]
    assert [bool(each.scratch) for each in wide] == ([] if width == 3 else [True])


def test_sums_and_kept_values_share_the_scratch_memory():
    def step(x, y):
        weights = np.exp(x - x.max(axis=1, keepdims=True))
        weights = np.exp(weights / weights.sum(axis=1, keepdims=True)) * y
        total = weights.sum(axis=1, keepdims=True)
        return (weights / total).sum(axis=0), (x * total).sum(axis=0), total.min()

    x, y = normal(40, 1000).T, normal(1000, 1)
    made = same(step, x, np.abs(y) + 1, rtol=1e-4, atol=1e-3)
    program = next(each.program for each in made.laid.values() if each.program.wide_sums)
    assert program.kept
    assert program.buffers == len(program.kept) + 3


def test_sums_of_long_rows_are_folded_at_once():
    def step(x, y):
        return (x * x.max(axis=1, keepdims=True) * y).sum(axis=0)

    made = same(step, normal(100, 200).T, normal(200, 1), atol=1e-3)
    assert any(each.program.lane == "row" for each in made.laid.values())
    assert not any(each.program.wide_sums for each in made.laid.values())
