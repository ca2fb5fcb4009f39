"""The cross entropy of a linear map's output: a classifier's last layer and its loss in one."""

from __future__ import annotations

from danlu.nn._functional.loss import cross_entropy
from danlu.ops.linear import linear

__all__ = ["linear_cross_entropy"]


def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """The cross entropy of softmax(input W^T + b) against classes, or against class probabilities.

    Args:
        input: features.
        linear_weight: W, a row for each class, or for each class and position of the target.
        target: classes, or probabilities.
        linear_bias: b, or None.
        weight: one weight per class, or None.
        reduction: "mean", "sum" or "none"; default "mean".
        ignore_index: a class that does not count; default None, which means -100.
        label_smoothing: share of the uniform distribution in the target, 0 to 1; default 0.
        options: None; PyTorch's options cut the batch into chunks to save memory.

    Shape:
        (F) or (N, F), (C, d1, ..., F) -> () or, without reduction, (N, d1, ...)

    Raises:
        RuntimeError: shapes that do not fit, or an ignored class among probabilities.
        ValueError: other options than None.

    Example:
        >>> import danlu as torch
        >>> x, w = torch.zeros(2, 3), torch.zeros(4, 3)
        >>> torch.nn.functional.linear_cross_entropy(x, w, torch.tensor([0, 3]))
        tensor(1.3863)
    """
    if options is not None:
        raise ValueError(
            "linear_cross_entropy: danlu takes the whole batch at once; write options=None"
        )
    _check_shapes(input, linear_weight, linear_bias)
    classes, *positions, features = linear_weight.shape
    logits_shape = (*input.shape[:-1], classes, *positions)
    if tuple(target.shape) == logits_shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    flat_bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight.reshape(-1, features), flat_bias)  # (N, C * d1 * ...)
    return cross_entropy(
        logits.reshape(logits_shape),
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
    )


def _check_shapes(input, linear_weight, linear_bias):
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}"
        )
    given, wanted = input.shape[-1], linear_weight.shape[-1]
    if given != wanted:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{given} and {wanted}, respectively"
        )
    logits_of_one = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != logits_of_one:
        raise RuntimeError(
            f"expected linear_bias shape {logits_of_one}, got {tuple(linear_bias.shape)}"
        )
    if linear_weight.dim() > 2 and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} "
            f"requires batched input, (N, {wanted}), got unbatched input with shape "
            f"{tuple(input.shape)}"
        )
