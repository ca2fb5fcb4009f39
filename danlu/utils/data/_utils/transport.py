"""Messages between a DataLoader and its workers.

A message goes through a pipe if it is small. A large one goes through a file in shared memory,
whose arrays the receiver maps and uses in place; only the file's name goes through the pipe. So no
write to a pipe ever waits for its reader, and two processes cannot wait for each other."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import tempfile

from danlu.tensor import Tensor, wrap

__all__ = ["Channel", "shared_folder"]

# What the pipes of all systems hold at least, in bytes.
PIPE_CAPACITY = 16384
_ALIGNMENT = 64

_FULL = (
    "A DataLoader worker could not write a batch of {size} bytes to shared memory ({folder}): "
    "{error}. "
    "Give the machine or container more (docker run --shm-size), or use fewer workers or a smaller "
    "prefetch_factor"
)


def shared_folder() -> str:
    """A new folder for messages, in memory where the system offers that."""
    memory = "/dev/shm"
    parent = memory if os.access(memory, os.W_OK | os.X_OK) else None
    return tempfile.mkdtemp(prefix="danlu-", dir=parent)


class _Pickler(pickle.Pickler):
    """Tensors as their arrays, whose memory goes out of band."""

    def reducer_override(self, thing):
        if type(thing) is Tensor:
            if thing.grad_fn is not None:
                raise RuntimeError(
                    "A worker cannot send a tensor that has a history: use .detach() in the dataset"
                )
            return _rebuild, (thing._array, thing._requires_grad)
        return NotImplemented


def _rebuild(array, requires_grad: bool) -> Tensor:
    tensor = wrap(array)
    return tensor.requires_grad_() if requires_grad else tensor


class Channel:
    """One end of a connection.

    Args:
        connection: an end of a ``multiprocessing.Pipe``.
        folder: where large messages go.
        limit: the size from which on a message is large.
    """

    def __init__(self, connection, folder: str, limit: int):
        self.connection = connection
        self.folder = folder
        self.limit = limit
        self.sent = 0

    def send(self, thing) -> None:
        """Send anything that can be pickled."""
        stream = io.BytesIO()
        buffers: list[pickle.PickleBuffer] = []
        _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(thing)
        parts = [stream.getbuffer(), *[buffer.raw() for buffer in buffers]]
        sizes = [part.nbytes for part in parts]
        if sum(sizes) <= self.limit:
            message: tuple = [bytearray(part) for part in parts], None
        else:
            message = sizes, self._write(parts, sum(sizes))
        self.connection.send_bytes(pickle.dumps(message, protocol=5))

    def _write(self, parts, size: int) -> str:
        self.sent += 1
        name = os.path.join(self.folder, f"{os.getpid()}-{self.connection.fileno()}-{self.sent}")
        try:
            with open(name, "wb") as file:
                for part in parts:
                    file.write(part)
                    file.write(bytes(-part.nbytes % _ALIGNMENT))
        except OSError as error:
            if os.path.exists(name):
                os.unlink(name)
            raise RuntimeError(
                _FULL.format(size=size, folder=self.folder, error=error.strerror)
            ) from error
        return name

    def receive(self):
        """Wait for the next message.

        Raises:
            EOFError: the other end is closed.
        """
        parts, name = pickle.loads(self.connection.recv_bytes())
        if name is not None:
            parts = self._map(parts, name)
        return pickle.loads(parts[0], buffers=parts[1:])

    @staticmethod
    def _map(sizes, name: str) -> list:
        """Views of a file's parts; its memory is free again when the last of their arrays is
        gone."""
        with open(name, "r+b") as file:
            memory = memoryview(mmap.mmap(file.fileno(), 0))
        os.unlink(name)
        parts, start = [], 0
        for size in sizes:
            parts.append(memory[start : start + size])
            start += size + -size % _ALIGNMENT
        return parts

    def wait(self, timeout: float) -> bool:
        """Whether a message comes within `timeout` seconds."""
        return self.connection.poll(timeout)

    def close(self) -> None:
        """Close this end."""
        self.connection.close()
