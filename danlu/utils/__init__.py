"""Utilities around the framework: the data pipeline and others."""

from danlu.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
