"""Modules that spread a batch over devices."""

from __future__ import annotations

from danlu.nn.parallel.data_parallel import DataParallel, data_parallel

__all__ = ["DataParallel", "data_parallel"]
