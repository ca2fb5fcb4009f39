"""Discrete Fourier transforms, as `torch.fft`, computed by numpy.fft.

Three operators (complex to complex, real to complex, complex to real) carry everything; each is the
adjoint of
another up to the scale."""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.ops.creation import finish, kind_or_default
from danlu.ops.reduction import axis
from danlu.ops.registry import Array, ns, operator, scalar_name, write_out
from danlu.tensor import wrap

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2",
    "ifftn",
    "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2",
    "rfftfreq", "rfftn",
]  # fmt: skip

# NumPy scales the inverse by default ("backward"). The transposed transform runs the other way with
# the same scale.
_ADJOINT_NORM = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


# ---------------------------------------------------------------- the three transforms
@operator(method=False, space="fft.internal", name="FftC2C")
def complex_to_complex(input: Array, dims, norm, inverse):
    """The transform of complex numbers along `dims`."""
    if not dims:
        return input.copy()
    transform = np.fft.ifftn if inverse else np.fft.fftn
    return transform(input, axes=dims, norm=norm)


@complex_to_complex.vjp
def _(g, dims, norm, inverse):
    return complex_to_complex.on(g, dims, _ADJOINT_NORM[norm], not inverse)


@operator(method=False, space="fft.internal", name="FftR2C")
def real_to_complex(input: Array, dims, norm):
    """The transform of real numbers along `dims`, of which the last keeps its non-negative
    frequencies.
    """
    return np.fft.rfftn(input, axes=dims, norm=norm)


@real_to_complex.vjp
def _(g, input_shape, dims, norm):
    full = resized.on(g, (input_shape[dims[-1]],), dims[-1:])
    return complex_to_complex.on(full, dims, _ADJOINT_NORM[norm], True).real


@operator(method=False, space="fft.internal", name="FftC2R")
def complex_to_real(input: Array, dims, norm, last):
    """The real inverse transform of half a spectrum; `last` is the size of the last of `dims` in
    the result.
    """
    sizes = [*[input.shape[each] for each in dims[:-1]], last]
    return np.fft.irfftn(input, sizes, dims, norm)


@complex_to_real.vjp
def _(g, dims, norm, last):
    half = real_to_complex.on(g, dims, _ADJOINT_NORM[norm])
    # the frequencies in the middle stand for their mirror images too
    n = last // 2 + 1
    weights = np.ones((n,) + (1,) * (g.ndim - 1 - dims[-1]), getattr(g, "_array", g).dtype)
    weights[1 : last - n + 1] = 2
    return half * (weights if ns(g) is np else wrap(weights))


@operator(method=False, space="fft.internal", name="ConstantPadNd")
def resized(input: Array, sizes, dims):
    """Cut off, or filled up with zeros, at the end of each of `dims`."""
    part, shape = [slice(None)] * input.ndim, list(input.shape)
    for size, dim in zip(sizes, dims):
        part[dim] = slice(min(size, input.shape[dim]))
        shape[dim] = size
    kept = input[tuple(part)]
    if kept.shape == tuple(shape):
        return kept.copy()
    result = np.zeros(shape, input.dtype)
    result[tuple(part)] = kept
    return result


@resized.vjp
def _(g, input_shape, dims):
    return resized.on(g, tuple([input_shape[each] for each in dims]), dims)


# ---------------------------------------------------------------- reading the arguments
def _norm_of(norm):
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(
            f'Invalid normalization mode: "{norm}": choose "backward", "forward" or "ortho"'
        )
    return "backward" if norm is None else norm


def _need(name, input, real):
    """Numbers that can be transformed: integers become the default dtype; complex input where it
    may be.
    """
    kind = input.dtype
    if kind.is_complex and real:
        raise RuntimeError(f"{name} expects a real input tensor, but got {scalar_name(kind)}")
    if kind in (dtypes.float16, dtypes.bfloat16):
        raise RuntimeError(f"Unsupported dtype {scalar_name(kind)}: convert with .float()")
    if not kind.is_complex and not kind.is_floating_point:
        return input.to(dtypes.get_default_dtype())
    return input


def _complex(input):
    return input if input.is_complex() else input.to(input.dtype.to_complex())


def _dims_of(input, s, dim):
    """The sizes (or None) and dimensions of an n-dimensional transform."""
    ndim = input._array.ndim
    if isinstance(s, int):
        s = (s,)
    if isinstance(dim, int):
        dim = (dim,)
    if dim is None:
        if s is not None and len(s) > ndim:
            raise RuntimeError(
                f"Got shape with {len(s)} values but input tensor only has {ndim} dimensions."
            )
        dims = tuple(range(ndim if s is None else len(s)))
        dims = tuple(each + ndim - len(dims) for each in dims)
    else:
        dims = tuple(axis(each, ndim) for each in dim)
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
        if s is not None and len(s) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    if s is None:
        return None, dims
    return [input._array.shape[d] if n == -1 else n for n, d in zip(s, dims)], dims


def _need_points(sizes) -> None:
    for size in sizes:
        if size < 1:
            raise RuntimeError(f"Invalid number of data points ({size}) specified")


def _fitted(input, sizes, dims):
    """`input` with these sizes along `dims`."""
    own = [input._array.shape[each] for each in dims]
    sizes = own if sizes is None else sizes
    _need_points(sizes)
    return input if list(sizes) == own else resized(input, tuple(sizes), dims)


def _one(input, n, dim):
    """Size and dimension of a 1-D transform as those of an n-dimensional one."""
    if input._array.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return None if n is None else (n,), (dim,)


def _published(made, out):
    return made if out is None else write_out(out, made)


# ---------------------------------------------------------------- in n dimensions
def fftn(input, s=None, dim=None, norm=None, *, out=None):
    """The Fourier transform along several dimensions: X[k] = sum over n of x[n] exp(-2 pi i k n /
    N) along each.

    Args:
        s: sizes to cut or fill up with zeros to first; -1 keeps one.
        dim: the dimensions; all by default (the last len(s) if `s` is given).
        norm: "backward" (no scale, the default), "forward" (1 / N) or "ortho" (1 / sqrt(N)).
    """
    norm = _norm_of(norm)
    input = _complex(_need("fftn", input, False))
    sizes, dims = _dims_of(input, s, dim)
    return _published(complex_to_complex(_fitted(input, sizes, dims), dims, norm, False), out)


def ifftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of `fftn`; the default `norm` scales by 1 / N."""
    norm = _norm_of(norm)
    input = _complex(_need("ifftn", input, False))
    sizes, dims = _dims_of(input, s, dim)
    return _published(complex_to_complex(_fitted(input, sizes, dims), dims, norm, True), out)


def rfftn(input, s=None, dim=None, norm=None, *, out=None):
    """`fftn` of real numbers, without the negative frequencies of the last dimension, which mirror
    the others.

    Raises:
        RuntimeError: complex input; no dimension to transform.
    """
    norm = _norm_of(norm)
    input = _need("rfftn", input, True)
    sizes, dims = _dims_of(input, s, dim)
    if not dims:
        raise RuntimeError("rfftn must transform at least one axis")
    return _published(real_to_complex(_fitted(input, sizes, dims), dims, norm), out)


def irfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of `rfftn`: real numbers from the non-negative frequencies.

    Args:
        s: sizes of the result; the last is 2 * (n - 1) by default, though it may have been odd.
    """
    norm = _norm_of(norm)
    input = _complex(_need("irfftn", input, False))
    sizes, dims = _dims_of(input, s, dim)
    if not dims:
        raise RuntimeError("irfftn must transform at least one axis")
    last = 2 * (input._array.shape[dims[-1]] - 1)
    if sizes is None:
        sizes = [input._array.shape[each] for each in dims[:-1]] + [last]
    elif s is not None and not isinstance(s, int) and s[-1] == -1:
        sizes[-1] = last
    _need_points(sizes)
    last = sizes[-1]
    fitted = _fitted(input, [*sizes[:-1], last // 2 + 1], dims)
    return _published(complex_to_real(fitted, dims, norm, last), out)


def hfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The real transform of a signal that is Hermitian in the last dimension, given by its first
    half.
    """
    norm = _norm_of(norm)
    return irfftn(
        _complex(_need("hfftn", input, False)).conj(), s, dim, _ADJOINT_NORM[norm], out=out
    )


def ihfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of `hfftn`: the first half of the Hermitian signal with this real spectrum."""
    norm = _norm_of(norm)
    return _published(rfftn(input, s, dim, _ADJOINT_NORM[norm]).conj(), out)


# ---------------------------------------------------------------- in one and two
def fft(input, n=None, dim=-1, norm=None, *, out=None):
    """The Fourier transform along one dimension; see `fftn`.

    Args:
        n: the size to cut or fill up with zeros to first.

    Example:
        >>> import danlu as torch
        >>> torch.fft.fft(torch.ones(4)).real
        tensor([4., 0., 0., 0.])
    """
    return fftn(input, *_one(input, n, dim), norm, out=out)


def ifft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of `fft`."""
    return ifftn(input, *_one(input, n, dim), norm, out=out)


def rfft(input, n=None, dim=-1, norm=None, *, out=None):
    """`fft` of real numbers, without the negative frequencies, which mirror the others."""
    _need("rfft", input, True)
    return rfftn(input, *_one(input, n, dim), norm, out=out)


def irfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of `rfft`; `n`, the size of the result, is 2 * (frequencies - 1) by default."""
    return irfftn(input, *_one(input, n, dim), norm, out=out)


def hfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The real transform of a Hermitian signal, given by its first half."""
    return hfftn(input, *_one(input, n, dim), norm, out=out)


def ihfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of `hfft`."""
    _need("ihfft", input, True)
    return ihfftn(input, *_one(input, n, dim), norm, out=out)


def _in_two(name, transform):
    def public(input, s=None, dim=(-2, -1), norm=None, *, out=None):
        return transform(input, s, dim, norm, out=out)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"`{transform.__name__}` along two dimensions, the last two by default."
    return public


fft2, ifft2 = _in_two("fft2", fftn), _in_two("ifft2", ifftn)
rfft2, irfft2 = _in_two("rfft2", rfftn), _in_two("irfft2", irfftn)
hfft2, ihfft2 = _in_two("hfft2", hfftn), _in_two("ihfft2", ihfftn)


# ---------------------------------------------------------------- frequencies and their order
def fftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of `fft` of n samples at distance d, in its order: 0, 1, ..., -2, -1 over n
    d.
    """
    made = finish(np.fft.fftfreq(n, d).astype(kind_or_default(dtype)), requires_grad, device)
    return _published(made, out)


def rfftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of `rfft` of n samples at distance d: 0, 1, ..., n // 2 over n d."""
    made = finish(np.fft.rfftfreq(n, d).astype(kind_or_default(dtype)), requires_grad, device)
    return _published(made, out)


def _shift(input, dim, half):
    ndim = input._array.ndim
    dims = range(ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = tuple(axis(each, ndim) for each in dims)
    return input.roll(tuple(half(input._array.shape[each]) for each in dims), dims)


def fftshift(input, dim=None):
    """Frequency 0 moved to the middle of each of `dim` (of all by default)."""
    return _shift(input, dim, lambda n: n // 2)


def ifftshift(input, dim=None):
    """The inverse of `fftshift`."""
    return _shift(input, dim, lambda n: (n + 1) // 2)
