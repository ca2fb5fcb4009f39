"""Activation layers; each calls the function of the same name in `danlu.nn.functional`."""

from __future__ import annotations

import warnings

from danlu.nn import functional as F
from danlu.nn.init import constant_
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter
from danlu.ops.creation import empty

__all__ = [
    "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "PReLU", "RReLU", "ReLU",
    "ReLU6", "Softshrink", "Tanhshrink", "Threshold",
]  # fmt: skip


class Threshold(Module):
    """x where x > threshold, value elsewhere.

    Args:
        threshold: the limit; elements equal to it are replaced.
        value: what replaces them.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Threshold(0.5, 7.0)(torch.tensor([-1.0, 2.0]))
        tensor([7., 2.])
    """

    __constants__ = ["threshold", "value", "inplace"]

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input):
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self):
        inplace = ", inplace=True" if self.inplace else ""
        return f"threshold={self.threshold}, value={self.value}{inplace}"


class ReLU(Module):
    """max(0, x), elementwise.

    Args:
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.ReLU()(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.relu(input, self.inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class RReLU(Module):
    """Leaky ReLU with a slope drawn from [lower, upper) in training and the mean slope otherwise
    (Xu et al. 2015).

    Args:
        lower: least slope; default 1/8.
        upper: largest slope; default 1/3.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.RReLU(0.2, 0.4).eval()(torch.tensor([-1.0, 2.0]))
        tensor([-0.3000,  2.0000])
    """

    __constants__ = ["lower", "upper", "inplace"]

    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self):
        inplace = ", inplace=True" if self.inplace else ""
        return f"lower={self.lower}, upper={self.upper}{inplace}"


class Hardtanh(Module):
    """x limited to [min_val, max_val].

    Args:
        min_val: lower limit; default -1.
        max_val: upper limit, above the lower; default 1.
        inplace: write into the input; default False.
        min_value: deprecated name of `min_val`.
        max_value: deprecated name of `max_val`.

    Shape:
        (*) -> (*)

    Raises:
        AssertionError: `max_val` is not above `min_val`.

    Example:
        >>> import danlu as torch
        >>> torch.nn.Hardtanh()(torch.tensor([-3.0, 0.5]))
        tensor([-1.0000,  0.5000])
    """

    __constants__ = ["min_val", "max_val", "inplace"]

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None):
        super().__init__()
        if min_value is not None:
            warnings.warn(
                "keyword argument `min_value` is deprecated and rename to `min_val`",
                FutureWarning,
                stacklevel=2,
            )
            min_val = min_value
        if max_value is not None:
            warnings.warn(
                "keyword argument `max_value` is deprecated and rename to `max_val`",
                FutureWarning,
                stacklevel=2,
            )
            max_val = max_value
        if max_val <= min_val:
            raise AssertionError(f"max_val must be larger than min_val, but {max_val} <= {min_val}")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input):
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self):
        inplace = ", inplace=True" if self.inplace else ""
        return f"min_val={self.min_val}, max_val={self.max_val}{inplace}"


class ReLU6(Hardtanh):
    """min(max(0, x), 6).

    Args:
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.ReLU6()(torch.tensor([-1.0, 8.0]))
        tensor([0., 6.])
    """

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class PReLU(Module):
    """x where x >= 0, weight * x elsewhere, with learnt weights (He et al. 2015).

    Args:
        num_parameters: 1, or the number of channels; default 1.
        init: initial weight; default 0.25.
        device: of the weight.
        dtype: of the weight; default the default dtype.

    Shape:
        (N, C, *) -> (N, C, *)

    Example:
        >>> import danlu as torch
        >>> torch.nn.PReLU()(torch.tensor([-1.0, 2.0])).detach()
        tensor([-0.2500,  2.0000])
    """

    __constants__ = ["num_parameters"]

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self):
        """Set the weights to their initial value."""
        constant_(self.weight, self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6) / 6, the sigmoid in three straight pieces (Howard et al. 2019).

    Args:
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Hardsigmoid()(torch.tensor([-1.0, 2.0]))
        tensor([0.3333, 0.8333])
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardsigmoid(input, self.inplace)


class Hardswish(Module):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019).

    Args:
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Hardswish()(torch.tensor([-1.0, 2.0]))
        tensor([-0.3333,  1.6667])
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardswish(input, self.inplace)


class Hardshrink(Module):
    """x where |x| > lambd, zero elsewhere.

    Args:
        lambd: half width of the dead zone; default 0.5.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Hardshrink()(torch.tensor([-1.0, 2.0]))
        tensor([-1.,  2.])
    """

    __constants__ = ["lambd"]

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        return F.hardshrink(input, self.lambd)

    def extra_repr(self):
        return str(self.lambd)


class LeakyReLU(Module):
    """x where x > 0, negative_slope * x elsewhere (Maas et al. 2013).

    Args:
        negative_slope: the slope below zero; default 0.01.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.LeakyReLU()(torch.tensor([-1.0, 2.0]))
        tensor([-0.0100,  2.0000])
    """

    __constants__ = ["inplace", "negative_slope"]

    def __init__(self, negative_slope=1e-2, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self):
        inplace = ", inplace=True" if self.inplace else ""
        return f"negative_slope={self.negative_slope}{inplace}"


class Softshrink(Module):
    """x moved towards zero by lambd, and zero where |x| <= lambd.

    Args:
        lambd: half width of the dead zone, 0 or more; default 0.5.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Softshrink()(torch.tensor([-1.0, 2.0]))
        tensor([-0.5000,  1.5000])
    """

    __constants__ = ["lambd"]

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        return F.softshrink(input, self.lambd)

    def extra_repr(self):
        return str(self.lambd)


class Tanhshrink(Module):
    """x - tanh(x).

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Tanhshrink()(torch.tensor([-1.0, 2.0]))
        tensor([-0.2384,  1.0360])
    """

    def forward(self, input):
        return F.tanhshrink(input)
