"""PyTorch's tracer by its private name, for programs that ask for it there: `danlu.compiler` does
the work.

    >>> import danlu as torch
    >>> torch._dynamo.config.suppress_errors = True
    >>> torch._dynamo.reset()
"""

from __future__ import annotations

from typing import Any, NamedTuple

from danlu._dynamo import config
from danlu.compiler import (
    Compiled,
    allow_in_graph,
    compile,
    disable,
    is_compiling,
    list_backends,
    reset,
)

__all__ = [
    "ExplainOutput", "allow_in_graph", "config", "disable", "explain", "is_compiling",
    "list_backends", "mark_dynamic", "mark_static", "optimize", "reset",
]  # fmt: skip


class ExplainOutput(NamedTuple):
    """What `explain` finds.

    Attributes:
        graph_count: 1 where a call is machine code, 0 where it runs eagerly.
        graph_break_count: why it does not, counted.
        break_reasons: these reasons, each with its line.
    """

    graph_count: int
    graph_break_count: int
    break_reasons: list[str]


def explain(fn):
    """A function that calls `fn` once and says whether `danlu.compile` could compile the call.

    Example:
        >>> import danlu as torch
        >>> torch._dynamo.explain(lambda x: x * 2)(torch.ones(3)).graph_count
        1
        >>> torch._dynamo.explain(lambda x: x * x.sum().item())(torch.ones(3)).graph_break_count
        1
    """

    def call(*args, **kwargs) -> ExplainOutput:
        made = Compiled(fn, warns=False)
        made(*args, **kwargs)
        return ExplainOutput(len(made.programs), len(made.refusals), list(made.refusals))

    return call


def optimize(backend: Any = "danlu", *, nopython: bool = False, dynamic: bool | None = None):
    """A decorator: `danlu.compile` by its former name."""
    return compile(None, fullgraph=nopython, backend=backend, dynamic=dynamic)


def mark_dynamic(t, index, **bounds) -> None:
    """Nothing: machine code serves all sizes from a function's third on."""


def mark_static(t, index=None) -> None:
    """Nothing: machine code is made for the first two sizes of a function."""
