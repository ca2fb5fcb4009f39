"""Sums, means and extremes of large arrays, on all threads."""

from __future__ import annotations

from danlu.kernels.graph.kernel import kernel

__all__ = ["largest", "smallest", "total"]

# elements from which on two threads pay; NumPy reads one array at memory speed
_LEAST = 1 << 17


@kernel(least=_LEAST)
def total(x, axis, keepdims):
    """The sum over axes (a tuple, or None for all)."""
    return x.sum(axis=axis, keepdims=keepdims)


@kernel(least=_LEAST)
def largest(x, axis, keepdims):
    """The maximum over axes."""
    return x.max(axis=axis, keepdims=keepdims)


@kernel(least=_LEAST)
def smallest(x, axis, keepdims):
    """The minimum over axes."""
    return x.min(axis=axis, keepdims=keepdims)
