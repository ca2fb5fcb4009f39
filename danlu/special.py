"""Special functions, as `torch.special`: SciPy's values, with derivatives where PyTorch has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from danlu.ops.binary import xlogy
from danlu.ops.pointwise import exp2, expm1, log1p, logit, round, sinc
from danlu.ops.pointwise import sigmoid as expit
from danlu.ops.reduction import logsumexp
from danlu.ops.registry import NUMBERS, Array, ns, operator
from danlu.ops.special import (
    digamma,
    erf,
    erfc,
    erfinv,
    gammaln,
    i0,
    i1,
    igamma,
    igammac,
    polygamma,
    scipy_special,
)
from danlu.ops.special import mvlgamma as multigammaln

psi = digamma
gammainc, gammaincc = igamma, igammac

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t",
    "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma", "entr",
    "erf",
    "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln",
    "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e", "i1", "i1e",
    "laguerre_polynomial_l",
    "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp",
    "modified_bessel_i0",
    "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1", "multigammaln", "ndtr",
    "ndtri",
    "polygamma", "psi", "round", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0", "xlog1py", "xlogy",
    "zeta",
]  # fmt: skip


def _of_one(name, doc, compute, rule=None):
    """An operator of one input; `compute(special, x)` gets SciPy's functions."""

    def body(input: Array):
        return np.asarray(compute(scipy_special(), input)).astype(input.dtype, copy=False)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    made = operator(
        promote="float", method=False, space="special", differentiable=rule is not None
    )(body)
    if rule is not None:
        made.op.vjp(rule)
    return made


# ---------------------------------------------------------------- the normal distribution and its
# relatives
_DENSITY = 1 / math.sqrt(2 * math.pi)

ndtr = _of_one(
    "ndtr", "The area under the standard normal density up to x.", lambda s, x: s.ndtr(x),
    lambda g, input: g * (ns(g).exp(input * input * -0.5) * _DENSITY),
)  # fmt: skip
ndtri = _of_one(
    "ndtri", "The x with ndtr(x) = p, for p in [0, 1].", lambda s, p: s.ndtri(p),
    lambda g, out: g * (ns(g).exp(out * out * 0.5) / _DENSITY),
)  # fmt: skip
log_ndtr = _of_one(
    "log_ndtr", "The logarithm of ndtr, accurate for large negative x.", lambda s, x: s.log_ndtr(x),
    lambda g, input: g * (2 * _DENSITY / erfcx.on(input * -math.sqrt(0.5))),
)  # fmt: skip
erfcx: Any = _of_one(
    "erfcx", "exp(x^2) erfc(x), which does not underflow.", lambda s, x: s.erfcx(x),
    lambda g, input, out: g * (2 * input * out - 2 / math.sqrt(math.pi)),
)  # fmt: skip
entr = _of_one(
    "entr", "-x log(x); 0 at 0 and -inf below.", lambda s, x: s.entr(x),
    lambda g, input: -g * (1 + ns(g).log(input)),
)  # fmt: skip


# ---------------------------------------------------------------- Bessel functions
def _slope_i1e(g, input, out):
    """i0e(x) - i1e(x) (sign(x) + 1 / x), whose limit at 0 is 1/2."""
    xp = ns(g)
    zero = input == 0
    safe = xp.where(zero, 0 * input + 1, input)
    slope = i0e.on(input) - out * (xp.sign(input) + 1 / safe)
    return g * xp.where(zero, 0 * input + 0.5, slope)


i0e = _of_one(
    "i0e", "exp(-|x|) i0(x), which does not overflow.", lambda s, x: s.i0e(x),
    lambda g, input, out: g * (i1e.on(input) - ns(g).sign(input) * out),
)  # fmt: skip
i1e: Any = _of_one(
    "i1e", "exp(-|x|) i1(x), which does not overflow.", lambda s, x: s.i1e(x), _slope_i1e
)
bessel_j0 = _of_one(
    "bessel_j0", "The Bessel function of the first kind of order 0.", lambda s, x: s.j0(x)
)
bessel_j1 = _of_one(
    "bessel_j1", "The Bessel function of the first kind of order 1.", lambda s, x: s.j1(x)
)
bessel_y0 = _of_one(
    "bessel_y0", "The Bessel function of the second kind of order 0.", lambda s, x: s.y0(x)
)
bessel_y1 = _of_one(
    "bessel_y1", "The Bessel function of the second kind of order 1.", lambda s, x: s.y1(x)
)
modified_bessel_i0 = _of_one(
    "modified_bessel_i0", "The modified Bessel function of the first kind of order 0.",
    lambda s, x: s.i0(x),
)  # fmt: skip
modified_bessel_i1 = _of_one(
    "modified_bessel_i1", "The modified Bessel function of the first kind of order 1.",
    lambda s, x: s.i1(x),
)  # fmt: skip
modified_bessel_k0 = _of_one(
    "modified_bessel_k0", "The modified Bessel function of the second kind of order 0.",
    lambda s, x: s.k0(x),
)  # fmt: skip
modified_bessel_k1 = _of_one(
    "modified_bessel_k1", "The modified Bessel function of the second kind of order 1.",
    lambda s, x: s.k1(x),
)  # fmt: skip
scaled_modified_bessel_k0 = _of_one(
    "scaled_modified_bessel_k0", "exp(x) modified_bessel_k0(x).", lambda s, x: s.k0e(x)
)
scaled_modified_bessel_k1 = _of_one(
    "scaled_modified_bessel_k1", "exp(x) modified_bessel_k1(x).", lambda s, x: s.k1e(x)
)
spherical_bessel_j0 = _of_one(
    "spherical_bessel_j0", "sin(x) / x, 1 at 0.", lambda s, x: s.spherical_jn(0, x)
)
airy_ai = _of_one("airy_ai", "The Airy function Ai.", lambda s, x: s.airy(x)[0])


# ---------------------------------------------------------------- orthogonal polynomials
def _polynomial(name, title, first, step):
    """An operator of x and the degree n: P0 = 1, P1 = first(x), P(k+1) = step(x, k, P(k), P(k-1))."""

    def body(input: Array, n: Array):
        shape = np.broadcast_shapes(input.shape, np.shape(n))
        x, degree = np.broadcast_to(input, shape), np.broadcast_to(n, shape).astype(np.int64)
        before, now = np.ones_like(x), first(x)
        found = np.where(degree == 0, before, np.where(degree == 1, now, 0))
        for k in range(1, int(degree.max(initial=0))):
            before, now = now, step(x, k, now, before)
            found = np.where(degree == k + 1, now, found)
        return found.astype(input.dtype, copy=False)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{title} of degree n at x, by its recurrence; 0 for negative n."
    return operator(promote="float", method=False, space="special", differentiable=False)(body)


def _chebyshev(x, k, now, before):
    return 2 * x * now - before


def _chebyshev_family(kind, first):
    title = f"The Chebyshev polynomial of kind {kind.upper()}"
    plain = _polynomial(f"chebyshev_polynomial_{kind}", title, first, _chebyshev)
    shifted = _polynomial(
        f"shifted_chebyshev_polynomial_{kind}", title + ", of 2 x - 1,",
        lambda x: first(2 * x - 1), lambda x, k, now, before: _chebyshev(2 * x - 1, k, now, before),
    )  # fmt: skip
    return plain, shifted


chebyshev_polynomial_t, shifted_chebyshev_polynomial_t = _chebyshev_family("t", lambda x: x * 1)
chebyshev_polynomial_u, shifted_chebyshev_polynomial_u = _chebyshev_family("u", lambda x: 2 * x)
chebyshev_polynomial_v, shifted_chebyshev_polynomial_v = _chebyshev_family("v", lambda x: 2 * x - 1)
chebyshev_polynomial_w, shifted_chebyshev_polynomial_w = _chebyshev_family("w", lambda x: 2 * x + 1)
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h", "The physicists' Hermite polynomial", lambda x: 2 * x,
    lambda x, k, now, before: 2 * x * now - 2 * k * before,
)  # fmt: skip
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he", "The probabilists' Hermite polynomial", lambda x: x * 1,
    lambda x, k, now, before: x * now - k * before,
)  # fmt: skip
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l", "The Laguerre polynomial", lambda x: 1 - x,
    lambda x, k, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1),
)  # fmt: skip
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p", "The Legendre polynomial", lambda x: x * 1,
    lambda x, k, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1),
)  # fmt: skip


# ---------------------------------------------------------------- of two
@operator(promote="float", method=False, space="special")
def xlog1py(input: Array, other: Array):
    """input * log(1 + other), 0 where input is 0, accurate for small `other`."""
    return np.asarray(scipy_special().xlog1py(input, other)).astype(input.dtype, copy=False)


def _log1p(x):
    return math.log1p(x) if x.__class__ in NUMBERS else ns(x).log1p(x)


xlog1py.vjps(
    input=lambda g, input, other: g * _log1p(other) * ((input != 0) | (other > -1)),
    other=lambda g, input, other: g * (input / (other + 1)),
)


@operator(promote="float", method=False, space="special")
def zeta(input: Array, other: Array):
    """The Hurwitz zeta function: the sum over k of (k + other)^-input."""
    return np.asarray(scipy_special().zeta(input, other)).astype(input.dtype, copy=False)


def _no_slope(g):
    raise NotImplementedError("the derivative for 'self' is not implemented")


zeta.vjps(input=_no_slope, other=lambda g, input, other: g * -input * zeta.on(input + 1.0, other))


def softmax(input, dim, *, dtype=None):
    """exp(x) / sum(exp(x)) along `dim`."""
    return (input if dtype is None else input.to(dtype)).softmax(dim)


def log_softmax(input, dim, *, dtype=None):
    """log(softmax(x)) along `dim`."""
    return (input if dtype is None else input.to(dtype)).log_softmax(dim)
