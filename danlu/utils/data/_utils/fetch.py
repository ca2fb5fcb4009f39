"""Fetching batches from a dataset, the same way in the main process and in workers."""

from __future__ import annotations

import numpy as np

from danlu.tensor import wrap
from danlu.utils.data.dataset import IterableDataset, Subset, TensorDataset

__all__ = ["fetcher", "gatherer"]


def fetcher(dataset, auto_collation: bool, collate_fn, drop_last: bool):
    """A function that gives the data of an index, or of a list of them.

    It raises StopIteration when an iterable dataset has ended."""
    if isinstance(dataset, IterableDataset):
        return _IterableFetcher(dataset, auto_collation, collate_fn, drop_last)
    if not auto_collation:
        return lambda index: collate_fn(dataset[index])
    if getattr(dataset, "__getitems__", None):
        return lambda indices: collate_fn(dataset.__getitems__(indices))
    return lambda indices: collate_fn([dataset[index] for index in indices])


class _IterableFetcher:
    def __init__(self, dataset, auto_collation, collate_fn, drop_last):
        self.samples = iter(dataset)
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.ended = False

    def __call__(self, places):
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self.samples))
        batch = []
        for _ in places:
            try:
                batch.append(next(self.samples))
            except StopIteration:
                self.ended = True
                break
        if not batch or (self.drop_last and len(batch) < len(places)):
            raise StopIteration
        return self.collate_fn(batch)


class Gatherer:
    """Gathers the batch of an array of indices whole, as `default_collate` would make it.

    Attributes:
        tensors: what the rows are gathered from.
        chosen: which rows the indices count, an array; None for all.
    """

    __slots__ = ("chosen", "tensors")

    def __init__(self, tensors, chosen=None):
        self.tensors, self.chosen = tensors, chosen

    def rows(self, indices):
        """The rows of these indices."""
        return indices if self.chosen is None else self.chosen[indices]

    def __call__(self, indices):
        rows = indices if self.chosen is None else self.chosen[indices]
        return [wrap(tensor._array.take(rows, 0)) for tensor in self.tensors]


def gatherer(dataset) -> Gatherer | None:
    """What gathers batches of tensors in memory, or of subsets of them; None for other datasets."""
    if type(dataset) is TensorDataset:
        if not dataset.tensors or any(tensor._requires_grad for tensor in dataset.tensors):
            return None  # gradients flow back through a recorded stack
        return Gatherer(dataset.tensors)
    if type(dataset) is Subset:
        gather = gatherer(dataset.dataset)
        if gather is None:
            return None
        chosen = np.asarray(dataset.indices)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            return None
        return Gatherer(gather.tensors, gather.rows(chosen))
    return None
