"""Whose memory an array views."""

from __future__ import annotations

import numpy as np

__all__ = ["memory_owner"]


def memory_owner(array):
    """The array that owns the memory of a view."""
    while array.base is not None:
        base = array.base
        if not isinstance(base, np.ndarray):
            # as_strided and sliding_window_view put a stand-in between, which knows the array
            base = getattr(base, "base", None)
            if not isinstance(base, np.ndarray):
                break
        array = base
    return array
