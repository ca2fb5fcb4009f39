"""Arithmetic, comparison and logic of two tensors, or of a tensor and a number."""

from __future__ import annotations

import numpy as np

from danlu.ops.inplace import publish_inplace
from danlu.ops.pointwise import _conj, _is_complex
from danlu.ops.promotion import weak
from danlu.ops.registry import NUMBERS, Array, composite, ns, operator
from danlu.tensor import Tensor, publish_method

__all__ = [
    "add", "atan2", "arctan2",
    "copysign", "div", "divide", "floor_divide", "fmax",
    "fmin", "fmod", "heaviside", "hypot", "ldexp",
    "logaddexp", "logaddexp2",
    "maximum", "minimum", "mul", "multiply", "nextafter", "pow",
    "float_power", "remainder", "rsub", "sub", "subtract", "true_divide", "xlogy",
]  # fmt: skip


def _identity(g):
    return g


# ---------------------------------------------------------------- arithmetic
# `alpha` makes add and sub operators of three parameters; the common call without it takes these.
@operator(promote="same", method=("__add__", "__radd__"), name="Add", ufunc=np.add)
def plain_add(input: Array, other: Array):
    """input + other."""
    return input + other


plain_add.vjps(input=_identity, other=_identity)


@operator(promote="same", method=("__sub__",), name="Sub", ufunc=np.subtract)
def plain_sub(input: Array, other: Array):
    """input - other."""
    return _subtract(input, other)


plain_sub.vjps(input=_identity, other=lambda g: -g)

NO_BOOL_SUB = (
    "Subtraction, the `-` operator, with {} bool tensor{} is not supported. If you are trying to "
    "invert a "
    "mask, use the `~` or `logical_not()` operator instead."
)


def _subtract(a, b):
    if a.dtype == np.bool_:
        raise RuntimeError(NO_BOOL_SUB.format("two", "s"))
    return a - b


@operator(promote="same", inplace=True, ufunc=np.add)
def add(input: Array, other: Array, *, alpha=1):
    """input + alpha * other."""
    return input + other if alpha == 1 else input + _scaled(other, alpha)


add.vjps(input=_identity, other=lambda g, alpha: g if alpha == 1 else g * alpha)


@operator(promote="same", inplace=True, method=("sub", "subtract"), ufunc=np.subtract)
def sub(input: Array, other: Array, *, alpha=1):
    """input - alpha * other."""
    return _subtract(input, other if alpha == 1 else _scaled(other, alpha))


sub.vjps(input=_identity, other=lambda g, alpha: -g if alpha == 1 else g * -alpha)


def _scaled(other, alpha):
    if isinstance(alpha, float) and getattr(other, "dtype", np.dtype(float)).kind in "iub":
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    return other * (weak(alpha, other) if hasattr(other, "dtype") else alpha)


@operator(
    promote="same", inplace=True, method=("mul", "multiply", "__mul__", "__rmul__"),
    ufunc=np.multiply,
)  # fmt: skip
def mul(input: Array, other: Array):
    """input * other."""
    return input * other


mul.vjps(
    input=lambda g, other: g * (other if other.__class__ in NUMBERS else _conj(other)),
    other=lambda g, input: g * (input if input.__class__ in NUMBERS else _conj(input)),
)


@operator(
    promote="float", method=("true_divide", "__truediv__"), name="Div", inplace=True,
    ufunc=np.divide,
)  # fmt: skip
def true_divide(input: Array, other: Array):
    """input / other; integers become floats."""
    if other.__class__ in NUMBERS:
        other = np.asarray(other, dtype=input.dtype if other.__class__ is not complex else None)
    return input / other


def _conj_of(x):
    return x if x.__class__ in NUMBERS else _conj(x)


true_divide.vjps(
    input=lambda g, other: g / _conj_of(other),
    other=lambda g, out, other: -g * _conj(out / other),
)


@composite(method=("div", "divide"))
def div(input, other, *, rounding_mode=None, out=None):
    """input / other, rounded by `rounding_mode`: None, "floor" or "trunc".

    Raises:
        RuntimeError: another rounding mode.
    """
    if rounding_mode is None:
        return true_divide(input, other, out=out)
    if rounding_mode == "floor":
        return floor_divide(input, other, out=out)
    if rounding_mode == "trunc":
        return trunc_divide(input, other, out=out)
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' "
        f"but found '{rounding_mode}'"
    )


divide = div


def _division_by_zero(a, b):
    if a.dtype.kind in "iu" and not np.all(b):
        raise RuntimeError("ZeroDivisionError")


@operator(promote="same", inplace=True, method=("floor_divide", "__floordiv__"))
def floor_divide(input: Array, other: Array):
    """The largest integer not above input / other.

    Raises:
        RuntimeError: integer division by zero.
    """
    _division_by_zero(input, other)
    return np.floor_divide(input, other)


floor_divide.vjps(input=lambda g: g * 0, other=lambda g: g * 0)


@operator(promote="same", inplace=True, method=False, name="Div")
def trunc_divide(input: Array, other: Array):
    """input / other rounded towards zero."""
    _division_by_zero(input, other)
    if input.dtype.kind in "iu":
        quotient = np.floor_divide(input, other)
        return quotient + ((quotient < 0) & (quotient * other != input)).astype(quotient.dtype)
    return np.trunc(input / other)


trunc_divide.vjps(input=lambda g: g * 0, other=lambda g: g * 0)


@operator(promote="same", inplace=True, method=("remainder", "__mod__"))
def remainder(input: Array, other: Array):
    """The remainder with the sign of `other`, as Python's `%`.

    Raises:
        RuntimeError: integer division by zero.
    """
    _division_by_zero(input, other)
    return np.remainder(input, other)


remainder.vjps(input=_identity, other=lambda g, input, other: -g * ns(g).floor_divide(input, other))


@operator(promote="same", inplace=True)
def fmod(input: Array, other: Array):
    """The remainder with the sign of `input`, as C's fmod.

    Raises:
        RuntimeError: integer division by zero.
    """
    _division_by_zero(input, other)
    return np.fmod(input, other)


fmod.vjps(input=_identity, other=lambda g, input, other: -g * ns(g).trunc(input / other))


@operator(promote="same", inplace=True, method=("pow", "__pow__"))
def pow(input: Array, exponent: Array):
    """input to the power of exponent.

    Raises:
        RuntimeError: integers to negative integer powers.
    """
    if exponent.__class__ in NUMBERS:
        # NumPy's ** with these exponents takes its fast roads
        return input**exponent
    if input.dtype.kind in "iu" and np.size(exponent) and np.min(exponent) < 0:
        if exponent.ndim == 0 and input.ndim:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        powers = input.astype(np.float64) ** exponent
        return np.where(np.isfinite(powers), np.trunc(powers), 0).astype(input.dtype)
    if input.dtype.kind == "b":
        return input | ~exponent
    return input**exponent


def _pow_input(g, input, exponent):
    if exponent.__class__ in NUMBERS:
        if exponent == 2:
            return g * _conj_of(2 * input)
        if exponent == 0:
            return g * 0
        return g * _conj_of(exponent * input ** (exponent - 1))
    xp = ns(g)
    zero = exponent == 0
    safe = xp.where(zero, exponent * 0 + 1, exponent)
    return xp.where(zero, 0 * g, g * _conj(exponent * input ** (safe - 1)))


def _pow_exponent(g, out, input, exponent):
    xp = ns(g)
    if input.__class__ in NUMBERS:
        if input == 0:
            return xp.where(exponent >= 0, 0 * g, g * _conj(out * -np.inf))
        return g * _conj(out * (np.log(input) if input > 0 else np.nan))
    if _is_complex(input):
        zero = input == 0
    else:
        zero = (input == 0) & (exponent >= 0)
    safe = xp.where(zero, input * 0 + 1, input)
    return xp.where(zero, 0 * g, g * _conj(out * xp.log(safe)))


pow.vjps(input=_pow_input, exponent=_pow_exponent)


@composite(method=("float_power",))
def float_power(input, exponent, *, out=None):
    """input ** exponent in float64 (complex128 for complex operands)."""
    from danlu.backend import dtypes

    def wide(x):
        if isinstance(x, Tensor):
            return x.to(dtypes.complex128 if x.is_complex() else dtypes.float64)
        return complex(x) if isinstance(x, complex) else float(x)

    return pow(wide(input), wide(exponent), out=out)


@operator(promote="same", method="__rsub__", name="Rsub")
def subtracted_from(input: Array, other: Array):
    """other - input."""
    return _subtract(other, input) if hasattr(other, "dtype") else other - input


subtracted_from.vjps(input=lambda g: -g, other=_identity)


@composite(method=True)
def rsub(input, other, *, alpha=1, out=None):
    """other - alpha * input."""
    return subtracted_from(input if alpha == 1 else input * alpha, other, out=out)


# ---------------------------------------------------------------- larger and smaller
def _ties(g, input, other, wins):
    """PyTorch splits the gradient between equal elements."""
    xp = ns(g)
    return xp.where(input == other, g / 2, xp.where(wins, g, 0 * g))


@operator(promote="same", method="maximum")
def maximum(input: Array, other: Array):
    """The larger of two elements; NaN if either is."""
    return ns(input).maximum(input, other)


maximum.vjps(
    input=lambda g, input, other: _ties(g, input, other, input > other),
    other=lambda g, input, other: _ties(g, input, other, input < other),
)


@operator(promote="same", method="minimum")
def minimum(input: Array, other: Array):
    """The smaller of two elements; NaN if either is."""
    return ns(input).minimum(input, other)


minimum.vjps(
    input=lambda g, input, other: _ties(g, input, other, input < other),
    other=lambda g, input, other: _ties(g, input, other, input > other),
)


@operator(promote="same")
def fmax(input: Array, other: Array):
    """The larger of two elements; the other one where one is NaN."""
    return np.fmax(input, other)


fmax.vjps(
    input=lambda g, input, other: g * ((input >= other) | (other != other)),
    other=lambda g, input, other: g * ~((input >= other) | (other != other)),
)


@operator(promote="same")
def fmin(input: Array, other: Array):
    """The smaller of two elements; the other one where one is NaN."""
    return np.fmin(input, other)


fmin.vjps(
    input=lambda g, input, other: g * ((input <= other) | (other != other)),
    other=lambda g, input, other: g * ~((input <= other) | (other != other)),
)


# ---------------------------------------------------------------- transcendental functions of two
@operator(promote="float", inplace=True, method=("atan2", "arctan2"))
def atan2(input: Array, other: Array):
    """The angle of the point (other, input), in radians."""
    return ns(input).atan2(input, other)


atan2.vjps(
    input=lambda g, input, other: g * other / (input * input + other * other),
    other=lambda g, input, other: -g * input / (input * input + other * other),
)
arctan2 = atan2


@operator(promote="float", inplace=True)
def hypot(input: Array, other: Array):
    """sqrt(input**2 + other**2), without overflow."""
    return ns(input).hypot(input, other)


hypot.vjps(
    input=lambda g, out, input: g * input / out,
    other=lambda g, out, other: g * other / out,
)


@operator(promote="float")
def logaddexp(input: Array, other: Array):
    """log(exp(input) + exp(other)), without overflow."""
    if input.dtype.kind == "c":
        top = np.where(input.real > other.real, input, other)
        return np.log(np.exp(input - top) + np.exp(other - top)) + top
    return np.logaddexp(input, other)


logaddexp.vjps(
    input=lambda g, out, input: g * ns(g).exp(input - out),
    other=lambda g, out, other: g * ns(g).exp(other - out),
)


@operator(promote="float")
def logaddexp2(input: Array, other: Array):
    """log2(2**input + 2**other), without overflow."""
    return np.logaddexp2(input, other)


logaddexp2.vjps(
    input=lambda g, out, input: g * 2.0 ** (input - out),
    other=lambda g, out, other: g * 2.0 ** (other - out),
)


@operator(promote="float", inplace=True)
def copysign(input: Array, other: Array):
    """The magnitude of input with the sign of other."""
    return np.copysign(input, other)


copysign.vjps(
    input=lambda g, out, input: g * ns(g).sign(input) * ns(g).sign(out), other=lambda g: g * 0
)


@operator(promote="float", inplace=True)
def xlogy(input: Array, other: Array):
    """input * log(other), 0 where input is 0."""
    result = np.where(input == 0, 0 * input, input * np.log(other))
    return np.where(np.isnan(other), other, result).astype(input.dtype, copy=False)


xlogy.vjps(
    input=lambda g, input, other: g * ns(g).log(other) * ((input != 0) | (other > 0)),
    other=lambda g, input, other: g * input / other,
)


@operator(promote="same", inplace=True, differentiable=False)
def heaviside(input: Array, values: Array):
    """0 below 0, 1 above, `values` at 0."""
    return np.heaviside(input, values).astype(input.dtype, copy=False)


@operator(promote="same", inplace=True, differentiable=False)
def nextafter(input: Array, other: Array):
    """The next floating-point number from input towards other."""
    return np.nextafter(input, other)


@operator(promote="float", inplace=True)
def ldexp(input: Array, other: Array):
    """input * 2 ** other."""
    return input * weak(2.0, input) ** other


ldexp.vjps(input=lambda g, other: g * 2.0**other, other=lambda g, out: g * out * float(np.log(2)))


# ---------------------------------------------------------------- Python's operators
def from_number(function):
    """The reflected operator: the number on the left is weak, as on the right."""

    def dunder(self, other):
        if isinstance(other, (np.number, np.bool_)):
            other = other.item()
        if other.__class__ not in NUMBERS and not isinstance(other, Tensor):
            return NotImplemented
        return function.op.general(other, self)

    return dunder


for _name, _function in (
    ("__rtruediv__", true_divide), ("__rfloordiv__", floor_divide), ("__rmod__", remainder),
    ("__rpow__", pow),
):  # fmt: skip
    publish_method(_name, from_number(_function))


def _div_in_place(self, other, *, rounding_mode=None):
    """In-place version of `div`."""
    if rounding_mode is None:
        return true_divide.inplace(self, other)
    return (floor_divide if rounding_mode == "floor" else trunc_divide).inplace(self, other)


publish_method("div_", _div_in_place)
publish_method("divide_", _div_in_place)
publish_method("__rdiv__", from_number(true_divide))
publish_method("multiply_", mul.inplace)
publish_method("subtract_", sub.inplace)
publish_method("__iadd__", add.inplace)
publish_method("__isub__", sub.inplace)
publish_method("__imul__", mul.inplace)
publish_method("__itruediv__", true_divide.inplace)
publish_method("__ifloordiv__", floor_divide.inplace)
publish_method("__imod__", remainder.inplace)
publish_method("__ipow__", pow.inplace)
subtract, multiply = sub, mul
publish_method("arctan2_", atan2.inplace)
publish_inplace(float_power)
