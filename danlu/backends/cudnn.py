"""The switches of cuDNN, which is not used here."""

from __future__ import annotations

from contextlib import contextmanager

__all__ = [
    "allow_tf32", "benchmark", "benchmark_limit", "deterministic", "enabled", "flags",
    "is_acceptable", "is_available", "set_flags", "version",
]  # fmt: skip

enabled = True
benchmark = False
benchmark_limit: int | None = None
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN can be used: False."""
    return False


def version() -> None:
    """The version of cuDNN: None."""


def is_acceptable(tensor) -> bool:
    """Whether cuDNN can compute with this tensor: False."""
    return False


def set_flags(
    _enabled=None,
    _benchmark=None,
    _benchmark_limit=None,
    _deterministic=None,
    _allow_tf32=None,
):
    """Set the switches that are not None, and return all of them as they were."""
    before = (enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    given = {
        "enabled": _enabled,
        "benchmark": _benchmark,
        "benchmark_limit": _benchmark_limit,
        "deterministic": _deterministic,
        "allow_tf32": _allow_tf32,
    }
    globals().update({name: value for name, value in given.items() if value is not None})
    return before


@contextmanager
def flags(enabled=False, benchmark=False, benchmark_limit=10, deterministic=False, allow_tf32=True):
    """Set the switches inside the `with` block, and as they were after it.

    Example:
        >>> import danlu as torch
        >>> with torch.backends.cudnn.flags(enabled=False):
        ...     inside = torch.backends.cudnn.enabled
        >>> inside, torch.backends.cudnn.enabled
        (False, True)
    """
    names = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")
    before = set_flags(enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    try:
        yield
    finally:
        globals().update(zip(names, before))
