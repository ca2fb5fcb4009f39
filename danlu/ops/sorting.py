"""Sorting, ranking, searching and counting."""

from __future__ import annotations

import numpy as np

from danlu.backend import conversions
from danlu.ops.checks import by_value
from danlu.ops.extremes import sort_key, spread
from danlu.ops.reduction import axis
from danlu.ops.registry import Array, composite, operator, return_type, write_out
from danlu.tensor import Tensor, wrap

__all__ = [
    "argsort", "bincount", "bucketize", "histc", "histogram", "histogramdd", "isin", "kthvalue",
    "msort", "quantile", "nanquantile",
    "searchsorted", "sort", "topk", "unique", "unique_consecutive",
]  # fmt: skip


def _order(input, where, descending):
    """A stable order; NaN counts as the largest."""
    input = sort_key(input)
    if not descending:
        return np.argsort(input, axis=where, kind="stable")
    # stable and descending: sort the reversed array upwards, and read the order backwards
    n = input.shape[where]
    order = np.argsort(np.flip(input, where), axis=where, kind="stable")
    return n - 1 - np.flip(order, where)


@operator(method=False, name="Sort")
def _sort(input: Array, dim=-1, descending=False):
    if input.ndim == 0:
        return input.copy(), np.zeros((), np.int64)
    where = axis(dim, input.ndim)
    order = _order(input, where, descending)
    return np.take_along_axis(input, order, where), order.astype(np.int64, copy=False)


@_sort.vjp
def _(g, out1, input_shape, dim):
    return spread(g[0], out1, input_shape, dim, True)


_sorted_pair = return_type("sort", ("values", "indices"))


@composite(method=True)
def sort(input, dim=-1, descending=False, stable=False, *, out=None):
    """The elements in order along `dim`, and where they stood: a named tuple (values, indices)."""
    return _sorted_pair(_sort(input, dim, bool(descending), out=out))


@composite(method=True)
def argsort(input, dim=-1, descending=False, stable=False):
    """The positions that sort the elements along `dim`."""
    return _sort(input, dim, bool(descending))[1]


@composite(method=True)
def msort(input, *, out=None):
    """The elements in order along the first dimension."""
    made = _sort(input, 0)[0]
    return made if out is None else write_out(out, made)


@operator(method=False, name="Topk")
def _topk(input: Array, k, dim=-1, largest=True):
    if input.ndim == 0:
        if k not in (0, 1):
            raise RuntimeError("selected index k out of range")
        return input.copy(), np.zeros((), np.int64)
    where = axis(dim, input.ndim)
    if not 0 <= k <= input.shape[where]:
        raise RuntimeError(
            f"selected index k out of range: k = {k}, but dimension {where} has "
            f"{input.shape[where]} elements"
        )
    order = _order(input, where, largest)[(slice(None),) * where + (slice(0, k),)]
    return np.take_along_axis(input, order, where), order.astype(np.int64, copy=False)


@_topk.vjp
def _(g, out1, input_shape, dim):
    return spread(g[0], out1, input_shape, dim, True)


_topk_pair = return_type("topk", ("values", "indices"))


@composite(method=True)
def topk(input, k, dim=-1, largest=True, sorted=True, *, out=None):
    """The k largest (or smallest) elements along `dim`, in order, and where they stood."""
    k = k.item() if isinstance(k, Tensor) else k
    return _topk_pair(_topk(input, k, dim, bool(largest), out=out))


@operator(method=False, name="Kthvalue")
def _kthvalue(input: Array, k, dim=-1, keepdim=False):
    if input.ndim == 0:
        if k != 1:
            raise RuntimeError("kthvalue(): selected number k out of range for dimension 0")
        return input.copy(), np.zeros((), np.int64)
    where = axis(dim, input.ndim)
    if not 1 <= k <= input.shape[where]:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {where}")
    order = np.argsort(sort_key(input), axis=where, kind="stable")[
        (slice(None),) * where + (slice(k - 1, k),)
    ]
    values = np.take_along_axis(input, order, where)
    if not keepdim:
        values, order = values.squeeze(where), order.squeeze(where)
    return values, order.astype(np.int64, copy=False)


@_kthvalue.vjp
def _(g, out1, input_shape, dim, keepdim):
    return spread(g[0], out1, input_shape, dim, keepdim)


_kth_pair = return_type("kthvalue", ("values", "indices"))


@composite(method=True)
def kthvalue(input, k, dim=-1, keepdim=False, *, out=None):
    """The k-th smallest element along `dim` (k counts from 1), and where it stands."""
    return _kth_pair(_kthvalue(input, k, dim, keepdim, out=out))


# ---------------------------------------------------------------- quantiles
_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@by_value()
def _check_quantiles(q, name):
    if np.any((q < 0) | (q > 1)):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")


def _quantile(name, input, q, dim, keepdim, interpolation, skip_nan, out):
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    if not isinstance(q, Tensor):
        q = input.new_tensor(q)
    if q._array.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if input._array.size == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if input._array.dtype not in (np.float32, np.float64):
        raise RuntimeError(
            f"{name}() input tensor must be either float or double dtype, got {input.dtype!r}"
        )
    if q._array.dtype != input._array.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    _check_quantiles(q._array, name)
    original = input._array.ndim
    if dim is None:
        input, where = input.reshape(-1), 0
    else:
        where = axis(dim, original)
        input = input.reshape(1) if original == 0 else input
    ordered = _sort(input.movedim(where, -1) if input._array.ndim > 1 else input, -1)[0]
    n = ordered._array.shape[-1]
    nan = np.isnan(ordered._array)
    last = (n - nan.sum(-1, keepdims=True) if skip_nan else np.full((*nan.shape[:-1], 1), n)) - 1
    kind = input._array.dtype
    # a tensor, as the quantile depends on q through it
    rank = q.reshape((-1,) + (1,) * ordered._array.ndim) * wrap(np.maximum(last, 0).astype(kind))
    if not skip_nan:
        rank = rank.masked_fill(wrap(nan.any(-1, keepdims=True)), n - 1)
    rank = rank[..., 0]
    ranks = rank._array
    if interpolation == "nearest":
        ranks = np.round(ranks)
    below = np.floor(ranks).astype(np.int64)
    above = np.ceil(ranks).astype(np.int64)
    if interpolation == "lower":
        above = below
    elif interpolation == "higher":
        below = above
    stretched = ordered[None].expand((len(ranks), *ordered._array.shape))
    low = stretched.gather(-1, wrap(below[..., None])).squeeze(-1)
    high = stretched.gather(-1, wrap(above[..., None])).squeeze(-1)
    if interpolation == "midpoint":
        weight = wrap(np.full(ranks.shape, 0.5, kind))
    elif interpolation == "linear":
        weight = rank - wrap(below.astype(kind))
    else:
        weight = wrap((ranks - below).astype(kind))
    found = low.lerp(high, weight)
    if original == 0:
        found = found.reshape(-1)
    elif keepdim:
        found = found.unsqueeze(-1 if dim is None else where + 1)
        if dim is None:
            found = found.reshape((len(ranks),) + (1,) * original)
    if q._array.ndim == 0:
        found = found.squeeze(0)
    return found if out is None else write_out(out, found)


@composite(method=True)
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None):
    """The q-th quantiles (q in [0, 1], a number or a vector) along `dim` or of all elements."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False, out)


@composite(method=True)
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None):
    """The q-th quantiles without the NaNs."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True, out)


# ---------------------------------------------------------------- counting
@composite(method=True)
def bincount(input, weights=None, minlength=0):
    """How often each value from 0 on occurs, or the sum of its weights.

    Raises:
        RuntimeError: negative values, or not a vector of integers.
    """
    array = input._array
    if array.ndim != 1 or (array.size and array.min() < 0) or array.dtype.kind not in "iu":
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is None:
        return wrap(np.bincount(array, minlength=minlength))
    if weights._array.shape != array.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    found = np.bincount(array, weights._array, minlength)
    return wrap(found.astype(np.float32) if weights._array.dtype == np.float32 else found)


@composite(method=True)
def histc(input, bins=100, min=0, max=0, *, out=None):
    """How many elements fall into each of `bins` equal intervals of [min, max] (of the data if both
    are 0).
    """
    if bins <= 0:
        raise RuntimeError("torch.histc(): bins must be > 0")
    made = _counts(input, bins, float(min), float(max))
    return made if out is None else write_out(out, made)


@operator(method=False, differentiable=False)
def _counts(array: Array, bins, low, high):
    if low == high and array.size:
        low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    if low == high:
        low, high = low - 1, high + 1
    inside = array[(array >= low) & (array <= high)].astype(np.float64)
    places = np.minimum(((inside - low) * bins / (high - low)).astype(np.int64), bins - 1)
    return np.bincount(places, minlength=bins).astype(array.dtype)


_histogram_pair = return_type("histogram", ("hist", "bin_edges"))


@composite(method=True)
def histogram(input, bins, *, range=None, weight=None, density=False, out=None):
    """Counts per interval and the edges of the intervals: so many equal ones, or between given
    edges.
    """
    edges = bins._array if isinstance(bins, Tensor) else bins
    weights = None if weight is None else weight._array.reshape(-1)
    array = input._array.reshape(-1)
    hist, found = np.histogram(array, edges, range, density, weights)
    kind = input._array.dtype
    made = _histogram_pair((wrap(hist.astype(kind)), wrap(found.astype(kind))))
    return made if out is None else write_out(out, made)


def histogramdd(input, bins, *, range=None, weight=None, density=False):
    """`histogram` of points in several dimensions, a row each: counts, and the edges per dimension.

    Args:
        range: the lowest and highest edge of every dimension, one after the other.
    """
    array = input._array.reshape(-1, input._array.shape[-1])
    kind = array.dtype
    bins = (
        [x._array if isinstance(x, Tensor) else x for x in bins]
        if not isinstance(bins, int)
        else bins
    )
    limits = None if range is None else np.asarray(range, dtype=np.float64).reshape(-1, 2)
    weights = None if weight is None else weight._array.reshape(-1)
    hist, edges = np.histogramdd(array, bins, limits, density, weights)
    return _histogramdd_pair((wrap(hist.astype(kind)), tuple(wrap(x.astype(kind)) for x in edges)))


_histogramdd_pair = return_type("histogramdd", ("hist", "bin_edges"))


@composite(method=True)
def isin(elements, test_elements, *, assume_unique=False, invert=False, out=None):
    """Which elements are among the test elements."""
    a = elements._array if isinstance(elements, Tensor) else np.asarray(elements)
    b = test_elements._array if isinstance(test_elements, Tensor) else np.asarray(test_elements)
    made = wrap(conversions.as_array(np.isin(a, b, assume_unique=assume_unique, invert=invert)))
    return made if out is None else write_out(out, made)


# ---------------------------------------------------------------- searching
def searchsorted(
    sorted_sequence, input, *, out_int32=False, right=False, side=None, out=None, sorter=None
):
    """Where each value would be inserted to keep the innermost dimension sorted.

    Args:
        right: after equal elements instead of before them; `side="right"` says the same.
    """
    if side is not None and side not in ("left", "right"):
        raise RuntimeError(
            f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}"
        )
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left "
            "while right was True"
        )
    where = "right" if right or side == "right" else "left"
    keys = sorted_sequence._array
    if sorter is not None:
        keys = np.take_along_axis(keys, sorter._array, -1)
    values = input._array if isinstance(input, Tensor) else np.asarray(input)
    if keys.ndim == 1:
        found = np.searchsorted(keys, values, where)
    else:
        if values.shape[:-1] != keys.shape[:-1]:
            raise RuntimeError(
                "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
                "dimensions of "
                "boundaries tensor and input value tensor must match, but we got boundaries "
                f"tensor {list(keys.shape)} "
                f"and input value tensor {list(values.shape)}"
            )
        count = int(np.prod(keys.shape[:-1]))
        flat_keys = keys.reshape(count, keys.shape[-1])
        flat = values.reshape(count, values.shape[-1])
        rows = [np.searchsorted(k, v, where) for k, v in zip(flat_keys, flat)]
        found = np.stack(rows).reshape(values.shape) if rows else np.zeros(values.shape, np.int64)
    made = wrap(conversions.as_array(found, dtype=np.int32 if out_int32 else np.int64))
    return made if out is None else write_out(out, made)


def bucketize(input, boundaries, *, out_int32=False, right=False, out=None):
    """The bucket of each value between sorted boundaries."""
    if boundaries._array.ndim != 1:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor must be 1 dimension, but got "
            f"dim({boundaries._array.ndim})"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


# ---------------------------------------------------------------- distinct values
@composite(method=True)
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct elements (or slices along `dim`) in order; on request where each is found, and
    how often.
    """
    array = input._array
    where = None if dim is None else axis(dim, array.ndim)
    values, inverse, counts = np.unique(
        array, return_inverse=True, return_counts=True, axis=where, equal_nan=False
    )
    inverse = inverse.reshape(array.shape if where is None else -1)
    results = [wrap(values)]
    if return_inverse:
        results.append(wrap(inverse.astype(np.int64)))
    if return_counts:
        results.append(wrap(counts.astype(np.int64)))
    return results[0] if len(results) == 1 else tuple(results)


@composite(method=True)
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The elements (or slices along `dim`) without those equal to the one before."""
    array = input._array
    rows = array.reshape(-1) if dim is None else np.moveaxis(array, axis(dim, array.ndim), 0)
    n = len(rows)
    changed = np.ones(n, np.bool_)
    if n > 1:
        differs = rows[1:] != rows[:-1]
        changed[1:] = differs.reshape(n - 1, -1).any(1)
    values = rows[changed]
    if dim is not None:
        values = np.moveaxis(values, 0, axis(dim, array.ndim))
    results = [wrap(np.ascontiguousarray(values))]
    if return_inverse:
        inverse = np.cumsum(changed) - 1
        results.append(wrap(inverse.reshape(array.shape) if dim is None else inverse))
    if return_counts:
        starts = np.flatnonzero(changed)
        results.append(wrap(np.diff(np.append(starts, n)).astype(np.int64)))
    return results[0] if len(results) == 1 else tuple(results)
