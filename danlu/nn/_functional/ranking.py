"""Losses on embeddings, rankings and margins, composed of smaller operators."""

from __future__ import annotations

import math

from danlu.nn._functional.distance import pairwise_distance
from danlu.nn._functional.reduction import legacy_reduction, reduce_losses
from danlu.ops.activation import logsigmoid, softplus
from danlu.ops.binary import minimum
from danlu.ops.checks import by_value, require_reduction
from danlu.ops.cross_entropy import pick_class
from danlu.ops.masking import where

__all__ = [
    "cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss",
    "multilabel_margin_loss", "multilabel_soft_margin_loss", "soft_margin_loss",
    "triplet_margin_loss", "triplet_margin_with_distance_loss",
]  # fmt: skip


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """log(1 + exp(-t x)) for targets t of 1 and -1.

    Args:
        input: scores.
        target: 1 or -1 for each element.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.soft_margin_loss(torch.zeros(2), torch.ones(2))
        tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    return reduce_losses(softplus(-target * input, 1.0, math.inf), reduction)


def multilabel_soft_margin_loss(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The mean over classes of -(t log s(x) + (1 - t) log s(-x)), with the sigmoid s.

    Args:
        input: scores.
        target: 0 or 1 for each class.
        weight: a weight for each class, or None.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, C), (N, C) -> () or, without reduction, (N)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.multilabel_soft_margin_loss(torch.zeros(1, 2), torch.ones(1, 2))
        tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return reduce_losses(losses.sum(-1) / input.shape[-1], reduction)


def cosine_embedding_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """1 - cos(x1, x2) for targets of 1, max(0, cos(x1, x2) - margin) for targets of -1.

    Args:
        input1: first vectors.
        input2: second vectors.
        target: 1 or -1 for each pair.
        margin: -1 to 1, best 0 to 0.5; default 0.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, D), (N, D), (N) or (D), (D), () -> () or, without reduction, the target's shape

    Raises:
        RuntimeError: shapes that do not fit.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(1, 2)
        >>> torch.nn.functional.cosine_embedding_loss(x, 2 * x, torch.tensor([-1.0]))
        tensor(1.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    dims = target.dim()
    if dims > 1:
        raise RuntimeError(
            "0D or 1D target tensor expected, multi-target not supported: "
            f"the target has shape {tuple(target.shape)}"
        )
    if input1.dim() != dims + 1 or input2.dim() != dims + 1:
        raise RuntimeError(
            f"{dims}D target tensor expects {dims + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    # PyTorch's epsilon stands under the root here, not beside the norm as in cosine_similarity
    epsilon = 1e-12
    product = (input1 * input2).sum(-1)
    norms = ((input1 * input1).sum(-1) + epsilon) * ((input2 * input2).sum(-1) + epsilon)
    cosine = product / norms.sqrt()
    losses = where(target == 1, 1 - cosine, 0.0) + where(
        target == -1, (cosine - margin).clamp(min=0), 0.0
    )
    return reduce_losses(losses, reduction)


def hinge_embedding_loss(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """x for targets of 1, max(0, margin - x) for targets of -1.

    Args:
        input: distances.
        target: 1 or -1 for each element.
        margin: default 1.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.hinge_embedding_loss(torch.tensor([0.2]), torch.tensor([-1.0]))
        tensor(0.8000)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    losses = where(target != 1, (margin - input).clamp(min=0), 0.0)
    losses = losses + where(target != -1, input, 0.0)
    return reduce_losses(losses, reduction)


def margin_ranking_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """max(0, -t (x1 - x2) + margin): the first is to be larger where t is 1, smaller where it is
    -1.

    Args:
        input1: first scores.
        input2: second scores.
        target: 1 or -1 for each pair.
        margin: default 0.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N), (N), (N) -> () or, without reduction, (N)

    Raises:
        RuntimeError: different numbers of axes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.margin_ranking_loss(*torch.tensor([[1.0], [3.0], [1.0]]))
        tensor(2.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduce_losses((-target * (input1 - input2) + margin).clamp(min=0), reduction)


def _rows_and_targets(input, target, what):
    """The input as (N, C) and class indices as (N), whatever a single sample looks like."""
    rows = input if input.dim() > 1 else input.reshape(1, -1)
    if input.dim() > 2 or rows.shape[1] == 0 or target.numel() != rows.shape[0] or target.dim() > 1:
        raise RuntimeError(
            f"inconsistent target size, expected {rows.shape[0]} but got {list(target.shape)} "
            f"({what} with an input of {list(input.shape)})"
        )
    return rows, target.reshape(-1)


def multi_margin_loss(
    input,
    target,
    p=1,
    margin=1.0,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """The mean over classes i other than the true y of max(0, margin - x_y + x_i)^p.

    Args:
        input: scores of the classes.
        target: the true class of each sample.
        p: 1 or 2; default 1.
        margin: default 1.
        weight: a weight for each class, or None.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, C), (N) or (C), () -> () or, without reduction, the target's shape

    Raises:
        ValueError: `p` is neither 1 nor 2.
        RuntimeError: shapes that do not fit, or a class out of range.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.multi_margin_loss(torch.tensor([[0.1, 0.8]]), torch.tensor([1]))
        tensor(0.1500)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"only p == 1 and p == 2 supported, got {p}")
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"weight must be one-dimensional, got shape {tuple(weight.shape)}")
    rows, classes = _rows_and_targets(input, target, "multi_margin_loss")
    count = rows.shape[1]
    _require_classes_below(classes._array, count)
    terms = (margin - pick_class(rows, classes).unsqueeze(1) + rows).clamp(min=0)  # (N, C)
    terms = terms if p == 1 else terms * terms
    if weight is not None:
        terms = terms * weight[classes].unsqueeze(1)
    is_true = rows.new_zeros(rows.shape, dtype=bool).scatter_(1, classes.unsqueeze(1), True)
    losses = terms.masked_fill(is_true, 0.0).sum(1) / count
    return reduce_losses(losses.reshape(target.shape), reduction)


@by_value()
def _require_classes_below(classes, count):
    if ((classes < 0) | (classes >= count)).any():
        raise RuntimeError(f"target out of range: classes lie between 0 and {count - 1}")


@by_value()
def _require_labels_below(labels, count):
    if ((labels < -1) | (labels >= count)).any():
        raise RuntimeError(
            f"argument #2 'target' is out of range: classes lie between 0 and {count - 1}"
        )


def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """The sum over true classes j and other classes i of max(0, 1 - x_j + x_i), divided by the
    number of classes.

    Args:
        input: scores of the classes.
        target: the true classes of each sample from the left, ended by -1.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, C), (N, C) or (C), (C) -> () or, without reduction, (N) or ()

    Raises:
        RuntimeError: shapes that do not fit, or a class out of range.

    Example:
        >>> import danlu as torch
        >>> x, y = torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([[3, 0, -1, 1]])
        >>> torch.nn.functional.multilabel_margin_loss(x, y)
        tensor(0.8500)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.dim() > 2 or target.shape != input.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for an input of size: "
            f"{list(input.shape)}"
        )
    rows = input if input.dim() == 2 else input.reshape(1, -1)
    labels = target.reshape(rows.shape)
    count = rows.shape[1]
    _require_labels_below(labels._array, count)
    is_label = (labels == -1).cumsum(1) == 0  # (N, C): before the first -1
    safe = labels.masked_fill(~is_label, 0)
    is_true = rows.new_zeros(rows.shape).scatter_add_(1, safe, is_label.to(rows.dtype)) > 0
    margins = (1 - rows.gather(1, safe).unsqueeze(2) + rows.unsqueeze(1)).clamp(
        min=0
    )  # (N, labels, C)
    counted = is_label.unsqueeze(2) & ~is_true.unsqueeze(1)
    losses = margins.masked_fill(~counted, 0.0).sum((1, 2)) / count
    return reduce_losses(losses if input.dim() == 2 else losses[0], reduction)


def _check_margin(margin):
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")


def _triplet(anchor, positive, negative, distance, margin, swap, reduction):
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and "
            f"negative {negative.dim()}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:  # Balntas et al. 2016: the negative may be nearer to the positive than to the anchor
        far = minimum(far, distance(positive, negative))
    return reduce_losses((margin + near - far).clamp(min=0), reduction)


def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with the p-norm distance d.

    Args:
        anchor: vectors.
        positive: vectors that are to be near.
        negative: vectors that are to be far.
        margin: above 0; default 1.
        p: order of the norm; default 2.
        eps: added to the differences, which keeps the norm differentiable; default 1e-6.
        swap: use the negative's distance from the positive where it is smaller; default False.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, D) three times -> () or, without reduction, (N)

    Raises:
        ValueError: `margin` is not positive.
        RuntimeError: different numbers of axes.

    Example:
        >>> import danlu as torch
        >>> a = torch.zeros(1, 2)
        >>> torch.nn.functional.triplet_margin_loss(a, a, a + 10)
        tensor(0.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    _check_margin(margin)

    def distance(x, y):
        return pairwise_distance(x, y, p, eps)

    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor,
    positive,
    negative,
    *,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
):
    """`triplet_margin_loss` with a distance of one's own.

    Args:
        anchor: vectors.
        positive: vectors that are to be near.
        negative: vectors that are to be far.
        distance_function: a function of two tensors; default `pairwise_distance`.
        margin: above 0; default 1.
        swap: use the negative's distance from the positive where it is smaller; default False.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, D) three times -> () or, without reduction, (N)

    Raises:
        ValueError: `margin` is not positive.
        RuntimeError: different numbers of axes.

    Example:
        >>> import danlu as torch
        >>> a = torch.zeros(1, 2)
        >>> torch.nn.functional.triplet_margin_with_distance_loss(a, a, a + 10)
        tensor(0.)
    """
    require_reduction(reduction)
    _check_margin(margin)
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)
