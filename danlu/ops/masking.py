"""Choosing elements by a mask, and finding those that are not zero."""

from __future__ import annotations

import numpy as np

from danlu.ops.indexing import assigned, picked
from danlu.ops.inplace import publish_inplace
from danlu.ops.promotion import result_numpy_dtype
from danlu.ops.registry import NUMBERS, Array, composite, ns, operator, scalar_name, write_out
from danlu.ops.rules import sum_to
from danlu.tensor import Tensor, publish_method, wrap

__all__ = [
    "argwhere",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "nonzero_static",
    "where",
]


def _mask_of(name, mask):
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}(): argument 'mask' must be Tensor, not {type(mask).__name__}")
    if mask._array.dtype != np.bool_:
        raise RuntimeError(
            f"{name} only supports boolean masks, but got mask with dtype {mask.dtype!r}: use "
            "mask.bool()"
        )
    return mask._array


@operator(method=False, name="MaskedFill")
def _masked_fill(input: Array, value: Array, mask):
    return np.where(mask, value, input)


@_masked_fill.vjp
def _(needs, g, input_shape, mask):
    xp = ns(g)
    m = wrap(mask) if isinstance(g, Tensor) else mask
    past = sum_to(xp.where(m, 0 * g, g), input_shape) if needs[0] else None
    return past, xp.where(m, g, 0 * g).sum() if needs[1] else None


@composite(method=True)
def masked_fill(input, mask, value):
    """`value` (a number or a 0-d tensor) where the mask is True, input elsewhere.

    Raises:
        RuntimeError: the mask is not bool, or value is a tensor of more dimensions.
    """
    chosen = _mask_of("masked_fill", mask)
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value._array.ndim} dimension(s)."
            )
        value = value if value._array.dtype == input._array.dtype else value.to(input.dtype)
    else:
        kind = input._array.dtype
        if kind.kind in "iub" and isinstance(value, float) and not value.is_integer():
            raise RuntimeError(
                f"value cannot be converted to type {scalar_name(input.dtype)} without overflow"
            )
        value = wrap(np.asarray(value, dtype=kind))
    return _masked_fill(input, value, chosen)


@composite(method=True)
def masked_select(input, mask, *, out=None):
    """The elements where the mask is True, in one dimension."""
    chosen = _mask_of("masked_select", mask)
    shape = np.broadcast_shapes(input._array.shape, chosen.shape)
    return picked(input.expand(shape), (np.broadcast_to(chosen, shape),), out=out)


@composite(method=True)
def masked_scatter(input, mask, source):
    """A copy of input with the True positions filled from source, in order."""
    chosen = _mask_of("masked_scatter", mask)
    shape = np.broadcast_shapes(input._array.shape, chosen.shape)
    chosen = np.broadcast_to(chosen, shape)
    count = int(chosen.sum())
    if source._array.size < count:
        raise RuntimeError(
            "masked_scatter: expected self and source to have enough elements: the mask selects "
            f"{count}, source "
            f"has {source._array.size}"
        )
    return assigned(input.expand(shape), source.reshape(-1)[:count], (chosen,), False)


@operator(promote="same", method=False, name="Where")
def _where(input: Array, other: Array, condition):
    return np.where(condition, input, other)


def _chosen(g, condition, keep):
    xp = ns(g)
    c = wrap(condition) if isinstance(g, Tensor) else condition
    return xp.where(c, g, 0 * g) if keep else xp.where(c, 0 * g, g)


_where.vjps(
    input=lambda g, condition, input_shape: sum_to(_chosen(g, condition, True), input_shape),
    other=lambda g, condition, other_shape: sum_to(_chosen(g, condition, False), other_shape),
)


def where(condition, input=None, other=None, *, out=None):
    """input where the condition is True, other elsewhere; `where(condition)` is
    `nonzero(as_tuple=True)`.

    Raises:
        RuntimeError: the condition is not a bool tensor, or the three do not broadcast.
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(
            "where(): argument 'condition' (position 1) must be Tensor, not "
            f"{type(condition).__name__}"
        )
    chosen = condition._array
    if chosen.dtype != np.bool_:
        if chosen.dtype != np.uint8:
            raise RuntimeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{condition.dtype!r}: "
                "compare it, or use .bool()"
            )
        chosen = chosen.astype(np.bool_)
    if input.__class__ in NUMBERS and other.__class__ in NUMBERS:
        input = wrap(np.asarray(input, dtype=result_numpy_dtype([input, other])))
    return _where(input, other, chosen, out=out)


publish_method("where", lambda self, condition, other: where(condition, self, other))


@composite(method=True)
def nonzero(input, *, as_tuple=False, out=None):
    """The positions of the nonzero elements: a row each, or one vector per dimension (`as_tuple`)."""
    if as_tuple:
        array = input._array.reshape(1) if input._array.ndim == 0 else input._array
        return tuple(wrap(np.ascontiguousarray(each)) for each in np.nonzero(array))
    if input._array.ndim == 0:
        made = wrap(np.zeros((int(bool(input._array)), 0), np.int64))
    else:
        made = wrap(np.argwhere(input._array).astype(np.int64, copy=False))
    return made if out is None else write_out(out, made)


@composite(method=True)
def nonzero_static(input, *, size, fill_value=-1, out=None):
    """`nonzero` with exactly `size` rows: cut, or filled up with `fill_value`."""
    found = nonzero(input)._array[:size]
    rows = np.full((size, found.shape[1]), fill_value, np.int64)
    rows[: len(found)] = found
    return wrap(rows) if out is None else write_out(out, wrap(rows))


@composite(method=True)
def argwhere(input):
    """The positions of the nonzero elements, a row each."""
    return nonzero(input)


for _function in (masked_fill, masked_scatter):
    publish_inplace(_function)
