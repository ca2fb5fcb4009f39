"""What runs in a worker process."""

from __future__ import annotations

import os
import random
import shutil
import traceback

__all__ = ["WorkerInfo", "get_worker_info"]

# How often an idle worker looks whether its parent is still there, in seconds.
PARENT_CHECK = 5.0

_worker_info: WorkerInfo | None = None


class WorkerInfo:
    """What ``get_worker_info()`` tells a worker about itself.

    Attributes:
        id: the number of the worker, from 0.
        num_workers: how many there are.
        seed: the seed of its generators, the loader's base seed plus `id`.
        dataset: its copy of the dataset.
    """

    __slots__ = ("dataset", "id", "num_workers", "rng", "seed", "worker_method")

    def __init__(self, id, num_workers, seed, dataset, rng=None, worker_method="multiprocessing"):
        for name, value in zip(
            ("id", "num_workers", "seed", "dataset", "rng", "worker_method"),
            (id, num_workers, seed, dataset, rng, worker_method),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name, value):
        raise AttributeError(f"cannot assign to field {name!r}: WorkerInfo is read-only")

    def __repr__(self):
        names = ("id", "num_workers", "seed", "dataset", "rng", "worker_method")
        return f"WorkerInfo({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def get_worker_info() -> WorkerInfo | None:
    """In a DataLoader's worker, what it is to do its part: `id`, `num_workers`, `seed`, `dataset`.
    Elsewhere None.

    Example:
        >>> from danlu.utils.data import get_worker_info
        >>> get_worker_info() is None
        True
    """
    return _worker_info


class Stop:
    """A worker's answer when its iterable dataset has ended."""


class Resume:
    """Asks a worker to begin anew, and is its answer when it has."""


class KeyErrorMessage(str):
    """Text that a KeyError shows as it is, with its line breaks."""

    def __repr__(self):
        return str(self)


class CaughtError:
    """An exception on its way out of a worker."""

    def __init__(self, error: BaseException, where: str):
        self.kind: type = type(error)
        self.text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.where = where

    def as_sendable(self) -> CaughtError:
        """Without the exception's class, for one that only the worker can name."""
        self.kind = RuntimeError
        return self

    def reraise(self) -> None:
        """Raise an exception of the same type whose message holds the worker's traceback."""
        text = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            raise KeyError(KeyErrorMessage(text))
        try:
            error = self.kind(message=text) if hasattr(self.kind, "message") else self.kind(text)
        except Exception:  # the class wants other arguments
            error = RuntimeError(text)
        try:
            raise error
        finally:
            del error  # a frame that holds its own exception keeps the iterator alive


def seed_everything(base_seed: int, worker_id: int) -> int:
    """Seed danlu, `random` and NumPy, each worker otherwise, as PyTorch does."""
    import numpy as np

    import danlu

    seed = base_seed + worker_id
    random.seed(seed)
    danlu.manual_seed(seed)
    words = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    np.random.seed(np.random.SeedSequence(words).generate_state(4))
    return seed


def run_worker(
    worker_id, num_workers, base_seed, dataset, fetch_arguments, init_fn, tasks, results, done,
    folder,
):  # fmt: skip
    """The life of a worker: fetch what `tasks` asks for and send it through `results`, until None
    comes."""
    global _worker_info
    parent = os.getppid()
    where = f"in DataLoader worker process {worker_id}"
    try:
        seed = seed_everything(base_seed, worker_id)
        _worker_info = WorkerInfo(worker_id, num_workers, seed, dataset)
        fetch, failure = None, None
        try:
            if init_fn is not None:
                init_fn(worker_id)
            fetch = _new_fetcher(dataset, fetch_arguments)
        except Exception as error:
            failure = CaughtError(error, where)
        while True:
            if not tasks.wait(PARENT_CHECK):
                if os.getppid() != parent:  # nobody will read on
                    shutil.rmtree(folder, ignore_errors=True)
                    return
                continue
            task = tasks.receive()
            if task is None:
                return
            if done.is_set():
                continue
            if isinstance(task, Resume):
                try:
                    fetch, failure = _new_fetcher(dataset, fetch_arguments), None
                except Exception as error:
                    failure = CaughtError(error, where)
                results.send((task, None))
                continue
            number, index = task
            if failure is not None:
                data, failure = failure, None
            elif fetch is None:
                continue
            else:
                try:
                    data = fetch(index)
                except StopIteration as error:
                    if _is_iterable(dataset):
                        data, fetch = Stop(), None
                    else:
                        data = CaughtError(error, where)
                except Exception as error:
                    data = CaughtError(error, where)
            _send(results, number, data, where)
            del data
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        pass  # Ctrl-C reaches the whole process group; the parent speaks for it


def _send(results, number: int, data, where: str) -> None:
    try:
        results.send((number, data))
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:  # the data, or the class of an exception, cannot be sent
        if isinstance(data, CaughtError):
            results.send((number, data.as_sendable()))
        else:
            results.send((number, CaughtError(error, where)))


def _new_fetcher(dataset, fetch_arguments):
    from danlu.utils.data._utils.fetch import fetcher

    return fetcher(dataset, *fetch_arguments)


def _is_iterable(dataset) -> bool:
    from danlu.utils.data.dataset import IterableDataset

    return isinstance(dataset, IterableDataset)
