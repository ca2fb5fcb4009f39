"""Iterators over a DataLoader without worker processes."""

from __future__ import annotations

import itertools
import warnings
from collections import deque

import numpy as np

from danlu.utils.data._utils.fetch import fetcher
from danlu.utils.data.dataset import IterableDataset
from danlu.utils.data.sampler import draw_seed

__all__ = ["GatheringIterator", "LoaderIterator", "SerialIterator"]

_LONGER = (
    "Length of IterableDataset {dataset} was reported to be {length}(when accessing "
    "len(dataloader)), but {count} "
    "samples have been fetched. "
)
_LONGER_IN_WORKERS = (
    "Every worker iterates over a copy of the dataset: divide the samples in __iter__ by "
    "get_worker_info()."
)
_NO_PINNING = (
    "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory "
    "won't be used."
)


class LoaderIterator:
    """What all iterators over a DataLoader do: they ask for indices, and draw a base seed for
    workers.

    The order of draws is PyTorch's: the sampler is asked for an iterator, the base seed is drawn,
    and only the first index makes a shuffling sampler draw its own seed."""

    @property
    def _alive(self) -> bool:
        """Whether it can begin another epoch; not so once workers are gone."""
        return True

    def __init__(self, loader):
        self._loader = loader
        self._dataset = loader.dataset
        self._num_yielded = 0
        self._announced = loader._IterableDataset_len_called
        if loader.pin_memory:
            warnings.warn(_NO_PINNING, stacklevel=3)
        self._indices = self._begin_indices()
        self._base_seed = draw_seed(loader.generator)

    def _begin_indices(self):
        return iter(self._loader._index_sampler)

    def _reset(self) -> None:
        """Begin anew, for workers that persist."""
        self._indices = self._begin_indices()
        self._num_yielded = 0
        self._announced = self._loader._IterableDataset_len_called

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self):
        data = self._next_data()
        if self._announced is not None and isinstance(self._dataset, IterableDataset):
            self._num_yielded += 1
            if self._num_yielded > self._announced:
                self._warn_longer()
        return data

    def _next_data(self):
        raise NotImplementedError

    def _warn_longer(self) -> None:
        text = _LONGER.format(
            dataset=self._dataset, length=self._announced, count=self._num_yielded
        )
        if self._loader.num_workers > 0:
            text += _LONGER_IN_WORKERS
        warnings.warn(text, stacklevel=3)

    def __getstate__(self):
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


class SerialIterator(LoaderIterator):
    """Fetches a batch when it is asked for."""

    def __init__(self, loader):
        super().__init__(loader)
        self._fetch = fetcher(
            loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )
        self._read_ahead()

    def _reset(self) -> None:
        super()._reset()
        self._read_ahead()

    def _read_ahead(self) -> None:
        """Where workers were asked for and are not worth it, ask the sampler as early as for them.

        That shows in the state of the generator after a part of an epoch."""
        loader = self._loader
        self._ahead = None
        if loader.num_workers > 0:
            places = loader.num_workers * loader.prefetch_factor
            self._ahead = deque(itertools.islice(self._indices, places))

    def _next_index(self):
        if self._ahead is None:
            return next(self._indices)
        if not self._ahead:
            raise StopIteration
        index = self._ahead.popleft()
        self._ahead.extend(itertools.islice(self._indices, 1))
        return index

    def _next_data(self):
        return self._fetch(self._next_index())


def _are_rows(indices) -> bool:
    chosen = np.asarray(indices)
    return chosen.ndim == 1 and chosen.dtype.kind in "iu"


class GatheringIterator(SerialIterator):
    """Gathers whole batches from tensors in memory."""

    def __init__(self, loader, gather):
        self._gather = gather
        super().__init__(loader)

    def _begin_indices(self):
        batches = getattr(self._loader.batch_sampler, "arrays", lambda: None)()
        return super()._begin_indices() if batches is None else batches

    def take(self, most: int):
        """The rows of the next batches, as many as have the size of the first of them.

        Returns:
            (tensors, their rows as an array [batches, rows of a batch], what `give_back` takes to
            undo the call), or None where there is nothing to take or the sampler says something
            else than row numbers. A batch of another size comes with the next call or with `next`.
        """
        if self._ahead is not None:
            return None
        taken: list = []
        while len(taken) < most:
            indices = next(self._indices, None)
            if indices is None:
                break
            if not taken and not _are_rows(indices):
                self.give_back([indices])
                return None
            if taken and (not _are_rows(indices) or len(indices) != len(taken[0])):
                self.give_back([indices])
                break
            taken.append(indices)
        if not taken:
            return None
        rows = self._gather.rows(np.array(taken, dtype=np.int64))
        return self._gather.tensors, rows, taken

    def give_back(self, batches) -> None:
        """Put indices of batches in front of those to come."""
        self._indices = itertools.chain(batches, self._indices)

    def __next__(self):
        indices = next(self._indices) if self._ahead is None else self._next_index()
        try:
            if indices.__class__ is np.ndarray:
                return self._gather(indices)
            chosen = np.asarray(indices)
            if chosen.ndim == 1 and chosen.dtype.kind in "iu":
                return self._gather(chosen)
        except IndexError:  # fetched one by one, the sample at fault is named
            pass
        return self._fetch(indices if isinstance(indices, list) else list(indices))
