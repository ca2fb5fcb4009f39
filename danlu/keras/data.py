"""What `fit`, `evaluate` and `predict` accept as data, turned into batches."""

from __future__ import annotations

import danlu
from danlu.tensor import Tensor
from danlu.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

_READ_ONCE = (
    "{name} is an iterator, which is empty after one epoch; pass a DataLoader, a list of batches, "
    "or arrays as `(features, labels)`"
)


def as_loader(data, *, name, batch_size=32, shuffle=False):
    """`data` as a re-iterable of batches.

    Args:
        data: a DataLoader or any re-iterable of batches (returned as it is), a `Dataset`, or an
            array or tuple of arrays (tensors, NumPy arrays, pandas objects) with one row per
            sample.
        name: the argument's name, for messages.
        batch_size, shuffle: for datasets and arrays.

    Raises:
        TypeError: for an iterator that can be read only once, and for what is none of the above.
        ValueError: for arrays of different lengths.
    """
    arrays = rows_of(data)
    if arrays is not None:
        data = TensorDataset(*check_lengths(arrays, name))
    if isinstance(data, Dataset):
        shuffle = shuffle and not isinstance(data, IterableDataset)
        return DataLoader(data, batch_size=batch_size, shuffle=shuffle)
    if hasattr(data, "__next__"):
        raise TypeError(_READ_ONCE.format(name=name))
    if not hasattr(data, "__iter__"):
        raise TypeError(
            f"{name} must be a DataLoader, a Dataset, or arrays as `(features, labels)`, "
            f"got {type(data).__name__}"
        )
    return data


def rows_of(data):
    """The tensors of an array or a tuple of arrays; None if `data` is something else."""
    if _is_array(data):
        return [_as_tensor(data)]
    if isinstance(data, tuple) and data and all(map(_is_array, data)):
        return [_as_tensor(part) for part in data]
    return None


def check_lengths(arrays, name):
    """`arrays`, after the check that all have the same number of rows."""
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"{name}: the arrays have different numbers of rows, {lengths}")
    return arrays


def split_validation(arrays, fraction, name="train_data"):
    """The first rows to train on, and the last `fraction` of all rows to validate on."""
    if arrays is None:
        raise ValueError(
            "validation_split works on arrays, `fit((features, labels), validation_split=0.2)`; "
            "split a Dataset with `danlu.utils.data.random_split` and pass val_data"
        )
    rows = len(check_lengths(arrays, name)[0])
    held_out = round(rows * fraction)
    if not 0 < held_out < rows:
        raise ValueError(
            f"validation_split={fraction} of {rows} rows leaves {rows - held_out} to train on and "
            f"{held_out} to validate on; it must be a fraction between 0 and 1"
        )
    cut = rows - held_out
    return tuple(a[:cut] for a in arrays), tuple(a[cut:] for a in arrays)


def features_of(batch):
    """The features of a batch: its first element if it is a tuple or list, else all of it."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def _is_array(value):
    return hasattr(value, "shape") and hasattr(value, "__len__")


def _as_tensor(value):
    """`value` as a tensor; float64 arrays, as NumPy makes them, become the default dtype."""
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "to_numpy"):
        # A copy: what pandas hands out may not be written to.
        tensor = danlu.tensor(value.to_numpy())
    else:
        tensor = danlu.as_tensor(value)
    return tensor.to(danlu.get_default_dtype()) if tensor.dtype == danlu.float64 else tensor
