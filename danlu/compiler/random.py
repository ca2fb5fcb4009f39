"""Random numbers in a trace: a draw becomes a call that every run of the graph makes, on the same
generator and in the same order, so that a seed gives the numbers that it gives without a trace.

The functions of `danlu.backend.random` are the places where all draws pass. While a trace runs they
record in its thread and draw in others; of functions that decide by values how much they draw, the
whole is recorded.
"""

from __future__ import annotations

import pickle
import random as standard_library
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from math import prod
from threading import Lock, local

import numpy as np
import numpy.random

from danlu.autograd.grad_mode import state
from danlu.backend import dtypes
from danlu.backend import random as draws
from danlu.backend.generator import STATE_BYTES, Generator, default_generator
from danlu.backend.layout import contiguous_format
from danlu.compiler.strides import stand_in
from danlu.kernels import random as machine
from danlu.kernels.graph.calls import effect
from danlu.kernels.graph.nodes import Graph, Unsupported
from danlu.kernels.graph.traced import Traced
from danlu.nn._functional import activation
from danlu.ops import dropout, random_fill, random_inplace, random_operators
from danlu.ops import random as random_functions
from danlu.tensor import check_writable

__all__ = ["Stream", "generators_of", "random_on_traced"]

_INT64, _UINT8 = np.dtype(np.int64), np.dtype(np.uint8)


class Stream:
    """The random numbers of one trace.

    Attributes:
        graph: where the draws are recorded.
        strides: node -> how its values would lie in memory.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.strides: dict = {}
        self._before: dict[int, tuple[Generator, tuple]] = {}
        self._watch(default_generator)
        self._elsewhere = _other_streams()

    def drawn_unseen(self) -> bool:
        """Whether something was drawn since the trace began that is not in the graph, also by
        `random` or `numpy.random`."""
        return self._elsewhere != _other_streams() or any(
            generator.position() != before for generator, before in self._before.values()
        )

    def record(self, function, shape, dtype, *args) -> Traced | np.ndarray:
        """A call that draws, with a Generator among its arguments; its result is a new array."""
        for each in args:
            if isinstance(each, Generator):
                self._watch(each)
            elif isinstance(each, float) and type(each) is not float:
                raise Unsupported("a random draw whose distribution changes between the calls")
        return effect(self.graph, function, args, shape, dtype)

    def stand_in(self, array) -> np.ndarray:
        """What is known of an array without its values."""
        return stand_in(array, self.strides)

    def _watch(self, generator) -> None:
        if id(generator) not in self._before:
            self._before[id(generator)] = generator, generator.position()


def _other_streams() -> tuple:
    """The states of Python's and NumPy's global generators."""
    return standard_library.getstate(), pickle.dumps(numpy.random.get_state(legacy=False))


def generators_of(graph: Graph) -> list[Generator]:
    """The generators that a graph's calls draw from: what to set back where a run is undone."""
    found: dict[int, Generator] = {}
    for call in graph.externs:
        if call.effect:
            found.update((id(each), each) for each in call.args if isinstance(each, Generator))
    return list(found.values())


# ------------------------------------------------------------------------------ in a trace
class _Current(local):
    """The trace that runs in a thread."""

    stream: Stream | None = None


_current = _Current()
_lock = Lock()
_entered = 0


@contextmanager
def random_on_traced(graph: Graph) -> Iterator[Stream]:
    """Let random functions of this thread record their draws in a graph.

    Gives the trace's `Stream`.

    Example:
        >>> import danlu as torch
        >>> from danlu.compiler.random import random_on_traced
        >>> from danlu.kernels.graph.nodes import Graph
        >>> graph = Graph()
        >>> with random_on_traced(graph) as stream:
        ...     array = torch.rand(2, 3)._array
        >>> array.node, stream.drawn_unseen()
        (%0 = extern() 0: float32[2, 3], False)
    """
    global _entered
    if _current.stream is not None:
        raise Unsupported("a trace within a trace")
    stream = Stream(graph)
    with _lock:
        _entered += 1
        if _entered == 1:
            for (owner, name), (_, replacement) in _replaced.items():
                setattr(owner, name, replacement)
    _current.stream = stream
    try:
        yield stream
    finally:
        _current.stream = None
        with _lock:
            _entered -= 1
            if not _entered:
                for (owner, name), (original, _) in _replaced.items():
                    setattr(owner, name, original)


# (module or class, name) -> what is there, and what stands there while traces run
_replaced: dict[tuple, tuple] = {}


def _while_tracing(owner, name: str):
    """Put a function in the place of another in traces: `recorded(stream, original, *args)`."""
    original = getattr(owner, name)

    def install(recorded):
        @wraps(original)
        def replacement(*args, **kwargs):
            stream = _current.stream
            if stream is None:
                return original(*args, **kwargs)
            return recorded(stream, original, *args, **kwargs)

        _replaced[owner, name] = original, replacement
        return recorded

    return install


# ------------------------------------------------------------------------------ draws
def _draw(stream, original, generator, shape, dtype, *args):
    shape = tuple(shape)
    if not prod(shape):
        return np.empty(shape, dtype)
    return stream.record(original, shape, dtype, generator, shape, dtype, *args)


for _name in (
    "bernoulli", "cauchy", "exponential", "geometric", "integers", "integers_below_limit",
    "integers_of_64_bits", "log_normal", "normal", "uniform",
):  # fmt: skip
    _while_tracing(draws, _name)(_draw)


@_while_tracing(draws, "randperm")
def _randperm(stream, original, generator, n):
    return stream.record(original, (n,), _INT64, generator, n) if n > 1 else np.arange(n)


@_while_tracing(random_fill, "_ones_of_probabilities")
def _ones_of_probabilities(stream, original, array, p, generator):
    return stream.record(original, array.shape, array.dtype, stream.stand_in(array), p, generator)


@_while_tracing(random_operators, "_counts")
def _counts(stream, original, rates, generator):
    return stream.record(original, rates.shape, rates.dtype, rates, generator)


@_while_tracing(random_operators, "_chosen")
def _chosen(stream, original, weights, samples, replacement, generator):
    shape = (*weights.shape[:-1], samples)
    return stream.record(original, shape, _INT64, weights, samples, replacement, generator)


@_while_tracing(activation, "_random_slopes")
def _random_slopes(stream, original, array, lower, upper, generator):
    return stream.record(original, array.shape, array.dtype, array, lower, upper, generator)


# ------------------------------------------------------------------------------ targets
def _laid(target, values):
    """Values in the order of their drawing as an array that lies like the target."""
    if target.flags.c_contiguous:
        return values
    axes = draws.memory_axes(target)
    return values.reshape(tuple(target.shape[axis] for axis in axes)).transpose(
        tuple(np.argsort(axes).tolist())
    )


@_while_tracing(draws, "fill")
def _fill(stream, original, array, values):
    if not isinstance(array, Traced) and not isinstance(values, Traced):
        original(array, values)
        return
    array[...] = _laid(stream.stand_in(array), values)


@_while_tracing(random_inplace, "_overwrite")
def _overwrite(stream, original, tensor, draw, *args):
    array = tensor._array
    if state.grad:
        check_writable(tensor)
    target = stream.stand_in(array)
    if any(step == 0 and size > 1 for step, size in zip(target.strides, target.shape, strict=True)):
        raise Unsupported("random numbers for a tensor whose elements share memory")
    values = _laid(target, draw(target, *args))
    if state.grad and tensor.requires_grad:
        random_inplace._overwritten.inplace(tensor, values)
    else:
        array[...] = values
        tensor._writes[0] += 1
    return tensor


@_while_tracing(random_functions, "_like")
def _like(
    stream, original, function, fill, args, input, dtype, device, requires_grad, memory_format
):  # fmt: skip
    array = stream.stand_in(input._array)
    in_rows = memory_format is contiguous_format or 0 in array.strides
    kind = array.dtype if dtype is None else dtypes.numpy_dtype(dtype)
    target = np.empty_like(array, kind, order="C" if in_rows else "K")
    return random_functions.finish(_laid(target, fill(target, *args)), requires_grad, device)


@_while_tracing(dropout, "keep_mask")
def _keep_mask(stream, original, array, p, shape=None):
    if shape is not None:
        return original(array, p, shape)
    target = np.empty_like(stream.stand_in(array))
    return _laid(target, draws.bernoulli(default_generator, array.shape, array.dtype, 1 - p))


@_while_tracing(machine, "dropout")
def _product_and_noise(stream, original, generator, array, p):
    return None  # the graph multiplies


# ------------------------------------------------------------------------------ generators
def _set_state(generator: Generator, state_bytes: np.ndarray) -> np.ndarray:
    generator.set_state_bytes(state_bytes)
    return np.zeros(1, _UINT8)  # a call returns an array


def _set_seed(generator: Generator, seed: int) -> np.ndarray:
    generator.manual_seed(seed)
    return np.zeros(1, _UINT8)


@_while_tracing(Generator, "state_bytes")
def _state_bytes(stream, original, generator):
    return stream.record(original, (STATE_BYTES,), _UINT8, generator)


@_while_tracing(Generator, "set_state_bytes")
def _set_state_bytes(stream, original, generator, state_bytes):
    stream.record(_set_state, (1,), _UINT8, generator, state_bytes)


@_while_tracing(Generator, "manual_seed")
def _manual_seed(stream, original, generator, seed):
    if type(seed) is not int or not -(2**63) <= seed < 2**64:
        return original(generator, seed)  # which refuses it
    stream.record(_set_seed, (1,), _UINT8, generator, seed)
    return generator


def _refuse(stream, original, *args):
    raise Unsupported(f"{original.__qualname__}, whose result is used outside of the graph")


for _name in ("clone_state", "initial_seed", "random64", "seed"):
    _while_tracing(Generator, _name)(_refuse)
# reached by draws that did not pass the functions above, such as those of samplers
for _name in ("integers", "normal", "ones", "permutation", "uniform"):
    _while_tracing(machine, _name)(_refuse)
