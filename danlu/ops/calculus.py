"""Integrals and derivatives of sampled functions."""

from __future__ import annotations

from danlu.ops.creation import arange
from danlu.ops.joining import cat
from danlu.ops.reduction import axis
from danlu.tensor import Tensor


def _trapezoids(name, y, x, dx, dim):
    """The areas under neighbouring samples."""
    where = axis(dim, y._array.ndim)
    n = y._array.shape[where] if y._array.ndim else 0
    if n == 0:
        return y.narrow(where, 0, 0) if y._array.ndim else y
    sums = y.narrow(where, 1, n - 1) + y.narrow(where, 0, n - 1)
    if x is None:
        return sums * dx / 2
    if x._array.ndim == 1:
        if x._array.shape[0] != n:
            raise RuntimeError(
                f"{name}: There must be one `x` value for each sample point: got "
                f"{x._array.shape[0]} "
                f"for {n}"
            )
        x = x.reshape((-1,) + (1,) * (y._array.ndim - 1 - where))
    along = where - y._array.ndim
    m = x._array.shape[along]
    return sums * (x.narrow(along, 1, m - 1) - x.narrow(along, 0, m - 1)) / 2


def trapezoid(y, x=None, *, dx=1, dim=-1):
    """The integral of samples along `dim` by the trapezoidal rule.

    Args:
        x: where the samples were taken; at distance `dx` if None.

    Example:
        >>> import danlu as torch
        >>> torch.trapezoid(torch.tensor([1.0, 2.0, 3.0]))
        tensor(4.)
    """
    return _trapezoids("trapezoid", y, x, dx, dim).sum(dim)


trapz = trapezoid


def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """The running integral of samples along `dim` by the trapezoidal rule; one element less than
    `y`.
    """
    return _trapezoids("cumulative_trapezoid", y, x, dx, dim).cumsum(dim)


def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """Estimates of the partial derivatives of samples: central differences, one-sided at the edges.

    Args:
        spacing: the distance of samples, for all dimensions or each; or their coordinates, a tensor
            per dimension.
        dim: the dimensions, all by default.
        edge_order: 1 or 2, the order of the one-sided differences.

    Returns: a list of tensors like input, one per dimension.
    """
    spacing = 1 if spacing is None else spacing
    ndim = input._array.ndim
    dims = range(ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = [axis(each, ndim) for each in dims]
    if edge_order not in (1, 2):
        raise RuntimeError(
            f"torch.gradient only supports edge_order=1 and edge_order=2: got {edge_order}"
        )
    shared = isinstance(spacing, (int, float, complex)) or (
        isinstance(spacing, Tensor) and not spacing.ndim
    )
    spacings = [spacing] * len(dims) if shared else list(spacing)
    if len(spacings) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or a list of length equal "
            "to "
            f"'len(dim)' = {len(dims)}, but got a list of length {len(spacings)}"
        )
    return [_derivative(input, step, each, edge_order) for step, each in zip(spacings, dims)]


def _derivative(y, spacing, dim, edge_order):
    n = y._array.shape[dim]
    if n <= edge_order:
        raise RuntimeError(
            "torch.gradient expected each dimension size to be at least edge_order+1: dimension "
            f"{dim} has {n}"
        )
    if isinstance(spacing, Tensor) and spacing.ndim:
        x = spacing
    else:
        kind = y.dtype if y.is_floating_point() or y.is_complex() else None
        x = arange(n, dtype=kind) * spacing
    x = x.reshape((-1,) + (1,) * (y._array.ndim - 1 - dim))

    def at(t, start, count):
        return t.narrow(dim if t is y else 0, start, count)

    left, right = at(x, 1, n - 2) - at(x, 0, n - 2), at(x, 2, n - 2) - at(x, 1, n - 2)
    inner = (
        at(y, 2, n - 2) * (left / (right * (left + right)))
        + at(y, 1, n - 2) * ((right - left) / (left * right))
        - at(y, 0, n - 2) * (right / (left * (left + right)))
    )
    if edge_order == 1:
        first = (at(y, 1, 1) - at(y, 0, 1)) / (at(x, 1, 1) - at(x, 0, 1))
        last = (at(y, n - 1, 1) - at(y, n - 2, 1)) / (at(x, n - 1, 1) - at(x, n - 2, 1))
    else:
        first = _parabola(*[(at(x, i, 1), at(y, i, 1)) for i in (0, 1, 2)])
        last = _parabola(*[(at(x, i, 1), at(y, i, 1)) for i in (n - 1, n - 2, n - 3)])
    return cat([first, inner, last], dim)


def _parabola(end, middle, far):
    """The slope at `end` of the parabola through three points."""
    (a, fa), (b, fb), (c, fc) = end, middle, far
    near, wide = b - a, c - a
    return (fb - fa) / near * (wide / (wide - near)) - (fc - fa) / wide * (near / (wide - near))
