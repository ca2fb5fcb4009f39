"""Draws from a generator, as arrays: the numbers that PyTorch's CPU kernels draw for the same seed.

A draw takes the generator, the shape and NumPy's dtype of the result, and returns a contiguous
array; `fill` writes one into an array of any strides, in the order in which PyTorch visits it.
Arguments are trusted: `danlu.ops.random` checks them. The rules, word by word of the stream, stand
in each docstring.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from danlu.backend import box_muller
from danlu.backend.fused import fma
from danlu.backend.generator import Generator, default_generator

__all__ = [
    "Generator", "below_53_bits", "bernoulli", "cast", "cauchy", "default_generator", "exponential", "fill",
    "geometric", "integers", "integers_below_limit", "integers_of_64_bits", "log_normal",
    "memory_axes", "multinomial", "normal", "poisson", "randperm", "uniform",
]  # fmt: skip

_F32 = np.dtype(np.float32)
_F64 = np.dtype(np.float64)
_WIDE_RANGE = 1 << 28  # ranges from here on take two words, to keep the skew of the remainder small
_MASK_53 = (1 << 53) - 1

# Faster functions for draws of NumPy's dtypes, by the names `uniform`, `normal`, `ones`,
# `integers` and `permutation`; each gives None where it is not for it. `danlu.kernels.random`,
# which this storey does not know, is put here when it is loaded.
machine: ModuleType | None = None


def _by_machine(name: str, *arguments):
    return None if machine is None else getattr(machine, name)(*arguments)


def memory_axes(array: np.ndarray) -> list[int]:
    """The dimensions from the largest stride to the smallest: the order in which PyTorch's serial
    kernels visit a target, so that a transposed one is not filled row by row."""
    if array.flags.c_contiguous:
        return list(range(array.ndim))
    strides = [abs(step) for step in array.strides]
    return sorted(range(array.ndim), key=lambda axis: -strides[axis])


def fill(array: np.ndarray, values: np.ndarray) -> None:
    """Write contiguous `values` into `array` in the order of its memory."""
    target = array if array.flags.c_contiguous else array.transpose(memory_axes(array))
    target[...] = values.reshape(target.shape)


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """To the target dtype; to 16-bit floats by way of float32, as C++ does."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        if dtype.itemsize < 4 and dtype.kind not in "biu":
            values = values.astype(_F32)
        return values.astype(dtype)


def _words_53(generator: Generator, n: int) -> np.ndarray:
    """The low 53 bits of n pairs of words, as int64."""
    words = generator.words(2 * n).view(np.int64)
    high = words[0::2] & 0x1FFFFF
    high <<= 32
    high |= words[1::2]
    return high


def _uniform_float64(generator: Generator, n: int) -> np.ndarray:
    drawn = _by_machine("uniform", generator, n, _F64)
    if drawn is not None:
        return drawn
    values = _words_53(generator, n).astype(_F64)
    values *= 2.0**-53
    return values


def _uniform_float32(generator: Generator, n: int) -> np.ndarray:
    drawn = _by_machine("uniform", generator, n, _F32)
    if drawn is not None:
        return drawn
    words = generator.words(n)
    words &= 0xFFFFFF
    values = words.astype(np.int32).astype(_F32)
    values *= _F32.type(2.0**-24)
    return values


_CHUNK = 1 << 16


def uniform(generator, shape, dtype, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Uniform in [low, high): float64 from the low 53 bits of two words, narrower floats from the
    low 24 bits of one.

    A value that rounding took to `high` becomes `low`. Complex numbers take one draw for each
    component.
    """
    if dtype.kind == "c":
        real = np.dtype(dtype.char.lower())
        return uniform(generator, (*shape, 2), real, low, high).view(dtype).reshape(shape)
    n = math.prod(shape)
    if n == 0:
        return np.empty(shape, dtype)
    drawn = _by_machine("uniform", generator, n, dtype, low, high)
    if drawn is not None:
        return drawn.reshape(shape)
    if n > _CHUNK:
        # temporaries that stay in the cache: 16 million numbers in a third of the time
        values = np.empty(n, dtype)
        for start in range(0, n, _CHUNK):
            stop = min(start + _CHUNK, n)
            values[start:stop] = uniform(generator, (stop - start,), dtype, low, high)
        return values.reshape(shape)
    draw = _uniform_float64 if dtype == _F64 else _uniform_float32
    values = draw(generator, n)
    kind = values.dtype.type
    if low == 0.0:
        if high != 1.0:
            values *= kind(high)
    else:
        values = fma(values, kind(high) - kind(low), kind(low))
    values = cast(values, dtype)
    if dtype.itemsize < 4 or low != 0.0 or high != 1.0:
        top, bottom = cast(np.array([high, low]), dtype)
        values[values == top] = bottom
    return values.reshape(shape)


def normal(
    generator, shape, dtype, mean: float = 0.0, std: float = 1.0, contiguous: bool = True
) -> np.ndarray:
    """Normal by the Box-Muller transform. Complex numbers share the variance between their
    components.

    Sixteen elements and more of a contiguous target take uniforms in blocks of 16 (see
    `box_muller.float32`) of the target's precision, float32 at least; what does not fill a block is
    the end of a last block drawn over the last 16 elements. All other targets take pairs of float64
    uniforms; the pair's second normal waits in the generator.
    """
    if dtype.kind == "c":
        real = np.dtype(dtype.char.lower())
        parts = normal(generator, (*shape, 2), real, mean, std / math.sqrt(2), contiguous)
        return parts.view(dtype).reshape(shape)
    n = math.prod(shape)
    if n == 0:
        return np.empty(shape, dtype)
    if n < 16 or not contiguous:
        return cast(_scaled(_normal_pairs(generator, n), mean, std), dtype).reshape(shape)
    drawn = _by_machine("normal", generator, n, dtype, mean, std)
    if drawn is not None:
        return cast(drawn, dtype).reshape(shape)
    tail = n % 16
    whole = n - tail
    transform, draw = box_muller.float32, _uniform_float32
    if dtype == _F64:
        transform, draw = box_muller.float64, _uniform_float64
    if not tail:
        standard = transform(draw(generator, n))
    else:
        # full precision draws for all elements first; half precision never draws for the rest
        uniforms = draw(generator, (n if dtype.itemsize >= 4 else whole) + 16)
        blocks = transform(np.concatenate((uniforms[:whole], uniforms[-16:])))
        standard = np.empty(n, blocks.dtype)
        standard[:whole] = blocks[:whole]
        standard[-16:] = blocks[-16:]
    return cast(_scaled(standard, mean, std), dtype).reshape(shape)


def _scaled(standard: np.ndarray, mean: float, std: float) -> np.ndarray:
    if mean == 0.0:
        if std != 1.0:
            standard *= standard.dtype.type(std)
        standard += 0  # a fused multiply-add of zero leaves no negative zero
        return standard
    return fma(standard, std, mean)


def _normal_pairs(generator: Generator, n: int) -> np.ndarray:
    """Standard normals in float64 from pairs of uniforms, beginning with the one that waits in the
    generator."""
    waiting = generator.cached_normal
    missing = n - (waiting is not None)
    drawn = box_muller.pairs(_uniform_float64(generator, missing + missing % 2))
    generator.cached_normal = float(drawn[-1]) if missing % 2 else None
    if waiting is None:
        return drawn[:n]
    return np.concatenate(([waiting], drawn[:missing]))


def log_normal(generator, shape, dtype, mean: float = 1.0, std: float = 2.0) -> np.ndarray:
    """e to the power of normals, which come in float64 pairs whatever the size."""
    n = math.prod(shape)
    if n == 0:
        return np.empty(shape, dtype)
    with np.errstate(over="ignore"):
        return cast(np.exp(_scaled(_normal_pairs(generator, n), mean, std)), dtype).reshape(shape)


def exponential(generator, shape, dtype, rate: float = 1.0) -> np.ndarray:
    """Exponential: `-log1p(-u) / rate` of float64 uniforms."""
    values = np.log1p(-_uniform_float64(generator, math.prod(shape)))
    values *= -1.0 / rate
    return cast(values, dtype).reshape(shape)


def cauchy(generator, shape, dtype, median: float = 0.0, sigma: float = 1.0) -> np.ndarray:
    """Cauchy: `median + sigma * tan(pi * (u - 1/2))` of float64 uniforms."""
    tangents = np.tan(math.pi * (_uniform_float64(generator, math.prod(shape)) - 0.5))
    return cast(fma(tangents, sigma, median), dtype).reshape(shape)


def geometric(generator, shape, dtype, p: float) -> np.ndarray:
    """Number of trials up to the first success: `ceil(log(u) / log1p(-p))` of float64 uniforms."""
    trials = np.ceil(np.log(_uniform_float64(generator, math.prod(shape))) / math.log1p(-p))
    return cast(trials, dtype).reshape(shape)


def bernoulli(generator, shape, dtype, p) -> np.ndarray:
    """1 where a uniform is below p: float64 uniforms for a number or a float64 array `p`, float32
    ones for other arrays.

    An array `p` has the shape of the result, in the order of the draws.
    """
    n = math.prod(shape)
    if isinstance(p, np.ndarray) and p.dtype != _F64:
        below = _uniform_float32(generator, n) < p.astype(_F32).reshape(-1)
    elif isinstance(p, np.ndarray):
        below = _uniform_float64(generator, n) < p.reshape(-1)
    else:
        limit = below_53_bits(p)
        drawn = _by_machine("ones", generator, n, dtype, limit)
        if drawn is not None:
            return drawn.reshape(shape)
        below = _words_53(generator, n) < limit
    return below.astype(dtype).reshape(shape)


def below_53_bits(p: float) -> int:
    """How many of the 2**53 draws are below p; the scaling only moves p's exponent, so this is
    exact."""
    return math.ceil(p * 2.0**53)


def integers(generator, shape, dtype, low: int, high: int) -> np.ndarray:
    """Integers in [low, high): `w % (high - low) + low` of one word, of two for ranges of 2**28 and
    more."""
    n = math.prod(shape)
    span = high - low
    if span >= _WIDE_RANGE:
        values = _words_64(generator, n) % np.uint64(span)
    elif (drawn := _by_machine("integers", generator, n, low, span)) is not None:
        return cast(drawn, dtype).reshape(shape)
    else:
        words = generator.words(n).astype(np.uint32)
        words -= (
            words // np.uint32(span) * np.uint32(span)
        )  # NumPy divides by a constant faster than it takes remainders
        values = words
    values = values.astype(np.int64)
    if low:
        values += low
    return cast(values, dtype).reshape(shape)


def _words_64(generator: Generator, n: int) -> np.ndarray:
    words = generator.words(2 * n)
    high = words[0::2] << 32
    high |= words[1::2]
    return high


def integers_of_64_bits(generator, shape, dtype) -> np.ndarray:
    """Any int64, from two words."""
    return cast(_words_64(generator, math.prod(shape)).view(np.int64), dtype).reshape(shape)


def integers_below_limit(generator, shape, dtype, limit: int) -> np.ndarray:
    """Integers in [0, limit]: 64-bit dtypes take two words a number, all others one."""
    n = math.prod(shape)
    words = _words_64(generator, n) if dtype.itemsize == 8 else generator.words(n)
    return cast((words % np.uint64(limit + 1)).astype(np.int64), dtype).reshape(shape)


def randperm(generator, n: int) -> np.ndarray:
    """A permutation of 0..n-1 as int64, by Fisher and Yates: for i in 0..n-2, swap the elements i
    and `i + w % (n - i)`."""
    if n < 2:
        return np.arange(n)
    drawn = _by_machine("permutation", generator, n)
    if drawn is not None:
        return drawn
    step = np.arange(n - 1)
    words = generator.words(n - 1)
    words %= np.arange(n, 1, -1, dtype=np.uint64)
    chosen = words.view(np.int64) + step
    return _swapped(chosen.tolist(), n) if n < 400 else _swapped_at_once(chosen, step, n)


def _swapped(chosen: list[int], n: int) -> np.ndarray:
    items = list(range(n))
    for i, j in enumerate(chosen):
        items[i], items[j] = items[j], items[i]
    return np.array(items)


def _swapped_at_once(chosen: np.ndarray, step: np.ndarray, n: int) -> np.ndarray:
    """The swaps without a loop over them.

    Step i puts into position `chosen[i]` what stood in position i, and never looks at position i
    again. So what stands in position k at its turn is what stood in i at its turn, for the last i <
    k that chose k, or else k itself: a forest, whose roots pointer jumping finds in few rounds. And
    the result at i is what the step before i that chose the same position put there; a sort brings
    equal choices together.
    """
    moved = chosen != step
    content = np.arange(n)
    content[chosen[moved]] = step[moved]  # where steps chose the same position, the last one stays
    while True:
        further = content[content]
        if np.array_equal(further, content):
            break
        content = further
    by_choice = np.sort(chosen << 32 | step)
    step = by_choice & 0xFFFFFFFF
    chosen = by_choice >> 32
    again = np.flatnonzero(chosen[1:] == chosen[:-1])
    chosen[again + 1] = content[step[again]]
    out = np.empty(n, np.int64)
    out[step] = chosen
    out[-1] = content[-1]
    return out


def multinomial(generator, weights: np.ndarray, samples: int, replacement: bool) -> np.ndarray:
    """Row-wise draws of class indices from weights of shape (rows, classes); returns (rows,
    samples).

    With replacement: a float64 uniform is looked up in the cumulative sum. Without: the classes
    with the largest ratios of weight to an exponential draw, which is the race that the first
    arrival wins.
    """
    if replacement and samples > 1:
        out = np.empty((len(weights), samples), np.int64)
        kind = weights.dtype if weights.dtype.itemsize >= 4 else _F32
        for row, of_classes in enumerate(weights):
            cumulative = np.add.accumulate(of_classes, dtype=kind)
            cumulative /= cumulative[-1]
            cumulative[-1] = 1
            out[row] = np.searchsorted(cumulative, _uniform_float64(generator, samples))
        return out
    with np.errstate(divide="ignore", invalid="ignore"):  # float16 rounds small draws to zero
        race = weights / exponential(generator, weights.shape, weights.dtype)
    if samples == 1:
        return race.argmax(axis=-1, keepdims=True)
    first = np.argsort(-race, axis=-1, kind="stable")[:, :samples]
    return np.ascontiguousarray(first)


def poisson(generator, rates: np.ndarray) -> np.ndarray:
    """Poisson counts of the given rates, in their dtype: Knuth's product of uniforms for rates
    below 10, else Hormann's transformed rejection (1993). The number of words a count takes varies,
    so counts are drawn one by one."""
    counts = [_poisson(generator, rate) for rate in rates.astype(_F64).reshape(-1).tolist()]
    return cast(np.array(counts, _F64), rates.dtype).reshape(rates.shape)


def _poisson(generator: Generator, rate: float) -> int:
    random64 = generator.random64
    if rate == 0.0:
        return 0
    if rate < 10.0:
        limit, product, count = math.exp(-rate), 1.0, -1
        while True:
            product *= (random64() & _MASK_53) * 2.0**-53
            count += 1
            if product <= limit:
                return count
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = (random64() & _MASK_53) * 2.0**-53 - 0.5
        v = (random64() & _MASK_53) * 2.0**-53
        us = 0.5 - abs(u)
        count = math.floor((2 * a / us + b) * u + rate + 0.43) if us else -1
        if us >= 0.07 and v <= v_r:
            return count
        if count < 0 or (us < 0.013 and v > us):
            continue
        bound = -rate + count * math.log(rate) - math.lgamma(count + 1)
        if v == 0.0 or math.log(v * inverse_alpha / (a / (us * us) + b)) <= bound:
            return count
