"""Special functions, computed by SciPy, which is imported when one is first called."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from danlu.ops.inplace import publish_inplace, replace
from danlu.ops.registry import Array, elementwise, ns, operator, write_out
from danlu.tensor import publish_method

__all__ = [
    "digamma", "erf", "erfc", "erfinv", "gammaln", "i0", "igamma", "igammac", "lgamma", "mvlgamma",
    "polygamma",
]  # fmt: skip


def scipy_special():
    """`scipy.special`.

    Raises:
        ImportError: SciPy is not installed; says how to install it.
    """
    try:
        from scipy import special
    except ImportError:
        raise ImportError(
            "this function needs SciPy: pip install 'danlu[all]', or pip install scipy"
        ) from None
    return special


def _by_scipy(name):
    def function(x, *others):
        result = getattr(scipy_special(), name)(x, *others)
        kind = x.dtype
        return result if result.dtype == kind else np.asarray(result).astype(kind)

    return function


def special_function(name, scipy_name, doc, rule=None, *, aliases=(), inplace=True, node=None):
    """An operator of one input whose values are SciPy's."""
    return elementwise(
        name, _by_scipy(scipy_name), doc, rule, aliases=aliases, inplace=inplace, node=node
    )


_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)

erf = special_function(
    "erf", "erf", "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
    lambda g, input: g * _TWO_OVER_SQRT_PI * ns(input).exp(-(input * input)),
)  # fmt: skip
erfc = special_function(
    "erfc", "erfc", "1 - erf(x), accurate for large x.",
    lambda g, input: g * -_TWO_OVER_SQRT_PI * ns(input).exp(-(input * input)),
)  # fmt: skip
erfinv = special_function(
    "erfinv", "erfinv", "The inverse of erf.",
    lambda g, out: g / _TWO_OVER_SQRT_PI * ns(out).exp(out * out),
)  # fmt: skip
lgamma = special_function(
    "lgamma", "gammaln", "The logarithm of the absolute value of the gamma function.",
    lambda g, input: g * digamma.on(input),
)  # fmt: skip
gammaln = lgamma
digamma: Any = special_function(
    "digamma", "psi", "The derivative of the logarithm of the gamma function.",
    lambda g, input: g * polygamma_of.on(input, 1),
)  # fmt: skip
publish_method("digamma", digamma)
i0 = special_function(
    "i0", "i0", "The modified Bessel function of the first kind of order 0.",
    lambda g, input: g * i1.on(input),
)  # fmt: skip
i1: Any = special_function(
    "i1", "i1", "The modified Bessel function of the first kind of order 1.",
    lambda g, input, out: g * (i0.on(input) - _over(out, input)), inplace=False,
)  # fmt: skip


def _over(out, x):
    """i1(x) / x, whose limit at 0 is 1/2."""
    xp = ns(x)
    zero = x == 0
    return xp.where(zero, 0 * x + 0.5, out / xp.where(zero, 0 * x + 1, x))


@operator(promote="float", method=False, name="Polygamma")
def polygamma_of(input: Array, n):
    """The n-th derivative of digamma."""
    return np.asarray(scipy_special().polygamma(n, input)).astype(input.dtype, copy=False)


@polygamma_of.vjp
def _(g, input, n):
    return g * polygamma_of.on(input, n + 1)


def polygamma(n, input, *, out=None):
    """The n-th derivative of digamma.

    Raises:
        RuntimeError: n is negative.
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return polygamma_of(input, n, out=out)


publish_method("polygamma", lambda self, n: polygamma(n, self))


def mvlgamma(input, p, *, out=None):
    """The logarithm of the multivariate gamma function of dimension p."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    from danlu.ops.creation import arange

    shifts = arange(0, -p, -1, dtype=input.dtype if input.is_floating_point() else None) * 0.5
    made = lgamma(input.unsqueeze(-1) + shifts).sum(-1) + p * (p - 1) / 4 * math.log(math.pi)
    return made if out is None else write_out(out, made)


publish_method("mvlgamma", mvlgamma)


@operator(promote="float", inplace=True)
def igamma(input: Array, other: Array):
    """The regularised lower incomplete gamma function P(input, other); differentiable in `other`."""
    return np.asarray(scipy_special().gammainc(input, other)).astype(input.dtype, copy=False)


@operator(promote="float", inplace=True)
def igammac(input: Array, other: Array):
    """The regularised upper incomplete gamma function 1 - P(input, other); differentiable in
    `other`.
    """
    return np.asarray(scipy_special().gammaincc(input, other)).astype(input.dtype, copy=False)


def _gamma_density(input, other):
    """other^(input - 1) exp(-other) / gamma(input), the slope of P in `other`."""
    xp = ns(other)
    return xp.exp((input - 1) * xp.log(other) - other - lgamma.on(input))


def _no_slope(g):
    raise NotImplementedError("the derivative for 'self: input' is not implemented: use `other`")


igamma.vjps(input=_no_slope, other=lambda g, input, other: g * _gamma_density(input, other))
igammac.vjps(input=_no_slope, other=lambda g, input, other: -g * _gamma_density(input, other))


publish_inplace(mvlgamma)
publish_method("polygamma_", lambda self, n: replace(self, lambda x: polygamma(n, x), (), {}))
