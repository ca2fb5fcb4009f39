"""Kernels as Python callables: `kernel(count, *arguments)` runs its task for every index below
`count`, on all threads of the pool.

The callable is a CPython built-in function made at run time, which reads the arrays' addresses out
of their objects: about 50 ns a call, where ctypes takes 250 to 450. It relies on two layouts that
CPython and NumPy keep private, the data pointer of an array and the value of a float right behind
the object's head; they are checked against known objects once, and where the check fails every
call goes through ctypes.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Callable

import numpy as np

from danlu.kernels.runtime import entry, machine, memory, pool

__all__ = ["Kernel", "direct_calls", "kernel"]

_kernels: dict[tuple, Kernel] = {}
_METH_FASTCALL = 0x0080


class _MethodDefinition(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def method_definition(name: str, address: int) -> ctypes.Structure:
    """What CPython wants to know of a built-in function that takes its arguments as an array."""
    return _MethodDefinition(name.encode(), address, _METH_FASTCALL, None)


class Kernel:
    """Compiled code and the way to call it.

    Attributes:
        name: for messages and `explain`.
        call: `call(count, *arguments)`; arrays become addresses, ints i64, floats double, None a
            null pointer. Arrays are not checked: the caller answers for dtypes, strides and sizes.
            Other Python threads run meanwhile, except with count 1, which is for short work; -1 is
            one task, a long one.
        code: size and times of the machine code.
    """

    __slots__ = ("_kept", "call", "code", "name")

    def __init__(self, name: str, code: machine.Code, symbol: str):
        self.name, self.code = name, code
        address = code.addresses[symbol]
        make = _builtin if direct_calls() else _through_ctypes
        self.call, self._kept = make(name, address)

    def __repr__(self) -> str:
        return f"<kernel {self.name}, {self.code.size} bytes>"


def kernel(key: tuple, write: Callable[[], str], symbol: str = "task") -> Kernel:
    """The kernel of this key: loaded or compiled when first asked for, then kept.

    Args:
        key: the kernel's name first, then the parameters its text depends on.
        write: gives the IR text of a module that defines `symbol(ptr, i64, i64)`.
    """
    found = _kernels.get(key)
    if found is None:
        return _make(key, write, symbol)
    return found


def _make(key: tuple, write: Callable[[], str], symbol: str) -> Kernel:
    with pool.lock():
        if key not in _kernels:
            pool.ensure()
            memory.install()
            code = machine.load(key, write, (symbol,))
            _kernels[key] = Kernel(str(key[0]), code, symbol)
        return _kernels[key]


def direct_calls() -> bool:
    """Whether objects lie in memory as the built-in entry expects."""
    global _direct
    if _direct is None:
        _direct = _layouts_agree()
    return _direct


_direct: bool | None = None


def _layouts_agree() -> bool:
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if object.__basicsize__ != 16 or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    array, number = np.arange(3.0), 0.15625
    return (
        ctypes.c_size_t.from_address(id(array) + 8).value == id(np.ndarray)
        and ctypes.c_size_t.from_address(id(array) + 16).value == array.ctypes.data
        and ctypes.c_double.from_address(id(number) + 16).value == number
    )


def _builtin(name: str, address: int):
    table = np.array([address], dtype=np.uint64)
    entry = pool.ensure().code.addresses["danlu_entry"]
    definition = method_definition(name, entry)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = (
        ctypes.py_object,
        (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p),
    )
    return make(ctypes.addressof(definition), table, None), (definition, table)


def _through_ctypes(name: str, address: int):
    parallel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(
        pool.ensure().code.addresses["danlu_parallel"]
    )

    def call(count, *arguments):
        if type(count) is not int or len(arguments) > entry.MAX_ARGUMENTS:
            raise TypeError(entry.WRONG)
        slots = (ctypes.c_int64 * max(1, len(arguments)))()
        for number, argument in enumerate(arguments):
            if type(argument) is np.ndarray:
                slots[number] = argument.ctypes.data
            elif type(argument) is float:
                ctypes.c_double.from_buffer(slots, 8 * number).value = argument
            elif argument is not None:
                if type(argument) is not int:
                    raise TypeError(entry.WRONG)
                slots[number] = argument
        parallel(address, slots, abs(count))

    return call, parallel
