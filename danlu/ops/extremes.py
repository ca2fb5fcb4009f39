"""The largest, smallest, middle and commonest elements."""

from __future__ import annotations

import numpy as np

from danlu.backend import conversions
from danlu.kernels.fused import reduction as kernels
from danlu.ops.reduction import LARGE, axes, axis, restore
from danlu.ops.registry import Array, composite, ns, operator, return_type, write_out
from danlu.ops.scatter import scatter_zeros

__all__ = [
    "amax", "amin", "aminmax", "argmax", "argmin", "max", "median", "min", "mode", "nanmedian",
]  # fmt: skip


def sort_key(x):
    """What to sort by: ml_dtypes' numbers do not put NaN last."""
    return x.astype(np.float32) if x.dtype.kind == "V" else x


def _extreme(name, reduce, arg):
    """max and min: one tensor, two tensors, or values and indices along a dimension."""
    pair = return_type(name, ("values", "indices"))

    def whole(input: Array):
        if input.size == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify "
                "the "
                "reduction dim with the 'dim' argument."
            )
        return reduce(input)

    whole.__name__ = name
    whole = operator(method=False)(whole)

    @whole.vjp
    def _(g, input, out):
        hit = input == out
        return g * hit / hit.sum()

    def along(input: Array, dim, keepdim=False):
        if input.ndim == 0:
            return input.copy(), np.zeros((), np.int64)
        where = axis(dim, input.ndim)
        if input.shape[where] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {where} to have non-zero size.")
        indices = np.expand_dims(arg(input, axis=where), where)
        values = np.take_along_axis(input, indices, where)
        if not keepdim:
            values, indices = values.squeeze(where), indices.squeeze(where)
        return values, indices.astype(np.int64, copy=False)

    along.__name__ = name
    along = operator(method=False)(along)

    @along.vjp
    def _(g, out1, input_shape, dim, keepdim):
        return spread(g[0], out1, input_shape, dim, keepdim)

    def public(input, dim=None, keepdim=False, *, out=None, other=None, axis=None, keepdims=None):
        if axis is not None:
            dim = axis
        if keepdims is not None:
            keepdim = keepdims
        if other is not None or hasattr(dim, "_array"):
            from danlu.ops import binary

            two = binary.maximum if name == "max" else binary.minimum
            return two(input, dim if other is None else other, out=out)
        if dim is None:
            return whole(input, out=out)
        found = along(input, dim, keepdim, out=out)
        return pair(found)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"""The {name}imum: of all elements, of two tensors (`other`), or along `dim`.

    With `dim` the result is a named tuple of `values` and `indices`, the position of the first
    {name}imum.

    Example:
        >>> import danlu as torch
        >>> torch.{name}(torch.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1).indices
        tensor([{"1, 0" if name == "max" else "0, 1"}])
    """
    return composite(method=True)(public)


def spread(g, indices, shape, dim, keepdim):
    """The gradient of a selection along `dim`: `g` at the selected positions, 0 elsewhere."""
    if not shape:
        return g
    where = axis(dim, len(shape))
    if not keepdim:
        xp = ns(g)
        g = xp.expand_dims(g, axis=where)
        indices = ns(indices).expand_dims(indices, axis=where)
    return scatter_zeros.on(g, getattr(indices, "_array", indices), shape, where)


max = _extreme("max", np.max, np.argmax)
min = _extreme("min", np.min, np.argmin)


def _amaxmin(name, reduce, kernel):
    def body(input: Array, dim=(), keepdim=False):
        if input.size >= LARGE and input.dtype.char in "fd":
            return conversions.as_array(kernel(input, axes(dim, input.ndim), keepdim))
        return reduce(input, axis=axes(dim, input.ndim), keepdims=keepdim)

    body.__name__ = name
    body.__doc__ = f"The {name[1:]}imum over some dimensions; ties share the gradient."
    op = operator()(body)

    @op.vjp
    def _(g, input, out, dim, keepdim):
        shape = tuple(input.shape)
        hit = input == restore(out, shape, None if dim == () else dim, keepdim)
        hit = hit.astype(
            getattr(g, "_array", g).dtype
        )  # counts as integers would make float64 of g
        share = hit.sum(axis=axes(dim, len(shape)), keepdims=True)
        return restore(g, shape, None if dim == () else dim, keepdim) * hit / share

    return op


amax = _amaxmin("amax", np.max, kernels.largest)
amin = _amaxmin("amin", np.min, kernels.smallest)
_pair_aminmax = return_type("aminmax", ("min", "max"))


@composite(method=True)
def aminmax(input, *, dim=None, keepdim=False, out=None):
    """The smallest and the largest elements, as a named tuple (min, max)."""
    dims = () if dim is None else dim
    made = _pair_aminmax((amin(input, dims, keepdim), amax(input, dims, keepdim)))
    return made if out is None else write_out(out, made)


def _arg(name, arg, word):
    def body(input: Array, dim=None, keepdim=False):
        if input.size == 0 and dim is None:
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        if dim is None or input.ndim == 0:
            found = conversions.as_array(arg(input), dtype=np.int64)
            return found.reshape((1,) * input.ndim) if keepdim else found
        where = axis(dim, input.ndim)
        return conversions.as_array(arg(input, axis=where, keepdims=keepdim), dtype=np.int64)

    body.__name__ = name
    body.__doc__ = (
        f"The position of the first {word} element: in the flattened tensor, or along `dim`."
    )
    return operator(differentiable=False)(body)


argmax = _arg("argmax", np.argmax, "largest")
argmin = _arg("argmin", np.argmin, "smallest")


# ---------------------------------------------------------------- middle and commonest values
def _middle(name, last):
    pair = return_type(name, ("values", "indices"))

    def along(input: Array, dim=-1, keepdim=False):
        if input.ndim == 0:
            return input.copy(), np.zeros((), np.int64)
        where = axis(dim, input.ndim)
        order = np.argsort(sort_key(input), axis=where, kind="stable")
        count = np.asarray(input.shape[where])
        if input.dtype.kind in "fV":
            missing = np.isnan(input).sum(axis=where, keepdims=True)
            if last:  # nanmedian: the median of the numbers alone
                place = (count - missing - 1) // 2
            else:
                place = np.where(missing > 0, count - missing, (count - 1) // 2)
            place = np.maximum(place, 0)
        else:
            shape = [1 if i == where else n for i, n in enumerate(input.shape)]
            place = np.broadcast_to((count - 1) // 2, shape)
        indices = np.take_along_axis(order, place, where)
        values = np.take_along_axis(input, indices, where)
        if not keepdim:
            values, indices = values.squeeze(where), indices.squeeze(where)
        return values, indices.astype(np.int64, copy=False)

    along.__name__ = name
    along = operator(method=False)(along)

    @along.vjp
    def _(g, out1, input_shape, dim, keepdim):
        return spread(g[0], out1, input_shape, dim, keepdim)

    def public(input, dim=None, keepdim=False, *, out=None, axis=None):
        dim = dim if axis is None else axis
        if dim is None:
            if input.numel() == 0:
                return input.new_full((), float("nan"))
            return along(input.reshape(-1), 0, False)[0]
        return pair(along(input, dim, keepdim, out=out))

    public.__name__ = name
    public.__doc__ = (
        "The median: the lower of the two middle elements, of all or along `dim` "
        "(values and indices)."
    )
    return composite(method=True)(public)


median = _middle("median", False)
nanmedian = _middle("nanmedian", True)


@operator(returns=("values", "indices"))
def mode(input: Array, dim=-1, keepdim=False):
    """The commonest value along `dim` (the smallest of several) and the last place where it stands."""
    if input.ndim == 0:
        return input.copy(), np.zeros((), np.int64)
    where = axis(dim, input.ndim)
    rows = np.moveaxis(input, where, -1)
    flat = rows.reshape(-1, rows.shape[-1])
    values = np.empty(len(flat), input.dtype)
    indices = np.empty(len(flat), np.int64)
    for i, row in enumerate(flat):
        unique, counts = np.unique(row, return_counts=True)
        values[i] = unique[counts.argmax()]
        indices[i] = np.flatnonzero(row == values[i])[-1]
    shape = list(rows.shape[:-1])
    if keepdim:
        shape.insert(where, 1)
    return values.reshape(shape), indices.reshape(shape)


@mode.vjp
def _(g, out1, input_shape, dim, keepdim):
    return spread(g[0], out1, input_shape, dim, keepdim)
