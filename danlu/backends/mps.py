"""Apple's GPUs, which are not used here."""

from __future__ import annotations

__all__ = ["is_available", "is_built", "is_macos13_or_newer"]


def is_available() -> bool:
    """Whether an Apple GPU can be used: False."""
    return False


def is_built() -> bool:
    """Whether danlu was built for Apple GPUs: False."""
    return False


def is_macos13_or_newer(minor: int = 0) -> bool:
    """Whether this is a Mac whose system has the newer GPU functions: False, none is used."""
    return False
