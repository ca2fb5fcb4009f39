"""Table look-ups and one-hot rows."""

from __future__ import annotations

import warnings

import numpy as np

from danlu.kernels.graph.library import node
from danlu.ops.checks import by_value, scalar_type
from danlu.ops.embedding import check_indices, embedding_rows
from danlu.ops.registry import ns
from danlu.tensor import wrap

__all__ = ["embedding", "embedding_bag", "one_hot"]


def _padding_row(padding_idx, rows):
    """The row `padding_idx` counted from the start; -1 for None."""
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise AssertionError(
            f"Padding_idx must be within num_embeddings: it is {padding_idx}, the table has {rows} "
            "rows"
        )
    return padding_idx % rows


def _renormalize(weight, indices, max_norm, norm_type):
    """Shorten the rows that are looked up to `max_norm`, in place and unrecorded."""
    table = weight._array
    if isinstance(table, np.ndarray):
        _shorten(table, indices, max_norm, norm_type)
    else:
        table[...] = _shortened(table, indices, max_norm, norm_type)
    weight._writes[0] += 1


def _shorten(table, indices, max_norm, norm_type):
    check_indices(indices, table.shape[0])
    rows = np.unique(indices)
    lengths = (abs(table[rows]) ** norm_type).sum(axis=1) ** (1 / norm_type)
    is_long = lengths > max_norm
    scale = max_norm / (lengths[is_long] + 1e-7)
    table[rows[is_long]] *= scale.astype(table.dtype)[:, None]


@node
def _shortened(table, indices, max_norm, norm_type):
    made = table.copy()
    _shorten(made, indices, max_norm, norm_type)
    return made


def embedding(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    """weight[input]: the rows of a table that the indices name.

    Args:
        input: indices (int64 or int32).
        weight: the table.
        padding_idx: a row that learns nothing, or None.
        max_norm: shorten longer rows to this norm in place first; default None.
        norm_type: order of that norm; default 2.
        scale_grad_by_freq: divide each row's gradient by how often it is looked up; default False.
        sparse: accepted; gradients are dense here.

    Shape:
        (*), (V, D) -> (*, D)

    Raises:
        IndexError: an index out of range.
        RuntimeError: indices of another dtype.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.embedding(torch.tensor([2, 0]), torch.tensor([[1.0], [2.0], [3.0]]))
        tensor([[3.],
                [1.]])
    """
    padding_idx = -1 if padding_idx is None else _padding_row(padding_idx, weight.shape[0])
    if max_norm is not None:
        _renormalize(weight, input._array, max_norm, norm_type)
    return embedding_rows(weight, input, padding_idx, scale_grad_by_freq)


def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """The sum, mean or maximum of the looked-up rows of each bag of indices.

    Args:
        input: a matrix with one bag per row, or a vector of all bags one after another.
        weight: the table.
        offsets: for a vector, where each bag begins.
        max_norm: shorten longer rows to this norm in place first; default None.
        norm_type: order of that norm; default 2.
        scale_grad_by_freq: divide each row's gradient by how often it is looked up; default False.
        mode: "sum", "mean" or "max"; default "mean".
        sparse: accepted; gradients are dense here.
        per_sample_weights: a factor for each index, with mode "sum"; or None.
        include_last_offset: whether the last offset is the end of the last bag; default False.
        padding_idx: indices of this row do not count; or None.

    Shape:
        (B, L), (V, D) -> (B, D), or (L), (V, D), (B) -> (B, D)

    Raises:
        ValueError: shapes, offsets or a mode that do not fit.
        IndexError: an index out of range.

    Example:
        >>> import danlu as torch
        >>> table = torch.tensor([[1.0], [2.0], [4.0]])
        >>> torch.nn.functional.embedding_bag(torch.tensor([[0, 1], [2, 2]]), table, mode="sum")
        tensor([[3.],
                [8.]])
    """
    if not weight.dtype.is_floating_point and input.is_floating_point():
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. "
            "Usage `embedding_bag(weight, input, ...)` is deprecated, "
            "and should now be `embedding_bag(input, weight, ...)`.",
            stacklevel=2,
        )
        input, weight = weight, input
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, "
            f"then it must have the same shape as the input ({input.shape})"
        )
    if weight.dim() != 2:
        raise ValueError(
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}"
        )
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode has to be one of sum, mean or max, but got {mode!r}")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    bag_of, bags = _bags(input, offsets, include_last_offset)
    indices = input.reshape(-1)
    if max_norm is not None:
        _renormalize(weight, indices._array, max_norm, norm_type)
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}')."
        )
    padding_row = _padding_row(padding_idx, weight.shape[0])
    rows = embedding_rows(weight, indices, padding_row, scale_grad_by_freq)  # (L, D)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    spare = include_last_offset or padding_row >= 0
    if padding_row >= 0:
        bag_of = np.where(indices._array == padding_row, bags, bag_of)
    return _reduce_bags(rows, bag_of, bags, bool(spare), mode)


def _bags(input, offsets, include_last_offset):
    """The bag of each index, one more than the last bag's for those after it, and how many bags
    there are."""
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        return np.repeat(np.arange(input.shape[0]), input.shape[1]), input.shape[0]
    if input.dim() != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.dim() != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    bounds, length = offsets._array, input.shape[0]
    if bounds.size:
        _require_offsets(bounds, length)
    bag_of = np.searchsorted(bounds, np.arange(length), side="right") - 1
    return bag_of, len(bounds) - bool(include_last_offset)


@by_value()
def _require_offsets(bounds, length):
    if bounds[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {int(bounds[0])}"
        )
    if bounds[-1] > length:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length({length}) but got offsets[-1] of "
            f"{int(bounds[-1])}"
        )
    if (np.diff(bounds) < 0).any():
        raise RuntimeError("offsets must not decrease: a bag ends where the next one begins")


def _reduce_bags(rows, bag_of, bags, spare, mode):
    """(L, D) -> (B, D); `spare` says that there are rows of a bag after the last one, which do not
    count."""
    if mode == "max":
        counted = ns(bag_of).flatnonzero(bag_of < bags) if spare else slice(None)
        chosen, source = _largest_rows(rows._array[counted], bag_of[counted], bags)
        source = counted[source] if spare else source
        out = rows.new_zeros((bags, rows.shape[1]))
        return out.index_add(0, wrap(chosen), rows.gather(0, wrap(source)))
    places = wrap(bag_of)
    out = rows.new_zeros((bags + spare, rows.shape[1])).index_add(0, places, rows)
    if mode == "mean":
        ones = rows.new_ones(len(bag_of))
        counts = rows.new_zeros(bags + spare).index_add(0, places, ones).clamp(min=1)
        out = out / counts.unsqueeze(1)
    return out[:bags] if spare else out


def _largest_rows(values, bag_of, bags):
    """The bags that are not empty, and for each and every column the row of its largest value."""
    xp = ns(values)
    filled, starts = xp.unique(bag_of, return_index=True)
    ends = xp.append(starts[1:], len(bag_of))
    source = [start + values[start:end].argmax(axis=0) for start, end in zip(starts, ends)]
    empty = xp.zeros((0, values.shape[1]), dtype=bag_of.dtype)
    return filled, xp.stack(source) if source else empty


def one_hot(tensor, num_classes=-1):
    """Rows of zeros with a one where the class is.

    Args:
        tensor: class indices (int64).
        num_classes: length of the rows; default -1, one more than the largest index.

    Shape:
        (*) -> (*, num_classes)

    Raises:
        RuntimeError: another dtype, or a class out of range.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.one_hot(torch.tensor([1, 0]))
        tensor([[0, 1],
                [1, 0]])
    """
    array = tensor._array
    if array.dtype.name != "int64":
        raise RuntimeError(
            "one_hot is only applicable to index tensor of type LongTensor, got "
            f"{scalar_type(array)}: write .long()"
        )
    if not array.size:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    else:
        _require_classes(array, num_classes)
        if num_classes == -1:
            num_classes = int(array.max()) + 1
    return wrap((array[..., None] == ns(array).arange(num_classes)).astype(array.dtype))


@by_value()
def _require_classes(array, num_classes):
    if array.min() < 0:
        raise RuntimeError(f"Class values must be non-negative, got {int(array.min())}.")
    largest = int(array.max())
    if num_classes != -1 and num_classes <= largest:
        if num_classes < 1:
            raise RuntimeError("num_classes should be positive")
        raise RuntimeError(
            f"Class values must be smaller than num_classes: {largest} is not below {num_classes}."
        )
