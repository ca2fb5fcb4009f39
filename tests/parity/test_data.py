"""Batches, their order and the state of the generator equal torch's, with and without workers."""

import collections
import itertools
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.utils.data as torch_data  # noqa: E402

import danlu  # noqa: E402
import danlu.utils.data as danlu_data  # noqa: E402

SIDES = ((torch, torch_data), (danlu, danlu_data))
X = np.random.RandomState(0).rand(37, 2).astype(np.float32)
Y = np.arange(37)

LOADERS = {
    "in order": lambda m, d, s: d.DataLoader(s, 5),
    "shuffled": lambda m, d, s: d.DataLoader(s, 5, shuffle=True),
    "drop_last": lambda m, d, s: d.DataLoader(s, 5, shuffle=True, drop_last=True),
    "generator": lambda m, d, s: d.DataLoader(s, 5, True, generator=m.Generator().manual_seed(5)),
    "default generator, whole": lambda m, d, s: d.DataLoader(
        s, 37, True, generator=m.default_generator
    ),
    "workers": lambda m, d, s: d.DataLoader(s, 5, True, num_workers=2),
    "workers, generator": lambda m, d, s: d.DataLoader(
        s, 5, True, num_workers=2, generator=m.default_generator
    ),
    "workers stay": lambda m, d, s: d.DataLoader(
        s, 5, True, num_workers=2, persistent_workers=True
    ),
    "replacement": lambda m, d, s: d.DataLoader(
        s, 5, sampler=d.RandomSampler(s, True, 70, generator=m.default_generator)
    ),
    "replacement, worker": lambda m, d, s: d.DataLoader(
        s, 5, num_workers=1, sampler=d.RandomSampler(s, True, 70, m.default_generator)
    ),
    "more than there are": lambda m, d, s: d.DataLoader(
        s, 5, sampler=d.RandomSampler(s, num_samples=90)
    ),
    "random_split": lambda m, d, s: d.DataLoader(d.random_split(s, [0.6, 0.4])[1], 4, True),
    "subset": lambda m, d, s: d.DataLoader(
        s, 4, sampler=d.SubsetRandomSampler(range(3, 20))
    ),
    "weights": lambda m, d, s: d.DataLoader(
        s, 4, sampler=d.WeightedRandomSampler(np.arange(1, 38) / 7, 25)
    ),
    "weights without replacement": lambda m, d, s: d.DataLoader(
        s, 4, sampler=d.WeightedRandomSampler(np.arange(1, 38) / 7, 25, replacement=False)
    ),
    "own batches": lambda m, d, s: d.DataLoader(s, batch_sampler=[[3, 1], [2, -1, 5]]),
    "own sampler": lambda m, d, s: d.DataLoader(s, 4, sampler=range(30, 3, -2)),
    "samples": lambda m, d, s: d.DataLoader(s, None, shuffle=True),
    "distributed": lambda m, d, s: d.DataLoader(s, 4, sampler=d.DistributedSampler(s, 3, 1)),
    "distributed, drop_last": lambda m, d, s: d.DataLoader(
        s, 4, sampler=d.DistributedSampler(s, 5, 4, seed=3, drop_last=True)
    ),
    "concatenated": lambda m, d, s: d.DataLoader(s + s, 6, shuffle=True),
    "stacked": lambda m, d, s: d.DataLoader(d.StackDataset(s, s), 6, shuffle=True),
    "own collate": lambda m, d, s: d.DataLoader(
        s, 6, shuffle=True, collate_fn=lambda batch: [row[0] for row in batch]
    ),
}  # fmt: skip


def flat(data):
    """The arrays of a batch, in order."""
    if isinstance(data, (list, tuple)):
        return [array for item in data for array in flat(item)]
    return [np.asarray(data.numpy())]


def draw(module):
    return module.randint(0, 2**40, (1,)).item()


def epochs(module, data, make, part):
    module.manual_seed(3)
    loader = make(module, data, data.TensorDataset(module.tensor(X), module.tensor(Y)))
    for _ in range(2):
        for batch in itertools.islice(loader, part):
            yield flat(batch)
        yield draw(module)


def assert_equal(expected, got):
    expected, got = list(expected), list(got)
    assert len(expected) == len(got)
    for one, other in zip(expected, got):
        if isinstance(one, list):
            assert [a.dtype for a in one] == [b.dtype for b in other]
            assert all(np.array_equal(a, b) for a, b in zip(one, other))
            assert len(one) == len(other)
        else:
            assert one == other


@pytest.mark.parametrize("part", [None, 2], ids=["whole", "part"])
@pytest.mark.parametrize("name", LOADERS)
def test_same_batches_and_same_state_of_the_generator(name, part):
    assert_equal(*[epochs(module, data, LOADERS[name], part) for module, data in SIDES])


def test_iterators_that_are_begun_and_not_used_draw_as_torchs_do():
    states = []
    for module, data in SIDES:
        module.manual_seed(0)
        loader = data.DataLoader(data.TensorDataset(module.arange(10)), 3, shuffle=True)
        iter(loader)
        iterator = iter(loader)
        states.append([next(iterator)[0].tolist(), draw(module), next(iter(loader))[0].tolist()])
    assert states[0] == states[1]


class TorchNoise:
    """A sample with numbers from all three generators."""

    module = torch

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return index, self.module.rand(2), random.random(), np.random.rand()


class DanluNoise(TorchNoise):
    module = danlu


def test_workers_are_seeded_as_torchs():
    runs = []
    for (module, data), noise in zip(SIDES, (TorchNoise, DanluNoise)):
        module.manual_seed(7)
        loader = data.DataLoader(noise(), 2, shuffle=True, num_workers=2)
        runs.append([flat(batch) for batch in loader] + [draw(module)])
    assert_equal(*runs)


def counter(data, n):
    class Counter(data.IterableDataset):
        def __iter__(self):
            info = data.get_worker_info()
            return iter(range(n) if info is None else range(info.id, n, info.num_workers))

    return Counter()


@pytest.mark.parametrize(
    ("workers", "batch", "drop"), [(0, 4, False), (2, 4, False), (2, 4, True), (2, None, False)]
)
def test_iterable_datasets(workers, batch, drop):
    runs = [
        [
            np.asarray(b).tolist()
            for b in data.DataLoader(counter(data, 23), batch, num_workers=workers, drop_last=drop)
        ]
        for _, data in SIDES
    ]
    assert runs[0] == runs[1]


Point = collections.namedtuple("Point", "x y")

BATCHES = {
    "tensors": lambda m: [m.ones(2), m.zeros(2)],
    "dtypes": lambda m: [m.ones(2), m.zeros(2, dtype=m.float64)],
    "numbers": lambda m: [1, 2],
    "floats": lambda m: [1.5, 2.0],
    "bools": lambda m: [True, False],
    "text": lambda m: ["a", "b"],
    "bytes": lambda m: [b"a", b"b"],
    "arrays": lambda m: [np.ones(2), np.zeros(2)],
    "array numbers": lambda m: [np.float32(1), np.float32(2)],
    "tuples": lambda m: [(m.ones(1), 1), (m.zeros(1), 2)],
    "lists": lambda m: [[1, 2.0], [3, 4.0]],
    "dicts": lambda m: [{"a": 1, "b": [m.ones(1)]}, {"a": 2, "b": [m.zeros(1)]}],
    "ordered": lambda m: [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    "named": lambda m: [Point(1, 2.0), Point(3, 4.0)],
    "requires_grad": lambda m: [m.ones(1, requires_grad=True), m.ones(1)],
}  # fmt: skip


def described(data):
    if isinstance(data, dict):
        return type(data).__name__, {key: described(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data).__name__, [described(item) for item in data]
    if hasattr(data, "dtype") and hasattr(data, "requires_grad"):
        return str(data.dtype), data.tolist(), data.requires_grad
    return data if not isinstance(data, (np.ndarray, np.generic)) else ("numpy", data.tolist())


@pytest.mark.parametrize("name", BATCHES)
def test_collate_and_convert(name):
    make = BATCHES[name]
    for function in ("default_collate", "default_convert"):
        expected, got = (described(getattr(d, function)(make(m))) for m, d in SIDES)
        assert got == expected


BAD_BATCHES = {
    "shapes": lambda m: [m.ones(2), m.ones(3)],
    "lengths": lambda m: [[1, 2], [1]],
    "objects": lambda m: [object(), object()],
    "None": lambda m: [None],
    "text arrays": lambda m: [np.array(["a"])],
}


@pytest.mark.parametrize("name", BAD_BATCHES)
def test_batches_that_cannot_be(name):
    with pytest.raises(Exception) as expected:
        torch_data.default_collate(BAD_BATCHES[name](torch))
    with pytest.raises(type(expected.value)) as got:
        danlu_data.default_collate(BAD_BATCHES[name](danlu))
    assert str(got.value).startswith(str(expected.value)[:60])


ROWS = [1, 2, 3]
MISTAKES = {
    "workers": lambda d: d.DataLoader(ROWS, num_workers=-1),
    "timeout": lambda d: d.DataLoader(ROWS, timeout=-1),
    "prefetch": lambda d: d.DataLoader(ROWS, prefetch_factor=2),
    "prefetch < 0": lambda d: d.DataLoader(ROWS, num_workers=1, prefetch_factor=-2),
    "persistent": lambda d: d.DataLoader(ROWS, persistent_workers=True),
    "sampler and shuffle": lambda d: d.DataLoader(ROWS, sampler=[0], shuffle=True),
    "batch_sampler": lambda d: d.DataLoader(ROWS, 2, batch_sampler=[[0]]),
    "no batches": lambda d: d.DataLoader(ROWS, None, drop_last=True),
    "batch_size": lambda d: d.DataLoader(ROWS, 0),
    "batch_size type": lambda d: d.DataLoader(ROWS, 2.0),
    "empty": lambda d: d.DataLoader([], shuffle=True),
    "iterable, shuffle": lambda d: d.DataLoader(counter(d, 3), shuffle=True),
    "iterable, sampler": lambda d: d.DataLoader(counter(d, 3), sampler=[0]),
    "context": lambda d: d.DataLoader(ROWS, multiprocessing_context="fork"),
    "context name": lambda d: d.DataLoader(ROWS, num_workers=1, multiprocessing_context="spoon"),
    "context type": lambda d: d.DataLoader(ROWS, num_workers=1, multiprocessing_context=3),
    "set later": lambda d: setattr(d.DataLoader(ROWS), "batch_size", 3),
    "replacement": lambda d: d.RandomSampler(ROWS, replacement=1),
    "num_samples": lambda d: d.RandomSampler(ROWS, num_samples=0),
    "weights": lambda d: d.WeightedRandomSampler([[1.0]], 3),
    "weighted num_samples": lambda d: d.WeightedRandomSampler([1.0], 0),
    "drop_last": lambda d: d.BatchSampler(ROWS, 2, 1),
    "rank": lambda d: d.DistributedSampler(ROWS, 2, 2),
    "split": lambda d: d.random_split(ROWS, [1, 1]),
    "fractions": lambda d: d.random_split(ROWS, [1.5, -0.5]),
    "concat of none": lambda d: d.ConcatDataset([]),
    "concat of iterables": lambda d: d.ConcatDataset([counter(d, 3)]),
    "concat index": lambda d: d.ConcatDataset([ROWS])[-4],
    "chain of lists": lambda d: list(d.ChainDataset([ROWS])),
    "stack of none": lambda d: d.StackDataset(),
    "stack lengths": lambda d: d.StackDataset(ROWS, ROWS[1:]),
    "stack of both": lambda d: d.StackDataset(ROWS, a=ROWS),
    "no __getitem__": lambda d: d.Dataset()[0],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_raise_what_torch_raises(name):
    with pytest.raises(Exception) as expected:
        MISTAKES[name](torch_data)
    with pytest.raises(type(expected.value)) as got:
        MISTAKES[name](danlu_data)
    words = str(expected.value).replace("`", "")[:27]
    assert str(got.value).replace("`", "").startswith(words)


def test_lengths():
    for drop, batch, n in itertools.product((False, True), (1, 3, 10), (1, 9, 10)):
        lengths = [
            len(d.DataLoader(d.TensorDataset(m.zeros(n)), batch, drop_last=drop)) for m, d in SIDES
        ]
        assert lengths[0] == lengths[1]
