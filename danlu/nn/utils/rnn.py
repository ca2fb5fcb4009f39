"""Sequences of different lengths: packing, padding, and back."""

from __future__ import annotations

from collections import namedtuple
from itertools import pairwise

from danlu.backend.dtypes import int64
from danlu.ops.creation import full, tensor
from danlu.ops.joining import cat, stack
from danlu.ops.padding import constant_pad_nd
from danlu.tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(
    namedtuple("PackedSequence", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"])
):
    """The rows of sequences of different lengths, step after step, without padding.

    Attributes:
        data: (R, *) rows; all of the first step, then all of the second, the longest sequence
            first.
        batch_sizes: how many rows each step has.
        sorted_indices: the order that put the longest sequence first, or None if it was so.
        unsorted_indices: the inverse order, or None.

    `pack_padded_sequence` and `pack_sequence` make it.

    Example:
        >>> import danlu as torch
        >>> torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.zeros(1)]).batch_sizes
        tensor([2, 1, 1])
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None:
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def __getnewargs__(self):
        return tuple(self)

    def to(self, *args, **kwargs):
        """The same sequences with `data.to(...)`."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._replaced(data)

    def _replaced(self, data):
        return type(self)(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    @property
    def is_cuda(self):
        """Whether the rows are on a CUDA device."""
        return self.data.is_cuda

    def is_pinned(self):
        """Whether the rows are in pinned memory."""
        return self.data.is_pinned()

    def pin_memory(self):
        """The same sequences with pinned rows."""
        return self._replaced(self.data.pin_memory())

    def cuda(self, *args, **kwargs):
        """The same sequences on a CUDA device."""
        return self._replaced(self.data.cuda(*args, **kwargs))

    def cpu(self):
        """The same sequences on the CPU."""
        return self._replaced(self.data.cpu())

    def double(self):
        """The same sequences in float64."""
        return self._replaced(self.data.double())

    def float(self):
        """The same sequences in float32."""
        return self._replaced(self.data.float())

    def half(self):
        """The same sequences in float16."""
        return self._replaced(self.data.half())

    def long(self):
        """The same sequences in int64."""
        return self._replaced(self.data.long())

    def int(self):
        """The same sequences in int32."""
        return self._replaced(self.data.int())

    def short(self):
        """The same sequences in int16."""
        return self._replaced(self.data.short())

    def char(self):
        """The same sequences in int8."""
        return self._replaced(self.data.char())

    def byte(self):
        """The same sequences in uint8."""
        return self._replaced(self.data.byte())


def invert_permutation(permutation):
    """The permutation that undoes another one; None for None.

    Example:
        >>> import danlu as torch
        >>> torch.nn.utils.rnn.invert_permutation(torch.tensor([2, 0, 1]))
        tensor([1, 2, 0])
    """
    return None if permutation is None else permutation.argsort()


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Take the padding out of a batch of sequences.

    Args:
        input: the padded sequences.
        lengths: the length of each, a list or an int64 tensor.
        batch_first: whether the batch is the input's first axis; default False.
        enforce_sorted: whether to insist on the longest sequence being first (default) instead of
            sorting.

    Shape:
        (T, N, *) -> a `PackedSequence` of sum(lengths) rows

    Raises:
        RuntimeError: lengths that are not sorted, not positive, or do not fit the input.

    Example:
        >>> import danlu as torch
        >>> padded = torch.tensor([[1, 4], [2, 5], [3, 0]])
        >>> torch.nn.utils.rnn.pack_padded_sequence(padded, [3, 2]).data
        tensor([1, 4, 2, 5, 3])
    """
    if not isinstance(lengths, Tensor):
        lengths = tensor(lengths, dtype=int64)
    elif lengths.dtype.name != "int64" or lengths.device.type != "cpu":
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.ndim}D {lengths.device} {lengths.dtype} tensor"
        )
    sorted_indices = None
    if not enforce_sorted:
        lengths, sorted_indices = lengths.sort(descending=True)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    steps, batch = input.shape[:2][:: -1 if batch_first else 1]
    counts = lengths.tolist()
    _check_lengths(counts, steps, batch)
    sizes = [sum(count > t for count in counts) for t in range(counts[0])]
    if batch_first:
        input = input.transpose(0, 1)
    rows = [t * batch + k for t, size in enumerate(sizes) for k in range(size)]
    data = input.reshape(steps * batch, *input.shape[2:]).index_select(0, tensor(rows))
    return PackedSequence(data, tensor(sizes), sorted_indices, None)


def _check_lengths(counts, steps, batch):
    if len(counts) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
            f"(batch_size={batch})"
        )
    if not counts or min(counts) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if any(first < second for first, second in pairwise(counts)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this "
            "requirement if you do not need ONNX exportability."
        )
    if counts[0] > steps:
        raise RuntimeError(
            f"Expected lengths of at most the input's {steps} steps, but got a length of "
            f"{counts[0]}: give the lengths before padding, and batch_first=True if the first "
            "dimension of the input is the batch"
        )


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The inverse of `pack_padded_sequence`: the padded batch, and the lengths.

    Args:
        sequence: a `PackedSequence`.
        batch_first: whether the batch is to be the first axis; default False.
        padding_value: what to pad with; default 0.
        total_length: the number of steps to pad to; default: the longest sequence's.

    Raises:
        ValueError: total_length is below the longest sequence's.

    Example:
        >>> import danlu as torch
        >>> packed = torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])])
        >>> torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        (tensor([[1, 2],
                [3, 0]]), tensor([2, 1]))
    """
    data, batch_sizes, _, unsorted_indices = sequence
    sizes = batch_sizes.tolist()
    steps, batch = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                "but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    padding_row = full((1, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    rows, start = [], 0
    for t in range(steps):
        size = sizes[t] if t < len(sizes) else 0
        rows += [*range(start, start + size), *[len(data)] * (batch - size)]
        start += size
    padded = cat((data, padding_row)).index_select(0, tensor(rows))
    padded = padded.reshape(steps, batch, *data.shape[1:])
    lengths = tensor([sum(size > k for size in sizes) for k in range(batch)])
    if batch_first:
        padded = padded.transpose(0, 1)
    if unsorted_indices is not None:
        axis = 0 if batch_first else 1
        return padded.index_select(axis, unsorted_indices), lengths[unsorted_indices]
    return padded, lengths


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Stack sequences of different lengths into one padded batch.

    Args:
        sequences: tensors that differ in their first axis only.
        batch_first: whether the batch is to be the first axis; default False.
        padding_value: what to pad with; default 0.
        padding_side: "right" (default) or "left".

    Shape:
        tensors of (L_i, *) -> (max L_i, N, *)

    Raises:
        RuntimeError: no sequence of tensors, or an unknown side.

    Example:
        >>> import danlu as torch
        >>> sequences = [torch.tensor([1, 2]), torch.tensor([3])]
        >>> torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
        tensor([[1, 2],
                [3, 0]])
    """
    if isinstance(sequences, Tensor):
        sequences = sequences.unbind(0)
    elif not hasattr(sequences, "__iter__"):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("right", "left"):
        raise RuntimeError(
            f"padding_side must be either 'right' or 'left', but got padding_side='{padding_side}'"
        )
    longest = max(each.shape[0] for each in sequences)
    padded = []
    for each in sequences:
        missing = longest - each.shape[0]
        pair = (0, missing) if padding_side == "right" else (missing, 0)
        amounts = (0, 0) * (each.ndim - 1) + pair
        padded.append(constant_pad_nd(each, amounts, padding_value) if missing else each)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The inverse of `pad_sequence`: the sequences as a list.

    Args:
        padded_sequences: the padded batch.
        lengths: the length of each sequence.
        batch_first: whether the batch is the first axis; default False.

    Example:
        >>> import danlu as torch
        >>> torch.nn.utils.rnn.unpad_sequence(torch.tensor([[1, 3], [2, 0]]), torch.tensor([2, 1]))
        [tensor([1, 2]), tensor([3])]
    """
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [each[: int(length)] for each, length in zip(padded_sequences, lengths)]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack a list of sequences of different lengths.

    Args:
        sequences: tensors that differ in their first axis only.
        enforce_sorted: whether to insist on the longest sequence being first (default) instead of
            sorting.

    Example:
        >>> import danlu as torch
        >>> torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]).data
        tensor([1, 3, 2])
    """
    lengths = tensor([each.shape[0] for each in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The inverse of `pack_sequence`: the sequences as a list.

    Example:
        >>> import danlu as torch
        >>> rnn = torch.nn.utils.rnn
        >>> rnn.unpack_sequence(rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]))
        [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
