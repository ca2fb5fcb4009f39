"""What a trace does to tensors, kept away from the tensors themselves.

While an overlay is installed, the slots of `Tensor` are properties. In the tracing thread they show
every tensor from outside with a recording array in place of its own, and keep what the traced code
changes about it; other threads, and the tensors themselves, see nothing of it. Tensors that the trace
makes hold recording arrays from the start, by which they are told from those outside.
"""

from __future__ import annotations

from threading import Lock, local
from typing import Any

import numpy as np

from danlu.compiler.profiler import unwatched
from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.graph.traced import Traced, lift
from danlu.tensor import Tensor

__all__ = ["NotReady", "Outside", "Overlay", "current", "is_inside", "real"]

_SLOTS = ("_array", "_edge", "_generation", "_grad", "_hooks", "_requires_grad", "_view", "_writes")
_descriptors = {name: Tensor.__dict__[name] for name in _SLOTS}
_array_of = _descriptors["_array"].__get__
_set_array = _descriptors["_array"].__set__
_installed = Lock()
_active: Overlay | None = None  # in whatever thread


class NotReady(Exception):
    """A first call is to be made without a trace: in it an optimizer begins its state, or a lazy
    module gets its parameters."""


class _Here(local):
    """The overlay of a trace that runs in this thread. Unlike `get_ident()`, looking here is no event
    to a profiler, of which a trace has one."""

    overlay: Overlay | None = None


_here = _Here()


class Outside:
    """A tensor that was there before the trace, as the trace has seen it.

    Attributes:
        tensor: itself.
        array: its memory when the trace began, its recording stand-in once it was looked at.
        traced: the latter, or None.
        changed: slot -> what the trace has put there.
        path: the Python expression that finds the tensor at run time; None for one that is the same
            at every call.
        grad_seen: whether the trace has asked for the gradient it came with.
    """

    __slots__ = ("array", "changed", "grad_seen", "path", "tensor", "traced")

    def __init__(self, tensor: Tensor, array: np.ndarray, path: str | None):
        self.tensor, self.array, self.path = tensor, array, path
        self.traced: Traced | None = None
        self.changed: dict[str, Any] = {}
        self.grad_seen = False


class Overlay:
    """The tensors that a trace touches.

    Args:
        graph: where the trace records.
        names: what generated code calls objects.
        leaf: called with an `Outside` when its values are first asked for; gives its `Traced`.
        closed: tells whether nothing from outside may be looked at any more; `leaf` then says why.
    """

    def __init__(self, graph, names, leaf, closed):
        self.graph, self._names, self._leaf, self.closed = graph, names, leaf, closed
        self.outside: dict[int, Outside] = {}
        # id of a version list -> (the list, what the trace counts instead)
        self.versions: dict[int, tuple[list, list]] = {}

    def __enter__(self) -> Overlay:
        global _active
        if _here.overlay is not None:
            raise Unsupported("a trace within a trace")
        _installed.acquire()
        _active = _here.overlay = self
        for name, (get, put) in _properties.items():
            setattr(Tensor, name, property(get, put))
        return self

    def __exit__(self, *exception) -> None:
        global _active
        for name, descriptor in _descriptors.items():
            setattr(Tensor, name, descriptor)
        _active = _here.overlay = None
        _installed.release()

    # ------------------------------------------------------------------ tensors from outside
    def of(self, tensor: Tensor, path: str | None = None) -> Outside:
        """What is known of a tensor from outside."""
        found = self.outside.get(id(tensor))
        if found is None:
            found = self.outside[id(tensor)] = Outside(tensor, _array_of(tensor), path)
        return found

    def array(self, tensor: Tensor) -> Traced:
        known = self.of(tensor)
        if known.traced is None or self.closed():
            with unwatched():
                known.traced = self._leaf(known)
        return known.traced

    def lifted(self, array) -> Traced:
        """The array of a tensor that the trace makes."""
        if array.__class__ is Traced:
            return array
        if array.dtype.hasobject:
            raise Unsupported("an array of Python objects")
        return lift(self.graph, array)

    def slot(self, name: str, tensor: Tensor):
        """A slot of a tensor from outside, other than its array."""
        known = self.of(tensor)
        if name in known.changed:
            return known.changed[name]
        value = _descriptors[name].__get__(tensor)
        if name == "_writes":
            versions = self.versions.get(id(value))
            if versions is None:
                versions = self.versions[id(value)] = value, list(value)
            return versions[1]
        if name == "_grad":
            known.grad_seen = True
            if value is not None and id(value) not in self.outside:
                where = known.path or self.name(tensor)
                self.of(value, f"{where}._grad")
        elif name in ("_edge", "_view"):
            return None  # where the trace's graph ends: outside tensors are leaves to it
        return value

    def name(self, tensor: Tensor) -> str:
        """How generated code refers to a tensor that is the same at every call."""
        return self._names.of(tensor, "t")

    def change(self, name: str, tensor: Tensor, value) -> None:
        known = self.of(tensor)
        if name == "_grad":
            known.changed[name] = value
        elif name == "_array":
            raise Unsupported("a tensor from outside gets other memory (x.data = ..., out=)")
        elif value is not self.slot(name, tensor):
            known.changed[name] = value


def current() -> Overlay | None:
    """The overlay of a trace that runs in this thread."""
    return _here.overlay


def real(name: str, tensor: Tensor):
    """A slot as it is, whatever a trace shows."""
    return _descriptors[name].__get__(tensor)


def is_inside(tensor: Tensor) -> bool:
    """Whether a trace made this tensor."""
    return _array_of(tensor).__class__ is Traced


def _get_array(tensor):
    array, overlay = _array_of(tensor), _here.overlay
    if array.__class__ is Traced or overlay is None:
        return array
    return overlay.array(tensor)


def _put_array(tensor, value):
    overlay = _here.overlay
    if overlay is None:
        _set_array(tensor, value)
        return
    try:
        before = _array_of(tensor)
    except AttributeError:  # a new tensor
        before = None
    if before is None or before.__class__ is Traced:
        _set_array(tensor, overlay.lifted(value))
    else:
        overlay.change("_array", tensor, value)


def _accessors(name):
    descriptor = _descriptors[name]
    get_plain, put_plain = descriptor.__get__, descriptor.__set__

    # the same question in both, as a function that answers it would be two events to a profiler
    def get(tensor):
        overlay = _here.overlay
        try:
            plain = overlay is None or _array_of(tensor).__class__ is Traced
        except AttributeError:  # it has no memory yet
            raise NotReady(f"an {type(tensor).__name__}") from None
        if plain:
            return get_plain(tensor)
        return overlay.slot(name, tensor)

    def put(tensor, value):
        overlay = _here.overlay
        try:
            plain = overlay is None or _array_of(tensor).__class__ is Traced
        except AttributeError:  # it has no memory yet
            raise NotReady(f"an {type(tensor).__name__}") from None
        if plain:
            put_plain(tensor, value)
        else:
            overlay.change(name, tensor, value)

    return get, put


_properties = {name: _accessors(name) for name in _SLOTS if name != "_array"}
_properties["_array"] = _get_array, _put_array
