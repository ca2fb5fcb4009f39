"""Run programs written for PyTorch: `torch` and its companions stand for danlu while the hook is
installed.

`danlu run` installs it; a library may do so itself:

>>> import danlu.compat
>>> danlu.compat.install()
>>> import torch
>>> torch is danlu
True
>>> danlu.compat.uninstall()
"""

from __future__ import annotations

from danlu.compat.hook import install, installed, uninstall

__all__ = ["install", "installed", "uninstall"]
