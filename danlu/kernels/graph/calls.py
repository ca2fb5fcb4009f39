"""Calls out: functions without a graph of their own run between the loops, on arrays in memory.

What such a function returns is found by calling it once, while tracing, on zeros of the right shapes
and dtypes that may not be written to: functions that change their arguments are found out. A
function whose result has another shape or dtype in earnest gives up the launch, and NumPy runs the
whole kernel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from danlu.kernels.graph.nodes import Graph, Node, Unsupported
from danlu.kernels.graph.traced import Traced

__all__ = ["Call", "Operand", "call_out", "fresh", "named", "settled", "text_of"]


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
    """

    function: Callable
    name: str
    args: tuple
    kwargs: dict[str, Any]
    many: bool
    is_fresh: bool


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
    samples = [_zero(each) for each in operands]
    result = _tried(function, name, args, kwargs, samples)
    many = isinstance(result, (tuple, list))
    arrays = [_as_array(each, name) for each in (result if many else [result])]
    looked_at = [_looked_at(array, operands, samples) for array in arrays]
    is_fresh = is_fresh and not any(looked_at)
    graph.externs.append(Call(function, name, args, kwargs, many, is_fresh))
    nodes, first = tuple(each.node for each in operands), arrays[0]
    node = graph.make("extern", nodes, first.dtype, first.shape, len(graph.externs) - 1)
    made = []
    for number, (array, seen) in enumerate(zip(arrays, looked_at, strict=True)):
        one = node
        if many:
            one = graph.make("result", (node,), array.dtype, array.shape, number)
        made.append(seen[0]._shares(one) if seen else Traced(graph, one))
    if not many:
        return made[0]
    return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)


def _template(value, operands):
    """The arguments with `Operand`s in the places of traced arrays, which go to `operands`."""
    if isinstance(value, Traced):
        operands.append(value)
        return Operand(len(operands) - 1, value.weak)
    if type(value) in (list, tuple):
        return type(value)(_template(each, operands) for each in value)
    if type(value) is dict:
        return {key: _template(each, operands) for key, each in value.items()}
    return value


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


def _looked_at(array, operands, samples) -> list[Traced]:
    """The operands whose memory a result looks at."""
    return [
        operand for operand, sample in zip(operands, samples, strict=True)
        if isinstance(sample, np.ndarray) and np.may_share_memory(sample, array)
    ]  # fmt: skip


def _tried(function, name, args, kwargs, samples):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            try:
                return function(*filled(args, samples), **filled(kwargs, samples))
            except np.linalg.LinAlgError:
                samples[:] = [_identity(each) for each in samples]
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
    return result if result.flags.c_contiguous else np.ascontiguousarray(result)


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
