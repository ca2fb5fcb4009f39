"""Random masks of the dropout family, from the default generator's stream."""

from __future__ import annotations

import math

import numpy as np

from danlu.backend import random
from danlu.kernels import random as machine
from danlu.ops.binary import mul
from danlu.ops.registry import Array, ns, operator
from danlu.tensor import wrap

machine.install()

_SELU_LIMIT = 1.7580993408473766  # -alpha * scale of SELU: what a dropped unit is set to


def keep_mask(array, p, shape=None):
    """1 where an element is kept, which it is with probability 1 - p; drawn in the order of the
    array's memory."""
    mask = ns(array).empty_like(array) if shape is None else None
    drawn = random.bernoulli(
        random.default_generator, array.shape if shape is None else shape, array.dtype, 1 - p
    )
    if mask is None or array.flags.c_contiguous:
        return drawn
    random.fill(mask, drawn)
    return mask


def feature_shape(shape):
    """(N, C, *) -> (N, C, 1, ...): one draw for each channel."""
    return tuple(shape[:2]) + (1,) * (len(shape) - 2)


@operator(method=False, name="Mul")
def _multiplied(input: Array, noise: Array, product):
    """`input * noise`, which came together with the noise."""
    return product


_multiplied.vjps(input=lambda g, noise: g * noise)


def dropped(input, p, by_feature=False):
    """Zero elements (or channels) with probability p and divide the others by 1 - p."""
    array = input._array
    if p == 1:
        return mul(input, wrap(ns(array).zeros_like(array)))
    if array.__class__ is np.ndarray and not by_feature:
        drawn = machine.dropout(random.default_generator, array, p)
        if drawn is not None:
            return _multiplied(input, wrap(drawn[0]), drawn[1])
    kind = array.dtype.type
    noise = keep_mask(array, p, feature_shape(array.shape) if by_feature else None)
    return mul(input, wrap(noise * (kind(1) / kind(1 - p))))


def alpha_dropped(input, p, by_feature=False):
    """Set elements (or channels) to SELU's lower limit with probability p, keeping mean and
    variance (Klambauer et al. 2017, section 3)."""
    array = input._array
    if p == 1:
        return mul(input, wrap(ns(array).zeros_like(array)))
    noise = keep_mask(array, p, feature_shape(array.shape) if by_feature else None)
    scale = 1 / math.sqrt((_SELU_LIMIT * _SELU_LIMIT * p + 1) * (1 - p))
    shift = (noise - 1) * (_SELU_LIMIT * scale) + _SELU_LIMIT * scale * p
    return mul(input, wrap(noise * array.dtype.type(scale))) + wrap(shift)
