"""The memory of CUDA devices: none is there, none is used."""

from __future__ import annotations

from collections import OrderedDict

from danlu.cuda.devices import refuse

__all__ = [
    "OutOfMemoryError", "empty_cache", "max_memory_allocated", "max_memory_reserved",
    "mem_get_info", "memory_allocated", "memory_reserved", "memory_stats", "memory_summary",
    "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_peak_memory_stats",
    "set_per_process_memory_fraction",
]  # fmt: skip


class OutOfMemoryError(RuntimeError):
    """A CUDA device has no memory left."""


def empty_cache() -> None:
    """Give free memory that is kept for later tensors, which is the CPU's, back to the system."""
    from danlu.kernels.runtime import memory

    memory.empty_cache()


def reset_peak_memory_stats(device=None) -> None:
    """Start counting the peaks of memory use anew; nothing is counted."""


def reset_accumulated_memory_stats(device=None) -> None:
    """Start counting the totals of memory use anew; nothing is counted."""


reset_max_memory_allocated = reset_peak_memory_stats


def memory_allocated(device=None) -> int:
    """The bytes that tensors hold on a CUDA device: 0."""
    return 0


def max_memory_allocated(device=None) -> int:
    """The most bytes that tensors have held on a CUDA device: 0."""
    return 0


def memory_reserved(device=None) -> int:
    """The bytes that the allocator holds on a CUDA device: 0."""
    return 0


def max_memory_reserved(device=None) -> int:
    """The most bytes that the allocator has held on a CUDA device: 0."""
    return 0


def memory_stats(device=None) -> OrderedDict[str, int]:
    """The allocator's counters by name: none."""
    return OrderedDict()


def memory_summary(device=None, abbreviated: bool = False) -> str:
    """The allocator's counters as text."""
    return "no CUDA device, no CUDA memory in use"


def mem_get_info(device=None) -> tuple[int, int]:
    """The free and the total bytes of a CUDA device.

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def set_per_process_memory_fraction(fraction, device=None) -> None:
    """Limit this process to a share of the device's memory.

    Raises:
        AssertionError: there is no CUDA device.
    """
    refuse()
