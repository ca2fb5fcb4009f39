"""Eigenvalues and singular values."""

from __future__ import annotations

import numpy as np

from danlu.linalg._checks import (
    LinAlgError,
    adjoint,
    diagonal_matrix,
    is_complex,
    main_diagonal,
    need_matrices,
    need_square,
)
from danlu.ops.pointwise import _conj
from danlu.ops.registry import Array, ns, operator, write_out


def _inverse_gaps(values):
    """1 / (values[j] - values[i]), 0 on the diagonal."""
    xp = ns(values)
    gaps = values[..., None, :] - values[..., :, None]
    n = values.shape[-1]
    own = np.eye(n, dtype=np.bool_)
    if xp is not np:
        from danlu.tensor import wrap

        own = wrap(own)
    return xp.where(own, gaps * 0, 1 / xp.where(own, gaps * 0 + 1, gaps))


# ---------------------------------------------------------------- Hermitian matrices
@operator(method=False, space="linalg", name="LinalgEigh", returns=("eigenvalues", "eigenvectors"))
def eigh(A: Array, UPLO="L"):
    """Real eigenvalues in ascending order and orthonormal eigenvectors of Hermitian (or real
    symmetric) matrices.

    Args:
        UPLO: the triangle of A that is read, "L" or "U".

    Shape:
        A and the eigenvectors (as columns): (*, n, n); the eigenvalues: (*, n).

    Example:
        >>> import danlu as torch
        >>> torch.linalg.eigh(torch.tensor([[3.0, 0.0], [0.0, 2.0]])).eigenvalues
        tensor([2., 3.])
    """
    need_square("eigh", A)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    try:
        return tuple(np.linalg.eigh(A, UPLO.upper()))
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.eigh: {error}") from None


@eigh.vjp
def _(g, outs):
    """M. Giles, An extended collection of matrix derivative results, 2008, section 3.1."""
    values, vectors = outs
    to_values, to_vectors = g
    inner = 0
    if to_vectors is not None:
        inner = (adjoint(vectors) @ to_vectors) * _inverse_gaps(values)
    if to_values is not None:
        inner = inner + diagonal_matrix(to_values)
    return vectors @ inner @ adjoint(vectors)


def eigvalsh(A, UPLO="L", *, out=None):
    """The eigenvalues of Hermitian matrices, ascending."""
    made = eigh(A, UPLO)[0]
    return made if out is None else write_out(out, made)


# ---------------------------------------------------------------- general matrices
@operator(method=False, space="linalg", name="LinalgEig", returns=("eigenvalues", "eigenvectors"))
def eig(A: Array):
    """Complex eigenvalues and eigenvectors (of norm 1, as columns) of square matrices, in no
    particular order.

    Shape:
        A and the eigenvectors: (*, n, n); the eigenvalues: (*, n).

    Raises:
        RuntimeError: A holds infinities or NaN.
    """
    need_square("eig", A)
    if not np.isfinite(A).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    kind = np.result_type(A.dtype, np.complex64)
    values, vectors = np.linalg.eig(A)
    return values.astype(kind, copy=False), vectors.astype(kind, copy=False)


@eig.vjp
def _(g, outs, A_dtype):
    """C. Boeddeker et al., On the computation of complex-valued gradients, 2017, arXiv:1701.00392,
    eq. 4.77.

    The eigenvectors have norm 1, so what would change their length is taken out first.
    """
    from danlu.linalg._inverse import solve

    values, vectors = outs
    to_values, to_vectors = g
    back = adjoint(vectors)
    inner = 0
    if to_vectors is not None:
        along = back @ to_vectors
        length = main_diagonal(along).real
        along = along - (back @ vectors) * length[..., None, :]
        inner = along * _conj(_inverse_gaps(values))
    if to_values is not None:
        inner = inner + diagonal_matrix(to_values)
    found = solve.on(back, inner @ back)
    return found if np.dtype(A_dtype).kind == "c" else found.real


def eigvals(A, *, out=None):
    """The complex eigenvalues of square matrices."""
    made = eig(A)[0]
    return made if out is None else write_out(out, made)


# ---------------------------------------------------------------- singular values
@operator(method=False, space="linalg", name="LinalgSvd", returns=("U", "S", "Vh"))
def svd(A: Array, full_matrices=True, *, driver=None):
    """U, S and Vh of A = U diag(S) Vh, the singular values S descending.

    Args:
        full_matrices: square U and Vh; otherwise k = min(m, n) columns and rows.
        driver: for CUDA; None on the CPU.

    Shape:
        A: (*, m, n); U: (*, m, m) or (*, m, k); S: (*, k); Vh: (*, n, n) or (*, k, n).

    Raises:
        LinAlgError: A holds infinities or NaN, or the iteration did not converge.

    Example:
        >>> import danlu as torch
        >>> torch.linalg.svd(torch.tensor([[3.0, 0.0], [0.0, 4.0]])).S
        tensor([4., 3.])
    """
    need_matrices("svd", A)
    _need_no_driver(driver)
    try:
        return tuple(np.linalg.svd(A, full_matrices=full_matrices))
    except np.linalg.LinAlgError:
        raise LinAlgError(
            "linalg.svd: The algorithm failed to converge"
            + (
                "."
                if np.isfinite(A).all()
                else " because the input matrix contained non-finite values."
            )
        ) from None


def _need_no_driver(driver):
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs, got "
            f"'{driver}'"
        )


@svd.vjp
def _(g, outs, A_shape):
    """M. Giles, 2008, section 3.2; the complex case: Z.-Q. Wan and S.-X. Zhang, 2019,
    arXiv:1909.02659.

    Columns of U and V beyond the first min(m, n) are not determined by A, and pass no gradient.
    """
    u, s, vh = outs
    to_u, to_s, to_vh = g
    k = s.shape[-1]
    u, vh = u[..., :k], vh[..., :k, :]
    inner = 0 if to_s is None else diagonal_matrix(to_s)
    gaps = _inverse_gaps(s * s)
    if to_u is not None:
        to_u = to_u[..., :k]
        along = adjoint(u) @ to_u
        skew = along - adjoint(along)
        inner = inner + skew * gaps * s[..., None, :]
        if is_complex(u):
            # the free phase of each pair of vectors: what U's gradient says of it, V's must say
            # with it
            inner = inner + diagonal_matrix(main_diagonal(skew) / (2 * s))
    if to_vh is not None:
        to_vh = to_vh[..., :k, :]
        along = vh @ adjoint(to_vh)
        inner = inner + s[..., :, None] * ((along - adjoint(along)) * gaps)
    found = u @ inner @ vh
    if to_u is not None and A_shape[-2] > k:
        side = to_u / s[..., None, :]
        found = found + (side - u @ (adjoint(u) @ side)) @ vh
    if to_vh is not None and A_shape[-1] > k:
        side = to_vh / s[..., :, None]
        found = found + u @ (side - (side @ adjoint(vh)) @ vh)
    return found


def svdvals(A, *, driver=None, out=None):
    """The singular values, descending."""
    made = svd(A, False, driver=driver)[1]
    return made if out is None else write_out(out, made)
