"""NumPy code as fused machine code: the same results as NumPy, whatever the graph, the shapes, the
strides, and nothing beside the arrays is touched."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from danlu.kernels import explain, kernel
from danlu.kernels.fused.functions import exp_nonpositive, fma, polynomial
from danlu.kernels.graph.plan import plan
from danlu.kernels.runtime import machine, pool, road
from tests.unit.guarded import guarded

RANDOM = np.random.default_rng(7)
SHAPES = [(1,), (7,), (1000,), (5, 8), (33, 17), (1, 129), (200, 3), (3, 4, 25), (2, 70001)]


def normal(*shape, dtype=np.float32):
    return RANDOM.standard_normal(shape).astype(dtype)


def same(function, *arguments, rtol=2e-5, atol=2e-5):
    """Run both roads; the machine code on arrays that end, then begin, at a forbidden page."""
    wanted = function(*arguments)
    made = None
    for end in (True, False):
        fenced = [
            guarded(each, end=end)
            if isinstance(each, np.ndarray) and each.flags.c_contiguous and each.ndim
            else each
            for each in arguments
        ]
        made = plan(function, fenced)
        found = made.launch(*fenced)
        compare(found, wanted, rtol, atol)
    return made


def compare(found, wanted, rtol=2e-5, atol=2e-5):
    if isinstance(wanted, tuple):
        assert isinstance(found, tuple)
        assert len(found) == len(wanted)
        for pair in zip(found, wanted):
            compare(*pair, rtol, atol)
    elif wanted is None:
        assert found is None
    else:
        wanted = np.asarray(wanted)
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(found, wanted, rtol, atol)
        else:
            np.testing.assert_array_equal(found, wanted)


def nests(function, *arguments) -> int:
    return len(plan(function, arguments).laid)


# ------------------------------------------------------------------------------ elementwise
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chains_are_one_loop(shape, dtype):
    def chain(x, y):
        return (x * 2 + y) / (y * y + 1) - np.sqrt(abs(x)), x > y

    x, y = normal(*shape, dtype=dtype), normal(*shape, dtype=dtype)
    assert len(same(chain, x, y).laid) == 1


def test_outputs_are_not_written_beside(monkeypatch):
    results = []

    def fenced(shape, dtype):
        results.append(guarded(np.empty(shape, dtype), end=len(results) % 2 == 0))
        return results[-1]

    def both(x):
        weights = np.exp(x - x.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True), x > 0, x.sum(axis=-1)

    for shape in [(1, 1), (5, 7), (33, 17), (3, 129)]:
        x = normal(*shape)
        made = plan(both, (x,))
        made.names["empty"] = fenced
        compare(made.names["launch"](x), both(x))


def test_dtypes_follow_numpy():
    def mixed(a, b, i, flag):
        return (
            a + b,
            a * 2,
            i + 1,
            np.where(flag, a, 0),
            i * a,
            flag & (i > 3),
            a.astype(np.float64),
        )

    same(mixed, normal(99), normal(99, dtype=np.float64), np.arange(99), normal(99) > 0)
    same(
        mixed,
        normal(99, dtype=np.float64),
        normal(99),
        np.arange(99, dtype=np.int32),
        normal(99) > 0,
    )


@pytest.mark.parametrize("function", [
    np.exp, np.log, np.tanh, np.sqrt, np.sin, np.expm1, np.log1p, np.floor, np.rint, np.sign,
    np.negative, np.absolute, np.square, np.reciprocal, np.isnan, np.isfinite, np.logical_not,
], ids=lambda f: f.__name__)  # fmt: skip
def test_functions_of_special_values(function):
    x = np.concatenate([normal(50), [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42]]).astype(np.float32)
    with np.errstate(all="ignore"):
        same(lambda x: function(x), x, rtol=1e-6, atol=0)


def test_two_operands_of_special_values():
    values = np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan], dtype=np.float32)
    x, y = (each.reshape(-1).copy() for each in np.meshgrid(values, values))

    def all_of_them(x, y):
        return (
            np.maximum(x, y), np.minimum(x, y), x / y, x < y, x <= y, x == y, x != y,
            np.maximum(x, 0), np.minimum(x, 1.0), np.clip(x, -1, 1), x * y - x,
        )  # fmt: skip

    with np.errstate(all="ignore"):
        same(all_of_them, x, y, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_narrow_floats_are_computed_in_float32(name):
    dtype = np.dtype(name if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16)

    def row(x):
        return np.exp(x - x.max(axis=1, keepdims=True)), x.sum(axis=0), (x * x).sum(axis=1)

    x = normal(70, 19).astype(dtype)
    found = plan(row, (x,)).launch(x)
    step = 2.0**-10 if name == "float16" else 2.0**-7
    for mine, wanted in zip(found, row(x.astype(np.float32))):
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine.astype(np.float32), wanted, step, step)


def test_numbers_are_runtime_values():
    calls = []

    @kernel(least=1)
    def scaled(x, factor):
        calls.append(factor)
        return x * factor + (1 - factor)

    x = normal(100)
    with road.forced("native"):
        compare(scaled(x, 0.5), x * np.float32(0.5) + np.float32(0.5))
        compare(scaled(x, 0.25), x * np.float32(0.25) + np.float32(0.75))
    assert len(calls) == 1


def test_fma_and_polynomials():
    x = normal(77)
    same(lambda x: polynomial((2.0, -1.0, 0.5), x), x)
    same(lambda x: fma(x, x, 1.0), x)
    for largest, limit in ((1, 2e-7), (20, 5e-7), (86, 2e-6)):
        x = -abs(RANDOM.uniform(0, largest, 1000)).astype(np.float32)
        found = plan(lambda x: exp_nonpositive(x), (x,)).launch(x)
        assert abs(found / np.exp(x.astype(np.float64)) - 1).max() < limit
    edge = np.array([-np.inf, -1e30, -0.0, np.nan], dtype=np.float32)
    compare(plan(lambda x: exp_nonpositive(x), (edge,)).launch(edge), np.exp(edge), 0, 0)


# ------------------------------------------------------------------------------ reductions
def softmax(x):
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("shape", [*SHAPES[3:], (1, 1), (40, 1), (17, 64)])
def test_a_row_is_reduced_and_used_in_one_nest(shape):
    made = same(softmax, normal(*shape))
    assert len(made.laid) == (3 if shape == (2, 70001) else 1)


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), (0, 1), (1, 2), None])
@pytest.mark.parametrize("shape", [(5, 6, 7), (70, 3, 20), (3, 90, 33), (1, 4, 5)])
def test_reductions_over_any_axes(shape, axis):
    def all_kinds(x):
        return (
            x.sum(axis=axis), x.max(axis=axis, keepdims=True), x.min(axis=axis),
            x.mean(axis=axis), np.prod(x * 0.1 + 1, axis=axis), (x > 0).sum(axis=axis),
        )  # fmt: skip

    same(all_kinds, normal(*shape), rtol=1e-4, atol=1e-4)
    same(all_kinds, normal(*shape[::-1]).transpose(2, 1, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(20, 33, 9), (3, 10, 49), (6, 5, 16), (2, 3, 40)])
def test_softmax_over_any_axis(shape, axis):
    def along(x):
        weights = np.exp(x - x.max(axis=axis, keepdims=True))
        return weights / weights.sum(axis=axis, keepdims=True)

    assert len(same(along, normal(*shape)).laid) == 1


def test_reductions_propagate_nan():
    x = normal(40, 50)
    x[3, 4], x[5], x[7, 49] = np.nan, np.inf, np.nan

    def ends(x):
        return x.max(axis=1), x.min(axis=1), x.max(axis=0), x.max(), x.sum(axis=0)

    with np.errstate(all="ignore"):
        same(ends, x)


def test_large_sums_are_cut_and_as_exact_as_numpy():
    x = normal(1_000_003)
    made = plan(lambda x: (x.sum(), (x * x).mean()), (x,))
    found = made.launch(x)
    exact = x.astype(np.float64)
    assert abs(found[0] - exact.sum()) < 1e-2
    assert abs(found[1] / (exact * exact).mean() - 1) < 1e-6
    assert next(iter(made.laid.values())).tasks > 1


def test_column_sums_beside_row_results():
    def layer_norm_backward(g, x, weight, mean, scale):
        standardized = (x - mean) * scale
        inner = g * weight
        slope = (inner * standardized).mean(axis=1, keepdims=True)
        grad = (inner - inner.mean(axis=1, keepdims=True) - standardized * slope) * scale
        return grad, (g * standardized).sum(axis=0), g.sum(axis=0), (g * x).sum()

    for shape in [(300, 77), (17, 8), (1000, 200)]:
        x, column = normal(*shape), normal(shape[0], 1)
        made = same(layer_norm_backward, normal(*shape), x, normal(shape[1]), column, column**2 + 1,
                    rtol=1e-3, atol=1e-3)  # fmt: skip
        assert len(made.laid) == 1


def test_statistics_of_channels():
    def batch_norm(x):
        mean = x.mean(axis=(0, 2, 3), keepdims=True)
        centered = x - mean
        variance = (centered * centered).mean(axis=(0, 2, 3), keepdims=True)
        return centered / np.sqrt(variance + 1e-5), mean.reshape(-1), variance.reshape(-1)

    assert len(same(batch_norm, normal(6, 20, 5, 7)).laid) == 1
    same(batch_norm, normal(16, 3, 40, 41))


# ------------------------------------------------------------------------------ elements by index
@pytest.mark.parametrize("classes", [1, 10, 33])
def test_cross_entropy_reads_one_element_of_each_row(classes):
    def loss(rows, target):
        largest = rows.max(axis=1, keepdims=True)
        total = np.log(np.exp(rows - largest).sum(axis=1, keepdims=True))
        log_probabilities = rows - largest - total
        hits = np.arange(rows.shape[1]) == target[:, None]
        picked = log_probabilities[np.arange(len(rows)), target % classes]
        return -picked, np.exp(log_probabilities) - hits, picked.sum()

    target = RANDOM.integers(0, classes, 70)
    made = same(loss, normal(70, classes), target)
    assert len(made.laid) == 1 or classes == 1
    same(loss, normal(70, classes), np.where(target % 3, target, target - classes))


def test_elements_are_put_by_index():
    def put(x, i, value):
        rows = np.arange(len(x))
        y = np.exp(x)
        y[rows, i] -= value
        z = x * 2
        z[rows, i] = 0.5
        return y, z, z.sum(axis=1)  # z is used again

    for shape in [(70, 33), (1, 9), (1, 100_000), (9, 1)]:
        index = RANDOM.integers(-shape[1], shape[1], shape[0])
        same(put, normal(*shape), index, normal(shape[0]), atol=1e-3)


def test_indices_are_kept_within_the_axis():
    rows, far = normal(9, 5), np.array([0, 4, -1, -5, 5, 99, -99, 2**40, 1])
    made = plan(lambda x, i: x[np.arange(len(x)), i], (rows, far))
    found = made.launch(guarded(rows), far)
    np.testing.assert_array_equal(
        found, rows[np.arange(9), np.clip(np.where(far < 0, far + 5, far), 0, 4)]
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_indices_of_any_integer_dtype(dtype):
    x, index = normal(50, 260), RANDOM.integers(0, 127, 50).astype(dtype)
    index[0] = 255 if dtype in (np.uint8, np.uint64) else -3
    same(lambda x, i: np.take_along_axis(x, i[:, None], 1), x, index)


def test_take_along_axis():
    x, index = normal(6, 7, 8), RANDOM.integers(0, 7, (6, 1, 8))
    same(lambda x, i: np.take_along_axis(x, i, 1) * 2, x, index)


# ------------------------------------------------------------------------------ layouts
def test_strided_and_broadcast_arguments():
    def mix(x, y, z):
        return x * y + z, (x + z).sum(axis=1)

    base = normal(40, 90)
    for x in (base[::2, ::3], base[::-1, ::-1][:20, :30], base.T[:20, :30], base[:20, 30:60]):
        same(mix, x, normal(30), normal(20, 1))
    same(mix, np.broadcast_to(normal(30), (20, 30)), normal(20, 30), normal(1, 1))
    same(lambda x, y: x + y.T, normal(37, 51), normal(51, 37))


def test_results_lie_as_numpys_do():
    x = normal(5, 6, 7).transpose(2, 0, 1)
    assert plan(lambda x: x * 2, (x,)).launch(x).strides == (x * 2).strides
    x = normal(5, 6)
    assert plan(lambda x: x + x[0], (x,)).launch(x).flags.c_contiguous


def test_views_of_computed_values():
    def views(x, weight):
        mean = x.mean(axis=1)  # without its axis, which comes back
        return (x - mean[:, None]) * np.expand_dims(weight, 0), np.squeeze(mean[None] * 2), mean

    assert len(same(views, normal(30, 40), normal(40)).laid) == 1
    same(lambda x: (x * 2).T + 1, normal(6, 5))
    same(lambda x: (x * 2).reshape(-1).sum(), normal(6, 5))
    same(lambda x: x[1:4, ::2] * x[2:5, 1::2], normal(6, 8))


def test_matrix_products_are_left_to_numpy():
    def layer(x, weight, bias):
        return np.tanh((x * 2) @ weight + bias)

    made = same(layer, normal(20, 30), normal(30, 8), normal(8))
    assert len(made.laid) == 2
    assert "matmul" in made.source


# ------------------------------------------------------------------------------ in place
def test_arguments_are_updated_in_place():
    @kernel
    def momentum(parameter, grad, velocity, rate):
        velocity *= 0.9
        velocity += grad
        parameter[...] = parameter - rate * velocity

    first = [normal(50, 9) for _ in range(3)]
    second = [each.copy() for each in first]
    momentum.__wrapped__(*first, 0.1)
    with road.forced("native"):
        momentum(*second, 0.1)
    for pair in zip(second, first):
        compare(*pair)


def test_an_update_waits_for_those_that_read():
    def swap(x, y):
        x[...], y[...] = y + 0, x + 0

    def centre(x):
        x[...] = x - x.mean(axis=0) + x.T.sum()

    for function, count in ((swap, 2), (centre, 1)):
        first = [normal(12, 12) for _ in range(count)]
        second = [each.copy() for each in first]
        function(*first)
        plan(function, second).launch(*second)
        for pair in zip(second, first):
            compare(*pair)


def test_overlapping_arguments_are_left_to_numpy():
    @kernel
    def shift(x, y):
        x[...] = y * 2

    base = normal(100)
    wanted = base.copy()
    shift.__wrapped__(wanted[1:], wanted[:-1])
    with road.forced("native"):
        shift(base[1:], base[:-1])
    compare(base, wanted)


# ------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize("function", [
    lambda x: x if x.sum() > 0 else -x,
    lambda x: np.sort(x),
    lambda x: np.full(3, float(x[0])),
    lambda x: np.asarray(x) + 1,
    lambda x: x[x > 0],
    lambda x: np.cumsum(x),
])  # fmt: skip
def test_numpy_runs_what_has_no_graph(function):
    x = normal(30)
    with road.forced("native"):
        compare(kernel(function)(x), function(x))


def test_other_arguments_run_as_numpy():
    double = kernel(lambda x: x * 2)
    with road.forced("native"):
        assert double(3) == 6
        assert double([1]) == [1, 1]
        assert double(np.zeros((0, 3))).shape == (0, 3)
        assert double(np.array([1j]))[0] == 2j
        assert double(np.arange(3, dtype=">f4"))[1] == 2


def test_small_arrays_are_left_to_numpy(monkeypatch):
    traced = []

    @kernel(least=100)
    def double(x):
        traced.append(type(x).__name__)
        return x * 2

    with road.forced("auto"):
        double(normal(99))
        double(normal(100))
    assert traced == ["ndarray", "Traced"]


# ------------------------------------------------------------------------------ threads, machines
def kinds(x):
    weights = np.exp(x - x.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True), x.sum(axis=0), x.sum(), x * 2


def test_threads_change_no_bit():
    x = normal(700, 401)
    made = plan(kinds, (x,))
    before = pool.ensure().threads
    results = []
    try:
        for threads in (1, 2):
            pool.ensure().resize(threads)
            results.append(made.launch(x))
    finally:
        pool.ensure().resize(before)
    for one, two in zip(*results):
        assert np.array_equal(one.view(np.int32), two.view(np.int32))


@pytest.mark.parametrize(("triple", "cpu"), [
    ("x86_64-unknown-linux-gnu", "skylake-avx512"), ("aarch64-unknown-linux-gnu", "neoverse-n1"),
    ("x86_64-unknown-linux-gnu", "x86-64"),
])  # fmt: skip
def test_other_machines(triple, cpu):
    from danlu.kernels.codegen.target import named
    from danlu.kernels.graph.emit import text

    target = named(triple, cpu)
    for laid in plan(kinds, (normal(700, 401),)).laid.values():
        assert machine.emit_object(text(laid.program, target), target)


def test_one_program_serves_all_shapes():
    def mean(x):
        return x - x.mean(axis=1, keepdims=True)

    programs = {
        next(iter(plan(mean, (normal(*shape),)).laid.values())).program
        for shape in [(20, 30), (50, 77), (300, 11)]
    }
    assert len(programs) == 1


def test_explain_shows_everything():
    report = explain(softmax, normal(40, 30))
    for part in ("reduce(%0) ('max', (1,))", "3 passes", "machine code:", "us a call", "def launch",
                 "memory", "kept"):  # fmt: skip
        assert part in report
    assert explain(lambda x: np.sort(x), normal(3)).startswith("NumPy runs this: sort")
    with road.forced("numpy"):
        assert explain(softmax, normal(3, 3)).startswith("NumPy runs this")
