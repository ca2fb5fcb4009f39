"""The switches of CUDA's libraries, which are not used here."""

from __future__ import annotations

from types import SimpleNamespace

__all__ = [
    "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp", "flash_sdp_enabled",
    "is_built", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled",
]  # fmt: skip

matmul = SimpleNamespace(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
)
_attention = {"flash": True, "mem_efficient": True, "math": True}


def is_built() -> bool:
    """Whether danlu was built with CUDA: False."""
    return False


def flash_sdp_enabled() -> bool:
    """Whether attention may use the flash kernel, where there is one."""
    return _attention["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """Whether attention may use the memory-efficient kernel, where there is one."""
    return _attention["mem_efficient"]


def math_sdp_enabled() -> bool:
    """Whether attention may use plain matrix products."""
    return _attention["math"]


def enable_flash_sdp(enabled: bool) -> None:
    """Allow or forbid the flash kernel to attention."""
    _attention["flash"] = enabled


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow or forbid the memory-efficient kernel to attention."""
    _attention["mem_efficient"] = enabled


def enable_math_sdp(enabled: bool) -> None:
    """Allow or forbid plain matrix products to attention."""
    _attention["math"] = enabled
