"""Elementwise functions and reductions as instructions."""

from __future__ import annotations

from functools import cache

import numpy as np

from danlu.kernels.codegen import coefficients, narrow, vector_math
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import (
    BFLOAT,
    DOUBLE,
    FLOAT,
    HALF,
    I1,
    I8,
    I16,
    I32,
    I64,
    Type,
    of_dtype,
)
from danlu.kernels.codegen.vector_exponentials import LOG2_E, exp_within
from danlu.kernels.graph.nodes import Unsupported

__all__ = [
    "check",
    "combine",
    "from_memory",
    "identity",
    "load_type",
    "to_memory",
    "value_type",
    "write",
]

_COMPARE = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le",
            "greater": "gt", "greater_equal": "ge"}  # fmt: skip
_ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*"}
_BITS = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor", "logical_and": "and",
         "logical_or": "or", "logical_xor": "xor"}  # fmt: skip
_NARROW = {"float16": HALF, "bfloat16": BFLOAT}
_CLASSES = ("isnan", "isinf", "isfinite")


def dtype_named(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


@cache
def load_type(dtype: str) -> Type:
    """An element in memory; narrow floats as their bits."""
    return I16 if dtype in _NARROW else of_dtype(dtype_named(dtype))


def value_type(dtype: str) -> Type:
    """An element in registers: narrow floats are computed in float32, bools are bits."""
    if dtype == "bool":
        return I1
    return FLOAT if dtype in _NARROW else load_type(dtype)


def from_memory(f: Function, target: Target, value: Value, dtype: str) -> Value:
    if dtype == "bool":
        return f.compare("ne", value, 0)
    return narrow.to_float(f, target, value, _NARROW[dtype]) if dtype in _NARROW else value


def to_memory(f: Function, target: Target, value: Value, dtype: str) -> Value:
    if dtype == "bool":
        return f.convert(value, I8, signed=False)
    return narrow.from_float(f, target, value, _NARROW[dtype]) if dtype in _NARROW else value


def check(name: str, dtype: str, args: tuple[str, ...]) -> None:
    """Refuse what `write` cannot write.

    Raises:
        Unsupported: the function, or one of the dtypes.
    """
    try:
        types = [value_type(each) for each in (dtype, *args)]
    except (KeyError, TypeError) as error:
        raise Unsupported(f"{name} of {dtype}") from error
    operand = types[1] if args else types[0]
    if name in ("where", "copy", "part", "put"):
        known = True
    elif name == "convert":
        known = not (operand.is_float and dtype == "uint64")
    elif operand.is_float:
        known = (
            name in _ARITHMETIC or name in _COMPARE or name in _CLASSES
            or name in ("divide", "logical_not") or name in _OWN
            or vector_math.supports(name, operand.scalar)
        )  # fmt: skip
    elif operand == I1:
        known = name in _BITS or name in ("invert", "logical_not", "equal", "not_equal")
    else:
        known = (
            name in _ARITHMETIC or name in _COMPARE
            or (name in _BITS and not name.startswith("logical"))
            or name in ("absolute", "invert", "negative", "square", "maximum", "minimum",
                        "remainder")
        )  # fmt: skip
    if not known:
        raise Unsupported(f"{name} of {', '.join(args) or dtype}")


def write(
    f: Function, target: Target, name: str, dtype: str, dtypes: tuple[str, ...], values
) -> Value:
    """One function on values of the same lane count."""
    x = values[0]
    if name in ("copy", "part", "put"):  # elements are put when the row is in memory
        return x
    if name == "convert":
        return _converted(f, target, x, dtypes[0], dtype)
    if name == "where":
        return f.select(*values)
    if name in _COMPARE:
        return _compared(f, name, dtypes[0], *values)
    if name in _BITS:
        return f.op(_BITS[name], *values)
    if name in ("invert", "logical_not"):
        if x.type.is_float:
            return f.compare("oeq", x, 0.0)
        return f.op("xor", x, 1 if x.type.scalar == "i1" else -1)
    if x.type.is_float:
        return _floating(f, name, values)
    return _integral(f, name, dtypes[0], values)


def _floating(f, name, values):
    if name in _ARITHMETIC:
        return f.arithmetic(_ARITHMETIC[name], *values)
    if name == "divide":
        return values[0] / values[1]
    if name == "isnan":
        return f.compare("uno", values[0], values[0])
    if name == "isinf":
        return f.compare("oeq", f.intrinsic("fabs", values[0]), float("inf"))
    if name == "isfinite":
        return f.compare("olt", f.intrinsic("fabs", values[0]), float("inf"))
    if name in _OWN:
        return _OWN[name](f, *values)
    return vector_math.apply(f, name, *values)


def _exp_nonpositive(f, x):
    """exp where no argument is above 0 (or hardly): 2**n * 2**r in two thirds of the instructions
    of exp. Results below the least normal number are 0; the others are right to 2e-8 |x|."""
    if x.type.scalar == "double":
        tiny = f.compare("olt", x, -708.0)
        return f.select(tiny, 0.0, exp_within(f, f.select(tiny, -708.0, x)))
    # n in the low bits of a float, with the exponent's bias: shifted up they are 2**n
    magic = 1.5 * 2.0**23 + 127
    shifted = f.fma(x, LOG2_E, magic)
    r = f.fma(x, LOG2_E, magic - shifted)
    power = f.value(coefficients.EXP2[-1], x.type)
    for coefficient in (*coefficients.EXP2[-2::-1], 1.0):
        power = f.fma(power, r, coefficient)
    scale = f.bitcast(f.bitcast(shifted, x.type.like(I32)) << 23, x.type)
    return f.select(f.compare("olt", x, -87.0), 0.0, power * scale)


def _fma(f, x, y, z):
    return f.fma(x, y, z)


def _at_least(f, x, limit):
    """maximum(x, limit) for a limit that is no NaN: one instruction instead of three."""
    return f.select(f.compare("olt", x, limit), limit, x)


def _at_most(f, x, limit):
    return f.select(f.compare("ogt", x, limit), limit, x)


# functions of kernels/fused/functions.py, and those that simplify.py puts for others
_OWN = {"exp_nonpositive": _exp_nonpositive, "fma": _fma, "at_least": _at_least,
        "at_most": _at_most}  # fmt: skip


def _integral(f, name, dtype, values):
    x = values[0]
    if name in _ARITHMETIC:
        return f.arithmetic(_ARITHMETIC[name], *values)
    if name == "negative":
        return -x
    if name == "square":
        return x * x
    unsigned = dtype.startswith("u")
    if name == "absolute":
        return x if unsigned else f.select(f.compare("slt", x, 0), -x, x)
    if name == "remainder":  # with the sign of the divisor, as Python's
        # by 0 and -1 it is 0 for NumPy, and a trap of the processor for 0 and the least number
        y = values[1]
        if unsigned:
            return f.op("urem", x, f.select(f.compare("eq", y, 0), 1, y))
        y = f.select(f.compare("ult", y + 1, 2), 1, y)
        rest = x % y
        other_sign = f.compare("slt", rest ^ y, 0)
        return f.select(f.op("and", f.compare("ne", rest, 0), other_sign), rest + y, rest)
    kind = "max" if name == "maximum" else "min"
    return f.intrinsic(("u" if unsigned else "s") + kind, *values)


def _compared(f, name, dtype, x, y):
    word = _COMPARE[name]
    if x.type.is_float:
        return f.compare("une" if word == "ne" else "o" + word, x, y)
    if word not in ("eq", "ne"):
        word = ("u" if dtype.startswith("u") else "s") + word
    return f.compare(word, x, y)


def _converted(f, machine, x, source, target):
    if target == "bool":
        return f.compare("une" if x.type.is_float else "ne", x, 0)
    signed = not source.startswith("u")
    if x.type.is_float and not value_type(target).is_float:
        # C's way, by 32 bits or 64: numbers out of range give what NumPy gives on x86
        x = f.convert(x, I64 if target in ("int64", "uint32") else I32)
    value = f.convert(x, value_type(target), signed=signed)
    if target in _NARROW:  # a cast rounds
        return from_memory(f, machine, to_memory(f, machine, value, target), target)
    return value


# ------------------------------------------------------------------------------ reductions
def identity(kind: str, dtype: str):
    """The number that changes nothing."""
    if kind in ("sum", "prod"):
        return 0 if kind == "sum" else 1
    type = value_type(dtype)
    if type.is_float:
        return float("-inf") if kind == "max" else float("inf")
    limits = np.iinfo(dtype)
    return int(limits.min if kind == "max" else limits.max)


def combine(f: Function, kind: str, dtype: str, a: Value, b: Value) -> Value:
    if kind == "sum":
        return a + b
    if kind == "prod":
        return a * b
    name = "maximum" if kind == "max" else "minimum"
    if a.type.scalar in (FLOAT.scalar, DOUBLE.scalar):
        return vector_math.apply(f, name, a, b)
    return _integral(f, name, dtype, (a, b))
