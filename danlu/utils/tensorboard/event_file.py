"""``FileWriter``: one event file."""

from __future__ import annotations

import os
import time

from tensorboard.compat.proto.event_pb2 import Event, TaggedRunMetadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

__all__ = ["FileWriter"]


class FileWriter:
    """Writes events into one file of a folder, from a thread of its own.

    Args:
        log_dir: the folder; made where it is missing.
        max_queue: how many events may wait until an `add` waits too. Default: 10
        flush_secs: after how many seconds at most they are on the disk. Default: 120
        filename_suffix: what the file's name ends with. Default: ``""``
    """

    def __init__(self, log_dir, max_queue=10, flush_secs=120, filename_suffix=""):
        self._arguments = (os.fspath(log_dir), max_queue, flush_secs, filename_suffix)
        self.event_writer = EventFileWriter(*self._arguments)
        self._closed = False

    def get_logdir(self) -> str:
        """The folder that the file is in."""
        return self.event_writer.get_logdir()

    def add_event(self, event, step=None, walltime=None) -> None:
        """Write an event, at the present time if `walltime` is None."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self.event_writer.add_event(event)

    def add_summary(self, summary, global_step=None, walltime=None) -> None:
        """Write a record of values."""
        self.add_event(Event(summary=summary), global_step, walltime)

    def add_graph(self, graph_profile, walltime=None) -> None:
        """Write a graph, a pair of ``GraphDef`` and ``RunMetadata``."""
        graph, metadata = graph_profile
        self.add_event(Event(graph_def=graph.SerializeToString()), None, walltime)
        run = TaggedRunMetadata(tag="step1", run_metadata=metadata.SerializeToString())
        self.add_event(Event(tagged_run_metadata=run), None, walltime)

    def flush(self) -> None:
        """Put everything on the disk."""
        self.event_writer.flush()

    def close(self) -> None:
        """Put everything on the disk and close the file; a second call does nothing."""
        if not self._closed:
            self.event_writer.close()
            self._closed = True

    def reopen(self) -> None:
        """Go on in a new file after `close()`."""
        if self._closed:
            self.event_writer = EventFileWriter(*self._arguments)
            self._closed = False
