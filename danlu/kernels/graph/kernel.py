"""`@kernel`: a NumPy function that becomes machine code where that pays."""

from __future__ import annotations

import numpy as np

from danlu.kernels.runtime.road import worth

__all__ = ["kernel"]

_ndarray = np.ndarray
# launches kept per function; a training run sees a handful of shapes
_MOST_LAUNCHES = 256


def kernel(function=None, *, least: int = 1 << 15):
    """Write a kernel as NumPy code over arrays.

    Called on small arrays the function runs as it stands. From `least` elements on it is traced
    once per signature (dtypes, shapes and strides), fused into loops and run as machine code on
    all threads; what cannot be generated runs as NumPy at any size. Floats may change from call
    to call; other arguments than arrays and floats, and arrays that the function takes from
    elsewhere, are constants of the trace. Indices in `x[np.arange(n), i]` and
    `np.take_along_axis` are not checked against the axis.

    Args:
        function: the NumPy code. It may use operators, ufuncs, reductions, `where`, `reshape`,
            slices and `x[...] = value` on its arguments.
        least: elements of the largest array from which on generating pays; default 32,768.

    Example:
        >>> import numpy as np
        >>> from danlu.kernels import kernel
        >>> @kernel
        ... def softmax(x):
        ...     e = np.exp(x - x.max(axis=-1, keepdims=True))
        ...     return e / e.sum(axis=-1, keepdims=True)
        >>> softmax(np.zeros((2, 4), dtype=np.float32))
        array([[0.25, 0.25, 0.25, 0.25],
               [0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    if function is None:
        return lambda function: kernel(function, least=least)
    launches: dict[tuple, object] = {}

    def call(*arguments):
        size = 1
        for each in arguments:
            if each.__class__ is _ndarray and each.size > size:
                size = each.size
        if not worth(size, least):
            return function(*arguments)
        signature: list = []  # flat, with ints' types beside them since 1 == 1.0 == True
        for each in arguments:
            kind = each.__class__
            if kind is _ndarray:
                signature += (each.dtype, each.shape, each.strides)
            elif kind is float:
                signature.append(kind)
            elif kind is tuple:
                signature += (each, tuple(map(type, each)))
            else:
                signature += (kind, each)
        key = tuple(signature)
        try:
            launch = launches[key]
        except KeyError:
            if len(launches) >= _MOST_LAUNCHES:
                del launches[next(iter(launches))]
            launch = launches[key] = _prepared(function, arguments)
        except TypeError:  # an argument that is no key, nor anything a trace could hold
            launch = function
        return launch(*arguments)

    call.__name__ = call.__qualname__ = function.__name__
    call.__doc__ = function.__doc__
    call.__module__ = function.__module__ or __name__
    call.__wrapped__ = function
    return call


def _prepared(function, arguments):
    """The launch of these arguments, or the function itself where there is none."""
    if not all(_may_be_traced(each) for each in arguments):
        return function
    from danlu.kernels.graph.nodes import Unsupported
    from danlu.kernels.graph.plan import plan

    try:
        made = plan(function, arguments)
    except Unsupported:
        return function
    launch = _guarded(made, function) if made.written else made.launch
    return _with_way_back(launch, function) if made.may_give_up else launch


def _may_be_traced(argument) -> bool:
    if argument.__class__ is _ndarray:
        return argument.size > 0 and argument.dtype.kind in "biufV"
    return argument is None or argument.__class__ in (float, int, bool, str, tuple)


def _guarded(made, function):
    """In-place updates only where they may be made and no two arguments share memory."""

    def launch(*arguments):
        for number in made.written:
            target = arguments[number]
            # elements that share memory, as of broadcast arrays, are no place for parallel writes
            if not target.flags.writeable or 0 in target.strides:
                return function(*arguments)
            for other, each in enumerate(arguments):
                if other != number and each.__class__ is _ndarray:
                    if np.may_share_memory(target, each):
                        return function(*arguments)
        return made.launch(*arguments)

    return launch


def _with_way_back(launch, function):
    """NumPy runs what turns out to have other shapes than zeros have."""
    from danlu.kernels.graph.nodes import Unsupported

    def call(*arguments):
        try:
            return launch(*arguments)
        except Unsupported:
            return function(*arguments)

    return call
