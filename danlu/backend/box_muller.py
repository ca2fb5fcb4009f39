"""The Box-Muller transform, rounded as PyTorch's vectorised kernel rounds it.

PyTorch fills float32 tensors eight pairs at a time with the logarithm, sine and cosine of the
Cephes library (Moshier), compiled with fused multiply-adds. The same operations in the same order,
each fused pair evaluated in float64 and rounded once, give the same bits; the C library's functions
would differ in the last digit of one number out of seven.
"""

from __future__ import annotations

import math

import numpy as np

from danlu.backend.fused import fma32

__all__ = [
    "COS_SIN", "FOUR_OVER_PI", "LN2_HIGH", "LN2_LOW", "LOG", "QUARTER_PI", "SQRT_HALF_BITS",
    "TWO_PI", "float32", "float64", "pairs",
]  # fmt: skip

_F = np.float32
_D = np.float64
_CHUNK_BLOCKS = 1024  # blocks of 16 whose temporaries stay in the cache

# log(1 + x) = x - x**2 / 2 + x**3 P(x) for sqrt(1/2) <= 1 + x < sqrt(2)
LOG = tuple(
    _D(_F(c))
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
SQRT_HALF_BITS = np.int32(0x3F3504F3)
LN2_HIGH, LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)

# rows: cos(x) = 1 - x**2 / 2 + x**4 P(x**2) and sin(x) = x + x**3 P(x**2) for |x| <= pi / 4
COS_SIN = tuple(
    np.array(row, _F).reshape(2, 1).astype(_D)
    for row in (
        (2.443315711809948e-5, -1.9515295891e-4),
        (-1.388731625493765e-3, 8.3321608736e-3),
        (4.166664568298827e-2, -1.6666654611e-1),
    )
)
TWO_PI = _F(2 * math.pi)
FOUR_OVER_PI = _F(1.27323954473516)
# pi / 4 in three parts: the products of the first two with an octant are exact
QUARTER_PI = _F(0.78515625), _F(2.4187564849853515625e-4), _F(3.77489497744594108e-8)


def _log(x):
    """Natural logarithm of positive normal float32."""
    bits = x.view(np.int32)
    exponent = (bits - SQRT_HALF_BITS) >> 23
    x = (bits - (exponent << 23)).view(_F)  # in [sqrt(1/2), sqrt(2))
    x -= _F(1)
    exponent = exponent.astype(_F)
    wide = x.astype(_D)
    y = fma32(wide, LOG[0], LOG[1])
    for coefficient in LOG[2:]:
        y = fma32(y, wide, coefficient)
    y *= x
    square = x * x
    y = fma32(y, square, exponent * LN2_LOW)
    square *= _F(0.5)
    y -= square
    x += y
    exponent *= LN2_HIGH
    exponent += x
    return exponent


def _cos_sin(x):
    """Cosine and sine, stacked, of float32 in [0, 2 pi]."""
    octant = (x * FOUR_OVER_PI).astype(np.int32)
    octant += 1
    octant &= ~1
    y = octant.astype(_F)
    x -= y * QUARTER_PI[0]
    x -= y * QUARTER_PI[1]
    x = fma32(y, -QUARTER_PI[2], x)
    square = x * x
    wide = square.astype(_D)
    p = fma32(COS_SIN[0], wide, COS_SIN[1])
    p = fma32(p, wide, COS_SIN[2])
    p *= square
    p = fma32(p, np.stack((square, x)), np.stack((square * _F(-0.5), x)))
    p[0] += _F(1)
    # every other quadrant swaps the two; the signs are those of the quadrant
    cos, sin = p.view(np.int32)
    swap = octant >> 1
    swap &= 1
    np.negative(swap, out=swap)
    swap &= cos ^ sin
    cos ^= swap
    sin ^= swap
    sin ^= (octant & 4) << 29
    octant += 2
    cos ^= (octant & 4) << 29
    return p


def _blocks(u):
    """Standard normals from float32 uniforms of shape (m, 2, 8)."""
    radius = _log(_F(1) - u[:, 0])
    radius *= _F(-2)
    np.sqrt(radius, out=radius)
    cos_sin = _cos_sin((u[:, 1] * TWO_PI).reshape(-1)).reshape(2, -1, 8)
    cos_sin *= radius
    return cos_sin.transpose(1, 0, 2)  # (2, m, 8) -> (m, 2, 8)


def float32(uniforms):
    """Standard normals from uniforms in [0, 1), 16 to a block: the radius comes from the first
    eight, the angle from the last eight; cosines are put before sines."""
    u = uniforms.reshape(-1, 2, 8)
    out = np.empty_like(u)
    for start in range(0, len(u), _CHUNK_BLOCKS):
        chunk = slice(start, start + _CHUNK_BLOCKS)
        out[chunk] = _blocks(u[chunk])
    return out.reshape(-1)


def _transformed(radius, theta, out):
    np.multiply(radius, np.cos(theta), out=out[:, 0])
    np.multiply(radius, np.sin(theta), out=out[:, 1])
    return out.reshape(-1)


def float64(uniforms):
    """As `float32`, in float64 through the C library's functions."""
    u = uniforms.reshape(-1, 2, 8)
    radius = np.sqrt(np.log(1 - u[:, 0]) * -2)
    return _transformed(radius, u[:, 1] * (2 * math.pi), np.empty_like(u))


def pairs(uniforms):
    """Standard normals from pairs of float64 uniforms: the first gives the angle, the second the
    radius."""
    u = uniforms.reshape(-1, 2)
    radius = np.sqrt(np.log1p(-u[:, 1]) * -2)
    return _transformed(radius, u[:, 0] * (2 * math.pi), np.empty_like(u))
