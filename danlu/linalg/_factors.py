"""Factors of matrices that need no eigenvalues: Cholesky, QR, LU, LDL, Householder."""

from __future__ import annotations

import numpy as np

from danlu.linalg._checks import (
    LinAlgError,
    adjoint,
    diagonal_matrix,
    failure,
    main_diagonal,
    need_matrices,
    need_square,
)
from danlu.linalg._inverse import triangular_solution
from danlu.ops.registry import Array, ns, operator, return_type, write_out
from danlu.ops.selection import tril, triu
from danlu.tensor import wrap

# ---------------------------------------------------------------- Cholesky
NOT_POSITIVE = (
    "The factorization could not be completed because the input is not positive-definite (the "
    "leading "
    "minor of order {} is not positive-definite)."
)


def _minors(a):
    """Per matrix the order of the first leading minor that is not positive-definite, or 0."""
    codes = np.zeros(a.shape[:-2], np.int32)
    for place in np.ndindex(codes.shape):
        for order in range(1, a.shape[-1] + 1):
            try:
                np.linalg.cholesky(a[place][:order, :order])
            except np.linalg.LinAlgError:
                codes[place] = order
                break
    return codes


@operator(method="cholesky", space="linalg", name="LinalgCholeskyEx")
def cholesky(A: Array, upper=False):
    """The lower triangular L with A = L L^H, for Hermitian positive-definite A.

    Args:
        upper: return the upper triangular L^H instead.

    Shape:
        A and the result: (*, n, n).

    Raises:
        LinAlgError: a matrix is not positive-definite.

    Example:
        >>> import danlu as torch
        >>> torch.linalg.cholesky(torch.tensor([[4.0, 0.0], [0.0, 9.0]]))
        tensor([[2., 0.],
                [0., 3.]])
    """
    need_square("cholesky", A)
    try:
        return np.linalg.cholesky(A, upper=upper)
    except np.linalg.LinAlgError:
        raise failure("cholesky", _minors(A), NOT_POSITIVE) from None


@cholesky.vjp
def _(g, out, upper):
    """I. Murray, Differentiation of the Cholesky decomposition, 2016, arXiv:1602.07527, eq. 9."""
    if upper:
        out, g = adjoint(out), adjoint(g)
    product = adjoint(out) @ g
    below = tril.on(product, -1)
    inner = below + adjoint(below) + diagonal_matrix(main_diagonal(product).real)
    found = triangular_solution.on(adjoint(out), inner, True, True, False)
    return triangular_solution.on(out, found, False, False, False) / 2


_cholesky_ex_pair = return_type("cholesky_ex", ("L", "info"), "linalg")


def cholesky_ex(A, *, upper=False, check_errors=False, out=None):
    """`cholesky` with a code per matrix instead of an exception (unless `check_errors`).

    Returns: (L, info); info is 0, or the order of the first leading minor that is not
    positive-definite (L is
    then NaN).
    """
    codes = np.zeros(A._array.shape[:-2], np.int32)
    try:
        found = cholesky(A, upper)
    except LinAlgError:
        if check_errors:
            raise
        codes = _minors(A._array)
        broken = wrap((codes != 0)[..., None, None])
        eye = wrap(np.eye(A._array.shape[-1], dtype=A._array.dtype))
        found = cholesky(eye.where(broken, A), upper).masked_fill(broken, float("nan"))
    made = _cholesky_ex_pair((found, wrap(codes)))
    return made if out is None else write_out(out, made)


# ---------------------------------------------------------------- QR
@operator(method=False, space="linalg", name="LinalgQr", returns=("Q", "R"))
def qr(A: Array, mode="reduced"):
    """Q with orthonormal columns and upper triangular R with A = Q R.

    Args:
        mode: "reduced" (k = min(m, n) columns), "complete" (Q square) or "r" (R alone, Q empty).

    Shape:
        A: (*, m, n); Q: (*, m, k); R: (*, k, n).

    Raises:
        RuntimeError: another mode; in the backward pass, where the mode leaves columns of Q
            undetermined.
    """
    need_matrices("qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or "
            "'complete'"
        )
    if mode == "r":
        return np.zeros((0,), A.dtype), np.linalg.qr(A, "r")
    return tuple(np.linalg.qr(A, mode))


@qr.vjp
def _(g, outs, A_shape, mode):
    """M. Seeger et al., Auto-differentiating linear algebra, 2017, arXiv:1710.08717, section 4.2.

    The columns of a wide A beyond the square part are Q times those of R.
    """
    m, n = A_shape[-2:]
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please "
            "use "
            "linalg.qr(A, mode='reduced') if you are going to differentiate through linalg.qr."
        )
    if mode == "complete" and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols: "
            "use "
            "mode='reduced'"
        )
    q, r = outs
    to_q, to_r = g
    if m >= n:
        return _square_qr_gradient(q, r, to_q, to_r)
    to_rest = r[..., m:] * 0
    if to_r is not None:
        beyond = to_r[..., m:]
        to_rest = q @ beyond
        through_q = q @ r[..., m:] @ adjoint(beyond)
        to_q = through_q if to_q is None else to_q + through_q
        to_r = to_r[..., :m]
    square = _square_qr_gradient(q, r[..., :m], to_q, to_r)
    return ns(q).concat([square, to_rest], axis=-1)


def _square_qr_gradient(q, r, to_q, to_r):
    inner = 0
    if to_r is not None:
        inner = to_r @ adjoint(r)
    if to_q is not None:
        inner = inner - adjoint(q) @ to_q
    above = triu.on(inner, 1)
    inner = above + adjoint(above) + diagonal_matrix(main_diagonal(inner).real)
    found = q @ inner if to_q is None else to_q + q @ inner
    # found R^-H
    return triangular_solution.on(adjoint(r), found, False, False, False)


@operator(method="geqrf", name="Geqrf", returns=("a", "tau"))
def geqrf(input: Array):
    """QR as LAPACK stores it: R in the upper triangle, and the Householder vectors below it, scaled
    by `tau`.
    """
    need_matrices("geqrf", input)
    packed, tau = np.linalg.qr(input, "raw")
    return packed.swapaxes(-1, -2).copy(), tau


def householder_product(A, tau, *, out=None):
    """The first n columns of the product of the reflections I - tau[i] v[i] v[i]^H.

    Args:
        A: the vectors v[i] below its diagonal (their i-th element is 1, and those before it 0), as
            `geqrf` leaves them.
        tau: one factor per reflection.

    Shape:
        A and the result: (*, m, n) with m >= n; tau: (*, k) with k <= n.
    """
    rows, columns = A._array.shape[-2:]
    if columns > rows:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to "
            f"input.shape[-1], but they are {rows} and {columns}"
        )
    if tau._array.shape[-1] > columns:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-1] must be greater than or equal to "
            f"tau.shape[-1], but they are {columns} and {tau._array.shape[-1]}"
        )
    start = np.eye(rows, columns, dtype=A._array.dtype)
    # of A, so that a gradient flows also where there are no reflections
    made = reflected(A, tau, A * 0 + wrap(start), True, False)
    return made if out is None else write_out(out, made)


def reflected(A, tau, other, left, transpose):
    """Q, the product of the Householder reflections in A and tau, or Q^H, times `other` (or `other`
    times it).
    """
    vectors = tril(A, -1) + wrap(np.eye(*A._array.shape[-2:], dtype=A._array.dtype))
    tau = tau.conj() if transpose and tau.is_complex() else tau
    order = range(tau._array.shape[-1])
    for i in order if left == transpose else reversed(order):
        v = vectors[..., :, i, None]
        if left:
            other = other - (tau[..., i, None, None] * v) @ (adjoint(v) @ other)
        else:
            other = other - (other @ v) @ (tau[..., i, None, None] * adjoint(v))
    return other


# ---------------------------------------------------------------- LDL
LDL_PAIR = return_type("ldl_factor", ("LD", "pivots"), "linalg")


@operator(
    method=False, space="linalg", name="LinalgLdlFactorEx", returns=("LD", "pivots", "info"),
    differentiable=False,
)  # fmt: skip
def ldl_factor_ex(A: Array, *, hermitian=False, check_errors=False):
    """`ldl_factor` with a code per matrix (0, or the position of a zero in D)."""
    need_square("ldl_factor_ex", A)
    factor, size = _lapack("hetrf" if hermitian and A.dtype.kind == "c" else "sytrf", A)
    packed, pivots = np.empty_like(A), np.empty(A.shape[:-1], np.int32)
    codes = np.zeros(A.shape[:-2], np.int32)
    for place in np.ndindex(codes.shape):
        work = int(size(A.shape[-1], lower=1)[0].real)
        factors, pivots[place], codes[place] = factor(A[place], lwork=max(work, 1), lower=1)
        packed[place] = np.tril(factors)
    if check_errors and codes.any():
        raise failure("ldl_factor", codes, "The factor D has a zero on its diagonal, at {}.")
    return packed, pivots, codes


def _lapack(name, like):
    """A LAPACK function for the dtype of an array, and the one that says how much memory it wants."""
    try:
        from scipy.linalg import lapack
    except ImportError:
        raise ImportError(
            f"linalg.ldl_{'solve' if name.endswith('s') else 'factor'} needs SciPy: pip install "
            "'danlu[all]', "
            "or pip install scipy"
        ) from None
    names = (name, name + "_lwork") if name.endswith("f") else (name,)
    return lapack.get_lapack_funcs(names, (like,))


def ldl_factor(A, *, hermitian=False, out=None):
    """A = L D L^T (L D L^H if `hermitian`), with D of blocks of 1 or 2: Bunch and Kaufman's
    factors, packed.

    Raises:
        RuntimeError: D has a zero on its diagonal.
    """
    packed, pivots, _ = ldl_factor_ex(A, hermitian=hermitian, check_errors=True)
    made = LDL_PAIR((packed, pivots))
    return made if out is None else write_out(out, made)


def ldl_solve(LD, pivots, B, *, hermitian=False, out=None):
    """The X with A X = B, from the factors that `ldl_factor` made of A."""
    need_square("ldl_solve", LD._array)
    (solver,) = _lapack("hetrs" if hermitian and LD.is_complex() else "sytrs", LD._array)
    batch = np.broadcast_shapes(LD._array.shape[:-2], B._array.shape[:-2])
    factors, sides = (np.broadcast_to(x._array, batch + x._array.shape[-2:]) for x in (LD, B))
    places = np.broadcast_to(pivots._array, batch + pivots._array.shape[-1:])
    found = np.empty(sides.shape, sides.dtype)
    for place in np.ndindex(batch):
        found[place], _ = solver(factors[place], places[place], sides[place], lower=1)
    made = wrap(found)
    return made if out is None else write_out(out, made)
