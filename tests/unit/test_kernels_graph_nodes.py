"""The graph's nodes beyond loops over memory: calls out, kernels that are called, elements and parts
by index, random words, transposed tiles, casts."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from danlu.kernels import attention, convolution, embedding, explain, kernel, pooling
from danlu.kernels.fused.functions import philox, random_words
from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.graph.plan import plan
from danlu.kernels.matmul import matmul
from danlu.kernels.runtime import machine, pool, road
from tests.unit.guarded import guarded
from tests.unit.test_kernels_graph import compare, normal, same

RANDOM = np.random.default_rng(11)
KEY, OFFSET = np.array([0x123456789ABCDEF], np.uint64), np.array([0xFFFFFFFF0], np.uint64)


def fenced(function, *arguments):
    """Results and temporaries end, then begin, at a forbidden page; what is not written is NaN."""
    for end in (True, False):
        made = plan(function, arguments)

        def empty(shape, dtype, end=end):
            return guarded(
                np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 77, dtype), end
            )

        made.names["empty"] = empty
        compare(made.launch(*arguments), function(*arguments))


def updated(function, *arguments):
    """Arguments changed in place, by NumPy and by the launch, whose plan is returned."""
    first = [each.copy() for each in arguments]
    second = [guarded(each) for each in arguments]
    made = plan(function, second)
    compare(made.launch(*second), function(*first))
    for pair in zip(second, first):
        compare(*pair)
    return made


# ------------------------------------------------------------------------------ calls out
@pytest.mark.parametrize("function", [
    lambda x: np.sort(x * 2, axis=1) + 1,
    lambda x: np.cumsum(x, axis=0) * x,
    lambda x: x.cumsum(axis=1) * 2 + x.argsort(axis=1),
    lambda x: np.linalg.inv(x @ x.T + 9 * np.eye(len(x), dtype=np.float32)) * 2,
    lambda x: np.linalg.cholesky(x @ x.T + 9 * np.eye(len(x), dtype=np.float32)) * 2,
    lambda x: np.abs(np.fft.rfft(x, axis=1)) * 2,
    lambda x: np.add.reduce(x, axis=0, initial=3.0) * 2,
    lambda x: np.maximum.accumulate(x, axis=1) + x,
    lambda x: np.add(x, 1, dtype=np.float64) * x,
    lambda x: np.subtract.outer(x[0], x[1] * 2) + 1,
    lambda x: np.einsum("ij,kj->ik", x * 2, x) + 1,
    lambda x: np.sum(x, axis=0, where=x > 0) + x,
    lambda x: np.pad(x * 2, ((1, 0), (0, 2)))[1:] * 2,
    lambda x: (x // 2, np.hypot(x, x * 2) + 1, np.clip(x * 9, np.float32(-1), x)),
    lambda x: np.interp(x, [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]) + x,
    lambda x: np.vstack([x * 2, x]) + 1,
    lambda x: np.take(x * 2, [2, 0], axis=1) + 1,
    lambda x: np.linalg.norm(x * 2, axis=1) + 1,
])  # fmt: skip
def test_functions_without_a_graph_are_called(function):
    made = same(function, normal(9, 12), rtol=1e-3, atol=1e-3)
    assert made.laid
    assert "settled(" in made.source or "fresh(" in made.source


def test_calls_return_several_arrays():
    def split(x):
        fraction, whole = np.modf(x * 3)
        mantissa, exponent = np.frexp(x)
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        halves = np.split(x, 2)
        return fraction + whole, mantissa * 2, exponent + 1, (u * s) @ vh, halves[0] - halves[1]

    same(split, normal(8, 5), rtol=1e-3, atol=1e-3)
    same(lambda x: np.linalg.eigh(x @ x.T).eigenvalues * 2, normal(6, 6), rtol=1e-3, atol=1e-3)


def test_calls_get_python_floats_and_numbers():
    def limited(x, low, high):
        return np.nan_to_num(x * 2, nan=low) + np.float32(2) * np.heaviside(x, high * 2)

    x = normal(40)
    x[3] = 0
    made = same(limited, x, -1.0, 0.5)
    compare(made.launch(x, 5.0, 0.75), limited(x, 5.0, 0.75))


def test_functions_of_python_floats_give_float64():
    def scaled(x, factor):
        return x * np.sqrt(factor), x * (factor * 2 + 1) ** 0.5, x.real * factor

    same(scaled, normal(9), 2.5)


def test_results_that_look_at_arguments_are_copied():
    def viewed(x):
        y = x * 2
        parts = np.array_split(y, 3)  # views of y, which is used again
        z = np.broadcast_to(np.atleast_3d(y), (6, 5, 2)) + 1
        return y + 1, parts[1] * 3, np.real(y) - y, z

    same(viewed, normal(6, 5))

    def changed(x):
        part = np.array_split(x, 2)[0]
        x[...] = 0
        return part + x[:3]

    with pytest.raises(Unsupported, match="looked at elsewhere"):
        plan(changed, (normal(6, 5),))


@pytest.mark.parametrize("function", [
    lambda x: np.unique(x) * 2,
    lambda x: (x * 2)[x > 0],
    lambda x: np.nonzero(x * 2)[0] + 1,
    lambda x: np.where(x > 0)[0] + 1,
    lambda x: np.histogram_bin_edges(x * 2, "auto") + 1,
    lambda x: x.tolist(),
    lambda x: np.put(x, [0], 1.0),
    lambda x: np.fill_diagonal(x, 0.0),
    lambda x: x.sort(),
    lambda x: np.add(x, 1, where=x > 0, out=np.zeros_like(x)) * 2,
    lambda x: np.random.default_rng(0).permutation(x * 2),
])  # fmt: skip
def test_numpy_runs_what_depends_on_values(function):
    first = normal(9, 9)
    second = first.copy()
    with road.forced("native"):
        found = kernel(function)(second)
    wanted = function(first)
    if isinstance(wanted, list):
        assert found == wanted
    else:
        compare(found, wanted)
    compare(second, first)


def test_a_launch_that_gives_up_has_changed_nothing():
    @kernel
    def scaled(x, y):
        y += 1
        x *= 2
        return np.histogram_bin_edges(x, "auto") + y[0]

    first = [normal(50), normal(50)]
    second = [each.copy() for each in first]
    wanted = scaled.__wrapped__(*first)
    with road.forced("native"):
        compare(scaled(*second), wanted)
    compare(tuple(second), tuple(first))


def test_shapes_and_dtypes_are_known_while_tracing():
    def asking(x):
        if np.ndim(x) == 2 and np.shape(x)[0] == 5 and np.result_type(x, 1) == np.float32:
            return x * np.size(x) + x.nbytes + x.itemsize
        return x

    same(asking, normal(5, 6))


# ------------------------------------------------------------------------------ library calls
def test_a_bias_and_relu_go_into_the_product():
    def layer(x, weight, bias):
        return np.maximum(x @ weight + bias, 0)

    made = same(layer, normal(20, 30), normal(30, 8), normal(8), atol=1e-4)
    assert not made.laid
    assert "bias=a2, activation='relu'" in made.source
    same(layer, normal(20, 30), normal(30, 8), normal(1, 8), atol=1e-4)
    same(layer, normal(2, 20, 30), normal(30, 8), normal(8), atol=1e-4)
    given = same(lambda x, w, b: matmul(x * 2, w, b, "relu") * 2, normal(9, 5), normal(5, 7),
                 normal(7))  # fmt: skip
    assert "activation='relu'" in given.source

    def used_twice(x, weight, bias):
        product = x @ weight
        return np.maximum(product, 0) + bias, product + bias, np.dot(x, weight) + x[:, :1]

    made = same(used_twice, normal(20, 30), normal(30, 8), normal(8), atol=1e-4)
    assert "bias=" not in made.source
    assert "activation=" not in made.source
    after = same(lambda x, w, b: np.maximum(x @ w, 0) + b, normal(9, 5), normal(5, 7), normal(7))
    assert "bias=" not in after.source


def test_convolutions_are_called():
    settings = (1, 1), ((1, 1), (0, 2)), (1, 1), 1

    def block(x, weight, bias):
        y = convolution.convolve(x * 0.5, weight, *settings) + bias.reshape(-1, 1, 1)
        return np.maximum(y, 0)

    x, weight, bias = normal(3, 4, 9, 10), normal(8, 4, 3, 3), normal(8)
    made = same(block, x, weight, bias, atol=1e-4)
    assert "bias=a2" in made.source
    assert len(made.laid) == 2  # halving before, relu after

    def backward(grad, x, weight, bias):
        grad = grad * 2
        grad_x = convolution.convolve_input(grad, weight, (9, 10), *settings)
        grad_weight = convolution.convolve_weight(grad, x, (3, 3), *settings)
        return grad_x + bias.reshape((1, -1, 1, 1)), grad_weight * 0.5

    made = same(backward, normal(3, 8, 9, 10), x, weight, normal(4), rtol=1e-4, atol=1e-4)
    assert "bias=a3" in made.source


def test_pooling_attention_and_embedding_are_called():
    window = (2, 2), (2, 2), (0, 0)

    def pooled(x, grad):
        x = np.maximum(x, 0.25)
        values = pooling.max_pool(x, (4, 5), *window, (1, 1))
        mean = pooling.window_means(x, (4, 5), *window, 4)
        back = pooling.max_pool_input(grad * 2, x, values, *window, (1, 1))
        return values + mean, back + pooling.spread_means(grad, (8, 10), *window, 4)

    assert len(same(pooled, normal(6, 8, 10), normal(6, 4, 5)).laid) >= 3

    def attended(q, k, v, grad):
        out, log_sums = attention.attention(q * 2, k, v, None, 0.5, True)
        grads = attention.attention_backward(grad, q * 2, k, v, None, out, log_sums, 0.5, True)
        return out + 1, grads[0] * 2, grads[1] + grads[2]

    heads = [normal(2, 3, 20, 8) for _ in range(4)]
    found = plan(attended, heads).launch(*heads)
    with road.forced("native"):
        compare(found, attended(*heads))

    def rows(grad, index, table):
        table[...] = table - 0.5 * embedding.sum_rows(grad * 2, index, 30)

    updated(rows, normal(200, 7), RANDOM.integers(0, 30, 200), normal(30, 7))


def test_plain_arrays_are_not_recorded():
    assert convolution.convolve.__wrapped__.__name__ == "convolve"
    x = normal(2, 6, 6)
    compare(pooling.max_pool(x, (3, 3), (2, 2), (2, 2), (0, 0), (1, 1)),
            x.reshape(2, 3, 2, 3, 2).max(axis=(2, 4)))  # fmt: skip


# ------------------------------------------------------------------------------ by index
@pytest.mark.parametrize("shape", [(7, 9), (1, 100), (50, 1), (300, 17), (4, 5, 6)])
def test_argmax_and_argmin(shape):
    def places(x):
        return (np.argmax(x, axis=-1), x.argmin(axis=0) + 1, np.argmax(x), x.max(axis=-1),
                np.argmin(x, axis=1, keepdims=True))  # fmt: skip

    x = normal(*shape)
    same(places, x)
    same(places, np.round(x))  # the first of equal ones
    same(places, np.round(x * 3).astype(np.int32))
    x.flat[[0, -1, x.size // 2]] = np.nan
    x.flat[x.size // 3] = np.inf
    same(places, x)


def test_argmax_of_rows_is_one_nest():
    assert len(same(lambda x: (x.argmax(axis=1), x.max(axis=1)), normal(64, 50)).laid) == 1
    same(lambda x: x.argmax(), normal(3, 70001))


def test_truth_and_deviations():
    def facts(x):
        return (np.any(x > 2, axis=0), np.all(x < 3), x.any(axis=1), x.std(axis=1),
                np.var(x, axis=0, ddof=1), np.std(x))  # fmt: skip

    same(facts, normal(30, 40))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_sums_by_index(dtype):
    def scattered(x, index, values):
        y = x * 2
        np.add.at(y, index, values)
        return y + 1

    index = RANDOM.integers(0, 20, 300)
    x, values = (normal(n, 6) * 9 for n in (20, 300))
    same(scattered, x.astype(dtype), index, values.astype(dtype), rtol=1e-4, atol=1e-4)
    same(scattered, x.astype(dtype), index - 20, values.astype(dtype), rtol=1e-4, atol=1e-4)

    def largest(x, index, values):
        np.maximum.at(x, (index, index % 6), values[:, 0])

    updated(largest, x, index, values)
    with pytest.raises(IndexError), road.forced("native"):
        kernel(scattered)(x, index + 7, values)


def test_rows_and_elements_by_arrays():
    def by_index(x, i, j):
        y = x * 2
        y[i] = 0.5
        y[[1, 2], :3] = x[2:4, :3]
        y[y > 1] = -1
        z = np.array(3.0, np.float32) + x[i, j]
        np.put_along_axis(y, j[:, None] * 0 + 1, 7, 1)
        return y, z, x[[0, -1]] * 2, x[:, i % 5] + 1

    x = normal(9, 6)
    same(by_index, x, RANDOM.integers(-9, 9, 9), RANDOM.integers(0, 6, 9))

    def along(x, i, v):
        np.put_along_axis(x, i, v, axis=1)
        return np.take_along_axis(x, i, axis=1) * 2

    updated(along, normal(6, 9), np.argsort(normal(6, 4)), normal(6, 4))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_parts_are_stored_in_their_places(axis):
    def joined(x, y):
        both = np.concatenate([x * 2, y, np.exp(x), x.astype(np.float64)], axis=axis)
        return both + 1, np.stack([x, x * 2, x - 1], axis=axis), x * 2

    for shape in [(7, 5), (3, 33), (4, 3, 9)]:
        longer = list(shape)
        longer[axis] += 2
        same(joined, normal(*shape), normal(*longer))
        fenced(joined, normal(*shape), normal(*longer))
    source = same(lambda x: np.concatenate([x * 2, x + 1], axis=axis), normal(7, 5)).source
    assert source.count("empty") == 1


def test_parts_that_are_sums_or_used_again():
    def joined(x):
        total = x.sum(axis=0, keepdims=True)
        y = np.exp(x)
        return np.concatenate([total, y, x.mean(axis=0)[None], total]), y, y + total

    same(joined, normal(80, 9), atol=1e-4)


def test_parts_of_arguments_are_updated():
    def disjoint(x, v):
        x[1:3] = v * 2
        x[4:] = v[:1] + 1
        return v * 3

    made = updated(disjoint, normal(6, 5), normal(2, 5))
    assert "part(" not in made.source  # stored where they belong

    def columns(x, v):
        x[:, ::2] = v
        x[:, 1::2] += 1

    updated(columns, normal(6, 10), normal(6, 5))

    def twice(x, v):
        x[1:3] += v
        x[1:3] *= 2
        return x[1:3] + 1, x[3:] * 2

    updated(twice, normal(6, 5), normal(2, 5))

    def over(x, v):
        x[...] = 0
        x[2:4] = v
        x[5] = 1

    updated(over, normal(6, 5), normal(2, 5))

    def shifted(x):
        x[1:] = x[:-1] * 2

    updated(shifted, normal(40, 5))


def test_copies_of_arguments_are_no_views_of_them():
    def copies(x, y):
        found = x.sum(axis=0), x.astype(np.float32), x.copy(), x.max(axis=0, keepdims=True), x[0]
        x[...] = y * 2
        return found[:-1]

    updated(copies, normal(1, 5), normal(1, 5))


def test_reading_around_a_written_part():
    def stale(x):
        x[1:3] = 0
        return x * 2

    first = normal(6, 5)
    second = first.copy()
    with road.forced("native"):
        compare(kernel(stale)(second), stale(first))
    compare(second, first)


def test_arguments_that_may_not_be_written_raise():
    def change(x):
        x[...] = x + 1

    x = normal(9)
    x.flags.writeable = False
    with road.forced("native"), pytest.raises(ValueError, match="read-only"):
        kernel(change)(x)


def test_parts_of_computed_arrays():
    def parts(x):
        y = np.exp(x)
        z = y[::2, 1:] + y[1::2, :-1]
        y[1:3, ::2] = 9
        turned = np.moveaxis(y, 0, 1) + 1, np.flip(y, 1), np.flip(y.T, 0)[1:]
        return z, y[::-1] * 2, np.diagonal(y) * 2, y[:, None], *turned

    same(parts, normal(6, 9))
    same(parts, normal(9, 6).T)


# ------------------------------------------------------------------------------ random words
def test_philox_gives_the_published_words():
    def words(*numbers):
        return [np.array(each, np.uint64) for each in numbers]

    ones = 0xFFFFFFFF
    for counter, key, wanted in [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ones] * 4, [ones] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
         [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]:  # fmt: skip
        assert [int(each) for each in philox(words(*counter), words(*key))] == wanted


@pytest.mark.parametrize("shape", [(1,), (3,), (64,), (1001,), (5, 7), (33, 64), (3, 1), (2, 3, 50),
                                   (2, 70001), (40, 33)])  # fmt: skip
def test_random_words_are_made_in_the_loops(shape):
    def masked(x, key, offset):
        words = random_words(x.shape, key, offset)
        return np.where(words < np.uint32(1 << 31), x * 2, 0), words

    def twice(x, key, offset):
        return masked(x, key, offset)[0] + masked(x, key, offset)[0].sum(axis=-1, keepdims=True)

    for x in (normal(*shape), normal(*shape[::-1]).T):
        same(masked, x, KEY, OFFSET)
        same(twice, x, KEY, OFFSET, atol=1e-3)
    words = random_words((1 << 16,), KEY, OFFSET)
    assert abs(words.mean() / 2**31 - 1) < 0.01
    assert len(np.unique(words)) > 65_530


# ------------------------------------------------------------------------------ tiles
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.bool_])
@pytest.mark.parametrize("shape", [(16, 16), (17, 33), (37, 51), (64, 15), (129, 70)])
def test_transposed_operands(shape, dtype):
    def mixed(x, y, rows, columns):
        z = y.T.astype(np.float32)
        return x + z, x * rows - z * columns, (x > z).T

    x, y = normal(*shape), (normal(*shape[::-1]) * 9).astype(dtype)
    rest = normal(shape[0], 1), normal(shape[1])
    made = same(mixed, x, y, *rest)
    tiles = next(iter(made.laid.values())).program.lane == "tile"
    assert tiles == (min(shape) >= 16)
    fenced(mixed, x, y, *rest)


def test_transposed_operands_of_more_axes():
    same(lambda x, y: x + y.transpose(0, 2, 1), normal(3, 20, 40), normal(3, 40, 20))
    same(lambda x, y: x + y.transpose(0, 3, 1, 2), normal(3, 20, 5, 8), normal(3, 5, 8, 20))
    same(lambda x: (x * 2).T + x, normal(40, 40))
    base = normal(50, 60)
    same(lambda x, y: x - y.T, base[5:25, 3:40], base[2:39, 7:27])


# ------------------------------------------------------------------------------ casts
@pytest.mark.parametrize("source", ["float32", "float64", "float16", "bfloat16"])
def test_floats_become_integers(source):
    if source == "bfloat16":
        source = pytest.importorskip("ml_dtypes").bfloat16

    def casts(x):
        size = abs(x)
        return (
            *((x * 1).astype(kind) + kind(1) for kind in (np.int8, np.int16, np.int32, np.int64)),
            *((size * 1).astype(kind) for kind in (np.uint8, np.uint16, np.uint32, np.uint64)),
            x.astype(bool), abs(x.astype(np.int32)), x.astype(np.int32) % 7,
        )  # fmt: skip

    made = same(casts, (normal(103) * 40).astype(source))
    assert made.source.count("settled") <= 1  # uint64 is left to NumPy


# ------------------------------------------------------------------------------ threads, machines
def several(x, y, key, offset):
    words = random_words(x.shape, key, offset)
    noisy = np.where(words < np.uint32(3 << 30), x + y.T, 0)
    return noisy, noisy.sum(axis=0), np.argmax(noisy, axis=1), np.concatenate([noisy, x])


def test_threads_change_no_bit():
    arguments = normal(401, 301), normal(301, 401), KEY, OFFSET
    made = plan(several, arguments)
    before = pool.ensure().threads
    results = []
    try:
        for threads in (1, 2):
            pool.ensure().resize(threads)
            results.append(made.launch(*arguments))
    finally:
        pool.ensure().resize(before)
    for one, two in zip(*results):
        assert one.tobytes() == two.tobytes()
    compare(results[0], several(*arguments), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("triple", "cpu"), [
    ("x86_64-unknown-linux-gnu", "skylake-avx512"), ("aarch64-unknown-linux-gnu", "neoverse-n1"),
    ("x86_64-unknown-linux-gnu", "x86-64"),
])  # fmt: skip
def test_other_machines(triple, cpu):
    from danlu.kernels.codegen.target import named
    from danlu.kernels.graph.emit import text

    target = named(triple, cpu)
    arguments = normal(401, 301), normal(301, 401), KEY, OFFSET
    nests = [*plan(several, arguments).laid.values()]
    nests += plan(lambda x, y, *_: (x + y.T, x.astype(np.int8)), arguments).laid.values()
    assert nests[-1].program.lane == "tile"
    for laid in nests:
        assert machine.emit_object(text(laid.program, target), target)


def test_explain_shows_calls():
    report = explain(lambda x: np.sort(x * 2) + 1, normal(40))
    for part in ("= call of sort(%", "sort: called; ", "fresh(sort(n"):
        assert part in report


# ------------------------------------------------------------------------------ all together
def _step(rng, x, y):
    """A random function of two matrices, where their shapes allow it."""
    axis, kind = int(rng.integers(2)), rng.integers(12)
    if kind < 2 and (x.shape == y.shape or 1 in x.shape):
        if x.shape == y.shape or x.size == 1:
            return (np.add, np.maximum)[kind](x, y)
    if kind == 2 and x.shape == y.shape[::-1]:
        return x - y.T
    if kind == 3 and x.shape[1 - axis] == y.shape[1 - axis]:
        return np.concatenate([x, y, x * 2], axis=axis)
    if kind == 4 and x.shape[1] == y.shape[0]:
        return np.tanh(x @ y)
    if kind == 5:
        return x - x.max(axis=axis, keepdims=True)
    if kind == 6:
        return x.sum(axis=axis, keepdims=True) * 0.1
    if kind == 7 and len(x) > 1:
        return x[1:, ::-1]
    if kind == 8:
        return np.sort(x, axis=axis)
    if kind == 9:
        return np.argmax(np.round(x, 1), axis=1)[:, None].astype(np.float32)
    if kind == 10:
        changed = x * 1
        changed[0, :2] = 0.5
        changed[changed > 2] = 2
        return changed
    return np.tanh(x).T


def _random_program(seed):
    def run(a, b, c):
        rng = np.random.default_rng(seed)
        values = [a, b, c]
        for _ in range(rng.integers(3, 9)):
            x, y = (values[n] for n in rng.integers(len(values), size=2))
            values.append(_step(rng, x, y))
        last, target = values[-1], values[rng.integers(2)]
        if last.shape == target.shape:
            target[...] = last * 0.5
        elif len(target) > 3:
            target[1:3] = 0.5
            target[3:] *= 2
        return tuple(values[3:])

    return run


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    rng = np.random.default_rng(seed)
    m, n, k = rng.integers(1, 40, 3)
    second = (m, n) if seed % 2 else (n, m)
    first = [normal(*shape) for shape in ((m, n), second, (n, k))]
    again = [guarded(each, end=seed % 3 > 0) for each in first]
    with road.forced("native"):
        found = kernel(_random_program(seed))(*again)
    wanted = _random_program(seed)(*first)
    compare((*found, *again), (*wanted, *first), rtol=1e-3, atol=1e-3)
