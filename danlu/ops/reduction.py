"""Reductions and scans along dimensions."""

from __future__ import annotations

from math import prod as product

import numpy as np

from danlu.backend import conversions, dtypes
from danlu.kernels.fused import reduction as kernels
from danlu.ops.binary import true_divide
from danlu.ops.pointwise import _conj
from danlu.ops.registry import Array, composite, dimension_error, ns, operator

# Elements from which on a reduction asks whether generated code pays.
LARGE = 1 << 17

__all__ = [
    "all", "any", "count_nonzero", "logsumexp", "mean", "nanmean", "nansum", "prod", "std",
    "std_mean",
    "sum", "var", "var_mean",
]  # fmt: skip


def axes(dim, ndim: int):
    """The dimensions of a reduction as a tuple of non-negative numbers; None and () mean all.

    Raises:
        IndexError: there is no such dimension.
        RuntimeError: a dimension appears twice.
    """
    if dim is None:
        return None
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    if not dims:
        return None
    found = tuple([axis(each, ndim) for each in dims])
    if len(set(found)) != len(found):
        raise RuntimeError(f"dim {found[0]} appears multiple times in the list of dims")
    return found if ndim else None


def axis(dim, ndim: int) -> int:
    """One dimension as a non-negative number; a 0-d tensor has the dimensions 0 and -1.

    Raises:
        IndexError: there is no such dimension.
    """
    try:
        number = dim.__index__()
    except AttributeError:
        raise TypeError(
            f"argument 'dim' must be int or tuple of ints, not {type(dim).__name__}"
        ) from None
    most = ndim or 1
    if not -most <= number < most:
        raise dimension_error(number, ndim)
    return number + most if number < 0 else number


def numpy_type(dtype):
    return None if dtype is None else dtypes.numpy_dtype(dtype)


def summed_type(input, dtype):
    """Sums of integers and bools are int64, as all of PyTorch's."""
    if dtype is not None:
        return dtypes.numpy_dtype(dtype)
    return np.dtype(np.int64) if input.dtype.kind in "biu" else None


def restore(g, shape, dim, keepdim):
    """A gradient of a reduction, with the reduced dimensions back (of size 1)."""
    if keepdim or (dim is None and g.ndim == len(shape)):
        return g
    ndim = len(shape)
    reduced = axes(dim, ndim) or range(ndim)
    return g.reshape(tuple([1 if i in reduced else n for i, n in enumerate(shape)]))


def total(input, where, keepdim, kind=None):
    """The sum over dimensions; 16-bit numbers are added up in 32 bits."""
    if input.size >= LARGE and kind is None and input.dtype.char in "fd":
        return conversions.as_array(kernels.total(input, where, keepdim))
    if input.dtype.itemsize == 2 and input.dtype.kind in "fV" and kind is None:
        found = input.sum(axis=where, dtype=np.float32, keepdims=keepdim)
        return conversions.as_array(found).astype(input.dtype)
    return input.sum(axis=where, dtype=kind, keepdims=keepdim)


@operator(method=True)
def sum(input: Array, dim=None, keepdim=False, *, dtype=None):
    """The sum over some dimensions (all if `dim` is None).

    Args:
        dim: an int or a tuple of ints.
        keepdim: keep the reduced dimensions, with size 1.
        dtype: of the result; integers and bools are summed in int64 otherwise.
    """
    kind = summed_type(input, dtype)
    if dim is None and not keepdim and input.dtype.kind == "f" and input.size < LARGE:
        return np.add.reduce(input, None, kind)
    return total(input, axes(dim, input.ndim), keepdim, kind)


@sum.vjp
def _(g, input_shape, input_dtype, dim, keepdim):
    xp = ns(g)
    return xp.broadcast_to(restore(g, input_shape, dim, keepdim), input_shape)


@operator()
def nansum(input: Array, dim=None, keepdim=False, *, dtype=None):
    """The sum over some dimensions, NaN counted as 0."""
    kept = np.where(np.isnan(input), 0, input) if input.dtype.kind in "fc" else input
    return kept.sum(axis=axes(dim, input.ndim), dtype=summed_type(input, dtype), keepdims=keepdim)


@nansum.vjp
def _(g, input, dim, keepdim):
    return restore(g, tuple(input.shape), dim, keepdim) * (input == input)


def _need_float(name, input, dtype):
    if dtype is None and input.dtype.kind in "biu":
        word = {"b": "Bool", "i": "Long", "u": "Byte"}[input.dtype.kind]
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point "
            "or complex "
            f"dtype. Got: {word}. Convert it first: x.float().{name}()"
        )


@operator()
def mean(input: Array, dim=None, keepdim=False, *, dtype=None):
    """The mean over some dimensions (all if `dim` is None).

    Raises:
        RuntimeError: the tensor holds integers or bools and no `dtype` is given.
    """
    _need_float("mean", input, dtype)
    kind = numpy_type(dtype)
    if dim is None and not keepdim and input.dtype.kind == "f" and input.size < LARGE:
        whole = np.add.reduce(input, None, kind)
        return whole / input.size if input.size else whole * np.nan
    where = axes(dim, input.ndim)
    count = input.size if where is None else product([input.shape[i] for i in where])
    found = total(input, where, keepdim, kind)
    return found / count if count else found * found.dtype.type(np.nan)


@mean.vjp
def _(g, input_shape, dim, keepdim):
    xp = ns(g)
    where = axes(dim, len(input_shape))
    count = product(input_shape if where is None else [input_shape[i] for i in where])
    return xp.broadcast_to(restore(g, input_shape, dim, keepdim) / max(count, 1), input_shape)


@composite(method=True)
def nanmean(input, dim=None, keepdim=False, *, dtype=None, out=None):
    """The mean over some dimensions, without the NaNs."""
    count = (input == input).sum(dim, keepdim)
    return true_divide(nansum(input, dim, keepdim, dtype=dtype), count, out=out)


@operator()
def prod(input: Array, dim=None, keepdim=False, *, dtype=None):
    """The product over one dimension, or over all."""
    where = None if dim is None or not input.ndim else axis(dim, input.ndim)
    return input.prod(axis=where, dtype=summed_type(input, dtype), keepdims=keepdim)


@prod.vjp
def _(g, input, dim, keepdim):
    from danlu.ops.scans import products_of_others

    xp = ns(g)
    shape = tuple(input.shape)
    if dim is None:
        flat = input.reshape(-1)
        return (g.reshape(()) * _conj(products_of_others(xp, flat, 0))).reshape(shape)
    if not shape:
        return g * 1
    where = axis(dim, len(shape))
    return restore(g, shape, dim, keepdim) * _conj(products_of_others(xp, input, where))


# ---------------------------------------------------------------- any, all, counts
@composite(method=True)
def any(input, dim=None, keepdim=False, *, out=None):
    """Whether any element along some dimensions is nonzero."""
    return _any(input, dim, keepdim, out=out)


def _of_bytes(result, input):
    """any() and all() of uint8 tensors are uint8."""
    return result.astype(np.uint8) if input.dtype == np.uint8 else result


@operator(method=False, differentiable=False)
def _any(input: Array, dim=None, keepdim=False):
    """Whether any element is nonzero."""
    return _of_bytes(np.any(input, axis=axes(dim, input.ndim), keepdims=keepdim), input)


@operator(method=False, differentiable=False)
def _all(input: Array, dim=None, keepdim=False):
    """Whether all elements are nonzero."""
    return _of_bytes(np.all(input, axis=axes(dim, input.ndim), keepdims=keepdim), input)


@composite(method=True)
def all(input, dim=None, keepdim=False, *, out=None):
    """Whether all elements along some dimensions are nonzero."""
    return _all(input, dim, keepdim, out=out)


@operator(differentiable=False)
def count_nonzero(input: Array, dim=None):
    """How many elements along some dimensions are nonzero."""
    return np.asarray(np.count_nonzero(input, axis=axes(dim, input.ndim)), dtype=np.int64)


# ---------------------------------------------------------------- spread of values
@operator(method=False, name="Var")
def _variance(input: Array, dim=None, correction=1, keepdim=False):
    """The variance over some dimensions, with `correction` degrees of freedom taken off."""
    where = axes(dim, input.ndim)
    count = input.size if where is None else product([input.shape[i] for i in where])
    centred = input - input.mean(axis=where, keepdims=True)
    squares = (centred * centred.conj()).real if input.dtype.kind == "c" else centred * centred
    total = squares.sum(axis=where, keepdims=keepdim)
    return total / total.dtype.type(max(count - correction, 0))


@_variance.vjp
def _(g, input, dim, correction, keepdim):
    shape = tuple(input.shape)
    where = axes(dim, len(shape))
    count = product(shape if where is None else [shape[i] for i in where])
    centred = input - input.mean(axis=where, keepdims=True)
    freedom = count - correction
    scale = 2 / freedom if freedom > 0 else np.nan
    return restore(g, shape, dim, keepdim) * centred * scale


def _spread_arguments(name, input, dim, unbiased, correction):
    """The overloads of var and std: (dim, unbiased, keepdim), (unbiased), (dim, *, correction)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if input._array.dtype.kind not in "fcV":
        raise RuntimeError(
            f"{name} and its relatives only support floating point and complex dtypes"
        )
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction


@composite(method=True)
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None, axis=None):
    """The variance over some dimensions, divided by N - 1 (Bessel) unless `unbiased=False` or
    `correction` says otherwise.
    """
    dim, correction = _spread_arguments(
        "var", input, dim if axis is None else axis, unbiased, correction
    )
    return _variance(input, dim, correction, keepdim, out=out)


@operator(method=False, name="Std")
def _deviation(input: Array, dim=None, correction=1, keepdim=False):
    """The square root of the variance."""
    return np.sqrt(_variance.op.fn(input, dim, correction, keepdim))


@_deviation.vjp
def _(g, out, input, dim, correction, keepdim):
    shape = tuple(input.shape)
    where = axes(dim, len(shape))
    count = product(shape if where is None else [shape[i] for i in where])
    centred = input - input.mean(axis=where, keepdims=True)
    freedom = count - correction
    scale = restore(out, shape, dim, keepdim) * (freedom if freedom > 0 else np.nan)
    xp = ns(g)
    slope = xp.where(scale == 0, 0 * scale, restore(g, shape, dim, keepdim) / scale)
    return slope * centred


@composite(method=True)
def std(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None, axis=None):
    """The standard deviation over some dimensions; see `var`."""
    dim, correction = _spread_arguments(
        "std", input, dim if axis is None else axis, unbiased, correction
    )
    return _deviation(input, dim, correction, keepdim, out=out)


@composite
def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None):
    """The variance and the mean."""
    dim, correction = _spread_arguments("var_mean", input, dim, unbiased, correction)
    return _variance(input, dim, correction, keepdim), mean(input, dim, keepdim)


@composite
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None):
    """The standard deviation and the mean."""
    dim, correction = _spread_arguments("std_mean", input, dim, unbiased, correction)
    return _deviation(input, dim, correction, keepdim), mean(input, dim, keepdim)


@operator(promote="float")
def logsumexp(input: Array, dim=None, keepdim=False):
    """log(sum(exp(x))) over some dimensions, without overflow."""
    where = axes(dim, input.ndim)
    size = input.real
    top = size.max(axis=where, keepdims=True) if size.size else np.zeros((1,) * size.ndim)
    top = np.where(np.isfinite(top), top, 0)
    result = np.log(np.exp(input - top).sum(axis=where, keepdims=True)) + top
    if not keepdim and input.ndim:
        result = result.squeeze(tuple(range(input.ndim)) if where is None else where)
    return result.astype(input.dtype, copy=False)


@logsumexp.vjp
def _(g, out, input, dim, keepdim):
    shape = tuple(input.shape)
    return restore(g, shape, dim, keepdim) * _conj(
        ns(g).exp(input - restore(out, shape, dim, keepdim))
    )
