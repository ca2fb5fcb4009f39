"""The `reduction` argument, its two predecessors, and shapes that do not fit."""

from __future__ import annotations

import warnings

from danlu.ops.checks import require_reduction
from danlu.ops.shape import broadcast_tensors

__all__ = ["legacy_reduction", "reduce_losses", "same_size", "shape_repair"]


def legacy_reduction(size_average, reduce, stacklevel=3):
    """The reduction that `size_average` and `reduce` of old mean, with PyTorch's warning."""
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    reduction = ("mean" if size_average else "sum") if reduce else "none"
    warnings.warn(
        "size_average and reduce args will be deprecated, please use "
        f"reduction='{reduction}' instead.",
        stacklevel=stacklevel,
    )
    return reduction


def reduce_losses(losses, reduction):
    """The mean or sum of a tensor of losses, or the tensor itself.

    Raises:
        ValueError: another word.
    """
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    require_reduction(reduction)
    return losses


def shape_repair(input_shape, target_shape) -> str:
    """What to write when input and target differ by axes of size 1."""
    if tuple(target_shape[:-1]) == tuple(input_shape) and target_shape[-1:] == (1,):
        return f" Write target.squeeze({len(input_shape)})."
    if tuple(input_shape[:-1]) == tuple(target_shape) and input_shape[-1:] == (1,):
        axis = len(target_shape)
        return f" Write target.unsqueeze({axis}), or squeeze the input with .squeeze({axis})."
    return ""


def same_size(input, target):
    """Input and target broadcast to one shape; a warning where they had two."""
    warnings.warn(
        f"Using a target size ({target.size()}) that is different to the input size "
        f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
        f"Please ensure they have the same size.{shape_repair(input.shape, target.shape)}",
        stacklevel=3,
    )
    return broadcast_tensors(input, target)
