"""exp and its relatives, hyperbolic functions and sigmoid, for float and double.

x = n log(2) + r with |r| < 0.35, and exp(x) = 2**n exp(r) with a polynomial for exp(r). What needs
more than the last place works on exp(r) = high + low.
"""

from __future__ import annotations

from typing import NamedTuple

from danlu.kernels.codegen import coefficients
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import Type
from danlu.kernels.codegen.vector_basics import (
    absolute,
    clamp,
    copysign,
    is_double,
    polynomial,
    power_of_two,
    product,
    quotient,
    round_to_integer,
    sum_of_any,
    sum_of_ordered,
)

__all__ = ["EXPONENTIALS", "LOG2_E", "exp2_of_pair", "exp_pair", "exp_within", "scaled"]

LOG2_E = 1.4426950408889634


class _Precision(NamedTuple):
    """What differs between float and double.

    Attributes:
        ln2: log(2) as a part whose products with exponents are exact, and the rest.
        exp: exp(r) = 1 + r + r**2 * polynomial(r).
        least, most: below and above, exp is 0 and infinite.
        tiny: |x| below which expm1(x) rounds to x.
        one: |x| above which tanh(x) rounds to 1.
    """

    ln2: tuple[float, float]
    exp: tuple[float, ...]
    tanh: tuple[float, ...]
    sinh: tuple[float, ...]
    least: float
    most: float
    tiny: float
    one: float


_FLOAT = _Precision(
    ln2=(0.693359375, -2.1219444005469058e-4),
    exp=coefficients.EXP,
    tanh=coefficients.TANH,
    sinh=coefficients.SINH,
    least=-104.0,
    most=89.0,
    tiny=2.0**-25,
    one=9.1,
)
_DOUBLE = _Precision(
    ln2=(0.6931471803691238, 1.9082149292705877e-10),
    exp=coefficients.EXP_64,
    tanh=coefficients.TANH_64,
    sinh=coefficients.SINH_64,
    least=-746.0,
    most=710.0,
    tiny=2.0**-54,
    one=19.1,
)


def _precision(x: Value) -> _Precision:
    return _DOUBLE if is_double(x) else _FLOAT


# ---------------------------------------------------------------------- the reduced exponential
def _reduced(f, x, accurate=True):
    """(r, r**2 * polynomial(r), n); `accurate`: with what r lost by rounding in the second."""
    precision = _precision(x)
    n, integer = round_to_integer(f, x, LOG2_E)
    above = f.fma(n, -precision.ln2[0], x)
    r = f.fma(n, -precision.ln2[1], above)
    lost = f.fma(n, -precision.ln2[1], above - r) if accurate else 0.0
    return r, f.fma(r * r, polynomial(f, r, precision.exp), lost), integer


def exp_pair(f: Function, x: Value) -> tuple[Value, Value, Value]:
    """(high, low, n) with exp(x) = 2**n * (high + low), high within [0.7, 1.42]."""
    r, tail, n = _reduced(f, x)
    high, low = sum_of_ordered(f.value(1.0, x.type), r)
    return *sum_of_ordered(high, low + tail), n


def exp_within(f: Function, x: Value) -> Value:
    """exp(x) where the result is a normal number (|x| < 87 in float, 708 in double)."""
    r, tail, n = _reduced(f, x, accurate=is_double(x))
    scale = power_of_two(f, n, x.type)
    return f.fma(r + tail, scale, scale)


def scaled(f: Function, x: Value, n: Value) -> Value:
    """x * 2**n, also where 2**n overflows or is denormal and the result need not be."""
    first, second = _two_powers(f, n, x.type)
    return x * first * second


def _two_powers(f: Function, n: Value, type: Type) -> tuple[Value, Value]:
    """Two numbers whose product is 2**n."""
    # by a shift of positive numbers: vectors of i64 have no other before AVX-512
    half = f.op("lshr", n + 2048, 1) - 1024
    return power_of_two(f, half, type), power_of_two(f, n - half, type)


def _exp(f, x):
    precision = _precision(x)
    r, tail, n = _reduced(f, clamp(f, x, precision.least, precision.most), is_double(x))
    first, second = _two_powers(f, n, x.type)
    return f.fma(r + tail, first, first) * second


def _exp2(f, x):
    double = is_double(x)
    x = clamp(f, x, -1080.0, 1030.0) if double else clamp(f, x, -152.0, 129.0)
    n, integer = round_to_integer(f, x)
    r = x - n
    if double:
        return scaled(f, exp2_of_pair(f, r, None), integer)
    return scaled(f, f.fma(r, polynomial(f, r, coefficients.EXP2), 1.0), integer)


def exp2_of_pair(f: Function, r: Value, low: Value | None) -> Value:
    """2**(r + low) of doubles, |r| <= 1/2 and |low| < 2**-40."""
    if low is not None:
        r, low = sum_of_any(r, low)
    natural, rest = product(f, r, f.value(_LN2, r.type))
    rest = f.fma(r, _LN2_ERROR, rest)
    if low is not None:
        rest = f.fma(low, _LN2, rest)
    tail = f.fma(natural * natural, polynomial(f, natural, coefficients.EXP_64), rest)
    high, error = sum_of_ordered(f.value(1.0, r.type), natural)
    return high + (error + tail)


_LN2, _LN2_ERROR = 0.6931471805599453, 2.3190468138462996e-17


def _expm1(f, x):
    precision = _precision(x)
    r, tail, n = _reduced(f, clamp(f, x, -44.0, precision.most))  # expm1(-44) rounds to -1
    half = power_of_two(f, n - 1, x.type)  # 2**n itself overflows before the result does
    base, base_low = sum_of_ordered(half, f.value(-0.5, x.type))
    whole, lost = sum_of_ordered(base, r * half)
    result = (whole + f.fma(tail, half, lost + base_low)) * 2.0
    return f.select(f.compare("olt", absolute(f, x), precision.tiny), x, result)


# ---------------------------------------------------------------------- sigmoid
def _sigmoid(f, x):
    """1 / (1 + exp(-x)) = s / (s + e) with exp(-|x|) = e / s, or e / (s + e) for negative x."""
    below = clamp(f, -absolute(f, x), _precision(x).least, None)
    if is_double(x):
        e, e_low, n = exp_pair(f, below)
    else:
        r, tail, n = _reduced(f, below, accurate=False)
        e, e_low = 1.0 + (r + tail), None
    negative = f.compare("olt", x, 0.0)
    # beyond 2**60 the 1 does not count any more, and s would overflow: the rest is a factor
    within = f.maximum(n, f.value(-60, n.type))
    s = power_of_two(f, -within, x.type)
    bottom, bottom_low = sum_of_ordered(s, e)
    top, top_low = f.select(negative, e, s), f.value(0.0, x.type)
    if e_low is not None:
        bottom_low, top_low = bottom_low + e_low, f.select(negative, e_low, 0.0)
    value, rest = quotient(f, top, top_low, bottom, bottom_low)
    return (value + rest) * power_of_two(f, f.select(negative, n - within, 0), x.type)


# ---------------------------------------------------------------------- hyperbolic functions
def _tanh(f, x):
    precision = _precision(x)
    a = absolute(f, x)
    z = x * x
    small = f.fma(z * a, polynomial(f, z, precision.tanh), a)
    a = clamp(f, a, None, precision.one)
    if is_double(x):
        large = _tanh_by_pairs(f, a + a)
    else:
        large = 1.0 - 2.0 / (exp_within(f, a + a) + 1.0)
    return copysign(f, f.select(f.compare("olt", a, 0.625), small, large), x)


def _tanh_by_pairs(f, doubled):
    """1 - 2 / (exp(2 a) + 1)."""
    high, low, n = exp_pair(f, doubled)
    s = power_of_two(f, n, doubled.type)
    bottom, bottom_low = sum_of_ordered(high * s, f.value(1.0, doubled.type))
    two = f.value(2.0, doubled.type)
    value, rest = quotient(f, two, f.value(0.0, two.type), bottom, f.fma(low, s, bottom_low))
    result, error = sum_of_ordered(f.value(1.0, doubled.type), -value)
    return result + (error - rest)


def _sinh(f, x):
    a = absolute(f, x)
    z = x * x
    small = f.fma(z * a, polynomial(f, z, _precision(x).sinh), a)
    large = _half_sum(f, a, -1.0)
    return copysign(f, f.select(f.compare("olt", a, 1.0), small, large), x)


def _cosh(f, x):
    return _half_sum(f, absolute(f, x), 1.0)


def _half_sum(f, a, sign):
    """(exp(a) + sign * exp(-a)) / 2, by a half of it, which does not overflow before."""
    most = 710.5 if is_double(a) else 89.5
    high, low, n = exp_pair(f, clamp(f, a, None, most))
    quarter = power_of_two(f, n - 2, a.type)
    grown = high * quarter
    shrunk = (sign / 16.0) / grown
    return 2.0 * (grown + f.fma(low, quarter, shrunk))


EXPONENTIALS = {
    "exp": _exp, "exp2": _exp2, "expm1": _expm1, "sigmoid": _sigmoid, "tanh": _tanh,
    "sinh": _sinh, "cosh": _cosh,
}  # fmt: skip
