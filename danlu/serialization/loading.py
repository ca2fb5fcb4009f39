"""`load`: files of `save` and of PyTorch, with nothing executed unless that is asked for aloud."""

from __future__ import annotations

import io
import os
import pickle
import sys
import warnings

import numpy as np

from danlu.backend import dtypes
from danlu.serialization import legacy
from danlu.serialization.archive import ArchiveReader
from danlu.serialization.locations import restorer
from danlu.serialization.names import STORAGES, check_storage_entry, find
from danlu.serialization.storage import TypedStorage, UntypedStorage
from danlu.serialization.unpickler import DataUnpickler, ForbiddenGlobal


def load(
    f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, **pickle_load_args
):
    """Load what `save`, or PyTorch's `torch.save`, wrote.

    Args:
        f: a path, or a seekable binary file object.
        map_location: where tensors go: a device or its name, a dictionary from saved to new
            locations, or a function of storage and location. Files saved from a GPU need
            `map_location="cpu"`.
        pickle_module: the module that unpickles, for `weights_only=False`.
        weights_only: True (the default) reads tensors, plain containers and what `add_safe_globals`
            allows, and executes nothing. False unpickles whole objects, which runs whatever code
            the file holds: for files that you trust.
        mmap: True maps the file into memory and reads tensors when they are used; writes to them
            stay private.
        **pickle_load_args: such as `encoding`, for the byte strings of Python 2.

    Raises:
        UnpicklingError: the file refers to something that is not allowed, or its data is malformed.
        RuntimeError: the archive is damaged, or its tensors lie on a device that is not there.

    Example:
        >>> import io
        >>> import danlu as torch
        >>> file = io.BytesIO()
        >>> torch.save([torch.zeros(2), 3], file)
        >>> _ = file.seek(0)
        >>> torch.load(file, weights_only=True)
        [tensor([0., 0.]), 3]
    """
    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if weights_only and set(pickle_load_args) - {"encoding"}:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=2)
    pickle_load_args.setdefault("encoding", "utf-8")

    def unpickler(buffer, position, persistent_load):
        if weights_only:
            encoding = pickle_load_args["encoding"]
            return DataUnpickler(buffer, position, persistent_load, encoding)
        return _TrustingUnpickler(
            buffer, position, persistent_load, pickle_module or pickle, pickle_load_args
        )

    if isinstance(f, (str, os.PathLike)):
        path = os.fspath(f)
        with open(path, "rb") as stream:
            return _load_from(stream, path, path if mmap else None, unpickler, map_location)
    if mmap:
        raise ValueError("f must be a file path in order to use the mmap argument")
    if not (hasattr(f, "read") and hasattr(f, "seek") and hasattr(f, "tell")):
        raise AttributeError(
            f"'{type(f).__name__}' object has no attribute 'seek'. You can only torch.load from a "
            "file that is seekable. Please pre-load the data into a buffer like io.BytesIO and try "
            "to load from it instead."
        )
    source = getattr(f, "name", None)
    if f.tell():
        f = io.BytesIO(f.read())
    return _load_from(
        f, source if isinstance(source, str) else "the file", None, unpickler, map_location
    )


def _load_from(stream, source, mapped_path, unpickler, map_location):
    start = stream.read(4)
    stream.seek(0)
    restore = restorer(map_location)
    try:
        if not start:
            raise EOFError(f"{source} is empty")
        if start == b"PK\3\4":
            return _load_archive(
                ArchiveReader(stream, source), source, mapped_path, unpickler, restore
            )
        if mapped_path is not None:
            raise RuntimeError(
                f"mmap can only be used with files saved with `torch.save({source}, "
                "_use_new_zipfile_serialization=True)`: save the checkpoint again to use mmap"
            )
        return legacy.load(stream, unpickler, restore)
    except ForbiddenGlobal as error:
        raise pickle.UnpicklingError(f"Weights only load failed for {source}: {error}") from None
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f"Cannot load {source}: {error}") from error


def _load_archive(archive, source, mapped_path, unpickler, restore):
    if "constants.pkl" in archive:
        raise RuntimeError(
            f"{source} is a TorchScript archive; save the model's state_dict() with PyTorch "
            "and load that"
        )
    storages = _ArchivedStorages(archive, mapped_path, restore)
    return unpickler(archive.read("data.pkl"), 0, storages.persistent_load).load()


class _ArchivedStorages:
    """The storages of an archive, each read once, when it is first referred to."""

    def __init__(self, archive, mapped_path, restore):
        self._archive = archive
        self._mapped = None if mapped_path is None else _map_file(mapped_path)
        self._restore = restore
        self._loaded = {}
        order = bytes(archive.read("byteorder")) if "byteorder" in archive else b"little"
        if order not in (b"little", b"big"):
            raise archive.damaged(f"its byte order is {order!r:.20}")
        self._swapped = order.decode() != sys.byteorder

    def persistent_load(self, entry):
        storage_type, key, location, numel = check_storage_entry(entry, 5)[1:5]
        if key not in self._loaded:
            memory = self._read(f"data/{key}", storage_type.dtype)
            self._loaded[key] = self._restore(UntypedStorage(memory), location)
        storage = self._loaded[key]
        itemsize = (storage_type.dtype or dtypes.uint8).itemsize
        if storage.nbytes() // itemsize != numel:
            raise pickle.UnpicklingError(
                f"storage {key!r} should have {numel} elements of {itemsize} bytes, but it has "
                f"{storage.nbytes()} bytes"
            )
        return TypedStorage(storage, storage_type.dtype)

    def _read(self, name, dtype):
        if self._mapped is not None and not self._swapped:
            size = self._archive.size(name)
            # A record without bytes has no place in the map.
            return (
                np.frombuffer(self._mapped, np.uint8, size, self._archive.offset(name))
                if size
                else np.empty(0, np.uint8)
            )
        memory = self._archive.read(name)
        if self._swapped:
            if dtype is None:
                raise RuntimeError(
                    "the file was saved on a machine with another byte order, and does not say how "
                    "its storages are to be swapped"
                )
            whole = memory[: memory.nbytes // dtype.itemsize * dtype.itemsize].view(dtype.numpy)
            whole.byteswap(inplace=True)
        return memory


def _map_file(path):
    import mmap

    with open(path, "rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)


class _TrustingUnpickler:
    """Python's unpickler with PyTorch's names: for files whose code may run.

    `position` counts as that of the restricted unpickler does.
    """

    def __init__(self, buffer, position, persistent_load, pickle_module, options):
        class Unpickler(pickle_module.Unpickler):
            def find_class(self, module, name):
                if (module, name) in STORAGES:
                    return STORAGES[module, name]
                if module.partition(".")[0] == "torch":
                    return find(module, name)
                return super().find_class(module, name)

            def persistent_load(self, entry):
                return persistent_load(entry)

        self._stream = io.BytesIO(buffer)
        self._stream.seek(position)
        self._unpickler = Unpickler(self._stream, **options)

    def load(self):
        """The object of the pickle; what its code raises is passed on."""
        return self._unpickler.load()

    @property
    def position(self):
        """Where the pickle ended."""
        return self._stream.tell()
