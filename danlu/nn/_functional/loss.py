"""Losses against targets: regression, binary and class targets."""

from __future__ import annotations

from danlu.nn._functional.reduction import (
    legacy_reduction,
    reduce_losses,
    same_size,
    shape_repair,
)
from danlu.ops import cross_entropy as class_ops
from danlu.ops import loss as ops
from danlu.ops.softmax import log_softmax

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss",
    "l1_loss", "mse_loss", "nll_loss", "smooth_l1_loss",
]  # fmt: skip


def _weighted_mean(losses, weight, input, reduction):
    """Losses times weights; their mean is taken over the sum of the weights."""
    if weight.shape != input.shape:
        raise ValueError(
            "Weights and input must have the same size, "
            f"but got {tuple(weight.shape)} and {tuple(input.shape)}."
        )
    losses = losses * weight
    return losses.sum() / weight.sum() if reduction == "mean" else reduce_losses(losses, reduction)


def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """The squared error (input - target)^2.

    Args:
        input: predictions.
        target: true values.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".
        weight: one weight per element, or None.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Raises:
        RuntimeError: shapes that do not broadcast; shapes that do warn.
        ValueError: an unknown reduction.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(2.)
    """
    if target._array.shape != input._array.shape:
        input, target = same_size(input, target)
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if weight is not None:
        return _weighted_mean(ops.mse_loss(input, target, "none"), weight, input, reduction)
    return ops.mse_loss(input, target, reduction)


def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """The absolute error |input - target|.

    Args:
        input: predictions.
        target: true values.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".
        weight: one weight per element, or None.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Raises:
        RuntimeError: shapes that do not broadcast; shapes that do warn.
        ValueError: an unknown reduction.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.l1_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(1.)
    """
    if target._array.shape != input._array.shape:
        input, target = same_size(input, target)
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if weight is not None:
        return _weighted_mean(ops.l1_loss(input, target, "none"), weight, input, reduction)
    return ops.l1_loss(input, target, reduction)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """d^2 / (2 beta) where |d| < beta and |d| - beta / 2 elsewhere, with d = input - target
    (Girshick 2015).

    Args:
        input: predictions.
        target: true values.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".
        beta: where the square turns into a line, 0 or more; default 1.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Raises:
        RuntimeError: a negative `beta`, or shapes that do not broadcast; shapes that do warn.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.smooth_l1_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(0.7500)
    """
    if target._array.shape != input._array.shape:
        input, target = same_size(input, target)
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if beta <= 0:
        if beta < 0:
            raise RuntimeError(
                f"smooth_l1_loss does not support negative values for beta, got {beta}"
            )
        return ops.l1_loss(input, target, reduction)
    return ops.smooth_l1_loss(input, target, reduction, beta)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """d^2 / 2 where |d| <= delta and delta (|d| - delta / 2) elsewhere, with d = input - target
    (Huber 1964).

    Args:
        input: predictions.
        target: true values.
        reduction: "mean", "sum" or "none"; default "mean".
        delta: where the square turns into a line, above 0; default 1.
        weight: one weight per element, or None; the mean stays over the number of elements.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Raises:
        RuntimeError: `delta` is not positive, or shapes do not broadcast; shapes that do warn.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.huber_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(0.7500)
    """
    if target._array.shape != input._array.shape:
        input, target = same_size(input, target)
    if delta <= 0:
        raise RuntimeError(
            f"huber_loss does not support non-positive values for delta, got {delta}"
        )
    if weight is None:
        return ops.huber_loss(input, target, reduction, delta)
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return reduce_losses(ops.huber_loss(input, target, "none", delta) * weight, reduction)


def binary_cross_entropy(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """-(t log p + (1 - t) log(1 - p)) of probabilities p, logarithms limited to -100.

    Args:
        input: probabilities, between 0 and 1.
        target: true probabilities, of the input's shape and dtype.
        weight: a weight that broadcasts against the input, or None.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Raises:
        ValueError: two shapes.
        RuntimeError: values outside [0, 1], or two dtypes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.binary_cross_entropy(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if target._array.shape != input._array.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
            + shape_repair(input.shape, target.shape)
        )
    return ops.binary_cross_entropy(input, target, weight, reduction)


def binary_cross_entropy_with_logits(
    input,
    target,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
    pos_weight=None,
):
    """The binary cross entropy of sigmoid(input), computed without overflow: max(x, 0) - x t +
    log(1 + exp(-|x|)).

    Args:
        input: logits.
        target: true probabilities, of the input's shape.
        weight: a weight that broadcasts against the input, or None.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".
        pos_weight: factor of the positive part, above 1 for recall, below for precision; None
            for 1.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Raises:
        ValueError: two shapes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.binary_cross_entropy_with_logits(torch.zeros(2), torch.ones(2))
        tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if target._array.shape != input._array.shape:
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})."
            + shape_repair(input.shape, target.shape)
        )
    return ops.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


def nll_loss(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """Minus the log-probability of the true class, weighted by class; a mean is over the sum of the
    weights.

    Args:
        input: log-probabilities.
        target: class indices (int64).
        weight: one weight per class, or None.
        size_average: deprecated, see `reduction`.
        ignore_index: a target that does not count; default -100.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (C), () or (N, C, d1, ...), (N, d1, ...) -> () or, without reduction, the target's shape

    Raises:
        IndexError: a class out of range.
        RuntimeError: targets of the wrong dtype or shape.
        ValueError: two batch sizes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.nll_loss(torch.tensor([[-1.0, -2.0]]), torch.tensor([1]))
        tensor(2.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    return class_ops.class_nll(input, target, weight, ignore_index, reduction)


def cross_entropy(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """The cross entropy of softmax(input) against classes, or against class probabilities.

    Args:
        input: logits.
        target: class indices (int64), or probabilities of the input's shape and a floating dtype.
        weight: one weight per class, or None.
        size_average: deprecated, see `reduction`.
        ignore_index: a class index that does not count; default -100.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean". The mean over class indices is weighted.
        label_smoothing: share of the uniform distribution in the target, 0 to 1; default 0
            (Szegedy et al. 2015).

    Shape:
        (C), () or (N, C, d1, ...), (N, d1, ...) -> () or, without reduction, (N, d1, ...)

    Raises:
        IndexError: a class out of range.
        RuntimeError: targets of the wrong dtype or shape.
        ValueError: two batch sizes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
        tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if label_smoothing == 0.0 and (
        target._array.shape != input._array.shape or target._array.dtype.kind in "iub"
    ):
        return class_ops.class_cross_entropy(input, target, weight, ignore_index, reduction)[0]
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    class_dim = 0 if input.dim() == 1 else 1
    if target.shape == input.shape:
        return _against_probabilities(input, target, weight, class_dim, reduction, label_smoothing)
    log_probabilities = log_softmax(input, class_dim)
    hard = class_ops.class_nll(log_probabilities, target, weight, ignore_index, reduction)
    soft = _against_uniform(log_probabilities, target, weight, class_dim, ignore_index, reduction)
    return hard * (1 - label_smoothing) + soft * (label_smoothing / input.shape[class_dim])


def _broadcast_weight(weight, ndim, class_dim):
    return weight.reshape([-1 if axis == class_dim else 1 for axis in range(ndim)])


def _against_probabilities(input, target, weight, class_dim, reduction, label_smoothing):
    if not target.is_floating_point():
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, got "
            f"{target.dtype!r}: write target.float(), or pass class indices with target.argmax(1)"
        )
    if weight is not None and tuple(weight.shape) != (input.shape[class_dim],):
        raise RuntimeError(
            "cross_entropy: weight tensor should be defined either for all "
            f"{input.shape[class_dim]} classes or no classes but got weight tensor of shape: "
            f"{list(weight.shape)}"
        )
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[class_dim]
    losses = log_softmax(input, class_dim) * target
    if weight is not None:
        losses = losses * _broadcast_weight(weight, input.dim(), class_dim)
    if reduction == "mean":
        return -losses.sum() / (input.numel() // max(input.shape[class_dim], 1))
    return reduce_losses(-losses.sum(class_dim), reduction)


def _against_uniform(log_probabilities, target, weight, class_dim, ignore_index, reduction):
    """The loss against equal targets, as the smoothed part of hard ones: ignored where they are."""
    weighted = log_probabilities
    if weight is not None:
        weighted = weighted * _broadcast_weight(weight, weighted.dim(), class_dim)
    ignored = target == ignore_index
    losses = (-weighted.sum(class_dim)).masked_fill(ignored, 0.0)
    if reduction != "mean":
        return reduce_losses(losses, reduction)
    if weight is None:
        return losses.sum() / (~ignored).sum()
    counted = weight[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0)
    return losses.sum() / counted.sum()
