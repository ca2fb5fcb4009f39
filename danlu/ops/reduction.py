"""Reductions and scans along dimensions."""

from __future__ import annotations

from math import prod as product

import numpy as np

from danlu.backend import dtypes
from danlu.ops.binary import true_divide
from danlu.ops.pointwise import _conj
from danlu.ops.registry import Array, composite, dimension_error, ns, operator, return_type

__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "cummax", "cummin",
    "cumprod", "cumsum", "logcumsumexp", "logsumexp", "max", "mean", "median", "min", "mode", "nanmean",
    "nanmedian", "nansum", "prod", "std", "std_mean", "sum", "var", "var_mean",
]  # fmt: skip

_py_max, _py_min = max, min


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
        raise TypeError(f"argument 'dim' must be int or tuple of ints, not {type(dim).__name__}") from None
    most = ndim or 1
    if not -most <= number < most:
        raise dimension_error(number, ndim)
    return number + most if number < 0 else number


def numpy_type(dtype):
    return None if dtype is None else dtypes.numpy_dtype(dtype)


def _summed_type(input, dtype):
    """Sums of integers and bools are int64, as all of PyTorch's."""
    if dtype is not None:
        return dtypes.numpy_dtype(dtype)
    return np.dtype(np.int64) if input.dtype.kind in "biu" else None


def restore(g, shape, dim, keepdim):
    """A gradient of a reduction, with the reduced dimensions back (of size 1)."""
    if keepdim or dim is None and g.ndim == len(shape):
        return g
    ndim = len(shape)
    reduced = axes(dim, ndim) or range(ndim)
    return g.reshape(tuple([1 if i in reduced else n for i, n in enumerate(shape)]))


@operator(method=True)
def sum(input: Array, dim=None, keepdim=False, *, dtype=None):
    """The sum over some dimensions (all if `dim` is None).

    Args:
        dim: an int or a tuple of ints.
        keepdim: keep the reduced dimensions, with size 1.
        dtype: of the result; integers and bools are summed in int64 otherwise.
    """
    kind = _summed_type(input, dtype)
    if dim is None and not keepdim and input.dtype.kind == "f":
        return np.add.reduce(input, None, kind)
    return input.sum(axis=axes(dim, input.ndim), dtype=kind, keepdims=keepdim)


@sum.vjp
def _(g, input_shape, input_dtype, dim, keepdim):
    xp = ns(g)
    return xp.broadcast_to(restore(g, input_shape, dim, keepdim), input_shape)


@operator()
def nansum(input: Array, dim=None, keepdim=False, *, dtype=None):
    """The sum over some dimensions, NaN counted as 0."""
    kept = np.where(np.isnan(input), 0, input) if input.dtype.kind in "fc" else input
    return kept.sum(axis=axes(dim, input.ndim), dtype=_summed_type(input, dtype), keepdims=keepdim)


@nansum.vjp
def _(g, input, dim, keepdim):
    return restore(g, tuple(input.shape), dim, keepdim) * (input == input)


def _need_float(name, input, dtype):
    if dtype is None and input.dtype.kind in "biu":
        word = {"b": "Bool", "i": "Long", "u": "Byte"}[input.dtype.kind]
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point or complex "
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
    if dim is None and not keepdim:
        total = np.add.reduce(input, None, kind)
        return total / input.size if input.size else total * np.nan
    where = axes(dim, input.ndim)
    count = input.size if where is None else product([input.shape[i] for i in where])
    total = input.sum(axis=where, dtype=kind, keepdims=keepdim)
    return total / count if count else total * np.nan


@mean.vjp
def _(g, input_shape, dim, keepdim):
    xp = ns(g)
    where = axes(dim, len(input_shape))
    count = product(input_shape if where is None else [input_shape[i] for i in where])
    return xp.broadcast_to(restore(g, input_shape, dim, keepdim) / _py_max(count, 1), input_shape)


@composite(method=True)
def nanmean(input, dim=None, keepdim=False, *, dtype=None, out=None):
    """The mean over some dimensions, without the NaNs."""
    count = (input == input).sum(dim, keepdim)
    return true_divide(nansum(input, dim, keepdim, dtype=dtype), count, out=out)


@operator()
def prod(input: Array, dim=None, keepdim=False, *, dtype=None):
    """The product over one dimension, or over all."""
    where = None if dim is None or not input.ndim else axis(dim, input.ndim)
    return input.prod(axis=where, dtype=_summed_type(input, dtype), keepdims=keepdim)


@prod.vjp
def _(g, input, dim, keepdim):
    xp = ns(g)
    shape = tuple(input.shape)
    if dim is None:
        flat = input.reshape(-1)
        return (g.reshape(()) * _conj(products_of_others(xp, flat, 0))).reshape(shape)
    if not shape:
        return g * 1
    where = axis(dim, len(shape))
    return restore(g, shape, dim, keepdim) * _conj(products_of_others(xp, input, where))


def products_of_others(xp, x, where):
    """Along one dimension, the product of all elements but each one: exact also where elements are 0."""
    n = x.shape[where]
    if n == 0:
        return x
    ones = xp.ones_like(_take(x, where, slice(0, 1)))
    before = xp.concat([ones, cumprod.on(_take(x, where, slice(0, n - 1)), where)], axis=where)
    reverse = xp.flip(_take(x, where, slice(1, n)), axis=where)
    after = xp.flip(xp.concat([ones, cumprod.on(reverse, where)], axis=where), axis=where)
    return before * after


def _take(x, where, part):
    return x[(slice(None),) * where + (part,)]


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


# ---------------------------------------------------------------- extremes
def _extreme(name, reduce, arg):
    """max and min: one tensor, two tensors, or values and indices along a dimension."""
    pair = return_type(name, ("values", "indices"))

    def whole(input: Array):
        if input.size == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
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
            raise IndexError(
                f"{name}(): Expected reduction dim {where} to have non-zero size."
            )
        indices = np.expand_dims(arg(input, axis=where), where)
        values = np.take_along_axis(input, indices, where)
        if not keepdim:
            values, indices = values.squeeze(where), indices.squeeze(where)
        return values, indices.astype(np.int64, copy=False)

    along.__name__ = name
    along = operator(method=False)(along)

    @along.vjp
    def _(g, outs, input_shape, dim, keepdim):
        return spread(g[0], outs[1], input_shape, dim, keepdim)

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

    With `dim` the result is a named tuple of `values` and `indices`, the position of the first {name}imum.

    Example:
        >>> import danlu as torch
        >>> torch.{name}(torch.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1).indices
        tensor([{'1, 0' if name == 'max' else '0, 1'}])
    """
    return composite(method=True)(public)


def spread(g, indices, shape, dim, keepdim):
    """The gradient of a selection along `dim`: `g` at the selected positions, 0 elsewhere."""
    from danlu.ops.indexing import scatter_zeros

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


def _amaxmin(name, reduce):
    def body(input: Array, dim=(), keepdim=False):
        return reduce(input, axis=axes(dim, input.ndim), keepdims=keepdim)

    body.__name__ = name
    body.__doc__ = f"The {name[1:]}imum over some dimensions; ties share the gradient."
    op = operator()(body)

    @op.vjp
    def _(g, input, out, dim, keepdim):
        shape = tuple(input.shape)
        hit = input == restore(out, shape, dim or None, keepdim)
        share = hit.sum(axis=axes(dim, len(shape)), keepdims=True)
        return restore(g, shape, dim or None, keepdim) * hit / share

    return op


amax = _amaxmin("amax", np.max)
amin = _amaxmin("amin", np.min)
_pair_aminmax = return_type("aminmax", ("min", "max"))


@composite(method=True)
def aminmax(input, *, dim=None, keepdim=False, out=None):
    """The smallest and the largest elements, as a named tuple (min, max)."""
    dims = () if dim is None else dim
    return _pair_aminmax((amin(input, dims, keepdim), amax(input, dims, keepdim)))


def _arg(name, arg, word):
    def body(input: Array, dim=None, keepdim=False):
        if input.size == 0 and dim is None:
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        if dim is None or input.ndim == 0:
            found = np.asarray(arg(input), dtype=np.int64)
            return found.reshape((1,) * input.ndim) if keepdim else found
        where = axis(dim, input.ndim)
        return np.asarray(arg(input, axis=where, keepdims=keepdim), dtype=np.int64)

    body.__name__ = name
    body.__doc__ = f"The position of the first {word} element: in the flattened tensor, or along `dim`."
    return operator(differentiable=False)(body)


argmax = _arg("argmax", np.argmax, "largest")
argmin = _arg("argmin", np.argmin, "smallest")


# ---------------------------------------------------------------- spread of values
@operator(method=False, name="Var")
def _variance(input: Array, dim=None, correction=1, keepdim=False):
    """The variance over some dimensions, with `correction` degrees of freedom taken off."""
    where = axes(dim, input.ndim)
    count = input.size if where is None else product([input.shape[i] for i in where])
    centred = input - input.mean(axis=where, keepdims=True)
    squares = (centred * centred.conj()).real if input.dtype.kind == "c" else centred * centred
    total = squares.sum(axis=where, keepdims=keepdim)
    return total / total.dtype.type(_py_max(count - correction, 0))


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
        raise RuntimeError(f"{name} and its relatives only support floating point and complex dtypes")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction


@composite(method=True)
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None, axis=None):
    """The variance over some dimensions, divided by N - 1 (Bessel) unless `unbiased=False` or `correction` says otherwise."""
    dim, correction = _spread_arguments("var", input, dim if axis is None else axis, unbiased, correction)
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
    dim, correction = _spread_arguments("std", input, dim if axis is None else axis, unbiased, correction)
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
    top = input.max(axis=where, keepdims=True) if input.size else np.zeros((1,) * input.ndim)
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


# ---------------------------------------------------------------- scans
@operator(inplace=True)
def cumsum(input: Array, dim, *, dtype=None):
    """Running sums along `dim`."""
    where = axis(dim, input.ndim)
    if input.ndim == 0:
        return input.astype(_summed_type(input, dtype) or input.dtype)
    return np.cumsum(input, axis=where, dtype=_summed_type(input, dtype))


@cumsum.vjp
def _(g, dim):
    if not g.ndim:
        return g * 1
    xp = ns(g)
    return xp.flip(cumsum.on(xp.flip(g, axis=dim), dim), axis=dim)


@operator(inplace=True)
def cumprod(input: Array, dim, *, dtype=None):
    """Running products along `dim`."""
    where = axis(dim, input.ndim)
    if input.ndim == 0:
        return input.astype(_summed_type(input, dtype) or input.dtype)
    return np.cumprod(input, axis=where, dtype=_summed_type(input, dtype))


@cumprod.vjp
def _(g, out, input, dim):
    xp = ns(g)
    if not input.ndim:
        return g * 1
    where = axis(dim, input.ndim)
    n = input.shape[where]
    # d out[j] / d x[i] = prod of x[k], k <= j, k != i: exact at zeros, O(n^2) in memory only there
    if not bool((input == 0).any()):
        total = xp.flip(cumsum.on(xp.flip(g * _conj(out), axis=where), where), axis=where)
        return total / _conj(input)
    rows = []
    for i in range(n):
        others = xp.concat(
            [
                _take(input, where, slice(0, i)),
                xp.ones_like(_take(input, where, slice(i, i + 1))),
                _take(input, where, slice(i + 1, n)),
            ],
            axis=where,
        )
        partial = _take(cumprod.on(others, where), where, slice(i, n))
        share = _take(g, where, slice(i, n)) * _conj(partial)
        rows.append(share.sum(axis=where, keepdims=True))
    return xp.concat(rows, axis=where)


@operator()
def logcumsumexp(input: Array, dim):
    """Running log(sum(exp(x))) along `dim`, without overflow."""
    if input.ndim == 0:
        return input.copy()
    return np.logaddexp.accumulate(input, axis=axis(dim, input.ndim))


@logcumsumexp.vjp
def _(g, out, input, dim):
    xp = ns(g)
    if not input.ndim:
        return g * 1
    where = axis(dim, input.ndim)
    # sum over j >= i of g[j] exp(x[i] - out[j]), scaled by the largest -out so that nothing overflows
    top = (-out).max(axis=where, keepdims=True) if isinstance(out, np.ndarray) else amax(-out, where, True)
    weighted = xp.flip(cumsum.on(xp.flip(g * xp.exp(-out - top), axis=where), where), axis=where)
    return weighted * xp.exp(input + top)


def _cumulative_extreme(name, better):
    def body(input: Array, dim):
        if input.ndim == 0:
            return input.copy(), np.zeros((), np.int64)
        where = axis(dim, input.ndim)
        x = np.moveaxis(input, where, 0)
        indices = np.zeros(x.shape, np.int64)
        values = x.copy()
        for i in range(1, len(x)):
            # ties move on to the later element, and NaN wins and stays
            wins = better(x[i], values[i - 1]) | (x[i] != x[i])
            wins &= ~((values[i - 1] != values[i - 1]) & (x[i] == x[i]))
            values[i] = np.where(wins, x[i], values[i - 1])
            indices[i] = np.where(wins, i, indices[i - 1])
        return np.moveaxis(values, 0, where), np.moveaxis(indices, 0, where)

    body.__name__ = name
    body.__doc__ = f"Running {name[3:]}ima along `dim` and where they were found."
    op = operator(returns=("values", "indices"))(body)

    @op.vjp
    def _(g, outs, input_shape, dim):
        from danlu.ops.indexing import scatter_add_zeros

        if not input_shape:
            return g[0]
        indices = outs[1]
        return scatter_add_zeros.on(
            g[0], getattr(indices, "_array", indices), input_shape, axis(dim, len(input_shape))
        )

    return op


cummax = _cumulative_extreme("cummax", np.greater_equal)
cummin = _cumulative_extreme("cummin", np.less_equal)


# ---------------------------------------------------------------- middle and commonest values
def _middle(name, last):
    pair = return_type(name, ("values", "indices"))

    def along(input: Array, dim=-1, keepdim=False):
        if input.ndim == 0:
            return input.copy(), np.zeros((), np.int64)
        where = axis(dim, input.ndim)
        order = np.argsort(input, axis=where, kind="stable")
        count = np.asarray(input.shape[where])
        if input.dtype.kind == "f":
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
    def _(g, outs, input_shape, dim, keepdim):
        return spread(g[0], outs[1], input_shape, dim, keepdim)

    def public(input, dim=None, keepdim=False, *, out=None, axis=None):
        dim = dim if axis is None else axis
        if dim is None:
            if input.numel() == 0:
                return input.new_full((), float("nan"))
            return along(input.reshape(-1), 0, False)[0]
        return pair(along(input, dim, keepdim, out=out))

    public.__name__ = name
    public.__doc__ = (
        "The median: the lower of the two middle elements, of all or along `dim` (values and indices)."
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
    shape = rows.shape[:-1]
    values, indices = values.reshape(shape), indices.reshape(shape)
    if keepdim:
        values, indices = np.expand_dims(values, where), np.expand_dims(indices, where)
    return values, indices


@mode.vjp
def _(g, outs, input_shape, dim, keepdim):
    return spread(g[0], outs[1], input_shape, dim, keepdim)


