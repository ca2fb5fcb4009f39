"""Filling tensors with initial values: all functions work in place and return their tensor."""

from __future__ import annotations

import functools
import math
import warnings

from danlu.autograd.grad_mode import no_grad

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

_LINEAR = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights grow to keep the variance of signals behind a nonlinearity.

    1 for linear functions, convolutions and sigmoid, 5/3 for tanh, sqrt(2) for relu,
    sqrt(2 / (1 + slope^2)) for leaky_relu, 3/4 for selu (He et al. 2015, arXiv:1502.01852).

    Args:
        nonlinearity: its name in ``nn.functional``.
        param: the negative slope of leaky_relu. Default: 0.01.

    Raises:
        ValueError: for an unknown name, or a slope that is no number.

    Example:
        >>> import danlu as torch
        >>> torch.nn.init.calculate_gain("relu")
        1.4142135623730951
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {slope} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    known = ", ".join((*_LINEAR, "sigmoid", "tanh", "relu", "leaky_relu", "selu"))
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}: there are {known}")


def uniform_(tensor, a: float = 0.0, b: float = 1.0, generator=None):
    """Draw values evenly from [a, b).

    Example:
        >>> import danlu as torch
        >>> weight = torch.nn.init.uniform_(torch.empty(3, 5), -1.0, 1.0)
        >>> bool((weight.abs() <= 1).all())
        True
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor, mean: float = 0.0, std: float = 1.0, generator=None):
    """Draw values from the normal distribution N(mean, std^2)."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator=None
):
    """Draw values from N(mean, std^2), those outside [a, b] again until they lie within.

    Where less than 0.3 of the distribution lies in [a, b], values are drawn evenly from the
    interval and accepted with a probability proportional to their density.

    Args:
        tensor: what is filled.
        mean: of the distribution before it is cut. Default: 0.
        std: of the distribution before it is cut. Default: 1.
        a, b: the limits, absolute and not in units of ``std``. Default: -2 and 2.
        generator: where the random numbers come from. Default: the global one.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    with no_grad():
        inside = _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std)
        if inside > 0.3:
            _redraw_outside(tensor, mean, std, a, b, generator)
        else:
            _reject_by_density(tensor, mean, std, a, b, generator)
    return tensor


def _normal_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _redraw_outside(tensor, mean, std, a, b, generator):
    low, high = (tensor.new_tensor(limit).item() for limit in (a, b))
    tensor.normal_(mean, std, generator=generator)
    while True:
        outside = (tensor < low) | (tensor > high)
        if not outside.any():
            return
        redrawn = tensor.new_empty(tensor.shape).normal_(mean, std, generator=generator)
        tensor.copy_(redrawn.where(outside, tensor))


def _reject_by_density(tensor, mean, std, a, b, generator):
    mode = max(a, min(mean, b))
    log_peak = -0.5 * ((mode - mean) / std) ** 2
    pending = None
    while pending is None or pending.any():
        candidates = tensor.new_empty(tensor.shape).uniform_(a, b, generator=generator)
        log_density = ((candidates - mean) / std) ** 2 * -0.5 - log_peak
        draws = tensor.new_empty(tensor.shape).uniform_(generator=generator)
        rejected = draws.log() > log_density
        if pending is None:
            tensor.copy_(candidates)
            pending = rejected
        else:
            tensor.copy_(candidates.where(pending, tensor))
            pending = pending & rejected


def constant_(tensor, val: float):
    """Fill with one value."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor):
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor):
    """Fill with 0."""
    with no_grad():
        return tensor.zero_()


def eye_(tensor):
    """Fill a matrix with the identity.

    Raises:
        ValueError: if the tensor has not 2 dimensions.

    Example:
        >>> import danlu as torch
        >>> torch.nn.init.eye_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    if tensor.dim() != 2:
        raise ValueError(
            f"Only tensors with 2 dimensions are supported, this one has {tensor.dim()}"
        )
    with no_grad():
        tensor.zero_()
        tensor.diagonal().fill_(1.0)
    return tensor


def dirac_(tensor, groups: int = 1):
    """Fill a convolution's weight so that it passes as many channels as it can unchanged.

    Args:
        tensor: (out_channels, in_channels / groups, *kernel), 3 to 5 dimensions.
        groups: of the convolution. Default: 1.

    Raises:
        ValueError: for another number of dimensions, or channels that ``groups`` does not divide.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(
            f"Only tensors with 3, 4, or 5 dimensions are supported, this one has {tensor.dim()}"
        )
    if tensor.size(0) % groups:
        raise ValueError(f"dim 0 must be divisible by groups: {tensor.size(0)} and {groups}")
    per_group = tensor.size(0) // groups
    centre = tuple(size // 2 for size in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(per_group, tensor.size(1))):
                place = (group * per_group + channel, channel, *centre)
                tensor[place] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor) -> tuple[int, int]:
    """How many inputs an output sums, and how many outputs an input feeds.

    Raises:
        ValueError: for a tensor with fewer than 2 dimensions.
    """
    if tensor.dim() < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions: "
            f"this one has shape {tuple(tensor.shape)}; biases take zeros_ or uniform_"
        )
    outputs, inputs, *kernel = tensor.shape
    receptive_field = math.prod(kernel)
    return inputs * receptive_field, outputs * receptive_field


def _calculate_correct_fan(tensor, mode: str) -> int:
    modes = ["fan_in", "fan_out"]
    mode = mode.lower()
    if mode not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode)]


def xavier_uniform_(tensor, gain: float = 1.0, generator=None):
    """Draw weights evenly from [-a, a) with a = gain sqrt(6 / (fan_in + fan_out)).

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward networks".
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = gain * math.sqrt(2.0 / float(fan_in + fan_out))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain: float = 1.0, generator=None):
    """Draw weights from N(0, std^2) with std = gain sqrt(2 / (fan_in + fan_out)).

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward networks".
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def _kaiming_std(tensor, a, mode, nonlinearity) -> float | None:
    """The standard deviation that He et al. give, None for a tensor without elements."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    return calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))


def kaiming_uniform_(
    tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator=None
):
    """Draw weights evenly from [-b, b) with b = gain sqrt(3 / fan).

    He et al. 2015, "Delving deep into rectifiers", arXiv:1502.01852.

    Args:
        tensor: what is filled, at least 2 dimensions.
        a: the negative slope if the nonlinearity is leaky_relu. Default: 0.
        mode: "fan_in" keeps the variance forward, "fan_out" backward. Default: "fan_in".
        nonlinearity: what follows the layer, see :func:`calculate_gain`. Default: "leaky_relu".
        generator: where the random numbers come from. Default: the global one.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator=None
):
    """Draw weights from N(0, std^2) with std = gain / sqrt(fan).

    He et al. 2015, "Delving deep into rectifiers", arXiv:1502.01852. The arguments are those of
    :func:`kaiming_uniform_`.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0, std, generator)


def orthogonal_(tensor, gain: float = 1, generator=None):
    """Fill with ``gain`` times a random matrix of orthonormal rows or columns.

    Later dimensions are flattened into the columns. Saxe et al. 2013, arXiv:1312.6120.

    Raises:
        ValueError: for a tensor with fewer than 2 dimensions.

    Example:
        >>> import danlu as torch
        >>> q = torch.nn.init.orthogonal_(torch.empty(3, 3))
        >>> torch.allclose(q @ q.T, torch.eye(3), atol=1e-6)
        True
    """
    if tensor.dim() < 2:
        raise ValueError(
            f"Only tensors with 2 or more dimensions are supported, this one has {tensor.dim()}"
        )
    if tensor.numel() == 0:
        return tensor
    from danlu import linalg

    with no_grad():
        rows = tensor.size(0)
        columns = tensor.numel() // rows
        flat = tensor.new_empty((rows, columns)).normal_(0, 1, generator=generator)
        q, r = linalg.qr(flat.T if rows < columns else flat)
        q = q * r.diagonal().sign()
        tensor.copy_((q.T if rows < columns else q).reshape(tensor.shape) * gain)
    return tensor


def sparse_(tensor, sparsity: float, std: float = 0.01, generator=None):
    """Draw a matrix from N(0, std^2) and set a part of every column to zero.

    Martens 2010, "Deep learning via Hessian-free optimization".

    Args:
        tensor: the matrix.
        sparsity: the part of each column that becomes zero, between 0 and 1.
        std: of the other values. Default: 0.01.
        generator: where those come from. Default: the global one.

    Raises:
        ValueError: if the tensor has not 2 dimensions.
    """
    if tensor.dim() != 2:
        raise ValueError(
            f"Only tensors with 2 dimensions are supported, this one has {tensor.dim()}"
        )
    from danlu.ops.random import randperm

    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[randperm(rows)[:zeros], column] = 0
    return tensor


def _deprecated(function):
    """The function under its old name, without the underscore at the end."""
    new = function.__name__
    old = new[:-1]

    @functools.wraps(function)
    def deprecated(*args, **kwargs):
        warnings.warn(
            f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    deprecated.__name__ = deprecated.__qualname__ = old
    deprecated.__doc__ = f"Deprecated: the same as :func:`{new}`."
    return deprecated


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
