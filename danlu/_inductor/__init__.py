"""PyTorch's back end by its private name: settings that keep what is written and change nothing.

>>> import danlu as torch
>>> torch._inductor.config.max_autotune = True
"""

from __future__ import annotations

from danlu._inductor import config

__all__ = ["config"]
