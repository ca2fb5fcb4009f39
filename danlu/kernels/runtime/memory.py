"""A cache of large arrays' memory under NumPy.

Memory fresh from the system costs as much as a convolution: the kernel clears every page when it is
first touched, 64 MiB in 15 ms, and glibc gives large blocks back as soon as they are freed. Here
blocks from 64 KiB on are kept when they are freed and handed out again, joined with their neighbours
and cut to size (at most 12.5 % of a block is unused). They come from one reserved range of
addresses, which the system is asked to back with huge pages; an address alone tells whose a block
is, so arrays made before, small arrays and what libraries allocate go NumPy's own way, untouched
and at its speed. What is free stays within a limit; beyond it pages go back to
the system at once, and so they do, all of them, when an allocation fails or `empty_cache` is called.

NumPy's default handler (NEP 49) is changed in place. `PyDataMem_SetHandler` would set a variable of
the present context instead, which other threads and the next cell of a notebook do not see.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
from typing import NamedTuple

from danlu.kernels.runtime import blocks as layout
from danlu.kernels.runtime import machine
from danlu.kernels.runtime.arena import TEXT

__all__ = ["Statistics", "empty_cache", "install", "limit", "reason", "statistics"]

_MAP_NORESERVE, _MADV_HUGEPAGE, _HUGE_PAGE = 0x4000, 14, 2 << 20
_MOST_ADDRESSES = 4 << 40
# NumPy's table of functions: its version, its default handler; and the layout of a handler:
# char name[127]; uint8_t version; void *context, *malloc, *calloc, *realloc, *free.
_GET_ABI, _DEFAULT_HANDLER = 0, 306
_ABI, _NAME, _VERSION, _FUNCTIONS = 0x2000000, b"default_allocator", 1, 136


class Statistics(NamedTuple):
    """Bytes and counts of blocks from 64 KiB on.

    Attributes:
        allocated: bytes in use now.
        peak: the most bytes that were in use at a time.
        cached: bytes that are free and kept.
        limit: how many bytes may be kept.
        hits: requests that were served with kept memory.
        misses: requests that took new memory from the system.
    """

    allocated: int
    peak: int
    cached: int
    limit: int
    hits: int
    misses: int


_EXPORTS = (
    "danlu_memory_malloc", "danlu_memory_calloc", "danlu_memory_realloc", "danlu_memory_free",
    "danlu_memory_release",
)  # fmt: skip
_KEPT = layout.MALLOC, layout.CALLOC, layout.REALLOC, layout.FREE


class Arena:
    """The reserved addresses and the code that hands them out."""

    def __init__(self, bytes_kept: int):
        self._system = ctypes.CDLL(None, use_errno=True)
        self._system.mmap.restype = ctypes.c_void_p
        # More addresses than memory, for what lies between the blocks of changing sizes.
        reserved = min(4 * memory_of_the_machine(), _MOST_ADDRESSES)
        while (start := self._map(reserved)) is None:
            reserved //= 2
            if reserved < 1 << 30:
                raise OSError("the system grants no range of addresses")
        self.address, tables = start, start + layout.HEADER
        table = 4 * (reserved >> layout.GRAIN_BITS)
        base = -(-(tables + 4 * table) // _HUGE_PAGE) * _HUGE_PAGE
        reserved -= base - start
        # Where this is refused the cache works with small pages, at half the gain.
        self._system.madvise(ctypes.c_void_p(base), ctypes.c_size_t(reserved), _MADV_HUGEPAGE)
        for offset, value in (
            (layout.BASE, base), (layout.RESERVED, reserved), (layout.LARGEST, reserved // 4),
            (layout.LIMIT, bytes_kept), (layout.SIZES, tables), (layout.ENDS, tables + table),
            (layout.NEXT, tables + 2 * table), (layout.PREVIOUS, tables + 3 * table),
        ):  # fmt: skip
            self.write(offset, value)
        machine.provide("danlu_memory", self.address)
        self.code = machine.load(("memory",), lambda: TEXT, _EXPORTS)
        release = self.code.addresses["danlu_memory_release"]
        self.release = ctypes.CFUNCTYPE(ctypes.c_int64)(release)

    def _map(self, size: int) -> int | None:
        """Addresses without pages, which come when they are touched; None where that is refused."""
        found = self._system.mmap(
            None, ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE,
            mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE, -1, ctypes.c_long(0),
        )  # fmt: skip
        return None if found == ctypes.c_void_p(-1).value else found

    def read(self, offset: int) -> int:
        return ctypes.c_int64.from_address(self.address + offset).value

    def write(self, offset: int, value: int) -> None:
        ctypes.c_int64.from_address(self.address + offset).value = value

    def after_fork(self) -> None:
        """In a child process: a thread that was changing the lists is not there to finish. Arrays
        made before keep their memory then, and new ones get NumPy's."""
        lock = ctypes.c_int32.from_address(self.address + layout.LOCK)
        if lock.value:
            self.write(layout.LARGEST, 0)
            lock.value = 0


_arena: Arena | None = None
_reason: str | None = "no kernel has been loaded yet"


def limit() -> int:
    """Bytes of free memory that may be kept: DANLU_MEMORY_CACHE, or a quarter of the machine's or
    the container's memory; 0 turns the cache off."""
    asked = os.environ.get("DANLU_MEMORY_CACHE", "")
    return int(asked) if asked.isdecimal() else memory_of_the_machine() // 4


def install() -> None:
    """Give NumPy the cache, if that is possible here; `reason` tells why not."""
    global _arena, _reason
    if _arena is not None:
        return
    _reason = _obstacle()
    if _reason is not None:
        return
    try:
        arena = Arena(limit())
        handler = _default_handler()
        if isinstance(handler, str):
            _reason = handler
            return
        _replace(arena, handler)
    except (ImportError, AttributeError, ValueError, OSError, RuntimeError) as error:
        _reason = str(error)
        return
    _arena = arena
    os.register_at_fork(after_in_child=arena.after_fork)


def reason() -> str | None:
    """Why memory is not cached; None when it is."""
    return _reason


def empty_cache() -> int:
    """Give all memory that is free and kept back to the system; how many bytes it was."""
    return 0 if _arena is None else _arena.release()


def statistics() -> Statistics:
    """What the cache holds now, and how often it served."""
    if _arena is None:
        return Statistics(0, 0, 0, 0, 0, 0)
    return Statistics(
        *map(
            _arena.read,
            (layout.LIVE, layout.PEAK, layout.CACHED, layout.LIMIT, layout.HITS, layout.MISSES),
        )
    )


def _obstacle() -> str | None:
    if limit() == 0:
        return "DANLU_MEMORY_CACHE=0"
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return "it is written for 64-bit Linux"
    if sys.implementation.name != "cpython":
        return "it is written for CPython"
    import resource

    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return "addresses are limited (ulimit -v)"
    if _lines("/proc/sys/vm/overcommit_memory")[:1] == ["2"]:
        return "addresses count as memory (vm.overcommit_memory = 2)"
    return None


def _default_handler() -> int | str:
    """The address of NumPy's default handler, or what is not as expected about it."""
    from numpy._core import _multiarray_umath

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = pointer(_multiarray_umath._ARRAY_API, None)
    functions = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))
    if ctypes.CFUNCTYPE(ctypes.c_uint)(functions[_GET_ABI])() != _ABI:
        return "NumPy has another ABI"
    capsule = ctypes.cast(functions[_DEFAULT_HANDLER], ctypes.POINTER(ctypes.py_object))[0]
    handler = pointer(capsule, b"mem_handler")
    if ctypes.string_at(handler) != _NAME or ctypes.string_at(handler + 127, 1)[0] != _VERSION:
        return "NumPy's default handler of memory is another"
    return handler


def _replace(arena: Arena, handler: int) -> None:
    """Put the cache's functions into NumPy's handler, and NumPy's into the arena."""
    entries = (ctypes.c_size_t * 4).from_address(handler + _FUNCTIONS)
    for offset, function in zip(_KEPT, list(entries)):
        arena.write(offset, function)
    functions = struct.pack("=4Q", *(arena.code.addresses[name] for name in _EXPORTS[:4]))
    # Written by the system, which refuses where memory is read-only, instead of ending the process;
    # and with Python's lock held, so that no array is made or freed meanwhile.
    reader, writer = os.pipe()
    try:
        os.write(writer, functions)
        system = ctypes.PyDLL(None, use_errno=True)
        if system.read(reader, entries, ctypes.c_size_t(len(functions))) != len(functions):
            raise OSError(ctypes.get_errno(), "NumPy's handler of memory cannot be written")
    finally:
        os.close(reader)
        os.close(writer)


def memory_of_the_machine() -> int:
    """Bytes of memory that this process may use: the machine's, within its container's limit."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    files += [
        f"/sys/fs/cgroup{line[3:]}/memory.max"
        for line in _lines("/proc/self/cgroup")
        if line.startswith("0::/")
    ]
    for file in files:
        for text in _lines(file):
            if text.isdecimal():
                total = min(total, int(text))
    return total


def _lines(file: str) -> list[str]:
    try:
        with open(file, "rb") as content:
            return content.read().decode("ascii").split("\n")
    except (OSError, UnicodeDecodeError):
        return []
