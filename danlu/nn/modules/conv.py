"""Convolution layers."""

from __future__ import annotations

import math

from danlu.nn import functional as F
from danlu.nn import init
from danlu.nn.modules._sizes import repeated, spatial
from danlu.nn.modules.lazy import LazyModuleMixin
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter, UninitializedParameter
from danlu.ops.creation import empty

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "LazyConv1d",
    "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
]  # fmt: skip

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share; a subclass says how many dimensions it has and which function it
    calls."""

    __constants__ = [
        "stride", "padding", "dilation", "groups", "padding_mode", "output_padding", "in_channels",
        "out_channels", "kernel_size",
    ]  # fmt: skip

    rank: int
    function: staticmethod
    transposed = False

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
        bias=True, padding_mode="zeros", device=None, dtype=None, *, output_padding=0,
    ):  # fmt: skip
        super().__init__()
        rank = self.rank
        self._check(in_channels, out_channels, stride, padding, groups, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = repeated(kernel_size, rank)
        self.stride = repeated(stride, rank)
        self.padding = padding if isinstance(padding, str) else repeated(padding, rank)
        self.dilation = repeated(dilation, rank)
        self.output_padding = repeated(output_padding, rank)
        self.groups = groups
        self.padding_mode = padding_mode
        # PyTorch's name, which whole-model files carry
        self._reversed_padding_repeated_twice = self._padding_pairs()
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check(self, in_channels, out_channels, stride, padding, groups, padding_mode):
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count % groups:
                divisors = math.gcd(in_channels, out_channels)
                raise ValueError(
                    f"{name} must be divisible by groups: {name}={count} is no multiple of "
                    f"groups={groups}; write a divisor of {divisors}, which divides both "
                    f"in_channels={in_channels} and out_channels={out_channels}"
                )
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
                )
            if padding == "same" and any(s != 1 for s in repeated(stride, self.rank)):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {', '.join(map(repr, _PADDING_MODES))}, but got "
                f"padding_mode={padding_mode!r}"
            )

    def _padding_pairs(self):
        """(before, after) of the last dimension, then of the one before it: the order of `pad`."""
        if self.padding == "valid":
            return (0, 0) * self.rank
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            return tuple(n for total in totals[::-1] for n in (total // 2, total - total // 2))
        return tuple(n for each in self.padding[::-1] for n in (each, each))

    def reset_parameters(self):
        """Draw new parameters."""
        # a = sqrt(5) makes He's bound 1 / sqrt(fan_in)
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight.shape[1] * math.prod(self.kernel_size)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _conv_forward(self, input, weight, bias):
        padding = self.padding
        if self.padding_mode != "zeros":
            border = self._reversed_padding_repeated_twice
            input, padding = F.pad(input, border, mode=self.padding_mode), 0
        return self.function(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)

    def extra_repr(self):
        rank = self.rank
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        if self.padding != (0,) * rank:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * rank:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * rank:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def _expected(self):
        inside = f"in_channels={self.in_channels}, {spatial(self.rank)}"
        return f"(N, {inside}) or ({inside})"


class Conv1d(_ConvNd):
    """Cross-correlation over one dimension; the arguments are those of `Conv2d`.

    Shape:
        (N, in_channels, L) -> (N, out_channels, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.Conv1d(2, 4, 3)(torch.ones(1, 2, 5)).shape
        torch.Size([1, 4, 3])
    """

    rank = 1
    function = staticmethod(F.conv1d)


class Conv2d(_ConvNd):
    """Cross-correlation of images with learned kernels (LeCun et al. 1989).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, one kernel for each.
        kernel_size: one int, or one per dimension.
        stride: steps between windows; default 1.
        padding: added to both sides, or "same" or "valid"; default 0.
        dilation: steps between a kernel's elements; default 1.
        groups: channels are split into so many groups, which must divide both; default 1.
        bias: whether there is one; default True.
        padding_mode: what is added: "zeros" (default), "reflect", "replicate" or "circular".
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Attributes:
        weight: (out_channels, in_channels/groups, *kernel_size), initially uniform in +-1 /
            sqrt(fan_in).
        bias: (out_channels), likewise, or None.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H', W'), or the same without N, with
        H' = (H + 2*padding - dilation*(kernel_size - 1) - 1) // stride + 1

    Raises:
        ValueError: channels that groups do not divide, or an unknown padding.

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.Conv2d(3, 8, kernel_size=3, padding=1)
        >>> layer, layer(torch.ones(2, 3, 5, 5)).shape
        (Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)), torch.Size([2, 8, 5, 5]))
    """

    rank = 2
    function = staticmethod(F.conv2d)


class Conv3d(_ConvNd):
    """Cross-correlation over three dimensions; the arguments are those of `Conv2d`.

    Shape:
        (N, in_channels, D, H, W) -> (N, out_channels, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.Conv3d(2, 4, 2)(torch.ones(1, 2, 3, 3, 3)).shape
        torch.Size([1, 4, 2, 2, 2])
    """

    rank = 3
    function = staticmethod(F.conv3d)


class _ConvTransposeNd(_ConvNd):
    transposed = True

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0,
        groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        if isinstance(padding, str):
            raise TypeError(f"{type(self).__name__} takes padding as numbers, but got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype, output_padding=output_padding,
        )  # fmt: skip

    def forward(self, input, output_size=None):
        extra = self.output_padding
        if output_size is not None:
            extra = self._extra_for(tuple(input.shape), tuple(output_size))
        return self.function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def _extra_for(self, shape, output_size):
        """The output padding with which the output has the wanted size."""
        rank = self.rank
        batched = len(shape) == rank + 2
        if len(output_size) == rank + 1 + batched:
            output_size = output_size[1 + batched :]
        if len(output_size) != rank:
            raise ValueError(
                f"{type(self).__name__}: for {len(shape)}D input, output_size must have {rank} or "
                f"{len(shape)} elements (got {len(output_size)})"
            )
        least = [
            (size - 1) * s - 2 * p + d * (k - 1) + 1
            for size, s, p, d, k in zip(
                shape[-rank:], self.stride, self.padding, self.dilation, self.kernel_size
            )
        ]
        most = [size + s - 1 for size, s in zip(least, self.stride)]
        if any(not low <= size <= high for low, size, high in zip(least, output_size, most)):
            raise ValueError(
                f"requested an output size of {list(output_size)}, but valid sizes range from "
                f"{least} to "
                f"{most} (for an input of {list(shape[-rank:])})"
            )
        return tuple(size - low for size, low in zip(output_size, least))


class ConvTranspose1d(_ConvTransposeNd):
    """The adjoint of `Conv1d`; the arguments are those of `ConvTranspose2d`.

    Shape:
        (N, in_channels, L) -> (N, out_channels, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ConvTranspose1d(2, 4, 3, stride=2)(torch.ones(1, 2, 5)).shape
        torch.Size([1, 4, 11])
    """

    rank = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """The adjoint of `Conv2d`: each input element adds its multiple of a kernel to the output.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: one int, or one per dimension.
        stride: steps between the kernel's places in the output; default 1.
        padding: cut off the output's sides; default 0.
        output_padding: added to the output's size at one side, below stride or dilation; default 0.
        groups: channels are split into so many groups, which must divide both; default 1.
        bias: whether there is one; default True.
        dilation: steps between a kernel's elements; default 1.
        padding_mode: "zeros", the only one.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H', W'), or the same without N, with
        H' = (H - 1)*stride - 2*padding + dilation*(kernel_size - 1) + output_padding + 1;
        ``forward(input, output_size)`` chooses output_padding.

    Raises:
        ValueError: channels that groups do not divide, or an output size that cannot be.

    Example:
        >>> import danlu as torch
        >>> torch.nn.ConvTranspose2d(2, 4, 2, stride=2)(torch.ones(1, 2, 3, 3)).shape
        torch.Size([1, 4, 6, 6])
    """

    rank = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """The adjoint of `Conv3d`; the arguments are those of `ConvTranspose2d`.

    Shape:
        (N, in_channels, D, H, W) -> (N, out_channels, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ConvTranspose3d(2, 4, 2)(torch.ones(1, 2, 3, 3, 3)).shape
        torch.Size([1, 4, 4, 4, 4])
    """

    rank = 3
    function = staticmethod(F.conv_transpose3d)


class _LazyConv(LazyModuleMixin):
    """Takes in_channels from the first input."""

    def reset_parameters(self):
        """Draw new parameters, once their shapes are known."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def _wait_for_input(self, out_channels, bias, factory):
        self.weight = UninitializedParameter(**factory)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(**factory)

    def initialize_parameters(self, input, *args, **kwargs):
        """Take the shapes from the input and draw the parameters."""
        if not self.has_uninitialized_params():
            return
        rank = self.rank
        if input.ndim not in (rank + 1, rank + 2):
            raise RuntimeError(
                f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {list(input.shape)}"
            )
        self.in_channels = input.shape[-rank - 1]
        if self.in_channels % self.groups:
            raise ValueError(
                f"in_channels must be divisible by groups: the input has {self.in_channels} "
                f"channels, no multiple of groups={self.groups}"
            )
        channels = (self.out_channels, self.in_channels)
        if self.transposed:
            channels = channels[::-1]
        self.weight.materialize((channels[0], channels[1] // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def _expected(self):
        inside = f"in_channels, {spatial(self.rank)}"
        return f"(N, {inside}) or ({inside})"


class _LazyConvNd(_LazyConv):
    def __init__(
        self, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
        padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype
        )
        self._wait_for_input(out_channels, bias, {"device": device, "dtype": dtype})


class _LazyConvTransposeNd(_LazyConv):
    def __init__(
        self, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True,
        dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation,
            padding_mode, device, dtype,
        )  # fmt: skip
        self._wait_for_input(out_channels, bias, {"device": device, "dtype": dtype})


class LazyConv1d(_LazyConvNd, Conv1d):
    """A `Conv1d` that takes in_channels from its first input.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyConv1d(4, 3)(torch.ones(1, 2, 5)).shape
        torch.Size([1, 4, 3])
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyConvNd, Conv2d):
    """A `Conv2d` that takes in_channels from its first input.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyConv2d(4, 3)(torch.ones(1, 2, 5, 5)).shape
        torch.Size([1, 4, 3, 3])
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConvNd, Conv3d):
    """A `Conv3d` that takes in_channels from its first input.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyConv3d(4, 2)(torch.ones(1, 2, 3, 3, 3)).shape
        torch.Size([1, 4, 2, 2, 2])
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTransposeNd, ConvTranspose1d):
    """A `ConvTranspose1d` that takes in_channels from its first input.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyConvTranspose1d(4, 3)(torch.ones(1, 2, 5)).shape
        torch.Size([1, 4, 7])
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTransposeNd, ConvTranspose2d):
    """A `ConvTranspose2d` that takes in_channels from its first input.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyConvTranspose2d(4, 3)(torch.ones(1, 2, 5, 5)).shape
        torch.Size([1, 4, 7, 7])
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTransposeNd, ConvTranspose3d):
    """A `ConvTranspose3d` that takes in_channels from its first input.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyConvTranspose3d(4, 2)(torch.ones(1, 2, 3, 3, 3)).shape
        torch.Size([1, 4, 4, 4, 4])
    """

    cls_to_become = ConvTranspose3d
