"""The distribution of a normal variable, whose derivative gelu needs."""

from __future__ import annotations

from math import pi, sqrt

from danlu.kernels.fused import error_function as kernels
from danlu.ops.registry import Array, ns, operator


@operator(method=False)
def normal_cdf(input: Array):
    """The probability that a standard normal variable is at most x."""
    return kernels.normal_cdf(input)


@normal_cdf.vjp
def _(g, input):
    return g * (ns(g).exp(input * input * -0.5) / sqrt(2 * pi))
