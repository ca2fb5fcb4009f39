"""Padding layers."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules._sizes import repeated
from danlu.nn.modules.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _PadNd(Module):
    """Pads the last `rank` dimensions; `padding` is one int or (before, after) pairs, the last
    dimension first."""

    __constants__ = ["padding"]

    rank: int
    mode = "constant"

    def __init__(self, padding):
        super().__init__()
        self.padding = repeated(padding, 2 * self.rank)

    def forward(self, input):
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self):
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    __constants__ = ["padding", "value"]

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """A value around both ends.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.
        value: what to fill with.

    Shape:
        (N, C, L) -> (N, C, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ConstantPad1d(1, 3.5)(torch.ones(1, 4)).shape
        torch.Size([1, 6])
    """

    rank = 1


class ConstantPad2d(_ConstantPadNd):
    """A value around all four sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.
        value: what to fill with.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ConstantPad2d(1, 3.5)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 6, 6])
    """

    rank = 2


class ConstantPad3d(_ConstantPadNd):
    """A value around all six sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.
        value: what to fill with.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ConstantPad3d(1, 3.5)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 6, 6, 6])
    """

    rank = 3


class ZeroPad1d(ConstantPad1d):
    """Zeros around both ends.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, L) -> (N, C, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ZeroPad1d(1)(torch.ones(1, 4)).shape
        torch.Size([1, 6])
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Zeros around all four sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ZeroPad2d(1)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 6, 6])
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Zeros around all six sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ZeroPad3d(1)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 6, 6, 6])
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class _ReflectionPadNd(_PadNd):
    mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """The input mirrored at both ends.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, L) -> (N, C, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ReflectionPad1d(1)(torch.ones(1, 4)).shape
        torch.Size([1, 6])
    """

    rank = 1


class ReflectionPad2d(_ReflectionPadNd):
    """The input mirrored at all four sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ReflectionPad2d(1)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 6, 6])
    """

    rank = 2


class ReflectionPad3d(_ReflectionPadNd):
    """The input mirrored at all six sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ReflectionPad3d(1)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 6, 6, 6])
    """

    rank = 3


class _ReplicationPadNd(_PadNd):
    mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """The outermost elements repeated at both ends.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, L) -> (N, C, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ReplicationPad1d(1)(torch.ones(1, 4)).shape
        torch.Size([1, 6])
    """

    rank = 1


class ReplicationPad2d(_ReplicationPadNd):
    """The outermost elements repeated at all four sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ReplicationPad2d(1)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 6, 6])
    """

    rank = 2


class ReplicationPad3d(_ReplicationPadNd):
    """The outermost elements repeated at all six sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.ReplicationPad3d(1)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 6, 6, 6])
    """

    rank = 3


class _CircularPadNd(_PadNd):
    mode = "circular"


class CircularPad1d(_CircularPadNd):
    """The opposite end's elements at both ends.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, L) -> (N, C, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.CircularPad1d(1)(torch.ones(1, 4)).shape
        torch.Size([1, 6])
    """

    rank = 1


class CircularPad2d(_CircularPadNd):
    """The opposite end's elements at all four sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.CircularPad2d(1)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 6, 6])
    """

    rank = 2


class CircularPad3d(_CircularPadNd):
    """The opposite end's elements at all six sides.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.CircularPad3d(1)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 6, 6, 6])
    """

    rank = 3
