"""Loops and branches of a function being written, as `with` blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from danlu.kernels.codegen.types import I64

if TYPE_CHECKING:
    from danlu.kernels.codegen.function import Function, Value

__all__ = ["Loop", "When"]


class Loop:
    """What `Function.loop` gives."""

    def __init__(self, function: Function, start, stop, step, carried: Sequence[Value]):
        self.function = function
        self.start, self.stop, self.step = start, stop, step
        self._carried = list(carried)
        self._next: list[Value] | None = None
        self.results: list[Value] = []

    def __enter__(self) -> Loop:
        f = self.function
        start, stop = f.value(self.start, I64), f.value(self.stop, I64)
        self.index_type = start.type
        # a loop that is known to run needs no test before its first turn
        constants = isinstance(self.start, int) and isinstance(self.stop, int)
        self._certain = constants and self.start < self.stop
        self._before, self._head, self._after = f.block, f.new_block(), f.new_block()
        if self._certain:
            f.jump(self._head)
        else:
            f.branch(f.compare("slt", start, stop), self._head, self._after)
        f.begin(self._head)
        self._place = f.reserve_line()  # for the phis, known at the end
        self._phis = [f.named(f"%l{self._head}_{n}", v.type) for n, v in enumerate(self._carried)]
        self.index = f.named(f"%l{self._head}_i", start.type)
        self.values = list(self._phis)
        return self

    def carry(self, *values: Value) -> None:
        """The carried values of the next turn."""
        self._next = list(values)

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            return
        f = self.function
        following = self._phis if self._next is None else self._next
        if len(following) != len(self._carried):
            raise ValueError(f"{len(self._carried)} values are carried, {len(following)} given")
        start, stop = f.value(self.start, I64), f.value(self.stop, I64)
        step = f.value(self.step, self.index_type)
        index = f.emit(f"add nsw {self.index_type} {self.index}, {step}", self.index_type)
        f.branch(f.compare("slt", index, stop), self._head, self._after)
        last = f.block
        phis = [
            f"  {self.index} = phi {self.index_type} [ {start}, %{self._before} ], "
            f"[ {index}, %{last} ]"
        ]
        for phi, first, value in zip(self._phis, self._carried, following, strict=True):
            if value.type != phi.type:
                raise TypeError(f"{phi.type} is carried, {value.typed} given")
            phis.append(
                f"  {phi} = phi {phi.type} [ {first}, %{self._before} ], [ {value}, %{last} ]"
            )
        f.fill_line(self._place, "\n".join(phis))
        f.begin(self._after)
        if self._certain:
            self.results = list(following)
        else:
            self.results = [
                f.emit(
                    f"phi {first.type} [ {first}, %{self._before} ], [ {value}, %{last} ]",
                    first.type,
                )
                for first, value in zip(self._carried, following, strict=True)
            ]


class When:
    """What `Function.when` gives."""

    def __init__(self, function, condition):
        self.function, self.condition = function, condition

    def __enter__(self) -> None:
        f = self.function
        then, self._after = f.new_block(), f.new_block()
        f.branch(self.condition, then, self._after)
        f.begin(then)

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self.function.jump(self._after)
            self.function.begin(self._after)
