"""The LU factors, what is solved with them, and their derivative."""

from __future__ import annotations

import numpy as np

from danlu.linalg._checks import adjoint, beside, failure, need_matrices
from danlu.linalg._elimination import lu_in_place, permutation_matrix
from danlu.linalg._inverse import solve_triangular, triangular_solution
from danlu.ops.registry import Array, ns, operator, return_type, write_out
from danlu.ops.selection import tril, triu
from danlu.tensor import publish_method, wrap

ZERO_PIVOT = (
    "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still "
    "want to "
    "perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, "
    "pivot)"
)


def _factored(name, a, pivot):
    need_matrices(name, a)
    if not pivot:
        raise RuntimeError(f"linalg.{name}: LU without pivoting is not implemented on the CPU")
    packed = a.copy(order="C")
    exchanged, info = lu_in_place(packed)
    return packed, exchanged, info


_lu_triple = return_type("lu", ("P", "L", "U"), "linalg")


def lu(A, *, pivot=True, out=None):
    """A = P L U, with a permutation P, L of unit diagonal and upper triangular U.

    Shape:
        A: (*, m, n); P: (*, m, m); L: (*, m, k); U: (*, k, n), with k = min(m, n).

    Example:
        >>> import danlu as torch
        >>> torch.linalg.lu(torch.tensor([[0.0, 1.0], [2.0, 3.0]])).U
        tensor([[2., 3.],
                [0., 1.]])
    """
    lower, upper, exchanged = triangular_factors(A, pivot)
    p = permutation_matrix(exchanged._array, A._array.shape[-2], A._array.dtype)
    made = _lu_triple((wrap(p), lower, upper))
    return made if out is None else write_out(out, made)


@operator(method=False, space="linalg.internal", name="LinalgLu")
def triangular_factors(A: Array, pivot):
    """L, U and the exchanges of rows."""
    packed, exchanged, _ = _factored("lu", A, pivot)
    rows, columns = A.shape[-2:]
    k = min(rows, columns)
    lower = np.tril(packed[..., :k], -1) + np.eye(rows, k, dtype=A.dtype)
    return lower, np.triu(packed[..., :k, :]), exchanged


@triangular_factors.vjp
def _(g, outs):
    lower, upper, exchanged = outs
    rows = lower.shape[-2]
    kind = getattr(lower, "_array", lower).dtype
    p = permutation_matrix(getattr(exchanged, "_array", exchanged), rows, kind)
    return beside(p, lower) @ _gradient(lower, upper, g[0], g[1])


def _gradient(lower, upper, to_lower, to_upper):
    """The gradient of P^T A.

    The square case is L^-H (tril(L^H gL, -1) + triu(gU U^H)) U^-H (F. de Hoog, R. Anderssen and M.
    Lukas,
    Differentiation of matrix functionals using triangular factorization, 2011); the rows or columns
    beyond the
    square part are triangular solutions with its factors.
    """
    k = lower.shape[-1]
    m, n = lower.shape[-2], upper.shape[-1]
    to_lower = lower * 0 if to_lower is None else to_lower
    to_upper = upper * 0 if to_upper is None else to_upper
    square_l, square_u = lower[..., :k, :], upper[..., :k]
    below = adjoint(square_l) @ to_lower[..., :k, :]
    above = to_upper[..., :k] @ adjoint(square_u)
    if n > k:
        below = below - to_upper[..., k:] @ adjoint(upper[..., k:])
    if m > k:
        above = above - adjoint(lower[..., k:, :]) @ to_lower[..., k:, :]
    inner = tril.on(below, -1) + triu.on(above)
    inner = triangular_solution.on(adjoint(square_u), inner, False, False, False)
    xp = ns(inner)
    if n > k:
        inner = xp.concat([inner, to_upper[..., k:]], axis=-1)
    found = triangular_solution.on(adjoint(square_l), inner, True, True, True)
    if m > k:
        rest = triangular_solution.on(adjoint(square_u), to_lower[..., k:, :], False, False, False)
        found = xp.concat([found, rest], axis=-2)
    return found


@operator(method=False, space="linalg", name="LinalgLuFactorEx", returns=("LU", "pivots", "info"))
def lu_factor_ex(A: Array, *, pivot=True, check_errors=False):
    """`lu_factor` with a code per matrix: 0, or the position of the first zero on U's diagonal."""
    packed, exchanged, info = _factored("lu_factor", A, pivot)
    if check_errors and info.any():
        raise RuntimeError("torch." + str(failure("lu_factor", info, ZERO_PIVOT)))
    return packed, exchanged + np.int32(1), info


@lu_factor_ex.vjp
def _(g, outs):
    packed, pivots = outs[0], outs[1]
    rows, columns = packed.shape[-2:]
    k = min(rows, columns)
    pivots = getattr(pivots, "_array", pivots)
    kind = getattr(packed, "_array", packed).dtype
    p = beside(permutation_matrix(pivots - 1, rows, kind), packed)
    lower = tril.on(packed[..., :k], -1) + beside(np.eye(rows, k, dtype=kind), packed)
    upper = triu.on(packed[..., :k, :])
    to_lower, to_upper = tril.on(g[0][..., :k], -1), triu.on(g[0][..., :k, :])
    return p @ _gradient(lower, upper, to_lower, to_upper)


_factor_pair = return_type("lu_factor", ("LU", "pivots"), "linalg")


def lu_factor(A, *, pivot=True, out=None):
    """The factors of A = P L U in one matrix, and the row (from 1) exchanged with row i in step i.

    Raises:
        RuntimeError: U has a zero on its diagonal.
    """
    packed, pivots, _ = lu_factor_ex(A, pivot=pivot, check_errors=True)
    made = _factor_pair((packed, pivots))
    return made if out is None else write_out(out, made)


def lu_solve(LU, pivots, B, *, left=True, adjoint=False, out=None):
    """The X with A X = B, from the factors that `lu_factor` made of A.

    Args:
        left: solve A X = B; X A = B otherwise.
        adjoint: take A^H for A.
    """
    p, lower, upper = lu_unpack(LU, pivots)
    if not left:
        made = lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH
    elif adjoint:
        made = solve_triangular(upper.mH, B, upper=False)
        made = p @ solve_triangular(lower.mH, made, upper=True, unitriangular=True)
    else:
        made = solve_triangular(lower, p.mT @ B, upper=False, unitriangular=True)
        made = solve_triangular(upper, made, upper=True)
    return made if out is None else write_out(out, made)


_unpacked = return_type("lu_unpack", ("P", "L", "U"))


def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True, *, out=None):
    """P, L and U from what `lu_factor` returns; those not asked for are empty."""
    rows, columns = LU_data._array.shape[-2:]
    k = min(rows, columns)
    kind = LU_data._array.dtype
    nothing = wrap(np.zeros(0, kind))
    p = lower = upper = nothing
    if unpack_pivots:
        p = wrap(permutation_matrix(LU_pivots._array - 1, rows, kind))
    if unpack_data:
        lower = LU_data[..., :k].tril(-1) + wrap(np.eye(rows, k, dtype=kind))
        upper = LU_data[..., :k, :].triu()
    made = _unpacked((p, lower, upper))
    return made if out is None else write_out(out, made)


def old_lu(A, pivot=True, get_infos=False, out=None):
    """The old form of `linalg.lu_factor`: (LU, pivots), and the codes if `get_infos`."""
    packed, pivots, info = lu_factor_ex(A, pivot=pivot)
    made = (packed, pivots, info) if get_infos else (packed, pivots)
    return made if out is None else write_out(out, made)


publish_method("lu", old_lu)
