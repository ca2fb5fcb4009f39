"""Places in which Python keeps a value: compared, restored, and guarded by an expression."""

from __future__ import annotations

import math
from collections import deque
from operator import is_
from types import CellType, MemberDescriptorType
from typing import Any, NamedTuple

import numpy as np

from danlu.compiler.overlay import real
from danlu.nn.modules._hooks import HookTable, ModuleHooks
from danlu.nn.modules._members import epoch
from danlu.tensor import Tensor

__all__ = [
    "ABSENT", "HOOK_TABLES", "MOST_ELEMENTS", "PRIMITIVES", "Attribute", "CacheSize", "ClassEntry",
    "Contents", "Enclosed", "Entries", "Imported", "ModuleState", "Place", "TensorFlag", "Variable",
    "own_attribute", "same",
]  # fmt: skip

MOST_ELEMENTS = 1000  # of one container that is compared element by element

ABSENT = object()
_EQUAL_BY_VALUE = frozenset((int, str, bytes, bool, range, slice))
PRIMITIVES = frozenset(
    (*_EQUAL_BY_VALUE, float, complex, type(None), type(Ellipsis), type(NotImplemented))
)
HOOK_TABLES = frozenset(name for name, t in vars(ModuleHooks).items() if isinstance(t, HookTable))


def same(value, known) -> bool:
    """Whether a value cannot be told from the one that a trace has seen.

    Objects are the same by identity, numbers and text by type and value (0.0 is not -0.0, and nan
    is nan), tuples by their elements.
    """
    if value is known:
        return True
    kind = type(known)
    if type(value) is not kind:
        return False
    if kind is float:
        return (value == known and math.copysign(1, value) == math.copysign(1, known)) or (
            value != value and known != known
        )
    if kind is complex:
        return same(value.real, known.real) and same(value.imag, known.imag)
    if isinstance(known, tuple):
        return len(value) == len(known) and all(map(same, value, known))
    if kind is frozenset:
        return value == known and {*map(type, value)} == {*map(type, known)}
    if kind is np.ndarray:
        return (
            value.dtype == known.dtype
            and value.shape == known.shape
            and value.tobytes() == known.tobytes()
        )
    if isinstance(known, np.generic):
        return value.tobytes() == known.tobytes()
    return (kind in _EQUAL_BY_VALUE or isinstance(known, np.dtype)) and value == known


def contents_of(container):
    """What a container holds, as something that `same` compares and nobody changes."""
    if isinstance(container, dict):
        return tuple(container), tuple(container.values())
    if isinstance(container, set):
        return frozenset(container)
    if isinstance(container, bytearray):
        return bytes(container)
    if isinstance(container, np.ndarray):
        return np.array(container)
    return tuple(container)


def refill(container, contents) -> None:
    """Let a container hold what `contents_of` has found in it."""
    if isinstance(container, dict):
        # not through methods of its own: those of a module's tables write elsewhere too
        dict.clear(container)
        dict.update(container, zip(*contents))
    elif isinstance(container, (set, deque)):
        container.clear()
        (container.update if isinstance(container, set) else container.extend)(contents)
    elif isinstance(container, np.ndarray):
        container[...] = contents
    else:
        container[:] = contents


def same_items(items, known) -> bool:
    """Whether a list or dictionary still yields these elements.

    Without one that was replaced by its equal this takes 0.2 microseconds for ten elements.
    """
    return len(items) == len(known) and (
        all(map(is_, items, known)) or all(map(same, items, known))
    )


# ---------------------------------------------------------------------- places
class Place:
    """Where Python keeps a value: a variable, an attribute, the contents of a container.

    Attributes:
        holder, key: the place.
        value: what it held when the call began; `ABSENT` for nothing.
        kind, label: how the bytecode that writes there calls it: see `Names.stored`.
        guarded: whether later calls depend on it.
    """

    __slots__ = ("guarded", "holder", "key", "label", "value")
    kind = ""
    noun = ""

    def __init__(self, holder, key, label: str | None, guarded: bool = True):
        self.holder, self.key, self.label, self.guarded = holder, key, label, guarded
        self.value = self.read()

    def read(self) -> Any:
        raise NotImplementedError

    def restore(self) -> None:
        raise NotImplementedError

    def expression(self, name) -> str:
        """The condition that the value is the same; `name(x)` is the name of an object in it."""
        return self._condition(self.source(name(self.holder)), name)

    def source(self, holder: str) -> str:
        raise NotImplementedError

    def _condition(self, source: str, name) -> str:
        value = self.value
        if value is None or value is True or value is False:
            return f"{source} is {value}"
        if _is_compared_by_value(value):
            # most often the very same object: 25 ns less than a look at its type and value
            return f"({source} is {name(value)} or {name(same)}({source}, {name(value)}))"
        return f"{source} is {name(value)}"

    def changed(self) -> bool:
        return not same(self.read(), self.value)

    def __str__(self) -> str:
        return f"{self.noun} {self.label}" if self.label else self.noun


class Variable(Place):
    """A global variable."""

    __slots__ = ()
    kind, noun = "global", "the global variable"

    def read(self):
        return self.holder.get(self.key, ABSENT)

    def restore(self):
        if self.value is ABSENT:
            self.holder.pop(self.key, None)
        else:
            self.holder[self.key] = self.value

    def expression(self, name):
        if self.value is ABSENT:
            return f"{self.key!r} not in {name(self.holder)}"
        return super().expression(name)

    def source(self, holder):
        return f"{holder}[{self.key!r}]"


class ClassEntry(Variable):
    """A method or constant in the body of a class; the holder is the class."""

    __slots__ = ()
    kind, noun = "attribute", "the class attribute"

    def read(self):
        return vars(self.holder).get(self.key, ABSENT)

    def restore(self):
        if self.value is ABSENT:
            delattr(self.holder, self.key)
        else:
            setattr(self.holder, self.key, self.value)

    def expression(self, name):
        entries = name(vars(self.holder))
        if self.value is ABSENT:
            return f"{self.key!r} not in {entries}"
        return self._condition(self.source(entries), name)


class Imported(Variable):
    """A module that the code imports where it runs."""

    __slots__ = ()
    noun = "the module"


class TensorFlag(Place):
    """Whether a tensor from outside asks for gradients."""

    __slots__ = ()
    kind, noun = "attribute", "the attribute"

    def read(self):
        return real(self.key, self.holder)

    def changed(self):
        return False  # tensors look after themselves in a trace

    def source(self, holder):
        return f"{holder}.{self.key}"


class Entries(Place):
    """How many entries a dictionary has whose values are nobody's business."""

    __slots__ = ()
    kind, noun = "contents", "the number of entries of"

    def read(self):
        return len(self.holder)

    def changed(self):
        return False  # whoever owns it looks after it in a trace

    def source(self, holder):
        return f"len({holder})"


class Enclosed(Place):
    """A variable of an enclosing function, in its cell."""

    __slots__ = ()
    kind, noun = "variable", "the variable"

    def read(self):
        try:
            return self.holder.cell_contents
        except ValueError:
            return ABSENT

    def restore(self):
        if self.value is ABSENT:
            del self.holder.cell_contents
        else:
            self.holder.cell_contents = self.value

    def source(self, holder):
        return f"{holder}.cell_contents"

    def expression(self, name):
        if self.value is ABSENT:
            return f"{name(self.holder)} == {name(CellType())}"
        return super().expression(name)


class Attribute(Place):
    """An attribute of an instance or module, in its dictionary or in a slot."""

    __slots__ = ()
    kind, noun = "attribute", "the attribute"

    def read(self):
        return own_attribute(self.holder, self.key)

    def restore(self):
        if self.value is not ABSENT:
            object.__setattr__(self.holder, self.key, self.value)
        elif self.read() is not ABSENT:
            object.__delattr__(self.holder, self.key)

    def source(self, holder):
        return f"{holder}.{self.key}"

    def expression(self, name):
        if self.value is ABSENT:
            if isinstance(getattr(type(self.holder), self.key, None), MemberDescriptorType):
                return f"not hasattr({name(self.holder)}, {self.key!r})"
            return f"{self.key!r} not in {name(self.holder)}.__dict__"
        return super().expression(name)


class Contents(Place):
    """All that a list, dictionary, set or small array holds."""

    __slots__ = ()
    kind, noun = "contents", "the contents of"

    def read(self):
        return contents_of(self.holder)

    def restore(self):
        refill(self.holder, self.value)

    def expression(self, name):
        holder, check = name(self.holder), name(same_items)
        if isinstance(self.holder, dict):
            keys, values = self.value
            return (
                f"{check}({holder}.values(), {name(values)}) and {check}({holder}, {name(keys)})"
                if keys
                else f"not {holder}"
            )
        if isinstance(self.holder, (list, deque)):
            return f"{check}({holder}, {name(self.value)})" if self.value else f"not {holder}"
        return f"{name(same)}({name(contents_of)}({holder}), {name(self.value)})"

    def __str__(self):
        return f"{self.noun} {self.label or f'a {type(self.holder).__name__}'}"


class CacheSize(Place):
    """How many results a function of `functools.lru_cache` keeps; it cannot forget single ones."""

    __slots__ = ()
    kind, noun = "cache", "the cache of"

    def read(self):
        return self.holder.cache_info().misses

    def restore(self):
        self.holder.cache_clear()

    def source(self, holder):
        return f"{holder}.cache_info().misses"


class _Container(NamedTuple):
    container: Any
    contents: Any


def _kept(value):
    """A value with its contents, if it is a container of a size to be compared."""
    if isinstance(value, (list, dict, set, deque)) and len(value) <= MOST_ELEMENTS:
        return _Container(value, contents_of(value))
    return value


def _is_as_kept(value, kept) -> bool:
    if type(kept) is not _Container:
        return same(value, kept)
    if kept.container is not value:
        return False
    if isinstance(value, dict):
        keys, values = kept.contents
        return same_items(value, keys) and same_items(value.values(), values)
    return same(contents_of(value), kept.contents)


class ModuleState(Place):
    """Everything that a module's own dictionary says."""

    __slots__ = ()
    kind, noun = "module", "the module"

    def read(self):
        return {name: _kept(value) for name, value in self._attributes()}

    def _attributes(self):
        yield "__class__", type(self.holder)
        for name, value in vars(self.holder).items():
            # hook tables come into being with the first look at them
            if name != "_hooked" and (name not in HOOK_TABLES or value):
                yield name, value

    def changed(self):
        known, found = self.value, 0
        for name, value in self._attributes():
            before = known.get(name, ABSENT)
            if before is not value and not _is_as_kept(value, before):
                return True
            found += 1
        return found != len(known)

    def changes(self) -> list[str]:
        """The names of the attributes that are not what they were."""
        now, known = self.read(), self.value
        return [n for n in {**known, **now} if not same(now.get(n, ABSENT), known.get(n, ABSENT))]

    def restore(self):
        attributes = vars(self.holder)
        for name in self.changes():
            value = self.value.get(name, ABSENT)
            if name == "__class__":
                object.__setattr__(self.holder, name, value)
            elif value is ABSENT:
                del attributes[name]
            elif type(value) is _Container:
                refill(*value)
                attributes[name] = value.container
            else:
                attributes[name] = value
        epoch[0] = object()


def own_attribute(holder, name: str):
    """What an object itself keeps under a name, `ABSENT` if nothing."""
    own = getattr(holder, "__dict__", None)
    if own is not None and name in own:
        return own[name]
    if isinstance(holder, Tensor):
        return ABSENT  # its slots are not Python state
    for cls in type(holder).__mro__:
        found = vars(cls).get(name)
        if type(found) is MemberDescriptorType:
            try:
                return found.__get__(holder)
            except AttributeError:
                return ABSENT
    return ABSENT


def _is_compared_by_value(value) -> bool:
    return type(value) in PRIMITIVES or isinstance(value, (tuple, frozenset, np.generic))
