"""Intel's oneDNN, which is not used here."""

from __future__ import annotations

__all__ = ["enabled", "is_available"]

enabled = True


def is_available() -> bool:
    """Whether oneDNN can be used: False."""
    return False
