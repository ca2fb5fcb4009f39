"""Utilities around the framework: the data pipeline and others."""

from danlu.utils import data

__all__ = ["data"]
