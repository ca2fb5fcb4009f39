"""float16 and bfloat16 in memory, float32 in registers.

Numbers are rounded to the nearest, ties to even; NaN stays NaN. float16 is converted by
instructions where the processor has them (F16C comes with AVX2; AArch64 always) and by integer
arithmetic elsewhere; bfloat16, the upper half of a float, always by integer arithmetic.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import FLOAT, HALF, I16, I32, Type

__all__ = ["from_float", "load", "store", "to_float"]

_SIGN, _MAGNITUDE, _INFINITY = 0x80000000, 0x7FFFFFFF, 0x7F800000


def load(
    f: Function,
    target: Target,
    pointer: Value,
    type: Type,
    index=0,
    mask: Value | None = None,
) -> Value:
    """Numbers of a vector of type half, bfloat or float in memory, as floats.

    Args:
        index: of the first element, in elements.
        mask: the lanes to read; the others are 0.
    """
    stored = _stored(type)
    if mask is None:
        return to_float(f, target, f.load(pointer, stored, index), type)
    return to_float(f, target, f.masked_load(pointer, mask, stored, 0, index), type)


def store(
    f: Function,
    target: Target,
    value: Value,
    pointer: Value,
    type: Type,
    index=0,
    mask: Value | None = None,
) -> None:
    """Write floats as half, bfloat or float; with a mask, its lanes alone."""
    rounded = from_float(f, target, value, type)
    if mask is None:
        f.store(rounded, pointer, index)
    else:
        f.masked_store(rounded, pointer, mask, index)


def to_float(f: Function, target: Target, value: Value, type: Type) -> Value:
    """Floats from values as they lie in memory: the bits (i16) of half and bfloat."""
    if type.scalar == "float":
        return value
    if type.scalar == "half" and _converts_half(target):
        return f.convert(f.bitcast(value, value.type.like(HALF)), FLOAT)
    wide = f.convert(value, I32, signed=False)
    if type.scalar == "bfloat":
        return f.bitcast(wide << 16, wide.type.like(FLOAT))
    return _half_to_float(f, wide)


def from_float(f: Function, target: Target, value: Value, type: Type) -> Value:
    """Floats rounded to what lies in memory: the bits (i16) of half and bfloat."""
    if type.scalar == "float":
        return value
    if type.scalar == "half" and _converts_half(target):
        return f.bitcast(f.convert(value, HALF), value.type.like(I16))
    bits = f.bitcast(value, value.type.like(I32))
    narrow = _float_to_bfloat if type.scalar == "bfloat" else _float_to_half
    return f.convert(narrow(f, value, bits), I16)


def _stored(type: Type) -> Type:
    return type if type.scalar == "float" else type.like(I16)


def _converts_half(target: Target) -> bool:
    return target.vector_bytes >= 32 or target.triple.startswith(("aarch64", "arm64"))


def _rounded_up_to_even(f, bits, shift):
    """What, added to the bits, makes cutting off the low `shift` ones round to nearest even."""
    return (f.op("lshr", bits, shift) & 1) + ((1 << (shift - 1)) - 1)


def _float_to_bfloat(f, value, bits):
    rounded = f.op("lshr", bits + _rounded_up_to_even(f, bits, 16), 16)
    quiet = f.op("lshr", bits, 16) | 0x40  # a NaN may have its bits in the lower half alone
    return f.select(f.compare("uno", value, value), quiet, rounded)


def _half_to_float(f, wide):
    magnitude = (wide & 0x7FFF) << 13
    # the exponent's bias differs by 112: a product that also normalizes denormal numbers
    number = f.bitcast(f.bitcast(magnitude, wide.type.like(FLOAT)) * 2.0**112, wide.type)
    number = f.select(f.compare("sge", magnitude, 0x7C00 << 13), magnitude | _INFINITY, number)
    return f.bitcast(number | ((wide & 0x8000) << 16), wide.type.like(FLOAT))


def _float_to_half(f, value, bits):
    magnitude = bits & _MAGNITUDE
    absolute = f.bitcast(magnitude, value.type)
    normal = magnitude + (_rounded_up_to_even(f, magnitude, 13) - (112 << 23))
    normal = f.op("lshr", normal, 13)
    # below 2**-14, one half ulp of which is that of 0.5 in float: the sum rounds as it must
    denormal = f.bitcast(absolute + 0.5, bits.type) - 0x3F000000
    result = f.select(f.compare("olt", absolute, 2.0**-14), denormal, normal)
    result = f.select(f.compare("oge", absolute, 65520.0), 0x7C00, result)
    result = f.select(f.compare("uno", value, value), 0x7E00, result)
    return result | f.op("lshr", bits & _SIGN, 16)
