"""Generated pooling against the NumPy functions, on guarded memory, with one thread and with two."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from danlu.kernels import pooling
from danlu.kernels.codegen.target import named
from danlu.kernels.generated import pooling as forward
from danlu.kernels.generated import pooling_backward as backward
from danlu.kernels.runtime import machine, pool, road
from tests.unit.guarded import guarded

OTHER_TARGETS = [
    named("x86_64-unknown-linux-gnu", "skylake-avx512"),
    named("aarch64-unknown-linux-gnu", "neoverse-n1"),
]

# sizes, kernel, stride, padding, dilation, ceil_mode
GEOMETRIES = [
    ((9, 13), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((8, 32), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((9, 13), (2, 2), (2, 2), (0, 0), (1, 1), True),
    ((11, 33), (3, 3), (2, 2), (1, 1), (1, 1), False),
    ((7, 19), (3, 3), (1, 1), (1, 1), (1, 1), False),
    ((12, 17), (2, 3), (1, 3), (1, 1), (3, 2), True),
    ((40,), (4,), (2,), (2,), (1,), False),
    ((41,), (3,), (3,), (0,), (1,), False),
    ((3,), (2,), (1,), (0,), (1,), False),
    ((6, 7, 21), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False),
    ((5, 6, 9), (3, 2, 3), (2, 1, 2), (1, 0, 1), (1, 2, 1), True),
    ((4, 1, 9), (3, 1, 5), (5, 1, 4), (0, 0, 2), (1, 1, 1), False),
]


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    before = pool.thread_count()
    pool.ensure().resize(request.param)
    yield request.param
    pool.ensure().resize(before)


def positions_of(sizes, kernel, stride, padding, dilation, ceil_mode):
    return pooling.pooled_sizes(sizes, kernel, stride, padding, dilation, ceil_mode)


def planes(sizes, lead=5, seed=0):
    """Small whole numbers, so that windows hold equal ones, with NaN and both infinities."""
    random = np.random.default_rng(seed)
    x = random.integers(-9, 9, (lead, *sizes)).astype(np.float32)
    x[random.random(x.shape) < 0.03] = np.nan
    x[random.random(x.shape) < 0.1] = np.inf
    x[random.random(x.shape) < 0.4] = -np.inf
    return x


def gradient(lead, positions):
    return np.random.default_rng(1).standard_normal((lead, *positions)).astype(np.float32)


# ------------------------------------------------------------------------------ maximum
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_maximum_and_its_gradient_equal_numpy(geometry, threads):
    sizes, *windows, _ = geometry
    positions = positions_of(*geometry)
    for end in (True, False):
        x = guarded(planes(sizes), end)
        with road.forced("numpy"):
            expected = pooling.max_pool(x, positions, *windows)
        with road.forced("native"):
            values = pooling.max_pool(x, positions, *windows)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected)

        grad = guarded(gradient(len(x), positions), end)
        with road.forced("numpy"):
            expected = pooling.max_pool_input(grad, x, values, *windows)
        with road.forced("native"):
            found = pooling.max_pool_input(grad, x, values, *windows)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_random_geometries_equal_numpy():
    random = np.random.default_rng(3)
    for _ in range(10):
        rank = int(random.integers(1, 4))

        def draw(high, count=rank):
            return tuple(int(each) for each in random.integers(1, high, count))

        kernel, stride, dilation, sizes = draw(4), draw(4), draw(3), draw(9)
        sizes = tuple(size + 6 for size in sizes)
        padding = tuple(
            int(random.integers(0, ((k - 1) * d + 1) // 2 + 1))
            for k, d in zip(kernel, dilation, strict=True)
        )
        windows = (kernel, stride, padding, dilation)
        positions = positions_of(sizes, *windows, bool(random.integers(2)))
        x, grad = planes(sizes, 3), gradient(3, positions)
        with road.forced("numpy"):
            values = pooling.max_pool(x, positions, *windows)
            expected = pooling.max_pool_input(grad, x, values, *windows)
        with road.forced("native"):
            np.testing.assert_array_equal(pooling.max_pool(x, positions, *windows), values)
            found = pooling.max_pool_input(grad, x, values, *windows)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=str(windows))


def test_first_maximum_and_last_nan_take_the_gradient():
    x = np.array([[1, 3, 3, 2], [np.nan, 1, np.nan, 0], [-np.inf] * 4], dtype=np.float32)
    grad = np.ones((3, 1), dtype=np.float32)
    for windows in [((4,), (4,), (0,), (1,)), ((4,), (1,), (0,), (1,))]:
        with road.forced("native"):
            found = pooling.max_pool_input(grad, x, None, *windows)
        np.testing.assert_array_equal(found, [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]])


def test_a_window_of_minus_infinity_learns_at_its_first_element_inside():
    x = np.full((1, 4, 4), -np.inf, dtype=np.float32)
    grad = np.ones((1, 3, 3), dtype=np.float32)
    with road.forced("native"):
        found = pooling.max_pool_input(grad, x, None, (2, 2), (2, 2), (1, 1), (1, 1))
    expected = np.zeros((4, 4))
    expected[np.ix_([0, 1, 3], [0, 1, 3])] = 1
    np.testing.assert_array_equal(found[0], expected)


# ------------------------------------------------------------------------------ average
@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if max(g[4]) == 1], ids=str)
@pytest.mark.parametrize("per_window", [False, True], ids=["one divisor", "divisors"])
def test_average_and_its_gradient_equal_numpy(geometry, per_window, threads):
    sizes, kernel, stride, padding, *_ = geometry
    positions = positions_of(*geometry)
    random = np.random.default_rng(2)
    divisor = random.random(positions).astype(np.float32) + 1 if per_window else -3
    for end in (True, False):
        x = guarded(random.standard_normal((5, *sizes)).astype(np.float32), end)
        grad = guarded(gradient(5, positions), end)
        found = {}
        for name in ("numpy", "native"):
            with road.forced(name):
                found[name] = (
                    pooling.window_means(x, positions, kernel, stride, padding, divisor),
                    pooling.spread_means(grad, sizes, kernel, stride, padding, divisor),
                )
        for native, expected in zip(found["native"], found["numpy"], strict=True):
            np.testing.assert_allclose(native, expected, rtol=1e-5, atol=2e-6)


def test_average_carries_nan_to_the_windows_that_hold_it():
    x = np.ones((1, 32), dtype=np.float32)
    x[0, 17] = np.nan
    with road.forced("native"):
        out = pooling.window_means(x, (16,), (2,), (2,), (0,), 2)
    assert np.isnan(out[0]).tolist() == [n == 8 for n in range(16)]


# ------------------------------------------------------------------------------ memory
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("end", [True, False])
def test_nothing_is_written_beside_the_results(geometry, end, monkeypatch):
    sizes, *windows, _ = geometry
    positions = positions_of(*geometry)
    x, grad = guarded(planes(sizes), end), guarded(gradient(5, positions), end)
    expected = (
        forward.maximum(x, positions, *windows),
        forward.average(x, positions, *windows[:3], 2.0),
        backward.maximum_input(grad, x, *windows),
        backward.average_input(grad, sizes, *windows[:3], 2.0),
    )

    def empty(shape, dtype):
        return guarded(np.zeros(shape, dtype), end)

    for module in (forward, backward):
        monkeypatch.setattr(module.np, "empty", empty)
    found = (
        forward.maximum(x, positions, *windows),
        forward.average(x, positions, *windows[:3], 2.0),
        backward.maximum_input(grad, x, *windows),
        backward.average_input(grad, sizes, *windows[:3], 2.0),
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------------------ which road
def test_one_and_two_threads_give_the_same_bits():
    x = np.random.default_rng(0).standard_normal((300, 21, 23)).astype(np.float32)
    results = []
    for count in (1, 2):
        pool.ensure().resize(count)
        out = forward.average(x, (11, 12), (3, 3), (2, 2), (1, 1), 9.0)
        results.append((out, backward.average_input(out, (21, 23), (3, 3), (2, 2), (1, 1), 9.0)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_views_are_pooled_too():
    x = planes((12, 40))[:, ::2, ::-1]
    windows = ((2, 2), (2, 2), (0, 0), (1, 1))
    with road.forced("numpy"):
        expected = pooling.max_pool(x, (3, 20), *windows)
    with road.forced("native"):
        np.testing.assert_array_equal(pooling.max_pool(x, (3, 20), *windows), expected)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64"])
def test_other_dtypes_stay_with_numpy(dtype):
    x = np.arange(64, dtype=dtype).reshape(1, 8, 8)
    with road.forced("native"):
        out = pooling.max_pool(x, (4, 4), (2, 2), (2, 2), (0, 0), (1, 1))
    assert out.dtype == dtype
    assert out[0].tolist() == x[0, 1::2, 1::2].tolist()


def test_long_kernels_stay_with_numpy():
    x = np.arange(128.0, dtype=np.float32).reshape(1, 128)
    with road.forced("native"):
        assert pooling.max_pool(x, (1,), (128,), (128,), (0,), (1,)).tolist() == [[127.0]]


@pytest.mark.parametrize("target", OTHER_TARGETS, ids=lambda target: target.cpu)
def test_texts_compile_for_other_processors(target):
    columns = forward.Columns(3, 2, 1, 1)
    texts = [
        forward.maximum_text(target, columns, False),
        forward.average_text(target, columns, False, True),
        forward.maximum_text(target, forward.Columns(2, 2, 0, 1), True),
        backward.maximum_apart_text(target, forward.Columns(2, 2, 0, 1)),
        backward.maximum_input_text(target, columns),
        backward.average_input_text(target, columns, True),
    ]
    for text in texts:
        assert len(machine.emit_object(text, target)) > 1000
