"""Normalisation of channels (N, C, *) where machine code does it: of float32 arrays that are not
tiny.

The functions return None for all others: the operators' own formulas are duck-typed over the array
namespace, and stay the reference.
"""

from __future__ import annotations

import numpy as np

from danlu.kernels.runtime import road

__all__ = ["affine", "batch_gradients", "batch_norm", "group_gradients", "group_norm"]

_FLOAT32 = np.dtype("float32")
# Elements from which machine code pays: it takes 5 us a call, NumPy 30.
_LEAST = 512
# Shorter rows (one channel of one sample) leave most of a vector empty.
_SHORTEST_ROW = 4


def _is_generated(x, *parameters, shortest_row=_SHORTEST_ROW):
    """Whether machine code normalises `x`, with parameters that may be None."""
    return (
        x.__class__ is np.ndarray
        and road.worth(x.size, _LEAST)
        and x.size > 0
        and x.dtype == _FLOAT32
        and x.size >= shortest_row * x.shape[0] * x.shape[1]
        and all(
            each is None or (each.__class__ is np.ndarray and each.dtype == _FLOAT32)
            for each in parameters
        )
    )


def _shortest_row(x):
    """Batch norm of a table has code of its own, with channels in the lanes."""
    return 1 if len(x.shape) == 2 else _SHORTEST_ROW


def batch_norm(x, weight, bias, eps):
    """Each channel standardised by its own statistics, and its mean and 1 / sqrt(variance + eps),
    each of shape (C,)."""
    if not _is_generated(x, weight, bias, shortest_row=_shortest_row(x)):
        return None
    from danlu.kernels.generated import normalization

    return normalization.batch_norm(x, weight, bias, eps)


def batch_gradients(g, x, weight, mean, scale, with_input):
    """The gradients of `batch_norm`'s x (None unless `with_input`), weight and bias."""
    if not _is_generated(x, g, weight, mean, scale, shortest_row=_shortest_row(x)):
        return None
    from danlu.kernels.generated import normalization

    return normalization.batch_gradients(g, x, weight, mean, scale, with_input)


def group_norm(x, weight, bias, groups, eps):
    """Each group of channels of each sample standardised, and its mean and
    1 / sqrt(variance + eps), each of shape (N, G)."""
    if not _is_generated(x, weight, bias):
        return None
    from danlu.kernels.generated import normalization

    return normalization.group_norm(x, weight, bias, groups, eps)


def group_gradients(g, x, weight, mean, scale, groups, with_input):
    """The gradients of `group_norm`'s x (None unless `with_input`), weight and bias."""
    if not _is_generated(x, g, weight, mean, scale):
        return None
    from danlu.kernels.generated import normalization

    return normalization.group_gradients(g, x, weight, mean, scale, groups, with_input)


def affine(x, scale, shift):
    """x scale + shift, both given for each channel."""
    if not _is_generated(x, scale, shift):
        return None
    from danlu.kernels.generated import normalization

    return normalization.affine(x, scale, shift)
