"""Changing a tensor's shape: views where memory allows, copies where it must."""

from __future__ import annotations

from math import prod

import numpy as np

from danlu.ops.reduction import axes, axis
from danlu.ops.registry import Array, composite, ns, operator
from danlu.tensor import Tensor, check_writable, publish_method

__all__ = [
    "adjoint", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes", "broadcast_tensors",
    "broadcast_to", "expand_copy", "flatten", "moveaxis",
    "movedim", "numel", "permute", "ravel", "repeat_interleave", "reshape",
    "squeeze", "swapaxes", "swapdims", "t", "tile", "transpose", "unflatten", "unsqueeze",
]  # fmt: skip


def sizes_of(args) -> tuple:
    """A shape given as several ints, or as one list, tuple or Size."""
    if len(args) == 1 and not isinstance(args[0], int):
        args = args[0]
        if isinstance(args, Tensor):
            args = args.tolist() if args.ndim else (args.item(),)
    try:
        return tuple([each if each.__class__ is int else each.__index__() for each in args])
    except (AttributeError, TypeError):
        place, wrong = next((i, x) for i, x in enumerate(args) if not hasattr(x, "__index__"))
        raise TypeError(
            "argument 'size' must be tuple of ints, but found element of type "
            f"{type(wrong).__name__} at pos {place}: {wrong!r}"
        ) from None


def inferred(shape: tuple, count: int) -> tuple:
    """`shape` with its -1 filled in.

    Raises:
        RuntimeError: the shape does not hold `count` elements.
    """
    if -1 in shape:
        known = -prod(shape)
        if shape.count(-1) > 1:
            raise RuntimeError("only one dimension can be inferred")
        if known == 0 and count == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified "
                "dimension size -1 can be any value and is ambiguous"
            )
        if known and count % known == 0:
            return tuple([count // known if each == -1 else each for each in shape])
    elif prod(shape) == count:
        return shape
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")


# ---------------------------------------------------------------- reshape and its relatives
@operator(view=True, method=False, name="View")
def _reshape(input: Array, shape):
    return ns(input).reshape(input, shape)


@_reshape.vjp
def _(g, input_shape):
    return g.reshape(input_shape)


@operator(view=True, method=False, name="View")
def _view(input: Array, shape):
    try:
        return np.reshape(input, shape, copy=False)
    except ValueError:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans "
            "across two contiguous subspaces). Use .reshape(...) instead."
        ) from None


@_view.vjp
def _(g, input_shape):
    return g.reshape(input_shape)


@composite
def reshape(input, shape):
    """The same elements in another shape; one dimension may be -1. A view where memory allows, else
    a copy.
    """
    return _reshape(input, inferred(sizes_of((shape,)), input._array.size))


def _method_reshape(self, *shape):
    """The same elements in another shape; one dimension may be -1. A view where memory allows, else
    a copy.
    """
    return _reshape(self, inferred(sizes_of(shape), self._array.size))


def _method_view(self, *shape, dtype=None):
    """The same memory in another shape, or read as another dtype of which a whole number fits.

    Raises:
        RuntimeError: the memory layout does not allow it; `reshape` copies then.
    """
    from danlu.backend.dtypes import dtype as dtype_type

    if dtype is None and len(shape) == 1 and isinstance(shape[0], dtype_type):
        dtype = shape[0]
    if dtype is not None:
        from danlu.ops.conversion import view_dtype

        return view_dtype(self, dtype)
    return _view(self, inferred(sizes_of(shape), self._array.size))


publish_method("reshape", _method_reshape)
publish_method("view", _method_view)
publish_method("reshape_as", lambda self, other: _method_reshape(self, other._array.shape))
publish_method("view_as", lambda self, other: _method_view(self, other._array.shape))
publish_method("_unsafe_view", _method_view)


@composite(method=True)
def flatten(input, start_dim=0, end_dim=-1):
    """Dimensions start_dim to end_dim joined into one."""
    shape = input._array.shape
    if not shape:
        return _reshape(input, (1,))
    start, end = axis(start_dim, len(shape)), axis(end_dim, len(shape))
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if start == end:
        return input
    return _reshape(input, (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]))


@composite(method=True)
def ravel(input):
    """All elements in one dimension."""
    return _reshape(input, (input._array.size,))


@composite(method=True)
def unflatten(input, dim, sizes):
    """Dimension `dim` split into dimensions of these sizes, one of which may be -1."""
    shape = input._array.shape
    where = axis(dim, len(shape))
    sizes = sizes_of((sizes,))
    try:
        sizes = inferred(sizes, shape[where])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {where} "
            f"({shape[where]}) in the input tensor"
        ) from None
    return _view(input, (*shape[:where], *sizes, *shape[where + 1 :]))


# ---------------------------------------------------------------- order of dimensions
@operator(view=True, method=False)
def permute(input: Array, dims):
    """The dimensions in another order.

    Args:
        dims: a tuple with every dimension once.
    """
    order = axes(dims, input.ndim) or ()
    if len(order) != input.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            "length of the "
            f"desired ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to "
            f"len(dims) = {len(order)}"
        )
    return input.transpose(order)


@permute.vjp
def _(g, dims):
    order = [each % len(dims) for each in dims]
    return ns(g).permute_dims(g, tuple([order.index(i) for i in range(len(order))]))


publish_method("permute", lambda self, *dims: permute(self, sizes_of(dims)))


@operator(view=True, method=("transpose", "swapaxes", "swapdims"))
def transpose(input: Array, dim0, dim1):
    """Two dimensions exchanged."""
    a, b = axis(dim0, input.ndim), axis(dim1, input.ndim)
    return input.swapaxes(a, b) if input.ndim else input.view()


@transpose.vjp
def _(g, dim0, dim1):
    return g.swapaxes(dim0, dim1) if g.ndim else g


swapaxes = swapdims = transpose


@operator(view=True, name="T")
def t(input: Array):
    """The transpose of a matrix; tensors of fewer dimensions as they are.

    Raises:
        RuntimeError: the tensor has more than two dimensions.
    """
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return input.T


@t.vjp
def _(g):
    return g.T if g.ndim == 2 else g


def _reversed_dims(self):
    """All dimensions in reverse order."""
    if self._array.ndim == 2:
        return t(self)
    return permute(self, tuple(range(self._array.ndim))[::-1])


def _matrix_transpose(self):
    """The last two dimensions exchanged."""
    if self._array.ndim < 2:
        raise RuntimeError(
            "tensor.mT is only supported on matrices or batches of matrices. Got "
            f"{self._array.ndim}-D tensor."
        )
    return transpose(self, -2, -1)


publish_method("T", property(_reversed_dims))
publish_method("mT", property(_matrix_transpose))
publish_method("H", property(lambda self: _matrix_transpose(self).conj()))
publish_method("mH", property(lambda self: _matrix_transpose(self).conj()))


@composite(method=True)
def adjoint(input):
    """The last two dimensions exchanged, and conjugated."""
    return _matrix_transpose(input).conj()


@composite(method=("movedim", "moveaxis"))
def movedim(input, source, destination):
    """Dimensions `source` moved to the places `destination`; the others keep their order."""
    ndim = input._array.ndim
    source, destination = axes(source, ndim) or (), axes(destination, ndim) or ()
    order = [i for i in range(ndim) if i not in source]
    for to, from_ in sorted(zip(destination, source)):
        order.insert(to, from_)
    return permute(input, tuple(order))


moveaxis = movedim


@operator(view=True, method=False, name="Squeeze")
def _squeeze(input: Array, dim):
    return input.squeeze(dim)


@_squeeze.vjp
def _(g, input_shape):
    return g.reshape(input_shape)


@composite(method=True)
def squeeze(input, dim=None, *, axis=None):
    """Without the dimensions of size 1: all of them, or those in `dim`."""
    shape = input._array.shape
    wanted = axes(dim if axis is None else axis, len(shape))
    if wanted is None:
        wanted = range(len(shape)) if dim is None and axis is None else ()
    return _squeeze(input, tuple([i for i in wanted if shape[i] == 1]))


@operator(view=True)
def unsqueeze(input: Array, dim):
    """A new dimension of size 1 at `dim`."""
    return ns(input).expand_dims(input, axis(dim, input.ndim + 1))


@unsqueeze.vjp
def _(g, input_shape):
    return g.reshape(input_shape)


# ---------------------------------------------------------------- repetition
@operator(view=True, method=False)
def expand(input: Array, shape):
    """Dimensions of size 1 stretched to `shape` without copying; -1 keeps a size."""
    extra = len(shape) - input.ndim
    if extra < 0:
        raise RuntimeError(
            f"expand(torch.Tensor{{{list(input.shape)}}}, size={list(shape)}): the number of sizes "
            "provided "
            f"({len(shape)}) must be greater or equal to the number of dimensions in the tensor "
            f"({input.ndim})"
        )
    target = list(shape)
    for i, size in enumerate(shape):
        own = input.shape[i - extra] if i >= extra else None
        if size == -1:
            if own is None:
                raise RuntimeError(
                    f"The expanded size of the tensor ({size}) isn't allowed in a leading, "
                    "non-existing "
                    f"dimension {i}"
                )
            target[i] = own
        elif own is not None and own not in (1, size):
            raise RuntimeError(
                f"The expanded size of the tensor ({size}) must match the existing size ({own}) at "
                f"non-singleton dimension {i}.  Target sizes: {list(shape)}.  "
                f"Tensor sizes: {list(input.shape)}"
            )
    if tuple(target) == input.shape:
        return input.view()
    return ns(input).broadcast_to(input, tuple(target))


@expand.vjp
def _(g, input_shape):
    from danlu.ops.rules import sum_to

    return sum_to(g, input_shape)


publish_method("expand", lambda self, *sizes, implicit=False: expand(self, sizes_of(sizes)))
publish_method("expand_as", lambda self, other: expand(self, other._array.shape))


@composite(method=True)
def broadcast_to(input, size):
    """`input.expand(size)`."""
    return expand(input, sizes_of((size,)))


expand_copy = broadcast_to


def broadcast_shapes(*shapes):
    """The shape to which these broadcast.

    Raises:
        RuntimeError: they do not.
    """
    from danlu.size import Size

    try:
        return Size(np.broadcast_shapes(*[s if isinstance(s, int) else tuple(s) for s in shapes]))
    except ValueError:
        raise RuntimeError(
            "Shape mismatch: objects cannot be broadcast to a single shape: "
            + ", ".join(str(list(s) if not isinstance(s, int) else s) for s in shapes)
        ) from None


def broadcast_tensors(*tensors):
    """All tensors expanded to their common shape."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tensors[0]
    shape = broadcast_shapes(*[each.shape for each in tensors])
    return tuple(expand(each, shape) for each in tensors)


@operator(method=False)
def _repeat(input: Array, repeats):
    return np.tile(input, repeats)


@_repeat.vjp
def _(g, input_shape, repeats):
    extra = len(repeats) - len(input_shape)
    pairs = [n for r, size in zip(repeats, (1,) * extra + tuple(input_shape)) for n in (r, size)]
    return g.reshape(pairs).sum(axis=tuple(range(0, len(pairs), 2))).reshape(input_shape)


def _method_repeat(self, *repeats):
    """Copies side by side along every dimension: `repeats` of them."""
    repeats = sizes_of(repeats)
    if len(repeats) < self._array.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor: "
            f"{len(repeats)} repeats for shape {list(self._array.shape)}"
        )
    if min(repeats, default=0) < 0:
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(repeats)}: {list(repeats)}"
        )
    return _repeat(self, repeats)


publish_method("repeat", _method_repeat)


def tile(input, *dims):
    """Copies side by side along the last dimensions, as NumPy's tile."""
    dims = sizes_of(dims)
    return _method_repeat(input, (1,) * (input._array.ndim - len(dims)) + dims)


publish_method("tile", tile)


@composite(method=True)
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Each element repeated `repeats` times (a number, or one per element) along `dim`, or
    flattened.

    `repeat_interleave(counts)` gives the index of each element as often as `counts` says.
    """
    from danlu.ops.index_along import index_select
    from danlu.tensor import wrap

    if repeats is None:
        counts = input._array
        return wrap(np.repeat(np.arange(counts.size), counts))
    if dim is None:
        input, dim = input.reshape(-1), 0
    count = input._array.shape[axis(dim, input._array.ndim)]
    times = repeats._array if isinstance(repeats, Tensor) else repeats
    if isinstance(repeats, Tensor) and times.size not in (1, count):
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{times.size} and "
            f"input.size({dim}) = {count}"
        )
    if np.any(np.asarray(times) < 0):
        raise RuntimeError("repeats can not be negative")
    times = times.reshape(-1) if isinstance(repeats, Tensor) else times
    return index_select(input, dim, wrap(np.repeat(np.arange(count), times)))


# ---------------------------------------------------------------- at least so many dimensions
def _at_least(ndim):
    def one(x):
        have = x._array.ndim
        if have >= ndim:
            return x
        if ndim == 3:
            return {
                0: lambda: x.reshape(1, 1, 1),
                1: lambda: x[None, :, None],
                2: lambda: x[..., None],
            }[have]()
        return x.reshape((1,) * (ndim - have) + x._array.shape)

    def public(*tensors):
        if len(tensors) == 1:
            if isinstance(tensors[0], (list, tuple)):
                return tuple(one(x) for x in tensors[0])
            return one(tensors[0])
        return tuple(one(x) for x in tensors)

    public.__name__ = f"atleast_{ndim}d"
    public.__doc__ = f"Tensors of fewer dimensions with dimensions of size 1 added up to {ndim}."
    return public


atleast_1d, atleast_2d, atleast_3d = map(_at_least, (1, 2, 3))


def numel(input) -> int:
    """The number of elements."""
    return input._array.size


# ---------------------------------------------------------------- in-place changes of shape alone
def _shape_in_place(function):
    def in_place(self, *args, **kwargs):
        """Change this tensor's shape in place; the elements stay where they are."""
        from danlu.autograd.grad_mode import state

        if state.grad:
            check_writable(self)
        made = function(self, *args, **kwargs)
        self._array, self._edge = made._array, made._edge
        self._requires_grad = made._requires_grad
        self._writes[0] += 1
        return self

    return in_place


for _name, _function in (
    ("unsqueeze_", unsqueeze), ("squeeze_", squeeze), ("t_", t), ("transpose_", transpose),
    ("swapaxes_", transpose), ("swapdims_", transpose),
):  # fmt: skip
    publish_method(_name, _shape_in_place(_function))
