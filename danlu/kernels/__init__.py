"""Numeric work that is more than a line of array code: convolution, pooling, resampling, recurrent
layers, and the compiler that makes machine code of NumPy functions.

Functions here take and return arrays, know nothing of tensors, and find their namespace through
``array.__array_namespace__()``.
"""

from __future__ import annotations

from danlu.kernels.graph.kernel import kernel

__all__ = ["explain", "kernel"]


def __getattr__(name):
    if name == "explain":
        from danlu.kernels.graph.explain import explain

        return explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
