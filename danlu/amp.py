"""Mixed precision, for programs that ask for it.

danlu computes in the dtype that the tensors have. float32 needs no rescue from underflow, and on a
CPU half precision saves no time, so `autocast` changes nothing and `GradScaler` is never enabled:
a program written for mixed precision trains in full precision, with the same code.
"""

from __future__ import annotations

import functools
import warnings

from danlu.backend import dtypes
from danlu.backend.device import device

__all__ = [
    "GradScaler", "autocast", "custom_bwd", "custom_fwd", "get_autocast_dtype",
    "is_autocast_available", "is_autocast_enabled",
]  # fmt: skip


def is_autocast_available(device_type: str) -> bool:
    """Whether operations can be cast to half precision on this type of device: False."""
    device(device_type)
    return False


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether operations are being cast to half precision: False, also inside `autocast`."""
    if device_type is not None:
        device(device_type)
    return False


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The dtype that PyTorch casts to on this type of device: bfloat16 on the CPU, else float16."""
    return dtypes.bfloat16 if device(device_type).type == "cpu" else dtypes.float16


class autocast:
    """A context manager and decorator that runs its block in the dtypes the tensors have.

    PyTorch computes matrix products inside it in half precision. Here they stay as they are: the
    results are those of the program without `autocast`.

    Args:
        device_type: the type of device to cast on, such as ``"cuda"`` or ``"cpu"``.
        dtype: the half-precision dtype; default bfloat16 on the CPU, float16 elsewhere.
        enabled: whether to cast at all; default True.
        cache_enabled: accepted for PyTorch's sake.

    Raises:
        RuntimeError: there is no such type of device.

    Example:
        >>> import danlu as torch
        >>> with torch.autocast("cpu"):
        ...     y = torch.ones(2, 2) @ torch.ones(2, 2)
        >>> y.dtype
        torch.float32
    """

    def __init__(self, device_type: str, dtype=None, enabled: bool = True, cache_enabled=None):
        if not isinstance(device_type, str):
            raise ValueError(
                f"Expected `device_type` of type `str`, got: `{type(device_type)}`; "
                "write autocast(x.device.type)"
            )
        self.device = device(device_type).type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if self.device == "cuda" and enabled:
            warnings.warn("CUDA is not available. Disabling autocast.", UserWarning, stacklevel=2)

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *exception) -> None:
        """Nothing was switched."""

    def __call__(self, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            return function(*args, **kwargs)

        return call


def custom_fwd(fwd=None, *, device_type: str, cast_inputs=None):
    """Decorates `forward` of an `autograd.Function` that is used under `autocast`; returns it
    unchanged."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    return fwd


def custom_bwd(bwd=None, *, device_type: str):
    """Decorates `backward` of an `autograd.Function` that is used under `autocast`; returns it
    unchanged."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    return bwd


class GradScaler:
    """Scales losses so that half-precision gradients do not vanish; here, where they are in full
    precision, it passes them on, and `step` is the optimizer's.

    Args:
        device: the type of device; default ``"cuda"``.
        init_scale: first factor; unused, as are the other numbers.
        growth_factor: what the factor grows by.
        backoff_factor: what it shrinks by when a gradient overflows.
        growth_interval: steps without overflow until it grows.
        enabled: False keeps PyTorch's scaler off as well; default True.

    Example:
        >>> import danlu as torch
        >>> w = torch.ones(1, requires_grad=True)
        >>> optimizer = torch.optim.SGD([w], lr=0.5)
        >>> scaler = torch.amp.GradScaler("cpu")
        >>> scaler.scale((w * w).sum()).backward()
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> w
        tensor([0.], requires_grad=True)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        if enabled and device == "cuda":
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                UserWarning,
                stacklevel=2,
            )

    def is_enabled(self) -> bool:
        """Whether losses are scaled: False."""
        return False

    def get_scale(self) -> float:
        """The factor of the losses: 1."""
        return 1.0

    def scale(self, outputs):
        """`outputs`, a tensor or a collection of them, as they are."""
        return outputs

    def unscale_(self, optimizer) -> None:
        """Divide the optimizer's gradients by the factor, which is 1."""

    def step(self, optimizer, *args, **kwargs):
        """Call ``optimizer.step(*args, **kwargs)`` and return its result."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale=None) -> None:
        """Adapt the factor, which stays 1."""

    def state_dict(self) -> dict:
        """The state to save: empty, as that of a disabled scaler in PyTorch."""
        return {}

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue from a saved state; that of an enabled scaler in PyTorch is accepted, too."""
