"""OpenMP, which is not used here."""

from __future__ import annotations

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether OpenMP can be used: False."""
    return False
