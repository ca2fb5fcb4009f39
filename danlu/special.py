"""Special functions, as `torch.special`."""

from __future__ import annotations

from danlu.ops.binary import xlogy
from danlu.ops.pointwise import exp2, expm1, log1p, logit, round, sinc
from danlu.ops.pointwise import sigmoid as expit
from danlu.ops.reduction import logsumexp
from danlu.ops.registry import Array, operator
from danlu.ops.special import (
    _by_scipy,
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
    "bessel_j0", "bessel_j1", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc",
    "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy", "zeta",
]  # fmt: skip


def _of_one(name, doc, scipy_name=None):
    def body(input: Array):
        return _by_scipy(scipy_name or name)(input)

    body.__name__ = name
    body.__doc__ = doc
    return operator(promote="float", method=False, space="special", differentiable=False)(body)


bessel_j0 = _of_one("bessel_j0", "The Bessel function of the first kind of order 0.", "j0")
bessel_j1 = _of_one("bessel_j1", "The Bessel function of the first kind of order 1.", "j1")
i0e = _of_one("i0e", "exp(-|x|) i0(x).")
i1e = _of_one("i1e", "exp(-|x|) i1(x).")
log_ndtr = _of_one("log_ndtr", "The logarithm of the area under the normal density up to x.")
ndtri = _of_one("ndtri", "The x with ndtr(x) = p.")
erfcx = _of_one("erfcx", "exp(x^2) erfc(x).")


def ndtr(input):
    """The area under the standard normal density up to x."""
    return (erf(input / 2**0.5) + 1) / 2


def entr(input):
    """-x log(x); 0 at 0 and -inf below."""
    return -xlogy(input, input)


def xlog1py(input, other):
    """input * log(1 + other), 0 where input is 0."""
    return xlogy(input, other + 1)


@operator(promote="float", method=False, space="special", differentiable=False)
def zeta(input: Array, other: Array):
    """The Hurwitz zeta function."""
    return scipy_special().zeta(input, other).astype(input.dtype, copy=False)


def softmax(input, dim, *, dtype=None):
    """exp(x) / sum(exp(x)) along `dim`."""
    return (input if dtype is None else input.to(dtype)).softmax(dim)


def log_softmax(input, dim, *, dtype=None):
    """log(softmax(x)) along `dim`."""
    return (input if dtype is None else input.to(dtype)).log_softmax(dim)
