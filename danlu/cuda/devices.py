"""Which CUDA devices there are: none."""

from __future__ import annotations

from danlu.backend.device import NO_CUDA
from danlu.backend.device import device as any_device

__all__ = [
    "can_device_access_peer", "current_device", "device", "device_count", "device_of",
    "get_arch_list", "get_device_capability", "get_device_name", "get_device_properties",
    "index_of", "init", "ipc_collect", "is_available", "is_bf16_supported", "is_initialized",
    "is_tf32_supported", "refuse", "set_device", "synchronize",
]  # fmt: skip


def refuse():
    """Say that there is no CUDA device.

    Raises:
        AssertionError: always, as PyTorch's CPU build does.
    """
    raise AssertionError(NO_CUDA)


def index_of(wanted) -> int:
    """The index that `wanted` (a device, a string, an index or None) names, or -1 for none.

    Raises:
        ValueError: it names a device that is no CUDA device.
    """
    if wanted is None:
        return -1
    if isinstance(wanted, int):
        return wanted
    found = any_device(wanted)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return 0 if found.index is None else found.index


def is_available() -> bool:
    """Whether CUDA can be used: False."""
    return False


def device_count() -> int:
    """The number of CUDA devices: 0."""
    return 0


def is_initialized() -> bool:
    """Whether CUDA has been set up: False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the CUDA device computes in bfloat16: False, there is none."""
    return False


def is_tf32_supported() -> bool:
    """Whether the CUDA device computes in TF32: False, there is none."""
    return False


def get_arch_list() -> list[str]:
    """The GPU architectures that kernels were built for: none."""
    return []


def init() -> None:
    """Set CUDA up.

    Raises:
        AssertionError: there is no CUDA device.
    """
    refuse()


def current_device() -> int:
    """The index of the selected CUDA device.

    Raises:
        AssertionError: there is no CUDA device.

    Example:
        >>> import danlu as torch
        >>> torch.cuda.current_device()
        Traceback (most recent call last):
        AssertionError: Torch not compiled with CUDA enabled: ...
    """
    return refuse()


def set_device(device) -> None:
    """Select a CUDA device; a negative index selects none and does nothing.

    Raises:
        AssertionError: there is no CUDA device.
        ValueError: `device` is no CUDA device.
    """
    if index_of(device) >= 0:
        refuse()


def synchronize(device=None) -> None:
    """Wait for the work on a CUDA device.

    Raises:
        AssertionError: there is no CUDA device.
    """
    refuse()


def get_device_name(device=None) -> str:
    """The name of a CUDA device.

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def get_device_capability(device=None) -> tuple[int, int]:
    """The compute capability of a CUDA device, as (major, minor).

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def get_device_properties(device=None):
    """Name, memory and processors of a CUDA device.

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def can_device_access_peer(device, peer_device) -> bool:
    """Whether one CUDA device can read the memory of another.

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def ipc_collect() -> None:
    """Release memory that other processes have shared.

    Raises:
        AssertionError: there is no CUDA device.
    """
    refuse()


class device:
    """A context manager that selects a CUDA device; None and negative indices select none.

    Args:
        device: an index, a string or a device.

    Raises:
        AssertionError: on entering with an index from 0 on: there is no CUDA device.
        ValueError: `device` is no CUDA device.

    Example:
        >>> import danlu as torch
        >>> with torch.cuda.device(-1):
        ...     torch.cuda.device_count()
        0
    """

    def __init__(self, device):
        self.idx = index_of(device)

    def __enter__(self) -> None:
        if self.idx >= 0:
            refuse()

    def __exit__(self, *exception) -> None:
        """Nothing was selected."""


class device_of(device):
    """A context manager that selects the device of a tensor; without a CUDA tensor, none."""

    def __init__(self, obj):
        super().__init__(obj.device if obj.is_cuda else None)
