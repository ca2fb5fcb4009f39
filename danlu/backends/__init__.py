"""Switches of the libraries behind PyTorch, for programs that set them.

danlu computes with NumPy and kernels of its own: the switches keep what is written into them and
change nothing, since results here are deterministic as they are.

    >>> import danlu as torch
    >>> torch.backends.cudnn.benchmark = False
    >>> torch.backends.mps.is_available()
    False
"""

from __future__ import annotations

from danlu.backends import cpu, cuda, cudnn, mkl, mkldnn, mps, openmp, opt_einsum

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"]
