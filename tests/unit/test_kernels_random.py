"""Random numbers by machine code: the bits of the NumPy road, and the state that it leaves."""

import threading

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu as torch
from danlu.backend import random as draws
from danlu.backend.random import Generator
from danlu.kernels import random as machine
from danlu.kernels.codegen.target import named
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I8, I64
from danlu.kernels.generated import random as generated
from danlu.kernels.runtime import machine as compiler
from danlu.kernels.runtime import pool, road
from tests.unit.guarded import guarded

F = torch.nn.functional
FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")
# words of a chunk, and numbers that take several chunks, their last block of 624 words too
CHUNK = 2048
SEVERAL = (1025, 2048, 2672, 5001, 12_345)

DRAWS = {
    "uniform": lambda g, n: draws.uniform(g, (n,), FLOAT32),
    "uniform, bounds": lambda g, n: draws.uniform(g, (n,), FLOAT32, -0.57, 0.31),
    "uniform, upper bound": lambda g, n: draws.uniform(g, (n,), FLOAT32, 0.0, 3.0),
    "uniform, float64": lambda g, n: draws.uniform(g, (n,), FLOAT64),
    "uniform, float64, bounds": lambda g, n: draws.uniform(g, (n,), FLOAT64, -0.57, 0.31),
    "uniform, float16": lambda g, n: draws.uniform(g, (n,), np.dtype("float16"), 0.0, 3.0),
    "uniform, complex": lambda g, n: draws.uniform(g, (n,), np.dtype("complex64")),
    "normal": lambda g, n: draws.normal(g, (n,), FLOAT32),
    "normal, std": lambda g, n: draws.normal(g, (n,), FLOAT32, 0.0, 0.02),
    "normal, mean": lambda g, n: draws.normal(g, (n,), FLOAT32, -1.5, 2.3),
    "normal, float64": lambda g, n: draws.normal(g, (n,), FLOAT64, -1.5, 2.3),
    "normal, float16": lambda g, n: draws.normal(g, (n,), np.dtype("float16")),
    "ones": lambda g, n: draws.bernoulli(g, (n,), FLOAT32, 0.3),
    "ones, float64": lambda g, n: draws.bernoulli(g, (n,), FLOAT64, 0.7),
    "ones, bool": lambda g, n: draws.bernoulli(g, (n,), np.dtype("bool"), 0.5),
    "ones, int64": lambda g, n: draws.bernoulli(g, (n,), np.dtype("int64"), 1 / 3),
    "ones, float16": lambda g, n: draws.bernoulli(g, (n,), np.dtype("float16"), 1 / 3),
    "integers": lambda g, n: draws.integers(g, (n,), np.dtype("int64"), 0, 10),
    "integers, int32": lambda g, n: draws.integers(g, (n,), np.dtype("int32"), -5, 1 << 27),
    "integers, wide": lambda g, n: draws.integers(g, (n,), np.dtype("int64"), 0, 1 << 40),
    "permutation": lambda g, n: draws.randperm(g, n),
    "exponential": lambda g, n: draws.exponential(g, (n,), FLOAT32),
    "log normal": lambda g, n: draws.log_normal(g, (n,), FLOAT32),
}


def drawn(name, draw, used=0):
    """The bytes of what a road draws, and of the state after it."""
    stream = Generator().manual_seed(5)
    if used:
        stream.words(used)
    with road.forced(name):
        numbers = draw(stream)
    return [number.tobytes() for number in numbers], stream.state_bytes().tobytes()


def same(draw, used=0):
    native, expected = (drawn(name, draw, used) for name in ("native", "numpy"))
    assert native[1] == expected[1], "the states differ"
    assert native[0] == expected[0]


@pytest.mark.parametrize("name", DRAWS)
def test_every_draw_in_a_row(name):
    sizes = (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 623, 624, 625, 1000, 2999)
    same(lambda stream: [DRAWS[name](stream, n) for n in sizes])


@pytest.mark.parametrize("used", [0, 1, 311, 623, 624])
@pytest.mark.parametrize("name", DRAWS)
def test_several_chunks_from_anywhere_in_the_state(name, used, monkeypatch):
    monkeypatch.setattr(generated, "_CHUNK", CHUNK)
    same(lambda stream: [DRAWS[name](stream, n) for n in SEVERAL], used)


@pytest.mark.parametrize("name", ["uniform", "uniform, float64", "normal", "permutation"])
def test_chunks_of_any_state_and_size(name, monkeypatch):
    random = np.random.default_rng(0)
    for _ in range(100):
        monkeypatch.setattr(generated, "_CHUNK", 16 * int(random.integers(39, 80)))
        n = int(random.integers(1, 4000))
        same(lambda stream, n=n: [DRAWS[name](stream, n)], int(random.integers(0, 625)))


def test_every_size_with_draws_of_all_kinds_in_turn():
    kinds = list(DRAWS.values())
    same(lambda stream: [kinds[n % len(kinds)](stream, n) for n in range(1, 3001)])


@pytest.mark.parametrize("name", ["uniform", "normal", "ones", "integers", "permutation"])
def test_a_large_number(name):
    same(lambda stream: [DRAWS[name](stream, 300_007)])


@pytest.mark.parametrize("span", [1, 2, 3, 5, 641, 65_535, 65_537, 6_700_417, (1 << 28) - 1])
def test_remainders_are_exact(span):
    same(lambda stream: [draws.integers(stream, (50_000,), np.dtype("int64"), 0, span)])


@pytest.mark.parametrize("p", [0.0, 2.0**-53, 0.1, 0.5, 1 - 2.0**-53, 1.0])
def test_probabilities_from_zero_to_one(p):
    same(lambda stream: [draws.bernoulli(stream, (10_000,), FLOAT32, p)])


def test_bounds_may_be_ints_and_numbers_of_numpy():
    def draw(stream):
        return [
            draws.normal(stream, (100,), FLOAT32, 2, np.float64(3)),
            draws.uniform(stream, (100,), FLOAT32, 0, np.float32(3)),
            draws.integers(stream, (100,), np.dtype("int64"), np.int64(-1), np.int64(9)),
        ]

    same(draw)


def test_the_upper_bound_is_never_drawn():
    low, high = 1.0, float(np.nextafter(np.float32(1), np.float32(2)))
    same(lambda stream: [draws.uniform(stream, (1000,), FLOAT32, low, high)])
    with road.forced("native"):
        assert (draws.uniform(Generator(), (1000,), FLOAT32, low, high) == 1).all()


# ---------------------------------------------------------------- memory and threads
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("n", [1, 9, 17, 333, 1000, 5001])
def test_nothing_is_touched_beside_the_arrays(n, end, monkeypatch):
    monkeypatch.setattr(generated, "_CHUNK", CHUNK)
    empty = np.empty
    state = guarded(np.append(np.arange(1, 625, dtype=np.uint32), np.uint32(37 * n % 625)), end)

    class Stream:
        def raw_state(self):
            return threading.Lock(), state.ctypes.data

    stream = Stream()
    array = guarded(np.ones(n, np.float32), end)
    monkeypatch.setattr(np, "empty", lambda shape, dtype: guarded(empty(shape, dtype), end))
    for kind in "fd":
        generated.uniform(stream, np.empty(n, np.dtype(kind)))
        generated.uniform(stream, np.empty(n, np.dtype(kind)), 1.0, 3.0)
        generated.ones(stream, np.empty(n, np.dtype(kind)), 1 << 50)
    generated.ones(stream, np.empty(n, np.dtype("bool")), 1 << 50)
    generated.normal(stream, np.empty(16 * n, FLOAT32), 1.0, 2.0)
    generated.integers(stream, np.empty(n, np.dtype("int64")), 3, 7)
    noise, result = generated.dropout(stream, array, 1 << 52, 2.0)
    np.testing.assert_array_equal(result, noise)
    assert sorted(generated.permutation(stream, n + 1)) == list(range(n + 1))


@pytest.mark.parametrize("name", ["uniform", "normal", "ones", "integers", "permutation"])
def test_one_and_two_threads_draw_the_same_bits(name):
    before, found = pool.thread_count(), []
    try:
        for count in (1, 2):
            pool.ensure().resize(count)
            found.append(drawn("native", lambda stream: [DRAWS[name](stream, 300_001)]))
    finally:
        pool.ensure().resize(before)
    assert found[0] == found[1]


def test_python_threads_share_a_stream_draw_by_draw():
    stream, parts = Generator().manual_seed(5), []

    def work():
        for _ in range(10):
            parts.append(draws.uniform(stream, (70_000,), FLOAT32))
            parts.append(draws.uniform(stream, (100,), FLOAT32))

    with road.forced("native"):
        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        whole = draws.uniform(Generator().manual_seed(5), (40 * 70_100,), FLOAT32)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(whole))


# ---------------------------------------------------------------- dropout
def both_roads(work):
    """What `work()` returns on the NumPy road and on the other, from the same seed."""
    found = []
    for name in ("numpy", "native"):
        torch.manual_seed(3)
        with road.forced(name):
            found.append((work(), torch.get_rng_state().tolist()))
    assert found[0][1] == found[1][1]
    return found[0][0], found[1][0]


@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(1,), (7, 9), (3, 5, 700), (100_003,)], ids=str)
def test_dropout_forward_and_backward(kind, shape):
    def work():
        x = torch.ones(shape, dtype=getattr(torch, kind)).mul_(1.7).requires_grad_()
        out = F.dropout(x, 0.3)
        (out * 1.3).sum().backward()
        return out.detach().numpy(), x.grad.numpy()

    for native, expected in zip(*both_roads(work), strict=True):
        assert native.dtype == expected.dtype == kind
        np.testing.assert_array_equal(native, expected)


def test_dropout_of_a_transposed_and_of_a_broadcast_tensor():
    def work():
        base = torch.arange(60.0).reshape(12, 5)
        return F.dropout(base.t(), 0.5).numpy(), F.dropout(base[:, :1].expand(12, 4), 0.5).numpy()

    for native, expected in zip(*both_roads(work), strict=True):
        np.testing.assert_array_equal(native, expected)


def test_dropout_carries_nan_and_infinity_as_a_product_does():
    def work():
        x = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0] * 50)
        return F.dropout(x, 0.5).numpy()

    native, expected = both_roads(work)
    assert np.isnan(native[1::4]).any()
    np.testing.assert_array_equal(native, expected)
    np.testing.assert_array_equal(np.signbit(native[3::4]), np.signbit(expected[3::4]))


def test_dropout_is_a_product_to_the_tape():
    with road.forced("native"):
        x = torch.rand(40, requires_grad=True)
        out = F.dropout(x, 0.5)
        assert type(out.grad_fn).__name__ == "MulBackward0"
        (grad,) = torch.autograd.grad((out * out).sum(), x, create_graph=True)
        grad.sum().backward()
        noise = (out / x).detach()
        np.testing.assert_allclose(x.grad.numpy(), (2 * noise * noise).numpy(), rtol=1e-5)


def test_dropout_in_place_and_with_a_mask_of_channels():
    def work():
        x = torch.ones(4, 8, 5)
        F.dropout(x, 0.25, inplace=True)
        return x.numpy(), F.dropout1d(torch.ones(4, 8, 5), 0.5).numpy()

    for native, expected in zip(*both_roads(work), strict=True):
        np.testing.assert_array_equal(native, expected)


# ---------------------------------------------------------------- the road
def test_random_tensors_take_the_road():
    torch.rand(1)
    assert draws.machine is machine


def test_code_is_loaded_once_numpy_has_spent_as_much(monkeypatch):
    monkeypatch.setattr(machine, "_loaded", {})
    monkeypatch.setattr(machine, "_spent", dict.fromkeys(machine._COST, 0))
    stream = Generator()
    few = (machine._WARM // 2 - machine._NORMAL_CALL - 1) // machine._COST["normal"]
    with road.forced("auto"):
        first = [machine.normal(stream, few, FLOAT32, 0.0, 1.0) is None for _ in range(4)]
        assert first == [True, True, False, False]
        assert machine.normal(stream, 16, FLOAT32, 0.0, 1.0) is not None
        assert machine.uniform(stream, 16, FLOAT32) is None
    with road.forced("numpy"):
        assert machine.normal(stream, 10**8, FLOAT32, 0.0, 1.0) is None


def test_many_small_draws_load_the_code_too(monkeypatch):
    monkeypatch.setattr(machine, "_loaded", {})
    monkeypatch.setattr(machine, "_spent", dict.fromkeys(machine._COST, 0))
    stream, calls = Generator(), machine._COLD // machine._NORMAL_CALL
    with road.forced("auto"):
        found = [machine.normal(stream, 16, FLOAT32, 0.0, 1.0) for _ in range(calls + 1)]
    assert found[0] is None
    assert found[-1] is not None


def test_an_unknown_layout_of_the_state_is_left_to_numpy(monkeypatch):
    monkeypatch.setattr(machine, "_loaded", {})
    monkeypatch.setattr(machine, "_sound", lambda: False)
    with road.forced("native"):
        assert machine.uniform(Generator(), 1000, FLOAT32) is None
        assert machine.dropout(Generator(), np.ones(1000, np.float32), 0.5) is None


@pytest.mark.parametrize("cpu", ["skylake-avx512", "neoverse-n1"])
def test_texts_compile_for_other_processors(cpu):
    family = "aarch64" if cpu == "neoverse-n1" else "x86_64"
    target = named(f"{family}-unknown-linux-gnu", cpu)
    texts = [
        generated.uniform_text(target, kind, plain) for kind in (FLOAT, DOUBLE) for plain in (0, 1)
    ]
    texts += [generated.ones_text(target, kind) for kind in (FLOAT, I8, I64)]
    texts += [generated.dropout_text(target, kind) for kind in (FLOAT, DOUBLE)]
    texts += [generated.normal_text(target, centred) for centred in (False, True)]
    texts += [generated.integers_text(target), generated.permutation_text(target)]
    for text in texts:
        assert len(compiler.emit_object(text, target)) > 500
