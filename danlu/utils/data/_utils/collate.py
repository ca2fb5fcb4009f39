"""Making a batch out of samples."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

from danlu.autograd.grad_mode import is_grad_enabled
from danlu.ops.registry import ns
from danlu.tensor import Tensor, wrap

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

_NOT_COLLATABLE = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
    "found {found}"
)
_SHAPES = (
    "stack expects each tensor to be equal size, but got {first} at entry 0 and {other} at entry "
    "{number}"
    ": samples 0 and {number} of the batch have different shapes. Pad them to one shape in the "
    "dataset, or give the "
    "DataLoader a collate_fn that does (torch.nn.utils.rnn.pad_sequence)"
)


def default_convert(data):
    """NumPy arrays and numbers in a sample as tensors; everything else as it is. Used without
    automatic batching.

    Example:
        >>> import numpy as np
        >>> from danlu.utils.data import default_convert
        >>> default_convert({"x": np.array([1, 2]), "name": "a"})
        {'x': tensor([1, 2]), 'name': 'a'}
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SUO" else _as_tensor(data)
    return _rebuilt(data, default_convert)


def _rebuilt(data, convert):
    """A container with converted contents; what is none stays."""
    if isinstance(data, Mapping):
        return _mapping_like(data, {key: convert(data[key]) for key in data})
    if isinstance(data, tuple):
        items = [convert(item) for item in data]
        return type(data)(*items) if hasattr(data, "_fields") else items
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence_like(data, [convert(item) for item in data])
    return data


def _mapping_like(model, items: dict):
    """`items` in a mapping of the kind of `model`, or in a dict if there is no making one."""
    try:
        if isinstance(model, MutableMapping):
            made = copy.copy(model)  # keeps what else a mapping has: a default, attributes
            made.update(items)
            return made
        return type(model)(items)
    except TypeError:
        return items


def _sequence_like(model, items: list):
    """`items` in a sequence of the kind of `model`, or in a list if there is no making one."""
    try:
        if isinstance(model, MutableSequence):
            made = copy.copy(model)
            for position, item in enumerate(items):
                made[position] = item
            return made
        return type(model)(items)
    except TypeError:
        return items


def collate(batch, *, collate_fn_map: dict | None = None):
    """A batch out of samples, by a table of functions for types; containers are entered.

    Args:
        batch: the samples.
        collate_fn_map: type, or tuple of types, -> ``function(batch, *, collate_fn_map)``.

    Raises:
        TypeError: samples of an unknown type.
        RuntimeError: sequences of different lengths.
    """
    first = batch[0]
    if collate_fn_map is not None:
        function = collate_fn_map.get(type(first))
        if function is None:
            for kind, candidate in collate_fn_map.items():
                if isinstance(first, kind):
                    function = candidate
                    break
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)

    def together(samples):
        return collate(samples, collate_fn_map=collate_fn_map)

    if isinstance(first, Mapping):
        items = {key: together([sample[key] for sample in batch]) for key in first}
        return _mapping_like(first, items)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*map(together, zip(*batch)))
    if isinstance(first, Sequence):
        for number, sample in enumerate(batch):
            if len(sample) != len(first):
                raise RuntimeError(
                    "each element in list of batch should be of equal size: sample 0 has "
                    f"{len(first)} elements, sample {number} has {len(sample)}"
                )
        columns = list(map(together, zip(*batch)))
        return columns if isinstance(first, tuple) else _sequence_like(first, columns)
    raise TypeError(_NOT_COLLATABLE.format(found=type(first)))


def _as_tensor(data):
    import danlu

    return danlu.as_tensor(data)


def collate_tensor_fn(batch, *, collate_fn_map: dict | None = None):
    """Tensors, stacked along a new first dimension."""
    first = batch[0]._array
    for number, tensor in enumerate(batch):
        if tensor._array.shape != first.shape:
            raise RuntimeError(
                _SHAPES.format(
                    first=list(first.shape), other=list(tensor._array.shape), number=number
                )
            )
    alike = all(tensor._array.dtype == first.dtype for tensor in batch)
    if alike and not (is_grad_enabled() and any(tensor._requires_grad for tensor in batch)):
        return wrap(ns(first).stack([tensor._array for tensor in batch]))
    import danlu

    return danlu.stack(list(batch))


def collate_numpy_array_fn(batch, *, collate_fn_map: dict | None = None):
    """NumPy arrays, as tensors."""
    if batch[0].dtype.kind in "SUO":
        raise TypeError(_NOT_COLLATABLE.format(found=batch[0].dtype))
    return collate([_as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch, *, collate_fn_map: dict | None = None):
    """NumPy numbers, in one tensor."""
    return _as_tensor(np.asarray(batch))


def collate_float_fn(batch, *, collate_fn_map: dict | None = None):
    """Python floats, in one float64 tensor."""
    return wrap(np.array(batch, dtype=np.float64))


def collate_int_fn(batch, *, collate_fn_map: dict | None = None):
    """Python ints, in one int64 tensor; bools, in one of bools."""
    import danlu

    return danlu.tensor(batch)


def collate_str_fn(batch, *, collate_fn_map: dict | None = None):
    """Text and bytes stay a list."""
    return batch


default_collate_fn_map: dict = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch):
    """A batch out of samples: tensors are stacked, numbers become tensors, containers are entered.

    Args:
        batch: the samples, a list.

    Raises:
        RuntimeError: tensors of different shapes or sequences of different lengths; the message
            says which samples.
        TypeError: samples of an unknown type.

    Example:
        >>> from danlu.utils.data import default_collate
        >>> default_collate([{"x": 0.5, "y": 1}, {"x": 1.5, "y": 0}])
        {'x': tensor([0.5000, 1.5000], dtype=torch.float64), 'y': tensor([1, 0])}
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
