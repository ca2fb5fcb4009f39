"""Linear algebra, as `torch.linalg`: LAPACK through NumPy, with derivatives."""

from __future__ import annotations

from math import inf

import numpy as np

from danlu.ops.pointwise import _conj
from danlu.ops.reduction import axes, axis, restore
from danlu.ops.registry import Array, ns, operator, return_type, scalar_name
from danlu.tensor import Tensor, publish_method, wrap

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh",
    "inv", "inv_ex", "lstsq", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot",
    "norm", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals", "vander", "vecdot", "vector_norm",
]  # fmt: skip


class LinAlgError(RuntimeError):
    """A matrix is singular, or a factorisation did not converge."""


def _square(name, a):
    if a.ndim < 2:
        raise RuntimeError(
            f"linalg.{name}: The input tensor A must have at least 2 dimensions."
        )
    if a.shape[-1] != a.shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} matrices"
        )
    if a.dtype.kind not in "fc" or a.dtype == np.float16:
        from danlu.backend.dtypes import of_array

        raise RuntimeError(
            f"linalg.{name}: Expected a floating point or complex tensor as input. Got {scalar_name(of_array(a))}"
        )


def _t(x):
    """The transpose of the last two dimensions, conjugated."""
    return _conj(x.swapaxes(-1, -2))


def _singular(name, error):
    if "ingular" in str(error):
        return LinAlgError(
            f"linalg.{name}: The diagonal element 1 is zero, the inversion could not be completed because the input "
            "matrix is singular."
        )
    return LinAlgError(f"linalg.{name}: {error}")


@operator(method="inverse", space="linalg", name="LinalgInvEx")
def inv(input: Array):
    """The inverse of square matrices.

    Raises:
        LinAlgError: a matrix is singular.
    """
    _square("inv", input)
    try:
        return np.linalg.inv(input)
    except np.linalg.LinAlgError as error:
        raise _singular("inv", error) from None


@inv.vjp
def _(g, out):
    return -(_t(out) @ g @ _t(out))


@operator(method="det", space="linalg", name="LinalgDet")
def det(input: Array):
    """The determinant of square matrices."""
    _square("det", input)
    return np.linalg.det(input)


@det.vjp
def _(g, out, input):
    """g det(A) A^-H; for singular matrices the cofactors, from the singular value decomposition."""
    scaled = g * _conj(out)
    array = getattr(out, "_array", out)
    if np.all(array != 0):
        return scaled[..., None, None] * _t(inv.on(input))
    xp = ns(g)
    u, s, vh = svd_factors.on(input, False)
    from danlu.ops.reduction import products_of_others

    others = products_of_others(xp, s, s.ndim - 1)
    sign = det.on(u @ vh)
    cofactors = (u * others[..., None, :]) @ vh
    return (g * sign)[..., None, None] * cofactors


_slogdet_pair = return_type("slogdet", ("sign", "logabsdet"), "linalg")


@operator(method=False, space="linalg.internal", name="LinalgSlogdet")
def slogdet_factors(input: Array):
    """The sign and the logarithm of the absolute value of the determinant."""
    _square("slogdet", input)
    sign, value = np.linalg.slogdet(input)
    return np.asarray(sign), np.asarray(value)


@slogdet_factors.vjp
def _(g, input, outs):
    inverse = _t(inv.on(input))
    total = None
    if g[1] is not None:
        total = g[1][..., None, None] * inverse
    if g[0] is not None and getattr(outs[0], "_array", outs[0]).dtype.kind == "c":
        turned = (g[0] * _conj(outs[0])).imag if isinstance(g[0], np.ndarray) else (g[0] * outs[0].conj()).imag
        part = (-1j * turned)[..., None, None] * inverse
        total = part if total is None else total + part
    return total


def slogdet(A, *, out=None):
    """The sign and the logarithm of the absolute value of the determinant, as a named tuple."""
    return _slogdet_pair(slogdet_factors(A))


def logdet(input):
    """The logarithm of the determinant; NaN where it is negative."""
    sign, value = slogdet_factors(input)
    if sign.is_complex():
        return value + sign.log()
    return value.where(sign >= 0, wrap(np.asarray(np.nan, dtype=value._array.dtype)))


publish_method("logdet", logdet)
publish_method("slogdet", slogdet)


@operator(method=False, space="linalg", name="LinalgSolveEx")
def solve(A: Array, B: Array, *, left=True):
    """The X with A X = B (X A = B if `left` is False).

    Raises:
        LinAlgError: A is singular.
    """
    _square("solve", A)
    try:
        return _solved(A, B, left)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(
            f"torch.linalg.solve: The solver failed because the input matrix is singular. ({error})"
        ) from None
    except ValueError:
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({_x(A)} and {_x(B)})"
        ) from None


def _x(a):
    return "x".join(map(str, a.shape))


def _is_vector(a_shape, b_shape) -> bool:
    return len(b_shape) == 1 or (len(a_shape) - 1 == len(b_shape) and b_shape == a_shape[:-1])


def _solved(a, b, left):
    if _is_vector(a.shape, b.shape):
        return np.linalg.solve(a, b[..., None])[..., 0]
    if left:
        return np.linalg.solve(a, b)
    return np.linalg.solve(a.swapaxes(-1, -2), b.swapaxes(-1, -2)).swapaxes(-1, -2)


@solve.vjp
def _(g, out, A, B_shape, left):
    from danlu.ops.rules import sum_to

    gb = solve.on(_t(A), g, left=left)
    if _is_vector(tuple(A.shape), tuple(B_shape)):
        ga = -(gb[..., :, None] @ _conj(out[..., None, :]))
    elif left:
        ga = -(gb @ _t(out))
    else:
        ga = -(_t(out) @ gb)
    return sum_to(ga, tuple(A.shape)), sum_to(gb, tuple(B_shape))


@operator(method=False, space="linalg", name="LinalgCholeskyEx")
def cholesky(input: Array, *, upper=False):
    """The L with A = L L^H, for Hermitian positive-definite A.

    Raises:
        LinAlgError: A is not positive-definite.
    """
    _square("cholesky", input)
    try:
        found = np.linalg.cholesky(input)
    except np.linalg.LinAlgError:
        raise LinAlgError(
            "linalg.cholesky: The factorization could not be completed because the input is not positive-definite."
        ) from None
    return found.conj().swapaxes(-1, -2) if upper else found


@cholesky.vjp
def _(g, out, upper):
    """Iain Murray, Differentiation of the Cholesky decomposition, 2016."""
    if upper:
        out, g = _t(out), _t(g)
    xp = ns(g)
    n = out.shape[-1]
    phi = xp.tril(_t(out) @ g)
    halves = np.tril(np.ones((n, n)), -1) + 0.5 * np.eye(n)
    halves = halves.astype(getattr(out, "_array", out).real.dtype)
    phi = phi * (halves if isinstance(phi, np.ndarray) else wrap(halves))
    inverse = inv.on(out)
    found = _t(inverse) @ phi @ inverse
    return (found + _t(found)) / 2


publish_method("cholesky", lambda self, upper=False: cholesky(self, upper=upper))
_cholesky_ex_pair = return_type("cholesky_ex", ("L", "info"), "linalg")
_inv_ex_pair = return_type("inv_ex", ("inverse", "info"), "linalg")


def cholesky_ex(input, *, upper=False, check_errors=False, out=None):
    """`cholesky` with an error code per matrix instead of an exception (unless `check_errors`)."""
    return _with_info(lambda a: cholesky(a, upper=upper), input, check_errors, _cholesky_ex_pair)


def inv_ex(A, *, check_errors=False, out=None):
    """`inv` with an error code per matrix instead of an exception (unless `check_errors`)."""
    return _with_info(inv, A, check_errors, _inv_ex_pair)


def _with_info(function, a, check_errors, pair):
    info = np.zeros(a._array.shape[:-2], np.int32)
    try:
        return pair((function(a), wrap(info)))
    except LinAlgError:
        if check_errors:
            raise
        return pair((a * float("nan"), wrap(info + 1)))


# ---------------------------------------------------------------- QR, eigenvalues, singular values
@operator(method=False, space="linalg.internal", name="LinalgQr")
def qr_factors(input: Array, mode):
    """Q and R of A = Q R."""
    if input.ndim < 2:
        raise RuntimeError("linalg.qr: The input tensor A must have at least 2 dimensions.")
    if mode == "r":
        r = np.linalg.qr(input, "r")
        return np.zeros((0,), input.dtype), r
    return tuple(np.linalg.qr(input, mode))


@qr_factors.vjp
def _(g, outs, input_shape, mode):
    """Seeger et al., Auto-differentiating linear algebra, 2017; for tall or square A and wide A."""
    q, r = outs
    if mode != "reduced" and (mode == "r" or q.shape[-1] != q.shape[-2] or input_shape[-2] > input_shape[-1]):
        raise RuntimeError(
            f"linalg.qr: the derivative is not implemented for mode='{mode}': use mode='reduced'"
        )
    gq, gr = g
    xp = ns(q)
    k = r.shape[-2]
    gq = xp.zeros_like(q) if gq is None else gq
    gr = xp.zeros_like(r) if gr is None else gr
    wide = input_shape[-1] > input_shape[-2]
    main = r[..., :k]
    rest = _t(gr[..., k:]) if wide else None
    ga_rest = q @ gr[..., k:] if wide else None
    if wide:
        gq = gq + (q @ gr[..., k:] - q @ gr[..., k:]) + 0
        y = r[..., k:]
        gq = gq + _rest_gradient(q, main, y, gr[..., k:])
        gr = gr[..., :k]
    del rest
    m = main @ _t(gr) - _t(gq) @ q
    lower = np.tril(np.ones((k, k)), -1).astype(getattr(m, "_array", m).real.dtype)
    lower = lower if isinstance(m, np.ndarray) else wrap(lower)
    sym = xp.tril(m) + _t(m * lower)
    found = (gq + q @ sym) @ _t(inv.on(main))
    if not wide:
        return found
    found = found - 0
    return xp.concat([found, ga_rest], axis=-1)


def _rest_gradient(q, main, y, gy):
    """What the columns beyond the square part send into Q: with A = [X | Z], R = [U | Q^H Z]."""
    return (q @ y) @ _t(gy)


_qr_pair = return_type("qr", ("Q", "R"), "linalg")


def qr(A, mode="reduced", *, out=None):
    """Q with orthonormal columns and upper triangular R with A = Q R, as a named tuple.

    Args:
        mode: "reduced", "complete" (square Q) or "r" (R alone).
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    return _qr_pair(qr_factors(A, mode))


_old_qr_pair = return_type("qr", ("Q", "R"))


def old_qr(input, some=True, *, out=None):
    """The old name of `linalg.qr`."""
    return _old_qr_pair(qr_factors(input, "reduced" if some else "complete"))


publish_method("qr", old_qr)


def _gaps(xp, values):
    """1 / (values[j] - values[i]), 0 on the diagonal."""
    gaps = values[..., None, :] - values[..., :, None]
    safe = xp.where(gaps == 0, gaps * 0 + 1, gaps)
    return xp.where(gaps == 0, gaps * 0, 1 / safe)


@operator(method=False, space="linalg.internal", name="LinalgEigh")
def eigh_factors(input: Array, uplo):
    """Eigenvalues in ascending order and eigenvectors of Hermitian matrices."""
    _square("eigh", input)
    return tuple(np.linalg.eigh(input, uplo))


@eigh_factors.vjp
def _(g, outs):
    values, vectors = outs
    xp = ns(vectors)
    gl, gv = g
    inner = None
    if gv is not None:
        inner = _t(vectors) @ gv
        inner = inner * _gaps(xp, values)
    if gl is not None:
        diagonal_part = gl[..., None, :] * _eye_like(gl, vectors)
        inner = diagonal_part if inner is None else inner + diagonal_part
    found = vectors @ inner @ _t(vectors)
    return (found + _t(found)) / 2


def _eye_like(like, matrix):
    n = matrix.shape[-1]
    eye = np.eye(n, dtype=getattr(like, "_array", like).dtype)
    return eye if isinstance(like, np.ndarray) else wrap(eye)


_eigh_pair = return_type("eigh", ("eigenvalues", "eigenvectors"), "linalg")


def eigh(A, UPLO="L", *, out=None):
    """Eigenvalues (ascending) and orthonormal eigenvectors of Hermitian matrices, read from one triangle."""
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return _eigh_pair(eigh_factors(A, UPLO.upper()))


def eigvalsh(A, UPLO="L", *, out=None):
    """The eigenvalues of Hermitian matrices, ascending."""
    return eigh(A, UPLO)[0]


@operator(method=False, space="linalg.internal", name="LinalgEig")
def eig_factors(input: Array):
    """Complex eigenvalues and eigenvectors of square matrices."""
    _square("eig", input)
    kind = np.complex64 if input.dtype in (np.float32, np.complex64) else np.complex128
    values, vectors = np.linalg.eig(input)
    return values.astype(kind), vectors.astype(kind)


@eig_factors.vjp
def _(g, outs, input_dtype):
    values, vectors = outs
    xp = ns(vectors)
    gl, gv = g
    inner = None
    if gv is not None:
        along = _t(vectors) @ gv
        diagonal_of = (along * _eye_like(along, vectors)).sum(axis=-1).real
        correction = _t(vectors) @ (vectors * diagonal_of[..., None, :])
        inner = (along - correction) * _conj(_gaps(xp, values))
    if gl is not None:
        part = gl[..., None, :] * _eye_like(gl, vectors)
        inner = part if inner is None else inner + part
    found = solve.on(_t(vectors), inner @ _t(vectors))
    return found.real if np.dtype(input_dtype).kind != "c" else found


_eig_pair = return_type("eig", ("eigenvalues", "eigenvectors"), "linalg")


def eig(A, *, out=None):
    """Eigenvalues and eigenvectors of square matrices, complex also for real matrices."""
    return _eig_pair(eig_factors(A))


def eigvals(A, *, out=None):
    """The eigenvalues of square matrices, complex."""
    return eig_factors(A)[0]


@operator(method=False, space="linalg.internal", name="LinalgSvd")
def svd_factors(input: Array, full_matrices):
    """U, S and V^H of A = U diag(S) V^H."""
    if input.ndim < 2:
        raise RuntimeError("linalg.svd: The input tensor A must have at least 2 dimensions.")
    try:
        u, s, vh = np.linalg.svd(input, full_matrices=full_matrices)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.svd: {error}") from None
    return u, s, vh


@svd_factors.vjp
def _(g, outs, input_shape, full_matrices):
    """Giles, An extended collection of matrix derivative results, 2008; U and V cut to min(m, n) columns."""
    u, s, vh = outs
    xp = ns(s)
    k = s.shape[-1]
    if full_matrices and input_shape[-1] != input_shape[-2] and not (g[0] is None and g[2] is None):
        raise RuntimeError(
            "linalg.svd: the derivative is only defined for full_matrices=False: U and V have columns that A does not "
            "determine"
        )
    u, vh = u[..., :, :k], vh[..., :k, :]
    gu, gs, gvh = g
    inner = None
    if gu is not None or gvh is not None:
        gaps = _gaps(xp, s * s)
        inner = 0
        if gu is not None:
            along = _t(u) @ gu
            skew = (along - _t(along)) / 2
            inner = inner + (skew * gaps * s[..., None, :]) * 1
        if gvh is not None:
            along = _t(vh) if False else vh @ _t(gvh)
            skew = (along - _t(along)) / 2
            inner = inner + s[..., :, None] * (skew * gaps)
    if gs is not None:
        part = gs[..., None, :] * _eye_like(gs, s[..., None])
        part = gs[..., None, :] * _identity(gs, k)
        inner = part if inner is None else inner + part
    found = (u @ inner) @ vh
    if gu is not None and input_shape[-2] > k:
        side = gu / s[..., None, :]
        found = found + (side - u @ (_t(u) @ side)) @ vh
    if gvh is not None and input_shape[-1] > k:
        side = gvh / s[..., :, None]
        found = found + u @ (side - (side @ _t(vh)) @ vh)
    return found


def _identity(like, k):
    eye = np.eye(k, dtype=getattr(like, "_array", like).dtype)
    return eye if isinstance(like, np.ndarray) else wrap(eye)


_svd_triple = return_type("svd", ("U", "S", "Vh"), "linalg")


def svd(A, full_matrices=True, *, driver=None, out=None):
    """U, the singular values S (descending) and Vh with A = U diag(S) Vh, as a named tuple."""
    return _svd_triple(svd_factors(A, bool(full_matrices)))


def svdvals(A, *, driver=None, out=None):
    """The singular values, descending."""
    return svd_factors(A, False)[1]


_old_svd_triple = return_type("svd", ("U", "S", "V"))


def old_svd(input, some=True, compute_uv=True, *, out=None):
    """The old form of `linalg.svd`: returns V, not its conjugate transpose."""
    u, s, vh = svd_factors(input, not some)
    if not compute_uv:
        m, n = input._array.shape[-2:]
        return _old_svd_triple((u.new_zeros((*input._array.shape[:-2], m, m)), s, u.new_zeros((*input._array.shape[:-2], n, n))))
    return _old_svd_triple((u, s, vh.transpose(-2, -1).conj()))


publish_method("svd", old_svd)


# ---------------------------------------------------------------- norms
@operator(method=False, space="linalg", name="LinalgVectorNorm")
def vector_norm(x: Array, ord=2, dim=None, keepdim=False, *, dtype=None):
    """The p-norm of vectors along some dimensions: (sum |x|^p)^(1/p); inf, -inf and 0 as limits.

    Args:
        ord: p, any number.
    """
    if x.dtype.kind not in "fc":
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input: convert it with .float()"
        )
    if dtype is not None:
        from danlu.backend.dtypes import numpy_dtype

        x = x.astype(numpy_dtype(dtype))
    where = axes(dim, x.ndim)
    size = np.abs(x)
    if ord == 2:
        return np.sqrt((size * size).sum(axis=where, keepdims=keepdim))
    if ord == 1:
        return size.sum(axis=where, keepdims=keepdim)
    if ord == inf:
        return size.max(axis=where, keepdims=keepdim)
    if ord == -inf:
        return size.min(axis=where, keepdims=keepdim)
    if ord == 0:
        return (size != 0).sum(axis=where, keepdims=keepdim).astype(size.dtype)
    return (size**ord).sum(axis=where, keepdims=keepdim) ** (1.0 / ord)


@vector_norm.vjp
def _(g, out, x, ord, dim, keepdim):
    xp = ns(g)
    shape = tuple(x.shape)
    g, total = restore(g, shape, dim, keepdim), restore(out, shape, dim, keepdim)
    if ord == 0:
        return x * 0
    size = xp.abs(x)
    direction = xp.sign(x) if not _is_complex(x) else _phase(xp, x, size)
    if ord in (inf, -inf):
        hit = size == total
        return direction * (g * hit / hit.sum(axis=axes(dim, len(shape)), keepdims=True))
    if ord == 1:
        return direction * g
    safe = xp.where(total == 0, total * 0 + 1, total)
    if ord == 2:
        return x * xp.where(total == 0, 0 * g, g / safe)
    tiny = xp.where(size == 0, size * 0 + 1, size)
    power = xp.where(size == 0, size * 0, tiny ** (ord - 1)) / safe ** (ord - 1)
    return direction * xp.where(total == 0, 0 * g * power, g * power)


def _is_complex(x):
    return getattr(x, "_array", x).dtype.kind == "c"


def _phase(xp, x, size):
    return x / xp.where(size == 0, size * 0 + 1, size)


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    """The norm of matrices: "fro", "nuc", inf, -inf, 1, -1, 2 or -2."""
    if dtype is not None:
        A = A.to(dtype)
    rows, columns = axes(dim, A._array.ndim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord in (2, -2, "nuc"):
        s = svdvals(A.movedim((rows, columns), (-2, -1)))
        found = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
        if keepdim:
            for each in sorted((rows, columns)):
                found = found.unsqueeze(each)
        return found
    if ord not in (1, -1, inf, -inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    summed, reduced = (rows, columns) if abs(ord) == 1 else (columns, rows)
    totals = A.abs().sum(summed, keepdim=True)
    found = totals.amax(reduced, keepdim=True) if ord > 0 else totals.amin(reduced, keepdim=True)
    return found if keepdim else found.squeeze((rows, columns))


def norm(A, ord=None, dim=None, keepdim=False, *, dtype=None, out=None):
    """The norm of vectors or matrices: the 2-norm of all elements unless `ord` and `dim` say otherwise."""
    if dim is not None and not isinstance(dim, int) and len(dim) == 2 and ord is not None:
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype)
    if ord is not None and dim is None and A._array.ndim == 2:
        return matrix_norm(A, ord, (0, 1), keepdim, dtype=dtype)
    if isinstance(ord, str):
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


def old_norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None, *, axis=None):
    """The p-norm along some dimensions, or the Frobenius ("fro") or nuclear ("nuc") norm of matrices."""
    dim = dim if axis is None else axis
    if p == "nuc":
        return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype, out=out)


publish_method("norm", old_norm)


def cond(A, p=None, *, out=None):
    """The condition number of matrices in a norm."""
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


# ---------------------------------------------------------------- composites
def pinv(A, *, atol=None, rtol=None, hermitian=False, rcond=None, out=None):
    """The Moore-Penrose pseudoinverse, through the singular value decomposition."""
    u, s, vh = svd_factors(A, False)
    rtol = rcond if rtol is None else rtol
    if rtol is None:
        rtol = 0.0 if atol is not None else max(A._array.shape[-2:]) * float(np.finfo(s._array.dtype).eps)
    if 0 in A._array.shape[-2:]:
        return A.new_zeros((*A._array.shape[:-2], A._array.shape[-1], A._array.shape[-2]))
    limit = (s[..., :1] * rtol).clamp(min=0.0 if atol is None else atol)
    inverse = wrap(np.where(s._array > limit._array, 1, 0).astype(s._array.dtype)) / s.masked_fill(s <= limit, 1.0)
    return (vh.mH * inverse.unsqueeze(-2)) @ u.mH


publish_method("pinverse", lambda self, rcond=1e-15: pinv(self, rtol=rcond))


def matrix_rank(A, tol=None, hermitian=False, *, atol=None, rtol=None, out=None):
    """How many singular values are above the tolerance."""
    s = svdvals(A)._array
    if tol is not None:
        limit = np.asarray(tol)
    else:
        default = 0.0 if atol is not None else max(A._array.shape[-2:]) * np.finfo(s.dtype).eps
        top = s.max(-1, initial=0)
        limit = np.maximum(0.0 if atol is None else atol, top * (default if rtol is None else rtol))
    return wrap(np.asarray((s > np.asarray(limit)[..., None]).sum(-1), dtype=np.int64))


def matrix_power(A, n, *, out=None):
    """A multiplied n times with itself; negative n use the inverse."""
    if A._array.ndim < 2 or A._array.shape[-1] != A._array.shape[-2]:
        raise RuntimeError(
            "linalg.matrix_power: A must be batches of square matrices, but they are "
            f"{_x(A._array)} matrices"
        )
    if n < 0:
        return matrix_power(inv(A), -n)
    if n == 0:
        eye = np.eye(A._array.shape[-1], dtype=A._array.dtype)
        return wrap(np.broadcast_to(eye, A._array.shape).copy())
    result = None
    power = A
    while n:
        if n & 1:
            result = power if result is None else result @ power
        n >>= 1
        if n:
            power = power @ power
    return result


publish_method("matrix_power", matrix_power)


def multi_dot(tensors, *, out=None):
    """The product of several matrices in the order that takes the fewest multiplications."""
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError("multi_dot(): expected at least 2 tensors but got " + str(len(tensors)))
    first, last = tensors[0]._array.ndim == 1, tensors[-1]._array.ndim == 1
    if first:
        tensors[0] = tensors[0][None, :]
    if last:
        tensors[-1] = tensors[-1][:, None]
    sizes = [t._array.shape[0] for t in tensors] + [tensors[-1]._array.shape[1]]
    n = len(tensors)
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            options = [
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            ]
            cost[i][j], cut[i][j] = min(options)

    def product(i, j):
        return tensors[i] if i == j else product(i, cut[i][j]) @ product(cut[i][j] + 1, j)

    found = product(0, n - 1)
    if first:
        found = found[0]
    return found[..., 0] if last else found


def matrix_exp(A):
    """The matrix exponential, by scaling and squaring of a Taylor polynomial of degree 18."""
    top = float(np.abs(A._array).sum(-2).max(initial=0)) if A._array.size else 0.0
    squarings = max(0, int(np.ceil(np.log2(top))) + 1) if top > 0.5 else 0
    x = A / 2.0**squarings
    n = A._array.shape[-1]
    term = wrap(np.broadcast_to(np.eye(n, dtype=A._array.dtype), A._array.shape).copy())
    total = term
    for k in range(1, 19):
        term = term @ x / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


publish_method("matrix_exp", matrix_exp)


def cross(input, other, *, dim=-1, out=None):
    """The cross product of vectors of three elements along `dim`."""
    for each in (input, other):
        if each._array.shape[dim] != 3:
            raise RuntimeError(
                f"linalg.cross: inputs dimension {dim} must have length 3. Got {input._array.shape[dim]} and "
                f"{other._array.shape[dim]}"
            )
    where = axis(dim, max(input._array.ndim, other._array.ndim))
    a, b = input.unbind(where), other.unbind(where)
    from danlu.ops.joining import stack

    return stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], where
    )


def old_cross(input, other, dim=None, *, out=None):
    """`linalg.cross` along the first dimension of size 3."""
    if dim is None:
        dim = next((i for i, n in enumerate(input._array.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return cross(input, other, dim=dim)


publish_method("cross", old_cross)

_lstsq_result = return_type("lstsq", ("solution", "residuals", "rank", "singular_values"), "linalg")


def lstsq(A, B, rcond=None, *, driver=None):
    """The X that minimises ||A X - B||, with residuals, rank and singular values (for the SVD drivers)."""
    m, n = A._array.shape[-2:]
    solution = pinv(A, rtol=rcond) @ B if m < n else _overdetermined(A, B, rcond, driver)
    rank = matrix_rank(A, rtol=rcond)
    if m > n and bool((rank._array == n).all()) and driver != "gelsy":
        residual = A @ solution - B
        residuals = (residual.abs() ** 2).sum(-2) if residual._array.ndim > 1 else (residual**2).sum()
    else:
        residuals = A.new_empty(0)
    values = svdvals(A) if driver in ("gelsd", "gelss") else A.new_empty(0)
    return _lstsq_result((solution, residuals, rank, values))


def _overdetermined(a, b, rcond, driver):
    q, r = qr_factors(a, "reduced")
    if np.all(np.abs(np.diagonal(r._array, axis1=-2, axis2=-1)) > 1e-6):
        return solve_triangular(r, q.mH @ b, upper=True)
    return pinv(a, rtol=rcond) @ b


def solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None):
    """The X with A X = B for a triangular A, of which the other triangle is not read."""
    triangle = A.triu() if upper else A.tril()
    if unitriangular:
        n = A._array.shape[-1]
        eye = wrap(np.eye(n, dtype=A._array.dtype))
        triangle = triangle * (1 - eye) + eye
    return solve(triangle, B, left=left)


def vander(x, N=None):
    """The Vandermonde matrix: the powers 0 to N - 1 of each element."""
    N = x._array.shape[-1] if N is None else N
    from danlu.ops.creation import arange

    return x.unsqueeze(-1) ** arange(N)


def vecdot(x, y, *, dim=-1, out=None):
    """The dot products of vectors along `dim`, the first conjugated."""
    return ((x.conj() if x.is_complex() else x) * y).sum(dim)


from danlu.ops.matmul import matmul  # noqa: E402
from danlu.ops.shape import diagonal as _diagonal  # noqa: E402


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """The diagonals of matrices."""
    return _diagonal(A, offset, dim1, dim2)
