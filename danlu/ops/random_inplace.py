"""The methods that fill a tensor with random numbers."""

from __future__ import annotations

import numpy as np

from danlu.autograd.grad_mode import state
from danlu.backend import random as draws
from danlu.ops.random_fill import (
    fill_bernoulli,
    fill_cauchy,
    fill_exponential,
    fill_geometric,
    fill_integers,
    fill_log_normal,
    fill_normal,
    fill_uniform,
    integer,
    number,
    stream,
)
from danlu.ops.registry import Array, composite, ns, operator
from danlu.tensor import Tensor, check_writable

__all__ = [
    "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_",
    "uniform_",
]  # fmt: skip


def _named(function: str, args: tuple, named: dict, names: tuple) -> list:
    """Positional and keyword arguments in the order of `names`; `from`, which Python reserves, is
    one of them."""
    if len(args) > len(names):
        raise TypeError(
            f"{function}() takes at most {len(names)} numbers but {len(args)} were given"
        )
    values = dict(zip(names, args, strict=False))
    for name, value in named.items():
        if name not in names or name in values:
            fault = "multiple values for" if name in values else "an unexpected keyword"
            raise TypeError(f"{function}() got {fault} argument '{name}'")
        values[name] = value
    return [values.get(name) for name in names]


# ---------------------------------------------------------------- writing
@operator(method=False, inplace=True)
def _overwritten(input: Array, values):
    """The given values; what stood there before gets a gradient of zero."""
    return values


@_overwritten.vjp
def _(g):
    return ns(g).zeros_like(g)


def _overwrite(tensor, draw, *args):
    """Fill a tensor in place with `draw(array, *args)`, which returns contiguous values for the
    array.

    Raises:
        RuntimeError: a leaf that requires gradients, or an expanded tensor, cannot be written to.
    """
    array = tensor._array
    if state.grad:
        check_writable(tensor)
    if 0 in array.strides and any(
        step == 0 and size > 1 for step, size in zip(array.strides, array.shape, strict=True)
    ):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )
    values = draw(array, *args)
    if state.grad and tensor.requires_grad:
        placed = np.empty_like(array)
        draws.fill(placed, values)
        _overwritten.inplace(tensor, placed)
    else:
        draws.fill(array, values)
        tensor._writes[0] += 1
    return tensor


# ---------------------------------------------------------------- continuous distributions
@composite(method=True)
def uniform_(self, *args, generator=None, **named):
    """Fill with numbers of the uniform distribution over [from, to).

    Args:
        from: lower bound. Default: 0.
        to: upper bound, never drawn. Default: 1.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: from > to, or a bound that the dtype does not hold.
        NotImplementedError: the dtype is not floating point.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.empty(3).uniform_(-1, 1)
        tensor([-0.0075,  0.5364, -0.8230])
    """
    low, high = _named("uniform_", args, named, ("from", "to"))
    low = 0.0 if low is None else number(low, "uniform_", "from")
    high = 1.0 if high is None else number(high, "uniform_", "to")
    return _overwrite(self, fill_uniform, low, high, stream(generator))


@composite(method=True)
def normal_(self, mean=0.0, std=1.0, *, generator=None):
    """Fill with numbers of the normal distribution, by the transform of Box and Muller (1958).

    Args:
        mean: Default: 0.
        std: standard deviation, at least 0. Default: 1.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: a negative `std`.
        NotImplementedError: the dtype is neither floating point nor complex.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.empty(3).normal_()
        tensor([ 1.5410, -0.2934, -2.1788])
    """
    mean, std = number(mean, "normal_", "mean"), number(std, "normal_", "std")
    return _overwrite(self, fill_normal, mean, std, stream(generator))


@composite(method=True)
def log_normal_(self, mean=1.0, std=2.0, *, generator=None):
    """Fill with numbers whose logarithms are normally distributed.

    Args:
        mean: of the logarithms. Default: 1.
        std: of the logarithms, above 0. Default: 2.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: `std` is not positive.
        NotImplementedError: the dtype is not floating point.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.empty(2).log_normal_(0, 1)
        tensor([4.6692, 0.7457])
    """
    mean, std = number(mean, "log_normal_", "mean"), number(std, "log_normal_", "std")
    return _overwrite(self, fill_log_normal, mean, std, stream(generator))


@composite(method=True)
def exponential_(self, lambd=1.0, *, generator=None):
    """Fill with numbers of the exponential distribution, f(x) = lambd exp(-lambd x) for x > 0.

    Args:
        lambd: the rate, above 0. Default: 1.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: `lambd` is not positive, or the dtype is not floating point.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.empty(2).exponential_()
        tensor([3.5083, 1.2304])
    """
    rate = number(lambd, "exponential_", "lambd")
    return _overwrite(self, fill_exponential, rate, stream(generator))


@composite(method=True)
def cauchy_(self, median=0.0, sigma=1.0, *, generator=None):
    """Fill with numbers of the Cauchy distribution, f(x) = sigma / (pi ((x - median)^2 + sigma^2)).

    Args:
        median: Default: 0.
        sigma: half the width at half the maximum, above 0. Default: 1.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: `sigma` is not positive, or the dtype is not floating point.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.empty(2).cauchy_()
        tensor([10.5977,  0.7648])
    """
    median, sigma = number(median, "cauchy_", "median"), number(sigma, "cauchy_", "sigma")
    return _overwrite(self, fill_cauchy, median, sigma, stream(generator))


# ---------------------------------------------------------------- discrete distributions
@composite(method=True)
def geometric_(self, p, *, generator=None):
    """Fill with numbers of trials up to the first success, P(k) = (1 - p)^(k - 1) p for k = 1, 2,
    ...

    Args:
        p: the probability of success, in (0, 1).
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: `p` is not in (0, 1).
        NotImplementedError: the dtype is bool or complex.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.empty(3).geometric_(0.5)
        tensor([1., 1., 2.])
    """
    return _overwrite(self, fill_geometric, number(p, "geometric_", "p"), stream(generator))


@composite(method=True)
def bernoulli_(self, p=0.5, *, generator=None):
    """Fill with ones, each with probability p, and zeros.

    Args:
        p: a number in [0, 1], or a tensor of such numbers that broadcasts to this one. Default:
            0.5.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: a probability outside [0, 1].
        NotImplementedError: a complex dtype, or probabilities that are not floating point.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.empty(5).bernoulli_(0.8)
        tensor([0., 1., 1., 0., 1.])
    """
    p = p._array if isinstance(p, Tensor) else number(p, "bernoulli_", "p")
    return _overwrite(self, fill_bernoulli, p, stream(generator))


@composite(method=True)
def random_(self, *args, generator=None, **named):
    """Fill with integers of the discrete uniform distribution over [from, to): `random_()`,
    `random_(to)` or `random_(from, to)`.

    Args:
        from: lower bound. Default: 0.
        to: upper bound, never drawn. Default: beyond the dtype's largest value; for floats, beyond
            2**digits.
        generator: the stream to draw from; the default generator if None.

    Raises:
        RuntimeError: from >= to, or a bound that the dtype does not hold.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.empty(5, dtype=torch.int64).random_(10)
        tensor([4, 9, 3, 0, 3])
    """
    if len(args) == 1 and "to" not in named:
        if args[0] is None:
            raise TypeError("random_(): argument 'to' must be int, not NoneType")
        args = (0, *args)
    low, high = _named("random_", args, named, ("from", "to"))
    low = None if low is None else integer(low, "random_", "from")
    high = None if high is None else integer(high, "random_", "to")
    return _overwrite(self, fill_integers, low, high, stream(generator))
