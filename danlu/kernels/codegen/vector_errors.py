"""The error function and its complement, for float and double.

erf(x) = x + x P(x**2) below 1. Beyond, erfc(x) = exp(-x**2) P(t) / (1 + 2 x) with
t = (x - 4) / (x + 4), which maps all positive x to (-1, 1) (Shepherd and Laframboise, Chebyshev
approximation of (1 + 2x) exp(x**2) erfc(x), Math. Comp. 36, 1981).
"""

from __future__ import annotations

from danlu.kernels.codegen import coefficients
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT
from danlu.kernels.codegen.vector_basics import (
    absolute,
    bits,
    clamp,
    copysign,
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
from danlu.kernels.codegen.vector_exponentials import LOG2_E, exp_pair, exp_within, scaled

__all__ = ["ERRORS"]

_POLE = 4.0


def _erf(f: Function, x: Value) -> Value:
    a = absolute(f, x)
    if is_double(x):
        small = f.fma(a, polynomial(f, x * x, coefficients.ERF_64), a)
        within = clamp(f, a, None, 6.0)  # erf(6) rounds to 1
        large = 1.0 - exp_within(f, -within * within) * _scale(f, within, coefficients.ERF_FAR_64)
        return copysign(f, f.select(f.compare("olt", a, 1.0), small, large), x)
    small = f.fma(a, polynomial(f, x * x, coefficients.ERF), a)
    a = clamp(f, a, None, 4.0)  # erf(4) rounds to 1
    # exp(a polynomial(a)) is the complement: the same exponential without a division
    large = 1.0 - exp_within(f, polynomial(f, a, coefficients.ERF_LOG) * a)
    return copysign(f, f.select(f.compare("olt", a, 0.92), small, large), x)


def _erfc(f: Function, x: Value) -> Value:
    a = absolute(f, x)
    if not is_double(x):
        # in double, where nothing is lost by exp(-x**2) for large x
        right = f.convert(_complement(f, widened(f, clamp(f, a, None, 11.0))), FLOAT)
        return f.select(f.compare("olt", x, 0.0), 2.0 - right, right)
    high, low, n = _complement_64(f, clamp(f, a, None, 28.0))
    right = scaled(f, high + low, n)
    near = 1.0 - f.fma(x, polynomial(f, x * x, coefficients.ERF_64), x)
    far = f.select(f.compare("olt", x, 0.0), 2.0 - right, right)
    return f.select(f.compare("olt", a, 0.46), near, far)


def _complement(f, a):
    """erfc of 0 <= a <= 11 in double, with float's accuracy."""
    exponent = a * -a
    n, integer = round_to_integer(f, exponent, LOG2_E)
    r = f.fma(n, -0.6931471805599453, exponent)
    exponential = f.fma(r, f.fma(r, polynomial(f, r, coefficients.EXP), 1.0), 1.0)
    return exponential * power_of_two(f, integer, a.type) * _scale(f, a, coefficients.ERFC)


def _scale(f, a, series):
    """P(t) / (1 + 2 a), with both quotients by one division."""
    left, right = a + _POLE, f.fma(a, 2.0, 1.0)
    inverse = 1.0 / (left * right)
    return polynomial(f, (a - _POLE) * (right * inverse), series) * (left * inverse)


def _complement_64(f, a):
    """(high, low, n) with erfc(a) = 2**n (high + low)."""
    # a head of 26 bits, whose square is exact also without fused multiplication
    head = from_bits(f, bits(f, a) & (-1 << 27), a.type)
    square, square_low = sum_of_ordered(head * head, (a - head) * (a + head))
    high, low, n = exp_pair(f, -square)
    low = f.fma(high, -square_low, low)
    t = (a - _POLE) / (a + _POLE)
    constant, *others = coefficients.ERFC_64
    series = sum_of_ordered(f.value(constant, a.type), t * polynomial(f, t, others))
    bottom = sum_of_ordered(a + a, f.value(1.0, a.type))
    scale, scale_low = quotient(f, *series, *bottom)
    result, rest = product(f, high, scale)
    return result, f.fma(high, scale_low, f.fma(low, scale, rest)), n


ERRORS = {"erf": _erf, "erfc": _erfc}
