"""Padding of a tensor's last dimensions."""

from __future__ import annotations

from danlu.kernels import resampling
from danlu.ops.registry import Array, ns, operator
from danlu.ops.resampling import resample

__all__ = ["constant_pad_nd", "pad"]


@operator(method=False, name="ConstantPadNd")
def constant_pad_nd(input: Array, pad, value=0):
    """A tensor with `value` around it; negative padding cuts.

    Args:
        input: any tensor.
        pad: (before, after) of the last dimension, then of the one before it, and so on.
        value: what to fill with; default 0.

    Shape:
        (*, n) -> (*, before + n + after)

    Example:
        >>> import danlu as torch
        >>> torch.constant_pad_nd(torch.tensor([1, 2]), [1, 2])
        tensor([0, 1, 2, 0, 0])
    """
    pairs = list(zip(pad[::2], pad[1::2]))[::-1]
    pairs = [(0, 0)] * (input.ndim - len(pairs)) + pairs
    shape = [size + before + after for size, (before, after) in zip(input.shape, pairs)]
    out = ns(input).full(shape, value, dtype=input.dtype)
    target = tuple(slice(max(b, 0), n - max(a, 0)) for n, (b, a) in zip(shape, pairs))
    source = tuple(slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(input.shape, pairs))
    out[target] = input[source]
    return out


@constant_pad_nd.vjp
def _(g, pad):
    return constant_pad_nd.on(g, tuple(-each for each in pad), 0)


_NODE_NAMES = {"reflect": "ReflectionPad", "replicate": "ReplicationPad", "circular": "CircularPad"}


def pad(input, pad, mode="constant", value=None):
    """A tensor with more elements at the ends of its last dimensions.

    Args:
        input: the tensor; the modes other than "constant" pad all dimensions but the first one or
            two.
        pad: (before, after) of the last dimension, then of the one before it, and so on; negative
            numbers cut.
        mode: "constant" (default), "reflect" (mirrored without repeating the edge), "replicate"
            (the
            edge) or "circular" (the other end).
        value: what "constant" fills with; default 0.

    Shape:
        (*, n) -> (*, before + n + after)

    Raises:
        RuntimeError: an odd number of values, or more than the input or the mode allows.
        NotImplementedError: an unknown mode, or dimensions that the mode does not have.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.pad(torch.tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect")
        tensor([[3., 2., 1., 2., 3., 2.]])
    """
    amounts = tuple(int(each) for each in pad)
    if len(amounts) % 2:
        raise RuntimeError(
            "Padding length must be divisible by 2: it holds pairs (before, after), but got "
            f"{amounts}"
        )
    if len(amounts) > 2 * input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(amounts)} and input of dimension {input.ndim}"
        )
    if mode == "constant":
        for size, before, after in zip(tuple(input.shape)[::-1], amounts[::2], amounts[1::2]):
            if size + before + after < 0:
                raise RuntimeError(
                    f"pad {amounts} cuts more than there is from a tensor of size "
                    f"{list(input.shape)}"
                )
        return constant_pad_nd(input, amounts, 0 if value is None else value)
    if mode not in _NODE_NAMES:
        raise NotImplementedError(
            f"Unrecognised padding mode {mode}: expected 'constant', 'reflect', 'replicate' or "
            "'circular'"
        )
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    rank = len(amounts) // 2
    if rank not in (1, 2, 3) or input.ndim not in (rank + 1, rank + 2):
        raise NotImplementedError(
            f"Padding size {len(amounts)} is not supported for {input.ndim}D input tensor: mode "
            f"{mode!r} "
            "pads all dimensions but the first one or two (batch and channels)"
        )
    pairs = list(zip(amounts[::2], amounts[1::2]))[::-1]
    sizes = tuple(input.shape[-rank:])
    for axis, (size, (before, after)) in enumerate(zip(sizes, pairs)):
        _check_room(input, mode, input.ndim - rank + axis, size, before, after)
    tables = tuple(
        resampling.surroundings(size, before, after, mode) if before or after else None
        for size, (before, after) in zip(sizes, pairs)
    )
    return resample(f"{_NODE_NAMES[mode]}{rank}D", input, tables)


def _check_room(input, mode, dim, size, before, after):
    most = max(before, after)
    if mode == "circular" and most > size:
        raise RuntimeError(
            "Padding value causes wrapping around more than once: "
            f"padding ({before}, {after}) at dimension {dim} of input {list(input.shape)}"
        )
    if mode == "reflect" and most >= size:
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but "
            "got: "
            f"padding ({before}, {after}) at dimension {dim} of input {list(input.shape)}"
        )
    if size == 0 or size + before + after < 1:
        raise RuntimeError(
            f"padding ({before}, {after}) leaves nothing at dimension {dim} of input "
            f"{list(input.shape)}"
        )
