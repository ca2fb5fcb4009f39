"""Memory layouts and formats, by PyTorch's names."""

from __future__ import annotations

__all__ = ["layout", "memory_format", "strided"]


class _Named:
    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return (_by_name, (self.name,))


class layout(_Named):
    """How the elements are laid out; danlu has `strided` only."""

    __slots__ = ()


class memory_format(_Named):
    """The order of dimensions in memory; danlu computes in `contiguous_format`."""

    __slots__ = ()


def _by_name(name: str):
    return globals()[name]


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
preserve_format = memory_format("preserve_format")
