"""Joining and splitting axes."""

from __future__ import annotations

from danlu.nn.modules.module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Joins neighbouring axes into one; by default all but the batch's.

    Args:
        start_dim: first axis; default 1.
        end_dim: last axis; default -1.

    Shape:
        (N, *) -> (N, product of *)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Flatten()(torch.ones(5, 3, 2)).shape
        torch.Size([5, 6])
    """

    __constants__ = ["start_dim", "end_dim"]

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input):
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self):
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one axis into several.

    Args:
        dim: the axis, or its name.
        unflattened_size: the sizes it becomes, one of which may be -1; for a name, pairs of
            name and size.

    Shape:
        (*, S, *) -> (*, U1, ..., Un, *)

    Raises:
        TypeError: sizes that are no sequence of ints.

    Example:
        >>> import danlu as torch
        >>> torch.nn.Unflatten(1, (2, 3))(torch.ones(5, 6)).shape
        torch.Size([5, 2, 3])
    """

    __constants__ = ["dim", "unflattened_size"]

    def __init__(self, dim, unflattened_size):
        super().__init__()
        if isinstance(dim, int):
            self._require_ints(unflattened_size)
        elif isinstance(dim, str):
            self._require_pairs(unflattened_size)
        else:
            raise TypeError("invalid argument type for dim parameter")
        self.dim = dim
        self.unflattened_size = unflattened_size

    @staticmethod
    def _require_pairs(sizes):
        if not isinstance(sizes, tuple):
            raise TypeError(
                f"unflattened_size must be a tuple of tuples, but found type {type(sizes).__name__}"
            )
        for position, pair in enumerate(sizes):
            if not isinstance(pair, tuple):
                raise TypeError(
                    "unflattened_size must be tuple of tuples, but found element of type "
                    f"{type(pair).__name__} at pos {position}"
                )

    @staticmethod
    def _require_ints(sizes):
        if not isinstance(sizes, (tuple, list)):
            raise TypeError(
                f"unflattened_size must be a tuple of ints, but found type {type(sizes).__name__}"
            )
        for position, size in enumerate(sizes):
            if not isinstance(size, int):
                raise TypeError(
                    "unflattened_size must be tuple of ints, but found element of type "
                    f"{type(size).__name__} at pos {position}"
                )

    def forward(self, input):
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self):
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
