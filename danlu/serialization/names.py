"""PyTorch's names for what checkpoints refer to, and danlu's objects behind them.

Files are written with PyTorch's names, so PyTorch reads them, and PyTorch's files are read by the
same table.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pickle import UnpicklingError

from danlu.backend import dtypes
from danlu.backend.device import device
from danlu.serialization import rebuild
from danlu.serialization.storage import is_count
from danlu.size import Size
from danlu.tensor import Tensor


class StorageType:
    """What stands for `torch.FloatStorage` and its kin: it says how to read a storage's bytes."""

    __slots__ = ("dtype", "name")

    def __init__(self, name, dtype):
        self.name = name
        self.dtype = dtype


STORAGE_TYPES: dict[dtypes.dtype | None, StorageType] = {
    dtype: StorageType(name, dtype) for dtype, name in rebuild.LEGACY_STORAGE_DTYPES.items()
}
UNTYPED = STORAGE_TYPES[None] = StorageType("UntypedStorage", None)

REBUILDERS = {
    ("torch._utils", "_rebuild_tensor"): rebuild.rebuild_tensor_v1,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild.rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): rebuild.rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): rebuild.rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): rebuild.rebuild_parameter_with_state,
    ("torch._tensor", "_rebuild_from_type_v2"): rebuild.rebuild_from_type_v2,
    ("torch.serialization", "_get_layout"): rebuild.get_layout,
}
STORAGES = {
    **{
        (module, each.name): each
        for module in ("torch", "torch.cuda")
        for each in STORAGE_TYPES.values()
    },
    ("torch.storage", "UntypedStorage"): UNTYPED,
}
DTYPES = {("torch", name): dtype for name, dtype in dtypes.BY_NAME.items()}
CLASSES = {("torch", "Tensor"): Tensor, ("torch", "Size"): Size, ("torch", "device"): device}
_FIXED = {**REBUILDERS, **STORAGES, **DTYPES, **CLASSES}

# Modules whose public names are PyTorch's; the rest of danlu is written under its own name.
_SHARED_MODULES = ("nn", "optim", "utils", "distributions")


@cache
def _written_names():
    named = {id(value): where for where, value in _FIXED.items()}
    for each in STORAGE_TYPES.values():
        named[id(each)] = ("torch", each.name)
    named[id(UNTYPED)] = ("torch.storage", "UntypedStorage")
    return named


def check_storage_entry(entry, length):
    """A persistent id, if it has the form of PyTorch's."""
    if type(entry) is tuple and len(entry) == length:
        tag, storage_type, key, location, numel = (_decoded(each) for each in entry[:5])
        sound = (
            tag == "storage"
            and isinstance(storage_type, StorageType)
            and type(key) is str
            and type(location) is str
            and is_count(numel)
        )
        if sound:
            return (tag, storage_type, key, location, numel, *entry[5:])
    raise UnpicklingError("a reference to a storage is malformed")


def _decoded(value):
    # Python 2 wrote these names as byte strings.
    return value.decode("ascii") if isinstance(value, bytes) else value


def torch_name(value):
    """The `(module, name)` by which PyTorch knows a class, function or constant, or None."""
    where = _written_names().get(id(value))
    if where is not None:
        return where
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<locals>" in name:
        return None
    package, _, rest = module.partition(".")
    if package != "danlu" or rest.partition(".")[0] not in _SHARED_MODULES:
        return None
    if rest == "nn.parameter":
        return "torch.nn.parameter", name
    if rest.startswith("nn._functional."):
        return "torch.nn.functional", name
    public = rest.partition(".")[0]
    if getattr(import_module(f"danlu.{public}"), name, None) is value:
        return f"torch.{public}", name
    return f"torch.{rest}", name


def find(module, name):
    """danlu's object for one of PyTorch's names.

    Raises:
        UnpicklingError: danlu has nothing of that name.
    """
    if (module, name) in _FIXED:
        return _FIXED[module, name]
    place = "danlu" + module[len("torch") :]
    while True:
        try:
            found = import_module(place)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("danlu"):
                raise
        else:
            for part in name.split("."):
                found = getattr(found, part, None)
            if found is not None:
                return found
        if "." not in place:
            raise UnpicklingError(
                f"the file refers to {module}.{name}, which danlu does not have; "
                "save the model's state_dict() with PyTorch and load that instead"
            )
        # PyTorch and danlu may keep the same public name in different files.
        place = place.rpartition(".")[0]
