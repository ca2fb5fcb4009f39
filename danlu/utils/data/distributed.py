"""The sampler of a dataset that several processes share."""

from __future__ import annotations

import math
from collections.abc import Iterator

from danlu.backend.random import Generator, randperm
from danlu.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Every process gets every `num_replicas`-th sample; all permute alike, by `seed` and epoch.

    Call ``set_epoch(epoch)`` before every epoch, or all have the same order.

    Args:
        dataset: the whole dataset.
        num_replicas: processes in all. Default: the world size of ``danlu.distributed``.
        rank: the number of this process. Default: that of ``danlu.distributed``.
        shuffle: whether to permute. Default: True.
        seed: equal in all processes. Default: 0.
        drop_last: leave out what does not divide evenly, instead of repeating the first samples.

    Raises:
        ValueError: `rank` is not below `num_replicas`.
        RuntimeError: there is no ``danlu.distributed`` to ask.

    Example:
        >>> from danlu.utils.data import DistributedSampler
        >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
        [1, 3, 0]
    """

    def __init__(
        self, dataset, num_replicas: int | None = None, rank: int | None = None,
        shuffle: bool = True, seed: int = 0, drop_last: bool = False,
    ):  # fmt: skip
        if num_replicas is None:
            num_replicas = _distributed().get_world_size()
        if rank is None:
            rank = _distributed().get_rank()
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        share = len(dataset) / num_replicas
        self.num_samples = math.floor(share) if drop_last else math.ceil(share)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        if self.shuffle:
            indices = randperm(Generator().manual_seed(self.seed + self.epoch), size).tolist()
        else:
            indices = list(range(size))
        if self.total_size > size:
            indices *= math.ceil(self.total_size / size)
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Permute anew: the epoch is added to the seed."""
        self.epoch = epoch


def _distributed():
    try:
        import danlu.distributed
    except ImportError:
        raise RuntimeError(
            "Requires distributed package to be available: pass num_replicas and rank"
        ) from None
    return danlu.distributed
