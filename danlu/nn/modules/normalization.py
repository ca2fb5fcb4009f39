"""Normalisation layers without running statistics."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn import init
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter
from danlu.ops.creation import empty

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


def _register(module, names, shape, factory):
    """Parameters of one shape under the names that are wanted, None under the others."""
    for name, is_learnt in names:
        parameter = Parameter(empty(shape, **factory)) if is_learnt else None
        module.register_parameter(name, parameter)


def _reset(module):
    if module.elementwise_affine:
        init.ones_(module.weight)
        if getattr(module, "bias", None) is not None:
            init.zeros_(module.bias)


def _as_shape(normalized_shape):
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


def _expected_end(normalized_shape):
    if len(normalized_shape) == 1:
        return f"(*, normalized_shape={normalized_shape[0]})"
    return f"(*, {', '.join(map(str, normalized_shape))})"


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes of each sample (Ba et al.
    2016).

    Args:
        normalized_shape: the sizes of the last axes, or the size of the last.
        eps: added to the variance; default 1e-5.
        elementwise_affine: learn weight and bias; default True.
        bias: with `elementwise_affine`, whether there is a bias; default True.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Attributes:
        weight: of shape normalized_shape, initially 1, or None.
        bias: likewise, initially 0, or None.

    Shape:
        (*, normalized_shape), unchanged

    Example:
        >>> import danlu as torch
        >>> torch.nn.LayerNorm(2, elementwise_affine=False)(torch.tensor([[1.0, 3.0]]))
        tensor([[-1.0000,  1.0000]])
    """

    __constants__ = ["normalized_shape", "eps", "elementwise_affine"]

    def __init__(
        self,
        normalized_shape,
        eps=1e-5,
        elementwise_affine=True,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        names = (("weight", elementwise_affine), ("bias", elementwise_affine and bias))
        _register(self, names, self.normalized_shape, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def reset_parameters(self):
        """Set weight to 1 and bias to 0."""
        _reset(self)

    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )

    def _expected(self):
        return _expected_end(self.normalized_shape)


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axes of each sample (Zhang and Sennrich
    2019).

    Args:
        normalized_shape: the sizes of the last axes, or the size of the last.
        eps: added to the mean square; default the dtype's machine epsilon.
        elementwise_affine: learn a weight; default True.
        device: of the weight.
        dtype: of the weight; default the default dtype.

    Attributes:
        weight: of shape normalized_shape, initially 1, or None.

    Shape:
        (*, normalized_shape), unchanged

    Example:
        >>> import danlu as torch
        >>> torch.nn.RMSNorm(2, elementwise_affine=False)(torch.tensor([[1.0, 7.0]]))
        tensor([[0.2000, 1.4000]])
    """

    __constants__ = ["normalized_shape", "eps", "elementwise_affine"]

    def __init__(
        self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None
    ):
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        names = (("weight", elementwise_affine),)
        _register(self, names, self.normalized_shape, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def reset_parameters(self):
        """Set the weight to 1."""
        _reset(self)

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )

    def _expected(self):
        return _expected_end(self.normalized_shape)


class GroupNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias for each group of channels of each sample (Wu
    and He 2018).

    Args:
        num_groups: number of groups, a divisor of num_channels.
        num_channels: C, the size of axis 1.
        eps: added to the variance; default 1e-5.
        affine: learn a scale and a shift for each channel; default True.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Attributes:
        weight: (C), initially 1, or None.
        bias: (C), initially 0, or None.

    Shape:
        (N, C, *), unchanged

    Raises:
        ValueError: num_channels is no multiple of num_groups.

    Example:
        >>> import danlu as torch
        >>> torch.nn.GroupNorm(1, 2, affine=False)(torch.tensor([[1.0, 3.0], [2.0, 8.0]]))
        tensor([[-1.0000,  1.0000],
                [-1.0000,  1.0000]])
    """

    __constants__ = ["num_groups", "num_channels", "eps", "affine"]

    def __init__(
        self,
        num_groups,
        num_channels,
        eps=1e-5,
        affine=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        names = (("weight", affine), ("bias", affine and bias))
        _register(self, names, num_channels, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def reset_parameters(self):
        """Set weight to 1 and bias to 0."""
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )

    def _expected(self):
        return f"(N, num_channels={self.num_channels}, *)"


class LocalResponseNorm(Module):
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta (Krizhevsky et al.
    2012).

    Args:
        size: number of channels in the mean.
        alpha: factor of the mean; default 1e-4.
        beta: exponent; default 0.75.
        k: constant; default 1.

    Shape:
        (N, C, *), unchanged

    Example:
        >>> import danlu as torch
        >>> torch.nn.LocalResponseNorm(1, alpha=3.0, beta=0.5)(torch.ones(1, 1, 2))
        tensor([[[0.5000, 0.5000]]])
    """

    __constants__ = ["size", "alpha", "beta", "k"]

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input):
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(Module):
    """`LocalResponseNorm` of images, under an older name.

    Args:
        size: number of channels in the mean.
        alpha: factor of the mean; default 1e-4.
        beta: exponent; default 0.75.
        k: constant; default 1.

    Shape:
        (N, C, H, W), unchanged

    Raises:
        ValueError: another number of axes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.CrossMapLRN2d(1, alpha=3.0, beta=0.5)(torch.ones(1, 1, 1, 2))
        tensor([[[[0.5000, 0.5000]]]])
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input):
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
