"""The names that a checkpoint may refer to: a fixed list, and what users add to it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from functools import cache

from danlu.serialization import names
from danlu.serialization.names import torch_name
from danlu.serialization.rebuild import rebuild_from_type_v2
from danlu.size import Size
from danlu.tensor import Tensor

# Not even users can allow what lies in these.
BLOCKED_MODULES = ("sys", "os", "posix", "nt")
_LONGEST_KEY = 1000

_added: dict = {}


def add_safe_globals(safe_globals):
    """Let checkpoints refer to these classes and functions under `weights_only=True`.

    Args:
        safe_globals: a list of classes or functions, or of pairs of one and the name that files use
            for it (`"module.name"`). Loading calls them with arguments from the file.

    Example:
        >>> from fractions import Fraction
        >>> import danlu as torch
        >>> torch.serialization.add_safe_globals([Fraction])
        >>> torch.serialization.get_safe_globals()
        [<class 'fractions.Fraction'>]
        >>> torch.serialization.clear_safe_globals()
    """
    for entry in safe_globals:
        _added[_key(entry)] = entry


def get_safe_globals():
    """The list of what `add_safe_globals` has added."""
    return list(_added.values())


def clear_safe_globals():
    """Take back everything that `add_safe_globals` has added."""
    _added.clear()


class safe_globals:
    """A context in which these globals are allowed too.

    Args:
        safe_globals: as for `add_safe_globals`.
    """

    def __init__(self, safe_globals):
        self.safe_globals = list(safe_globals)

    def __enter__(self):
        self._before = dict(_added)
        add_safe_globals(self.safe_globals)

    def __exit__(self, kind, value, traceback):
        _added.clear()
        _added.update(self._before)


def _key(entry):
    """The name that files use for an entry of the users' list."""
    if not isinstance(entry, tuple):
        return f"{entry.__module__}.{entry.__qualname__}"
    if len(entry) != 2:
        raise ValueError(
            "Expected tuple of length 2 (global, str of callable full path), "
            f"but got tuple of length: {len(entry)}"
        )
    if type(entry[1]) is not str:
        raise TypeError(
            "Expected second item in tuple to be str of callable full path, "
            f"but got: {type(entry[1])}"
        )
    return entry[1]


def allowed_by_user():
    """Name to object for what users have added; danlu's own classes go by PyTorch's names too."""
    allowed = {}
    for key, entry in _added.items():
        value = entry[0] if isinstance(entry, tuple) else entry
        allowed[key] = value
        where = torch_name(value)
        if where is not None:
            allowed[".".join(where)] = value
    return allowed


@cache
def allowed_always():
    """Name to object for the fixed list."""
    allowed = {".".join(where): value for where, value in names.STORAGES.items()}
    for group in (names.DTYPES, names.CLASSES, names.REBUILDERS):
        allowed.update({".".join(where): value for where, value in group.items()})
    parameter = names.find("torch.nn.parameter", "Parameter")
    allowed["torch.nn.parameter.Parameter"] = parameter
    for cls in (OrderedDict, Counter, defaultdict):
        allowed[f"collections.{cls.__name__}"] = cls
    for cls in (*_FACTORIES, bytes, bytearray, frozenset):
        allowed[f"builtins.{cls.__name__}"] = cls
    allowed["_codecs.encode"] = _encode
    return allowed


@cache
def constructors():
    """Identity of an object to what a call of it does; the other allowed names are values only."""
    parameter = names.find("torch.nn.parameter", "Parameter")
    made_by = {
        **{function: function for function in names.REBUILDERS.values()},
        rebuild_from_type_v2: _from_type,
        names.CLASSES["torch", "device"]: names.CLASSES["torch", "device"],
        Size: _size,
        parameter: _parameter,
        OrderedDict: _ordered_dict,
        Counter: _counter,
        defaultdict: _defaultdict,
        set: _set,
        frozenset: lambda items=(): frozenset(_set(items)),
        complex: _complex,
        bytes: _bytes,
        bytearray: lambda *parts: bytearray(_bytes(*parts)),
        _encode: _encode,
    }
    return {id(value): function for value, function in made_by.items()}


# What a defaultdict may make by itself.
_FACTORIES = (list, dict, set, int, float, bool, str, complex, tuple)


def checked_key(key):
    """A dictionary key that is safe to hash: deeply nested tuples would exhaust the stack."""
    if isinstance(key, tuple):
        pending, seen = [key], 0
        while pending:
            for item in pending.pop():
                seen += 1
                if isinstance(item, tuple):
                    pending.append(item)
            if seen > _LONGEST_KEY:
                raise ValueError("a dictionary key or set element is a tuple of too many parts")
    return key


def _expect(value, *types):
    if type(value) not in types:
        wanted = " or ".join(each.__name__ for each in types)
        raise TypeError(f"expected {wanted}, got {type(value).__name__}")
    return value


def _from_type(function, cls, arguments, state):
    rebuilds = (each for each in names.REBUILDERS.values() if each is not rebuild_from_type_v2)
    if not any(function is each for each in rebuilds):
        raise TypeError("a tensor of a subclass is made by one of torch._utils's functions")
    return rebuild_from_type_v2(function, cls, _expect(arguments, tuple), state)


def _size(sizes=()):
    return Size([_expect(size, int) for size in _expect(sizes, tuple, list)])


def _parameter(data, requires_grad=True):
    parameter = names.find("torch.nn.parameter", "Parameter")
    if not isinstance(data, Tensor):
        raise TypeError(f"expected Tensor, got {type(data).__name__}")
    return parameter(data, _expect(requires_grad, bool))


def _ordered_dict(pairs=()):
    made = OrderedDict()
    for pair in _expect(pairs, tuple, list):
        key, value = _expect(pair, tuple, list)
        made[checked_key(key)] = value
    return made


def _counter(counts=None):
    return Counter(_expect(counts if counts is not None else {}, dict))


def _defaultdict(factory=None):
    known = (None, *_FACTORIES, OrderedDict, Counter)
    if not any(factory is each for each in known):
        raise TypeError(f"a defaultdict of {factory!r} is not allowed")
    return defaultdict(factory)


def _set(items=()):
    return {checked_key(item) for item in _expect(items, tuple, list)}


def _complex(real, imag=0.0):
    return complex(_expect(real, int, float), _expect(imag, int, float))


def _encode(text, encoding="latin1"):
    # Pickle's protocol 2 writes bytes as text; other encodings would import their codecs.
    if encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise ValueError(f"encoding {encoding!r} is not allowed")
    return _expect(text, str).encode(encoding)


def _bytes(content=b"", *encoding):
    if type(content) is str:
        return _encode(content, *encoding)
    return bytes(_expect(content, bytes))
