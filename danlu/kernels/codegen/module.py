"""Functions and constants that are compiled together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from danlu.kernels.codegen.types import Type, constant

if TYPE_CHECKING:
    from danlu.kernels.codegen.function import Function

__all__ = ["Module"]


class Module:
    """Functions and constants that are compiled together."""

    def __init__(self, *functions: Function):
        self.functions = list(functions)
        self.globals: list[str] = []

    def add(self, function: Function) -> Function:
        self.functions.append(function)
        return function

    def table(self, name: str, values: Sequence, type: Type) -> str:
        """A constant array of numbers; returns its symbol: `Value(f, symbol, PTR)` is its address."""
        items = ", ".join(f"{type} {constant(value, type)}" for value in values)
        self.globals.append(
            f"@{name} = private unnamed_addr constant [{len(values)} x {type}] [{items}], align 64"
        )
        return f"@{name}"

    def text(self) -> str:
        """The IR, with a declaration for every function it calls and does not define."""
        defined = {function.name for function in self.functions}
        declared = sorted(
            line
            for line in set().union(*(function.declarations for function in self.functions))
            if line.partition("@")[2].partition("(")[0] not in defined
        )
        bodies = [function.text() for function in self.functions]
        return "\n".join([*self.globals, *declared, *bodies, _ATTRIBUTES])


_ATTRIBUTES = 'attributes #0 = { nounwind "no-trapping-math"="true" }\n!0 = !{i32 1}\n'
