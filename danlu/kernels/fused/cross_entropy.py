"""Cross entropy of rows of scores against class numbers: neither pass writes the log-probabilities
to memory.

Legend: M samples, C classes."""

from __future__ import annotations

import numpy as np

from danlu.kernels.fused.functions import exp_nonpositive
from danlu.kernels.graph.kernel import kernel

__all__ = ["cross_entropy", "cross_entropy_backward"]

_LEAST = 1 << 14


@kernel(least=_LEAST)
def cross_entropy(rows, target):
    """-log_softmax(rows)[m, target[m]], and what the derivative needs.

    Args:
        rows: scores, (M, C).
        target: class numbers, (M,); those outside [0, C) wrap around (callers ignore them).

    Returns:
        The losses (M,), the rows' maxima and the logarithms of sum(exp(row - maximum)), (M, 1)
        both: kept apart since their sum would lose digits of small losses.
    """
    largest = rows.max(axis=1, keepdims=True)
    log_total = np.log(exp_nonpositive(rows - largest).sum(axis=1, keepdims=True))
    samples, classes = rows.shape
    picked = rows[np.arange(samples), target % classes]
    return log_total[:, 0] - (picked - largest[:, 0]), largest, log_total


@kernel(least=_LEAST)
def cross_entropy_backward(rows, target, largest, log_total, share):
    """(probabilities - one-hot targets) * share.

    Args:
        rows, target: as given forward.
        largest, log_total: as returned, (M, 1).
        share: the gradient of each sample's loss, (M,), or () for all.
    """
    samples, classes = rows.shape
    column = share.reshape((-1, 1))
    # the factors of a row first: an operation an element less
    grad = exp_nonpositive(rows - largest) * (column * np.exp(-log_total))
    grad[np.arange(samples), target % classes] -= share
    return grad
