"""What vector mathematics is built of, for float and double of any lane count: polynomials, sums
and quotients with their rounding errors, and the functions that are one or two instructions.

A pair (high, low) stands for high + low, low being about as small as high's rounding error.
Errors of products come from fused multiplications; on a processor without them `fma` rounds twice,
the errors found are zero or meaningless in their last place, and results lose up to one ulp.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import DOUBLE, I1, I32, I64, Type

__all__ = [
    "BASICS", "absolute", "any_lane", "bits", "bits_of", "clamp", "copysign", "flip_sign",
    "from_bits", "is_double", "is_nan", "polynomial", "power_of_two", "product", "quotient",
    "round_to_integer", "sqrt", "sum_of_any", "sum_of_ordered", "widened",
]  # fmt: skip

_MANTISSA = {"float": 23, "double": 52}
_BIAS = {"float": 127, "double": 1023}


def is_double(x: Value) -> bool:
    return x.type.scalar == "double"


def widened(f: Function, x: Value) -> Value:
    """Floats as doubles, for functions whose float form is computed in double: LLVM halves vectors
    that do not fit into a register."""
    return f.convert(x, DOUBLE)


# ---------------------------------------------------------------------- polynomials
def polynomial(f: Function, x: Value, coefficients: Sequence[float]) -> Value:
    """The sum of `coefficients[k] * x**k`.

    Even and odd powers are two chains (one multiplication more), which halves the time until the
    result is there: loops with few turns in flight would wait for it.
    """
    if len(coefficients) <= 4:
        return _horner(f, x, coefficients)
    square = x * x
    odd = _horner(f, square, coefficients[1::2])
    return f.fma(odd, x, _horner(f, square, coefficients[::2]))


def _horner(f, x, coefficients):
    total = f.value(coefficients[-1], x.type)
    for coefficient in coefficients[-2::-1]:
        total = f.fma(total, x, coefficient)
    return total


# ---------------------------------------------------------------------- pairs
def sum_of_ordered(large: Value, small: Value) -> tuple[Value, Value]:
    """large + small as a pair, if |large| >= |small| or large is 0 (Dekker 1971)."""
    high = large + small
    return high, (large - high) + small


def sum_of_any(x: Value, y: Value) -> tuple[Value, Value]:
    """x + y as a pair, whichever is larger (Knuth's two-sum)."""
    high = x + y
    of_y = high - x
    return high, (x - (high - of_y)) + (y - of_y)


def product(f: Function, x: Value, y: Value) -> tuple[Value, Value]:
    """x * y as a pair."""
    high = x * y
    return high, f.fma(x, y, -high)


def quotient(f: Function, top, top_low, bottom, bottom_low) -> tuple[Value, Value]:
    """(top + top_low) / (bottom + bottom_low) as a pair, with one division."""
    inverse = 1.0 / bottom
    high = top * inverse
    rest = f.fma(-high, bottom, top) + f.fma(-high, bottom_low, top_low)
    return high, rest * inverse


# ---------------------------------------------------------------------- bits
def bits(f: Function, x: Value) -> Value:
    """The bits as an integer of the same size."""
    return f.bitcast(x, x.type.like(I64 if is_double(x) else I32))


def from_bits(f: Function, x: Value, type: Type) -> Value:
    """The number with these bits."""
    return f.bitcast(x, x.type.like(type))


def bits_of(number: float, type: Type) -> int:
    """The bits of a constant as a signed integer."""
    codes = "<fi" if type.scalar == "float" else "<dq"
    return struct.unpack("<" + codes[2], struct.pack(codes[:2], number))[0]


def round_to_integer(f: Function, x: Value, factor: float = 1.0) -> tuple[Value, Value]:
    """The integer nearest to `x * factor` as a number and as an integer; magnitudes up to 2**21.

    Adding 1.5 * 2**mantissa leaves the integer in the low bits: one fused multiplication, where
    rounding and converting are two slow instructions.
    """
    magic = 1.5 * 2.0 ** _MANTISSA[x.type.scalar]
    shifted = x + magic if factor == 1.0 else f.fma(x, factor, magic)
    return shifted - magic, bits(f, shifted) - bits_of(magic, x.type)


def power_of_two(f: Function, exponent: Value, type: Type) -> Value:
    """2**exponent of integers that are exponents of normal numbers."""
    biased = exponent + _BIAS[type.scalar]
    return from_bits(f, biased << _MANTISSA[type.scalar], type.element())


def flip_sign(f: Function, x: Value, sign: Value) -> Value:
    """x, negated where the sign bit of the integer `sign` is set; its other bits must be 0."""
    return from_bits(f, bits(f, x) ^ sign, x.type.element())


# ---------------------------------------------------------------------- conditions
def clamp(f: Function, x: Value, low: float | None, high: float | None) -> Value:
    """x within [low, high]; NaN stays NaN."""
    if low is not None:
        x = f.select(f.compare("olt", x, low), low, x)
    if high is not None:
        x = f.select(f.compare("ogt", x, high), high, x)
    return x


def any_lane(f: Function, mask: Value) -> Value:
    """Whether the condition holds in any lane, as one i1."""
    packed = f.bitcast(mask, Type(f"i{mask.type.lanes}"))
    return f.emit(f"icmp ne {packed.typed}, 0", I1)


def is_nan(f: Function, x: Value) -> Value:
    return f.compare("uno", x, x)


# ---------------------------------------------------------------------- functions
def _intrinsic(name):
    def write(f: Function, *values: Value) -> Value:
        return f.intrinsic(name, *values)

    return write


absolute = _intrinsic("fabs")
sqrt = _intrinsic("sqrt")
copysign = _intrinsic("copysign")


def _rsqrt(f, x):
    # a root and a division are off by at most 1.5 ulp, which suits float
    value = 1.0 / sqrt(f, x)
    if not is_double(x):
        return value
    high, low = product(f, x, value)
    rest = f.fma(-high, value, 1.0) - low * value
    corrected = f.fma(value * 0.5, rest, value)
    return f.select(is_nan(f, corrected), value, corrected)  # 0 and infinity have no rest


def _sign(f, x):
    one = copysign(f, f.value(1.0, x.type), x)
    zero_or_nan = f.select(is_nan(f, x), x, 0.0)
    return f.select(f.compare("one", x, 0.0), one, zero_or_nan)


def _extreme(predicate, keep_nan):
    """maximum and minimum, which give NaN where either is, or fmax and fmin, where both are."""

    def write(f: Function, x: Value, y: Value) -> Value:
        chosen = f.select(f.compare(predicate, x, y), x, y)  # y where either is NaN
        return f.select(is_nan(f, x if keep_nan else y), x, chosen)

    return write


BASICS = {
    "absolute": absolute,
    "ceil": _intrinsic("ceil"),
    "copysign": copysign,
    "floor": _intrinsic("floor"),
    "fmax": _extreme("ogt", keep_nan=False),
    "fmin": _extreme("olt", keep_nan=False),
    "maximum": _extreme("ogt", keep_nan=True),
    "minimum": _extreme("olt", keep_nan=True),
    "negative": lambda f, x: -x,
    "positive": lambda f, x: x,
    "reciprocal": lambda f, x: 1.0 / x,
    "rint": _intrinsic("rint"),
    "rsqrt": _rsqrt,
    "sign": _sign,
    "sqrt": sqrt,
    "square": lambda f, x: x * x,
    "trunc": _intrinsic("trunc"),
}
