"""The generator and the array draws, against numbers that torch 2.13 gave for seed 7."""

from __future__ import annotations

import copy
import hashlib
import pickle

import ml_dtypes
import numpy as np
import pytest

from danlu.backend import fused
from danlu.backend import random as draws
from danlu.backend.random import Generator

SIZES = (0, 1, 2, 15, 16, 17, 31, 32, 33, 1000)
TYPES = {
    name: np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)
    for name in (
        "float16", "bfloat16", "float32", "float64", "bool", "uint8", "int8", "int16", "int32",
        "int64",
    )
}  # fmt: skip


def seven():
    return Generator().manual_seed(7)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("kind", "bounds", "expected"),
    [
        ("float32", (0.0, 1.0), "65d211323965bf51"),
        ("float64", (0.0, 1.0), "f5c570ba9db65f6d"),
        ("float16", (0.0, 1.0), "f191feacdd35b485"),
        ("bfloat16", (0.0, 1.0), "60d160eca0679c90"),
        ("float32", (-0.57, 0.31), "4ff1c38bb9c4c842"),
        ("float64", (-0.57, 0.31), "82e5d6b6a8f2c99c"),
        ("float16", (-0.57, 0.31), "638cf10f5452559a"),
        ("bfloat16", (-0.57, 0.31), "c57790093d6cefef"),
    ],
)
def test_uniform_is_bit_exact(kind, bounds, expected):
    stream = seven()
    drawn = [draws.uniform(stream, (n,), TYPES[kind], *bounds) for n in SIZES]
    assert digest(np.concatenate(drawn)) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("float32", "d3ca4c796e8e6f96"),
        ("float16", "1ce595a1323a5ae0"),
        ("bfloat16", "c306f128c4b95a23"),
    ],
)
def test_normals_in_blocks_are_bit_exact(kind, expected):
    """No library function is behind them but the square root: the bits are the same everywhere."""
    stream = seven()
    drawn = [draws.normal(stream, (n,), TYPES[kind], 0.7, 2.3) for n in (16, 17, 31, 32, 33, 1000)]
    assert digest(np.concatenate(drawn)) == expected


def test_consecutive_draws_share_the_waiting_normal():
    stream, kind = seven(), TYPES["float32"]
    drawn = [
        draws.normal(stream, (3,), kind), draws.uniform(stream, (2,), kind),
        draws.normal(stream, (2,), kind), draws.normal(stream, (16,), kind)[:3],
        draws.normal(stream, (1,), kind),
    ]  # fmt: skip
    expected = [
        -0.1467950940132141, 0.7861412763595581, 0.9468216300010681, 0.36531615257263184,
        0.8512683510780334, -1.1143440008163452, 0.4457423985004425, 0.049043867737054825,
        -0.3204769194126129, -1.5826646089553833, -0.7068324685096741,
    ]  # fmt: skip
    np.testing.assert_allclose(np.concatenate(drawn), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("draw", "args", "expected"),
    [
        (draws.exponential, (1.7,), [0.19273171940181116, 0.18810792417775202, 1.1653973260464425]),
        (draws.cauchy, (1.0, 2.0), [-0.6611115499249394, -0.7224061115390794, 5.323784455837047]),
        (draws.log_normal, (0.5, 0.25), [1.5893120118287583, 2.0067877807382075, 2.08904161261]),
        (draws.geometric, (0.3,), [4.0, 4.0, 1.0]),
        (draws.normal, (3.0, 2.0), [2.7064098050300096, 4.572282597447072, 4.893643218007913]),
    ],
)
def test_continuous_draws_in_float64(draw, args, expected):
    np.testing.assert_allclose(draw(seven(), (3,), TYPES["float64"], *args), expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, "6a1cb665df1d111c"),
        (-5, 100, "7d1c1bdc1de8f3a8"),
        (0, 2**28 - 1, "6a5d62266d351864"),
        (0, 2**28, "0484db47a3cfc08d"),
        (0, 2**32 - 1, "b72f5c0c1fc2e18b"),
        (0, 2**32, "b1a3d792f3c95b36"),
        (-(2**40), 2**61, "814a884793eb2250"),
    ],
)
def test_integers_of_narrow_and_wide_ranges(low, high, expected):
    assert digest(draws.integers(seven(), (1000,), TYPES["int64"], low, high)) == expected


@pytest.mark.parametrize(
    ("kind", "limit", "expected"),
    [
        ("bool", 1, "34a57c57724bf9ba"),
        ("uint8", 255, "963883113a9cdb2d"),
        ("int8", 127, "b9704a1dcbf38280"),
        ("int16", 2**15 - 1, "61242a0270e6c17c"),
        ("int32", 2**31 - 1, "81dc125836cf832b"),
        ("int64", 2**63 - 1, "0bed014f30972d27"),
        ("float16", 2**11, "dd29c36caa091753"),
        ("bfloat16", 2**8, "c77d7f7ad28d5872"),
        ("float32", 2**24, "192108fa4851f12d"),
        ("float64", 2**53, "97ea04694f5207da"),
    ],
)
def test_integers_up_to_the_dtypes_limit(kind, limit, expected):
    assert digest(draws.integers_below_limit(seven(), (1000,), TYPES[kind], limit)) == expected


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, "af5570f5a1810b7a"),
        (2, "4cbbd8ca5215b8d1"),
        (10, "f014096e9e06f49b"),
        (399, "d29f071172e2bdeb"),
        (400, "b346dc460469bb5b"),
        (4000, "41fd70c118f2a664"),
    ],
)
def test_randperm(n, expected):
    assert digest(draws.randperm(seven(), n)) == expected


@pytest.mark.parametrize("n", [2, 3, 17, 1000])
def test_shuffling_at_once_swaps_as_the_loop_does(n):
    step = np.arange(n - 1)
    for seed in range(20):
        words = Generator().manual_seed(seed).words(n - 1).view(np.int64)
        chosen = words % np.arange(n, 1, -1) + step
        at_once = draws._swapped_at_once(chosen, step, n)
        np.testing.assert_array_equal(at_once, draws._swapped(chosen.tolist(), n))


def test_bernoulli_of_numbers_and_arrays():
    kind = TYPES["float32"]
    assert digest(draws.bernoulli(seven(), (1000,), kind, 0.3)) == "f982a44bee19ffbe"
    for name, expected in (("float32", "720f747399dc7dbe"), ("float64", "c7f374f75bee44c6")):
        odds = np.arange(1000, dtype=TYPES[name]) / TYPES[name].type(1024)
        assert digest(draws.bernoulli(seven(), (1000,), TYPES[name], odds)) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.0, 0), (1.0, 50)])
def test_bernoulli_at_the_ends(p, expected):
    assert draws.bernoulli(seven(), (50,), TYPES["int64"], p).sum() == expected


def test_multinomial():
    stream, weights = seven(), np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    assert draws.multinomial(stream, weights, 3, False).tolist() == [[1, 3, 0]]
    assert draws.multinomial(stream, weights, 8, True).tolist() == [[3, 3, 1, 2, 3, 3, 0, 0]]
    assert draws.multinomial(stream, weights, 1, False).tolist() == [[1]]


def test_poisson_below_and_above_its_change_of_method():
    rates = np.array([0.5, 3, 9.9, 10, 100, 0], np.float32)
    assert draws.poisson(seven(), rates).tolist() == [0, 5, 6, 6, 118, 0]


def test_transposed_targets_are_filled_in_the_order_of_memory():
    target = np.empty((3, 2), np.float32).T
    draws.fill(target, draws.uniform(seven(), target.shape, target.dtype))
    np.testing.assert_array_equal(target.T.ravel(), draws.uniform(seven(), (6,), TYPES["float32"]))


def test_empty_draws_take_nothing_from_the_stream():
    stream = seven()
    before = stream.state_bytes()
    for draw in (draws.uniform, draws.normal, draws.exponential, draws.cauchy, draws.log_normal):
        assert draw(stream, (0, 3), TYPES["float32"]).shape == (0, 3)
    assert draws.integers(stream, (0,), TYPES["int64"], 0, 5).shape == (0,)
    assert draws.randperm(stream, 0).shape == draws.randperm(stream, 1)[1:].shape
    np.testing.assert_array_equal(stream.state_bytes(), before)


# ---------------------------------------------------------------- the generator
def test_positions_tell_what_was_drawn():
    stream, fresh = seven(), Generator()
    start = stream.position()
    assert stream.position() == start == seven().position()
    assert fresh.position() == Generator().position() != start
    seen = [start]
    for draw, size in ((draws.uniform, 1), (draws.normal, 1), (draws.normal, 1)):
        draw(stream, (size,), TYPES["float32"])
        seen.append(stream.position())
    assert len(set(seen)) == 4
    stream.manual_seed(7)
    assert stream.position() == start


def test_state_has_pytorchs_bytes():
    stream = seven()
    assert digest(stream.state_bytes()) == "daf9268b18e87b02"
    draws.normal(stream, (3,), TYPES["float32"])
    assert digest(stream.state_bytes()) == "5dc20bbdc68dede5"
    stream.manual_seed(7)
    draws.uniform(stream, (624,), TYPES["float32"])
    assert digest(stream.state_bytes()) == "5fb8e6083bf899e5"
    draws.uniform(stream, (1,), TYPES["float32"])
    assert digest(stream.state_bytes()) == "e8f8ab7285a3d808"


@pytest.mark.parametrize(
    "again",
    [Generator.clone_state, copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))],
)
@pytest.mark.parametrize("drawn", [0, 1, 3, 623, 624, 625])
def test_copies_continue_alike(again, drawn):
    stream = seven()
    draws.uniform(stream, (drawn,), TYPES["float32"])
    draws.normal(stream, (drawn % 2,), TYPES["float32"])
    other = again(stream)
    assert other is not stream
    assert other.initial_seed() == 7
    for n in (1, 5, 20):
        np.testing.assert_array_equal(
            draws.normal(stream, (n,), TYPES["float64"]),
            draws.normal(other, (n,), TYPES["float64"]),
        )


def test_seeds():
    stream = Generator()
    assert stream.initial_seed() == 67280421310721
    assert stream.manual_seed(-1) is stream
    assert stream.initial_seed() == 2**64 - 1
    assert stream.manual_seed(-(2**63)).initial_seed() == 2**63
    assert stream.seed() == stream.initial_seed()
    assert Generator().seed() != Generator().seed()
    np.testing.assert_array_equal(
        Generator().words(3), Generator().manual_seed(67280421310721).words(3)
    )
    np.testing.assert_array_equal(  # as PyTorch, the stream depends on the low 32 bits
        Generator().manual_seed(2**32 + 5).words(3), Generator().manual_seed(5).words(3)
    )


@pytest.mark.parametrize("seed", [1.5, "a", True, None])
def test_seeds_of_other_types_are_refused(seed):
    with pytest.raises(RuntimeError, match="manual_seed expected a long, but got"):
        Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match="Overflow"):
        Generator().manual_seed(seed)


def test_bad_states_are_refused():
    with pytest.raises(RuntimeError, match="size 5056 but found .* 10"):
        Generator().set_state_bytes(np.zeros(10, np.uint8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        Generator().set_state_bytes(np.zeros(5056, np.uint8))


def test_offsets_are_for_other_generators():
    with pytest.raises(RuntimeError, match="offset"):
        Generator().get_offset()
    with pytest.raises(RuntimeError, match="offset"):
        Generator().set_offset(3)


# ---------------------------------------------------------------- fused multiply-add
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fused_multiply_add_rounds_once(kind):
    from fractions import Fraction

    source = np.random.default_rng(0)
    a, b = (source.standard_normal(500).astype(kind) for _ in range(2))
    c = (-a * b * (1 + source.standard_normal(500) * 1e-3)).astype(kind)  # cancels most digits
    b, c = kind(b[0]), kind(c[0])
    exact = [Fraction(float(x)) * Fraction(float(b)) + Fraction(float(c)) for x in a]
    rounded = np.array([float(x) for x in exact])
    np.testing.assert_array_equal(fused.fma(a, b, c), rounded.astype(kind))


def test_fused_multiply_add_keeps_infinities():
    np.testing.assert_array_equal(
        fused.fma64(np.array([np.inf, 1e300, -1e300]), 2.0, 1.0), [np.inf, 2e300, -2e300]
    )
