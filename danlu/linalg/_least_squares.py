"""The pseudoinverse, the rank and least squares."""

from __future__ import annotations

import numpy as np

from danlu.backend import conversions
from danlu.linalg._checks import adjoint, need_matrices, need_square
from danlu.ops.registry import Array, operator, return_type, write_out
from danlu.ops.rules import sum_to
from danlu.tensor import Tensor, wrap


def _plain(tolerance):
    """A tolerance as a number or array; it takes no gradient."""
    return tolerance._array if isinstance(tolerance, Tensor) else tolerance


def _limit(sizes, shape, atol, rtol):
    """Below which singular values count as 0: max(atol, rtol * the largest), rtol from the rounding
    error by default.
    """
    if rtol is None:
        none = atol is None or not np.any(np.asarray(atol) > 0)
        rtol = max(shape[-2:]) * np.finfo(sizes.dtype).eps if none else 0.0
        rtol = np.where(np.asarray(0.0 if atol is None else atol) > 0, 0.0, rtol)
    top = sizes.max(-1, initial=0)
    return np.maximum(0.0 if atol is None else atol, rtol * top)


@operator(method=False, space="linalg.internal", name="LinalgPinv")
def pseudoinverse(A: Array, atol=None, rtol=None, hermitian=False):
    """The Moore-Penrose inverse through the singular value (Hermitian: eigenvalue) decomposition."""
    if 0 in A.shape[-2:]:
        return np.zeros((*A.shape[:-2], A.shape[-1], A.shape[-2]), A.dtype)
    if hermitian:
        values, vectors = np.linalg.eigh(A)
        u, vh = vectors, adjoint(vectors)
    else:
        u, values, vh = np.linalg.svd(A, full_matrices=False)
    sizes = np.abs(values)
    kept = sizes > _limit(sizes, A.shape, atol, rtol)[..., None]
    inverse = np.where(kept, 1 / np.where(kept, values, 1), 0)
    return ((adjoint(vh) * inverse[..., None, :]) @ adjoint(u)).astype(A.dtype, copy=False)


@pseudoinverse.vjp
def _(g, out, A):
    """G. Golub and V. Pereyra, The differentiation of pseudo-inverses, 1973, eq. 4.12, for constant
    rank.
    """
    p, back = out, adjoint(out)
    found = -(back @ g @ back)
    # (I - A P) g^H P P^H + P^H P g^H (I - P A)
    left = adjoint(g) @ p @ back
    right = back @ p @ adjoint(g)
    return found + (left - A @ (p @ left)) + (right - (right @ p) @ A)


def pinv(A, *, atol=None, rtol=None, hermitian=False, rcond=None, out=None):
    """The Moore-Penrose pseudoinverse.

    Args:
        atol, rtol: singular values below max(atol, rtol * the largest) count as 0; by default rtol
            is max(m, n) times
            the dtype's rounding error.
        hermitian: A is Hermitian (or real symmetric), and only its lower triangle is read.

    Shape:
        A: (*, m, n); the result: (*, n, m).
    """
    need_matrices("pinv", A._array)
    if hermitian:
        need_square("pinv", A._array)
    rtol = rcond if rtol is None else rtol
    return pseudoinverse(A, _plain(atol), _plain(rtol), bool(hermitian), out=out)


def matrix_rank(A, tol=None, hermitian=False, *, atol=None, rtol=None, out=None):
    """How many singular values (absolute eigenvalues if `hermitian`) are above the tolerance; see
    `pinv`.

    Args:
        tol: the absolute tolerance alone.
    """
    array = A._array
    need_matrices("matrix_rank", array)
    if hermitian:
        sizes = np.abs(np.linalg.eigvalsh(array))
    else:
        sizes = np.linalg.svd(array, compute_uv=False)
    if tol is None:
        limit = _limit(sizes, array.shape, _plain(atol), _plain(rtol))
    else:
        limit = np.asarray(_plain(tol))
    made = wrap(conversions.as_array((sizes > limit[..., None]).sum(-1), dtype=np.int64))
    return made if out is None else write_out(out, made)


# ---------------------------------------------------------------- least squares
@operator(method=False, space="linalg.internal", name="LinalgLstsq")
def least_squares(A: Array, B: Array, rcond):
    """The X of least norm that minimises ||A X - B||, by LAPACK's gelsd, one matrix after the
    other.
    """
    batch = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    A, B = (np.broadcast_to(each, batch + each.shape[-2:]) for each in (A, B))
    found = np.zeros((*batch, A.shape[-1], B.shape[-1]), A.dtype)
    if 0 in A.shape or 0 in B.shape:
        return found
    for place in np.ndindex(batch):
        found[place] = np.linalg.lstsq(A[place], B[place], rcond)[0]
    return found


@least_squares.vjp
def _(needs, g, A, B, rcond):
    """X = pinv(A) B."""
    inverse = pseudoinverse.on(A, None, rcond)
    to_b = adjoint(inverse) @ g if needs[1] else None
    to_a = None
    if needs[0]:
        to_a = pseudoinverse.op.joint(g @ adjoint(B), inverse, A)
        to_a = sum_to(to_a, tuple(A.shape))
    return to_a, None if to_b is None else sum_to(to_b, tuple(B.shape))


_lstsq_result = return_type("lstsq", ("solution", "residuals", "rank", "singular_values"), "linalg")
DRIVERS = (None, "gels", "gelsy", "gelsd", "gelss")


def lstsq(A, B, rcond=None, *, driver=None, out=None):
    """The X that minimises ||A X - B||, of least norm if there are several.

    Args:
        rcond: singular values below rcond times the largest count as 0; by default max(m, n) times
            the rounding error.
        driver: "gelsy" (the default), "gelsd", "gelss" or "gels": which of the results below are
            filled.

    Shape:
        A: (*, m, n); B: (*, m) or (*, m, k); the solution: (*, n) or (*, n, k).

    Returns: (solution, residuals, rank, singular_values). Residuals are the sums of squares, for m
    > n and full
    rank, except with "gelsy"; the rank is empty with "gels"; the singular values come with "gelsd"
    and "gelss".
    """
    if driver not in DRIVERS:
        raise RuntimeError(
            "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), "
            "but got "
            f"{driver!r}"
        )
    for name, each, least in (("input", A._array, 2), ("other", B._array, 1)):
        if each.ndim < least:
            raise RuntimeError(
                f"torch.linalg.lstsq: {name} must have at least {least} "
                f"dimension{'s' if least > 1 else ''}."
            )
    vector = A._array.ndim - 1 == B._array.ndim and A._array.shape[:-1] == B._array.shape
    b = B.unsqueeze(-1) if vector else B
    m, n = A._array.shape[-2:]
    if b._array.shape[-2] != m:
        raise RuntimeError(
            "torch.linalg.lstsq: input.size(-2) should match other.size(-2), but they are "
            f"{m} and {b._array.shape[-2]}"
        )
    rcond = max(m, n) * float(np.finfo(A._array.dtype).eps) if rcond is None else _plain(rcond)
    solution = least_squares(A, b, rcond)
    rank = matrix_rank(A, rtol=rcond)
    full = bool((rank._array == n).all())
    residuals = wrap(np.zeros(0, A._array.real.dtype))
    if m > n and full and driver not in (None, "gelsy"):
        distance = A @ solution - b
        residuals = (distance.abs() ** 2).sum(-2)
    values = wrap(np.zeros(0, A._array.real.dtype))
    if driver in ("gelsd", "gelss"):
        values = wrap(np.linalg.svd(A._array, compute_uv=False))
    if driver == "gels":
        rank = wrap(np.zeros(0, np.int64))
    solution = solution.squeeze(-1) if vector else solution
    made = _lstsq_result((solution, residuals, rank, values))
    return made if out is None else write_out(out, made)
