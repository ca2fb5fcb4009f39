"""Activation functions with their `inplace` switch."""

from __future__ import annotations

from danlu.backend import random
from danlu.backend.dtypes import float64
from danlu.ops import activation as ops
from danlu.ops.activation import (
    SELU_ALPHA,
    SELU_SCALE,
    gelu,
    glu,
    hardshrink,
    logsigmoid,
    prelu,
    softplus,
    softshrink,
    softsign,
    tanhshrink,
)
from danlu.ops.pointwise import sigmoid, tanh
from danlu.ops.registry import ns
from danlu.tensor import wrap

__all__ = [
    "celu", "celu_", "elu", "elu_", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "logsigmoid", "mish", "prelu", "relu",
    "relu6", "relu_", "rrelu", "rrelu_", "selu", "selu_", "sigmoid", "silu", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "threshold_",
]  # fmt: skip

_RRELU_LOWER, _RRELU_UPPER = 1 / 8, 1 / 3  # Xu et al. 2015


def relu(input, inplace=False):
    """max(0, x), elementwise.

    Args:
        input: a tensor of any shape.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.relu(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    return ops.relu.inplace(input) if inplace else ops.relu(input)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """x where x > 0, negative_slope * x elsewhere (Maas et al. 2013).

    Args:
        input: a floating-point tensor.
        negative_slope: the slope below zero; default 0.01.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.leaky_relu(torch.tensor([-1.0, 2.0]), 0.5)
        tensor([-0.5000,  2.0000])
    """
    if inplace:
        return ops.leaky_relu.inplace(input, negative_slope)
    return ops.leaky_relu(input, negative_slope)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """x limited to [min_val, max_val].

    Args:
        input: a tensor.
        min_val: lower limit; default -1.
        max_val: upper limit; default 1.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.hardtanh(torch.tensor([-3.0, 0.5]))
        tensor([-1.0000,  0.5000])
    """
    if inplace:
        return ops.hardtanh.inplace(input, min_val, max_val)
    return ops.hardtanh(input, min_val, max_val)


def hardsigmoid(input, inplace=False):
    """min(max(x + 3, 0), 6) / 6, the sigmoid in three straight pieces (Howard et al. 2019).

    Args:
        input: a floating-point tensor.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.hardsigmoid(torch.tensor([-4.0, 0.0, 4.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    return ops.hardsigmoid.inplace(input) if inplace else ops.hardsigmoid(input)


def hardswish(input, inplace=False):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019).

    Args:
        input: a floating-point tensor.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.hardswish(torch.tensor([-4.0, 3.0]))
        tensor([-0., 3.])
    """
    return ops.hardswish.inplace(input) if inplace else ops.hardswish(input)


def threshold(input, threshold, value, inplace=False):
    """x where x > threshold, value elsewhere.

    Args:
        input: a tensor.
        threshold: the limit; elements equal to it are replaced.
        value: what replaces them.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.threshold(torch.tensor([-1.0, 0.5]), 0.0, 7.0)
        tensor([7.0000, 0.5000])
    """
    if inplace:
        return ops.threshold.inplace(input, threshold, value)
    return ops.threshold(input, threshold, value)


def elu(input, alpha=1.0, inplace=False):
    """x where x > 0, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2015).

    Args:
        input: a floating-point tensor.
        alpha: minus the limit at minus infinity; default 1.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.elu(torch.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """
    return ops.elu.inplace(input, alpha) if inplace else ops.elu(input, alpha)


def celu(input, alpha=1.0, inplace=False):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)) (Barron 2017).

    Args:
        input: a floating-point tensor.
        alpha: any number but 0; default 1.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Raises:
        RuntimeError: `alpha` is 0.

    Example:
        >>> import danlu as torch
        >>> torch.celu(torch.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """
    return ops.celu.inplace(input, alpha) if inplace else ops.celu(input, alpha)


def silu(input, inplace=False):
    """x * sigmoid(x), also called swish (Hendrycks and Gimpel 2016; Ramachandran et al. 2017).

    Args:
        input: a floating-point tensor.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.silu(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.7311])
    """
    return ops.silu.inplace(input) if inplace else ops.silu(input)


def mish(input, inplace=False):
    """x * tanh(softplus(x)) (Misra 2019).

    Args:
        input: a floating-point tensor.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.mish(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8651])
    """
    return ops.mish.inplace(input) if inplace else ops.mish(input)


def relu6(input, inplace=False):
    """min(max(0, x), 6).

    Args:
        input: a tensor.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.relu6(torch.tensor([-1.0, 8.0]))
        tensor([0., 6.])
    """
    return ops.hardtanh.inplace(input, 0.0, 6.0) if inplace else ops.hardtanh(input, 0.0, 6.0)


def selu(input, inplace=False):
    """scale * (max(0, x) + min(0, alpha * (exp(x) - 1))), with scale 1.0507 and alpha 1.6733
    (Klambauer et al. 2017).

    Args:
        input: a floating-point tensor.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.selu(torch.tensor([-1.0, 1.0]))
        tensor([-1.1113,  1.0507])
    """
    if inplace:
        return ops.elu.inplace(input, SELU_ALPHA, SELU_SCALE)
    return ops.elu(input, SELU_ALPHA, SELU_SCALE)


def rrelu(input, lower=_RRELU_LOWER, upper=_RRELU_UPPER, training=False, inplace=False):
    """Leaky ReLU whose slope is drawn from [lower, upper) for each element while training (Xu et
    al. 2015).

    Args:
        input: a floating-point tensor.
        lower: least slope; default 1/8.
        upper: largest slope; default 1/3.
        training: False takes the mean slope; default False.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Raises:
        RuntimeError: lower > upper.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.rrelu(torch.tensor([-1.0, 2.0]), 0.2, 0.4)
        tensor([-0.3000,  2.0000])
    """
    if not lower <= upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound, but got {lower} and "
            f"{upper}"
        )
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = _random_slopes(input._array, lower, upper, random.default_generator)
    scaled = ops.scale_by_noise
    return scaled.inplace(input, wrap(slopes)) if inplace else scaled(input, wrap(slopes))


def _random_slopes(array, lower, upper, generator):
    """One draw for each element up to 0, 1 elsewhere."""
    slopes = ns(array).ones_like(array)
    is_below = array <= 0
    unit = random.uniform(generator, (int(is_below.sum()),), float64.numpy)
    slopes[is_below] = unit * (upper - lower) + lower
    return slopes


def relu_(input):
    """`relu` into its input."""
    return relu(input, inplace=True)


def leaky_relu_(input, negative_slope=0.01):
    """`leaky_relu` into its input."""
    return leaky_relu(input, negative_slope, inplace=True)


def hardtanh_(input, min_val=-1.0, max_val=1.0):
    """`hardtanh` into its input."""
    return hardtanh(input, min_val, max_val, inplace=True)


def threshold_(input, threshold, value):
    """`threshold` into its input."""
    return ops.threshold.inplace(input, threshold, value)


def elu_(input, alpha=1.0):
    """`elu` into its input."""
    return elu(input, alpha, inplace=True)


def selu_(input):
    """`selu` into its input."""
    return selu(input, inplace=True)


def celu_(input, alpha=1.0):
    """`celu` into its input."""
    return celu(input, alpha, inplace=True)


def rrelu_(input, lower=_RRELU_LOWER, upper=_RRELU_UPPER, training=False):
    """`rrelu` into its input."""
    return rrelu(input, lower, upper, training, inplace=True)
