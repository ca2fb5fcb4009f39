"""Linear algebra, as `torch.linalg`: LAPACK through NumPy, with derivatives of every order.

Loaded at first use; `danlu.ops.lazy` keeps the places of its methods until then."""

from __future__ import annotations

from danlu.linalg import _older  # noqa: F401 - publishes the methods
from danlu.linalg._checks import LinAlgError
from danlu.linalg._factors import (
    cholesky,
    cholesky_ex,
    householder_product,
    ldl_factor,
    ldl_factor_ex,
    ldl_solve,
    qr,
)
from danlu.linalg._inverse import (
    det,
    inv,
    inv_ex,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
    tensorinv,
    tensorsolve,
)
from danlu.linalg._least_squares import lstsq, matrix_rank, pinv
from danlu.linalg._lu import lu, lu_factor, lu_factor_ex, lu_solve
from danlu.linalg._norms import cond, matrix_norm, norm, vector_norm
from danlu.linalg._products import (
    cross,
    diagonal,
    matmul,
    matrix_exp,
    matrix_power,
    multi_dot,
    vander,
    vecdot,
)
from danlu.linalg._spectral import eig, eigh, eigvals, eigvalsh, svd, svdvals

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh",
    "eigvals",
    "eigvalsh", "householder_product", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve",
    "lstsq",
    "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm",
    "matrix_power",
    "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex",
    "solve_triangular", "svd",
    "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip
