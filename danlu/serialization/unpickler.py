"""The reader of pickles behind `weights_only=True`: it builds data, and nothing else.

A pickle is a program for a small stack machine. This machine has the instructions that data needs;
the ones that import, call or change objects check their operands against the allowlist first.
"""

from __future__ import annotations

import pickle
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict, defaultdict
from pickle import UnpicklingError

from danlu.serialization.allowlist import (
    BLOCKED_MODULES,
    allowed_always,
    allowed_by_user,
    checked_key,
    constructors,
)

_DICTIONARIES = (dict, OrderedDict, Counter, defaultdict)
_SHORT = 64
_ONLY_IF_TRUSTED = (
    "If you trust the file, allow the name with danlu.serialization.add_safe_globals([{name}]),\n"
    "or load with weights_only=False, which runs whatever code the file holds."
)


class ForbiddenGlobal(UnpicklingError):
    """A pickle refers to something that is not on the list."""


class DataUnpickler:
    """Reads one pickle from a buffer.

    Args:
        buffer: bytes, or anything with their slicing.
        position: where the pickle begins.
        persistent_load: called with each persistent id, which is how a file refers to storages.
        encoding: for the byte strings of Python 2.
    """

    def __init__(self, buffer, position=0, persistent_load=None, encoding="utf-8"):
        self._buffer = memoryview(buffer)
        self.position = position
        self._persistent_load = persistent_load
        self._encoding = encoding
        self._stack = []
        self._marked = []
        self._memo = {}
        self._of_storages = None  # an error from persistent_load, which is not about the pickle
        self._budget = len(self._buffer)
        self._by_user = allowed_by_user()

    def load(self):
        """The object of the pickle.

        Raises:
            UnpicklingError: the pickle is malformed, or asks for what is not allowed.
        """
        try:
            while True:
                opcode = self._byte()
                if opcode == pickle.STOP[0]:
                    return self._stack.pop()
                instruction = _INSTRUCTIONS.get(opcode)
                if instruction is None:
                    raise UnpicklingError(
                        f"instruction {bytes([opcode])!r} at byte {self.position - 1} "
                        "is not one that data needs"
                    )
                instruction(self)
        except UnpicklingError:
            raise
        except Exception as error:
            if error is self._of_storages:
                raise
            raise UnpicklingError(
                f"malformed data at byte {self.position}: {type(error).__name__}: {error}"
            ) from error

    # ------------------------------------------------------------ reading
    def _take(self, count):
        begin = self.position
        if count > len(self._buffer) - begin:
            raise UnpicklingError(f"the data ends within {count} bytes announced at byte {begin}")
        self.position = begin + count
        return self._buffer[begin : begin + count]

    def _byte(self):
        begin = self.position
        if begin == len(self._buffer):
            raise UnpicklingError("the data ends too soon")
        self.position = begin + 1
        return self._buffer[begin]

    def _number(self, format):
        return struct.unpack(format, self._take(struct.calcsize(format)))[0]

    def _line(self):
        begin = self.position
        while self._byte() != 0x0A:
            pass
        return bytes(self._buffer[begin : self.position - 1]).decode()

    def _pop_to_mark(self):
        items, self._stack = self._stack, self._marked.pop()
        return items

    # ------------------------------------------------------------ names and calls
    def _find(self, module, name):
        if (module, name) in NAME_MAPPING:
            module, name = NAME_MAPPING[module, name]
        module = IMPORT_MAPPING.get(module, module)
        full_name = f"{module}.{name}"
        if module.partition(".")[0] not in BLOCKED_MODULES:
            for allowed in (allowed_always(), self._by_user):
                if full_name in allowed:
                    self._stack.append(allowed[full_name])
                    return
            hint = "\n" + _ONLY_IF_TRUSTED.format(name=full_name.removeprefix("builtins."))
        else:
            hint = " It is never allowed: the file may be an attack."
        raise ForbiddenGlobal(f"GLOBAL {full_name} was not an allowed global by default.{hint}")

    def _is_users(self, value):
        return any(value is each for each in self._by_user.values())

    def _constructor(self, value):
        found = constructors().get(id(value))
        if found is None and self._is_users(value):
            found = value
        if found is None:
            name = getattr(value, "__name__", type(value).__name__)
            raise UnpicklingError(f"the file calls {name}, which is not allowed")
        return found

    def _global(self):
        module = self._line()
        self._find(module, self._line())

    def _stack_global(self):
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise UnpicklingError("a global is named by two strings")
        self._find(module, name)

    def _arguments(self):
        arguments = self._stack.pop()
        if type(arguments) is not tuple:
            raise UnpicklingError("the arguments of a call are not a tuple")
        # One large object, copied again and again, would make a small file fill the memory.
        for argument in arguments:
            if isinstance(argument, (tuple, list, dict, str, bytes)):
                self._budget -= max(0, len(argument) - _SHORT)
        if self._budget < 0:
            raise UnpicklingError("the file copies its data more often than its size explains")
        return arguments

    def _reduce(self):
        arguments = self._arguments()
        self._stack[-1] = self._constructor(self._stack[-1])(*arguments)

    def _new_object(self):
        arguments, cls = self._arguments(), self._stack.pop()
        constructor = self._constructor(cls)
        if self._is_users(cls):
            self._stack.append(cls.__new__(cls, *arguments))
        else:
            self._stack.append(constructor(*arguments))

    def _build(self):
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is OrderedDict:
            # State dicts carry `_metadata`; a name of OrderedDict's own would break the object.
            if type(state) is not dict or any(hasattr(OrderedDict, key) for key in state):
                raise UnpicklingError("an OrderedDict's attributes must not hide its methods")
            vars(target).update(state)
        elif self._is_users(type(target)):
            _set_state(target, state)
        else:
            raise UnpicklingError(f"the file sets attributes of a {type(target).__name__}")

    def _persistent_id(self):
        if self._persistent_load is None:
            raise UnpicklingError("the file refers to a storage where none can be")
        entry = self._stack.pop()
        try:
            self._stack.append(self._persistent_load(entry))
        except Exception as error:
            self._of_storages = error
            raise

    # ------------------------------------------------------------ containers
    def _append(self):
        item = self._stack.pop()
        self._target(list).append(item)

    def _appends(self):
        items = self._pop_to_mark()
        self._target(list).extend(items)

    def _add_items(self):
        items = self._pop_to_mark()
        self._target(set).update(map(checked_key, items))

    def _set_item(self):
        value, key = self._stack.pop(), self._stack.pop()
        self._target(*_DICTIONARIES)[checked_key(key)] = value

    def _set_items(self):
        items = self._pop_to_mark()
        target = self._target(*_DICTIONARIES)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _target(self, *types):
        target = self._stack[-1]
        if type(target) not in types:
            raise UnpicklingError(f"the file adds items to a {type(target).__name__}")
        return target

    def _mark(self):
        self._marked.append(self._stack)
        self._stack = []

    def _pop_mark(self):
        self._pop_to_mark()

    def _pop(self):
        if self._stack:
            self._stack.pop()
        else:
            self._pop_to_mark()

    def _tuple_from_mark(self):
        items = self._pop_to_mark()
        self._stack.append(tuple(items))

    def _frozenset_from_mark(self):
        items = self._pop_to_mark()
        self._stack.append(frozenset(map(checked_key, items)))

    # ------------------------------------------------------------ memo
    def _get(self, index):
        self._stack.append(self._memo[index])

    def _put(self, index):
        self._memo[index] = self._stack[-1]


def _set_state(target, state):
    """What pickle does with an object's state, for classes that the user has allowed."""
    if hasattr(target, "__setstate__"):
        target.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        vars(target).update(attributes)
    for name, value in (slots or {}).items():
        setattr(target, name, value)


def _pushes(make):
    """An instruction that pushes what `make(machine)` reads."""

    def instruction(machine):
        value = make(machine)
        machine._stack.append(value)

    return instruction


def _tuple_of(count):
    def instruction(machine):
        stack = machine._stack
        if len(stack) < count:
            raise UnpicklingError("the stack holds too little")
        stack[-count:] = [tuple(stack[-count:])]

    return instruction


def _text(length_format):
    return _pushes(lambda m: str(m._take(m._number(length_format)), "utf-8", "surrogatepass"))


def _byte_string(length_format, make=bytes):
    return _pushes(lambda m: make(m._take(m._number(length_format))))


def _python2_string(length_format):
    def read(machine):
        content = bytes(machine._take(machine._number(length_format)))
        return content if machine._encoding == "bytes" else content.decode(machine._encoding)

    return _pushes(read)


def _integer(length_format):
    def read(machine):
        return int.from_bytes(machine._take(machine._number(length_format)), "little", signed=True)

    return _pushes(read)


_INSTRUCTIONS = {
    opcode[0]: instruction
    for opcode, instruction in {
        pickle.PROTO: lambda m: m._take(1),
        pickle.FRAME: lambda m: m._take(8),
        pickle.GLOBAL: DataUnpickler._global,
        pickle.STACK_GLOBAL: DataUnpickler._stack_global,
        pickle.REDUCE: DataUnpickler._reduce,
        pickle.NEWOBJ: DataUnpickler._new_object,
        pickle.BUILD: DataUnpickler._build,
        pickle.BINPERSID: DataUnpickler._persistent_id,
        pickle.APPEND: DataUnpickler._append,
        pickle.APPENDS: DataUnpickler._appends,
        pickle.ADDITEMS: DataUnpickler._add_items,
        pickle.SETITEM: DataUnpickler._set_item,
        pickle.SETITEMS: DataUnpickler._set_items,
        pickle.MARK: DataUnpickler._mark,
        pickle.POP: DataUnpickler._pop,
        pickle.POP_MARK: DataUnpickler._pop_mark,
        pickle.TUPLE: DataUnpickler._tuple_from_mark,
        pickle.FROZENSET: DataUnpickler._frozenset_from_mark,
        pickle.TUPLE1: _tuple_of(1),
        pickle.TUPLE2: _tuple_of(2),
        pickle.TUPLE3: _tuple_of(3),
        pickle.NONE: _pushes(lambda m: None),
        pickle.NEWTRUE: _pushes(lambda m: True),
        pickle.NEWFALSE: _pushes(lambda m: False),
        pickle.EMPTY_TUPLE: _pushes(lambda m: ()),
        pickle.EMPTY_LIST: _pushes(lambda m: []),
        pickle.EMPTY_DICT: _pushes(lambda m: {}),
        pickle.EMPTY_SET: _pushes(lambda m: set()),
        pickle.BININT: _pushes(lambda m: m._number("<i")),
        pickle.BININT1: _pushes(lambda m: m._byte()),
        pickle.BININT2: _pushes(lambda m: m._number("<H")),
        pickle.BINFLOAT: _pushes(lambda m: m._number(">d")),
        pickle.LONG1: _integer("<B"),
        pickle.LONG4: _integer("<I"),
        pickle.BINUNICODE: _text("<I"),
        pickle.SHORT_BINUNICODE: _text("<B"),
        pickle.BINUNICODE8: _text("<Q"),
        pickle.BINBYTES: _byte_string("<I"),
        pickle.SHORT_BINBYTES: _byte_string("<B"),
        pickle.BINBYTES8: _byte_string("<Q"),
        pickle.BYTEARRAY8: _byte_string("<Q", bytearray),
        pickle.SHORT_BINSTRING: _python2_string("<B"),
        pickle.BINSTRING: _python2_string("<I"),
        pickle.BINGET: lambda m: m._get(m._byte()),
        pickle.LONG_BINGET: lambda m: m._get(m._number("<I")),
        pickle.BINPUT: lambda m: m._put(m._byte()),
        pickle.LONG_BINPUT: lambda m: m._put(m._number("<I")),
        pickle.MEMOIZE: lambda m: m._put(len(m._memo)),
    }.items()
}
