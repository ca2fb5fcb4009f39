"""PyTorch's type promotion: 0-d tensors and Python numbers do not promote within a category."""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.backend.dtypes import dtype, promote_types

__all__ = ["weak", "cast_scalar", "promoted_arrays", "result_dtype", "result_numpy_dtype"]

_COMPLEX, _FLOATING, _BOOL = 3, 2, 0


def _number_dtype(value) -> dtype:
    if value.__class__ is bool:
        return dtypes.bool_
    if value.__class__ is int:
        return dtypes.int64
    if value.__class__ is float:
        return dtypes.get_default_dtype()
    return dtypes.get_default_dtype().to_complex()


def _join(a: dtype | None, b: dtype | None) -> dtype | None:
    if a is None:
        return b
    if b is None:
        return a
    return promote_types(a, b)


def _combine(higher: dtype | None, lower: dtype | None) -> dtype | None:
    """`higher` decides within its category; only a higher category of `lower` changes it."""
    if higher is None:
        return lower
    if lower is None or higher.category == _COMPLEX:
        return higher
    if higher.category == _FLOATING:
        return higher.to_complex() if lower.category == _COMPLEX else higher
    if higher.category == _BOOL or lower.category >= _FLOATING:
        return promote_types(higher, lower)
    return higher


def result_dtype(operands) -> dtype:
    """The dtype of an operation over arrays and Python numbers.

    Source: https://pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc
    """
    dimensioned = zero_dim = number = None
    for each in operands:
        if each is None:
            continue
        if isinstance(each, (bool, int, float, complex)):
            number = _join(number, _number_dtype(each))
        elif each.ndim:
            dimensioned = _join(dimensioned, dtypes.of_array(each))
        else:
            zero_dim = _join(zero_dim, dtypes.of_array(each))
    found = _combine(dimensioned, _combine(zero_dim, number))
    if found is None:
        raise TypeError("type promotion needs at least one tensor or number")
    return found


def result_numpy_dtype(operands, to_float: bool = False) -> np.dtype:
    """`result_dtype` as NumPy's; integers become the default dtype if `to_float`."""
    found = result_dtype(operands)
    if to_float and found.category < _FLOATING:
        found = dtypes.get_default_dtype()
    return found.numpy


def cast_scalar(value, target: np.dtype) -> np.ndarray:
    """A Python number as a 0-d array, wrapping around like a C cast where it does not fit.

    Raises:
        RuntimeError: a float too large for the integer type, as PyTorch raises.
    """
    if target.kind in "iu" and isinstance(value, int):
        bits = 8 * target.itemsize
        value &= (1 << bits) - 1
        if target.kind == "i" and value >> (bits - 1):
            value -= 1 << bits
    return np.asarray(value, dtype=target)


def weak(number, array):
    """A Python number that does not promote `array`: NumPy would, of integers and of ml_dtypes'
    numbers.
    """
    return array.dtype.type(number) if array.dtype.kind in "Viub" else number


def promoted_arrays(arrays, to_float: bool):
    """The operands cast to their common dtype; numbers become 0-d arrays of it.

    Returns the list itself where nothing is to be done."""
    target = None
    for array in arrays:  # the common case: all arrays of one dtype, no numbers
        if array is None:
            continue
        kind = getattr(array, "dtype", None)
        if kind is None or (target is not None and kind is not target):
            break
        target = kind
    else:
        if target is None or not (to_float and target.kind in "biu"):
            return arrays
    target = result_numpy_dtype(arrays, to_float)
    return [
        array
        if array is None
        else cast_scalar(array, target)
        if not hasattr(array, "dtype")
        else array
        if array.dtype == target
        else array.astype(target)
        for array in arrays
    ]
