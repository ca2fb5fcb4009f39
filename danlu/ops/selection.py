"""Clamping, triangles and other small operators of one tensor with limits."""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.ops.inplace import publish_inplace, replace
from danlu.ops.masking import where
from danlu.ops.reduction import axis
from danlu.ops.registry import Array, composite, ns, operator, write_out
from danlu.tensor import Tensor, publish_method

__all__ = [
    "clamp", "clamp_max", "clamp_min", "clip", "diag", "diagflat", "diff", "cov", "corrcoef",
    "renorm", "trace",
    "tril", "triu",
]  # fmt: skip


@operator(method=False, inplace=True, name="Clamp")
def _clamp(input: Array, low=None, high=None):
    if low is None:
        return ns(input).minimum(input, input.dtype.type(high))
    if high is None:
        return ns(input).maximum(input, input.dtype.type(low))
    kind = input.dtype.type
    return ns(input).minimum(ns(input).maximum(input, kind(low)), kind(high))


@_clamp.vjp
def _(g, input, low, high):
    if low is None:
        return g * (input <= high)
    if high is None:
        return g * (input >= low)
    return g * ((input >= low) & (input <= high))


def _limit(value):
    return (
        value.item()
        if isinstance(value, Tensor) and value._array.ndim == 0 and not value.requires_grad
        else value
    )


def clamp(input, min=None, max=None, *, out=None):
    """The elements moved into [min, max]; the limits are numbers or tensors.

    Raises:
        RuntimeError: no limit is given.
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if not isinstance(min, Tensor) and not isinstance(max, Tensor):
        kind = input._array.dtype.kind
        if kind == "f" or (
            kind in "iu" and not isinstance(min, float) and not isinstance(max, float)
        ):
            return _clamp(input, min, max, out=out)
        if kind == "c":
            raise RuntimeError("clamp is not supported for complex types")
        if kind in "iub":
            wide = (
                dtypes.get_default_dtype()
                if isinstance(min, float) or isinstance(max, float)
                else dtypes.int64
            )
            input = input.to(wide)
        return _clamp(input, min, max, out=out)
    return _clamp_to_tensors(input, min, max, out)


def _clamp_to_tensors(input, low, high, out):
    result = input
    # NaN in the input stays, and the upper limit wins where the two cross
    if low is not None:
        result = (
            where((result < low) | (low != low), low, result)
            if isinstance(low, Tensor)
            else clamp(result, low)
        )
    if high is not None:
        result = (
            where((result > high) | (high != high), high, result)
            if isinstance(high, Tensor)
            else clamp(result, None, high)
        )
    if out is not None:
        return write_out(out, result)
    return result


def _clamp_in_place(self, min=None, max=None):
    return replace(self, clamp, (min, max), {})


def clamp_min(input, min, *, out=None):
    """The elements, at least `min`."""
    return clamp(input, min, None, out=out)


def clamp_max(input, max, *, out=None):
    """The elements, at most `max`."""
    return clamp(input, None, max, out=out)


clip = clamp
for _name, _function in (
    ("clamp", clamp),
    ("clip", clamp),
    ("clamp_min", clamp_min),
    ("clamp_max", clamp_max),
):
    publish_method(_name, _function)
publish_method("clamp_", _clamp_in_place)
publish_method("clip_", _clamp_in_place)
publish_method("clamp_min_", lambda self, min: _clamp_in_place(self, min))
publish_method("clamp_max_", lambda self, max: _clamp_in_place(self, None, max))


def _triangle(name, cut):
    def body(input: Array, diagonal=0):
        if input.ndim < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return cut(input, diagonal)

    body.__name__ = name
    side = "lower" if name == "tril" else "upper"
    body.__doc__ = f"The {side} triangle of matrices, from `diagonal` on; zeros elsewhere."
    op = operator(inplace=True)(body)

    @op.vjp
    def _(g, diagonal):
        return op.on(g, diagonal)

    return op


tril, triu = _triangle("tril", np.tril), _triangle("triu", np.triu)


@composite(method=True)
def trace(input):
    """The sum of the diagonal of a matrix."""
    if input._array.ndim != 2:
        raise RuntimeError("trace: expected a matrix")
    return input.diagonal().sum()


@composite(method=True)
def diag(input, diagonal=0, *, out=None):
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector."""
    if input._array.ndim == 1:
        made = input.diag_embed(diagonal)
    elif input._array.ndim == 2:
        made = input.diagonal(diagonal).clone()
    else:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input._array.ndim}D")
    return made if out is None else write_out(out, made)


@composite(method=True)
def diagflat(input, offset=0):
    """All elements as the diagonal of a matrix."""
    return input.reshape(-1).diag_embed(offset)


@composite(method=True)
def diff(input, n=1, dim=-1, prepend=None, append=None, *, out=None):
    """The n-th differences along `dim`."""
    from danlu.ops.joining import cat

    if input._array.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    parts = [each for each in (prepend, input, append) if each is not None]
    result = cat(parts, dim) if len(parts) > 1 else input
    if n == 0:
        return input.clone()
    where = axis(dim, input._array.ndim)
    for _ in range(n):
        size = result._array.shape[where]
        later = result.narrow(where, min(1, size), max(size - 1, 0))
        earlier = result.narrow(where, 0, max(size - 1, 0))
        result = later ^ earlier if result._array.dtype == np.bool_ else later - earlier
    return result if out is None else write_out(out, result)


@composite(method=True)
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariance matrix of variables (rows) over observations (columns)."""
    if input._array.ndim > 2:
        raise RuntimeError(
            "cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input._array.ndim} dimensions"
        )
    x = input.reshape(1, -1) if input._array.ndim < 2 else input
    if x._array.dtype.kind in "biu":
        x = x.to(dtypes.get_default_dtype())
    weights = None
    if fweights is not None:
        weights = fweights.to(x.dtype)
    if aweights is not None:
        weights = aweights if weights is None else weights * aweights
    if weights is None:
        norm = max(x._array.shape[1] - correction, 0)
        centred = x - x.mean(1, True)
        found = (
            centred @ centred.mT.conj() / norm
            if norm
            else centred @ centred.mT.conj() * float("nan")
        )
    else:
        total = weights.sum()
        centred = x - ((x * weights).sum(1) / total)[:, None]
        if correction and aweights is not None:
            norm = total - correction * (weights * aweights).sum() / total
        else:
            norm = total - correction
        found = (centred * weights) @ centred.mT.conj() / norm.real.clamp(min=0)
    return found.squeeze()


@composite(method=True)
def corrcoef(input):
    """The matrix of correlation coefficients of variables (rows)."""
    c = cov(input)
    if c._array.ndim == 0:
        return c / c
    scale = c.diagonal().real.sqrt() if c.is_complex() else c.diagonal().sqrt()
    return c / scale[:, None] / scale[None, :]


@composite(method=True)
def renorm(input, p, dim, maxnorm, *, out=None):
    """The slices along `dim` scaled down to a p-norm of at most `maxnorm`."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    others = tuple(i for i in range(input._array.ndim) if i != axis(dim, input._array.ndim))
    from danlu import linalg

    norms = linalg.vector_norm(input, p, others, True)
    factor = (maxnorm / (norms + 1e-7)).clamp(max=1)
    made = input * factor.to(input.dtype)
    return made if out is None else write_out(out, made)


publish_inplace(renorm)
