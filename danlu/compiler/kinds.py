"""Kinds of values, by what a trace can know about them."""

from __future__ import annotations

import os
import sys
import weakref
from io import IOBase
from operator import attrgetter, methodcaller
from threading import local
from types import BuiltinFunctionType, FunctionType, ModuleType

from danlu.compiler.purity import is_pure

__all__ = [
    "ENVIRONMENTS", "RESTLESS_MODULES", "Refused", "has_attributes", "is_definition", "is_library",
    "is_ours", "module_of", "refuse_handed_on", "unseen",
]  # fmt: skip

_OWN_LIBRARIES = frozenset(("danlu", "numpy", "scipy"))
# modules of types that keep values where nobody can compare them
_UNSEEN = frozenset(("_ctypes", "array", "ctypes", "mmap"))
_WEAK = (
    weakref.ref, weakref.ProxyType, weakref.CallableProxyType, weakref.WeakSet,
    weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.finalize,
)  # fmt: skip
# what may differ from call to call without anything being written
RESTLESS_MODULES = frozenset(("decimal", "_decimal"))
ENVIRONMENTS = tuple({type(os.environ), type(getattr(os, "environb", os.environ))})


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


def unseen(value, label: str | None) -> str | None:
    """Why nobody can say whether a value is what it was, or what looking at it changes."""
    kind, label = type(value), label or "a value"
    if _draws(value):
        return "random numbers of NumPy"
    if kind.__name__.startswith(("cython_function", "fused_cython")):
        return f"{label} is not Python"
    if isinstance(value, _WEAK):
        return f"{label} is a weak reference"
    if isinstance(value, local):
        return f"{label} is kept per thread"
    if module_of(value) in RESTLESS_MODULES:
        return "decimal numbers depend on a context"
    if isinstance(value, (memoryview, attrgetter, methodcaller)) or kind.__module__ in _UNSEEN:
        return f"{label} is a {kind.__name__}"
    if hasattr(kind, "__next__"):
        return f"{label} is {'a file' if isinstance(value, IOBase) else 'an iterator from outside'}"
    return None


def _top(module: str | None) -> str:
    """The package that a module is in."""
    return (module or "").partition(".")[0]


def _draws(value) -> bool:
    module = value.__name__ if isinstance(value, ModuleType) else type(value).__module__
    return module.startswith("numpy.random")


def is_ours(value) -> bool:
    """Whether a module, class or object is danlu's or NumPy's, which look after themselves."""
    if isinstance(value, ModuleType):
        return _top(value.__name__) in _OWN_LIBRARIES
    return _top((value if isinstance(value, type) else type(value)).__module__) in _OWN_LIBRARIES


def module_of(value) -> str | None:
    """The module that a module is, or that a class or the class of an object is from."""
    if isinstance(value, ModuleType):
        return value.__name__
    return (value if isinstance(value, type) else type(value)).__module__


def is_library(module: str | None) -> bool:
    """Whether functions and classes of a module stay what they are."""
    return _top(module) in _OWN_LIBRARIES or _top(module) in sys.stdlib_module_names


def is_definition(value) -> bool:
    return isinstance(value, (type, FunctionType, BuiltinFunctionType, ModuleType))


def has_attributes(value) -> bool:
    """Whether an object is one that users write attributes of."""
    return not isinstance(value, (type, FunctionType)) and hasattr(value, "__dict__")


def refuse_handed_on(function, where: str) -> None:
    """Refuse a function of C that is called where no profiler sees it."""
    if type(function) is BuiltinFunctionType and not is_pure(function):
        raise Refused(f"{function.__name__} is handed on", where)
