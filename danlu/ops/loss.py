"""Losses that compare a prediction with a target element by element, each one node.

`reduction` is "mean", "sum" or "none" throughout. Input and target have one shape: the public
functions broadcast them beforehand where PyTorch does."""

from __future__ import annotations

from math import prod

import numpy as np

from danlu.ops.checks import require_floating, require_reduction, scalar_type
from danlu.ops.pointwise import sigmoid
from danlu.ops.registry import Array, ns, operator


def reduced(losses, reduction):
    """The mean or the sum of an array of losses, or the array itself."""
    if reduction == "mean":
        return losses.sum() / losses.dtype.type(losses.size)
    if reduction == "sum":
        return losses.sum()
    require_reduction(reduction)
    return losses


def upstream(g, reduction, shape):
    """The gradient that reaches each element of the unreduced losses."""
    return g * (1 / max(prod(shape), 1)) if reduction == "mean" else g


# ------------------------------------------------------------------------------ differences
@operator(promote="same", method=False, space="nn.functional")
def mse_loss(input: Array, target: Array, reduction="mean"):
    """(input - target)^2."""
    difference = input - target
    require_floating(difference, "mse_cpu")
    if reduction == "none":
        return difference * difference
    require_reduction(reduction)
    flat = difference.reshape(-1)
    total = flat.dot(flat)
    return total / flat.dtype.type(flat.size) if reduction == "mean" else total


def squares_slope(g, input, target, reduction):
    """The gradient with respect to the input."""
    return (input - target) * (upstream(g, reduction, input.shape) * 2.0)


mse_loss.vjps(
    # by their names in the module, where ops/quick.py puts others
    input=lambda g, input, target, reduction: squares_slope(g, input, target, reduction),
    target=lambda g, input, target, reduction: squares_slope(g, target, input, reduction),
)


@operator(promote="same", method=False, space="nn.functional", name="Mean")
def l1_loss(input: Array, target: Array, reduction="mean"):
    """|input - target|."""
    difference = input - target
    if reduction == "mean" and difference.dtype.kind in "iub":
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {scalar_type(difference)}: write .float()"
        )
    return reduced(abs(difference), reduction)


def _l1_slope(g, input, target, reduction):
    return ns(g).sign(input - target) * upstream(g, reduction, input.shape)


l1_loss.vjps(
    input=_l1_slope,
    target=lambda g, input, target, reduction: _l1_slope(g, target, input, reduction),
)


@operator(promote="same", method=False, space="nn.functional", name="SmoothL1Loss")
def smooth_l1_loss(input: Array, target: Array, reduction="mean", beta=1.0):
    """d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere."""
    require_floating(input, "smooth_l1_cpu")
    size = abs(input - target)
    quadratic = size * size * (0.5 / beta)
    return reduced(ns(input).where(size < beta, quadratic, size - 0.5 * beta), reduction)


def _smooth_l1_slope(g, input, target, reduction, beta):
    difference = input - target
    xp = ns(g)
    slope = xp.where(abs(difference) < beta, difference / beta, xp.sign(difference))
    return slope * upstream(g, reduction, input.shape)


smooth_l1_loss.vjps(
    input=_smooth_l1_slope,
    target=lambda g, input, target, reduction, beta: _smooth_l1_slope(
        g, target, input, reduction, beta
    ),
)


@operator(promote="same", method=False, space="nn.functional")
def huber_loss(input: Array, target: Array, reduction="mean", delta=1.0):
    """d^2 / 2 where |d| <= delta, delta (|d| - delta / 2) elsewhere."""
    require_floating(input, "huber_cpu")
    size = abs(input - target)
    linear = (size - 0.5 * delta) * delta
    return reduced(ns(input).where(size <= delta, size * size * 0.5, linear), reduction)


def _huber_slope(g, input, target, reduction, delta):
    difference = input - target
    xp = ns(g)
    slope = xp.where(abs(difference) <= delta, difference, xp.sign(difference) * delta)
    return slope * upstream(g, reduction, input.shape)


huber_loss.vjps(
    input=_huber_slope,
    target=lambda g, input, target, reduction, delta: _huber_slope(
        g, target, input, reduction, delta
    ),
)


# ------------------------------------------------------------------------------ binary cross
# entropy
_LOG_FLOOR = -100.0  # keeps the loss finite at probabilities of exactly 0 and 1
_SMALLEST_VARIANCE = 1e-12


@operator(method=False, space="nn.functional")
def binary_cross_entropy(
    input: Array, target: Array, weight: Array | None = None, reduction="mean"
):
    """-(t log p + (1 - t) log(1 - p)), logarithms not below -100."""
    if target.dtype != input.dtype:
        raise RuntimeError(
            f"Found dtype {scalar_type(target)} but expected {scalar_type(input)}: "
            "give the target the input's dtype, such as target.float()"
        )
    require_floating(input, "binary_cross_entropy")
    xp = ns(input)
    losses = (target - 1.0) * xp.maximum(xp.log1p(-input), _LOG_FLOOR)
    losses -= target * xp.maximum(xp.log(input), _LOG_FLOOR)
    if weight is not None:
        losses = losses * weight
    result = reduced(losses, reduction)
    # log makes NaN of what is no probability: only then is the range looked at
    undefined = result != result
    if (undefined.any() if result.ndim else undefined) and not ((input >= 0) & (input <= 1)).all():
        raise RuntimeError(
            "all elements of input should be between 0 and 1, but they lie between "
            f"{float(xp.nanmin(input)):g} and {float(xp.nanmax(input)):g}: pass sigmoid(output), "
            "or use binary_cross_entropy_with_logits on the output itself"
        )
    return result


def _weighted(g, reduction, weight, shape):
    g = upstream(g, reduction, shape)
    return g if weight is None else g * weight


def _bce_input(g, input, target, weight, reduction):
    variance = ns(g).maximum(input * (1.0 - input), _SMALLEST_VARIANCE)
    return (input - target) / variance * _weighted(g, reduction, weight, input.shape)


def _bce_target(g, input, weight, reduction):
    xp = ns(g)
    against = xp.maximum(xp.log1p(-input), _LOG_FLOOR)
    return (against - xp.maximum(xp.log(input), _LOG_FLOOR)) * _weighted(
        g, reduction, weight, input.shape
    )


binary_cross_entropy.vjps(input=_bce_input, target=_bce_target)


# Up to so many elements one slow logaddexp beats five fast operations.
_FEW = 1024


@operator(promote="same", method=False, space="nn.functional")
def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction="mean",
):
    """max(x, 0) - x t + log(1 + exp(-|x|)), the cross entropy of sigmoid(x) without overflow."""
    require_floating(input, "log_sigmoid_cpu")
    xp = ns(input)
    if pos_weight is None and input.size <= _FEW and input.dtype.kind == "f":
        losses = np.logaddexp(0.0, input) - input * target
    elif pos_weight is None:
        floor = input.dtype.type(0)  # ml_dtypes takes a Python 0.0 for a float32
        losses = xp.maximum(input, floor) - input * target + xp.log1p(xp.exp(-abs(input)))
    else:
        tail = xp.log1p(xp.exp(-abs(input)))
        certainty = (pos_weight - 1.0) * target + 1.0
        losses = (1.0 - target) * input + certainty * (tail + xp.maximum(-input, 0.0))
    if weight is not None:
        losses = losses * weight
    return reduced(losses, reduction)


def logits_slope(g, input, target, weight, pos_weight, reduction):
    """The gradient with respect to the logits."""
    if pos_weight is None:
        slope = sigmoid.on(input) - target
    else:
        certainty = (pos_weight - 1.0) * target + 1.0
        slope = 1.0 - target - certainty * sigmoid.on(-input)
    return slope * _weighted(g, reduction, weight, input.shape)


def _logits_target(g, input, weight, pos_weight, reduction):
    slope = -input
    if pos_weight is not None:
        xp = ns(g)
        tail = xp.log1p(xp.exp(-abs(input))) + xp.maximum(-input, 0.0)
        slope = slope + (pos_weight - 1.0) * tail
    return slope * _weighted(g, reduction, weight, input.shape)


binary_cross_entropy_with_logits.vjps(
    input=lambda g, input, target, weight, pos_weight, reduction: logits_slope(
        g, input, target, weight, pos_weight, reduction
    ),
    target=_logits_target,
)
