"""Kernels that are called between the loops: their functions record a call in a trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import numpy as np

__all__ = ["node", "outcome", "replaceable", "states"]

_ndarray = np.ndarray
_Function = TypeVar("_Function", bound=Callable)
_LIKE: dict[Callable, Callable] = {}
_OVER: dict[Callable, int] = {}


def node(function=None, *, like=None, at=0, over=None):
    """Let a function of arrays be recorded where one of its arguments is traced.

    Its results must be new arrays whose shapes and dtypes depend on those of the arguments, and on
    arguments that are no arrays, alone. Plain calls cost 0.1 us more.

    Args:
        function: the function.
        like: what it returns, from its arguments (see `states`); else a trace calls it on zeros.
        at: the position of the argument that tells whether this is a trace.
        over: the position of an array that nothing else may need: called with `over=True`, the
            function may return its result in that memory.

    Example:
        >>> from danlu.kernels import kernel
        >>> @node(like=lambda x: (x.shape, x.dtype))
        ... def sorted_rows(x):
        ...     return np.sort(x, axis=1)
        >>> halved = kernel(lambda x: sorted_rows(x * 0.5))
        >>> halved(np.array([[3.0, 1.0]]))
        array([[0.5, 1.5]])
    """
    if function is None:
        return lambda function: node(function, like=like, at=at, over=over)

    if at:

        @wraps(function)
        def call(*args, **named):
            told = args[at]
            if told.__class__ is _ndarray or not hasattr(told, "record"):
                return function(*args, **named)
            return _record(told.graph, call, args, named)

    else:

        @wraps(function)
        def call(first, *rest, **named):
            if first.__class__ is _ndarray or not hasattr(first, "record"):
                return function(first, *rest, **named)
            return _record(first.graph, call, (first, *rest), named)

    if over is not None:
        _OVER[call] = over
    return call if like is None else states(like)(call)


def _record(graph, function, args, named):
    from danlu.kernels.graph.calls import call_out

    return call_out(graph, function, args, named, is_fresh=True)


def states(like: Callable) -> Callable[[_Function], _Function]:
    """State what a function returns, so that a trace need not call it.

    Args:
        like: called with the function's arguments, of whose arrays it may use shape and dtype. It
            gives the (shape, dtype) of the result, or (shape, dtype, axes) where memory is not in C
            order but in this one of the axes; a list of these, or None, for a tuple; and None where
            it cannot tell.
    """

    def keep(function: _Function) -> _Function:
        _LIKE[function] = like
        return function

    return keep


def replaceable(function) -> int | None:
    """The position of the argument in whose place a function can put its result (`over=True`)."""
    try:
        return _OVER.get(function)
    except TypeError:  # a function that is no key
        return None


def outcome(function, args, kwargs):
    """What `states` was told about a call, or None."""
    try:
        like = _LIKE.get(function)
    except TypeError:  # a function that is no key
        return None
    return None if like is None else like(*args, **kwargs)
