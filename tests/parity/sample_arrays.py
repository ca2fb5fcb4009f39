"""What a sample call of an operator is, and the arrays that samples are made of."""

from __future__ import annotations

import zlib

import numpy as np


class Entry:
    """One operator and how it is called.

    Args:
        name: where it is found below the module ("linalg.inv"); "Tensor.x" is the method x.
        samples: a function from a random generator to a list of calls, each (args, kwargs) or a
            tuple of args.
        differentiable: whether first derivatives are compared; `second` says it of second ones.
        view: results share memory with the first argument, and strides are compared.
        dtypes: which kinds besides float32 are tried: "i" int64, "b" bool, "h" float16 and
            bfloat16, "c" complex64.
        compare: "values", or "shapes" where values may differ by right (the vectors of
            eigenvalues).
    """

    def __init__(
        self, name, samples, *, differentiable=True, second=None, view=False, dtypes="ibhc",
        compare="values", tolerance=1e-5,
    ):  # fmt: skip
        self.name = name
        self.make = samples
        self.differentiable = differentiable
        self.second = differentiable if second is None else second
        self.view = view
        self.dtypes = dtypes
        self.compare = compare
        self.tolerance = tolerance

    def samples(self) -> list:
        """The calls, the same at every run, as (args, kwargs)."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [_arguments(call) for call in self.make(rng)]

    def __repr__(self) -> str:
        return self.name


def _arguments(call):
    args, kwargs = call if len(call) == 2 and isinstance(call[1], dict) else (call, {})
    return tuple(args), kwargs


ENTRIES: list[Entry] = []


def add(names, samples, **options) -> None:
    """Entries for several operators that take the same samples."""
    ENTRIES.extend(Entry(name, samples, **options) for name in names.split())


# ---------------------------------------------------------------- arrays
def real(rng, *shape):
    """Numbers between -2 and 2, none near another or near an integer."""
    count = int(np.prod(shape))
    return (rng.permutation(count) * 4.0 / max(count, 1) - 1.93).reshape(shape)


def positive(rng, *shape):
    return np.asarray(np.abs(real(rng, *shape)) + 0.3)


def within_one(rng, *shape):
    return np.asarray(real(rng, *shape) * 0.45)


def above_one(rng, *shape):
    return np.asarray(positive(rng, *shape) + 1.1)


def probability(rng, *shape):
    return np.asarray(within_one(rng, *shape) / 2 + 0.5)


def whole(rng, *shape, low=-4, high=5):
    return np.asarray(rng.integers(low, high, shape))


def mask(rng, *shape):
    return np.asarray(rng.integers(0, 2, shape)).astype(np.bool_)


def regular(rng, *shape):
    """Square matrices far from singular."""
    return real(rng, *shape) + 3 * np.eye(shape[-1])


def symmetric(rng, *shape):
    x = real(rng, *shape)
    return x + x.swapaxes(-1, -2) + np.diag(np.arange(shape[-1]) * 3.0)


def positive_definite(rng, *shape):
    x = real(rng, *shape)
    return x @ x.swapaxes(-1, -2) + 2 * np.eye(shape[-1])
