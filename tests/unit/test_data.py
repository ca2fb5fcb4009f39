"""The data pipeline: gathering whole batches, and worker processes in earnest."""

import gc
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import danlu
from danlu.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    get_worker_info,
    random_split,
)  # fmt: skip
from danlu.utils.data._iterators import GatheringIterator
from danlu.utils.data._utils.transport import shared_folder


def rows(n=10):
    return TensorDataset(danlu.arange(2 * n).reshape(n, 2), danlu.arange(n))


class Numbers(Dataset):
    """Samples that are arrays of their own number; what happens at 7 is a choice."""

    def __init__(self, n=12, size=3, at_seven=None):
        self.n, self.size, self.at_seven = n, size, at_seven

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if index == 7 and self.at_seven is not None:
            self.at_seven()
        return np.full(self.size, index, np.float32)


# ---------------------------------------------------------------- whole batches
def test_tensor_datasets_and_their_subsets_are_gathered():
    subset, _ = random_split(rows(), [6, 4])
    for dataset in (rows(), subset, Subset(subset, range(3))):
        assert isinstance(iter(DataLoader(dataset, 2)), GatheringIterator)
    for loader in (
        DataLoader(rows(), 2, collate_fn=list),
        DataLoader(ConcatDataset([rows()]), 2),
        DataLoader(TensorDataset(danlu.ones(3, requires_grad=True)), 2),
    ):
        assert not isinstance(iter(loader), GatheringIterator)


def test_a_batch_is_a_copy():
    dataset = rows()
    for shuffle in (False, True):
        for x, _ in DataLoader(dataset, 4, shuffle=shuffle):
            x.zero_()
    assert dataset.tensors[0].sum().item() == 190


def test_no_worker_starts_for_tensors_in_memory():
    loader = DataLoader(rows(), 3, num_workers=2, persistent_workers=True)
    assert isinstance(iter(loader), GatheringIterator)
    assert [y.tolist() for _, y in loader] == [y.tolist() for _, y in loader]


def test_a_worker_that_is_asked_for_starts():
    def tell(worker_id):
        assert get_worker_info().id == worker_id

    assert not isinstance(
        iter(DataLoader(rows(), 3, num_workers=1, worker_init_fn=tell)), GatheringIterator
    )


def test_indices_out_of_range_are_index_errors():
    for dataset in (rows(3), Subset(rows(3), [0, 5])):
        with pytest.raises(IndexError):
            list(DataLoader(dataset, 2, sampler=[0, 1, 7]))


def test_getitems_gives_samples():
    samples = rows().__getitems__([2, 0])
    assert [y.item() for _, y in samples] == [2, 0]
    assert danlu.equal(samples[0][0], danlu.tensor([4, 5]))
    assert Subset(rows(), [5, 6]).__getitems__([1])[0][1].item() == 6


def test_gradients_flow_into_a_dataset():
    x = danlu.ones(4, requires_grad=True)
    for (batch,) in DataLoader(TensorDataset(x), 2):
        (batch * 3).sum().backward()
    assert x.grad.tolist() == [3, 3, 3, 3]


def test_shapes_that_differ_are_named_with_their_samples():
    data = [danlu.ones(3), danlu.ones(3), danlu.ones(2)]
    with pytest.raises(RuntimeError, match=r"got \[3\] at entry 0 and \[2\] at entry 2.*pad"):
        next(iter(DataLoader(data, 3)))


def test_an_empty_dataset_says_so():
    with pytest.raises(ValueError, match="num_samples=0: the dataset is empty"):
        DataLoader([], shuffle=True)
    assert list(DataLoader([])) == []


def test_a_subset_that_overrides_only_getitem_is_refused():
    class Half(Subset):
        def __getitem__(self, index):
            return super().__getitem__(index)

    with pytest.raises(
        NotImplementedError, match="Half overrides __getitem__ but not __getitems__"
    ):
        Half(rows(), [0])


def test_modules_are_torchs():
    assert repr(TensorDataset) == "<class 'danlu.utils.data.dataset.TensorDataset'>"
    assert DataLoader.__module__ == "danlu.utils.data.dataloader"


def test_an_iterable_longer_than_announced_warns():
    class Liar(IterableDataset):
        def __iter__(self):
            return iter(range(4))

        def __len__(self):
            return 2

    loader = DataLoader(Liar())
    assert len(loader) == 2
    iterator = iter(loader)
    next(iterator), next(iterator)
    with pytest.warns(UserWarning, match="3 samples have been fetched"):
        next(iterator)


# ---------------------------------------------------------------- workers
def values(loader):
    return [batch[:, 0].tolist() for batch in loader]


@pytest.mark.parametrize("options", [{}, {"prefetch_factor": 5}, {"persistent_workers": True}])
def test_workers_deliver_in_order(options):
    loader = DataLoader(Numbers(), 2, num_workers=2, **options)
    expected = values(DataLoader(Numbers(), 2))
    assert values(loader) == expected
    assert values(loader) == expected


def test_persistent_workers_are_the_same_processes_and_drop_an_unfinished_epoch():
    loader = DataLoader(Numbers(), 2, num_workers=2, persistent_workers=True)
    iterator = iter(loader)
    pids = [worker.process.pid for worker in iterator._workers]
    next(iterator)
    assert values(loader) == values(DataLoader(Numbers(), 2))
    assert [worker.process.pid for worker in loader._iterator._workers] == pids


def test_out_of_order_delivery_loses_nothing():
    got = values(DataLoader(Numbers(), 2, num_workers=2, in_order=False))
    assert sorted(got) == values(DataLoader(Numbers(), 2))


def test_large_batches_come_through_shared_memory_and_are_writable():
    (batch,) = DataLoader(Numbers(2, size=50_000), 2, num_workers=1)
    assert batch.shape == (2, 50_000)
    batch += 1
    assert batch.sum().item() == 150_000


def test_shared_memory_is_freed():
    loader = DataLoader(Numbers(4, size=50_000), 2, num_workers=1)
    iterator = iter(loader)
    folder = iterator._workers[0].tasks.folder
    next(iterator)
    del iterator
    gc.collect()
    assert not os.path.exists(folder)


@pytest.mark.skipif(
    "fork" not in __import__("multiprocessing").get_all_start_methods(), reason="no fork"
)
def test_an_abandoned_iterator_ends_its_workers():
    iterator = iter(DataLoader(Numbers(), 2, num_workers=2))
    processes = [worker.process for worker in iterator._workers]
    del iterator
    gc.collect()
    assert not any(process.is_alive() for process in processes)


def fail():
    raise ValueError("bad seven")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def sleep():
    time.sleep(60)


def test_an_exception_comes_with_its_type_and_the_workers_traceback():
    with pytest.raises(ValueError) as error:
        list(DataLoader(Numbers(at_seven=fail), 2, num_workers=2))
    text = str(error.value)
    assert text.startswith("Caught ValueError in DataLoader worker process 1.\nOriginal Traceback")
    assert "in fail" in text and text.rstrip().endswith("ValueError: bad seven")


def test_an_exception_of_a_local_class_comes_as_runtime_error():
    class LocalError(Exception):
        pass

    def raise_local():
        raise LocalError("here")

    with pytest.raises(RuntimeError, match="LocalError: here"):
        list(DataLoader(Numbers(at_seven=raise_local), 2, num_workers=1))


def test_data_that_cannot_be_sent_is_an_error():
    loader = DataLoader(Numbers(), 2, num_workers=1, collate_fn=lambda batch: lambda: batch)
    with pytest.raises(Exception, match="[pP]ickle|local object"):
        next(iter(loader))


def test_the_next_batches_come_after_an_exception():
    iterator = iter(DataLoader(Numbers(at_seven=fail), 2, num_workers=1))
    got = []
    while True:
        try:
            got.append(next(iterator)[0, 0].item())
        except ValueError:
            got.append("error")
        except StopIteration:
            break
    assert got == [0.0, 2.0, 4.0, "error", 8.0, 10.0]


def test_a_killed_worker_is_reported_at_once():
    start = time.monotonic()
    loader = DataLoader(Numbers(at_seven=die), 2, num_workers=2, persistent_workers=True)
    with pytest.raises(
        RuntimeError, match=r"worker \(pid\(s\) \d+\) exited unexpectedly: killed by SIGKILL"
    ):
        list(loader)
    assert time.monotonic() - start < 5
    assert next(iter(loader)).shape == (2, 3)  # new workers


def test_timeout():
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="timed out after 0.3 seconds"):
        list(DataLoader(Numbers(at_seven=sleep), 2, num_workers=1, timeout=0.3))
    assert time.monotonic() - start < 5


def test_worker_init_fn_and_worker_info():
    class Info(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            info = get_worker_info()
            return info.id, info.num_workers, info.seed - danlu.initial_seed()

    def check(worker_id):
        if worker_id == 1:
            raise OSError("no disk")

    assert next(iter(DataLoader(Info(), 1, num_workers=1)))[1].item() == 1
    with pytest.raises(OSError, match="no disk"):
        list(DataLoader(Info(), 1, num_workers=2, worker_init_fn=check))
    assert get_worker_info() is None


def test_spawned_workers():
    loader = DataLoader(Numbers(4), 2, num_workers=1, multiprocessing_context="spawn")
    assert values(loader) == [[0, 1], [2, 3]]


SCRIPT = """
import signal, sys, threading, time, os
import numpy as np
from danlu.utils.data import DataLoader

class Slow:
    def __len__(self): return 100
    def __getitem__(self, index):
        time.sleep(0.05)
        return np.zeros(20000)

if __name__ == "__main__":
    loader = DataLoader(Slow(), 2, num_workers=2, persistent_workers=True)
    iterator = iter(loader)
    next(iterator)
    print(iterator._workers[0].tasks.folder, flush=True)
    {end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [("pass", 0), ("sys.exit(3)", 3), ("signal.raise_signal(signal.SIGINT)", 1)],
    ids=["end", "exit", "ctrl-c"],
)
def test_the_interpreter_ends_with_workers_at_work(end, code, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("{end}", end))
    root = os.path.dirname(os.path.dirname(danlu.__file__))
    done = subprocess.run(
        [sys.executable, str(script)], timeout=20, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode in ((code,) if code != 1 else (1, 130, -signal.SIGINT))
    assert not os.path.exists(done.stdout.strip())
    assert "worker" not in done.stderr.lower().replace("_workers", "").replace("num_workers", "")


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "script.py"
    text = SCRIPT.replace(
        "import numpy",
        "import danlu.utils.data._utils.worker as w; w.PARENT_CHECK = 0.2\nimport numpy",
    )
    end = "print(*[k.process.pid for k in iterator._workers], flush=True); os.kill(os.getpid(), 9)"
    script.write_text(text.replace("{end}", end))
    root = os.path.dirname(os.path.dirname(danlu.__file__))
    done = subprocess.run(
        [sys.executable, str(script)], timeout=20, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    folder, pids = done.stdout.splitlines()
    deadline = time.monotonic() + 10
    while os.path.exists(folder) or any(os.path.exists(f"/proc/{pid}") for pid in pids.split()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_importing_the_pipeline_loads_no_multiprocessing():
    code = (
        "import sys, danlu.utils.data, danlu.optim; "
        "heavy = ('multiprocessing', 'dataclasses', 'scipy', 'pandas'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    root = os.path.dirname(os.path.dirname(danlu.__file__))
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": root},
    ).stdout  # fmt: skip
    assert out.strip() == "[]"


def test_the_folder_of_messages_is_private():
    folder = shared_folder()
    assert os.stat(folder).st_mode & 0o077 == 0
    os.rmdir(folder)
