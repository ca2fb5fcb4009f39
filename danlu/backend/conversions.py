"""NumPy's conversions to arrays, under names that a trace replaces: `np.asarray` and `np.array` have
no protocol by which an array that records could pass through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["another", "as_array", "copied", "is_array"]

as_array: Callable[..., Any] = np.asarray
copied: Callable[..., Any] = np.array


def is_array(value) -> bool:
    """Whether a value is an array, or one that records in the place of an array."""
    return isinstance(value, np.ndarray) or hasattr(value, "record")


def another(array):
    """A further array object on the same memory; an array that records is its own."""
    return array if hasattr(array, "record") else array.view()
