"""Operators that work element by element."""

from __future__ import annotations

from math import inf

import numpy as np

from tests.parity.sample_arrays import (
    above_one,
    add,
    mask,
    positive,
    probability,
    real,
    whole,
    within_one,
)


# ---------------------------------------------------------------- one tensor, element by element
def unary(draw):
    return lambda rng: [(draw(rng, 5),), (draw(rng, 2, 3),), (draw(rng),), (draw(rng, 0, 2),)]


add(
    "abs absolute neg negative sign sgn square frac trunc fix ceil floor exp exp2 expm1 sin cos "
    "sinh cosh tanh "
    "sigmoid atan arctan asinh arcsinh erf erfc sinc deg2rad rad2deg nan_to_num round special.ndtr "
    "special.i0e "
    "special.i1e special.erfcx special.log_ndtr",
    unary(real),
)
add("tan atanh arctanh asin acos arcsin arccos erfinv", unary(within_one))
add("log log2 log10 log1p sqrt rsqrt reciprocal lgamma digamma special.entr i0", unary(positive))
add("acosh arccosh", unary(above_one))
add("logit", lambda rng: [(probability(rng, 5),), (probability(rng, 5), 0.3)])
add("special.ndtri", unary(probability))
add("angle positive conj conj_physical real", unary(real))
add(
    "isfinite isinf isnan isneginf isposinf isreal signbit logical_not",
    lambda rng: [(np.array([1.0, inf, -inf, np.nan, 0.0, -0.0]),), (real(rng, 2, 2),)],
    differentiable=False,
)
add("bitwise_not", lambda rng: [(whole(rng, 4),), (mask(rng, 3),)], differentiable=False)
add("polygamma", lambda rng: [(1, positive(rng, 4)), (2, positive(rng, 3))])
add("mvlgamma", lambda rng: [(positive(rng, 4) + 1, 2)])
add(
    "round",
    lambda rng: [((real(rng, 5) * 30,), {"decimals": 1}), ((real(rng, 5) * 99,), {"decimals": -1})],
)
add("frexp", lambda rng: [(real(rng, 5) * 9,)], second=False)
add("clone Tensor.contiguous detach", unary(real))
add(
    "special.bessel_j0 special.bessel_j1 special.bessel_y0 special.bessel_y1 "
    "special.modified_bessel_i0 "
    "special.modified_bessel_i1 special.modified_bessel_k0 special.modified_bessel_k1 "
    "special.scaled_modified_bessel_k0 special.scaled_modified_bessel_k1 "
    "special.spherical_bessel_j0 "
    "special.airy_ai",
    unary(positive),
    differentiable=False,
    dtypes="ib",
    tolerance=1e-4,
)
add(
    " ".join(
        f"special.{prefix}chebyshev_polynomial_{kind}"
        for prefix in ("", "shifted_")
        for kind in "tuvw"
    )
    + " special.hermite_polynomial_h special.hermite_polynomial_he special.laguerre_polynomial_l "
    "special.legendre_polynomial_p",
    lambda rng: [(probability(rng, 3), np.array([[0], [1], [2], [5]]))],
    differentiable=False,
    dtypes="",
    tolerance=1e-4,
)
add(
    "special.zeta",
    lambda rng: [(above_one(rng, 3), positive(rng, 3))],
    differentiable=False,
    dtypes="i",
)


# ---------------------------------------------------------------- two tensors
def pairs(left, right):
    """Equal shapes, broadcasting both ways, 0-d, and a number on the right."""
    return lambda rng: [
        (left(rng, 2, 3), right(rng, 2, 3)), (left(rng, 2, 1), right(rng, 3)),
        (left(rng, 3), right(rng, 2, 3)), (left(rng), right(rng, 2)), (left(rng, 0), right(rng, 1)),
    ]  # fmt: skip


def with_numbers(left, right):
    return lambda rng: [*pairs(left, right)(rng), (left(rng, 3), 2.5), (left(rng, 2, 2), 3)]


add("add sub subtract mul multiply rsub", with_numbers(real, real))
add("add sub", lambda rng: [((real(rng, 2, 3), real(rng, 3)), {"alpha": 3})])
add("div divide true_divide", with_numbers(real, positive))
add(
    "div",
    lambda rng: [
        ((real(rng, 2, 3) * 9, positive(rng, 3)), {"rounding_mode": mode})
        for mode in ("floor", "trunc")
    ],
)
add("floor_divide", with_numbers(real, positive), differentiable=False)
add("remainder fmod", with_numbers(real, positive))
add("pow", with_numbers(positive, real))
add(
    "pow",
    lambda rng: [(real(rng, 3), 2), (real(rng, 3), 3), (real(rng, 3), 0), (2.0, real(rng, 3))],
)
add("float_power", pairs(positive, real))
add("maximum minimum fmax fmin hypot logaddexp logaddexp2 atan2 arctan2", pairs(real, real))
add("copysign", pairs(real, real))
add("xlogy special.xlog1py", pairs(real, positive))
add("ldexp", pairs(real, real))
add("nextafter heaviside", pairs(real, real), differentiable=False)
add("eq ne lt le gt ge", with_numbers(whole, whole), differentiable=False)
add("greater less greater_equal less_equal not_equal", pairs(real, real), differentiable=False)
add("logical_and logical_or logical_xor", pairs(mask, mask), differentiable=False)
add("bitwise_and bitwise_or bitwise_xor gcd lcm", pairs(whole, whole), differentiable=False)
add(
    "bitwise_left_shift bitwise_right_shift",
    lambda rng: [(whole(rng, 4), np.array([0, 1, 2, 3]))],
    differentiable=False,
)
add("igamma igammac", pairs(positive, positive), differentiable=False, dtypes="h")
add(
    "addcmul addcdiv",
    lambda rng: [
        (real(rng, 2, 3), real(rng, 2, 3), positive(rng, 3)),
        ((real(rng, 2), real(rng, 2), positive(rng, 2)), {"value": 0.5}),
    ],
)
add(
    "lerp",
    lambda rng: [
        (real(rng, 2, 3), real(rng, 3), 0.3),
        (real(rng, 3), real(rng, 3), probability(rng, 3)),
    ],
)
add(
    "isclose",
    lambda rng: [(np.array([1.0, 2, inf, np.nan]), np.array([1.0, 2.1, inf, np.nan]))],
    differentiable=False,
)
add(
    "clamp clip",
    lambda rng: [
        (real(rng, 6), -0.5, 0.8),
        ((real(rng, 6),), {"min": 0.1}),
        ((real(rng, 6),), {"max": 0.1}),
        (real(rng, 2, 3), real(rng, 3) - 2, positive(rng, 3)),
    ],
)
add("clamp_min clamp_max", lambda rng: [(real(rng, 6), 0.25)])
add(
    "where",
    lambda rng: [
        (mask(rng, 2, 3), real(rng, 2, 3), real(rng, 3)),
        (mask(rng, 2, 3), real(rng, 3), 2.5),
        (mask(rng, 3), real(rng), real(rng)),
    ],
)
