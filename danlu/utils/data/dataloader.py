"""The DataLoader: batches from a dataset."""

from __future__ import annotations

import os
import warnings
from typing import Generic

from danlu.utils.data._iterators import GatheringIterator, LoaderIterator, SerialIterator
from danlu.utils.data._utils.collate import default_collate, default_convert
from danlu.utils.data._utils.fetch import gatherer
from danlu.utils.data._utils.worker import get_worker_info
from danlu.utils.data.dataset import Dataset, IterableDataset, T_co
from danlu.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

_FROZEN = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")

_MANY_WORKERS = (
    "This DataLoader will create {wanted} worker processes in total. Our suggested max number of "
    "worker in current "
    "system is {available}, which is smaller than what this DataLoader is going to create. More "
    "workers than "
    "processors make loading slower, or even freeze it."
)


class _Endless(Sampler):
    """Stands for the indices of a dataset that has none."""

    def __iter__(self):
        while True:
            yield None


class DataLoader(Generic[T_co]):
    """Iterates over a dataset in batches.

    A :class:`TensorDataset`, or a subset of one, is gathered a whole batch at a time and without
    worker processes: they could only be slower. With the same seed, batches come as PyTorch's do.

    Args:
        dataset: samples by number or one after the other.
        batch_size: samples a batch; None gives samples as they are. Default: 1.
        shuffle: whether to permute the samples every epoch. Default: False.
        sampler: gives the indices instead; excludes `shuffle`.
        batch_sampler: gives lists of indices instead; excludes `batch_size`, `shuffle`, `sampler`
            and `drop_last`.
        num_workers: processes that fetch ahead. Default: 0, no other process.
        collate_fn: makes a batch out of a list of samples. Default: :func:`default_collate`.
        pin_memory, pin_memory_device: accepted; there is nothing to pin without an accelerator.
        drop_last: leave out a last batch that is smaller. Default: False.
        timeout: seconds to wait for a batch from the workers; 0 waits as long as it takes.
        worker_init_fn: called with the worker's number when it starts.
        multiprocessing_context: "fork", "spawn" or a context of ``multiprocessing``.
        generator: where base seeds and permutations are drawn. Default: the default generator.
        prefetch_factor: batches that each worker fetches ahead. Default: 2 with workers.
        persistent_workers: keep the workers for the next epoch.
        in_order: give batches in the order of the sampler, not of their arrival. Default: True.

    Raises:
        ValueError: arguments that exclude each other, or are out of range.
        RuntimeError: on iteration, if a worker dies or `timeout` passes.

    Example:
        >>> import danlu as torch
        >>> from danlu.utils.data import DataLoader, TensorDataset
        >>> loader = DataLoader(TensorDataset(torch.arange(5.0), torch.arange(5)), batch_size=2)
        >>> for x, y in loader:
        ...     print(x, y)
        tensor([0., 1.]) tensor([0, 1])
        tensor([2., 3.]) tensor([2, 3])
        tensor([4.]) tensor([4])
    """

    __initialized = False

    def __init__(
        self, dataset: Dataset[T_co], batch_size: int | None = 1, shuffle: bool | None = None,
        sampler=None, batch_sampler=None, num_workers: int = 0, collate_fn=None,
        pin_memory: bool = False, drop_last: bool = False, timeout: float = 0,
        worker_init_fn=None, multiprocessing_context=None, generator=None, *,
        prefetch_factor: int | None = None, persistent_workers: bool = False,
        pin_memory_device: str = "", in_order: bool = True,
    ):  # fmt: skip
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        if num_workers > 0 and prefetch_factor is None:
            prefetch_factor = 2
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        iterable = isinstance(dataset, IterableDataset)
        if iterable:
            _check_iterable(shuffle, sampler, batch_sampler)
        _check_exclusive(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        if sampler is None:
            if iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._IterableDataset_len_called: int | None = None
        self._iterator: LoaderIterator | None = None
        self.__initialized = True
        self.check_worker_number_rationality()

    @property
    def multiprocessing_context(self):
        """The context in which workers start, None for the default."""
        return self.__multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context) -> None:
        if context is not None:
            import multiprocessing

            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading "
                    f"(num_workers > 0), but got num_workers={self.num_workers}"
                )
            if isinstance(context, str):
                methods = multiprocessing.get_all_start_methods()
                if context not in methods:
                    raise ValueError(
                        "multiprocessing_context option should specify a valid start method in "
                        f"{methods!r}, but got multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string "
                    f"specifying the start method, but got multiprocessing_context={context}"
                )
        self.__multiprocessing_context = context

    def __setattr__(self, name: str, value) -> None:
        if self.__initialized and name in _FROZEN:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _in_memory(self):
        """The function that gathers a batch whole, if the dataset is nothing but tensors in
        memory."""
        plain = default_collate if self._auto_collation else default_convert
        if self.collate_fn is not plain or self.worker_init_fn is not None:
            return None
        return gatherer(self.dataset)

    def _new_iterator(self) -> LoaderIterator:
        gather = self._in_memory()
        if gather is not None and self.multiprocessing_context is None:
            return GatheringIterator(self, gather) if self._auto_collation else SerialIterator(self)
        if self.num_workers == 0:
            return SerialIterator(self)
        from danlu.utils.data._workers import WorkerIterator

        return WorkerIterator(self)

    def __iter__(self) -> LoaderIterator:
        if not self.persistent_workers:
            return self._new_iterator()
        if self._iterator is None or not self._iterator._alive:
            self._iterator = self._new_iterator()
        else:
            self._iterator._reset()
        return self._iterator

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is not None:
            length = length // self.batch_size if self.drop_last else -(-length // self.batch_size)
        return length

    def check_worker_number_rationality(self) -> None:
        """Warn about more workers than processors."""
        if self.num_workers == 0 or self._in_memory() is not None:
            return
        if hasattr(os, "sched_getaffinity"):
            available = len(os.sched_getaffinity(0))
        else:
            available = os.cpu_count() or 1
        if self.num_workers > available:
            warnings.warn(
                _MANY_WORKERS.format(wanted=self.num_workers, available=available), stacklevel=3
            )


def _check_workers(num_workers, timeout, prefetch_factor, persistent_workers) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing: let num_workers > "
            "0 "
            "to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_iterable(shuffle, sampler, batch_sampler) -> None:
    for name, value, unset in (
        ("shuffle", shuffle, (None, False)),
        ("sampler", sampler, (None,)),
        ("batch_sampler", batch_sampler, (None,)),
    ):
        if not any(value is each for each in unset):
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, "
                f"but got {name}={value}"
            )


def _check_exclusive(batch_size, shuffle, sampler, batch_sampler, drop_last) -> None:
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                "and drop_last"
            )
    elif batch_size is None and drop_last:
        raise ValueError(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )
