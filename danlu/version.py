"""The version of danlu, and the release of PyTorch whose behaviour it follows."""

from __future__ import annotations

__version__ = "0.1.0"
torch_version = "2.13.0"

# What programs written for PyTorch ask `torch.version` about: danlu has no vendor runtime of its
# own.
cuda: str | None = None
hip: str | None = None
xpu: str | None = None
git_version = "Unknown"
debug = False
