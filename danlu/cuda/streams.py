"""Streams and events of CUDA devices, which cannot be made without one."""

from __future__ import annotations

from danlu.cuda.devices import refuse

__all__ = [
    "Event", "Stream", "StreamContext", "current_stream", "default_stream",
    "is_current_stream_capturing", "set_stream", "stream",
]  # fmt: skip


class Stream:
    """A queue of work on a CUDA device.

    Raises:
        RuntimeError: there is no CUDA device.
    """

    def __init__(self, device=None, priority: int = 0, **kwargs):
        raise RuntimeError("torch.cuda.Stream requires CUDA support: there is no CUDA device here")


class Event:
    """A mark in a CUDA stream, to wait for or to measure time between.

    Raises:
        RuntimeError: there is no CUDA device.
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ):
        raise RuntimeError(
            "torch.cuda.Event requires CUDA support: there is no CUDA device here; "
            "time work on the CPU with time.perf_counter()"
        )


class StreamContext:
    """A context manager that selects a stream; None, the only stream there can be, does nothing."""

    def __init__(self, stream: Stream | None):
        self.stream = stream

    def __enter__(self) -> None:
        """There is nothing to select."""

    def __exit__(self, *exception) -> None:
        """There is nothing to go back to."""


def stream(stream: Stream | None) -> StreamContext:
    """A context manager that selects `stream`; with None it does nothing."""
    return StreamContext(stream)


def set_stream(stream: Stream | None) -> None:
    """Select a stream; with None it does nothing."""


def current_stream(device=None) -> Stream:
    """The selected stream of a CUDA device.

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def default_stream(device=None) -> Stream:
    """The stream that a CUDA device begins with.

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def is_current_stream_capturing() -> bool:
    """Whether the work is being recorded into a graph: False."""
    return False
