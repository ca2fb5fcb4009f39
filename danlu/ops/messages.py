"""Errors that many operators raise, in PyTorch's types and words."""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.tensor import LEGACY_NAMES

__all__ = ["dimension_error", "not_tensor", "scalar_name", "shape_error", "translated"]


def scalar_name(kind) -> str:
    """The word PyTorch's messages use for a dtype: Float, Long, ..."""
    return LEGACY_NAMES.get(kind.name, kind.name.title())


def not_tensor(op, position, value):
    name = op.parameters[position]
    return TypeError(
        f"{op.name}(): argument '{name}' (position {position + 1}) must be Tensor, "
        f"not {type(value).__name__}"
    )


def shape_error(a, b, error):
    """PyTorch's words for operands that do not broadcast."""
    if "broadcast" not in str(error):
        return error
    for back in range(1, min(a.ndim, b.ndim) + 1):
        m, n = a.shape[-back], b.shape[-back]
        if m != n and m != 1 and n != 1:
            at = max(a.ndim, b.ndim) - back
            return RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton "
                f"dimension {at}: their shapes are {list(a.shape)} and {list(b.shape)}"
            )
    return RuntimeError(str(error))


def translated(op, arrays, error):
    """NumPy's complaint about shapes, axes or dtypes, in PyTorch's type and words."""
    if isinstance(error, TypeError):
        return _unsupported(op, arrays, error)
    if isinstance(error, np.exceptions.AxisError):
        return dimension_error(error.axis, error.ndim)
    if op.promote is not None and len(arrays) == 2 and all(hasattr(a, "shape") for a in arrays):
        return shape_error(*arrays, error)
    return error


def _unsupported(op, arrays, error):
    """The error for a dtype that a function is not made for; other TypeErrors stay as they are."""
    words = str(error)
    if not ("ufunc" in words or "umpy boolean" in words or "not supported for" in words):
        return error
    kind = next(each.dtype for each in arrays if hasattr(each, "dtype"))
    return RuntimeError(
        f"\"{op.name}_cpu\" not implemented for '{scalar_name(dtypes.FROM_NUMPY[kind])}'"
    )


def dimension_error(dim: int, ndim: int) -> IndexError:
    """The error for a dimension that a tensor does not have."""
    most = max(ndim, 1)
    return IndexError(
        f"Dimension out of range (expected to be in range of [{-most}, {most - 1}], but got {dim})"
    )
