"""The Python state that a traced function depends on, and the guards on it."""

from __future__ import annotations

import inspect
import sys
from collections import ChainMap, UserDict, UserList, deque
from functools import lru_cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import numpy as np

from danlu.amp import GradScaler
from danlu.compiler.bytecode import Names
from danlu.compiler.places import (
    ABSENT,
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
# they keep what they hold in attributes that only they name
_WRITTEN_IN_PYTHON = (ChainMap, UserDict, UserList)
_ANY_NAME = frozenset((
    "getattr", "setattr", "delattr", "hasattr", "vars", "dir", "__dict__", "__getattribute__",
    "attrgetter",
))  # fmt: skip
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

    def __init__(self):
        self.where = ""
        self.places: dict[tuple, Place] = {}
        self.modules: dict[int, ModuleState] = {}
        self.containers: dict[int, Contents] = {}
        self._functions: dict[int, list[FunctionType]] = {}
        self._entered: dict[int, Names] = {}
        self._seen: dict[int, object] = {}
        self._objects: list[tuple[object, str | None]] = []
        self._attributes: set[str] = set()
        self._stored: set[str] = set()
        self._any_name = False
        self._queue: list[tuple[object, str | None, bool]] = []

    # ------------------------------------------------------------------ what runs
    def functions_of(self, code) -> list[FunctionType]:
        """The functions found so far that run this code."""
        return self._functions.get(id(code), [])

    def enter(self, code, names: Names, variables: dict, guarded: bool = True) -> None:
        """Take in what a code object names that is about to run for the first time.

        Args:
            variables: its globals.
            guarded: whether functions, classes and modules among those may change between calls.
        """
        self._entered[id(code)] = names
        for name in names.globals:
            stored = ("global", name) in names.stored
            if name not in variables and not stored:
                continue  # a built-in function
            value = variables.get(name, ABSENT)
            self._put(Variable(variables, name, name, guarded or not _is_definition(value)))
            self._later(value, name)
        for function in self.functions_of(code):
            self._enclosed(function)
        self._name(names)
        self._work()

    def _enclosed(self, function) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            place = self._put(Enclosed(cell, None, name))
            self._later(place.value, name)
        for value in function.__defaults__ or ():
            self._later(value, None)
        for name, value in (function.__kwdefaults__ or {}).items():
            self._later(value, name)

    def _name(self, names: Names) -> None:
        """Visit the attributes with names that have not been met before."""
        fresh = set(names.attributes) - self._attributes
        self._attributes |= fresh
        stored = {name for kind, name in names.stored if kind == "attribute"}
        fresh |= stored - self._stored
        self._stored |= stored
        if not self._any_name and not _ANY_NAME.isdisjoint({*names.globals, *names.attributes}):
            self._any_name = True
            for holder, label in self._objects:
                self._every_attribute(holder, label)
        for holder, _ in self._objects:
            for name in fresh:
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
        kind = type(value)
        if kind not in PRIMITIVES and value is not ABSENT and id(value) not in self._seen:
            self._seen[id(value)] = value
            self._queue.append((value, label, argument))

    def _work(self) -> None:
        while self._queue:
            if len(self._seen) > MOST_OBJECTS:
                raise Refused(_TOO_MUCH, self.where)
            self._visit(*self._queue.pop())

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
        elif hasattr(kind, "__next__"):
            raise Refused(f"{label or 'a value'} is an iterator from outside", self.where)
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
        place = self._put(Contents(value, None, label, guarded=not argument))
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
            self._enclosed(function)
        elif _top(function.__globals__.get("__name__")) in _OWN_LIBRARIES | sys.stdlib_module_names:
            # one around a function of the user: it encloses what it decorates, for good
            for cell in function.__closure__ or ():
                self._later(Enclosed(cell, None, label).value, label)
        self._object(function, label)

    def method(self, cls: type, name: str) -> None:
        """Find a method that runs."""
        self._put(ClassEntry(cls, name, name))
        self.visit(vars(cls)[name], name)

    def module(self, module: Module, label: str | None = None) -> ModuleState:
        """The state of a module before the call."""
        self.visit(module, label)
        return self.modules[id(module)]

    def _module(self, module, label) -> None:
        place = ModuleState(module, None, label)
        self.modules[id(module)] = place
        for name, value in place.value.items():
            if name.endswith("_hooks"):  # nobody tells of those that are put there by hand
                self._later(value.container, name)
        for name, child in module._modules.items():
            self._later(child, name)
        self._object(module, label)

    def _object(self, value, label) -> None:
        self._objects.append((value, label))
        if self._any_name or isinstance(value, _WRITTEN_IN_PYTHON):
            self._every_attribute(value, label)
        for name in self._attributes:
            self._attribute(value, name)

    def _every_attribute(self, value, label) -> None:
        if isinstance(value, (Tensor, Optimizer, ModuleType, type, FunctionType)):
            return
        own = getattr(value, "__dict__", None)
        if isinstance(value, Module):
            for name, each in own.items():
                if not name.startswith("_"):
                    self._later(each, name)
        elif own is not None:
            self._later(own, label)

    def _attribute(self, holder, name: str) -> None:
        if isinstance(holder, Optimizer) and name != "param_groups":
            return
        value = own_attribute(holder, name)
        if value is not ABSENT and not isinstance(holder, type):
            if not isinstance(holder, (Module, Tensor)):
                settled = isinstance(holder, ModuleType) and _is_library(holder.__name__)
                self._put(Attribute(holder, name, name, not (settled and _is_definition(value))))
            self._later(value, name)
            return
        for cls in holder.__mro__ if isinstance(holder, type) else type(holder).__mro__:
            if name in vars(cls):
                found = vars(cls)[name]
                break
        else:
            cls, found = None, ABSENT
        if cls is not None and not _is_library(cls.__module__):
            self._put(ClassEntry(cls, name, name))
            self._later(found, name)
        if isinstance(holder, (Module, Tensor, type)) or inspect.isdatadescriptor(found):
            return
        if (found is not ABSENT or name in self._stored) and hasattr(holder, "__dict__"):
            self._put(Attribute(holder, name, name))

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
            computed = names.loaded.keys() & {"setattr", "delattr"}
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


def _is_library(module: str) -> bool:
    """Whether functions and classes of a module stay what they are."""
    return _top(module) in _OWN_LIBRARIES or _top(module) in sys.stdlib_module_names


def _is_definition(value) -> bool:
    return isinstance(value, (type, FunctionType, BuiltinFunctionType, ModuleType))


class Guards:
    """The conditions under which a trace stands for its function.

    Attributes:
        places: what is looked at in every call.
        modules: what is looked at once any module has changed.
    """

    def __init__(self, places: list[Place], modules: list[ModuleState]):
        self.places, self.modules = places, modules
        self._epoch = [epoch[0]]

    def expressions(self) -> tuple[list[str], dict[str, object]]:
        """Conditions as texts, with the objects that they name.

        One that raises does not hold: a variable that was deleted.
        """
        names: dict[int, str] = {}
        objects: dict[str, object] = {}

        def name(value) -> str:
            found = names.get(id(value))
            if found is None:
                found = names[id(value)] = f"guard_{len(names)}"
                objects[found] = value
            return found

        texts = [place.expression(name) for place in self.places]
        if self.modules:
            check = name(self.modules_hold)
            texts.append(f"({name(epoch)}[0] is {name(self._epoch)}[0] or {check}())")
        return texts, objects

    def modules_hold(self) -> bool:
        """Whether all modules are as they were; if so, the present epoch is remembered."""
        now = epoch[0]
        if any(module.changed() for module in self.modules):
            return False
        self._epoch[0] = now
        return True

    def broken(self) -> list[str]:
        """What has changed since the trace, for whoever asks why a function is traced again."""
        found = [str(place) for place in self.places if place.changed()]
        for module in self.modules:
            kind = type(module.holder).__name__
            found += [f"the attribute {name} of a {kind}" for name in module.changes()]
        return found
