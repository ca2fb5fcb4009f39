"""Norms of vectors and matrices, and the condition number."""

from __future__ import annotations

from math import inf

import numpy as np

from danlu.linalg._checks import is_complex, need_floating
from danlu.linalg._inverse import inv_ex
from danlu.linalg._spectral import svdvals
from danlu.ops.reduction import axes, restore
from danlu.ops.registry import Array, ns, operator, write_out


@operator(method=False, space="linalg", name="LinalgVectorNorm")
def vector_norm(x: Array, ord=2, dim=None, keepdim=False, *, dtype=None):
    """The p-norm of vectors: (sum |x|^p)^(1/p), and its limits for p = inf, -inf and 0 (the number
    of nonzeros).

    Args:
        ord: p, any number; 2 by default.
        dim: the dimensions that make up a vector; all by default.
        keepdim: keep them with size 1.
        dtype: to compute in.

    Raises:
        RuntimeError: x holds integers; a maximum of no elements.

    Example:
        >>> import danlu as torch
        >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
        tensor(5.)
    """
    if x.dtype.kind not in "fcV":
        need_floating("vector_norm", x)
    if dtype is not None:
        from danlu.backend.dtypes import numpy_dtype

        x = x.astype(numpy_dtype(dtype))
    where = axes(dim, x.ndim)
    size = np.abs(x)
    if ord == 2:
        return np.sqrt((size * size).sum(axis=where, keepdims=keepdim))
    if ord == 1:
        return size.sum(axis=where, keepdims=keepdim)
    if ord == 0:
        return (size != 0).sum(axis=where, keepdims=keepdim).astype(size.dtype)
    if abs(ord) == inf or ord < 0:
        _need_elements(x, where, ord)
    if abs(ord) == inf:
        reduce = np.max if ord > 0 else np.min
        return reduce(size, axis=where, keepdims=keepdim)
    return (size**ord).sum(axis=where, keepdims=keepdim) ** (1.0 / ord)


def _need_elements(x, where, ord):
    reduced = x.shape if where is None else [x.shape[i] for i in where]
    if 0 in reduced:
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the "
            "operation "
            "does not have an identity"
        )


@vector_norm.vjp
def _(g, out, x, ord, dim, keepdim):
    xp = ns(g)
    shape = tuple(x.shape)
    g, total = restore(g, shape, dim, keepdim), restore(out, shape, dim, keepdim)
    if ord == 0:
        return x * 0
    if ord == 2:
        zero = total == 0
        return x * xp.where(zero, 0 * g, g / xp.where(zero, total * 0 + 1, total))
    size = xp.abs(x)
    direction = x / xp.where(size == 0, size * 0 + 1, size) if is_complex(x) else xp.sign(x)
    if ord == 1:
        return direction * g
    if abs(ord) == inf:
        hit = size == total
        share = hit.sum(axis=axes(dim, len(shape)), keepdims=True)
        return direction * (hit * g / share)
    # size^(p-1) / total^(p-1), 0 where the element (p > 1) or the whole vector is 0
    zero = total == 0
    ratio = size / xp.where(zero, total * 0 + 1, total)
    tiny = ratio == 0
    power = xp.where(tiny, ratio * 0, xp.where(tiny, ratio * 0 + 1, ratio) ** (ord - 1))
    return direction * xp.where(zero, 0 * g * power, g * power)


def _matrix_dims(name, a, dim):
    if a.ndim < 2:
        raise RuntimeError(
            f"linalg.{name}: The input tensor A must have at least 2 dimensions, but it has "
            f"{a.ndim}."
        )
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError(f"linalg.{name}: dim must be a 2-tuple. Got {dim}")
    return axes(tuple(dim), a.ndim)


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    """The norm of matrices.

    Args:
        ord: "fro" (root of the sum of squares), "nuc" (sum of singular values), 2 or -2 (largest,
            smallest singular
            value), 1 or -1 (largest, smallest column sum of absolute values), inf or -inf (of
            rows).
        dim: the two dimensions of the matrices.

    Raises:
        RuntimeError: another norm.
    """
    need_floating("matrix_norm", A._array)
    rows, columns = _matrix_dims("matrix_norm", A._array, dim)
    A = A if dtype is None else A.to(dtype)
    if ord == "fro":
        made = vector_norm(A, 2, (rows, columns), keepdim)
    elif ord in ("nuc", 2, -2):
        s = svdvals(A.movedim((rows, columns), (-2, -1)))
        made = _sum_or_extreme(s, ord, -1)
        if keepdim:
            for each in sorted((rows, columns)):
                made = made.unsqueeze(each)
    elif ord in (1, -1, inf, -inf):
        summed, reduced = (rows, columns) if abs(ord) == 1 else (columns, rows)
        made = _sum_or_extreme(vector_norm(A, 1, summed, True), ord, reduced, True)
        made = made if keepdim else made.squeeze((rows, columns))
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    return made if out is None else write_out(out, made)


def _sum_or_extreme(values, ord, dim, keepdim=False):
    """The sum ("nuc"), the largest or the smallest (negative `ord`) of these; 0 if there are none."""
    if ord == "nuc" or values._array.shape[dim] == 0:
        return values.sum(dim, keepdim)
    return values.amax(dim, keepdim) if ord > 0 else values.amin(dim, keepdim)


def norm(A, ord=None, dim=None, keepdim=False, *, dtype=None, out=None):
    """The norm of vectors or matrices, by `ord` and the number of dimensions in `dim`.

    Without `ord`, the 2-norm of all elements in `dim`; with it, `vector_norm` over one dimension
    and
    `matrix_norm` over two (of 1-D and 2-D tensors as a whole, if `dim` is None).
    """
    if dim is not None and not isinstance(dim, int) and len(dim) not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}"
        )
    if ord is not None and dim is None and A._array.ndim not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. "
            f"Got {A._array.ndim}D."
        )
    of_matrices = A._array.ndim == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if ord is not None and (of_matrices or isinstance(ord, str)):
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype, out=out)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)


def cond(A, p=None, *, out=None):
    """The condition number ||A|| ||A^-1|| of matrices, inf for singular ones.

    Args:
        p: a norm as in `matrix_norm`; the ratio of the extreme singular values by default.
    """
    if p not in (None, "fro", "nuc", 1, -1, 2, -2, inf, -inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if p in (None, 2, -2):
        s = svdvals(A)
        if s._array.shape[-1] == 0:
            made = s.new_zeros(s._array.shape[:-1])
        else:
            made = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    else:
        inverse, info = inv_ex(A)
        made = matrix_norm(A, p) * matrix_norm(inverse.nan_to_num(0.0), p)
        made = made.masked_fill(info != 0, inf)
    return made if out is None else write_out(out, made)
