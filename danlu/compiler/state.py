"""The Python state that a traced function depends on."""

from __future__ import annotations

import inspect
import sys
from abc import ABCMeta, get_cache_token
from collections import ChainMap, UserDict, UserList, defaultdict, deque
from functools import lru_cache, partial
from gc import get_referents
from importlib.util import resolve_name
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np

from danlu.amp import GradScaler
from danlu.compiler.bytecode import Names, names_of
from danlu.compiler.definitions import (
    DESCRIPTIVE,
    ClassState,
    Described,
    FunctionState,
    Registrations,
    TypeOf,
)
from danlu.compiler.function import Compiled
from danlu.compiler.kinds import (
    ENVIRONMENTS,
    RESTLESS_MODULES,
    Refused,
    has_attributes,
    is_definition,
    is_library,
    is_ours,
    module_of,
    refuse_handed_on,
    unseen,
)
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
    Entries,
    Imported,
    ModuleState,
    Place,
    TensorFlag,
    Variable,
    own_attribute,
)
from danlu.compiler.purity import is_pure
from danlu.compiler.structure import is_structure
from danlu.nn.modules._members import MEMBER_TABLES
from danlu.nn.modules.module import Module
from danlu.optim import Optimizer
from danlu.optim.lr_scheduler import LRScheduler
from danlu.tensor import Tensor

__all__ = ["Refused", "State"]

MOST_OBJECTS = 10_000  # of one function

_TOO_MUCH = "too much Python state to guard"
_CONTAINERS = (list, dict, set, deque, bytearray, np.ndarray)
# they keep what they hold in attributes that only they name
_WRITTEN_IN_PYTHON = (ChainMap, UserDict, UserList)
_TENSOR_FLAGS = {"requires_grad": "_requires_grad", "is_leaf": "_requires_grad"}
_DICTIONARY_VIEWS: tuple[type, ...] = (
    MappingProxyType,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
_LRU_CACHE = type(lru_cache(int))
_IS_PYTHON_CLASS = 1 << 9  # Py_TPFLAGS_HEAPTYPE: its instances may be given another class


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
        self._applies = False  # whether functions may be called where no profiler sees it
        self._impure: tuple[Any, str] | None = None  # one with effects, and where it was found
        self._held: set[str] = set()  # of those, the ones that are not called at once
        self._users: set[str] = set()  # attributes that the user's code names
        self._absence_shows = False  # whether it goes on after an AttributeError
        self._seen_classes: set[int] = set()
        self._whole = False  # whether it looks at namespaces as a whole
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
            value = variables.get(name, ABSENT)
            if value is ABSENT and not guarded and ("global", name) not in names.stored:
                continue  # a built-in function
            if not guarded and module_of(value) in RESTLESS_MODULES:
                continue  # a library that takes decimal numbers, too
            self._put(Variable(variables, name, name, guarded or not is_definition(value)))
            self._due_to(file, line)
            self._later(value, name)
        if guarded:
            self._imports(names, variables)
        for function in self.functions_of(code):
            self._enclosed(function, file)
        self._name(names, file)
        self._work()

    def _imports(self, names: Names, variables: dict) -> None:
        for level, name in names.imports:
            if level:
                name = resolve_name("." * level + name, variables.get("__package__") or "")
            while name:
                if not is_library(name):
                    place = self._put(Imported(sys.modules, name, name))
                    self._later(place.value, name)
                name = name.rpartition(".")[0]

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
        if file is not None:
            self._put(FunctionState(function, None, function.__name__))
        for value in function.__defaults__ or ():
            self._later(value, None)
        if function.__kwdefaults__:
            self._later(function.__kwdefaults__, "the keyword defaults")

    def _name(self, names: Names, file: str | None) -> None:
        """Visit the attributes with names that have not been met before."""
        if file is not None:
            self._users.update(names.attributes)
            self._held |= names.held
            if not self._absence_shows and names.catches:
                self._absence_shows = True
                self._asked.update(self._attributes)
                for holder, _ in self._objects:
                    for name in self._attributes:
                        self._attribute(holder, name)
        asked = {*names.attributes} if self._absence_shows else names.asked
        self._see_all_of(names.formats)
        self._applies |= names.applies
        fresh = {n: line for n, line in names.attributes.items() if n not in self._attributes}
        self._attributes.update(fresh)
        for name in asked - self._asked:
            self._asked.add(name)
            fresh[name] = names.attributes[name]
        if names.computed and not self._any_name:
            self._any_name = True
            for holder, label in self._objects:
                self._every_attribute(holder, label)
        for name, line in fresh.items():
            self._due_to(file, line)
            for holder, _ in self._objects:
                self._attribute(holder, name)

    def _see_all_of(self, whole: bool) -> None:
        """Look at all that namespaces hold, of which text may be made."""
        if whole and not self._whole:
            self._whole = True
            for holder, label in self._objects:
                if isinstance(holder, SimpleNamespace):
                    self._later(vars(holder), label)

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
        if self._applies and self._impure is not None:
            function, where = self._impure
            raise Refused(f"{function.__name__} may be handed on", where)

    def _visit(self, value, label, argument) -> None:
        kind = type(value)
        if isinstance(value, Module):
            self._module(value, label)
        elif isinstance(value, _CONTAINERS):
            self._container(value, label, argument)
        elif isinstance(value, (tuple, frozenset)):
            for each in value:
                self._later(each, label, argument)
            if kind not in (tuple, frozenset) and not is_ours(value):
                self._object(value, label)
        elif isinstance(value, Tensor):
            self._object(value, label)
        elif kind is FunctionType:
            self._function(value, label)
        elif kind is MethodType:
            self._later(value.__func__, label)
            self._later(value.__self__, label)
        elif kind is BuiltinFunctionType:
            if not is_pure(value) and isinstance(value.__self__, (ModuleType, type)):
                self._impure = self._impure or (value, self.where)
            if not isinstance(value.__self__, ModuleType):
                self._later(value.__self__, label)
        elif isinstance(value, _DICTIONARY_VIEWS):
            for part in get_referents(value):
                self._later(part, label)
        elif kind is CellType:
            self._later(self._put(Enclosed(value, None, label)).value, label)
        elif kind is Compiled:
            self._put(Attribute(value, "_function", label))
            self._later(value._function, label)
        elif isinstance(value, partial):
            refuse_handed_on(value.func, self.where)
            for part in (value.func, value.args, value.keywords):
                self._later(part, label)
        elif kind is _LRU_CACHE:
            self._put(CacheSize(value, None, label))
            self._later(value.__wrapped__, label)
            self._kept_results(value.__wrapped__)
        elif isinstance(value, property):
            for accessor in (value.fget, value.fset, value.fdel):
                self._later(accessor, label)
        elif isinstance(value, (staticmethod, classmethod)):
            self._later(value.__func__, label)
        elif isinstance(value, ENVIRONMENTS):
            self._later(value._data, "the environment")
        elif (reason := unseen(value, label)) is not None:
            raise Refused(reason, self.where)
        elif isinstance(value, GradScaler):
            self._put(Contents(vars(value), None, label, guarded=False))
        elif isinstance(value, ModuleType) or not is_ours(value) or has_attributes(value):
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
        if isinstance(value, defaultdict):
            self._later(self._put(Attribute(value, "default_factory", label)).value, label)
        if not is_ours(value):
            self._object(value, label)

    def _kept_results(self, function) -> None:
        """Take in all that a function depends on whose results are kept: it may not run now."""
        if type(function) is not FunctionType or is_library(function.__module__):
            return
        known = set(self._functions)
        self._functions.setdefault(id(function.__code__), []).append(function)
        while fresh := [key for key in self._functions if key not in known]:
            known.update(fresh)
            for each in [self._functions[key][0] for key in fresh]:
                if not is_library(each.__module__):
                    code = each.__code__
                    self.enter(code, names_of(code), each.__globals__)

    def _function(self, function, label) -> None:
        self._functions.setdefault(id(function.__code__), []).append(function)
        if id(function.__code__) in self._entered:
            self._enclosed(function, function.__code__.co_filename)
        if not is_library(function.__globals__.get("__name__")):
            self._object(function, label)
            return
        for each in vars(function).values():  # the registry of a function of `singledispatch`
            self._later(each, label)
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
        for table in MEMBER_TABLES:
            for name, member in vars(module).get(table, {}).items():
                self._later(member, name)
        self._object(module, label)

    def _object(self, value, label) -> None:
        self._objects.append((value, label))
        self._classes(value, label)
        if self._whole and isinstance(value, SimpleNamespace):
            self._later(vars(value), label)
        if self._any_name or isinstance(value, _WRITTEN_IN_PYTHON):
            self._every_attribute(value, label)
        for name in self._attributes:
            self._attribute(value, name)

    def _classes(self, value, label) -> None:
        """The class of an object, and the attributes that classes have."""
        kind = type(value)
        lineage = kind.__mro__
        if isinstance(value, type):
            lineage = (*value.__mro__, *lineage)
        elif kind.__flags__ & _IS_PYTHON_CLASS and not isinstance(value, (Module, Tensor)):
            if isinstance(value, ModuleType) and is_ours(value):
                return
            self._put(TypeOf(value, "__class__", label))
        if isinstance(value, LRScheduler):
            return  # a trace has put other methods there
        for cls in lineage:
            if id(cls) not in self._seen_classes and not is_library(cls.__module__):
                self._seen_classes.add(id(cls))
                self._put(ClassState(cls))
                self._later(cls, label)
                if isinstance(cls, ABCMeta):
                    self._put(Registrations(get_cache_token, None, "the classes registered"))

    def _every_attribute(self, value, label) -> None:
        if isinstance(value, (Tensor, Optimizer)):
            return
        if isinstance(value, (ModuleType, type, FunctionType)):
            module = getattr(value, "__module__", None) or getattr(value, "__name__", "")
            if not is_library(module) and "-packages" not in getattr(value, "__file__", ""):
                for name in [n for n in vars(value) if not n.startswith("__")]:
                    self._attribute(value, name)
            return
        for cls in type(value).__mro__:
            for name, entry in vars(cls).items():
                if type(entry) is MemberDescriptorType and not is_library(cls.__module__):
                    self._attribute(value, name)
        if isinstance(value, Module):
            for name, each in vars(value).items():
                if not name.startswith("_"):
                    self._later(each, name)
        else:
            self._later(getattr(value, "__dict__", None), label)

    def _attribute(self, holder, name: str) -> None:
        if isinstance(holder, Optimizer) and name == "state":
            if name in self._users:
                self._put(Entries(holder.state, None, name))
            return
        if isinstance(holder, Tensor) and name in _TENSOR_FLAGS and name in self._users:
            self._put(TensorFlag(holder, _TENSOR_FLAGS[name], name))
            return
        if isinstance(holder, ModuleType) and is_ours(holder):
            value = own_attribute(holder, name)
            if value is not ABSENT and name in self._users:
                self._put(Attribute(holder, name, name))
                if not is_definition(value) and not is_ours(value):
                    self._later(value, name)
            return
        if name in DESCRIPTIVE and isinstance(holder, (FunctionType, type)):
            if name in self._users and not is_library(holder.__module__):
                self._later(self._put(Described(holder, name, name)).value, name)
            return
        value = own_attribute(holder, name)
        if value is not ABSENT and not isinstance(holder, type):
            if not isinstance(holder, Module):
                settled = isinstance(holder, ModuleType) and is_library(holder.__name__)
                settled = settled and name not in self._users
                self._put(Attribute(holder, name, name, not (settled and is_definition(value))))
            if name in self._held and isinstance(holder, ModuleType):
                refuse_handed_on(value, self.where)
            self._later(value, name)
            return
        if isinstance(holder, LRScheduler):
            return
        kind = type(holder)
        found = self._in_class(holder if isinstance(holder, type) else kind, name)
        if isinstance(holder, type) and kind is not type and found is ABSENT:
            self._in_class(kind, name)
        if isinstance(holder, (Module, type)) or inspect.isdatadescriptor(found):
            if type(found) is MemberDescriptorType and name in self._asked:
                self._put(Attribute(holder, name, name))
            return
        hides = found is not ABSENT and not isinstance(holder, Tensor)
        if not hides and name in self._users:
            hides = not is_library(getattr(kind, "__module__", None)) and hasattr(
                kind, "__getattr__"
            )
        if (hides or name in self._asked) and hasattr(holder, "__dict__"):
            self._put(Attribute(holder, name, name))

    def _in_class(self, cls: type, name: str):
        """What a class defines under a name, `ABSENT` if nothing."""
        if (cls, name) not in self._of_classes:
            owner = next((each for each in cls.__mro__ if name in vars(each)), None)
            found = ABSENT if owner is None else vars(owner)[name]
            self._of_classes[cls, name] = found
            if owner is not None and not is_library(owner.__module__):
                self._put(ClassEntry(owner, name, name))
                self._later(found, name)
        return self._of_classes[cls, name]

    def _put(self, place):
        return self.places.setdefault((id(place.holder), place.kind, place.key), place)

    # ------------------------------------------------------------------ after the call
    def changes(self) -> list[Place]:
        """The places that do not hold any more what they held before the call."""
        return [p for p in (*self.places.values(), *self.modules.values()) if p.changed()]
