"""The iterator over a DataLoader with worker processes."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import time
import warnings
import weakref

from danlu.utils.data._iterators import LoaderIterator
from danlu.utils.data._utils.transport import PIPE_CAPACITY, Channel, shared_folder
from danlu.utils.data._utils.worker import CaughtError, Resume, Stop, run_worker

__all__ = ["WorkerIterator", "start_method"]

# How long a worker may finish what it is at, in seconds.
PATIENCE = 5.0


def start_method(multiprocessing):
    """The context in which workers start: the user's choice if there is one, on Linux fork, else
    the system's."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    if chosen is None and sys.platform == "linux":
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context(chosen)


class _Worker:
    """A worker process and the channels to it."""

    def __init__(self, context, number: int, iterator: WorkerIterator, folder: str, done):
        loader = iterator._loader
        # The messages under way in a pipe never fill it: sending does not wait for the reader.
        limit = PIPE_CAPACITY // (2 * max(loader.prefetch_factor, 1) + 2)
        task_reader, task_writer = context.Pipe(duplex=False)
        result_reader, result_writer = context.Pipe(duplex=False)
        self.tasks = Channel(task_writer, folder, limit)
        self.results = Channel(result_reader, folder, limit)
        self.busy = 0
        self.active = True
        self.process = context.Process(
            target=run_worker,
            args=(
                number, loader.num_workers, iterator._base_seed, loader.dataset,
                (loader._auto_collation, loader.collate_fn, loader.drop_last),
                loader.worker_init_fn, Channel(task_reader, folder, limit),
                Channel(result_writer, folder, limit), done, folder,
            ),
            daemon=True,
        )  # fmt: skip
        with warnings.catch_warnings():
            # Threads of a BLAS library survive a fork; Python cannot know that.
            warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
            self.process.start()
        task_reader.close()
        result_writer.close()


class WorkerIterator(LoaderIterator):
    """Hands indices out to worker processes and takes batches back, in order if asked for."""

    def __init__(self, loader):
        super().__init__(loader)
        import multiprocessing
        from multiprocessing import connection

        self._wait = connection.wait
        context = loader.multiprocessing_context or start_method(multiprocessing)
        folder, done = shared_folder(), context.Event()
        self._workers: list[_Worker] = []
        self._shutdown = weakref.finalize(
            self, _shut_down, self._workers, done, folder, os.getpid()
        )
        try:
            for number in range(loader.num_workers):
                self._workers.append(_Worker(context, number, self, folder, done))
        except BaseException:
            self._shutdown()
            raise
        self._begin_epoch()

    @property
    def _alive(self) -> bool:
        return self._shutdown.alive

    def _begin_epoch(self) -> None:
        self._sent = self._taken = 0
        self._at_work: dict[int, _Worker] = {}  # number of a task -> who has it
        self._arrived: dict = {}  # number of a task -> its data, if it came before its turn
        for worker in self._workers:
            worker.busy, worker.active = 0, True
        self._turns = itertools.cycle(self._workers)
        for _ in range(self._loader.prefetch_factor * self._loader.num_workers):
            self._hand_out()

    def _reset(self) -> None:
        super()._reset()
        for worker in self._workers:
            worker.tasks.send(Resume())
        waiting = len(self._workers)
        while waiting:  # what is still under way belongs to the last epoch
            _, (answer, _) = self._receive()
            waiting -= isinstance(answer, Resume)
        self._begin_epoch()

    # ------------------------------------------------------------ handing out
    def _hand_out(self) -> None:
        """Give the next index to a worker."""
        try:
            index = next(self._indices)
        except StopIteration:
            return
        worker = self._next_worker()
        if worker is None:
            return
        try:
            worker.tasks.send((self._sent, index))
        except (BrokenPipeError, OSError):
            pass  # it has died, which the next wait for data reports
        self._at_work[self._sent] = worker
        worker.busy += 1
        self._sent += 1

    def _next_worker(self) -> _Worker | None:
        active = sum(worker.active for worker in self._workers)
        if not active:
            return None
        most = self._loader.prefetch_factor * self._loader.num_workers // active
        for worker in itertools.islice(self._turns, len(self._workers)):
            if worker.active and (self._loader.in_order or worker.busy < most):
                return worker
        return None

    # ------------------------------------------------------------ taking back
    def _next_data(self):
        while self._alive:
            while self._taken < self._sent and not self._is_expected(self._taken):
                self._taken += 1  # its worker's dataset had ended
            if self._taken == self._sent:
                if not self._loader.persistent_workers:
                    self._shutdown()
                raise StopIteration
            if self._taken in self._arrived:
                data = self._arrived.pop(self._taken)
                self._taken += 1
                return self._delivered(data)
            worker, (number, data) = self._receive()
            del self._at_work[number]
            worker.busy -= 1
            if isinstance(data, Stop):
                self._dismiss(worker)
                self._hand_out()
            elif self._loader.in_order:
                self._arrived[number] = data
            else:
                return self._delivered(data)
        raise StopIteration

    def _is_expected(self, number: int) -> bool:
        return number in self._arrived or number in self._at_work

    def _delivered(self, data):
        self._hand_out()
        if isinstance(data, CaughtError):
            data.reraise()
        return data

    def _dismiss(self, worker: _Worker) -> None:
        """Expect nothing more of a worker whose dataset has ended."""
        worker.active = False
        self._at_work = {
            number: other for number, other in self._at_work.items() if other is not worker
        }
        if not self._loader.persistent_workers:
            worker.tasks.send(None)

    def _receive(self) -> tuple:
        """The next message of any worker: ``(worker, (number, data))``."""
        timeout = self._loader.timeout
        deadline = time.monotonic() + timeout if timeout > 0 else None
        expected = [
            worker for worker in self._workers if worker.active or self._loader.persistent_workers
        ]
        pipes = {worker.results.connection: worker for worker in expected}
        deaths = {worker.process.sentinel: worker for worker in expected}
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = self._wait([*pipes, *deaths], left)
            for connection in ready:
                if connection in pipes:
                    try:
                        return pipes[connection], pipes[connection].results.receive()
                    except (EOFError, ConnectionResetError, FileNotFoundError):
                        self._report_death(pipes[connection])
            for sentinel in ready:
                if sentinel in deaths and not deaths[sentinel].results.wait(0):
                    self._report_death(deaths[sentinel])
            if not ready:
                self._give_up()
                raise RuntimeError(f"DataLoader timed out after {timeout} seconds")

    def _report_death(self, worker: _Worker) -> None:
        worker.process.join(PATIENCE)
        code = worker.process.exitcode
        how = f"exit code {code}"
        if code is not None and code < 0:
            import signal

            how = f"killed by {signal.Signals(-code).name}"
        pid = worker.process.pid
        self._give_up()
        raise RuntimeError(f"DataLoader worker (pid(s) {pid}) exited unexpectedly: {how}")

    def _give_up(self) -> None:
        """End workers of which one is dead or hangs."""
        for worker in self._workers:
            worker.process.terminate()
        self._shutdown()


def _shut_down(workers: list, done, folder: str, owner: int) -> None:
    """End the workers, gently first, and free what they shared."""
    if os.getpid() != owner:  # a fork of the owner drops its copy of the iterator
        return
    done.set()
    for worker in workers:
        try:
            worker.tasks.send(None)
        except (OSError, ValueError):
            pass  # it has gone
    deadline = time.monotonic() + PATIENCE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join(PATIENCE)
        worker.tasks.close()
        worker.results.close()
    shutil.rmtree(folder, ignore_errors=True)
