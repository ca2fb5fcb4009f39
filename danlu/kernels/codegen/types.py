"""The types of LLVM IR that kernels use, and the spelling of their constants."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = [
    "BFLOAT", "DOUBLE", "FLOAT", "HALF", "I1", "I8", "I16", "I32", "I64", "PTR", "VOID", "Type",
    "constant", "of_dtype",
]  # fmt: skip


class Type(NamedTuple):
    """A scalar, or a vector of `lanes` scalars: `str(Type("float", 8)) == "<8 x float>"`."""

    scalar: str
    lanes: int = 1

    def __str__(self) -> str:
        return self.scalar if self.lanes == 1 else f"<{self.lanes} x {self.scalar}>"

    def vector(self, lanes: int) -> Type:
        """The same scalar, `lanes` times."""
        return Type(self.scalar, lanes)

    def element(self) -> Type:
        """One lane."""
        return Type(self.scalar)

    def like(self, other: Type) -> Type:
        """The scalar type `other` with as many lanes as this one."""
        return Type(other.scalar, self.lanes)

    @property
    def is_float(self) -> bool:
        return self.scalar in _FLOAT_BYTES

    @property
    def bytes(self) -> int:
        """Bytes of one lane in memory."""
        return _FLOAT_BYTES.get(self.scalar) or _OTHER_BYTES[self.scalar]

    @property
    def suffix(self) -> str:
        """How intrinsics spell the type in their names: `v8f32`, `i64`."""
        scalar = _SUFFIXES.get(self.scalar, self.scalar)
        return scalar if self.lanes == 1 else f"v{self.lanes}{scalar}"


_FLOAT_BYTES = {"half": 2, "bfloat": 2, "float": 4, "double": 8}
_OTHER_BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "ptr": 8}
_SUFFIXES = {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64", "ptr": "p0"}

VOID = Type("void")
I1, I8, I16, I32, I64 = Type("i1"), Type("i8"), Type("i16"), Type("i32"), Type("i64")
HALF, BFLOAT, FLOAT, DOUBLE = Type("half"), Type("bfloat"), Type("float"), Type("double")
PTR = Type("ptr")

_BY_DTYPE = {
    "bool": I8, "int8": I8, "uint8": I8, "int16": I16, "uint16": I16, "int32": I32, "uint32": I32,
    "int64": I64, "uint64": I64, "float16": HALF, "bfloat16": BFLOAT, "float32": FLOAT,
    "float64": DOUBLE,
}  # fmt: skip


def of_dtype(dtype) -> Type:
    """How an element of a NumPy dtype lies in memory (bool as a byte). KeyError: no such type."""
    return _BY_DTYPE[dtype.name]


def constant(value, type: Type) -> str:
    """A Python number as LLVM writes it, in every lane.

    LLVM spells floating-point constants exactly, as the bits of the double of the same value.
    """
    if type.is_float:
        number = _rounded(float(value), type.scalar)
        if type.scalar == "half":
            text = f"0xH{struct.unpack('<H', struct.pack('<e', number))[0]:04X}"
        elif type.scalar == "bfloat":
            text = f"0xR{struct.unpack('<I', struct.pack('<f', number))[0] >> 16:04X}"
        else:
            text = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    elif type.scalar == "i1":
        text = "true" if value else "false"
    elif type.scalar == "ptr":
        if value != 0:
            raise ValueError("only the null pointer is a constant")
        text = "null"
    else:
        bits = 8 * type.bytes
        number = int(value) & ((1 << bits) - 1)
        text = str(number - (1 << bits) if number >> (bits - 1) else number)
    if type.lanes == 1:
        return text
    return f"splat ({type.scalar} {text})"


def _rounded(number: float, scalar: str) -> float:
    if scalar == "float":
        try:
            return struct.unpack("<f", struct.pack("<f", number))[0]
        except OverflowError:  # rounds beyond the largest float
            return float("inf") if number > 0 else float("-inf")
    if scalar == "bfloat":
        bits = struct.unpack("<I", struct.pack("<f", number))[0]
        if number == number:
            bits += 0x7FFF + ((bits >> 16) & 1)
        return struct.unpack("<f", struct.pack("<I", bits & 0xFFFF0000))[0]
    return number
