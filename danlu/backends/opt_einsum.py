"""The package opt_einsum, which is not used here: `einsum` orders its contractions itself."""

from __future__ import annotations

__all__ = ["enabled", "get_opt_einsum", "is_available", "strategy"]

enabled = False
strategy: str | None = None


def is_available() -> bool:
    """Whether opt_einsum is used: False."""
    return False


def get_opt_einsum() -> None:
    """The package opt_einsum: None."""
