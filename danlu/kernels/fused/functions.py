"""What kernels use beside NumPy's functions: array code for arrays of any kind, one operation each
in a trace."""

from __future__ import annotations

import numpy as np

__all__ = ["exp_nonpositive", "fma", "namespace", "polynomial", "sigmoid"]


def namespace(x):
    """The namespace of numeric functions for an array."""
    return np if x.__class__ is np.ndarray else x.__array_namespace__()


def exp_nonpositive(x):
    """e to the power of numbers that are not positive; results below the smallest normal number may
    be 0."""
    record = getattr(x, "record", None)
    return namespace(x).exp(x) if record is None else record("exp_nonpositive")


def sigmoid(x):
    """1 / (1 + exp(-x)) of a plain or traced array."""
    if getattr(x, "record", None) is not None:  # by exp(-|x|), which cannot overflow
        tail = exp_nonpositive(-abs(x))
        return np.where(x < 0, tail, 1) / (1 + tail)
    # exp overflows to inf below -88 in float32, and 1 / (1 + inf) is the right 0
    with np.errstate(over="ignore"):
        result = np.exp(-x)
    result += 1
    return np.reciprocal(result)


def fma(x, y, z):
    """x * y + z, rounded once where the machine has an instruction for it."""
    record = getattr(x, "record", None)
    return x * y + z if record is None else record("fma", y, z)


def polynomial(coefficients, x):
    """The polynomial of `x` with these coefficients, the highest power's first (Horner)."""
    result = fma(x, coefficients[0], coefficients[1])
    for coefficient in coefficients[2:]:
        result = fma(result, x, coefficient)
    return result
