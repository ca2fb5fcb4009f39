"""A small graph as one function: against NumPy, for every kind of node and for random programs."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from danlu.kernels.embedding import gather_rows, sum_rows
from danlu.kernels.graph.calls import effect
from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.graph.single import single
from danlu.kernels.graph.traced import Traced, trace
from danlu.kernels.matmul import matmul
from danlu.kernels.runtime import objects

pytestmark = pytest.mark.skipif(not objects.agree(), reason="objects of another layout")

_TOLERANCES = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-13}


def made(function, arguments):
    """The compiled form of a function that returns an array or a tuple of arrays."""
    graph, returned = trace(function, arguments)
    returned = returned if isinstance(returned, tuple) else (returned,)
    nodes = [each.node for each in returned if each is not None]
    return single(graph, nodes, arguments)


def agrees(function, *arguments, times=1, tolerance=None):
    """Check results and arguments after some runs against NumPy's."""
    expected_arguments = copy.deepcopy(arguments)
    compiled = made(function, arguments)
    for _ in range(times):
        expected = function(*expected_arguments)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = compiled.launch(*arguments)
        pairs = zip(
            [*found, *arguments],
            [*(each for each in expected if each is not None), *expected_arguments],
            strict=True,
        )
        for one, other in pairs:
            close(one, other, tolerance)
    return compiled


def close(found, expected, tolerance=None):
    if isinstance(found, float):
        return
    expected = np.asarray(expected)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert found.flags.c_contiguous or found.base is not None or found.ndim
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    limit = tolerance or _TOLERANCES[expected.dtype.name]
    scale = max(1.0, float(np.abs(np.nan_to_num(expected, posinf=0, neginf=0)).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=limit * 4, atol=limit * 8 * scale)


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


# ------------------------------------------------------------------------------ kinds of nodes
@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 15, 16, 31, 100])
def test_lanes_that_are_no_elements_stay_untouched(size):
    def function(x, y):
        y[1:-1] = x * 2 + 1
        return x * x, (x * 3).sum(axis=0, keepdims=True)

    agrees(function, normal(size), normal(size + 2))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int16",
                                   "int32", "int64", "uint32", "uint64", "bool"])  # fmt: skip
def test_elements_of_every_dtype(dtype):
    x = (normal(3, 13, seed=1) * 5).astype(dtype)
    y = (normal(13, seed=2) * 5 + 7).astype(dtype)

    def function(x, y):
        made = (x == y, np.where(x != y, x, y), x.astype(np.float32), x.T.copy())
        if dtype == "bool":
            return (*made, x | y, ~x)
        return (*made, x * y + x, np.maximum(x, y), x.max(axis=1), x.sum(axis=0), x < y)

    agrees(function, x, y)


def test_elements_of_bfloat16():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = normal(5, 11).astype(bfloat16)
    graph, made = trace(lambda x: (x * 2 + x, x.astype(np.float32).sum(axis=0)), [x])
    double, sums = single(graph, [each.node for each in made], [x]).launch(x)
    assert double.dtype == bfloat16
    np.testing.assert_allclose(double.astype(np.float32), x.astype(np.float32) * 3, rtol=1e-2)
    np.testing.assert_allclose(sums, x.astype(np.float32).sum(axis=0), rtol=1e-5, atol=1e-5)


def test_remainders_by_zero_are_zero():
    x, y = np.arange(-20, 20).astype(np.int32), np.arange(40).astype(np.int32) % 5 - 1
    x[0] = np.iinfo(np.int32).min  # by -1: the processor's other trap
    with np.errstate(divide="ignore", over="ignore"):
        agrees(lambda x, y: x % y, x, y)
        agrees(lambda x, y: x % y, x.astype(np.uint32), (y + 1).astype(np.uint32))


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min", "mean"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, (0, 1), (0, 2), (1, 2)])
def test_reductions_over_any_axes(kind, axis):
    x = normal(5, 4, 19) * 0.5 + 1

    def function(x):
        return getattr(x + 1, kind)(axis=axis), getattr(x, kind)(axis=axis, keepdims=True)

    agrees(function, x)


def test_reductions_of_strided_arguments():
    x = normal(12, 30)[::2, ::3].T
    agrees(lambda x: (x.sum(axis=0), (x * x).sum(axis=1), x.max()), x)


def test_sums_are_as_exact_as_pairwise_ones():
    x = np.random.default_rng(0).random((3, 1 << 15)).astype(np.float32) + 1
    for function in (lambda x: x.sum(), lambda x: x.sum(axis=1), lambda x: x.T.sum(axis=0)):
        (found,) = made(function, [x]).launch(x)
        exact = function(x.astype(np.float64))
        of_numpy = np.abs(function(x) - exact).max()
        assert np.abs(found - exact).max() <= of_numpy + np.spacing(exact.max())


def test_views_are_read_in_place():
    def function(x, y):
        z = x * 2
        flat = z.reshape(6, 8)
        return (
            z[1:, ::2] + 1, np.flip(z, axis=1) * 2, z.T @ z, flat.sum(axis=0),
            z.reshape(4, 12)[None] + y, z.T.reshape(-1) + 0, np.broadcast_to(z[:1], (5, 12)) * 1,
        )  # fmt: skip

    agrees(function, normal(4, 12), normal(3, 1, 12))


def test_pieces_are_put_together():
    def function(x, y):
        both = np.concatenate([x + 1, y, x * y[:, :3]], axis=1)
        stacked = np.stack([x, x * 2, x - 1])
        return both, both.sum(axis=0), stacked, np.concatenate([x, y[:, 1:4]], axis=0) * 2

    agrees(function, normal(6, 3), normal(6, 9))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_elements_and_rows_by_number(dtype):
    x, table = normal(9, 5), normal(11, 13)
    columns = np.random.default_rng(0).integers(0, 5, 9).astype(dtype)
    rows = np.random.default_rng(1).integers(0, 11, (4, 3)).astype(dtype)

    def function(x, table, columns, rows):
        picked = np.take_along_axis(x * 2, columns[:, None], 1)
        changed = x * 1
        changed[np.arange(9), columns] = 7.0
        return picked, table[rows] * 2, table[rows].sum(axis=(0, 1)), changed, changed * 2

    agrees(function, x, table, columns, rows)


def test_numbers_along_an_axis():
    def function(x):
        largest, least = np.argmax(x, axis=1), np.argmin(x, axis=0)
        return x + np.arange(10), largest, least, x * 0 + np.arange(4)[:, None]

    agrees(function, normal(4, 10, dtype=np.float64))


def test_python_floats_are_read_at_every_call():
    compiled = made(lambda x, a, b: (x * a + b, x + a * b), [normal(9), 2.0, 0.5])
    x = normal(9)
    for a, b in ((1.5, 2.0), (-3.0, 0.25)):
        first, second = compiled.launch(x, a, b)
        np.testing.assert_allclose(first, x * np.float32(a) + np.float32(b), rtol=1e-6)
        np.testing.assert_allclose(second, x + np.float32(a * b), rtol=1e-6)


def test_single_numbers():
    def function(x, y, n):
        total = (x * x).sum()
        n[...] = n + 1
        return total, np.sqrt(total) * y, total + n, x[2] * 2

    agrees(function, normal(5), normal(), np.array(3.0, np.float32), times=3)


# ------------------------------------------------------------------------------ products
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (7, 1, 9), (5, 9, 1), (100, 4, 8), (8, 100, 4),
                                   (3, 33, 20), (9, 17, 11), (1, 8, 40), (40, 8, 1), (2, 130, 2)])  # fmt: skip
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_products(shape, turned):
    m, k, n = shape
    a = normal(k, m).T if "a" in turned else normal(m, k)
    b = normal(n, k).T if "b" in turned else normal(k, n)
    bias = normal(n)

    def function(a, b, bias):
        y = a @ b
        return np.maximum(y + bias, 0), y.sum(axis=0), y.T * 2

    agrees(function, a, b, bias)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.int64])
def test_products_of_other_dtypes(dtype):
    a, b = (normal(6, 11) * 3).astype(dtype), (normal(11, 9) * 3).astype(dtype)
    agrees(lambda a, b: (a @ b, (a * 2) @ b), a, b)


def test_batches_of_products():
    def function(a, b, c):
        return a @ b, a @ c, (a @ b) @ np.swapaxes(b, -1, -2) + 1, a[:, 0] @ b[0, :1]

    agrees(function, normal(2, 3, 5, 9), normal(2, 3, 9, 4), normal(9, 12))
    agrees(lambda a, b: np.swapaxes(a, -1, -2) @ b, normal(4, 6, 17), normal(6, 10))


def test_what_a_product_is_called_with():
    def function(a, b, bias):
        return matmul(a * 1, b, bias, "relu"), matmul(a * 1, b * 1, bias=bias)

    def expected(a, b, bias):
        return np.maximum(a @ b + bias, 0), a @ b + bias

    a, b, bias = normal(5, 8), normal(8, 12), normal(12)
    graph, nodes = trace(function, [a, b, bias])
    found = single(graph, [each.node for each in nodes], [a, b, bias]).launch(a, b, bias)
    for one, other in zip(found, expected(a, b, bias), strict=True):
        close(one, other)


# ------------------------------------------------------------------------------ writes
def test_writes_come_after_all_reads():
    def swapped(a, b):
        old = a * 1
        a[...] = b
        b[...] = old
        return a + b

    def reversed_and_shifted(a, b):
        before = np.flip(a, axis=0) + b
        a[1:] = before[:-1]
        return before * 2

    def turned(a, b):
        new = a.T + b
        a[...] = new
        b[...] = new * 2
        return new

    agrees(swapped, normal(6, 7), normal(6, 7), times=3)
    agrees(turned, normal(9, 9), normal(9, 9), times=3)
    agrees(reversed_and_shifted, normal(9), normal(9), times=2)


def test_updates_in_place_see_the_values_before():
    def function(w, x, m):
        y = x @ w
        g = x.T @ y
        m[...] = m * np.float32(0.9) + g
        w[...] = w - m * np.float32(0.01)
        return (x @ w).sum(), y

    agrees(function, normal(6, 10), normal(20, 6), normal(6, 10), times=4, tolerance=1e-5)


def test_parts_of_arguments_are_written():
    def function(a, x):
        a[::2] = x[:, 1]
        a[1::2] = x[:, 0] * 2
        return x.T + 1

    agrees(function, normal(20), normal(10, 2))


def test_parts_of_computed_arrays_are_written():
    def function(x):
        made = x * 2
        made[1:, ::2] = x[:-1, 1::2] + 1
        made[0] = 5
        other = x + 1
        other[..., 0] = other[..., 1] * 3
        return made, made.sum(axis=0), other.T

    agrees(function, normal(7, 10))


def test_shared_memory_is_refused():
    whole = normal(10)

    def function(a, b):
        a[...] = b * 2

    with pytest.raises(Unsupported, match="share memory"):
        made(function, [whole[1:], whole[:-1]])

    fixed = whole[:5]  # a trace copies what may change, and this it takes for fixed
    fixed.flags.writeable = False

    def captured(a):
        a[...] = a * fixed

    with pytest.raises(Unsupported, match="share memory"):
        made(captured, [whole[4:9]])


def test_writes_that_numpy_refuses_are_refused():
    def function(a, b):
        a[...] = b * 2

    fixed = normal(4)
    fixed.flags.writeable = False
    with pytest.raises(Unsupported, match="read-only"):
        made(function, [fixed, normal(4)])


def test_results_are_new_arrays():
    def function(x):
        y = x * 2
        return y, y, x, y.T, y.sum()

    x = normal(3, 4)
    compiled = agrees(function, x)
    first, second = compiled.launch(x), compiled.launch(x)
    arrays = [*first, *second, x]
    for place, one in enumerate(arrays):
        assert one.flags.c_contiguous and one.flags.owndata and one.flags.writeable
        assert not any(np.shares_memory(one, other) for other in arrays[place + 1 :])


# ------------------------------------------------------------------------------ calls
def test_arguments_are_counted_and_their_types_checked():
    compiled = made(lambda x, a: x * a, [normal(4), 2.0])
    for wrong in ([], [normal(4)], [normal(4), 2], [[1.0], 2.0], [normal(4), 2.0, 1.0]):
        with pytest.raises(TypeError, match="other arguments"):
            compiled.launch(*wrong)


def test_numbers_are_drawn_before_the_launch_in_their_order():
    generator = np.random.default_rng(3)

    def draw(scale):
        return generator.standard_normal(6) * scale

    def drawn(x, scale):
        if not isinstance(x, Traced):
            return draw(scale)
        return effect(x.graph, draw, (scale,), (6,), np.float64)

    def function(x):
        noise, other = drawn(x, 1.0), drawn(x, 2.0)
        return x + noise, other * noise

    x = normal(6, dtype=np.float64)
    compiled = made(function, [x])
    for _ in range(3):
        generator = np.random.default_rng(5)
        found = compiled.launch(x)
        generator = np.random.default_rng(5)
        for one, other in zip(found, function(x), strict=True):
            close(one, other)


def test_calls_on_arguments_alone_run_before_the_launch():
    seen = []

    def look(x, scale):
        seen.append((x.copy(), scale))
        return np.zeros((), np.bool_)

    def function(x, scale):
        if isinstance(x, Traced):
            effect(x.graph, look, (x[1:], scale), (), np.bool_)
        values, vectors = np.linalg.eigh(x[:3, :3])
        ordered = np.sort(x, axis=0)
        x[...] = x * scale
        return ordered * scale, values + 1, abs(vectors)

    x = normal(5, 3)
    x[:3] += x[:3].T
    before = x.copy()
    agrees(function, x, 2.0)
    ((found, scale),) = seen
    np.testing.assert_array_equal(found, before[1:])
    assert scale == 2.0
    with pytest.raises(Unsupported, match="steps update"):
        made(function, [x, 2.0]).epoch([x, None], {}, np.empty((1, 0), np.int64), np.ones((1, 1)))


def test_rows_are_added_up_by_number():
    values, numbers = normal(3, 4, 11), np.random.default_rng(0).integers(0, 6, (3, 4))

    def function(values, numbers, number):
        made = sum_rows(values * 2, numbers, 6)
        same = np.broadcast_to(number, values.shape)
        others = sum_rows(values[..., 0] * 2, numbers, 7), sum_rows(same, numbers, 6)
        return made, made + 1, gather_rows(made, numbers), *others

    agrees(function, values, numbers, np.array(1.5, np.float32))


def test_other_calls_and_too_much_work_are_refused():
    with pytest.raises(Unsupported):
        made(lambda x: np.sort(x * 2) + 1, [normal(5)])
    with pytest.raises(Unsupported, match="one thread"):
        made(lambda x: x @ x, [normal(300, 300)])


# ------------------------------------------------------------------------------ whole networks
def softmax_step(x, labels, lr, w1, b1, w2, b2):
    rows = np.arange(len(x))
    h = np.tanh(x @ w1.T + b1)
    y = h @ w2.T + b2
    shifted = y - y.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -logs[rows, labels].mean()
    g = np.exp(logs)
    g = (g - (np.arange(10) == labels[:, None])) / np.float32(len(x))
    g = g.astype(np.float32)
    gh = (g @ w2) * (1 - h * h)
    for w, b, grad, inputs in ((w2, b2, g, h), (w1, b1, gh, x)):
        w[...] = w - lr * (grad.T @ inputs)
        b[...] = b - lr * grad.sum(axis=0)
    return loss, y


def test_a_classifier_with_cross_entropy():
    labels = np.random.default_rng(0).integers(0, 10, 32)
    parameters = [normal(24, 20) * 0.3, normal(24), normal(10, 24) * 0.3, normal(10)]
    agrees(softmax_step, normal(32, 20), labels, 0.1, *parameters, times=3, tolerance=1e-5)


def test_layer_norm_and_its_gradients():
    def function(x, g, w, b):
        centred = x - x.mean(axis=-1, keepdims=True)
        inverse = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        normed = centred * inverse
        gn = g * w
        gx = inverse * (gn - gn.mean(axis=-1, keepdims=True)
                        - normed * (gn * normed).mean(axis=-1, keepdims=True))  # fmt: skip
        return normed * w + b, gx, (g * normed).sum(axis=(0, 1)), g.sum(axis=(0, 1))

    agrees(function, normal(3, 7, 20), normal(3, 7, 20, seed=1), normal(20), normal(20, seed=1))


def test_a_long_short_term_memory():
    def function(x, w, u, b, h, c):
        for step in range(5):
            gates = x[step] @ w + h @ u + b
            i, f, g, o = (gates[:, 6 * k : 6 * k + 6] for k in range(4))
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
        return h, c

    agrees(function, normal(5, 4, 3), normal(3, 24), normal(6, 24), normal(24), normal(4, 6),
           normal(4, 6, seed=1))  # fmt: skip


def test_attention():
    def function(x, w):
        q, k, v = (np.swapaxes((x @ w[i]).reshape(2, 5, 3, 4), 1, 2) for i in range(3))
        scores = q @ np.swapaxes(k, -1, -2) * np.float32(0.5)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = weights / weights.sum(axis=-1, keepdims=True)
        return np.swapaxes(weights @ v, 1, 2).reshape(2, 5, 12) @ w[3]

    agrees(function, normal(2, 5, 12), normal(4, 12, 12))


# ------------------------------------------------------------------------------ many steps at once
def test_an_epoch_is_its_launches():
    steps, batch = 7, 6
    rows, labels = normal(40, 5), np.random.default_rng(0).integers(0, 10, 40)
    order = np.random.default_rng(1).integers(0, 40, (steps, batch))
    rates = np.linspace(0.1, 0.5, steps)[:, None]
    parameters = [normal(9, 5), normal(9), normal(10, 9), normal(10)]
    sample = [rows[:batch].copy(), labels[:batch].copy(), 0.1, *parameters]
    compiled = made(softmax_step, sample)
    expected, others = [], copy.deepcopy(parameters)
    for taken, (rate,) in zip(order, rates.tolist(), strict=True):
        expected.append(compiled.launch(rows[taken], labels[taken], rate, *others))
    losses, last = compiled.epoch(
        [None, None, None, *parameters], {0: rows, 1: labels}, order, rates, collected={0}
    )
    np.testing.assert_array_equal(losses, [loss for loss, _ in expected])
    np.testing.assert_array_equal(last, expected[-1][1])
    for one, other in zip(parameters, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 21])
def test_rows_of_any_size_are_gathered(dtype, width):
    rows = (normal(9, width) * 20).astype(dtype)
    order = np.random.default_rng(0).integers(0, 9, (5, 4))
    compiled = made(lambda x: x * 1, [rows[:4].copy()])
    (found,) = compiled.epoch([None], {0: rows}, order, np.empty((5, 0)), collected=[0])
    np.testing.assert_array_equal(found, rows[order])


def test_an_epoch_draws_for_each_step():
    generator = np.random.default_rng(3)

    def draw():
        return generator.standard_normal(6)

    def function(x, total):
        noise = effect(x.graph, draw, (), (6,), np.float64) if isinstance(x, Traced) else draw()
        total[...] = total + noise * x
        return noise.sum()

    x, total = normal(6, dtype=np.float64), np.zeros(6)
    compiled = made(function, [x, total])
    generator = np.random.default_rng(5)
    order = np.empty((4, 1), np.int64)
    (sums,) = compiled.epoch([x, total], {}, order, np.empty((4, 0)), {0})
    generator, other = np.random.default_rng(5), np.zeros(6)
    expected = [function(x, other) for _ in range(4)]
    close(sums, np.array(expected))
    close(total, other)


def test_an_epoch_checks_what_it_gets():
    compiled = made(lambda x, a: x * a, [normal(4, 3), 2.0])
    rows, order, floats = normal(10, 3), np.zeros((2, 4), np.int64), np.ones((2, 1))
    for wrong in (
        ([None, None], {0: rows[:, :2]}, order, floats), ([None, None], {0: rows}, order[:0], floats),
        ([None, None], {0: rows.astype(np.float64)}, order, floats),
        ([normal(4, 2), None], {}, order, floats), ([None, None], {0: rows}, order, floats[:1]),
        ([None, None], {0: rows}, order[:, :2], floats),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            compiled.epoch(*wrong)
    for row in (-1, 10):
        with pytest.raises(IndexError):
            compiled.epoch([None, None], {0: rows}, order + row, floats)


# ------------------------------------------------------------------------------ random programs
def random_program(seed):
    """A function of three arrays, two of which it may write to, with a plan drawn from the seed."""
    draw = np.random.default_rng(seed)
    m, n = (int(each) for each in draw.choice([1, 2, 3, 5, 8, 9, 12, 17, 33], 2))
    plan = [(str(draw.choice(["binary", "unary", "reduce", "view", "product", "where", "cat"])),
             draw.integers(0, 1 << 30, 6)) for _ in range(int(draw.integers(3, 14)))]  # fmt: skip
    shapes = [(m, n), (m, n), (n,)]
    turned = [bool(each) for each in draw.integers(0, 2, 2)]
    writes = draw.integers(0, 3)

    def function(a, b, c):
        values = [a, b, c]

        def pick(number):
            return values[number % len(values)]

        def like(value, number):
            """Another value that broadcasts with this one."""
            fitting = [each for each in values if _fits(value.shape, each.shape)]
            return fitting[number % len(fitting)]

        for kind, (first, second, third, *_) in plan:
            x = pick(first)
            if kind == "binary":
                name = ("add", "subtract", "multiply", "maximum")[third % 4]
                made = getattr(np, name)(x, like(x, second))
            elif kind == "unary":
                name = ("tanh", "negative", "square", "absolute")[third % 4]
                made = getattr(np, name)(x)
            elif kind == "where":
                made = np.where(x > 0, like(x, second), x)
            elif kind == "reduce":
                if not x.ndim:
                    continue
                name = ("sum", "max", "mean")[second % 3]
                made = getattr(x, name)(axis=int(third) % x.ndim, keepdims=bool(first % 2))
            elif kind == "view":
                made = (x.T, x.reshape(-1), x[::-1], x[..., None])[third % 4] if x.ndim else x + 1
            elif kind == "cat":
                if not x.ndim:
                    continue
                made = np.concatenate([x, x * 2], axis=int(third) % x.ndim)
            else:
                if x.ndim != 2:
                    continue
                others = [each for each in values if each.ndim == 2 and each.shape[0] == x.shape[1]]
                made = x @ (others[second % len(others)] if others else x.T)
            if made.size > 3000:
                continue
            made = made * np.float32(0.25)
            values.append(made)
        results = tuple(each + 0 for each in values[-4:])
        for target in (a, b)[:writes]:
            fitting = [each for each in values if each.shape == target.shape]
            target[...] = fitting[-1 - (plan[0][1][5] % len(fitting))]
        return results

    arrays = []
    for number, shape in enumerate(shapes):
        if number < 2 and turned[number]:
            arrays.append(normal(*shape[::-1], seed=seed + number).T)
        else:
            arrays.append(normal(*shape, seed=seed + number))
    return function, arrays


def _fits(one, other):
    try:
        return np.prod(np.broadcast_shapes(one, other)) <= 3000
    except ValueError:
        return False


@pytest.mark.parametrize("block", range(8))
def test_random_programs(block):
    for seed in range(10 * block, 10 * block + 10):
        function, arrays = random_program(seed)
        agrees(function, *arrays, times=2, tolerance=1e-5)
