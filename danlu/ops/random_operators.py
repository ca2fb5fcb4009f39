"""Random operators over tensors of parameters: each element has a distribution of its own.

The draws do not depend smoothly on the parameters: where a gradient flows, it is zero.
"""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.backend import random as draws
from danlu.ops.checks import by_value
from danlu.ops.random_fill import (
    FLOATS,
    fill_bernoulli,
    fill_normal,
    integer,
    number,
    require_kind,
    stream,
)
from danlu.ops.registry import Array, ns, operator, scalar_name
from danlu.tensor import Tensor

__all__ = ["bernoulli", "multinomial", "normal_around", "poisson"]


@operator(method=False, name="Normal")
def normal_around(mean: Array, std: Array | None, scale, generator):
    """Standard normals times `std` (or the number `scale`) plus `mean`; neither gets a gradient."""
    shape = mean.shape
    if std is not None:
        _require_spread(std)
        try:
            shape = np.broadcast_shapes(mean.shape, std.shape)
        except ValueError:
            raise RuntimeError(
                f"normal(): the shape {list(mean.shape)} of mean must match the shape "
                f"{list(std.shape)} of std, or broadcast with it"
            ) from None
    values = fill_normal(np.empty(shape, mean.dtype), 0.0, scale, generator)
    if std is not None:
        np.multiply(values, std, out=values, casting="same_kind")
    values += mean
    return values


@by_value()
def _require_spread(std):
    if std.size and std.min() < 0:
        raise RuntimeError("normal expects all elements of std >= 0.0")


@normal_around.vjp
def _(g, mean, std):
    xp = ns(g)
    return xp.zeros_like(mean), None if std is None else xp.zeros_like(std)


@operator
def bernoulli(input: Array, p=None, *, generator=None):
    """Ones with the probabilities given by `input`, and zeros.

    Args:
        input: probabilities in [0, 1], of a floating-point dtype, which is the result's.
        p: if given, the probability of every one; `input` then only lends its shape and dtype.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: a probability outside [0, 1].
        NotImplementedError: `input` is not floating point.

    Example:
        >>> import danlu as torch
        >>> torch.bernoulli(torch.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    target = np.empty(input.shape, input.dtype)
    if isinstance(p, Tensor):
        p = p._array
    elif p is not None:
        p = number(p, "bernoulli", "p")
    return fill_bernoulli(target, input if p is None else p, stream(generator))


@bernoulli.vjp
def _(g):
    return ns(g).zeros_like(g)


@operator(method=False)
def poisson(input: Array, generator=None):
    """Counts of the Poisson distribution, P(k) = rate^k exp(-rate) / k!, one for each rate in
    `input`.

    Args:
        input: rates, at least 0, of a floating-point dtype, which is the result's.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: a negative rate.
        NotImplementedError: `input` is not floating point.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.poisson(torch.tensor([1.0, 5.0, 50.0]))
        tensor([ 2.,  6., 49.])
    """
    require_kind(input, FLOATS, "poisson_cpu")
    return _counts(input, stream(generator))


def _counts(rates, generator):
    if not (rates >= 0).all():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return draws.poisson(generator, rates)


@poisson.vjp
def _(g):
    return ns(g).zeros_like(g)


@operator(differentiable=False)
def multinomial(input: Array, num_samples, replacement=False, *, generator=None):
    """Indices drawn with probabilities in proportion to `input`.

    Args:
        input: weights, at least 0 and not all 0, of a floating-point dtype; they need not sum to 1.
        num_samples: how many indices to draw, from each row if `input` is a matrix.
        replacement: whether an index may be drawn again. Default: False.
        generator: the stream to draw from; the default generator if None.

    Shape:
        input (C) or (N, C); result (num_samples) or (N, num_samples), int64.

    Raises:
        RuntimeError: weights that are negative, infinite, NaN or all zero, or more samples than
            there are classes without replacement.

    Example:
        >>> import danlu as torch
        >>> torch.multinomial(torch.tensor([0.0, 3.0, 0.0]), 4, replacement=True)
        tensor([1, 1, 1, 1])
    """
    samples = integer(num_samples, "multinomial", "num_samples")
    if input.dtype.name not in FLOATS:
        raise RuntimeError(
            "multinomial only supports floating-point dtypes for input, got: "
            f"{scalar_name(dtypes.of_array(input))}; convert it by .float()"
        )
    if input.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got {input.ndim}")
    if samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, got {samples}")
    if not replacement and samples > input.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"{samples} from {input.shape[-1]} classes"
        )
    return _chosen(input, samples, bool(replacement), stream(generator))


def _chosen(input, samples, replacement, generator):
    weights = np.atleast_2d(input)
    if not np.isfinite(weights).all() or not (weights >= 0).all():
        raise RuntimeError(
            "invalid multinomial distribution: probability tensor contains either `inf`, `nan` or "
            "element < 0; logits become probabilities by torch.softmax(logits, -1)"
        )
    if (weights.sum(axis=-1) == 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    chosen = draws.multinomial(generator, weights, samples, replacement)
    return chosen[0] if input.ndim == 1 else chosen
