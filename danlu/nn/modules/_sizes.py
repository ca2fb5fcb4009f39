"""Numbers that are given once or once a dimension."""

from __future__ import annotations


def repeated(value, rank: int) -> tuple:
    """`value` as a tuple of `rank` numbers, or as the tuple that it already is."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


def spatial(rank: int) -> str:
    """The names of spatial dimensions in descriptions of shapes: ``H, W`` for two."""
    return {1: "L", 2: "H, W", 3: "D, H, W"}[rank]
