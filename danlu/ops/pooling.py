"""Maximum pooling over windows and its partial inverse.

The gradient of a maximum pool finds the maxima again from input and output, so that a forward pass
without
gradients keeps nothing and costs two passes over the windows."""

from __future__ import annotations

import math
from functools import lru_cache

from danlu.kernels import pooling as kernels
from danlu.ops.checks import scalar_type
from danlu.ops.registry import Array, ns, operator

__all__ = [
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def planes(array, rank):
    """(*, *sizes) as (lead, *sizes)."""
    return array.reshape(
        math.prod(array.shape[: array.ndim - rank]), *array.shape[array.ndim - rank :]
    )


# ------------------------------------------------------------------------------ operators
def _max_pool(input, positions, kernel, stride, padding, dilation):
    rank = len(kernel)
    flat = planes(input, rank)
    if flat.size == 0:
        return ns(input).empty((*input.shape[:-rank], *positions), dtype=input.dtype)
    out = kernels.max_pool(flat, positions, kernel, stride, padding, dilation)
    return out.reshape(*input.shape[:-rank], *positions)


def _max_pool_rule(g, input, out, kernel, stride, padding, dilation):
    return max_pool_input.on(g, input, out, kernel, stride, padding, dilation)


@operator(method=False, name="MaxPool1D")
def max_pool1d_values(input: Array, positions, kernel, stride, padding, dilation):
    """The largest element of each window."""
    return _max_pool(input, positions, kernel, stride, padding, dilation)


@operator(method=False, name="MaxPool2DWithIndices")
def max_pool2d_values(input: Array, positions, kernel, stride, padding, dilation):
    """The largest element of each window."""
    return _max_pool(input, positions, kernel, stride, padding, dilation)


@operator(method=False, name="MaxPool3DWithIndices")
def max_pool3d_values(input: Array, positions, kernel, stride, padding, dilation):
    """The largest element of each window."""
    return _max_pool(input, positions, kernel, stride, padding, dilation)


_MAX_POOLS = {1: max_pool1d_values, 2: max_pool2d_values, 3: max_pool3d_values}
for _each in _MAX_POOLS.values():
    _each.vjp(_max_pool_rule)


@operator(method=False, name="MaxPoolInput")
def max_pool_input(
    grad: Array, input: Array, values: Array, kernel, stride, padding, dilation
):  # fmt: skip
    """The gradient of a maximum pool with respect to its input."""
    rank = len(kernel)
    if input.size == 0:
        return ns(input).zeros_like(input)
    flat = kernels.max_pool_input(
        planes(grad, rank),
        planes(input, rank),
        planes(values, rank),
        kernel,
        stride,
        padding,
        dilation,
    )
    return flat.reshape(input.shape)


@operator(method=False, name="MaxPoolGather")
def max_pool_gather(
    grad: Array, input: Array, values: Array, kernel, stride, padding, dilation
):  # fmt: skip
    """The elements of `grad` at the places of the maxima of `input`; the adjoint of
    `max_pool_input`."""
    rank = len(kernel)
    if values.size == 0:
        return ns(grad).zeros_like(values)
    flat = planes(input, rank)
    indices = kernels.max_pool_indices(
        flat, planes(values, rank), kernel, stride, padding, dilation
    )
    return kernels.gather_plane(planes(grad, rank), indices).reshape(values.shape)


# The places are piecewise constant, so that `input` and `values` get no gradient here.
max_pool_input.vjps(
    grad=lambda g, input, values, kernel, stride, padding, dilation: max_pool_gather.on(
        g, input, values, kernel, stride, padding, dilation
    )
)
max_pool_gather.vjps(
    grad=lambda g, input, values, kernel, stride, padding, dilation: max_pool_input.on(
        g, input, values, kernel, stride, padding, dilation
    )
)


@operator(method=False, name="MaxPoolWithIndices")
def max_pool_with_places(input: Array, positions, kernel, stride, padding, dilation):
    """The largest element of each window and its flat position in its plane."""
    rank = len(kernel)
    values = _max_pool(input, positions, kernel, stride, padding, dilation)
    if values.size == 0:
        return values, ns(input).empty(values.shape, dtype="int64")
    places = kernels.max_pool_indices(
        planes(input, rank), planes(values, rank), kernel, stride, padding, dilation
    )
    return values, places.reshape(values.shape)


@max_pool_with_places.vjp
def _(g, out, input_shape, kernel):
    return scatter_places.on(g[0], out[1], tuple(input_shape[-len(kernel) :]))


@operator(method=False, name="MaxUnpool")
def scatter_places(values: Array, places: Array, sizes):
    """Values added to planes of zeros at flat positions."""
    rank = len(sizes)
    flat = kernels.scatter_plane(planes(values, rank), planes(places, rank), sizes)
    return flat.reshape(*values.shape[:-rank], *sizes)


@operator(method=False, name="MaxUnpool")
def write_places(values: Array, places: Array, sizes):
    """Values written to planes of zeros at flat positions; the last one counts where two are
    equal."""
    rank = len(sizes)
    flat = kernels.scatter_plane(planes(values, rank), planes(places, rank), sizes, add=False)
    return flat.reshape(*values.shape[:-rank], *sizes)


@operator(method=False, name="Gather")
def gather_places(input: Array, places: Array, sizes):
    """The elements at flat positions of planes of spatial `sizes`."""
    rank = len(sizes)
    return kernels.gather_plane(planes(input, rank), planes(places, rank)).reshape(places.shape)


scatter_places.vjps(values=lambda g, places, sizes: gather_places.on(g, places, sizes))
write_places.vjps(values=lambda g, places, sizes: gather_places.on(g, places, sizes))
gather_places.vjps(input=lambda g, places, sizes: scatter_places.on(g, places, sizes))


# ------------------------------------------------------------------------------ what fits
_WORDS = {1: "one int", 2: "two ints", 3: "three ints"}


def sizes_of(name, what, value, rank):
    """`value` as one int a dimension."""
    if value.__class__ is int:
        return (value,) * rank
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        raise RuntimeError(
            f"{name}: {what} must either be a single int, or a tuple of {_WORDS[rank]}, but got "
            f"{value}"
        )
    if not all(isinstance(each, int) for each in values):
        if not all(hasattr(each, "__index__") for each in values):
            raise TypeError(f"{name}: {what} must be int or a tuple of ints, but got {value!r}")
        values = tuple(int(each) for each in values)
    return values


def fitted_windows(name, rank, input, kernel_size, stride, padding, dilation, ceil_mode):
    """Kernel, stride, padding, dilation and the number of windows of a pool over `input`."""
    kernel = sizes_of(name, "kernel_size", kernel_size, rank)
    if stride is None or (isinstance(stride, (tuple, list)) and not stride):
        stride = kernel
    else:
        stride = sizes_of(name, "stride", stride, rank)
    padding = sizes_of(name, "padding", padding, rank)
    dilation = sizes_of(name, "dilation", dilation, rank)
    shape = input._array.shape
    positions = _positions(name, rank, shape, kernel, stride, padding, dilation, bool(ceil_mode))
    return kernel, stride, padding, dilation, positions


@lru_cache(maxsize=256)
def _positions(name, rank, shape, kernel, stride, padding, dilation, ceil_mode):
    """How many windows a pool over `shape` has along each dimension.

    Raises:
        RuntimeError: no shape of images, or settings that leave no window.
    """
    if len(shape) not in (rank + 1, rank + 2) or 0 in shape[-rank - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with optional 0 dim "
            "batch "
            f"size for input, but got:{list(shape)}"
        )
    if min(kernel) <= 0:
        raise RuntimeError(
            f"{name}: kernel size should be greater than zero, but got {list(kernel)}"
        )
    if min(stride) <= 0:
        raise RuntimeError(f"{name}: stride should not be zero or negative, but got {list(stride)}")
    if min(dilation) <= 0:
        raise RuntimeError(
            f"{name}: dilation should be greater than zero, but got {list(dilation)}"
        )
    for k, p, d in zip(kernel, padding, dilation):
        if p < 0:
            raise RuntimeError(f"{name}: pad must be non-negative, but got pad={p}")
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
    positions = kernels.pooled_sizes(shape[-rank:], kernel, stride, padding, dilation, ceil_mode)
    if min(positions) < 1:
        channels = shape[-rank - 1]
        before = "x".join(map(str, (channels, *shape[-rank:])))
        after = "x".join(map(str, (channels, *positions)))
        raise RuntimeError(
            f"Given input size: ({before}). Calculated output size: ({after}). Output size is too "
            "small"
        )
    return positions


def refuse_kinds(array, kinds, what):
    if array.dtype.kind in kinds:
        raise NotImplementedError(f"\"{what}\" not implemented for '{scalar_type(array)}'")


# ------------------------------------------------------------------------------ public functions
def _max_pooling(rank, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    name = f"max_pool{rank}d"
    if rank == 1:
        refuse_kinds(input._array, "iubc", "max_pool1d_impl")
    else:
        refuse_kinds(input._array, "bc", name)
    kernel, stride, padding, dilation, positions = fitted_windows(
        name, rank, input, kernel_size, stride, padding, dilation, ceil_mode
    )
    run = max_pool_with_places if return_indices else _MAX_POOLS[rank]
    return run(input, positions, kernel, stride, padding, dilation)


def max_pool1d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """The largest element of each window of one dimension; see `max_pool2d`.

    Shape:
        (N, C, L) -> (N, C, L')

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.max_pool1d(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
        tensor([[3., 2.]])
    """
    return _max_pooling(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """The largest element of each window of an image; NaN where a window holds one.

    Args:
        input: images, with or without a batch axis.
        kernel_size: the windows' size, one int or one per dimension.
        stride: steps between windows; default: the kernel's size.
        padding: how far windows reach over the sides, at most half a kernel; default 0.
        dilation: steps between a window's elements; default 1.
        ceil_mode: whether a last window may hang over the end; default False.
        return_indices: whether to return where each maximum is, too, counted in its plane.

    Shape:
        (N, C, H, W) -> (N, C, H', W')

    Raises:
        RuntimeError: not images, or settings that leave no window.

    Example:
        >>> import danlu as torch
        >>> x = torch.arange(4.0).reshape(1, 2, 2)
        >>> torch.nn.functional.max_pool2d(x, 2, return_indices=True)
        (tensor([[[3.]]]), tensor([[[3]]]))
    """
    return _max_pooling(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """The largest element of each window of three dimensions; see `max_pool2d`.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W')

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.max_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2)
        tensor([[[[7.]]]])
    """
    return _max_pooling(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=True
):  # fmt: skip
    """`max_pool1d` and the places of the maxima."""
    return _max_pooling(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=True
):  # fmt: skip
    """`max_pool2d` and the places of the maxima."""
    return _max_pooling(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=True
):  # fmt: skip
    """`max_pool3d` and the places of the maxima."""
    return _max_pooling(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def _max_unpooling(rank, input, indices, kernel_size, stride, padding, output_size):
    name = f"max_unpool{rank}d"
    kernel = sizes_of(name, "kernel_size", kernel_size, rank)
    stride = kernel if stride is None else sizes_of(name, "stride", stride, rank)
    padding = sizes_of(name, "padding", padding, rank)
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"{name}: Input to {name} should be a {rank + 1}d or {rank + 2}d Tensor, "
            f"but got a tensor with {input.ndim} dimensions"
        )
    if indices.dtype.name != "int64":
        raise RuntimeError(
            f"elements in indices should be type int64 but got: {scalar_type(indices._array)}"
        )
    if indices.shape != input.shape:
        raise RuntimeError(
            "Expected shape of indices to be same as that of the input tensor "
            f"({list(input.shape)}) "
            f"but got indices tensor with shape: {list(indices.shape)}"
        )
    sizes = _unpooled_sizes(tuple(input.shape[-rank:]), kernel, stride, padding, output_size)
    total = math.prod(sizes)
    if indices._array.size:
        low, high = indices._array.min(), indices._array.max()
        if low < 0 or high >= total:
            raise RuntimeError(
                f"Found an invalid max index: {int(high if high >= total else low)} "
                f"(output volumes are of size {'x'.join(map(str, sizes))})"
            )
    return write_places(input, indices, sizes)


def _unpooled_sizes(sizes, kernel, stride, padding, output_size):
    default = tuple((n - 1) * s + k - 2 * p for n, k, s, p in zip(sizes, kernel, stride, padding))
    if output_size is None:
        return default
    rank = len(sizes)
    wanted = tuple(int(each) for each in output_size)
    if len(wanted) == rank + 2:
        wanted = wanted[2:]
    if len(wanted) != rank:
        raise ValueError(
            f"output_size should be a sequence containing {rank} or {rank + 2} elements, but it "
            "has a "
            f"length of '{len(output_size)}'"
        )
    for axis, (size, each, s) in enumerate(zip(wanted, default, stride)):
        if not each - s < size < each + s:
            raise ValueError(
                f'invalid output_size "{wanted}" '
                f"(dim {axis} must be between {each - s} and {each + s})"
            )
    return wanted


def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The partial inverse of `max_pool1d`; see `max_unpool2d`.

    Example:
        >>> import danlu as torch
        >>> F = torch.nn.functional
        >>> x = torch.tensor([[1.0, 3.0, 2.0, 0.0]])
        >>> F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2)
        tensor([[0., 3., 2., 0.]])
    """
    return _max_unpooling(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The partial inverse of `max_pool2d`: maxima at their places, zeros elsewhere.

    Args:
        input: the maxima.
        indices: their places, as `max_pool2d(..., return_indices=True)` gives them.
        kernel_size, stride, padding: of the pool.
        output_size: the result's spatial size, where the pool's settings leave a choice.

    Shape:
        (N, C, H, W) -> (N, C, H', W') with H' = (H - 1)*stride + kernel - 2*padding

    Raises:
        RuntimeError: places of another shape or outside the result.
        ValueError: an output size that the pool cannot have had.

    Example:
        >>> import danlu as torch
        >>> F = torch.nn.functional
        >>> F.max_unpool2d(torch.tensor([[[5.0]]]), torch.tensor([[[1]]]), 2)
        tensor([[[0., 5.],
                 [0., 0.]]])
    """
    return _max_unpooling(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The partial inverse of `max_pool3d`; see `max_unpool2d`.

    Example:
        >>> import danlu as torch
        >>> places = torch.zeros(1, 1, 1, 1, dtype=torch.int64)
        >>> torch.nn.functional.max_unpool3d(torch.ones(1, 1, 1, 1), places, 2).sum()
        tensor(1.)
    """
    return _max_unpooling(3, input, indices, kernel_size, stride, padding, output_size)
