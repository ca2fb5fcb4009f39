"""Factors of matrices that need no eigenvalues: Cholesky, QR, LU, LDL, Householder."""

from __future__ import annotations

import numpy as np

from danlu.linalg._checks import (
    adjoint,
    beside,
    failure,
    is_complex,
    main_diagonal,
    need_matrices,
    need_square,
)
from danlu.linalg._elimination import lu_in_place, permutation_matrix
from danlu.linalg._inverse import _triangular_solution, solve_triangular
from danlu.ops.registry import Array, ns, operator, return_type, write_out
from danlu.ops.selection import tril, triu
from danlu.tensor import publish_method, wrap

# ---------------------------------------------------------------- Cholesky
NOT_POSITIVE = (
    "The factorization could not be completed because the input is not positive-definite (the leading "
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
    back = adjoint(out)
    inner = tril.on(back @ g)
    inner = inner + adjoint(tril.on(inner, -1))
    # L^-H inner L^-1, whose Hermitian part counts
    found = _triangular_solution.on(back, inner, True, True, False)
    found = _triangular_solution.on(out, found, False, False, False)
    return (found + adjoint(found)) / 4 + _diagonal_part(out, back, inner)


def _diagonal_part(out, back, inner):
    """Nothing: kept symmetric by construction."""
    return 0
