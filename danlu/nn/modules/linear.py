"""Affine layers."""

from __future__ import annotations

import math

from danlu.nn import functional as F
from danlu.nn import init
from danlu.nn.modules.lazy import LazyModuleMixin
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter, UninitializedParameter
from danlu.ops.creation import empty

__all__ = ["Bilinear", "Identity", "LazyLinear", "Linear"]


class Identity(Module):
    """Returns its input; takes any arguments.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Identity(54, unused=True)(torch.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input


class Linear(Module):
    """x W^T + b on the last axis.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        bias: whether there is a b; default True.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Attributes:
        weight: (out_features, in_features), initially uniform in +-1 / sqrt(in_features).
        bias: (out_features), likewise, or None.

    Shape:
        (*, in_features) -> (*, out_features)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Linear(3, 2)(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    __constants__ = ["in_features", "out_features"]

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        factory = {"device": device, "dtype": dtype}
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in_features), **factory))
        if bias:
            self.bias = Parameter(empty(out_features, **factory))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw new parameters."""
        # a = sqrt(5) makes He's bound 1 / sqrt(in_features)
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight.shape[1]
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input):
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self):
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )

    def _expected(self):
        return f"(*, in_features={self.in_features})"


class NonDynamicallyQuantizableLinear(Linear):
    """The output projection of `MultiheadAttention`: a `Linear` under PyTorch's name for it.

    Example:
        >>> import danlu as torch
        >>> torch.nn.MultiheadAttention(2, 1).out_proj
        NonDynamicallyQuantizableLinear(in_features=2, out_features=2, bias=True)
    """


class Bilinear(Module):
    """x1^T W_k x2 + b_k for every output k.

    Args:
        in1_features: size of the last axis of the first input, above 0.
        in2_features: size of the last axis of the second input.
        out_features: number of outputs.
        bias: whether there is a b; default True.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Attributes:
        weight: (out_features, in1_features, in2_features), initially uniform in +-1 /
            sqrt(in1_features).
        bias: (out_features), likewise, or None.

    Shape:
        (*, in1_features), (*, in2_features) -> (*, out_features)

    Raises:
        ValueError: `in1_features` is not positive.

    Example:
        >>> import danlu as torch
        >>> torch.nn.Bilinear(3, 4, 2)(torch.ones(5, 3), torch.ones(5, 4)).shape
        torch.Size([5, 2])
    """

    __constants__ = ["in1_features", "in2_features", "out_features"]

    def __init__(
        self, in1_features, in2_features, out_features, bias=True, device=None, dtype=None
    ):
        factory = {"device": device, "dtype": dtype}
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in1_features, in2_features), **factory))
        if bias:
            self.bias = Parameter(empty(out_features, **factory))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw new parameters."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1, input2):
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self):
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class LazyLinear(LazyModuleMixin, Linear):
    """A `Linear` that takes in_features from its first input.

    Args:
        out_features: size of the last axis of the output.
        bias: whether there is a b; default True.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (*, in_features) -> (*, out_features)

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.LazyLinear(2)
        >>> layer(torch.ones(5, 3)).shape, layer
        (torch.Size([5, 2]), Linear(in_features=3, out_features=2, bias=True))
    """

    cls_to_become = Linear

    def __init__(self, out_features, bias=True, device=None, dtype=None):
        factory = {"device": device, "dtype": dtype}
        super().__init__(0, 0, False)  # no draws: the shapes are not known yet
        self.weight = UninitializedParameter(**factory)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(**factory)

    def reset_parameters(self):
        """Draw new parameters, once their shapes are known."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input):
        """Take the shapes from the input and draw the parameters."""
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()
        if self.in_features == 0:
            self.in_features = self.weight.shape[-1]

    def _expected(self):
        return "(*, in_features)"
