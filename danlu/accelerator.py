"""The device that computes beside the CPU, whichever make it is: there is none.

>>> import danlu as torch
>>> accelerated = torch.accelerator.is_available()
>>> torch.accelerator.current_accelerator().type if accelerated else "cpu"
'cpu'
"""

from __future__ import annotations

__all__ = [
    "current_accelerator", "current_device_index", "current_stream", "device_count",
    "empty_cache", "is_available", "set_device_index", "synchronize",
]  # fmt: skip


def _refuse():
    raise RuntimeError("Cannot access accelerator device when none is available.")


def is_available() -> bool:
    """Whether there is an accelerator: False."""
    return False


def device_count() -> int:
    """The number of accelerators: 0."""
    return 0


def current_accelerator(check_available: bool = False) -> None:
    """The device of the accelerator: None."""


def current_device_index() -> int:
    """The index of the selected accelerator.

    Raises:
        RuntimeError: there is none.
    """
    return _refuse()


def set_device_index(device) -> None:
    """Select an accelerator.

    Raises:
        RuntimeError: there is none.
    """
    _refuse()


def current_stream(device=None):
    """The selected stream of an accelerator.

    Raises:
        RuntimeError: there is none.
    """
    return _refuse()


def synchronize(device=None) -> None:
    """Wait for the work on an accelerator.

    Raises:
        RuntimeError: there is none.
    """
    _refuse()


def empty_cache() -> None:
    """Hand unused cached memory back to the accelerator.

    Raises:
        RuntimeError: there is none.
    """
    _refuse()
