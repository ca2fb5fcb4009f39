"""Built-in functions that take and return arrays, for small ones, where the calls are the work.

Such a function stands in for a Python function. It looks at its arguments in machine code: are
they plain C-ordered float32 arrays, of the shapes and sizes it knows? If so it makes the result and
returns it, 100 to 300 ns after it was called; if not it calls the Python function with the same
arguments. That relies on the layout of NumPy's array object, which is checked once against a known
array.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Hashable, Mapping

import numpy as np

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I32, I64, PTR, Type
from danlu.kernels.runtime import launch, machine, pool

__all__ = ["ArrayFunction", "agree", "load", "provide"]

# Where NumPy keeps the fields of an array, behind the object's head.
_DATA, _NDIM, _DIMENSIONS, _STRIDES, _DTYPE, _FLAGS = 16, 24, 32, 40, 56, 64
_ORDERED = 0x0101  # C_CONTIGUOUS | ALIGNED
_FLOAT32 = 11  # NumPy's number of the type
# What functions compare their arguments with: interned texts, and objects of which there is one.
_TEXTS = ("mean",)
_CONSTANTS = {"minus_one": -1, "one": 1, "true": True, "false": False}
_DTYPES = {"float32": np.dtype(np.float32), "int64": np.dtype(np.int64)}
_PYARRAY_NEW = 93  # place of PyArray_New in NumPy's table of functions


class ArrayFunction:
    """A built-in function being written: arguments are checked as they are asked for.

    Args:
        name: its symbol, and its name in Python.
        count: how many arguments it takes.
    """

    def __init__(self, name: str, count: int):
        parameters = [("self", PTR), ("given", PTR), ("number", I64)]
        self.f = f = Function(name, parameters, PTR)
        self._given = f.parameters[1]
        self._room = f.stack(I64, 2)
        self._refused, self._failed = f.new_block(), f.new_block()
        self._require(f.compare("eq", f.parameters[2], count))

    def _symbol(self, name: str) -> Value:
        return Value(self.f, f"@{name}", PTR)

    def _require(self, condition: Value, otherwise: str | None = None) -> None:
        f = self.f
        following = f.new_block()
        f.branch(condition, following, otherwise or self._refused)
        f.begin(following)

    def _field(self, thing: Value, offset: int, type: Type) -> Value:
        return self.f.load(self.f.at(thing, offset, Type("i8")), type)

    def object(self, number: int) -> Value:
        """An argument as it is."""
        return self.f.load(self._given, PTR, number)

    def is_none(self, number: int) -> Value:
        return self.f.compare("eq", self.object(number), self._symbol("danlu_none"))

    def none_expected(self, number: int) -> None:
        """Refuse anything but None."""
        self._require(self.is_none(number))

    def text_expected(self, number: int, text: str) -> None:
        """Refuse anything but this interned text, one of `_TEXTS`."""
        expected = self._symbol(f"danlu_text_{text}")
        self._require(self.f.compare("eq", self.object(number), expected))

    def last_axis_expected(self, number: int, of: int) -> None:
        """Refuse anything but the number of the last axis of an array: -1, or 1 of two axes."""
        f, given = self.f, self.object(number)
        last = f.compare("eq", given, self._symbol("danlu_minus_one"))
        one = f.compare("eq", given, self._symbol("danlu_one"))
        two = f.compare("eq", self._field(self.object(of), _NDIM, I32), 2)
        self._require(last | (one & two))

    def false_expected(self, number: int) -> None:
        """Refuse anything but False."""
        self._require(self.f.compare("eq", self.object(number), self._symbol("danlu_false")))

    def is_float(self, number: int) -> Value:
        """Whether an argument is a Python float."""
        kind = self._field(self.object(number), 8, PTR)
        return self.f.compare("eq", kind, self._symbol("danlu_float_type"))

    def float(self, number: int) -> Value:
        """The value of a Python float, rounded to float32."""
        return self.f.convert(self._field(self.object(number), 16, DOUBLE), FLOAT)

    def truth(self, number: int) -> Value:
        """Whether an argument is True."""
        return self.f.compare("eq", self.object(number), self._symbol("danlu_true"))

    def array(
        self, number: int, ndim: int | None, dtype: str = "float32"
    ) -> tuple[Value, list[Value]]:
        """The data and the sizes of a C-ordered array of `ndim` axes; of any number of axes (None),
        the data alone."""
        f = self.f
        thing = self.object(number)
        kind = f.compare("eq", self._field(thing, 8, PTR), self._symbol("danlu_ndarray_type"))
        self._require(kind)
        known = self._symbol(f"danlu_{dtype}")
        ordered = f.compare("eq", self._field(thing, _FLAGS, I32) & _ORDERED, _ORDERED)
        fits = f.compare("eq", self._field(thing, _DTYPE, PTR), known) & ordered
        if ndim is not None:
            fits = fits & f.compare("eq", self._field(thing, _NDIM, I32), ndim)
        self._require(fits)
        sizes = self._field(thing, _DIMENSIONS, PTR)
        return self._field(thing, _DATA, PTR), [
            f.load(sizes, I64, axis) for axis in range(ndim or 0)
        ]

    def last(self, number: int) -> Value:
        """The length of the last axis of an array that `array` has accepted, 1 of no axes."""
        f = self.f
        thing = self.object(number)
        ndim = f.convert(self._field(thing, _NDIM, I32), I64)
        sizes = self._field(thing, _DIMENSIONS, PTR)
        return f.either(
            f.compare("eq", ndim, 0), lambda: [f.value(1, I64)],
            lambda: [f.load(sizes, I64, ndim - 1)],
        )[0]  # fmt: skip

    def size(self, number: int) -> Value:
        """The number of elements of an array that `array` has accepted."""
        f = self.f
        thing = self.object(number)
        sizes = self._field(thing, _DIMENSIONS, PTR)
        ndim = f.convert(self._field(thing, _NDIM, I32), I64)
        with f.loop(0, ndim, carried=[f.value(1, I64)]) as loop:
            loop.carry(loop.values[0] * f.load(sizes, I64, loop.index))
        return loop.results[0]

    def same_shape(self, first: int, second: int) -> None:
        """Refuse two arrays of different shapes."""
        f = self.f
        one, other = self.object(first), self.object(second)
        ndim = self._field(one, _NDIM, I32)
        self._require(f.compare("eq", ndim, self._field(other, _NDIM, I32)))
        ours, theirs = self._field(one, _DIMENSIONS, PTR), self._field(other, _DIMENSIONS, PTR)
        with f.loop(0, f.convert(ndim, I64), carried=[f.value(0, I64)]) as loop:
            difference = f.load(ours, I64, loop.index) ^ f.load(theirs, I64, loop.index)
            loop.carry(loop.values[0] | difference)
        self._require(f.compare("eq", loop.results[0], 0))

    def at_most(self, value: Value, limit: int) -> None:
        """Refuse larger work, which other code does better."""
        self._require(self.f.compare("ule", value, limit))

    def equal(self, left: Value, right: Value) -> None:
        """Refuse sizes that differ."""
        self._require(self.f.compare("eq", left, right))

    def new(self, *sizes) -> tuple[Value, Value]:
        """A new float32 array and its data."""
        for axis, size in enumerate(sizes):
            self.f.store(self.f.value(size, I64), self._room, axis)
        return self._made(self.f.value(len(sizes), I32), self._room)

    def new_like(self, number: int) -> tuple[Value, Value]:
        """A new float32 array of the shape of an argument, and its data."""
        thing = self.object(number)
        return self._made(self._field(thing, _NDIM, I32), self._field(thing, _DIMENSIONS, PTR))

    def _made(self, ndim: Value, sizes: Value) -> tuple[Value, Value]:
        f = self.f
        null, none = f.value(0, PTR), f.value(0, I32)
        kind = self._symbol("danlu_ndarray_type")
        made = f.call("danlu_array_new", PTR, kind, ndim, sizes, f.value(_FLOAT32, I32), null, null,
                      none, none, null)  # fmt: skip
        self._require(f.compare("ne", made, null), self._failed)
        return made, self._field(made, _DATA, PTR)

    def none(self) -> Value:
        """None, counted."""
        self.f.call("Py_IncRef", Type("void"), self._symbol("danlu_none"))
        return self._symbol("danlu_none")

    def pack(self, *things: Value) -> Value:
        """A tuple that takes over the objects."""
        f = self.f
        made = f.call("PyTuple_New", PTR, f.value(len(things), I64))
        self._require(f.compare("ne", made, f.value(0, PTR)), self._failed)
        for place, thing in enumerate(things):
            f.call("PyTuple_SetItem", I32, made, f.value(place, I64), thing)
        return made

    def finish(self, result: Value) -> Function:
        """Return the result; the function is complete."""
        f = self.f
        f.ret(result)
        f.begin(self._refused)
        this, given, number = f.parameters
        f.ret(f.call("PyObject_VectorcallDict", PTR, this, given, number, f.value(0, PTR)))
        f.begin(self._failed)
        f.ret(f.value(0, PTR))
        return f


def text(*functions: Function) -> str:
    """The module of such functions."""
    symbols = ["danlu_ndarray_type", "danlu_float_type", "danlu_none",
               *(f"danlu_text_{word}" for word in _TEXTS),
               *(f"danlu_{name}" for name in (*_CONSTANTS, *_DTYPES))]  # fmt: skip
    return (
        "".join(f"@{name} = external global i8\n" for name in symbols) + Module(*functions).text()
    )


def load(
    key: tuple, write: Callable[[], str], wanted: Mapping[Hashable, tuple[str, Callable]]
) -> dict[Hashable, Callable] | None:
    """The Python callables of a module of array functions; None where layouts are not as expected.

    Args:
        key, write: as of `launch.kernel`.
        wanted: by any label, (name of the function in the module, the Python function that is
            called with arguments it does not take).
    """
    if not agree():
        return None
    names = tuple(sorted({name for name, _ in wanted.values()}))
    with pool.lock():
        pool.ensure()
        provide()
        code = machine.load(key, write, names)
    return {label: _callable(name, code, other) for label, (name, other) in wanted.items()}


def _callable(name: str, code: machine.Code, fallback: Callable) -> Callable:
    definition = launch.method_definition(name, code.addresses[name])
    _kept.append((definition, code))
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return make(ctypes.addressof(definition), fallback, None)


_kept: list = []  # what the functions point to
_provided = False


def _numpy_table() -> int:
    """The address of NumPy's table of C functions."""
    from numpy._core import _multiarray_umath

    read = ctypes.pythonapi.PyCapsule_GetPointer
    read.restype, read.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return read(_multiarray_umath._ARRAY_API, None)


def provide() -> None:
    """Let generated code name what such functions need of CPython and NumPy."""
    global _provided
    if _provided:
        return
    _provided = True
    new = ctypes.c_void_p.from_address(_numpy_table() + 8 * _PYARRAY_NEW)
    machine.provide("danlu_array_new", new.value or 0)
    for name, dtype in _DTYPES.items():
        machine.provide(f"danlu_{name}", id(dtype))
    for name, constant in _CONSTANTS.items():
        machine.provide(f"danlu_{name}", id(constant))
    for word in _TEXTS:
        machine.provide(f"danlu_text_{word}", id(sys.intern(word)))
    for name in ("PyTuple_New", "PyTuple_SetItem", "PyObject_VectorcallDict", "Py_DecRef"):
        function = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p)
        machine.provide(name, function.value or 0)


def agree() -> bool:
    """Whether arrays lie in memory as the generated code expects."""
    global _agreed
    if _agreed is None:
        _agreed = launch.direct_calls() and _fields_agree()
    return _agreed


_agreed: bool | None = None


def _fields_agree() -> bool:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    def field(offset, kind=ctypes.c_size_t):
        return kind.from_address(id(array) + offset).value

    return (
        np.dtype(np.float32) is array.dtype
        and field(_NDIM, ctypes.c_int32) == 2
        and [ctypes.c_ssize_t.from_address(field(_DIMENSIONS) + 8 * k).value for k in (0, 1)]
        == [2, 3]
        and [ctypes.c_ssize_t.from_address(field(_STRIDES) + 8 * k).value for k in (0, 1)]
        == [12, 4]
        and field(_DTYPE) == id(array.dtype)
        and field(_FLAGS, ctypes.c_int32) & _ORDERED == array.flags.num & _ORDERED == _ORDERED
    )
