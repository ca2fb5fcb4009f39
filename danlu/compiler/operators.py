"""Operators on arrays that record: inside `operators_on_traced()` every operator works on them.

A body is NumPy code, and runs on recording arrays as it is wherever that leaves a graph behind. A
body that does not (it asks for memory, or calls a kernel without a graph) becomes one call out, which
runs it on real arrays between the loops; so do derivative rules. What neither can do, since a shape
or a decision depends on values, raises `Unsupported`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np

from danlu.autograd import views
from danlu.backend import conversions
from danlu.compiler.operator_bodies import RECORDED
from danlu.compiler.profiler import unwatched
from danlu.kernels.graph.calls import call_out, effect, varies
from danlu.kernels.graph.nodes import ShapeByValue, Unsupported
from danlu.kernels.graph.traced import Traced
from danlu.kernels.graph.views import positions
from danlu.ops import checks, quick, registry
from danlu.ops.rules import OperatorNode
from danlu.tensor import Tensor

__all__ = ["operators_on_traced", "traced_in"]

# what bodies raise on arrays that record when they have no graph for them
_NO_GRAPH = (Unsupported, TypeError, AttributeError)

_lock = Lock()
_entered = 0
# (the cell of a body, the recording body, the plain one) of the operators listed so far
_places: list[tuple] = []
_listed = 0
_plain_apply = OperatorNode.apply
_plain_accumulate = Tensor._accumulate
_plain_positions = views.positions


@contextmanager
def operators_on_traced() -> Iterator[None]:
    """Operators, their in-place forms and derivatives take Tensors whose arrays record.

    Plain arrays, also of other threads, are computed with as ever, by the operators' NumPy bodies.

    Example:
        >>> import danlu as torch
        >>> import numpy as np
        >>> from danlu.kernels.graph.traced import trace
        >>> from danlu.tensor import wrap
        >>> with operators_on_traced():
        ...     graph, _ = trace(lambda x: torch.tanh(wrap(x))._array, (np.zeros(3),))
        >>> [node.op for node in graph.nodes]
        ['leaf', 'tanh']
    """
    global _entered
    quick.before_backward()  # bodies are replaced once: now, not while ours are in their places
    with _lock:
        if not _entered:
            _install()
        _entered += 1
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            if not _entered:
                _uninstall()


def _install() -> None:
    _list()
    for place, recording, _ in _places:
        place.cell_contents = recording
    registry.watchers.append(_use_recording)  # operators whose modules are loaded meanwhile
    OperatorNode.apply = _apply  # type: ignore[method-assign]
    Tensor._accumulate = _accumulate  # type: ignore[method-assign]
    conversions.as_array, conversions.copied = _as_array, _copied
    checks.recorder = _record_look
    views.positions = _positions


def _uninstall() -> None:
    views.positions = _plain_positions
    checks.recorder = None
    conversions.as_array, conversions.copied = np.asarray, np.array
    OperatorNode.apply = _plain_apply  # type: ignore[method-assign]
    Tensor._accumulate = _plain_accumulate  # type: ignore[method-assign]
    registry.watchers.remove(_use_recording)
    for place, _, plain in _places:
        place.cell_contents = plain
    for op, body in quick.bodies.items():
        for use in op.users:
            use(body)


def _list() -> None:
    """List the operators that were defined since the last time."""
    global _listed
    for op in registry.OPERATORS[_listed:]:
        recording, plain = _recording_body(op), _plain_body(op)
        _places.extend((_cell(use), recording, plain) for use in (*op.users, *op.plain_users))
    _listed = len(registry.OPERATORS)


def _cell(use):
    """Where a setter puts a body: writing there takes half the time of calling it, 0.2 ms of a trace."""
    return dict(zip(use.__code__.co_freevars, use.__closure__))["fn"]


def _use_recording(op) -> None:
    start = len(_places)
    _list()
    for place, recording, _ in _places[start:]:
        place.cell_contents = recording


def _plain_body(op):
    return getattr(op.fn, "ufunc", op.fn)


def _as_array(value, dtype=None):
    if value.__class__ is Traced:
        return value if dtype is None else value.astype(dtype, copy=False)
    return np.asarray(value, dtype)


def _copied(value):
    return value.copy() if value.__class__ is Traced else np.array(value)


def _positions(view, base) -> np.ndarray:
    if view.__class__ is Traced:
        return positions(view, base)
    return _plain_positions(view, base)


def _record_look(look, args, raises) -> bool:
    """Have a look at values called at every run, if it may raise; whether the values are traced."""
    traced = traced_in(args)
    if raises and traced is not None:
        effect(traced.graph, _Look(look), args, (), np.bool_, look.__name__)
    return traced is not None


class _Look:
    """A function that is called for what it raises."""

    __slots__ = ("__name__", "look")

    def __init__(self, look):
        self.__name__, self.look = look.__name__, look

    def __call__(self, *args):
        self.look(*args)
        return np.zeros((), np.bool_)


# ------------------------------------------------------------------------------ bodies
def traced_in(values) -> Traced | None:
    """One of the recording arrays among values, also inside tuples and lists."""
    for each in values:
        kind = each.__class__
        if kind is Traced:
            return each
        if kind is tuple or kind is list:
            found = traced_in(each)
            if found is not None:
                return found
    return None


def _recording_body(op):
    plain = _plain_body(op)
    whole = _Whole(op.name, op.fn)
    recorded = RECORDED.get(op.name, plain)

    def body(*args, **kwargs):
        with unwatched():
            traced = traced_in(args)
            if traced is None:
                return plain(*args, **kwargs)
            try:
                return recorded(*args, **kwargs)
            except ShapeByValue as reason:
                made = call_out(traced.graph, whole, args, kwargs, op.name, is_fresh=True)
                if varies(whole, args, kwargs, made):
                    raise ShapeByValue(f"{op.name}: {reason}") from None
                return made
            except _NO_GRAPH:
                return call_out(traced.graph, whole, args, kwargs, op.name, is_fresh=True)

    return body


class _Whole:
    """A function with all that it does as one call: its results are new arrays."""

    __slots__ = ("__name__", "function")

    of_shapes = True  # the shapes of its results depend on those of its arguments

    def __init__(self, name, function):
        self.__name__, self.function = name, function

    def __call__(self, *args, **kwargs):
        result = self.function(*args, **kwargs)
        if isinstance(result, (tuple, list)):
            return tuple([_own(each, args) for each in result])
        return _own(result, args)


def _own(result, args) -> np.ndarray:
    """A result in memory of its own."""
    array = np.asarray(result)
    if array.base is None and not any(array is each for each in args):
        return array
    return array.copy()


# ------------------------------------------------------------------------------ derivatives
class _Rule:
    """The rule of a plan as one call: the gradients that it gives, empty masks for those that it
    does not."""

    __slots__ = ("__name__", "run")

    of_shapes = True

    def __init__(self, name, run):
        self.__name__, self.run = name, run

    def __call__(self, g, saved):
        return tuple([
            _NO_GRADIENT.copy() if each is None else _own(each, (g, *saved))
            for each in self.run(g, saved)
        ])  # fmt: skip


_NO_GRADIENT = np.empty(0, np.bool_)
_rules: dict = {}


def _apply(node, g):
    with unwatched():
        return _applied(node, g)


def _accumulate(leaf, gradient, owned, hooked=False):
    if leaf._hooks is not None:  # the user's code, which is watched
        return _plain_accumulate(leaf, gradient, owned, hooked)
    with unwatched():
        return _plain_accumulate(leaf, gradient, owned, hooked)


def _applied(node, g):
    try:
        return _plain_apply(node, g)
    except _NO_GRAPH:
        traced = traced_in((g, node.saved))
        if traced is None:
            raise
        rule = _rules.get(node.plan)
        if rule is None:
            rule = _rules[node.plan] = _Rule(node.name(), node.plan.run)
        results = call_out(traced.graph, rule, (g, node.saved), {}, rule.__name__, is_fresh=True)
        results = [None if each.dtype == np.bool_ else each for each in results]
        return results if node.fix is None else node._undo(results)


_list()  # most of them: 0.5 ms that the first trace need not take
