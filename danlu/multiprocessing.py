"""Python's `multiprocessing`, with PyTorch's functions for the way tensors are shared.

Tensors are sent between processes by value.

    >>> import danlu.multiprocessing as mp
    >>> mp.get_sharing_strategy()
    'file_descriptor'
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403

__all__ = [
    *multiprocessing.__all__,
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
]

_STRATEGIES = {"file_descriptor", "file_system"}
_strategy = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The names of PyTorch's ways to share the memory of tensors."""
    return set(_STRATEGIES)


def get_sharing_strategy() -> str:
    """The strategy that was set last; tensors are sent by value under each of them."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose a strategy; programs do so to save file descriptors, of which danlu needs none.

    Raises:
        ValueError: there is no strategy of that name.
    """
    if new_strategy not in _STRATEGIES:
        raise ValueError(
            f"unknown sharing strategy {new_strategy!r}; expected one of {sorted(_STRATEGIES)}"
        )
    global _strategy
    _strategy = new_strategy
