"""The Python state that a traced function depends on, and the guards on it."""

from __future__ import annotations

import inspect
import sys
from collections import ChainMap, UserDict, UserList, deque
from functools import lru_cache, partial
from io import IOBase
from types import (
    BuiltinFunctionType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)

import numpy as np

from danlu.amp import GradScaler
from danlu.compiler.bytecode import Names
from danlu.compiler.places import (
    ABSENT,
    HOOK_TABLES,
    MOST_ELEMENTS,
    PRIMITIVES,
    Attribute,
    CacheSize,
    ClassEntry,
    Contents,
    Enclosed,
    ModuleState,
    Place,
    Variable,
    own_attribute,
)
from danlu.compiler.structure import is_structure
from danlu.nn.modules import _hooks
from danlu.nn.modules._members import epoch
from danlu.nn.modules.module import Module
from danlu.optim import Optimizer
from danlu.optim.lr_scheduler import LRScheduler
from danlu.tensor import Tensor

__all__ = ["Guards", "Refused", "State"]

MOST_OBJECTS = 10_000  # of one function

_TOO_MUCH = "too much Python state to guard"
_CONTAINERS = (list, dict, set, deque, bytearray, np.ndarray)
# names by which a function reaches attributes that it does not name
_HOOKS_ON_ALL = {
    name: table
    for name, table in vars(_hooks).items()
    if name.startswith("_global_") and isinstance(table, dict)
}
# they keep what they hold in attributes that only they name
_WRITTEN_IN_PYTHON = (ChainMap, UserDict, UserList)
_ANY_NAME = frozenset((
    "vars", "dir", "attrgetter", "__dict__", "__getattribute__", "__setattr__", "__delattr__",
))  # fmt: skip
_SETTERS = frozenset(("setattr", "delattr", "__setattr__", "__delattr__"))
# modules of types that keep values where nobody can compare them
_UNSEEN = frozenset(("_ctypes", "array", "ctypes", "mmap"))
_LRU_CACHE = type(lru_cache(int))
_OWN_LIBRARIES = frozenset(("danlu", "numpy", "scipy"))


class Refused(Exception):
    """A function does, or depends on, what compiled code cannot repeat.

    Attributes:
        reason: what it is.
        where: the innermost line of the user's code that has to do with it, "file.py:12".
        lasting: False for a change of Python state: what is set up in a first call, as a mask that
            is kept, does not change in the next.
    """

    def __init__(self, reason: str, where: str = "", lasting: bool = True):
        super().__init__(f"{reason} ({where})" if where else reason)
        self.reason, self.where, self.lasting = reason, where, lasting


class State:
    """What there was before a call, as far as the code that runs in it can name it.

    The walk goes from the function and its arguments, through variables that running code names, to
    attributes that it names; it goes on whenever a code object runs for the first time, which is
    before that code can have changed anything. So what a place held at its first visit is what it
    held before the call.

    Attributes:
        where: the line that new findings are due to.
        places: what was found, but for `modules`.
        containers: the places among those that are contents of containers, by the container's id.
    """

    def __init__(self) -> None:
        self.where = ""
        self.places: dict[tuple, Place] = {}
        self.modules: dict[int, ModuleState] = {}
        self.containers: dict[int, Contents] = {}
        self._functions: dict[int, list[FunctionType]] = {}
        self._entered: dict[int, Names] = {}
        self._seen: dict[int, object] = {}
        self._objects: list[tuple[object, str | None]] = []
        self._attributes: dict[str, int] = {}
        self._asked: set[str] = set()
        self._of_classes: dict[tuple[type, str], object] = {}
        self._any_name = False
        self._queue: list[tuple[object, str | None, bool, str]] = []

    # ------------------------------------------------------------------ what runs
    def functions_of(self, code) -> list[FunctionType]:
        """The functions found so far that run this code."""
        return self._functions.get(id(code), [])

    def enter(self, code, names: Names, variables: dict, guarded: bool = True) -> None:
        """Take in what a code object names that is about to run for the first time.

        Args:
            variables: its globals.
            guarded: whether it is the user's; of others, functions, classes and modules among the
                globals do not change between calls, and what is found is due to `where`.
        """
        self._entered[id(code)] = names
        file = code.co_filename if guarded else None
        for name, line in names.globals.items():
            if name not in variables and ("global", name) not in names.stored:
                continue  # a built-in function
            value = variables.get(name, ABSENT)
            self._put(Variable(variables, name, name, guarded or not _is_definition(value)))
            self._due_to(file, line)
            self._later(value, name)
        for function in self.functions_of(code):
            self._enclosed(function, file)
        self._name(names, file)
        self._work()

    def _due_to(self, file: str | None, line: int) -> None:
        if file is not None:
            self.where = f"{file}:{line}"

    def _enclosed(self, function, file: str | None) -> None:
        code = function.__code__
        loaded = self._entered[id(code)].loaded
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            place = self._put(Enclosed(cell, None, name))
            self._due_to(file, min(loaded.get(name, (code.co_firstlineno,))))
            self._later(place.value, name)
        self._due_to(file, code.co_firstlineno)
        for value in function.__defaults__ or ():
            self._later(value, None)
        for name, value in (function.__kwdefaults__ or {}).items():
            self._later(value, name)

    def _name(self, names: Names, file: str | None) -> None:
        """Visit the attributes with names that have not been met before."""
        fresh = {n: line for n, line in names.attributes.items() if n not in self._attributes}
        self._attributes.update(fresh)
        for name in names.asked - self._asked:
            self._asked.add(name)
            fresh[name] = names.attributes[name]
        unnamed = names.computed or not _ANY_NAME.isdisjoint({*names.globals, *names.attributes})
        if unnamed and not self._any_name:
            self._any_name = True
            for holder, label in self._objects:
                self._every_attribute(holder, label)
        for name, line in fresh.items():
            self._due_to(file, line)
            for holder, _ in self._objects:
                self._attribute(holder, name)

    # ------------------------------------------------------------------ the walk
    def visit(self, value, label: str | None = None, argument: bool = False) -> None:
        """Find what can be reached from a value.

        Args:
            argument: whether it is an argument of the call, whose containers the caller guards.
        """
        self._later(value, label, argument)
        self._work()

    def _later(self, value, label, argument: bool = False) -> None:
        if type(value) in PRIMITIVES or value is ABSENT:
            return
        if id(value) in self._seen:
            known = self.containers.get(id(value))
            if argument or known is None or known.guarded:
                return
        self._seen[id(value)] = value
        self._queue.append((value, label, argument, self.where))

    def _work(self) -> None:
        while self._queue:
            if len(self._seen) > MOST_OBJECTS:
                raise Refused(_TOO_MUCH, self.where)
            value, label, argument, self.where = self._queue.pop()
            self._visit(value, label, argument)

    def _visit(self, value, label, argument) -> None:
        kind = type(value)
        if isinstance(value, Module):
            self._module(value, label)
        elif isinstance(value, _CONTAINERS):
            self._container(value, label, argument)
        elif isinstance(value, (tuple, frozenset)):
            for each in value:
                self._later(each, label, argument)
        elif isinstance(value, Tensor):
            self._object(value, label)
        elif kind is FunctionType:
            self._function(value, label)
        elif kind is MethodType:
            self._later(value.__func__, label)
            self._later(value.__self__, label)
        elif kind is BuiltinFunctionType:
            if not isinstance(value.__self__, ModuleType):
                self._later(value.__self__, label)
        elif isinstance(value, partial):
            for part in (value.func, value.args, value.keywords):
                self._later(part, label)
        elif kind is _LRU_CACHE:
            self._put(CacheSize(value, None, label, guarded=False))
            self._later(value.__wrapped__, label)
        elif isinstance(value, property):
            for accessor in (value.fget, value.fset, value.fdel):
                self._later(accessor, label)
        elif isinstance(value, (staticmethod, classmethod)):
            self._later(value.__func__, label)
        elif _draws(value):
            raise Refused("random numbers of NumPy", self.where)
        elif kind.__name__.startswith(("cython_function", "fused_cython")):
            raise Refused(f"{label or 'a function'} is not Python", self.where)
        elif kind is memoryview or getattr(kind, "__module__", None) in _UNSEEN:
            raise Refused(f"{label or 'a value'} is a {kind.__name__}", self.where)
        elif hasattr(kind, "__next__"):
            what = "a file" if isinstance(value, IOBase) else "an iterator from outside"
            raise Refused(f"{label or 'a value'} is {what}", self.where)
        elif isinstance(value, GradScaler):
            self._put(Contents(vars(value), None, label, guarded=False))
        elif isinstance(value, Optimizer) or not (
            isinstance(value, LRScheduler) or _is_ours(value)
        ):
            self._object(value, label)
        else:
            self._later(own_attribute(value, "__wrapped__"), label)

    def _container(self, value, label, argument) -> None:
        size = value.size if isinstance(value, np.ndarray) else len(value)
        if size > MOST_ELEMENTS:
            raise Refused(f"{_TOO_MUCH}: {label or 'a container'} has {size} elements", self.where)
        place = self._put(Contents(value, None, label, guarded=False))
        place.guarded |= not (argument and is_structure(value))
        self.containers[id(value)] = place
        if isinstance(value, dict):
            for key, each in value.items():
                self._later(key, label, argument)
                self._later(each, key if isinstance(key, str) else label, argument)
        elif not isinstance(value, (bytearray, np.ndarray)):
            for each in value:
                self._later(each, label, argument)
        if not _is_ours(value):
            self._object(value, label)

    def _function(self, function, label) -> None:
        self._functions.setdefault(id(function.__code__), []).append(function)
        if id(function.__code__) in self._entered:
            self._enclosed(function, function.__code__.co_filename)
        if not _is_library(function.__globals__.get("__name__")):
            self._object(function, label)
            return
        # a decorator of a library encloses the user's function that it decorates, for good
        for cell in function.__closure__ or ():
            value = Enclosed(cell, None, label).value
            if isinstance(value, (FunctionType, MethodType, partial)):
                self._later(value, label)

    def method(self, cls: type, name: str) -> None:
        """Find a method that runs."""
        self._put(ClassEntry(cls, name, name))
        self.visit(vars(cls)[name], name)

    def look_into(self, value) -> None:
        """Let an object of danlu be like one of the user's: the function belongs to it."""
        self._seen[id(value)] = value
        self._object(value, None)
        self._work()

    def module(self, module: Module, label: str | None = None) -> ModuleState:
        """The state of a module before the call."""
        self.visit(module, label)
        return self.modules[id(module)]

    def _module(self, module, label) -> None:
        place = ModuleState(module, None, label)
        self.modules[id(module)] = place
        for name, value in place.value.items():
            if name in HOOK_TABLES:  # nobody tells of those that are put there by hand
                self._later(value.container, name)
        for name, child in vars(module).get("_modules", {}).items():
            self._later(child, name)
        self._object(module, label)

    def _object(self, value, label) -> None:
        self._objects.append((value, label))
        if self._any_name or isinstance(value, _WRITTEN_IN_PYTHON):
            self._every_attribute(value, label)
        for name in self._attributes:
            self._attribute(value, name)

    def _every_attribute(self, value, label) -> None:
        if isinstance(value, (Tensor, Optimizer)):
            return
        if isinstance(value, (ModuleType, type, FunctionType)):
            module = getattr(value, "__module__", None) or getattr(value, "__name__", "")
            if not _is_library(module) and "-packages" not in getattr(value, "__file__", ""):
                for name in [n for n in vars(value) if not n.startswith("__")]:
                    self._attribute(value, name)
            return
        for cls in type(value).__mro__:
            for name, entry in vars(cls).items():
                if type(entry) is MemberDescriptorType and not _is_library(cls.__module__):
                    self._attribute(value, name)
        if isinstance(value, Module):
            for name, each in vars(value).items():
                if not name.startswith("_"):
                    self._later(each, name)
        else:
            self._later(getattr(value, "__dict__", None), label)

    def _attribute(self, holder, name: str) -> None:
        if isinstance(holder, Optimizer) and name != "param_groups":
            return
        value = own_attribute(holder, name)
        if value is not ABSENT and not isinstance(holder, type):
            if not isinstance(holder, Module):
                settled = isinstance(holder, ModuleType) and _is_library(holder.__name__)
                self._put(Attribute(holder, name, name, not (settled and _is_definition(value))))
            self._later(value, name)
            return
        found = self._in_class(holder if isinstance(holder, type) else type(holder), name)
        if isinstance(holder, (Module, type)) or inspect.isdatadescriptor(found):
            return
        hides = found is not ABSENT and not isinstance(holder, Tensor)
        if (hides or name in self._asked) and hasattr(holder, "__dict__"):
            self._put(Attribute(holder, name, name))

    def _in_class(self, cls: type, name: str):
        """What a class defines under a name, `ABSENT` if nothing."""
        if (cls, name) not in self._of_classes:
            owner = next((each for each in cls.__mro__ if name in vars(each)), None)
            found = ABSENT if owner is None else vars(owner)[name]
            self._of_classes[cls, name] = found
            if owner is not None and not _is_library(owner.__module__):
                self._put(ClassEntry(owner, name, name))
                self._later(found, name)
        return self._of_classes[cls, name]

    def _put(self, place):
        return self.places.setdefault((id(place.holder), place.kind, place.key), place)

    # ------------------------------------------------------------------ after the call
    def changes(self) -> list[Place]:
        """The places that do not hold any more what they held before the call."""
        return [p for p in (*self.places.values(), *self.modules.values()) if p.changed()]

    def line_of_change(self, place: Place, codes: list) -> str:
        """The line that has changed a place, or is likeliest to have.

        Args:
            codes: the code objects of the user that ran, with their names.
        """
        for code, names in codes:
            line = names.stored.get((place.kind, place.label))
            if line is not None:
                return f"{code.co_filename}:{line}"
        for code, names in codes:
            computed = names.loaded.keys() & _SETTERS
            if computed and place.kind in ("attribute", "contents"):
                return f"{code.co_filename}:{min(names.loaded[computed.pop()])}"
            line = names.line_of_change(place.label)
            if line is not None:
                return f"{code.co_filename}:{line}"
        for code, names in codes:
            if names.changing and place.kind in ("contents", "module"):
                return f"{code.co_filename}:{names.changing[0]}"
        return self.where


def _top(module: str | None) -> str:
    """The package that a module is in."""
    return (module or "").partition(".")[0]


def _draws(value) -> bool:
    module = value.__name__ if isinstance(value, ModuleType) else type(value).__module__
    return module.startswith("numpy.random")


def _is_ours(value) -> bool:
    """Whether a module, class or object is danlu's or NumPy's, which look after themselves."""
    if isinstance(value, ModuleType):
        return _top(value.__name__) in _OWN_LIBRARIES
    return _top((value if isinstance(value, type) else type(value)).__module__) in _OWN_LIBRARIES


def _is_library(module: str | None) -> bool:
    """Whether functions and classes of a module stay what they are."""
    return _top(module) in _OWN_LIBRARIES or _top(module) in sys.stdlib_module_names


def _is_definition(value) -> bool:
    return isinstance(value, (type, FunctionType, BuiltinFunctionType, ModuleType))
