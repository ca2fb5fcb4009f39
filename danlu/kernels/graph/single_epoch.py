"""Many steps of a small graph in one native call: training on data in memory, without Python
between the steps.

The loop is one function for all graphs: it gathers the rows of a batch, calls the graph's `step`,
and moves the pointers of what differs from step to step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I1, I8, I16, I32, I64, PTR
from danlu.kernels.graph.single_early import Early
from danlu.kernels.runtime import machine, pool

__all__ = ["Spec", "run"]

# the largest moves of a row's copy first
_MOVES = (I64.vector(4), I64, I32, I16, I8)


class Spec(NamedTuple):
    """What an argument is like; of floats the dtype alone, float64."""

    is_float: bool
    shape: tuple[int, ...]
    dtype: np.dtype
    strides: tuple[int, ...]

    @classmethod
    def of(cls, argument) -> Spec:
        if type(argument) is float:
            return cls(True, (), np.dtype(np.float64), ())
        return cls(False, argument.shape, argument.dtype, argument.strides)


def run(
    code: machine.Code,
    specs: Sequence[Spec],
    constants: Sequence[np.ndarray],
    early: Early,
    results: Sequence[tuple[tuple[int, ...], np.dtype]],
    scratch: int,
    arguments: Sequence,
    gathered: Mapping[int, np.ndarray],
    order: np.ndarray,
    scalars: np.ndarray,
    collected: Collection[int],
) -> tuple[np.ndarray, ...]:
    """What `Single.epoch` does.

    Args:
        code: of the graph.
        specs: what its arguments are like.
        constants: the arrays that it refers to.
        early: its calls in Python.
        results: shapes and dtypes of its results.
        scratch: bytes of its scratch block.
        arguments, gathered, order, scalars, collected: as of `Single.epoch`.
    """
    steps, batch = order.shape
    if not steps:
        raise ValueError("no steps")
    batches = _checked(specs, arguments, gathered, order, scalars)
    pointers: list[int] = []
    moves: list[int] = []  # bytes by which a pointer moves on after each step
    kept: list[np.ndarray] = []

    def point(array, move=0):
        kept.append(array)
        pointers.append(array.ctypes.data)
        moves.append(move)

    for number, spec in enumerate(specs):
        if not spec.is_float:
            point(batches.get(number, arguments[number]))
    for array in _called(early, specs, arguments, gathered, order, scalars):
        point(array, array.nbytes // steps)
    for array in constants:
        point(array)
    made = []
    for number, (shape, dtype) in enumerate(results):
        repeated = number in collected
        made.append(np.empty((steps, *shape) if repeated else shape, dtype))
        point(made[-1], made[-1].nbytes // steps if repeated else 0)
    copies = [
        (rows.ctypes.data, batches[number].ctypes.data, batches[number].nbytes // batch)
        for number, rows in gathered.items()
    ]
    table, moved = np.array(pointers, np.int64), np.array(moves, np.int64)
    plan = np.array(copies, np.int64).reshape(-1, 3)
    block = np.zeros(scratch + 64, np.uint8)
    order = np.ascontiguousarray(order, np.int64)
    scalars = np.ascontiguousarray(scalars, np.float64)
    _epoch()(
        steps, code.addresses["step"], table.ctypes.data, moved.ctypes.data, len(table),
        scalars.ctypes.data, scalars.shape[1], -(-block.ctypes.data // 64) * 64,
        order.ctypes.data, batch, plan.ctypes.data, len(plan),
    )  # fmt: skip
    return tuple(made)


def _checked(specs, arguments, gathered, order, scalars) -> dict[int, np.ndarray]:
    """Room for the batches, by number of the argument.

    Raises:
        ValueError, IndexError: something is not as the code was made for.
    """
    batches = {}
    for number, rows in gathered.items():
        spec = specs[number]
        batches[number] = np.empty(spec.shape, spec.dtype)
        if not (rows.flags.c_contiguous and rows.dtype == spec.dtype
                and rows.shape[1:] == spec.shape[1:] and spec.shape[:1] == order.shape[1:]
                and batches[number].strides == spec.strides):  # fmt: skip
            raise ValueError(f"rows of {rows.dtype}{rows.shape} for argument {number}")
        if order.min() < 0 or order.max() >= len(rows):
            raise IndexError(f"the order has rows beyond the {len(rows)} of argument {number}")
    for number, (spec, argument) in enumerate(zip(specs, arguments, strict=True)):
        if not (spec.is_float or number in gathered or Spec.of(argument) == spec):
            raise ValueError(f"argument {number} is {argument.dtype}{argument.shape}")
    if scalars.shape != (len(order), sum(spec.is_float for spec in specs)):
        raise ValueError(f"floats of shape {scalars.shape} for {len(order)} steps")
    return batches


def _called(early, specs, arguments, gathered, order, scalars) -> list[np.ndarray]:
    """What the calls before all steps give, one step after the other."""
    if not early:
        return []
    floats = [number for number, spec in enumerate(specs) if spec.is_float]
    given = list(arguments)
    rounds = []
    for rows, numbers in zip(order, scalars.tolist(), strict=True):
        for number, value in zip(floats, numbers, strict=True):
            given[number] = value
        for number, data in gathered.items():
            given[number] = data[rows]
        rounds.append(early.arrays(given))
    return [np.stack(arrays) for arrays in zip(*rounds, strict=True)]


# ------------------------------------------------------------------------------ machine code
@cache
def _epoch():
    """The loop as a function of addresses; Python's other threads run meanwhile."""
    with pool.lock():
        pool.ensure()
        code = machine.load(("single epoch",), lambda: Module(_text()).text(), ("epoch",))
    number, address = ctypes.c_int64, ctypes.c_void_p
    kinds = [number, address, address, address, number, address, number, address, address, number,
             address, number]  # fmt: skip
    function = ctypes.CFUNCTYPE(None, *kinds)(code.addresses["epoch"])
    function.code = code
    return function


def _text() -> Function:
    """epoch(steps, step, table, moves, pointers, scalars, floats, scratch, order, batch, copies,
    gathered)."""
    names = ("steps", "step", "table", "moves", "pointers", "scalars", "floats", "scratch", "order",
             "batch", "copies", "gathered")  # fmt: skip
    counts = ("steps", "pointers", "floats", "batch", "gathered")
    f = Function("epoch", [(name, I64 if name in counts else PTR) for name in names])
    given = dict(zip(names, f.parameters, strict=True))
    with f.loop(0, given["steps"]) as step:
        rows = f.at(given["order"], step.index * given["batch"], I64)
        with f.loop(0, given["gathered"]) as each:
            source, target, count = (f.load(given["copies"], I64, each.index * 3 + place)
                                     for place in range(3))  # fmt: skip
            source, target = _pointer(f, source), _pointer(f, target)
            is_other = f.value(1, I1)
            for type in (I64, I32):  # short rows, in a quarter of the time of the general way
                is_one = f.compare("eq", count, type.bytes)
                is_other = is_other & (is_one ^ 1)
                with f.when(is_one), f.loop(0, given["batch"]) as row:
                    taken = f.load(rows, I64, row.index)
                    f.store(f.load(source, type, taken), target, row.index)
            with f.when(is_other), f.loop(0, given["batch"]) as row:
                taken = f.load(rows, I64, row.index)
                _copy(
                    f, f.at(source, taken * count, I8), f.at(target, row.index * count, I8), count
                )
        floats = f.at(given["scalars"], step.index * given["floats"], I64)
        arguments = f"{given['table'].typed}, {floats.typed}, {given['scratch'].typed}"
        f.write(f"call void {given['step']}({arguments})")
        with f.loop(0, given["pointers"]) as slot:
            move = f.load(given["moves"], I64, slot.index)
            f.store(f.load(given["table"], I64, slot.index) + move, given["table"], slot.index)
    f.ret()
    return f


def _pointer(f: Function, address: Value) -> Value:
    return f.emit(f"inttoptr {address.typed} to ptr", PTR)


def _copy(f: Function, source: Value, target: Value, count: Value) -> None:
    """Copy so many bytes."""
    done: Value | int = 0
    for type in _MOVES:
        size = type.bytes * type.lanes
        stop = count & -size
        with f.loop(done, stop, size) as loop:
            value = f.load(f.at(source, loop.index, I8), type)
            f.store(value, f.at(target, loop.index, I8))
        done = stop
