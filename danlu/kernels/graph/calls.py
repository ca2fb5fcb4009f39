"""Calls out: functions without a graph of their own run between the loops, on arrays in memory.

What such a function returns is stated (`library.states`), or found by calling it once, while tracing,
on zeros (on ones where it refuses those) that may not be written to: functions that change their
arguments are found out. A function whose result has another shape or dtype in earnest gives up the
launch, and NumPy runs the whole kernel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import isfinite
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from danlu.kernels.graph import views
from danlu.kernels.graph.library import outcome
from danlu.kernels.graph.nodes import Graph, Node, Unsupported
from danlu.kernels.graph.traced import Traced

__all__ = [
    "Call", "Operand", "call_out", "effect", "fresh", "named", "settled", "text_of", "varies",
]  # fmt: skip


class Operand(NamedTuple):
    """Where a call takes a value of the graph: its number among the node's operands.

    `weak` says that it is a Python float.
    """

    number: int
    weak: bool


class Call(NamedTuple):
    """A function with its arguments.

    Attributes:
        function: what is called.
        name: for the text of the launch.
        args, kwargs: the arguments, with `Operand`s for values of the graph.
        many: whether the function returns several arrays.
        is_fresh: whether its results are new arrays, and always of the same shapes and dtypes.
        effect: whether it does something besides: such calls are all made, in their order, also
            where nothing needs their results.
    """

    function: Callable
    name: str
    args: tuple
    kwargs: dict[str, Any]
    many: bool
    is_fresh: bool
    effect: bool = False


def call_out(graph: Graph, function, args, kwargs, name="", is_fresh=False):
    """Record a call.

    Args:
        args, kwargs: arguments, some of them traced, also inside lists and tuples.
        name: the function's, where it does not know its own.
        is_fresh: whether the results are sure to be new arrays whose shapes and dtypes depend on
            those of the arguments alone.

    Returns:
        What the function returns, traced: an array, or a tuple or list of arrays.

    Raises:
        Unsupported: it changes its arguments, returns something else, or does not run on zeros.
    """
    name = name or getattr(function, "__name__", "call")
    if kwargs.get("out") is not None:
        raise Unsupported(f"{name} with an output")
    operands: list[Traced] = []
    args, kwargs = _template(tuple(args), operands), _template(dict(kwargs), operands)
    result, arrays, looked_at = _outcome(function, name, args, kwargs, operands)
    many = isinstance(result, (tuple, list))
    is_fresh = is_fresh and not any(looked_at)
    graph.externs.append(Call(function, name, args, kwargs, many, is_fresh))
    nodes = tuple(each.node for each in operands)
    first = next(each for each in arrays if each is not None)
    node = graph.make("extern", nodes, first.dtype, first.shape, len(graph.externs) - 1)
    made: list[Traced | None] = []
    for number, (array, seen) in enumerate(zip(arrays, looked_at, strict=True)):
        one = node
        if array is None:
            made.append(None)
            continue
        if many:
            one = graph.make("result", (node,), array.dtype, array.shape, number)
        made.append(views.opaque(operands[seen[0]], one) if seen else Traced(graph, one))
    if not many:
        return made[0]
    return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)


def effect(graph: Graph, function, args, shape, dtype, name="") -> Traced:
    """Record a call that changes something, such as a generator's state: no trace makes it.

    Args:
        args: arguments, some of them traced.
        shape, dtype: of the new array that it returns.
    """
    operands: list[Traced] = []
    template = _template(tuple(args), operands)
    name = name or getattr(function, "__name__", "call")
    graph.externs.append(Call(function, name, template, {}, False, True, effect=True))
    nodes, number = tuple(each.node for each in operands), len(graph.externs) - 1
    return Traced(graph, graph.make("extern", nodes, np.dtype(dtype), tuple(shape), number))


def varies(function, args, kwargs, made) -> bool:
    """Whether a call that has no error on zeros gives results of other shapes than the traced ones
    `made` for other values."""
    operands: list[Traced] = []
    args, kwargs = _template(tuple(args), operands), _template(dict(kwargs), operands)
    samples = [_counted(each) for each in operands]
    try:
        result = _tried(function, "", args, kwargs, samples)
    except Unsupported:
        return True
    results, expected = (
        each if isinstance(each, (tuple, list)) else [each] for each in (result, made)
    )
    return [np.shape(each) for each in results] != [each.shape for each in expected]


def _counted(operand):
    counted = (np.arange(operand.size) % 2 if operand.dtype.kind in "iub" else
               np.arange(operand.size)).reshape(operand.shape)  # fmt: skip
    return counted.item() if operand.weak else _read_only(counted.astype(operand.dtype))


def _outcome(function, name, args, kwargs, operands):
    """What a call returns, its arrays (None for None), and for each the numbers of the
    operands it looks at."""
    stated = outcome(function, filled(args, operands), filled(kwargs, operands))
    if isinstance(stated, list):
        arrays = [None if each is None else _stand_in(*each[:2]) for each in stated]
        return tuple(arrays), arrays, [[]] * len(arrays)
    if stated is not None:
        return None, [_stand_in(*stated[:2])], [[]]
    key = _key_of(function, args, kwargs, operands)
    if key in _seen:
        kind, described, looked_at = _seen[key]
        arrays = [_stand_in(*each) for each in described]
        return kind and kind(arrays), arrays, looked_at
    samples = [_zero(each) for each in operands]
    result = _tried(function, name, args, kwargs, samples)
    many = isinstance(result, (tuple, list))
    arrays = [_as_array(each, name) for each in (result if many else [result])]
    looked_at = [_looked_at(array, samples) for array in arrays]
    if key is not None and not hasattr(result, "_fields"):
        if len(_seen) >= _MOST_SEEN:
            _seen.clear()
        described = [(each.shape, each.dtype) for each in arrays]
        _seen[key] = (type(result) if many else None, described, looked_at)
    return result, arrays, looked_at


# what functions returned for zeros, by function, shapes and dtypes, and the other arguments
_seen: dict[tuple, tuple] = {}
_MOST_SEEN = 4096


def _key_of(function, args, kwargs, operands):
    """What the outcome of a call depends on; None where that is not known."""
    if isinstance(function, BuiltinFunctionType):  # `np.add.reduce`, but no method of an array
        if not isinstance(function.__self__, (np.ufunc, ModuleType)):
            return None
    elif isinstance(function, FunctionType):
        if function.__closure__ and not hasattr(function, "__wrapped__"):
            return None
    elif not isinstance(function, (np.ufunc, type(np.sort))) and not hasattr(function, "of_shapes"):
        return None
    kinds = tuple((each.shape, each.dtype, each.weak) for each in operands)
    key = (function, kinds, _typed(args), _typed(kwargs))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _typed(value):
    """A value that differs from equal ones of another type."""
    if type(value) in (list, tuple):
        return type(value), tuple(map(_typed, value))
    if type(value) is dict:
        return dict, tuple((key, _typed(each)) for key, each in value.items())
    return type(value), repr(value) if type(value) is float else value


def _stand_in(shape, dtype) -> np.ndarray:
    """An array of a shape without memory for it."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _template(value, operands):
    """The arguments with `Operand`s in the places of traced arrays, which go to `operands`."""
    if isinstance(value, Traced):
        operands.append(value)
        return Operand(len(operands) - 1, value.weak)
    if type(value) in (list, tuple):
        return type(value)(_template(each, operands) for each in value)
    if type(value) is dict:
        return {key: _template(each, operands) for key, each in value.items()}
    # the trace keeps what an array holds now
    return value.copy() if type(value) is np.ndarray and value.flags.writeable else value


def filled(template, values):
    """Arguments with values in the places of the `Operand`s."""
    if isinstance(template, Operand):
        return values[template.number]
    if type(template) in (list, tuple):
        return type(template)(filled(each, values) for each in template)
    if type(template) is dict:
        return {key: filled(each, values) for key, each in template.items()}
    return template


def _zero(operand):
    if operand.weak:
        return operand.dtype.type(0).item()
    return _read_only(np.zeros(operand.shape, operand.dtype))


def _read_only(array):
    array.flags.writeable = False
    return array


def _identity(sample):
    """What can be inverted and factorized, where zeros cannot."""
    if not isinstance(sample, np.ndarray) or sample.ndim < 2:
        return sample
    made = np.broadcast_to(np.eye(*sample.shape[-2:], dtype=sample.dtype), sample.shape)
    return _read_only(made.copy())


def _one(sample):
    """What integers can be divided by."""
    if not isinstance(sample, np.ndarray):
        return type(sample)(1)
    return _read_only(np.ones_like(sample))


def _looked_at(array, samples) -> list[int]:
    """The numbers of the operands whose memory a result looks at."""
    return [
        number for number, sample in enumerate(samples)
        if isinstance(sample, np.ndarray) and np.may_share_memory(sample, array)
    ]  # fmt: skip


def _tried(function, name, args, kwargs, samples):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for others in (_identity, _one):
                try:
                    return function(*filled(args, samples), **filled(kwargs, samples))
                except (np.linalg.LinAlgError, RuntimeError):
                    samples[:] = [others(each) for each in samples]
            return function(*filled(args, samples), **filled(kwargs, samples))
        except Exception as error:
            # NumPy says it again, if it is not for the zeros
            raise Unsupported(f"{name}, which fails on zeros ({error})") from error


def _as_array(value, name) -> np.ndarray:
    if not isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
        raise Unsupported(name)
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.kind not in "biufcV":
        raise Unsupported(f"{name}, which returns {array.dtype.name}")
    return array


# ------------------------------------------------------------------------------ in a launch
def fresh(result, shape, dtype) -> np.ndarray:
    """A new array that a call returned, in C order."""
    if result.shape != shape or result.dtype != dtype:
        raise Unsupported("a result of another shape")
    if result.flags.c_contiguous and result.ndim:
        return result
    return np.array(result, order="C")  # also of NumPy's numbers


def settled(result, shape, dtype, *operands) -> np.ndarray:
    """What a call returned as an array that nothing else looks at."""
    array = np.asarray(result)
    if array.base is not None or any(array is each for each in operands):
        array = array.copy()
    return fresh(array, shape, dtype)


def text_of(call: Call, node: Node, look: Callable[[Node, bool], str], names: dict) -> str:
    """The call as Python text.

    Args:
        look: the text of an operand, from its node and whether it is a Python float.
        names: what the text refers to; what has no literal is added.
    """

    def text(value) -> str:
        if isinstance(value, Operand):
            return look(node.args[value.number], value.weak)
        if type(value) in (list, tuple):
            inside = ", ".join(map(text, value))
            if type(value) is list:
                return f"[{inside}]"
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        if type(value) is dict:
            return f"{{{', '.join(f'{key!r}: {text(each)}' for key, each in value.items())}}}"
        if type(value) is float and not isfinite(value):
            return named(names, "v", value)
        if value is None or type(value) in (int, bool, float, str):
            return repr(value)
        return named(names, "v", value)

    inside = [text(each) for each in call.args]
    inside += [f"{key}={text(each)}" for key, each in call.kwargs.items()]
    function = named(names, call.name, call.function)
    return f"{function}({', '.join(inside)})"


def named(names: dict, name: str, value) -> str:
    """A free name for a value, or the one that it has."""
    name = name if name.isidentifier() else "call"
    stem, number = name, 0
    while name in names and names[name] is not value:
        number += 1
        name = f"{stem}_{number}"
    names[name] = value
    return name
