"""Where a loaded storage goes: `load`'s `map_location`."""

from __future__ import annotations

from danlu.backend.device import device
from danlu.serialization.storage import UntypedStorage

_NO_CUDA = (
    "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. "
    "If you are running on a CPU-only machine, please use torch.load with "
    "map_location=torch.device('cpu') to map your storages to the CPU."
)


def restorer(map_location):
    """A function of a storage and its saved location, which returns the storage in its place.

    Args:
        map_location: None (where it was saved from), a device or its name, a dictionary from saved
            to new locations, or a function of storage and location that returns a storage or None.
    """
    if map_location is None:
        return _restore
    if isinstance(map_location, dict):
        return lambda storage, location: _restore(storage, map_location.get(location, location))
    if isinstance(map_location, (str, bytes, device)):
        wanted = map_location.decode() if isinstance(map_location, bytes) else str(map_location)
        return lambda storage, location: _restore(storage, wanted)
    if not callable(map_location):
        raise TypeError(
            "map_location must be None, a device, its name, a dictionary or a function, "
            f"got {type(map_location).__name__}"
        )

    def restore(storage, location):
        moved = map_location(storage, location)
        if moved is None:
            return _restore(storage, location)
        if not isinstance(moved, UntypedStorage):
            raise TypeError(
                f"map_location must return a storage or None, got {type(moved).__name__}"
            )
        return moved

    return restore


def _restore(storage, location):
    kind = str(location).partition(":")[0]
    if kind == "cpu":
        return storage
    if kind == "cuda":
        raise RuntimeError(_NO_CUDA)
    raise RuntimeError(
        "don't know how to restore data location of torch.storage.UntypedStorage "
        f"(tagged with {location}); load with map_location='cpu'"
    )
