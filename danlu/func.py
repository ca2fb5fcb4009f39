"""Modules as functions of their parameters."""

from __future__ import annotations

from danlu.nn.utils.stateless import functional_call

__all__ = ["functional_call"]
