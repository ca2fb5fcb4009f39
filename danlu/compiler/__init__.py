"""`danlu.compile` and what belongs to it: PyTorch's `torch.compiler`.

A compiled function runs once on tensors that record, its whole computation (forward, backward, the
optimizer's update) becomes machine code, and later calls run that. docs/compile.md is the chapter.
"""

from __future__ import annotations

from typing import Any

from danlu.compiler.function import Compiled, CompileWarning, is_compiling
from danlu.compiler.module import OptimizedModule

__all__ = [
    "CompileWarning", "Compiled", "OptimizedModule", "allow_in_graph", "assume_constant_result",
    "compile", "cudagraph_mark_step_begin", "disable", "explain", "is_compiling",
    "is_dynamo_compiling", "is_exporting", "list_backends", "reset", "stats",
]  # fmt: skip


def compile(
    model=None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = "danlu",
    mode: str | None = None, options: dict | None = None, disable: bool = False,
):  # fmt: skip
    """Run a function, a module or a whole training step as machine code.

    The first call with tensors of some shapes and dtypes is recorded, compared with an eager run,
    and later calls run its machine code; results are those of eager code up to rounding, random
    numbers are the same. What cannot be compiled runs eagerly, and a `CompileWarning` says which
    line keeps it from that.

    Args:
        model: a function or an `nn.Module`; None makes a decorator.
        fullgraph: raise RuntimeError instead of running eagerly. Default: False
        dynamic: True makes machine code that serves all sizes from the first trace on, None and
            False from the third.
        backend, mode, options: accepted for PyTorch's sake.
        disable: return `model` as it is. Default: False

    Raises:
        TypeError: `model` cannot be called.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.compile.html

    Example:
        >>> import danlu as torch
        >>> net = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> @torch.compile
        ... def step(x, y):
        ...     optimizer.zero_grad()
        ...     loss = ((net(x) - y) ** 2).mean()
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> x, y = torch.ones(4, 2), torch.ones(4, 1)
        >>> losses = [step(x, y).item() for _ in range(20)]
        >>> losses[-1] < 0.01 * losses[0]
        True
    """
    if model is None:
        return lambda model: compile(
            model, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode,
            options=options, disable=disable,
        )  # fmt: skip
    if not callable(model):
        raise TypeError(
            f"torch.compile takes a function or an nn.Module, not {type(model).__name__}"
        )
    if disable or isinstance(model, Compiled):
        return model
    # 20 ms, here and not in a call
    from danlu.compiler import differentiable, operators, steps, verify, watch  # noqa: F401
    from danlu.compiler.purity import state_readers
    from danlu.kernels.graph import functions, plan, single  # noqa: F401
    from danlu.nn.modules.module import Module

    state_readers()

    if isinstance(model, Module):
        return OptimizedModule(
            model, Compiled(model, fullgraph, type(model).__name__, dynamic=bool(dynamic))
        )
    return Compiled(model, fullgraph, dynamic=bool(dynamic))


def _compiled(function) -> Compiled:
    found = function._compiled if isinstance(function, OptimizedModule) else function
    if not isinstance(found, Compiled):
        raise TypeError(f"{function!r} was not made by danlu.compile")
    return found


def stats(function) -> Compiled:
    """How calls of a compiled function were answered: `traces`, `compiled_calls`, `eager_calls`
    and `refusals`.

    Example:
        >>> import danlu as torch
        >>> double = torch.compile(lambda x: x * 2)
        >>> _ = [double(torch.ones(3)) for _ in range(3)]
        >>> torch.compiler.stats(double).refusals
        []
    """
    return _compiled(function)


def explain(function) -> str:
    """The programs of a compiled function as text: what each was made for, what it runs.

    Raises:
        TypeError: the function was not made by `compile`.
    """
    return _compiled(function).explain()


def reset() -> None:
    """Forget the programs of all compiled functions."""
    from danlu.compiler.function import living

    for each in list(living):
        each.reset()


def disable(fn=None, recursive: bool = True, *, reason: str | None = None):
    """Keep a function out of compiled code: what calls it runs eagerly. Also a decorator.

    Example:
        >>> import danlu as torch
        >>> @torch.compiler.disable
        ... def shown(x):
        ...     print(tuple(x.shape))
        >>> shown(torch.ones(2))
        (2,)
    """
    if fn is None:
        return lambda fn: disable(fn, recursive, reason=reason)
    from functools import wraps

    from danlu.kernels.graph.nodes import Unsupported

    @wraps(fn)
    def call(*args, **kwargs):
        if is_compiling():
            name = getattr(fn, "__qualname__", type(fn).__name__)
            raise Unsupported(f"{name} is not to be compiled" + (f": {reason}" if reason else ""))
        return fn(*args, **kwargs)

    return call


def is_dynamo_compiling() -> bool:
    """`is_compiling` by its older name."""
    return is_compiling()


def is_exporting() -> bool:
    """False: danlu has no export."""
    return False


def allow_in_graph(fn):
    """The function itself: danlu traces everything."""
    return fn


def assume_constant_result(fn):
    """The function itself: what it reads is guarded."""
    return fn


def cudagraph_mark_step_begin() -> None:
    """Nothing: accepted for PyTorch's sake."""


def list_backends(exclude_tags=("debug", "experimental")) -> list[str]:
    """The back ends of `compile`.

    Example:
        >>> import danlu as torch
        >>> torch.compiler.list_backends()
        ['danlu']
    """
    return ["danlu"]
