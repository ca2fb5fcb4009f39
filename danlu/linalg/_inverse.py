"""Determinants, inverses and systems of linear equations."""

from __future__ import annotations

import numpy as np

from danlu.linalg._checks import (
    LinAlgError,
    adjoint,
    failure,
    is_complex,
    need_matrices,
    need_square,
    shown,
)
from danlu.linalg._elimination import lu_in_place
from danlu.ops.pointwise import _conj
from danlu.ops.registry import Array, ns, operator, write_out
from danlu.ops.rules import sum_to
from danlu.ops.scans import products_of_others
from danlu.tensor import publish_method

SINGULAR = (
    "The diagonal element {} is zero, the inversion could not be completed because the input "
    "matrix "
    "is singular."
)


def zero_pivots(a):
    """Per matrix the position (from 1) of the first zero pivot, 0 for regular matrices."""
    return lu_in_place(a.copy(order="C"))[1]


@operator(method=False, space="linalg", name="LinalgInvEx")
def inv(A: Array):
    """The inverse of square matrices.

    Args:
        A: matrices, possibly a batch of them.

    Shape:
        A and the result: (*, n, n).

    Raises:
        LinAlgError: a matrix is singular.

    Example:
        >>> import danlu as torch
        >>> torch.linalg.inv(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    need_square("inv", A)
    try:
        return np.linalg.inv(A)
    except np.linalg.LinAlgError:
        raise failure("inv", zero_pivots(A), SINGULAR) from None


@inv.vjp
def _(g, out):
    back = adjoint(out)
    return -(back @ g @ back)


publish_method("inverse", inv)


@operator(method=False, space="linalg", name="LinalgInvEx", returns=("inverse", "info"))
def inv_ex(A: Array, *, check_errors=False):
    """`inv` with a code per matrix instead of an exception (unless `check_errors`).

    Returns: (inverse, info); info is 0, or the position of the first zero pivot (the inverse is
    then
    infinite or NaN).
    """
    need_square("inv", A)
    try:
        return np.linalg.inv(A), np.zeros(A.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        info = zero_pivots(A)
        if check_errors:
            raise failure("inv", info, SINGULAR) from None
    regular = np.where((info == 0)[..., None, None], A, np.eye(A.shape[-1], dtype=A.dtype))
    found = np.linalg.inv(regular)
    found[info != 0] = np.nan
    return found, info


@inv_ex.vjp
def _(g, outs):
    back = adjoint(outs[0])
    return -(back @ g[0] @ back)


# ---------------------------------------------------------------- determinants
@operator(method=False, space="linalg", name="LinalgDet")
def det(A: Array):
    """The determinant of square matrices.

    The derivative is the matrix of cofactors; also singular matrices have it.

    Shape:
        A: (*, n, n); the result: (*).

    Example:
        >>> import danlu as torch
        >>> torch.linalg.det(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor(8.)
    """
    need_square("det", A)
    return np.asarray(np.linalg.det(A), dtype=A.dtype)


@det.vjp
def _(g, out, A):
    if np.all(getattr(out, "_array", out) != 0):
        return (g * _conj(out))[..., None, None] * adjoint(inv.on(A))
    from danlu.linalg._spectral import svd

    u, s, vh = svd.on(A, False)
    others = products_of_others(ns(g), s, s.ndim - 1)
    cofactors = (u * others[..., None, :]) @ vh
    return (g * _conj(det.on(u @ vh)))[..., None, None] * cofactors


publish_method("det", det)


@operator(method="slogdet", space="linalg", name="LinalgSlogdet", returns=("sign", "logabsdet"))
def slogdet(A: Array):
    """The sign (or phase) of the determinant and the logarithm of its absolute value.

    The determinant is sign * exp(logabsdet); where it over- or underflows, these do not.

    Shape:
        A: (*, n, n); both results: (*).
    """
    need_square("slogdet", A)
    sign, value = np.linalg.slogdet(A)
    return np.asarray(sign, dtype=A.dtype), np.asarray(value, dtype=A.real.dtype)


@slogdet.vjp
def _(g, A, outs):
    to_sign, to_size = g
    turn = None
    if to_sign is not None and is_complex(A):
        # a change dA turns the phase by Im tr(A^-1 dA)
        turn = (to_sign * _conj(outs[0])).imag * 1j
    factor = turn if to_size is None else to_size if turn is None else to_size + turn
    if factor is None:
        return A * 0
    return factor[..., None, None] * adjoint(inv_ex.on(A)[0])


def logdet(A):
    """The logarithm of the determinant: NaN where it is negative, -inf where it is 0."""
    sign, value = slogdet(A)
    return value + sign.log()


publish_method("logdet", logdet)


# ---------------------------------------------------------------- linear equations
def is_vector(a_shape, b_shape) -> bool:
    """Whether the right-hand side holds vectors rather than matrices, by PyTorch's rule."""
    return len(b_shape) == 1 or (len(a_shape) - 1 == len(b_shape) and b_shape == a_shape[:-1])


def _solution(a, b, left):
    need_square("solve", a)
    vector = is_vector(a.shape, b.shape)
    b = b[..., None] if vector else b
    if not left:
        a, b = a.swapaxes(-1, -2), b.swapaxes(-1, -2)
    if b.shape[-2] != a.shape[-1]:
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({shown(a.shape)} and {shown(b.shape)})"
        )
    found = np.linalg.solve(a, b)
    found = found if left else found.swapaxes(-1, -2)
    return found[..., 0] if vector else found


@operator(method=False, space="linalg", name="LinalgSolveEx")
def solve(A: Array, B: Array, *, left=True):
    """The X with A X = B, or with X A = B if `left` is False.

    Args:
        A: square matrices.
        B: right-hand sides: matrices, or vectors (of shape (n,), or of A's shape without its last
            dimension).

    Shape:
        A: (*, n, n); B and the result: (*, n) or (*, n, k), ((*, k, n) if `left` is False).

    Raises:
        LinAlgError: a matrix is singular.
        RuntimeError: the shapes do not fit.

    Example:
        >>> import danlu as torch
        >>> torch.linalg.solve(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 2.0]))
        tensor([1.0000, 0.5000])
    """
    try:
        return _solution(A, B, left)
    except np.linalg.LinAlgError:
        raise LinAlgError(
            "torch.linalg.solve: The solver failed because the input matrix is singular."
        ) from None


@solve.vjp
def _(g, out, A, B_shape, left):
    to_b = solve.on(adjoint(A), g, left=left)
    if is_vector(tuple(A.shape), tuple(B_shape)):
        to_a = -(to_b[..., :, None] * _conj(out[..., None, :]))
    else:
        to_a = -(to_b @ adjoint(out)) if left else -(adjoint(out) @ to_b)
    return sum_to(to_a, tuple(A.shape)), sum_to(to_b, tuple(B_shape))


@operator(method=False, space="linalg", name="LinalgSolveEx", returns=("result", "info"))
def solve_ex(A: Array, B: Array, *, left=True, check_errors=False):
    """`solve` with a code per matrix instead of an exception (unless `check_errors`)."""
    try:
        return _solution(A, B, left), np.zeros(A.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        info = zero_pivots(A)
        if check_errors:
            raise failure("solve", info, SINGULAR) from None
    regular = np.where((info == 0)[..., None, None], A, np.eye(A.shape[-1], dtype=A.dtype))
    found = _solution(regular, B, left)
    batch = info.reshape(info.shape + (1,) * (found.ndim - info.ndim))
    return np.where(batch == 0, found, np.nan).astype(A.dtype), info


@solve_ex.vjp
def _(g, outs, A, B_shape, left):
    return solve.op.joint(g[0], outs[0], A, B_shape, left)


def solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None):
    """The X with A X = B (X A = B if `left` is False) for triangular A; its other triangle is not
    read.

    Args:
        upper: whether A is upper triangular.
        unitriangular: take the diagonal for ones without reading it.

    Shape:
        A: (*, n, n); B and the result: (*, n, k), ((*, k, n) if `left` is False).
    """
    need_square("solve_triangular", A._array)
    need_matrices("solve_triangular", B._array)
    made = triangular_solution(A, B, upper, left, unitriangular)
    return made if out is None else write_out(out, made)


@operator(method=False, space="linalg", name="LinalgSolveTriangular")
def triangular_solution(A: Array, B: Array, upper, left, unitriangular):
    if A.dtype != B.dtype:
        raise RuntimeError(
            "linalg.solve_triangular: Expected A and B to have the same dtype, but found A of "
            f"type {A.dtype} "
            f"and B of type {B.dtype} instead"
        )
    triangle, b = (A, B) if left else (A.swapaxes(-1, -2), B.swapaxes(-1, -2))
    n = A.shape[-1]
    if b.shape[-2] != n:
        raise RuntimeError(
            f"linalg.solve_triangular: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({shown(A.shape)} and {shown(B.shape)})"
        )
    batch = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    x = np.broadcast_to(b, (*batch, *b.shape[-2:])).copy()
    # substitution by rows: a zero on the diagonal gives infinities, as LAPACK's trtrs does in
    # PyTorch
    ahead = upper == left
    for i in range(n - 1, -1, -1) if ahead else range(n):
        known = slice(i + 1, None) if ahead else slice(None, i)
        x[..., i, :] -= np.matmul(triangle[..., i, None, known], x[..., known, :])[..., 0, :]
        if not unitriangular:
            x[..., i, :] /= triangle[..., i, i, None]
    return x if left else x.swapaxes(-1, -2)


@triangular_solution.vjp
def _(g, out, A, B_shape, upper, left, unitriangular):
    from danlu.ops.selection import tril, triu

    to_b = triangular_solution.on(adjoint(A), g, not upper, left, unitriangular)
    to_a = -(to_b @ adjoint(out)) if left else -(adjoint(out) @ to_b)
    cut = triu if upper else tril
    to_a = cut.on(to_a, (1 if upper else -1) if unitriangular else 0)
    return sum_to(to_a, tuple(A.shape)), sum_to(to_b, tuple(B_shape))


def tensorinv(A, ind=2, *, out=None):
    """The inverse with respect to `tensordot(., ., ind)`.

    Args:
        ind: how many leading dimensions of A count as rows; they and the others hold equally many
            elements.
    """
    from math import prod

    shape = A._array.shape
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    rows, columns = shape[:ind], shape[ind:]
    if prod(rows) != prod(columns):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            "prod(self.shape[:ind]), but "
            f"got {prod(columns)} != {prod(rows)}"
        )
    made = inv(A.reshape(prod(rows), -1)).reshape((*columns, *rows))
    return made if out is None else write_out(out, made)


def tensorsolve(A, B, dims=None, *, out=None):
    """The X with tensordot(A, X, X.ndim) = B.

    Args:
        dims: dimensions of A to move to its end first.
    """
    from math import prod

    if dims is not None:
        dims = [each % A._array.ndim for each in dims]
        rest = [i for i in range(A._array.ndim) if i not in dims]
        A = A.permute(*rest, *dims)
    unknowns = A._array.shape[B._array.ndim :]
    if prod(unknowns) != B.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {prod(unknowns)} != {B.numel()}"
        )
    made = solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(unknowns)
    return made if out is None else write_out(out, made)


__all__ = [
    "det", "inv", "inv_ex", "logdet", "slogdet", "solve", "solve_ex", "solve_triangular",
    "tensorinv",
    "tensorsolve",
]  # fmt: skip
