"""Places of functions and classes: code, defaults, inheritance, what objects are instances of."""

from __future__ import annotations

from contextlib import suppress
from copyreg import _slotnames  # type: ignore[attr-defined]

from danlu.compiler.places import ABSENT, Place, same

__all__ = ["DESCRIPTIVE", "ClassState", "Described", "FunctionState", "Registrations", "TypeOf"]

# what functions and classes say of themselves
DESCRIPTIVE = frozenset((
    "__annotations__", "__bases__", "__defaults__", "__doc__", "__kwdefaults__", "__module__",
    "__name__", "__qualname__",
))  # fmt: skip


class ClassState(Place):
    """Which attributes a class has, and what it inherits from; `ClassEntry` is for their values.

    A new method may hide one of a base class. One that takes the place of another that was deleted
    goes unseen: comparing all names takes ten times the 25 ns of comparing how many there are.
    """

    __slots__ = ()
    kind, noun = "attribute", "the class attribute"

    def __init__(self, cls):
        with suppress(Exception):
            _slotnames(cls)  # the first copy of an instance would add what this does
        super().__init__(cls, None, cls.__name__)

    def read(self):
        return dict(vars(self.holder)), self.holder.__mro__

    def changes(self) -> list[str]:
        """The names of the attributes that are not what they were."""
        now, known = self.read()[0], self.value[0]
        return [n for n in {**known, **now} if not same(now.get(n, ABSENT), known.get(n, ABSENT))]

    def changed(self):
        return bool(self.changes())

    def restore(self):
        for name in self.changes():
            if name in self.value[0]:
                type.__setattr__(self.holder, name, self.value[0][name])
            else:
                type.__delattr__(self.holder, name)

    def expression(self, name):
        entries, mro = self.value
        return (f"len({name(vars(self.holder))}) == {len(entries)} and "
                f"{name(self.holder)}.__mro__ is {name(mro)}")  # fmt: skip


class TypeOf(Place):
    """The class of an object."""

    __slots__ = ()
    kind, noun = "attribute", "the class of"

    def read(self):
        return type(self.holder)

    def restore(self):
        object.__setattr__(self.holder, "__class__", self.value)

    def source(self, holder):
        return f"type({holder})"


class FunctionState(Place):
    """The code and the defaults of a function that runs.

    Defaults are compared only where there are some: calls that do without them still do if there
    are more. Keyword defaults are a container besides.
    """

    __slots__ = ()
    kind, noun = "attribute", "the code or a default of"
    _NAMES = ("__code__", "__defaults__", "__kwdefaults__")

    def read(self):
        return tuple(getattr(self.holder, name) for name in self._NAMES)

    def changed(self):
        return any(new is not old for new, old in zip(self.read(), self.value))

    def restore(self):
        for name, value in zip(self._NAMES, self.value):
            setattr(self.holder, name, value)

    def expression(self, name):
        function = name(self.holder)
        return " and ".join(f"{function}.{each} is {name(value)}"
                            for each, value in zip(self._NAMES, self.value) if value is not None)  # fmt: skip


class Described(Place):
    """What a function or class says of itself: its name, its defaults, its documentation."""

    __slots__ = ()
    kind, noun = "attribute", "the attribute"

    def read(self):
        return getattr(self.holder, self.key, ABSENT)

    def restore(self):
        setattr(self.holder, self.key, self.value)

    def source(self, holder):
        return f"{holder}.{self.key}"


class Registrations(Place):
    """How many classes have been registered with abstract ones; the holder tells it."""

    __slots__ = ()
    kind, noun = "attribute", "the number of"

    def read(self):
        return self.holder()

    def restore(self):
        pass  # none can be taken back; registering is no attribute of the class either

    def source(self, holder):
        return f"{holder}()"
