"""Utilities around the framework: the data pipeline and others."""

from danlu.utils import checkpoint, data, dlpack

__all__ = ["checkpoint", "data", "dlpack"]
