"""Pointwise functions of one tensor."""

from __future__ import annotations

import math

import numpy as np

from danlu.kernels.fused import activation
from danlu.ops.calls import LARGE
from danlu.ops.promotion import weak
from danlu.ops.registry import Array, composite, elementwise, ns, operator
from danlu.tensor import publish_method

__all__ = [
    "abs", "absolute", "acos", "acosh", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctanh", "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "conj", "conj_physical",
    "cos", "cosh", "deg2rad", "exp", "exp2", "expm1", "fix", "frexp", "floor", "frac", "imag",
    "isfinite",
    "isinf", "isnan", "isneginf", "isposinf", "isreal", "log", "log10", "log1p", "log2",
    "logical_not",
    "logit", "nan_to_num", "neg", "negative", "positive", "rad2deg", "real", "reciprocal",
    "resolve_conj", "resolve_neg", "round",
    "rsqrt", "sgn", "sigmoid", "sign", "signbit", "sin", "sinc", "sinh", "sqrt", "square", "tan",
    "tanh",
    "trunc",
]  # fmt: skip


def _conj(x):
    """The complex conjugate where there is one: rules of holomorphic functions conjugate the
    derivative.
    """
    return x.conj() if _is_complex(x) else x


def _is_complex(x) -> bool:
    kind = getattr(x.dtype, "kind", None)
    return kind == "c" if kind is not None else x.dtype.is_complex


exp = elementwise("exp", np.exp, "e to the power of each element.", lambda g, out: g * _conj(out))
exp2 = elementwise(
    "exp2", np.exp2, "2 to the power of each element.", lambda g, out: g * _conj(out * math.log(2))
)
expm1 = elementwise(
    "expm1", np.expm1, "exp(x) - 1, accurate near 0.", lambda g, out: g * _conj(out + 1)
)
log = elementwise("log", np.log, "The natural logarithm.", lambda g, input: g / _conj(input))
log2 = elementwise(
    "log2", np.log2, "The logarithm to base 2.", lambda g, input: g / _conj(input * math.log(2))
)
log10 = elementwise(
    "log10", np.log10, "The logarithm to base 10.", lambda g, input: g / _conj(input * math.log(10))
)
log1p = elementwise(
    "log1p", np.log1p, "log(1 + x), accurate near 0.", lambda g, input: g / _conj(input + 1)
)
sqrt = elementwise("sqrt", np.sqrt, "The square root.", lambda g, out: g / _conj(2 * out))
sin = elementwise(
    "sin", np.sin, "The sine, in radians.", lambda g, input: g * _conj(ns(input).cos(input))
)
cos = elementwise(
    "cos", np.cos, "The cosine, in radians.", lambda g, input: -g * _conj(ns(input).sin(input))
)
tan = elementwise(
    "tan", np.tan, "The tangent, in radians.", lambda g, out: g * _conj(1 + out * out)
)
asin = elementwise(
    "asin", np.arcsin, "The inverse sine.",
    lambda g, input: g * _conj((1 - input * input) ** -0.5), aliases=("arcsin",),
)  # fmt: skip
acos = elementwise(
    "acos", np.arccos, "The inverse cosine.",
    lambda g, input: -g * _conj((1 - input * input) ** -0.5), aliases=("arccos",),
)  # fmt: skip
atan = elementwise(
    "atan", np.arctan, "The inverse tangent.",
    lambda g, input: g / _conj(1 + input * input), aliases=("arctan",),
)  # fmt: skip
sinh = elementwise(
    "sinh", np.sinh, "The hyperbolic sine.", lambda g, input: g * _conj(ns(input).cosh(input))
)
cosh = elementwise(
    "cosh", np.cosh, "The hyperbolic cosine.", lambda g, input: g * _conj(ns(input).sinh(input))
)


def _tanh_gradient(g, out):
    if out.__class__ is np.ndarray and out.dtype.kind == "f":
        return activation.tanh_backward(g, out) if out.size >= LARGE else g * (1 - out * out)
    return g * _conj(1 - out * out)


tanh = elementwise("tanh", np.tanh, "The hyperbolic tangent.", _tanh_gradient)
asinh = elementwise(
    "asinh", np.arcsinh, "The inverse hyperbolic sine.",
    lambda g, input: g * _conj((input * input + 1) ** -0.5), aliases=("arcsinh",),
)  # fmt: skip
acosh = elementwise(
    "acosh", np.arccosh, "The inverse hyperbolic cosine.",
    lambda g, input: g * _conj((input - 1) ** -0.5 * (input + 1) ** -0.5), aliases=("arccosh",),
)  # fmt: skip
atanh = elementwise(
    "atanh", np.arctanh, "The inverse hyperbolic tangent.",
    lambda g, input: g / _conj(1 - input * input), aliases=("arctanh",),
)  # fmt: skip
arcsin, arccos, arctan, arcsinh, arccosh, arctanh = asin, acos, atan, asinh, acosh, atanh

neg = elementwise(
    "neg", np.negative, "The negative of each element.", lambda g: -g, promote=None,
    aliases=("negative", "__neg__"),
)  # fmt: skip
negative = neg
reciprocal = elementwise(
    "reciprocal", np.reciprocal, "1 / x.", lambda g, out: -g * _conj(out * out)
)


def _square(x):
    return np.square(x.astype(np.int64) if x.dtype.kind == "b" else x)


def _sign(x):
    return x.copy() if x.dtype.kind == "b" else np.sign(x)


square = elementwise(
    "square", _square, "x * x.", lambda g, input: g * _conj(2 * input), promote=None, node="Pow"
)
sign = elementwise(
    "sign", _sign, "-1, 0 or 1 by the sign of each element.", lambda g: g * 0, promote=None
)
ceil = elementwise("ceil", np.ceil, "The next integer upwards.", lambda g: g * 0, promote=None)
floor = elementwise("floor", np.floor, "The next integer downwards.", lambda g: g * 0, promote=None)
trunc = elementwise(
    "trunc", np.trunc, "The integer part.", lambda g: g * 0, promote=None, aliases=("fix",)
)
fix = trunc
deg2rad = elementwise(
    "deg2rad", np.deg2rad, "Degrees to radians.", lambda g: g * (math.pi / 180), node="Mul"
)
rad2deg = elementwise(
    "rad2deg", np.rad2deg, "Radians to degrees.", lambda g: g * (180 / math.pi), node="Mul"
)
isfinite = elementwise(
    "isfinite",
    np.isfinite,
    "Where elements are neither infinite nor NaN.",
    promote=None,
    inplace=False,
)
isinf = elementwise("isinf", np.isinf, "Where elements are infinite.", promote=None, inplace=False)
isnan = elementwise("isnan", np.isnan, "Where elements are NaN.", promote=None, inplace=False)
signbit = elementwise(
    "signbit", np.signbit, "Where the sign bit is set (also of -0.0).", promote=None, inplace=False
)
logical_not = elementwise("logical_not", np.logical_not, "Where elements are zero.", promote=None)
bitwise_not = elementwise(
    "bitwise_not", np.invert, "The bitwise complement of integers; logical not of bools.",
    promote=None, aliases=("__invert__",),
)  # fmt: skip


def _sigmoid(x):
    if x.__class__ is np.ndarray and x.size >= LARGE and x.dtype.kind == "f":
        return activation.sigmoid(x)
    # exp overflows to inf below -88 in float32, and 1 / (1 + inf) is the right 0
    result = np.exp(-x)
    result += 1
    return np.reciprocal(result, out=result) if result.__class__ is np.ndarray else 1 / result


def _sigmoid_gradient(g, out):
    if out.__class__ is np.ndarray and out.dtype.kind == "f":
        return activation.sigmoid_backward(g, out) if out.size >= LARGE else g * (out * (1 - out))
    return g * _conj(out * (1 - out))


sigmoid = elementwise("sigmoid", _sigmoid, "1 / (1 + exp(-x)).", _sigmoid_gradient)


@operator(promote="float", inplace=True)
def rsqrt(input: Array):
    """1 / sqrt(x)."""
    return 1 / ns(input).sqrt(input)


@rsqrt.vjp
def _(g, out):
    return g * _conj(-0.5 * out * out * out)


@operator(inplace=True, method=("abs", "absolute", "__abs__"))
def abs(input: Array):
    """The absolute value, of complex numbers the modulus."""
    return ns(input).abs(input)


@abs.vjp
def _(g, input, out):
    xp = ns(g)
    if _is_complex(input):
        return g * sgn.on(input)
    return g * xp.sign(input)


absolute = abs


@operator(inplace=True)
def sgn(input: Array):
    """x / |x|, 0 at 0: the sign, also of complex numbers."""
    return _sign(input)


@sgn.vjp
def _(g, input, out):
    if not _is_complex(input):
        return g * 0
    xp = ns(g)
    size = xp.abs(input)
    rotated = g - out * xp.real(g * out.conj())
    return xp.where(size == 0, 0 * rotated, rotated / xp.where(size == 0, 1 + 0 * size, size))


@operator(promote="float")
def angle(input: Array):
    """The argument of complex numbers, in radians; 0 or pi for real ones."""
    result = np.angle(input)
    return np.where(np.isnan(input), input, result) if input.dtype.kind == "f" else result


@angle.vjp
def _(g, input):
    if not _is_complex(input):
        return g * 0
    size = ns(g).abs(input)
    return g * (input * 1j) / (size * size)


@operator(view=True, method=False, name="Select")
def _part(input: Array, imaginary):
    return input.imag if imaginary else input.real


@_part.vjp
def _(g, imaginary):
    return g * 1j if imaginary else g + 0j


def real(input):
    """The real part: a view of complex tensors, real ones as they are."""
    return _part(input, False) if input._array.dtype.kind == "c" else input


def imag(input):
    """The imaginary part of complex numbers, a view.

    Raises:
        RuntimeError: the tensor is real.
    """
    if input._array.dtype.kind != "c":
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _part(input, True)


publish_method("real", property(real, lambda self, value: real(self).__setitem__(..., value)))
publish_method("imag", property(imag, lambda self, value: imag(self).__setitem__(..., value)))


@operator(inplace=True, method=("conj", "conj_physical"))
def conj_physical(input: Array):
    """The complex conjugate."""
    return ns(input).conj(input) if input.dtype.kind == "c" else input


@conj_physical.vjp
def _(g):
    return _conj(g)


conj = conj_physical


@composite(method=True)
def resolve_conj(input):
    """The tensor itself: danlu conjugates at once, so nothing waits to be conjugated."""
    return input


@composite(method=True)
def resolve_neg(input):
    """The tensor itself: danlu negates at once, so nothing waits to be negated."""
    return input


@operator()
def positive(input: Array):
    """The elements as they are.

    Raises:
        RuntimeError: for bool tensors.
    """
    if input.dtype == np.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@positive.vjp
def _(g):
    return g


@operator(inplace=True)
def frac(input: Array):
    """The fractional part, with the sign of x."""
    return input - ns(input).trunc(input)


@frac.vjp
def _(g):
    return g


@operator(inplace=True)
def round(input: Array, *, decimals=0):
    """The nearest integer (halves to even), or multiple of 10 ** -decimals."""
    if input.dtype.kind in "iub":
        return input.copy()
    if decimals == 0:
        return ns(input).round(input)
    ten = weak(10.0 ** builtins_abs(decimals), input)
    return np.rint(input * ten) / ten if decimals > 0 else np.rint(input / ten) * ten


builtins_abs = math.fabs


@round.vjp
def _(g):
    return g * 0


@operator(inplace=True)
def nan_to_num(input: Array, nan=0.0, posinf=None, neginf=None):
    """NaN and infinities replaced by numbers: by 0 and the largest finite ones unless said
    otherwise.
    """
    if input.dtype.kind not in "fcV":
        return input.copy()
    nan = 0.0 if nan is None else nan
    return np.nan_to_num(input, nan=nan, posinf=posinf, neginf=neginf)


@nan_to_num.vjp
def _(g, input):
    return g * ns(g).isfinite(input)


@operator(promote="float", inplace=True)
def logit(input: Array, eps=None):
    """log(x / (1 - x)), of x clamped to [eps, 1 - eps] if eps is given."""
    x = input
    if eps is not None:
        x = np.minimum(np.maximum(x, x.dtype.type(eps)), x.dtype.type(1 - eps))
    return np.log(x / (1 - x))


@logit.vjp
def _(g, input, eps):
    xp = ns(g)
    if eps is None:
        inside = (input >= 0) & (input <= 1)
        return xp.where(inside, g / (input * (1 - input)), math.nan)
    inside = (input >= eps) & (input <= 1 - eps)
    safe = xp.where(inside, input, 0 * input + 0.5)
    return xp.where(inside, g / (safe * (1 - safe)), g * 0)


@operator(promote="float", inplace=True)
def sinc(input: Array):
    """sin(pi x) / (pi x), 1 at 0."""
    return np.sinc(input).astype(input.dtype, copy=False)


@sinc.vjp
def _(g, input, out):
    xp = ns(g)
    zero = input == 0
    safe = xp.where(zero, 0 * input + 1, input)
    return xp.where(zero, 0 * g, g * (xp.cos(safe * math.pi) - out) / safe)


@operator(differentiable=False)
def isposinf(input: Array):
    """Where elements are plus infinity."""
    return np.isposinf(input)


@operator(differentiable=False)
def isneginf(input: Array):
    """Where elements are minus infinity."""
    return np.isneginf(input)


@operator(differentiable=False)
def isreal(input: Array):
    """Where elements have no imaginary part."""
    return np.isreal(input)


@operator(returns=("mantissa", "exponent"))
def frexp(input: Array):
    """Mantissas in [0.5, 1) and int32 exponents with input = mantissa * 2 ** exponent.

    Raises:
        RuntimeError: the tensor holds no real floating-point numbers.
    """
    if input.dtype.kind not in "fV":
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    mantissa, exponent = np.frexp(input)
    return mantissa, np.asarray(exponent, dtype=np.int32)


@frexp.vjp
def _(g, out1):
    return g[0] * 2.0 ** -out1.astype(g[0].dtype)


publish_method("absolute_", abs.inplace)
publish_method("__pos__", positive)
