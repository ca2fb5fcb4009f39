"""Reading PyTorch's file format of before version 1.6: pickles in a row, then the storages.

The storages come after the tensors that refer to them, so their memory is allotted first and
filled last.
"""

from __future__ import annotations

import pickle
import struct
from pickle import UnpicklingError

import numpy as np

from danlu.backend import dtypes
from danlu.serialization.names import check_storage_entry
from danlu.serialization.saving import LEGACY_MAGIC, LEGACY_PROTOCOL
from danlu.serialization.storage import TypedStorage, UntypedStorage
from danlu.serialization.unpickler import DataUnpickler

_NOT_A_CHECKPOINT = (
    "it is neither PyTorch's zip archive nor its older format. "
    "Was it written by another library, or cut short in copying?"
)


def load(stream, unpickler, restore):
    """The object in a file.

    Args:
        stream: the file, at its beginning.
        unpickler: makes the reader of the object's pickle: of buffer, position, persistent_load.
        restore: puts a storage in its place (see `locations.restorer`).
    """
    content = stream.read(1)
    if content != pickle.PROTO:
        raise UnpicklingError(_NOT_A_CHECKPOINT)
    content += stream.read()
    position = 0

    def read_pickle(reads=DataUnpickler, persistent_load=None):
        nonlocal position
        reader = reads(content, position, persistent_load)
        value = reader.load()
        position = reader.position
        return value

    try:
        magic = read_pickle()
    except UnpicklingError as error:
        raise UnpicklingError(_NOT_A_CHECKPOINT) from error
    if magic != LEGACY_MAGIC:
        raise UnpicklingError(_NOT_A_CHECKPOINT)
    version = read_pickle()
    if version != LEGACY_PROTOCOL:
        raise RuntimeError(f"Invalid protocol version: {version}, expected {LEGACY_PROTOCOL}")
    system = read_pickle()
    if not (isinstance(system, dict) and system.get("little_endian") is True):
        raise UnpicklingError(
            "it does not say that it is little-endian, the only order danlu reads"
        )
    storages = _AnnouncedStorages(len(content), restore)
    result = read_pickle(unpickler, storages.persistent_load)
    keys = read_pickle()
    if type(keys) is not list:
        raise UnpicklingError("its list of storages is malformed")
    for key in keys:
        position = storages.fill(key, content, position)
    storages.check_complete()
    return result


class _AnnouncedStorages:
    """Storages whose bytes come later in the file."""

    def __init__(self, file_size, restore):
        self._left = file_size
        self._restore = restore
        self._announced = {}
        self._unfilled = {}

    def persistent_load(self, entry):
        storage_type, key, location, numel, view = check_storage_entry(entry, 6)[1:]
        if view is not None:
            raise UnpicklingError("views of storages, of PyTorch before 0.4, are not supported")
        dtype = storage_type.dtype or dtypes.uint8
        if key not in self._announced:
            nbytes = numel * dtype.itemsize
            self._left -= nbytes
            if self._left < 0:
                raise UnpicklingError(
                    f"storage {key!r} claims {nbytes} bytes, more than the file has"
                )
            memory = np.zeros(nbytes, np.uint8)
            self._unfilled[key] = (memory, dtype.itemsize)
            self._announced[key] = (self._restore(UntypedStorage(memory), location), dtype, numel)
        storage, first, count = self._announced[key]
        if first is not dtype or count != numel:
            raise UnpicklingError(f"storage {key!r} is referred to in two ways")
        return TypedStorage(storage, storage_type.dtype)

    def fill(self, key, content, position):
        """Copy one storage's bytes from the file; returns the position behind them."""
        if type(key) is not str or key not in self._unfilled:
            raise UnpicklingError(f"its storage {key!r:.40} belongs to no tensor")
        memory, itemsize = self._unfilled.pop(key)
        begin = position + 8
        end = begin + memory.nbytes
        if end > len(content):
            raise UnpicklingError(f"it ends within storage {key!r}")
        (numel,) = struct.unpack("<q", content[position:begin])
        if numel * itemsize != memory.nbytes:
            raise UnpicklingError(f"storage {key!r} has {numel} elements, not as many as announced")
        memory[:] = np.frombuffer(content, np.uint8, memory.nbytes, begin)
        return end

    def check_complete(self):
        """Refuse a file that leaves a storage without its bytes."""
        if self._unfilled:
            raise UnpicklingError(f"its storages {sorted(self._unfilled)} are missing")
