"""What a call does besides computing, as far as that is known of the function by itself.

Calls of C functions are pure or refused. Python functions are watched by whose they are: the user's
and libraries' down to their own calls, trusted ones not at all.
"""

from __future__ import annotations

import builtins
import os
import re
import sys
from collections import deque
from functools import cache
from types import CodeType, GeneratorType, MappingProxyType, ModuleType

import numpy as np

import danlu
from danlu.optim.lr_scheduler import LRScheduler
from danlu.tensor import Tensor

__all__ = [
    "DANLU", "EFFECTFUL", "LIBRARY", "MUTABLE_TYPES", "NUMPY", "OWN", "PLAIN", "PURE_NUMPY",
    "REFUSED_STDLIB", "USER", "is_pure", "kind_of", "state_readers",
]  # fmt: skip

_PURE_BUILTINS = frozenset(map(id, (
    abs, all, any, ascii, bin, callable, chr, delattr, dir, divmod, format, getattr, hasattr, hex,
    isinstance, issubclass, iter, len, locals, max, min, next, oct, ord, pow, repr, round, setattr,
    sorted, sum, vars, builtins.__build_class__, os.fspath, sys.exc_info,
    sys.intern,
)))  # fmt: skip
_PURE_MODULES = frozenset((
    "_abc", "_bisect", "_collections", "_functools", "_operator", "_stat", "_string", "_struct",
    "_typing", "cmath", "danlu", "itertools", "math", "unicodedata",
))  # fmt: skip
# types whose methods change nothing, or nothing but what the call has made
_PURE_TYPES = (
    int, float, complex, str, bytes, tuple, frozenset, range, slice, memoryview, GeneratorType,
    MappingProxyType, re.Pattern, re.Match, np.generic, np.dtype, Tensor, super, property,
)  # fmt: skip
MUTABLE_TYPES = (list, dict, set, bytearray, deque)
_READING = frozenset((
    "copy", "count", "difference", "fromkeys", "get", "index", "intersection", "isdisjoint",
    "issubset", "issuperset", "items", "keys", "symmetric_difference", "union", "values",
    "__contains__", "__getitem__", "__iter__", "__len__", "__reduce__", "__reduce_ex__",
    "__reversed__", "__sizeof__",
))  # fmt: skip
# what a class may be asked, its constructors included
_PURE_OF_CLASSES = frozenset((
    "__new__", "__init_subclass__", "__subclasshook__", "__class_getitem__", "mro",
    "__instancecheck__", "__subclasscheck__", "from_bytes", "fromhex", "fromkeys", "maketrans",
))  # fmt: skip
# parts of the standard library that look after themselves
_TRUSTED_STDLIB = frozenset((
    "__future__", "_collections_abc", "_weakrefset", "abc", "collections", "contextlib", "copy",
    "copyreg", "dataclasses", "enum", "fractions", "functools", "heapq", "keyword", "numbers",
    "operator", "re", "reprlib", "sre_compile", "sre_parse", "stat", "string", "textwrap", "types",
    "typing", "weakref",
))  # fmt: skip
REFUSED_STDLIB = frozenset((
    "asyncio", "concurrent", "importlib", "multiprocessing", "queue", "socket", "subprocess", "tempfile",
    "threading",
))  # fmt: skip
# parts of danlu that read or write files, or keep what they are given
EFFECTFUL = ("serialization/", "utils/data/", "utils/tensorboard/")
PURE_NUMPY = frozenset((
    "broadcast_shapes", "isscalar", "issubclass_", "issubdtype", "ndim", "prod",
    "_ndim_dispatcher", "_prod_dispatcher",
))  # fmt: skip

DANLU = os.path.dirname(danlu.__file__) + os.sep
NUMPY = os.path.dirname(np.__file__) + os.sep
_STDLIB = os.path.dirname(os.__file__) + os.sep

# the installed packages that danlu calls itself
_BACK_ENDS = frozenset(("llvmlite", "scipy"))

# kinds of code
USER, LIBRARY, PLAIN, OWN = "user", "library", "plain", "own"


def kind_of(code: CodeType, module: str) -> str:
    """Whose code it is, by its file and the name of its module.

    USER code is watched, that of installed packages too, and LIBRARY code (the standard library's,
    or generated) while the user calls it; OWN code (danlu and NumPy) and PLAIN code (harmless parts
    of the standard library) are not.
    """
    file = code.co_filename
    if file.startswith((DANLU, NUMPY)):
        return OWN
    trusted = module.partition(".")[0] in _TRUSTED_STDLIB
    if file.startswith("<frozen "):
        return PLAIN if trusted or file.startswith("<frozen importlib") else LIBRARY
    if file == "<string>" and (not module or module.startswith(("danlu.", "namedtuple_"))):
        return LIBRARY  # generated, by whoever calls it
    if "site-packages" in file or "dist-packages" in file:
        return LIBRARY if module.partition(".")[0] in _BACK_ENDS else USER
    if file.startswith(_STDLIB):
        return PLAIN if trusted else LIBRARY
    return USER


def is_pure(function) -> bool:
    """Whether calling a C function changes nothing, and tells nothing that changes."""
    if id(function) in _PURE_BUILTINS:
        return True
    owner, name = getattr(function, "__self__", None), function.__name__
    if owner is None or isinstance(owner, ModuleType):
        return (getattr(function, "__module__", None) or "").partition(".")[0] in _PURE_MODULES
    if isinstance(owner, type):
        return name in _PURE_OF_CLASSES
    return isinstance(owner, _PURE_TYPES) or (isinstance(owner, MUTABLE_TYPES) and name in _READING)


# functions of danlu that answer with state that no guard looks at, grad mode and dtype aside
_READING_STATE = (
    "are_deterministic_algorithms_enabled", "get_default_device", "get_deterministic_debug_mode",
    "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads",
    "get_printoptions", "initial_seed", "is_deterministic_algorithms_warn_only_enabled",
    "is_warn_always_enabled",
)  # fmt: skip


@cache
def state_readers() -> tuple[CodeType, ...]:
    """The code of functions of danlu whose results are of the moment."""
    functions = [getattr(danlu, name) for name in _READING_STATE]
    functions += [danlu.printing.get_printoptions, LRScheduler.get_last_lr]
    functions += [vars(Tensor)["_version"].fget, vars(Tensor)["output_nr"].fget]
    functions += [vars(LRScheduler)[name] for name in ("state_dict",)]
    return tuple(function.__code__ for function in functions)
