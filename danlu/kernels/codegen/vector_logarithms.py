"""Logarithms and powers, for float and double.

x = 2**k m with m in [sqrt(1/2), sqrt(2)) and log(x) = k log(2) + log(1 + r), r = m - 1, which is
exact. In float a polynomial gives log(1 + r); in double the series of
log(1 + r) = 2 artanh(s), s = r / (2 + r), whose argument is a sixth.
"""

from __future__ import annotations

from math import inf, nan, sqrt
from typing import NamedTuple

from danlu.kernels.codegen import coefficients
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT
from danlu.kernels.codegen.vector_basics import (
    absolute,
    bits,
    bits_of,
    clamp,
    flip_sign,
    from_bits,
    is_double,
    polynomial,
    power_of_two,
    product,
    quotient,
    round_to_integer,
    sum_of_ordered,
    widened,
)
from danlu.kernels.codegen.vector_exponentials import exp2_of_pair, scaled

__all__ = ["LOGARITHMS"]


class _Base(NamedTuple):
    """log of 2 and of e to some base, each as a pair: multiples of the first's high part by an
    exponent are exact."""

    of_two: tuple[float, float]
    of_e: tuple[float, float]


_NATURAL = {
    "float": _Base((0.693359375, -2.1219444005469058e-4), (1.0, 0.0)),
    "double": _Base((0.6931471803691238, 1.9082149292705877e-10), (1.0, 0.0)),
}
_TWO = {
    "float": _Base((1.0, 0.0), (1.4426950216293335, 1.925963033500011e-08)),
    "double": _Base((1.0, 0.0), (1.4426950408889634, 2.0355273740931033e-17)),
}
_TEN = {
    "float": _Base(
        (0.301025390625, 4.605038981195214e-06), (0.4342944920063019, -1.0103049952192578e-08)
    ),
    "double": _Base(
        (0.3010299955494702, 1.1451100898021838e-10), (0.4342944819032518, 1.098319650216765e-17)
    ),
}


# ---------------------------------------------------------------------- the reduced logarithm
def _split(f, x):
    """(m, biased k as integers) with x = 2**k m and m in [sqrt(1/2), sqrt(2)), for normal x."""
    shift, bias = (52, 1023) if is_double(x) else (23, 127)
    pattern = bits(f, x)
    # the bias keeps it positive: vectors of i64 have no arithmetic shift before AVX-512
    above = pattern - (bits_of(sqrt(0.5), x.type) - (bias << shift))
    k = f.op("lshr", above, shift)
    m = pattern - ((above & (-1 << shift)) - (bias << shift))
    return from_bits(f, m, x.type.element()), k


def _split_any(f, x):
    """(m, k as numbers), also for denormal x."""
    shift = 54.0 if is_double(x) else 25.0
    tiny = f.compare("olt", x, 2.0**-1022 if is_double(x) else 2.0**-126)
    m, k = _split(f, f.select(tiny, x * 2.0**shift, x))
    return m, _number(f, k, x) - f.select(tiny, f.value(shift, x.type), 0.0)


def _number(f, k, x):
    """Biased exponents as numbers, by their bits: AVX2 does not convert i64."""
    magic, bias = (1.5 * 2.0**52, 1023) if is_double(x) else (1.5 * 2.0**23, 127)
    return from_bits(f, k + bits_of(magic, x.type), x.type.element()) - (magic + bias)


def _rest(f, r):
    """log(1 + r) - r."""
    half_square = r * r * 0.5
    if not is_double(r):
        return f.fma(half_square * r, polynomial(f, r, _TWICE_LOG), -half_square)
    s = r / (r + 2.0)
    z = s * s
    series = (z + z) * polynomial(f, z, coefficients.ARTANH_64)
    return f.fma(s, half_square + series, -half_square)


_TWICE_LOG = tuple(2.0 * c for c in coefficients.LOG)


def _assembled(f, k, r, rest, base):
    """k log(2) + r + rest, to the base."""
    two, two_low = base.of_two
    e, e_low = base.of_e
    if e == 1.0:
        large, small = r, f.fma(k, two_low, rest)
    else:
        large, small = product(f, r, f.value(e, r.type))
        small = f.fma(rest, e, f.fma(r, e_low, small))
        if two_low:
            small = f.fma(k, two_low, small)
    # where k is not 0 it is the larger: |r| < 0.5 < log(2)
    high, low = sum_of_ordered(k * two, large)
    return high + (low + small)


def _outside(f, x, result):
    """The logarithm where the argument is infinite, zero, negative or NaN."""
    result = f.select(f.compare("oeq", x, inf), inf, result)
    result = f.select(f.compare("oeq", x, 0.0), -inf, result)
    return f.select(f.compare("ult", x, 0.0), nan, result)


def _logarithm(bases):
    def write(f: Function, x: Value) -> Value:
        m, k = _split_any(f, x)
        r = m - 1.0
        base = bases[x.type.scalar]
        return _outside(f, x, _assembled(f, k, r, _rest(f, r), base))

    return write


def _log1p(f, x):
    """log(u) for u = 1 + x, with what the sum lost put back into r."""
    u = x + 1.0
    lost = f.select(f.compare("ogt", absolute(f, x), 1.0), 1.0 - (u - x), x - (u - 1.0))
    m, k = _split(f, u)
    # 2**-k; from k = 126 on, what is lost does not count
    bias = 1023 if is_double(x) else 127
    shrink = power_of_two(f, f.intrinsic("smax", bias - k, -126), x.type)
    lost = f.select(f.compare("olt", u, inf), lost * shrink, 0.0)
    r, error = sum_of_ordered(m - 1.0, lost)
    base = _NATURAL[x.type.scalar]
    result = _assembled(f, _number(f, k, x), r, _rest(f, r) + error, base)
    result = f.select(f.compare("oeq", u, inf), inf, result)
    result = f.select(f.compare("oeq", x, -1.0), -inf, result)
    result = f.select(f.compare("ult", x, -1.0), nan, result)
    tiny = f.compare("olt", absolute(f, x), 2.0**-54 if is_double(x) else 2.0**-25)
    return f.select(tiny, x, result)


# ---------------------------------------------------------------------- powers
def _power(f, x, y):
    if is_double(x):
        return _signed_power(f, x, y, _magnitude_64)
    # in double, where floats lose nothing: all of them are normal numbers there
    result = _signed_power(f, widened(f, x), widened(f, y), _magnitude)
    return f.convert(result, FLOAT)


def _signed_power(f, x, y, magnitude):
    """C's pow by |x|**y: the sign, and the cases that have a value of their own."""
    # finite powers, since log(1) * inf is NaN
    value = magnitude(f, absolute(f, x), clamp(f, y, -(2.0**900), 2.0**900))
    whole, half = f.intrinsic("rint", y), y * 0.5
    odd = _both(f, f.compare("oeq", whole, y), f.compare("one", f.intrinsic("rint", half), half))
    sign = bits(f, x) & bits_of(-0.0, x.type)
    value = flip_sign(f, value, f.select(odd, sign, 0))
    # the root of a finite negative number is NaN; that of -inf is inf, that of -0 is 0
    negative = _both(f, f.compare("olt", x, 0.0), f.compare("ogt", x, -inf))
    value = f.select(_both(f, negative, f.compare("one", whole, y)), nan, value)
    one = f.op("or", f.compare("oeq", y, 0.0), f.compare("oeq", x, 1.0))
    return f.select(one, 1.0, value)


def _both(f, first, second):
    return f.op("and", first, second)


def _log2_outside(f, a, result):
    """log2 of a magnitude that is 0, infinite or NaN."""
    result = f.select(f.compare("oeq", a, 0.0), -inf, result)
    return f.select(f.compare("olt", a, inf), result, a)


def _magnitude(f, a, y):
    """a**y with float's accuracy, in doubles that came from floats."""
    m, k = _split(f, a)
    s = (m - 1.0) / (m + 1.0)
    log2 = f.fma(s, polynomial(f, s * s, coefficients.POWER_LOG2), _number(f, k, a))
    exponent = clamp(f, y * _log2_outside(f, a, log2), -160.0, 130.0)
    n, integer = round_to_integer(f, exponent)
    r = exponent - n
    value = f.fma(r, polynomial(f, r, coefficients.POWER_EXP2), 1.0)
    return value * power_of_two(f, integer, a.type)


def _magnitude_64(f, a, y):
    """a**y for doubles, by log2(a) as a pair."""
    log2, log2_low = _log2_pair(f, a)
    high, low = product(f, y, log2)
    low = f.fma(y, log2_low, low)
    exponent = clamp(f, high, -1080.0, 1030.0)
    low = f.select(f.compare("oeq", exponent, high), low, 0.0)
    n, integer = round_to_integer(f, exponent)
    return scaled(f, exp2_of_pair(f, exponent - n, low), integer)


def _log2_pair(f, a):
    """log2(a) to about 68 bits: the series of artanh(s) with its first terms in pairs."""
    m, k = _split_any(f, a)
    r = m - 1.0
    bottom, bottom_low = sum_of_ordered(f.value(2.0, a.type), r)
    s, s_low = quotient(f, r, f.value(0.0, a.type), bottom, bottom_low)
    z, z_low = product(f, s, s)
    z_low = f.fma(s + s, s_low, z_low)
    # artanh(s) = s + s z (1/3 + z (1/5 + z rest))
    inner = _plus(f, _FIFTH, z * polynomial(f, z, coefficients.ARTANH_REST_64), 0.0)
    outer = _plus(f, _THIRD, *_times(f, (z, z_low), inner))
    tail = _times(f, (s, s_low), _times(f, (z, z_low), outer))
    high, low = sum_of_ordered(s, tail[0])
    low = low + (s_low + tail[1])
    high, low = _times(f, (high, low), (f.value(_TWO_LOG2_E[0], a.type), _TWO_LOG2_E[1]))
    total, error = sum_of_ordered(k, high)
    return _log2_outside(f, a, total), error + low


_THIRD = (0.3333333333333333, 1.850371707708594e-17)
_FIFTH = (0.2, -1.1102230246251566e-17)
_TWO_LOG2_E = (2.8853900817779268, 4.0710547481862066e-17)


def _plus(f, constant, high, low):
    """The pair of a constant plus a smaller pair."""
    total, error = sum_of_ordered(f.value(constant[0], high.type), high)
    return total, (error + constant[1]) + low


def _times(f, left, right):
    """The product of two pairs as a pair."""
    high, low = product(f, left[0], right[0])
    return high, f.fma(left[0], right[1], f.fma(left[1], right[0], low))


LOGARITHMS = {
    "log": _logarithm(_NATURAL),
    "log2": _logarithm(_TWO),
    "log10": _logarithm(_TEN),
    "log1p": _log1p,
    "power": _power,
}
