"""Walking along rows of floats in vectors, the end of a row under a mask; what tasks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import Type

__all__ = ["Extent", "extent", "in_blocks", "load", "round_up", "share", "store"]


class Extent(NamedTuple):
    """A row cut into blocks: `whole` of `total` numbers fill blocks of `step`, and `rest` is the
    mask of those that remain."""

    total: Value
    step: int
    whole: Value
    rest: Value


def extent(f: Function, count: Value, step: int) -> Extent:
    whole = count - count % step
    return Extent(count, step, whole, f.mask_below(count - whole, step))


def in_blocks(f: Function, row: Extent, write: Callable[[Value, Value | None], None]) -> None:
    """`write(start, None)` for every whole block, `write(whole, rest)` for what remains."""
    with f.loop(0, row.whole, row.step) as loop:
        write(loop.index, None)
    with f.when(f.compare("slt", row.whole, row.total)):
        write(row.whole, row.rest)


def load(f: Function, pointer: Value, type: Type, index, mask: Value | None, other=0) -> Value:
    """A vector, or its lanes of the mask and `other` in the rest."""
    if mask is None:
        return f.load(pointer, type, index)
    return f.masked_load(pointer, mask, type, other, index)


def store(f: Function, value: Value, pointer: Value, index, mask: Value | None) -> None:
    """Write a vector, or its lanes of the mask."""
    if mask is None:
        f.store(value, pointer, index)
    else:
        f.masked_store(value, pointer, mask, index)


def share(f: Function, index: Value, of_task: Value, count: Value) -> tuple[Value, Value]:
    """Where the things that a task does begin and end, `of_task` of `count` at most."""
    begin = index * of_task
    return begin, f.minimum(begin + of_task, count)


def round_up(number, step: int):
    """The next multiple of a step, of an int or of a value."""
    if isinstance(number, Value):
        return (number + (step - 1)) / step * step
    return -(-number // step) * step
