"""Machine code for random numbers: uniform, normal, ones and zeros, dropout, integers,
permutations.

The numbers and the state that they leave behind are those of `danlu.backend.random`, bit for bit.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.target import Target, host
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I32, I64, Type, of_dtype
from danlu.kernels.generated.random_normal import LANES, box_muller_pair
from danlu.kernels.generated.random_words import (
    ARGUMENTS,
    PADDING,
    STATE_WORDS,
    module,
    tempered,
)
from danlu.kernels.runtime import launch

__all__ = [
    "dropout", "dropout_text", "integers", "integers_text", "normal", "normal_text", "ones",
    "ones_text", "permutation", "permutation_text", "uniform", "uniform_text",
]  # fmt: skip

# Words of a chunk: with a quarter of them two threads wait for each other often enough to lose 10 %,
# with more the chunk and the next one leave the second-level cache.
_CHUNK = 1 << 16
# Slices of a chunk: 8192 words are converted in 2 to 8 us.
_SLICES = 8
# Words from which a call lets other Python threads run: about 50 us.
_LONG = 1 << 16
# Swaps of a permutation whose places are asked for ahead: as many lines fill half of the
# first-level cache.
_AHEAD = 256


# ---------------------------------------------------------------- what the conversions share
def _along(f: Function, words, first, count, lanes: int, words_each: int, values, outputs):
    """A vector of numbers a turn: `values(words, index, mask)` gives one for each of the outputs,
    with a mask for those that are left at the end."""
    whole = count - count % lanes

    def turn(begin, mask):
        index = first + begin
        vectors = values(f.at(words, begin * words_each, I32), index, mask)
        for vector, output in zip(vectors, outputs, strict=True):
            if mask is None:
                f.store(vector, output, index)
            else:
                f.masked_store(vector, output, mask, index)

    with f.loop(0, whole, lanes) as loop:
        turn(loop.index, None)
    with f.when(f.compare("slt", whole, count)):
        turn(whole, f.mask_below(count - whole, lanes))


def _words(f: Function, pointer: Value, lanes: int) -> Value:
    return tempered(f, f.load(pointer, I32.vector(lanes)))


def _words_53(f: Function, pointer: Value, lanes: int) -> Value:
    """The low 53 bits of pairs of words, the high word first."""
    words = _words(f, pointer, 2 * lanes)
    swapped = f.shuffle(words, None, (lane ^ 1 for lane in range(2 * lanes)))
    return f.bitcast(swapped, I64.vector(lanes)) & ((1 << 53) - 1)


def _uniform_32(f: Function, pointer: Value, lanes: int) -> Value:
    return f.convert(_words(f, pointer, lanes) & 0xFFFFFF, FLOAT) * 2.0**-24


def _uniform_64(f: Function, pointer: Value, lanes: int) -> Value:
    bits, doubles = _words_53(f, pointer, lanes), DOUBLE.vector(lanes)
    # The halves, as the last digits of 2**52 and 2**84: AVX2 has no instruction that converts
    # 64-bit integers, and LLVM would convert them one by one.
    low = f.bitcast((bits & 0xFFFFFFFF) | _bits_of(2.0**52), doubles)
    high = f.bitcast(f.op("lshr", bits, 32) | _bits_of(2.0**84), doubles)
    return (high - (2.0**84 + 2.0**52) + low) * 2.0**-53


def _bits_of(number: float) -> int:
    return int(np.float64(number).view(np.int64))


# ---------------------------------------------------------------- texts
def uniform_text(target: Target, type: Type, standard: bool) -> str:
    """Slots: out; unless standard, the lower bound, the width and the upper bound."""
    lanes = target.lanes(type)
    words_each, draw = (1, _uniform_32) if type == FLOAT else (2, _uniform_64)

    def convert(f, arguments, words, first, count):
        out = f.slot(arguments, ARGUMENTS)
        if not standard:
            low, width, high = (
                f.broadcast(f.slot(arguments, ARGUMENTS + n, type), lanes) for n in (1, 2, 3)
            )

        def values(pointer, index, mask):
            value = draw(f, pointer, lanes)
            if standard:
                return [value]
            value = f.fma(value, width, low)
            return [f.select(f.compare("oeq", value, high), low, value)]

        _along(f, words, first, count, lanes, words_each, values, [out])

    return module(words_each, convert).text()


def normal_text(target: Target, centred: bool) -> str:
    """Blocks of 16. Slots: out, the mean, the standard deviation; `centred` says that the mean is
    zero."""
    del target  # vectors of eight on every machine

    def convert(f, arguments, words, first, count):
        out = f.slot(arguments, ARGUMENTS)
        mean, std = (f.broadcast(f.slot(arguments, ARGUMENTS + n, FLOAT), LANES) for n in (1, 2))
        with f.loop(0, count) as loop:
            pointer = f.at(words, loop.index * (2 * LANES), I32)
            uniforms = [_uniform_32(f, f.at(pointer, n, I32), LANES) for n in (0, LANES)]
            for half, value in enumerate(box_muller_pair(f, *uniforms)):
                # adding zero leaves no negative zero
                value = value * std + 0.0 if centred else f.fma(value, std, mean)
                f.store(value, out, (first + loop.index) * (2 * LANES) + half * LANES)

    return module(2 * LANES, convert).text()


def _kept(f: Function, pointer: Value, limit: Value, lanes: int) -> Value:
    return f.compare("slt", _words_53(f, pointer, lanes), limit)


def ones_text(target: Target, type: Type) -> str:
    """Slots: out; the 53-bit number below which a draw gives a one."""
    lanes = target.float_lanes

    def convert(f, arguments, words, first, count):
        limit = f.broadcast(f.slot(arguments, ARGUMENTS + 1, I64), lanes)
        one, zero = (f.broadcast(number, lanes, type) for number in (1, 0))

        def values(pointer, index, mask):
            return [f.select(_kept(f, pointer, limit, lanes), one, zero)]

        _along(f, words, first, count, lanes, 2, values, [f.slot(arguments, ARGUMENTS)])

    return module(2, convert).text()


def dropout_text(target: Target, type: Type) -> str:
    """Slots: noise, result, input; the 53-bit number below which an element is kept, the factor of
    those that are."""
    lanes = target.float_lanes

    def convert(f, arguments, words, first, count):
        noise, result, input = (f.slot(arguments, ARGUMENTS + n) for n in range(3))
        limit = f.broadcast(f.slot(arguments, ARGUMENTS + 3, I64), lanes)
        scale = f.broadcast(f.slot(arguments, ARGUMENTS + 4, type), lanes)
        vector = type.vector(lanes)

        def values(pointer, index, mask):
            factor = f.select(_kept(f, pointer, limit, lanes), scale, f.value(0, vector))
            if mask is None:
                return [factor, f.load(input, vector, index) * factor]
            return [factor, f.masked_load(input, mask, vector, 0, index) * factor]

        _along(f, words, first, count, lanes, 2, values, [noise, result])

    return module(2, convert).text()


def integers_text(target: Target) -> str:
    """Slots: out (i64), the lower bound; the width of the range as double, and its reciprocal."""
    lanes = target.float_lanes

    def convert(f, arguments, words, first, count):
        low = f.broadcast(f.slot(arguments, ARGUMENTS + 1, I64), lanes)
        span, reciprocal = (
            f.broadcast(f.slot(arguments, ARGUMENTS + n, DOUBLE), lanes) for n in (2, 3)
        )

        def values(pointer, index, mask):
            word = f.convert(_words(f, pointer, lanes), DOUBLE, signed=False)
            # Half a step away from the next integer quotient, (w + 1/2) / span cannot be rounded
            # across it: the error is below 2**-20 / span.
            quotient = f.intrinsic("floor", (word + 0.5) * reciprocal)
            return [f.convert(f.convert(word - quotient * span, I32), I64) + low]

        _along(f, words, first, count, lanes, 1, values, [f.slot(arguments, ARGUMENTS)])

    return module(1, convert).text()


def permutation_text(target: Target) -> str:
    """Slots: the items (i32), their permutation (i64), how many they are."""
    lanes = target.float_lanes

    def convert(f, arguments, words, first, count):
        chosen = f.stack(I32, _AHEAD)
        items, out = f.slot(arguments, ARGUMENTS), f.slot(arguments, ARGUMENTS + 1)
        number = f.slot(arguments, ARGUMENTS + 2, I64)
        lane = f.lane_numbers(lanes)
        with f.loop(0, count, _AHEAD) as block:
            start = first + block.index
            swaps = f.minimum(count - block.index, _AHEAD)
            with f.loop(0, swaps, lanes) as loop:
                pointer = f.at(words, block.index + loop.index, I32)
                word = f.convert(_words(f, pointer, lanes), DOUBLE, signed=False)
                position = f.convert(start + loop.index, I32)
                position = f.broadcast(position, lanes) + lane
                last = f.broadcast(f.convert(number, I32), lanes)
                left = f.convert(last - position, DOUBLE)
                # exact: a quotient of integers below 2**32 is not rounded up to the next one
                rest = word - f.intrinsic("floor", word / left) * left
                places = position + f.convert(rest, I32)
                f.store(places, chosen, loop.index)
                for each in range(lanes):
                    f.prefetch(f.at(items, f.convert(f.extract(places, each), I64), I32), True)
            with f.loop(0, swaps) as loop:
                position = start + loop.index
                place = f.at(items, f.convert(f.load(chosen, I32, loop.index), I64), I32)
                item, other = f.load(items, I32, position), f.load(place, I32)
                f.store(f.convert(other, I64), out, position)
                f.store(item, place)

    return module(1, convert, ordered=True).text()


# ---------------------------------------------------------------- calls
_type = cache(of_dtype)  # NumPy takes a microsecond to name a dtype


def _draw(key, write, generator, number, words_each, *arguments, slices=_SLICES):
    call = launch.kernel(key, write).call
    words = number * words_each
    size = words + 2 * STATE_WORDS
    if size > _CHUNK:
        size = 2 * (_CHUNK + STATE_WORDS)
    buffer = np.empty(size + 2 * PADDING, np.uint32)
    lock, state = generator.raw_state()
    with lock:
        call(1 if words < _LONG else -1, state, buffer, _CHUNK, number, slices, *arguments)


def uniform(generator, out, low: float = 0.0, high: float = 1.0) -> None:
    """Fill a contiguous float32 or float64 array with uniform numbers of [low, high)."""
    standard, type, kind = low == 0.0 and high == 1.0, _type(out.dtype), out.dtype.type
    bounds = () if standard else (float(low), float(kind(high) - kind(low)), float(high))
    _draw(
        ("uniform", type.scalar, standard), lambda: uniform_text(host(), type, standard),
        generator, out.size, 1 if type == FLOAT else 2, out, *bounds,
    )  # fmt: skip


def normal(generator, out, mean: float, std: float) -> None:
    """Fill a contiguous float32 array of whole blocks of 16 with normal numbers."""
    centred = mean == 0.0
    _draw(
        ("normal", centred), lambda: normal_text(host(), centred), generator, out.size // 16, 16,
        out, float(mean), float(std),
    )  # fmt: skip


def ones(generator, out, limit: int) -> None:
    """Ones where the 53 bits of a draw are below `limit`, zeros elsewhere, into a contiguous
    array."""
    type = _type(out.dtype)
    _draw(
        ("ones", type.scalar), lambda: ones_text(host(), type), generator, out.size, 2, out, limit
    )


def dropout(generator, array, limit: int, scale: float):
    """The noise, `scale` where the 53 bits of a draw are below `limit` and zero elsewhere, and its
    product with a contiguous float32 or float64 array."""
    type = _type(array.dtype)
    noise, result = np.empty(array.shape, array.dtype), np.empty(array.shape, array.dtype)
    _draw(
        ("dropout", type.scalar), lambda: dropout_text(host(), type), generator, array.size, 2,
        noise, result, array, limit, scale,
    )  # fmt: skip
    return noise, result


def integers(generator, out, low: int, span: int) -> None:
    """Fill a contiguous int64 array with integers of [low, low + span), span below 2**31."""
    _draw(
        ("integers",), lambda: integers_text(host()), generator, out.size, 1, out, int(low),
        float(span), 1.0 / int(span),
    )  # fmt: skip


def permutation(generator, n: int):
    """A permutation of 0..n-1 as int64, for 1 < n < 2**31."""
    items, out = np.arange(n, dtype=np.int32), np.empty(n, np.int64)
    _draw(
        ("permutation",), lambda: permutation_text(host()), generator, n - 1, 1, items, out, n,
        slices=1,
    )  # fmt: skip
    out[-1] = items[-1]
    return out
