"""`save`: objects and the memory of their tensors, in PyTorch's file format."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
from contextlib import contextmanager
from types import FunctionType

from danlu.backend import dtypes
from danlu.backend.device import device
from danlu.backend.layout import layout
from danlu.serialization.archive import ALIGNMENT, ArchiveWriter
from danlu.serialization.names import STORAGE_TYPES, StorageType, torch_name
from danlu.serialization.rebuild import file_reduce, get_layout
from danlu.serialization.storage import TypedStorage
from danlu.tensor import Tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
_SHARED_AS_TWO_DTYPES = (
    "Cannot save multiple tensors or storages that view the same data as different types: it is "
    "viewed as {first} and as {second}; save a clone() of one of them"
)


def save(obj, f, pickle_module=None, pickle_protocol=2, _use_new_zipfile_serialization=True):
    """Save an object to a file that PyTorch's `torch.load` reads too.

    Tensors that share memory share it in the file. A file on disk is replaced only when the new
    one is complete.

    Args:
        obj: tensors, containers of them, state dicts, or whole models.
        f: a path, or a file object with `write`.
        pickle_module: `pickle` (the default) or a module with its Python pickler, such as `dill`.
        pickle_protocol: pickle's protocol. Default: 2, which PyTorch reads with
            `weights_only=True`.
        _use_new_zipfile_serialization: False writes PyTorch's format of before version 1.6.

    Raises:
        RuntimeError: the folder does not exist, or one memory is viewed as two dtypes.

    Example:
        >>> import io
        >>> import danlu as torch
        >>> file = io.BytesIO()
        >>> torch.save({"weight": torch.tensor([1.0, 2.0])}, file)
        >>> _ = file.seek(0)
        >>> torch.load(file)
        {'weight': tensor([1., 2.])}
    """
    pickler = _pickler_class(pickle if pickle_module is None else pickle_module)
    if isinstance(f, (str, os.PathLike)):
        path = os.fspath(f)
        name = os.path.splitext(os.path.basename(path))[0]
        if not (name and name.isascii()):
            name = "archive"
        with _replaced_when_complete(path) as stream:
            _save_to(obj, stream, name, pickler, pickle_protocol, _use_new_zipfile_serialization)
    elif hasattr(f, "write"):
        _save_to(obj, f, "archive", pickler, pickle_protocol, _use_new_zipfile_serialization)
        if hasattr(f, "flush"):
            f.flush()
    else:
        raise AttributeError(
            "expected 'f' to be string, path, or a file-like object with a 'write' attribute, "
            f"got {type(f).__name__}"
        )


@contextmanager
def _replaced_when_complete(path):
    """A stream whose content takes the place of the file at `path` when the block ends well."""
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {os.path.dirname(path) or folder} does not exist.")
    if os.path.exists(target) and not os.path.isfile(target):
        # A device or a pipe cannot be replaced.
        with open(target, "wb") as stream:
            yield stream
        return
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
        if os.path.exists(target):
            os.chmod(temporary, os.stat(target).st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def _save_to(obj, stream, name, pickler, protocol, zipped):
    storages = _StorageTable(zipped)
    buffer = io.BytesIO()
    pickler(buffer, protocol, storages).dump(obj)
    if zipped:
        _write_archive(stream, name, buffer.getvalue(), storages)
    else:
        _write_legacy(stream, protocol, buffer.getvalue(), storages)


class _StorageTable:
    """The storages met so far, by the key under which the file will hold them."""

    def __init__(self, zipped):
        self.zipped = zipped
        self.by_key = {}
        self._keys = {}
        self._dtypes = {}

    def persistent_id(self, obj):
        if type(obj) is not TypedStorage:
            return None
        storage, dtype = obj.storage, obj.dtype
        key = self._keys.setdefault(id(storage), str(len(self._keys)))
        self.by_key[key] = storage
        first = self._dtypes.setdefault(key, dtype)
        if first is not dtype and storage.nbytes():
            raise RuntimeError(_SHARED_AS_TWO_DTYPES.format(first=first, second=dtype))
        numel = storage.nbytes() // (dtype or dtypes.uint8).itemsize
        entry = ("storage", STORAGE_TYPES[dtype], key, "cpu", numel)
        return entry if self.zipped else (*entry, None)

    def itemsize(self, key):
        return (self._dtypes[key] or dtypes.uint8).itemsize


def _pickler_class(pickle_module):
    """A pickler that writes PyTorch's names; it derives from Python's, since C's cannot do that."""
    base = getattr(pickle_module, "_Pickler", None) or getattr(pickle_module, "Pickler", None)
    if not (isinstance(base, type) and issubclass(base, pickle._Pickler)):
        raise TypeError(
            "pickle_module must be pickle or build on its Python pickler, as dill does; "
            f"got {pickle_module!r}"
        )

    class CheckpointPickler(base):
        def __init__(self, buffer, protocol, storages):
            super().__init__(buffer, protocol=protocol)
            self.persistent_id = storages.persistent_id

        def reducer_override(self, obj):
            # A lazy parameter has no memory yet, and knows itself how it is pickled.
            if isinstance(obj, Tensor) and not hasattr(obj, "materialize"):
                return file_reduce(obj)
            if isinstance(obj, (dtypes.dtype, StorageType)):
                return obj.name
            if isinstance(obj, device):
                return device, (obj.type,) if obj.index is None else (obj.type, obj.index)
            if isinstance(obj, layout):
                return get_layout, (repr(obj),)
            return NotImplemented

        def save_global(self, obj, name=None):
            known = torch_name(obj)
            if known is None:
                super().save_global(obj, name)
            else:
                self.write(pickle.GLOBAL + f"{known[0]}\n{known[1]}\n".encode())
                self.memoize(obj)

        def save_type(self, obj):
            if torch_name(obj) is None:
                super().save_type(obj)
            else:
                self.save_global(obj)

    CheckpointPickler.dispatch = {
        **base.dispatch,
        type: CheckpointPickler.save_type,
        FunctionType: CheckpointPickler.save_global,
    }
    return CheckpointPickler


def _write_archive(stream, name, pickled, storages):
    archive = ArchiveWriter(stream, name)
    archive.record("data.pkl", pickled)
    archive.record(".format_version", b"1")
    archive.record(".storage_alignment", str(ALIGNMENT).encode())
    archive.record("byteorder", sys.byteorder.encode())
    for key, storage in storages.by_key.items():
        archive.record(f"data/{key}", storage.memory)
    archive.record("version", b"3\n")
    archive.close()


def _write_legacy(stream, protocol, pickled, storages):
    system = {
        "protocol_version": LEGACY_PROTOCOL,
        "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    for head in (LEGACY_MAGIC, LEGACY_PROTOCOL, system):
        stream.write(pickle.dumps(head, protocol))
    stream.write(pickled)
    keys = sorted(storages.by_key)
    stream.write(pickle.dumps(keys, protocol))
    for key in keys:
        memory = storages.by_key[key].memory
        stream.write(struct.pack("<q", memory.nbytes // storages.itemsize(key)))
        stream.write(memory)
