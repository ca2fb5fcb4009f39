"""sin, cos, tan and their inverses, for float and double.

Arguments are reduced to |r| <= pi/4 by multiples of pi/2, with a constant in two or three parts:
floats up to 2**23, doubles up to 2**20. The few beyond that are given one by one to the C library.
Floats are computed in double, where one operation more replaces the care for the last place.
"""

from __future__ import annotations

from math import inf, nan

from danlu.kernels.codegen import coefficients
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT
from danlu.kernels.codegen.vector_basics import (
    absolute,
    any_lane,
    bits,
    bits_of,
    clamp,
    copysign,
    flip_sign,
    is_double,
    polynomial,
    quotient,
    round_to_integer,
    sqrt,
    sum_of_any,
    sum_of_ordered,
    widened,
)

__all__ = ["TRIGONOMETRY"]

_TWO_OVER_PI = 0.6366197723675814
# pi/2 with 29 bits, whose products with integers below 2**24 are exact, and the rest
_HALF_PI_2 = (1.570796325802803, 9.920935796805404e-10)
# and with 33 bits twice, for integers below 2**20
_HALF_PI_3 = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)

_REACH = {"float": 2.0**23, "double": 2.0**20}


def _in_double(write):
    """The function of floats computed in double; `write` is told whether doubles are wanted."""

    def complete(f: Function, *values: Value) -> Value:
        if is_double(values[0]):
            return write(f, True, *values)
        return f.convert(write(f, False, *(widened(f, x) for x in values)), FLOAT)

    return complete


def _exact_beyond(name):
    """The C library's function for numbers beyond _REACH."""

    def decorate(write):
        def complete(f: Function, x: Value) -> Value:
            result = write(f, x)
            a = absolute(f, x)
            reach = _REACH[x.type.scalar]
            # infinities need no help
            beyond = f.op("and", f.compare("ogt", a, reach), f.compare("olt", a, inf))

            def corrected():  # those alone: what a lane gives must not depend on its neighbours
                return [f.select(beyond, _lane_by_lane(f, name, x), result)]

            return f.either(any_lane(f, beyond), corrected, lambda: [result])[0]

        return complete

    return decorate


def _lane_by_lane(f, name, x):
    lanes = x.type.lanes
    if lanes == 1:
        return f.intrinsic(name, x)
    with f.loop(0, lanes, carried=[x]) as loop:
        value = f.intrinsic(name, f.extract(x, loop.index))
        loop.carry(f.insert(loop.values[0], value, loop.index))
    return loop.results[0]


# ---------------------------------------------------------------------- sin, cos, tan
def _reduced(f, accurate, a):
    """(r, its error, n) with a = r + n pi/2."""
    n, integer = round_to_integer(f, a, _TWO_OVER_PI)
    if not accurate:
        r = f.fma(n, -_HALF_PI_2[1], f.fma(n, -_HALF_PI_2[0], a))
        return r, f.value(0.0, r.type), integer
    first = f.fma(n, -_HALF_PI_3[0], a)  # exact, as is the next product
    difference, error = sum_of_any(first, n * -_HALF_PI_3[1])
    r, low = sum_of_ordered(difference, n * -_HALF_PI_3[2])
    return r, low + error, integer


def _sine_and_cosine(f, accurate, a):
    """sin(r) and cos(r), both as pairs if accurate, and n."""
    r, low, n = _reduced(f, accurate, a)
    z = r * r
    if not accurate:
        sine = f.fma(z * r, polynomial(f, z, coefficients.SIN), r)
        cosine = f.fma(z * z, polynomial(f, z, coefficients.COS), f.fma(z, -0.5, 1.0))
        return (sine, None), (cosine, None), n
    cosine, error = sum_of_ordered(f.value(1.0, r.type), z * -0.5)
    sine_low = f.fma(z * r, polynomial(f, z, coefficients.SIN_64), low * cosine)
    cosine_low = f.fma(-r, low, f.fma(z * z, polynomial(f, z, coefficients.COS_64), error))
    return sum_of_ordered(r, sine_low), sum_of_ordered(cosine, cosine_low), n


def _sign(f, x):
    return bits(f, x) & bits_of(-0.0, x.type)


def _quadrant(f, n, sine, cosine, sign):
    """The sine n quadrants on."""
    value = f.select(f.compare("eq", n & 1, 0), sine, cosine)
    return flip_sign(f, value, ((n & 2) << 62) ^ sign)


@_exact_beyond("sin")
@_in_double
def _sin(f, accurate, x):
    (sine, _), (cosine, _), n = _sine_and_cosine(f, accurate, absolute(f, x))
    return _quadrant(f, n, sine, cosine, _sign(f, x))


@_exact_beyond("cos")
@_in_double
def _cos(f, accurate, x):
    (sine, _), (cosine, _), n = _sine_and_cosine(f, accurate, absolute(f, x))
    return _quadrant(f, n + 1, sine, cosine, 0)


@_exact_beyond("tan")
@_in_double
def _tan(f, accurate, x):
    a = absolute(f, x)
    if accurate:
        (sine, sine_low), (cosine, cosine_low), n = _sine_and_cosine(f, accurate, a)
        even = f.compare("eq", n & 1, 0)
        top = f.select(even, sine, -cosine), f.select(even, sine_low, -cosine_low)
        bottom = f.select(even, cosine, sine), f.select(even, cosine_low, sine_low)
        high, low = quotient(f, *top, *bottom)
        value = high + low
    else:
        r, _, n = _reduced(f, accurate, a)
        z = r * r
        tangent = f.fma(z * r, polynomial(f, z, coefficients.TAN), r)
        even = f.compare("eq", n & 1, 0)
        value = f.select(even, tangent, -1.0) / f.select(even, f.value(1.0, r.type), tangent)
    return flip_sign(f, value, _sign(f, x))


# ---------------------------------------------------------------------- inverse functions
@_in_double
def _arctan(f, accurate, x):
    y = clamp(f, absolute(f, x), None, 2.0**200)  # infinity has no quotient as a pair
    high, low = _angle(f, accurate, y, f.value(1.0, x.type), None)
    return copysign(f, high + low, x)


@_in_double
def _arctan2(f, accurate, y, x):
    up, along = absolute(f, y), absolute(f, x)
    larger = f.select(f.compare("ogt", up, along), up, along)
    if accurate:  # sums must not overflow, nor reciprocals
        factor = f.select(f.compare("olt", larger, 2.0**-800), f.value(2.0**200, x.type), 1.0)
        factor = f.select(f.compare("ogt", larger, 2.0**800), 2.0**-200, factor)
        up, along = up * factor, along * factor
    along = f.select(f.compare("oeq", larger, 0.0), 1.0, along)  # atan2(0, 0) is 0
    high, low = _angle(f, accurate, up, along, f.compare("oeq", larger, inf))
    right = high + low
    pi = f.value(2.0 * _HALF_PI[0], x.type)
    left, error = sum_of_ordered(pi, -high)
    left = left + (error + (2.0 * _HALF_PI[1] - low))
    behind = f.compare("slt", bits(f, x), 0)
    angle = copysign(f, f.select(behind, left, right), y)
    return f.select(f.compare("uno", x, y), nan, angle)


def _angle(f, accurate, y, x, infinite):
    """atan(y / x) of positive numbers as a pair; `infinite`: where one of them is.

    With c = 0, 1 or infinity, whichever makes |t| <= tan(pi/8) in t = (y - c x) / (x + c y),
    atan(y / x) = atan(c) + atan(t).
    """
    flat = f.compare("olt", y, x * 0.41421356237309503)
    steep = f.compare("ogt", y, x * 2.414213562373095)
    zero, one = f.value(0.0, x.type), f.value(1.0, x.type)

    def by_range(where_flat, where_steep, between):
        return f.select(flat, where_flat, f.select(steep, where_steep, between))

    base = by_range(zero, _HALF_PI[0], f.value(_HALF_PI[0] / 2, x.type))
    difference, total = (y - x, zero), (y + x, zero)
    if accurate:
        difference, total = sum_of_any(y, -x), sum_of_any(y, x)
    top, bottom = by_range(y, -x, difference[0]), by_range(x, y, total[0])
    if infinite is not None:
        top, bottom = f.select(infinite, zero, top), f.select(infinite, one, bottom)
    if not accurate:
        t = top / bottom
        return base, f.fma(t * (t * t), polynomial(f, t * t, coefficients.ARCTAN), t)
    top_low, bottom_low = (by_range(zero, zero, pair[1]) for pair in (difference, total))
    if infinite is not None:
        top_low, bottom_low = (f.select(infinite, 0.0, low) for low in (top_low, bottom_low))
    t, low = quotient(f, top, top_low, bottom, bottom_low)
    low = f.fma(base, _HALF_PI[1] / _HALF_PI[0], low)
    z = t * t
    high, error = sum_of_ordered(base, t)
    return high, error + f.fma(z * t, polynomial(f, z, coefficients.ARCTAN_64), low)


def _arcsine_parts(f, accurate, x):
    """(s, rest, whether |x| < 1/2): arcsin(s) = s + rest, s = |x| or sqrt((1 - |x|) / 2)."""
    a = absolute(f, x)
    near = f.compare("olt", a, 0.5)
    z = f.select(near, a * a, f.fma(a, -0.5, 0.5))
    root = sqrt(f, z)
    s = f.select(near, a, root)
    rest = z * s * polynomial(f, z, coefficients.ARCSIN_64 if accurate else coefficients.ARCSIN)
    if accurate:  # what the root lost; at 1 it is 0 and loses nothing
        lost = f.fma(-root, root, z) / (root + root)
        exact = f.op("or", near, f.compare("oeq", root, 0.0))
        rest = rest + f.select(exact, 0.0, lost)
    return s, rest, near


@_in_double
def _arcsin(f, accurate, x):
    s, rest, near = _arcsine_parts(f, accurate, x)
    high, error = sum_of_ordered(f.value(_HALF_PI[0], x.type), s * -2.0)
    far = high + (error + f.fma(rest, -2.0, _HALF_PI[1]))
    return copysign(f, f.select(near, s + rest, far), x)


@_in_double
def _arccos(f, accurate, x):
    s, rest, near = _arcsine_parts(f, accurate, x)
    # base + factor (s + rest): pi/2 - arcsin(x), pi - 2 arcsin(s), or 2 arcsin(s)
    negative = f.compare("olt", x, 0.0)
    zero = f.value(0.0, x.type)
    base = f.select(near, _HALF_PI[0], f.select(negative, f.value(2.0 * _HALF_PI[0], x.type), zero))
    low = f.select(near, _HALF_PI[1], f.select(negative, f.value(2.0 * _HALF_PI[1], x.type), zero))
    factor = copysign(f, f.select(near, f.value(-1.0, x.type), 2.0), f.select(near, -x, x))
    return base + f.fma(factor, s, f.fma(factor, rest, low))


TRIGONOMETRY = {
    "sin": _sin, "cos": _cos, "tan": _tan, "arctan": _arctan, "arctan2": _arctan2,
    "arcsin": _arcsin, "arccos": _arccos,
}  # fmt: skip
