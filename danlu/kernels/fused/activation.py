"""Activation functions and their derivatives, each one loop over memory."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from danlu.kernels.fused import functions
from danlu.kernels.fused.error_function import gelu_slope, normal_cdf
from danlu.kernels.fused.functions import namespace
from danlu.kernels.graph.kernel import kernel

__all__ = [
    "gelu", "gelu_backward", "gelu_tanh", "gelu_tanh_backward", "relu", "relu_backward",
    "sigmoid", "sigmoid_backward", "silu", "silu_backward", "tanh_backward",
]  # fmt: skip

GELU_INNER = sqrt(2 / pi)
GELU_CUBIC = 0.044715  # Hendrycks and Gimpel 2016, section 2

# elements: from here on the fused loop beats NumPy's calls, whose temporaries leave the cache
_LEAST = 1 << 14
# functions of one NumPy call gain by threads alone
_LEAST_OF_ONE_CALL = 1 << 17


@kernel(least=_LEAST)
def gelu(x):
    """x * P(X <= x) for a standard normal X."""
    return x * normal_cdf(x)


@kernel(least=_LEAST)
def gelu_backward(g, x):
    """The gradient of gelu's input."""
    return g * gelu_slope(x)


@kernel(least=_LEAST)
def gelu_tanh(x):
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    inner = GELU_INNER * (x + GELU_CUBIC * x * x * x)
    return 0.5 * x * (1.0 + namespace(x).tanh(inner))


@kernel(least=_LEAST)
def gelu_tanh_backward(g, x):
    """The gradient of gelu_tanh's input."""
    square = x * x
    tanh = namespace(x).tanh(GELU_INNER * (x + GELU_CUBIC * square * x))
    slope = GELU_INNER * (1.0 + 3 * GELU_CUBIC * square)
    return g * (0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope)


@kernel(least=_LEAST)
def silu(x):
    """x * sigmoid(x)."""
    return x * functions.sigmoid(x)


@kernel(least=_LEAST)
def silu_backward(g, x):
    """The gradient of silu's input."""
    gate = functions.sigmoid(x)
    return g * (gate * (1.0 + x * (1.0 - gate)))


@kernel(least=_LEAST_OF_ONE_CALL)
def relu(x):
    """max(0, x)."""
    return np.maximum(x, 0)


@kernel(least=_LEAST)
def relu_backward(g, out):
    """The gradient where relu was positive, 0 elsewhere, also where the gradient is infinite."""
    # a third of the time of NumPy's where(), which has no fast road for a scalar operand
    result = g[...].copy()  # of a NumPy scalar: an array of no axes
    np.copyto(result, 0, where=out <= 0)
    return result


@kernel(least=_LEAST)
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return functions.sigmoid(x)


@kernel(least=_LEAST)
def sigmoid_backward(g, out):
    """The gradient of sigmoid's input."""
    return g * (out * (1 - out))


@kernel(least=_LEAST)
def tanh_backward(g, out):
    """The gradient of tanh's input."""
    return g * (1 - out * out)
