"""The linear algebra that PyTorch publishes outside `torch.linalg`, with its older conventions."""

from __future__ import annotations

import numpy as np

from danlu.linalg._checks import adjoint
from danlu.linalg._factors import cholesky, geqrf, householder_product, reflected
from danlu.linalg._factors import qr as _qr
from danlu.linalg._inverse import (
    det,
    logdet,
    slogdet,
    solve_triangular,
    triangular_solution,
)
from danlu.linalg._inverse import inv as inverse
from danlu.linalg._least_squares import matrix_rank, pinv
from danlu.linalg._lu import lu_solve as _lu_solve
from danlu.linalg._lu import lu_unpack
from danlu.linalg._lu import old_lu as lu
from danlu.linalg._norms import matrix_norm, vector_norm
from danlu.linalg._products import cross as _cross
from danlu.linalg._products import matrix_exp, matrix_power
from danlu.linalg._products import vander as _vander
from danlu.linalg._spectral import svd as _svd
from danlu.ops.registry import Array, operator, return_type, write_out
from danlu.ops.rules import sum_to
from danlu.tensor import publish_method

__all__ = [
    "cdist", "cholesky", "cholesky_inverse", "cholesky_solve", "cross", "det", "dist",
    "frobenius_norm",
    "geqrf", "inverse",
    "logdet", "lu", "lu_solve", "lu_unpack", "matrix_exp", "matrix_power", "matrix_rank", "norm",
    "norm_except_dim", "nuclear_norm", "orgqr", "ormqr", "pca_lowrank", "pinverse", "qr", "slogdet",
    "svd",
    "svd_lowrank", "triangular_solve", "vander",
]  # fmt: skip

_qr_pair = return_type("qr", ("Q", "R"))
_svd_triple = return_type("svd", ("U", "S", "V"))
_triangular_pair = return_type("triangular_solve", ("solution", "cloned_coefficient"))
orgqr = householder_product


def qr(input, some=True, *, out=None):
    """Q and R of `input`; `some=False` makes Q square."""
    made = _qr_pair(_qr(input, "reduced" if some else "complete"))
    return made if out is None else write_out(out, made)


def svd(input, some=True, compute_uv=True, *, out=None):
    """U, S and V (not its adjoint) with input = U diag(S) V^H; without `compute_uv`, U and V are
    zeros.
    """
    u, s, vh = _svd(input, not some)
    v = vh.mH
    if not compute_uv:
        m, n = input._array.shape[-2:]
        batch = input._array.shape[:-2]
        u, v = u.new_zeros((*batch, m, m)), v.new_zeros((*batch, n, n))
    made = _svd_triple((u, s, v))
    return made if out is None else write_out(out, made)


def pinverse(input, rcond=1e-15):
    """The pseudoinverse, without the singular values below rcond times the largest."""
    return pinv(input, rtol=rcond)


def norm(
    input, p="fro", dim=None, keepdim=False, out=None, dtype=None, *, axis=None, keepdims=None
):
    """The p-norm along some dimensions, or the Frobenius ("fro") or nuclear ("nuc") norm of
    matrices.
    """
    dim = dim if axis is None else axis
    keepdim = keepdim if keepdims is None else keepdims
    if p == "nuc":
        return nuclear_norm(input if dtype is None else input.to(dtype), dim, keepdim, out=out)
    ord = 2 if p in ("fro", None) else p
    return vector_norm(input, ord, dim, keepdim, dtype=dtype, out=out)


def frobenius_norm(input, dim=(), keepdim=False, *, out=None):
    """The square root of the sum of squares along some dimensions."""
    return vector_norm(input, 2, dim, keepdim, out=out)


def nuclear_norm(input, dim=None, keepdim=False, *, out=None):
    """The sum of the singular values of matrices."""
    return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, out=out)


def norm_except_dim(v, pow=2, dim=0):
    """The norms of the slices along `dim`, with the other dimensions kept at size 1; of everything
    for -1.
    """
    if dim == -1:
        return vector_norm(v, pow)
    return vector_norm(v, pow, tuple(i for i in range(v._array.ndim) if i != dim), True)


def cross(input, other, dim=None, *, out=None):
    """`linalg.cross`, by default along the first dimension of size 3."""
    if dim is None:
        dim = next((i for i, n in enumerate(input._array.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(
                f"no dimension of size 3 in input: its shape is {list(input._array.shape)}"
            )
    shape = np.broadcast_shapes(input._array.shape, other._array.shape)
    return _cross(input.expand(shape), other.expand(shape), dim=dim, out=out)


def vander(x, N=None, increasing=False):
    """The Vandermonde matrix of a vector, the highest power first unless `increasing`."""
    if x._array.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    N = x._array.shape[0] if N is None else N
    found = _vander(x, N=max(N, 2))[:, :N]
    return found if increasing else found.flip(-1)


def cholesky_inverse(L, upper=False, *, out=None):
    """The inverse of A from its Cholesky factor."""
    eye = L.new_tensor(np.eye(L._array.shape[-1]))
    return cholesky_solve(eye.expand(L._array.shape), L, upper, out=out)


def cholesky_solve(B, L, upper=False, *, out=None):
    """The X with A X = B, from the Cholesky factor of A."""
    return _from_cholesky(B, L, bool(upper), out=out)


@operator(method=False, name="CholeskySolve")
def _from_cholesky(B: Array, L: Array, upper):
    lower = adjoint(L) if upper else L
    half = triangular_solution.op.fn(lower, B, False, True, False)
    return triangular_solution.op.fn(adjoint(lower), half, True, True, False)


@_from_cholesky.vjp
def _(g, out, B_shape, L, upper):
    """Of X = A^-1 B with A = L L^H (L^H L if `upper`); PyTorch takes all of L for variable, not one
    triangle.
    """
    to_b = _from_cholesky.on(g, L, upper)
    to_a = to_b @ adjoint(out)
    to_a = -(to_a + adjoint(to_a))
    return sum_to(to_b, tuple(B_shape)), sum_to(L @ to_a if upper else to_a @ L, tuple(L.shape))


def lu_solve(b, LU_data, LU_pivots, *, out=None):
    """The X with A X = b, from what `lu` made of A."""
    return _lu_solve(LU_data, LU_pivots, b, out=out)


def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False, *, out=None):
    """The X with A X = b (A^H X = b if `transpose`) for triangular A, and A itself."""
    matrix, is_upper = (A.mT, not upper) if transpose else (A, upper)
    found = solve_triangular(matrix, b, upper=is_upper, unitriangular=unitriangular)
    made = _triangular_pair((found, A.clone()))
    return made if out is None else write_out(out, made)


def ormqr(input, tau, other, left=True, transpose=False, *, out=None):
    """Q (or Q^H) of the reflections in `input` and `tau`, times `other`, without forming Q."""
    square = input
    rows, columns = input._array.shape[-2:]
    if rows < columns:
        square = input[..., :rows]
    made = reflected(square, tau, other, left, transpose)
    return made if out is None else write_out(out, made)


def svd_lowrank(A, q=6, niter=2, M=None):
    """Approximately the q largest singular values of A (of A - M) with their vectors: (U, S, V).

    Halko, Martinsson and Tropp, Finding structure with randomness, 2009, algorithms 4.4 and 5.1;
    the start is random.
    """
    from danlu.ops.random import randn

    A = A if M is None else A - M
    wide = A._array.shape[-2] < A._array.shape[-1]
    A = A.mH if wide else A
    found = _qr(A @ randn(A._array.shape[-1], q, dtype=A.dtype))[0]
    for _ in range(niter):
        found = _qr(A.mH @ found)[0]
        found = _qr(A @ found)[0]
    u, s, vh = _svd(found.mH @ A, False)
    u, v = found @ u, vh.mH
    return (v, s, u) if wide else (u, s, v)


def pca_lowrank(A, q=None, center=True, niter=2):
    """Approximately the q principal components of the rows of A: (U, S, V)."""
    m, n = A._array.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    return svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)


def _publish(*names):
    for name in names:
        publish_method(name, globals()[name])


_publish(
    "cholesky_inverse", "cholesky_solve", "cross", "lu_solve", "norm", "orgqr", "ormqr", "pinverse",
    "qr",
    "svd", "triangular_solve",
)  # fmt: skip


def dist(input, other, p=2):
    """The p-norm of the difference of two tensors."""
    return vector_norm(input - other, p)


publish_method("dist", dist)


def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """The p-norm distance of every row of x1 from every row of x2.

    Shape:
        x1: (*, P, M); x2: (*, R, M); the result: (*, P, R).

    Raises:
        RuntimeError: fewer than two dimensions, rows of different length, a negative p.
    """
    for name, x in (("X1", x1), ("X2", x2)):
        if x._array.ndim < 2:
            raise RuntimeError(
                f"cdist only supports at least 2D tensors, {name} got: {x._array.ndim}D"
            )
    if x1._array.shape[-1] != x2._array.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1._array.shape[-1]} "
            f"X2: {x2._array.shape[-1]}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
