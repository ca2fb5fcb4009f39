"""softmax and log-softmax along one axis, and their derivatives.

The inputs are shifted by their maximum, so that exp cannot overflow. A row is read once: its passes
(maximum; exponentials and their sum; result) find it in the cache.
"""

from __future__ import annotations

from danlu.kernels.fused.functions import exp_nonpositive, namespace
from danlu.kernels.graph.kernel import kernel

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]

# elements: below, NumPy's calls take less than waking the other threads
_LEAST = 1 << 14


@kernel(least=_LEAST)
def softmax(x, axis):
    """exp(x) / sum(exp(x)) along an axis."""
    weights = exp_nonpositive(x - x.max(axis=axis, keepdims=True))
    # one division a row instead of one an element: two thirds of the time
    return weights * (1 / weights.sum(axis=axis, keepdims=True))


@kernel(least=_LEAST)
def softmax_backward(g, out, axis):
    """The gradient of softmax's input from that of its result and the result."""
    weighted = g * out
    return weighted - out * weighted.sum(axis=axis, keepdims=True)


@kernel(least=_LEAST)
def log_softmax(x, axis):
    """x - log(sum(exp(x))) along an axis."""
    shifted = x - x.max(axis=axis, keepdims=True)
    total = exp_nonpositive(shifted).sum(axis=axis, keepdims=True)
    return shifted - namespace(x).log(total)


@kernel(least=_LEAST)
def log_softmax_backward(g, out, axis):
    """The gradient of log_softmax's input from that of its result and the result."""
    return g - exp_nonpositive(out) * g.sum(axis=axis, keepdims=True)
