"""The older spelling of mixed precision: `torch.cuda.amp.autocast()` for
`torch.amp.autocast("cuda")`."""

from __future__ import annotations

import warnings

from danlu import amp

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


def _warn_renamed(name: str) -> None:
    message = (
        f"`torch.cuda.amp.{name}(args...)` is deprecated. "
        f"Please use `torch.amp.{name}('cuda', args...)` instead."
    )
    warnings.warn(message, FutureWarning, stacklevel=3)


class autocast(amp.autocast):
    """`danlu.amp.autocast("cuda", ...)`."""

    def __init__(self, enabled: bool = True, dtype=None, cache_enabled: bool = True):
        _warn_renamed("autocast")
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """`danlu.amp.GradScaler("cuda", ...)`."""

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        _warn_renamed("GradScaler")
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


def custom_fwd(fwd=None, *, cast_inputs=None):
    """`danlu.amp.custom_fwd` for CUDA."""
    return amp.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd=None):
    """`danlu.amp.custom_bwd` for CUDA."""
    return amp.custom_bwd(bwd, device_type="cuda")
