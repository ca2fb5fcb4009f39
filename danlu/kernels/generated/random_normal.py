"""Standard normals from uniforms: `backend.box_muller.float32` operation by operation, so that the
bits are the same."""

from __future__ import annotations

from danlu.backend import box_muller
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT, I32

__all__ = ["LANES", "box_muller_pair"]

# PyTorch's blocks are eight radii and then eight angles, on every machine.
LANES = 8
_FLOATS, _INTS = FLOAT.vector(LANES), I32.vector(LANES)


def _log(f: Function, x: Value) -> Value:
    bits = f.bitcast(x, _INTS)
    exponent = (bits - int(box_muller.SQRT_HALF_BITS)) >> 23
    x = f.bitcast(bits - (exponent << 23), _FLOATS) - 1.0
    exponent = f.convert(exponent, FLOAT)
    first, *others = (float(coefficient) for coefficient in box_muller.LOG)
    y = f.value(first, _FLOATS)
    for coefficient in others:
        y = f.fma(y, x, coefficient)
    y = y * x
    square = x * x
    y = f.fma(y, square, exponent * float(box_muller.LN2_LOW))
    y = y - square * 0.5
    return exponent * float(box_muller.LN2_HIGH) + (x + y)


def _cos_sin(f: Function, x: Value) -> tuple[Value, Value]:
    octant = (f.convert(x * float(box_muller.FOUR_OVER_PI), I32) + 1) & ~1
    y = f.convert(octant, FLOAT)
    high, middle, low = (float(part) for part in box_muller.QUARTER_PI)
    x = x - y * high
    x = x - y * middle
    x = f.fma(y, -low, x)
    square = x * x
    parts = []
    for row, (factor, term) in enumerate(((square, square * -0.5), (x, x))):
        first, second, third = (float(pair[row, 0]) for pair in box_muller.COS_SIN)
        p = f.fma(f.value(first, _FLOATS), square, second)
        p = f.fma(p, square, third) * square
        parts.append(f.fma(p, factor, term))
    cos, sin = parts[0] + 1.0, parts[1]
    # every other quadrant swaps the two; the signs are those of the quadrant
    swap = f.compare("ne", octant & 2, 0)
    cos, sin = f.select(swap, sin, cos), f.select(swap, cos, sin)

    def signed(value, octant):
        return f.bitcast(f.bitcast(value, _INTS) ^ ((octant & 4) << 29), _FLOATS)

    return signed(cos, octant + 2), signed(sin, octant)


def box_muller_pair(f: Function, radii: Value, angles: Value) -> tuple[Value, Value]:
    """Two vectors of normals from two of uniforms in [0, 1)."""
    radius = f.intrinsic("sqrt", _log(f, 1.0 - radii) * -2.0)
    cos, sin = _cos_sin(f, angles * float(box_muller.TWO_PI))
    return cos * radius, sin * radius
