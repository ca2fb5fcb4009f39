"""Samplers: in which order a DataLoader asks for samples.

Besides ``__iter__`` the samplers here have ``chunks()``, which gives the same indices in arrays,
and draws from the generator at the same moments: batches are then slices, and no index becomes a
Python number."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

import numpy as np

from danlu.backend.random import Generator, default_generator, integers, randperm

__all__ = [
    "BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler",
    "WeightedRandomSampler",
]  # fmt: skip

T_co = TypeVar("T_co", covariant=True)

# PyTorch draws indices with replacement in blocks of this size, which shows in a generator of the
# user's.
_BLOCK = 32


def draw_seed(generator=None) -> int:
    """A seed of 63 bits, from the default generator if none is given."""
    return (generator or default_generator).random64() & (2**63 - 1)


def _check_count(name: str, value, hint: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}{hint}")


class Sampler(Generic[T_co]):
    """The base class of samplers: a subclass defines ``__iter__`` over indices, and mostly
    ``__len__``.

    Example:
        >>> from danlu.utils.data import DataLoader, Sampler
        >>> class Backwards(Sampler):
        ...     def __init__(self, data):
        ...         self.data = data
        ...     def __iter__(self):
        ...         return iter(range(len(self.data) - 1, -1, -1))
        ...     def __len__(self):
        ...         return len(self.data)
        >>> data = [10, 20, 30]
        >>> list(DataLoader(data, batch_size=2, sampler=Backwards(data)))
        [tensor([30, 20]), tensor([10])]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")


class _ChunkSampler(Sampler[int]):
    def chunks(self) -> Iterator[np.ndarray]:
        """The indices in arrays."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        for chunk in self.chunks():
            yield from chunk.tolist()


class SequentialSampler(_ChunkSampler):
    """All samples in their order.

    Example:
        >>> from danlu.utils.data import SequentialSampler
        >>> list(SequentialSampler("abc"))
        [0, 1, 2]
    """

    def __init__(self, data_source: Sized):
        self.data_source = data_source

    def chunks(self):
        yield np.arange(len(self.data_source))

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(_ChunkSampler):
    """Samples in random order.

    Args:
        data_source: the dataset.
        replacement: whether a sample may come again before all have come. Default: False.
        num_samples: how many to draw. Default: as many as there are.
        generator: where to draw. Default: a new one an epoch, whose seed comes from the default
            generator.

    Raises:
        ValueError: `num_samples` is no positive int, for example for an empty dataset.
        TypeError: `replacement` is no bool.

    Example:
        >>> import danlu as torch
        >>> from danlu.utils.data import RandomSampler
        >>> sorted(RandomSampler(range(4)))
        [0, 1, 2, 3]
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None,
        generator=None,
    ):  # fmt: skip
        if not isinstance(replacement, bool):
            raise TypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        empty = num_samples is None and len(data_source) == 0
        _check_count("num_samples", self.num_samples, ": the dataset is empty" if empty else "")

    @property
    def num_samples(self) -> int:
        """How many samples an epoch has."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def chunks(self):
        generator = self.generator
        if generator is None:
            generator = Generator().manual_seed(draw_seed())
        n, wanted = len(self.data_source), self.num_samples
        if self.replacement:
            for _ in range(wanted // _BLOCK):
                yield integers(generator, (_BLOCK,), np.dtype(np.int64), 0, n)
            yield integers(generator, (wanted % _BLOCK,), np.dtype(np.int64), 0, n)
        else:
            for _ in range(wanted // n):
                yield randperm(generator, n)
            # PyTorch permutes once more also if nothing is left to be drawn.
            if self.generator is not None or wanted % n:
                yield randperm(generator, n)[: wanted % n]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(_ChunkSampler):
    """Some samples in random order, without replacement.

    Args:
        indices: which samples.
        generator: where to draw. Default: the default generator.

    Example:
        >>> from danlu.utils.data import SubsetRandomSampler
        >>> sorted(SubsetRandomSampler([5, 7, 8]))
        [5, 7, 8]
    """

    def __init__(self, indices: Sequence[int], generator=None):
        self.indices = indices
        self.generator = generator

    def chunks(self):
        order = randperm(self.generator or default_generator, len(self.indices))
        yield np.asarray(self.indices, dtype=np.int64)[order]

    def __iter__(self) -> Iterator[int]:
        order = randperm(self.generator or default_generator, len(self.indices))
        for position in order.tolist():
            yield self.indices[position]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(_ChunkSampler):
    """Samples by their weights.

    Args:
        weights: one per sample, not necessarily summing to 1.
        num_samples: how many to draw.
        replacement: whether a sample may come again. Default: True.
        generator: where to draw. Default: the default generator.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> from danlu.utils.data import WeightedRandomSampler
        >>> list(WeightedRandomSampler([0.0, 1.0, 0.0], num_samples=3))
        [1, 1, 1]
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator=None
    ):
        _check_count("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        import danlu

        self.weights = danlu.as_tensor(weights, dtype=danlu.float64)
        if self.weights.dim() != 1:
            raise ValueError(
                "weights should be a 1d sequence but given weights have shape "
                f"{tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def chunks(self):
        import danlu

        drawn = danlu.multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        yield drawn.numpy()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list]):
    """The indices of another sampler in lists.

    Args:
        sampler: gives the indices.
        batch_size: how many to put together.
        drop_last: whether to leave out a last batch that is smaller.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> from danlu.utils.data import BatchSampler
        >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool):
        _check_count("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def arrays(self) -> Iterator | None:
        """The batches as arrays, if the sampler is one of this module, unchanged."""
        known = (SequentialSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
        if type(self) is not BatchSampler or type(self.sampler) not in known:
            return None
        return _slices(
            self.sampler.chunks(),  # type: ignore[union-attr]
            self.batch_size,
            self.drop_last,
        )

    def __len__(self) -> int:
        if self.drop_last:
            return len(self.sampler) // self.batch_size  # type: ignore[arg-type]
        return -(-len(self.sampler) // self.batch_size)  # type: ignore[arg-type]


def _slices(chunks: Iterator, size: int, drop_last: bool) -> Iterator:
    """Batches out of chunks; the next chunk is asked for only when it is needed."""
    chunk, start = np.empty(0, np.int64), 0
    while True:
        while start + size > len(chunk):
            following = next(chunks, None)
            if following is None:
                break
            rest = chunk[start:]
            chunk, start = np.concatenate((rest, following)) if len(rest) else following, 0
        batch = chunk[start : start + size]
        if len(batch) < size and (drop_last or not len(batch)):
            return
        yield batch
        start += size
