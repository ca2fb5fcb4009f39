"""Single NumPy functions on large arrays: the same result on all threads."""

from __future__ import annotations

import numpy as np

from danlu.kernels.graph.kernel import kernel

__all__ = ["LEAST", "call"]

_kernels: dict = {}
_ndarray = np.ndarray
# elements from which on two threads pay: functions that NumPy computes at memory speed, and others
LEAST, _LEAST_COSTLY = 1 << 17, 1 << 15
_CHEAP = frozenset((
    np.add, np.subtract, np.multiply, np.divide, np.negative, np.absolute, np.square, np.maximum,
    np.minimum, np.sqrt, np.reciprocal, np.floor, np.ceil, np.rint, np.trunc, np.equal,
    np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
))  # fmt: skip
_POWERS = {2: np.square, 0.5: np.sqrt, -1: np.reciprocal}


def call(ufunc, *operands):
    """`ufunc(*operands)`, on all threads where the arrays are large enough.

    Args:
        ufunc: a NumPy function of one or two operands and one result.
        operands: arrays, or Python numbers beside one floating-point array.

    Example:
        >>> import numpy as np
        >>> call(np.add, np.ones(3, dtype=np.float32), 1.0)
        array([2., 2., 2.], dtype=float32)
    """
    if len(operands) == 2 and ufunc is np.power and operands[1].__class__ in (int, float):
        power = _POWERS.get(operands[1])
        if power is not None and operands[0].dtype.kind == "f":
            ufunc, operands = power, operands[:1]
    found = _kernels.get(ufunc)
    if found is None:
        least = LEAST if ufunc in _CHEAP else _LEAST_COSTLY
        found = _kernels[ufunc] = kernel(ufunc, least=least)
    if len(operands) == 2:
        first, second = operands
        # numbers change from call to call: as floats they are no constants of the code
        if second.__class__ is int and first.dtype.kind == "f":
            return found(first, float(second))
        if first.__class__ is int and second.dtype.kind == "f":
            return found(float(first), second)
    return found(*operands)
