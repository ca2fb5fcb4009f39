"""Texts of different lengths as one tensor."""

from __future__ import annotations

import numpy as np

from danlu.ops.creation import tensor
from danlu.ops.joining import stack
from danlu.tensor import Tensor

__all__ = ["PadCollate", "pad_sequences"]


def pad_sequences(
    sequences, length: int | None = None, value=0, padding_side="left", truncation_side="left"
) -> Tensor:
    """Sequences of different lengths as one tensor, filled up or cut off to one length.

    Args:
        sequences: lists, arrays or tensors of numbers.
        length: of the result; longer sequences are cut off. Default: that of the longest
        value: what to fill up with. Default: 0
        padding_side: where to fill up, "left" (the default) or "right".
        truncation_side: where to cut off, "left" (the default: the last numbers stay) or "right".

    Shape:
        N sequences of (L_i) -> (N, length)

    Raises:
        ValueError: no sequences, an unknown side, or a length below 1.

    Example:
        >>> from danlu.text import pad_sequences
        >>> pad_sequences([[5, 6, 7, 8], [9]], length=3)
        tensor([[6, 7, 8],
                [0, 0, 9]])
        >>> pad_sequences([[5, 6, 7, 8], [9]], 3, padding_side="right", truncation_side="right")
        tensor([[5, 6, 7],
                [9, 0, 0]])
    """
    _check_sides(padding_side, truncation_side)
    if length is not None and length < 1:
        raise ValueError(f"pad_sequences: length must be at least 1, got {length}")
    rows = [_row(each, i) for i, each in enumerate(sequences)]
    if not rows:
        raise ValueError("pad_sequences: there are no sequences")
    if length is None:
        length = max(len(row) for row in rows)
    # An empty list says nothing about the type of its numbers.
    dtype = np.result_type(*[row.dtype for row in rows if row.size] or [np.dtype(np.int64)])
    padded = np.full((len(rows), length), value, dtype)
    for target, row in zip(padded, rows):
        row = row[-length:] if truncation_side == "left" else row[:length]
        if padding_side == "left":
            target[length - len(row) :] = row
        else:
            target[: len(row)] = row
    return tensor(padded)


def _check_sides(padding_side, truncation_side):
    for name, side in (("padding_side", padding_side), ("truncation_side", truncation_side)):
        if side not in ("left", "right"):
            raise ValueError(f"pad_sequences: {name} must be 'left' or 'right', got {side!r}")


def _row(sequence, position) -> np.ndarray:
    row = sequence.detach().cpu().numpy() if isinstance(sequence, Tensor) else np.asarray(sequence)
    if not row.size and row.ndim == 1:
        return row
    if row.ndim != 1 or row.dtype.kind not in "biuf":
        raise ValueError(
            f"pad_sequences: sequence {position} must be a list of numbers, got "
            f"{str(sequence)[:60]!r}: encode tokens with a Vocabulary first"
        )
    return (
        row
        if row.dtype != np.float64 or isinstance(sequence, np.ndarray)
        else row.astype(np.float32)
    )


class PadCollate:
    """A ``collate_fn`` for a DataLoader whose samples are pairs of a sequence and a label.

    Args:
        value, length, padding_side, truncation_side: as for `pad_sequences`; without `length`,
            every batch is as long as its longest sequence.
        lengths: also return how long the sequences were, for ``pack_padded_sequence``.
            Default: False

    Shape:
        pairs of (L_i) and a number or tensor (*) -> (N, L) and (N, *); with `lengths`: (N, L), (N),
        (N, *)

    Example:
        >>> from danlu.text import PadCollate
        >>> collate = PadCollate(value=1, padding_side="right", lengths=True)
        >>> tokens, lengths, labels = collate([([5, 6, 7], 0.0), ([8], 1.0)])
        >>> tokens
        tensor([[5, 6, 7],
                [8, 1, 1]])
        >>> lengths, labels
        (tensor([3, 1]), tensor([0., 1.]))
    """

    def __init__(
        self, value=0, length=None, padding_side="left", truncation_side="left", lengths=False
    ):
        _check_sides(padding_side, truncation_side)
        self.value, self.length = value, length
        self.padding_side, self.truncation_side = padding_side, truncation_side
        self.lengths = lengths

    def __call__(self, samples):
        sequences, labels = zip(*samples)
        padded = pad_sequences(
            sequences, self.length, self.value, self.padding_side, self.truncation_side
        )
        labels = stack(labels) if isinstance(labels[0], Tensor) else tensor(labels)
        if not self.lengths:
            return padded, labels
        longest = padded.shape[1]
        return padded, tensor([min(len(each), longest) for each in sequences]), labels
