"""Python's profiler, by which a trace watches the calls that user code makes."""

from __future__ import annotations

import sys

__all__ = ["resume", "unwatched"]


def resume(profiler) -> None:
    """Put a profiler back; of those written in C, `sys.setprofile` takes none."""
    if profiler is None or callable(profiler):
        sys.setprofile(profiler)
    else:
        sys.setprofile(None)
        profiler.enable()


class unwatched:  # a statement's word, as nullcontext
    """A block of danlu's own code, in which an observer need not look at every call: events of the
    profiler are a fifth of the time of a trace."""

    __slots__ = ("_profiler",)

    def __enter__(self) -> None:
        self._profiler = sys.getprofile()
        sys.setprofile(None)

    def __exit__(self, *exception) -> None:
        if self._profiler is not None:
            resume(self._profiler)
