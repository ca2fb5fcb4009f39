"""Running sums, products and extremes along a dimension."""

from __future__ import annotations

import numpy as np

from danlu.ops.pointwise import _conj
from danlu.ops.reduction import axis, summed_type
from danlu.ops.registry import Array, ns, operator
from danlu.ops.scatter import scatter_add_zeros

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "logcumsumexp"]


def _running(scan, input, where, dtype):
    """A scan; 16-bit numbers are combined in 32 bits."""
    kind = summed_type(input, dtype)
    if kind is None and input.dtype.itemsize == 2 and input.dtype.kind in "fV":
        return scan(input, axis=where, dtype=np.float32).astype(input.dtype)
    return scan(input, axis=where, dtype=kind)


@operator(inplace=True)
def cumsum(input: Array, dim, *, dtype=None):
    """Running sums along `dim`."""
    where = axis(dim, input.ndim)
    if input.ndim == 0:
        return input.astype(summed_type(input, dtype) or input.dtype)
    return _running(np.cumsum, input, where, dtype)


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
        return input.astype(summed_type(input, dtype) or input.dtype)
    return _running(np.cumprod, input, where, dtype)


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
                part_of(input, where, slice(0, i)),
                xp.ones_like(part_of(input, where, slice(i, i + 1))),
                part_of(input, where, slice(i + 1, n)),
            ],
            axis=where,
        )
        partial = part_of(cumprod.on(others, where), where, slice(i, n))
        share = part_of(g, where, slice(i, n)) * _conj(partial)
        rows.append(share.sum(axis=where, keepdims=True))
    return xp.concat(rows, axis=where)


@operator()
def logcumsumexp(input: Array, dim):
    """Running log(sum(exp(x))) along `dim`, without overflow."""
    if input.ndim == 0:
        return input.copy()
    where = axis(dim, input.ndim)
    if input.dtype.kind != "c":
        return np.logaddexp.accumulate(input, axis=where)
    top = input.real.max(axis=where, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    return (np.log(np.cumsum(np.exp(input - top), axis=where)) + top).astype(input.dtype)


@logcumsumexp.vjp
def _(g, out, input, dim):
    xp = ns(g)
    if not input.ndim:
        return g * 1
    where = axis(dim, input.ndim)
    # sum over j >= i of g[j] exp(x[i] - out[j]), scaled by the largest -out so that nothing
    # overflows
    top = xp.max(-out.real, axis=where, keepdims=True)
    scaled = g * _conj(xp.exp(-out - top))
    weighted = xp.flip(cumsum.on(xp.flip(scaled, axis=where), where), axis=where)
    return weighted * _conj(xp.exp(input + top))


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
    def _(g, out1, input_shape, dim):
        if not input_shape:
            return g[0]
        indices = out1
        return scatter_add_zeros.on(
            g[0], getattr(indices, "_array", indices), input_shape, axis(dim, len(input_shape))
        )

    return op


cummax = _cumulative_extreme("cummax", np.greater_equal)
cummin = _cumulative_extreme("cummin", np.less_equal)


def products_of_others(xp, x, where):
    """Along one dimension, the product of all elements but each one: exact also where elements are
    0.
    """
    n = x.shape[where]
    if n == 0:
        return x
    ones = xp.ones_like(part_of(x, where, slice(0, 1)))
    before = xp.concat([ones, cumprod.on(part_of(x, where, slice(0, n - 1)), where)], axis=where)
    reverse = xp.flip(part_of(x, where, slice(1, n)), axis=where)
    after = xp.flip(xp.concat([ones, cumprod.on(reverse, where)], axis=where), axis=where)
    return before * after


def part_of(x, where, part):
    return x[(slice(None),) * where + (part,)]
