"""Nested arguments and results: their leaves in order, and how to find or rebuild them."""

from __future__ import annotations

from typing import Any

from danlu.compiler.texts import Scope

__all__ = ["build", "is_structure", "leaves"]


def is_structure(value) -> bool:
    """Whether `leaves` looks into a value."""
    kind = type(value)
    return (
        kind in (tuple, list)
        or _is_named_tuple(value)
        or (kind is dict and all(type(key) in (str, int) for key in value))
        or hasattr(kind, "__dataclass_fields__")
    )


def _is_named_tuple(value) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def leaves(value, path: str, names: Scope | None = None) -> tuple[list[tuple[str, Any]], list[str]]:
    """The leaves of nested tuples, lists, dicts and dataclasses.

    Args:
        path: the expression that finds the value.
        names: where to put what the checks refer to.

    Returns:
        (expression, leaf) pairs, and expressions that are true of values of this structure.
    """
    found: list[tuple[str, Any]] = []
    checks: list[str] = []
    _walk(value, path, found, checks, Scope() if names is None else names)
    return found, checks


def _walk(value, path, found, checks, names) -> None:
    if not is_structure(value):
        found.append((path, value))
        return
    kind = type(value)
    if not path.isidentifier():  # those of a call are what Python makes them
        checks.append(f"{path}.__class__ is {names.of(kind, 'kind')}")
    if isinstance(value, (tuple, list)):
        checks.append(f"len({path}) == {len(value)}")
        parts = [(f"{path}[{number}]", each) for number, each in enumerate(value)]
    elif kind is dict:
        checks.append(f"[*{path}] == {[*value]!r}")
        parts = [(f"{path}[{key!r}]", each) for key, each in value.items()]
    else:
        fields = [each for each in kind.__dataclass_fields__ if hasattr(value, each)]
        parts = [(f"{path}.{name}", getattr(value, name)) for name in fields]
    for place, each in parts:
        _walk(each, place, found, checks, names)


def build(value, leaf) -> str:
    """The expression that makes a value of this structure, `leaf(value)` those of its leaves.

    `leaf` is also asked for the types of named tuples and dataclasses, and for containers of other
    types.
    """
    kind = type(value)
    if kind is tuple or _is_named_tuple(value):
        parts = f"({''.join(build(each, leaf) + ', ' for each in value)})"
        if kind is tuple:
            return parts
        return f"{leaf(kind)}{'._make' if hasattr(kind, '_make') else ''}({parts})"
    if kind is list:
        return f"[{', '.join(build(each, leaf) for each in value)}]"
    if kind is dict:
        return f"{{{', '.join(f'{key!r}: {build(each, leaf)}' for key, each in value.items())}}}"
    if _is_plain_dataclass(value):
        given = [
            f"{name}={build(getattr(value, name), leaf)}" for name in kind.__dataclass_fields__
        ]
        return f"{leaf(kind)}({', '.join(given)})"
    return leaf(value)


def _is_plain_dataclass(value) -> bool:
    """Whether a value is what the constructor that `dataclass` has written makes of its fields."""
    kind = type(value)
    fields = getattr(kind, "__dataclass_fields__", None)
    return (
        fields is not None
        and all(field.init for field in fields.values())
        and not hasattr(kind, "__post_init__")
        and kind.__new__ is object.__new__
        and getattr(getattr(kind.__init__, "__code__", None), "co_filename", "") == "<string>"
        and (kind.__setattr__ is object.__setattr__ or kind.__dataclass_params__.frozen)
        and {*getattr(value, "__dict__", fields)} == {*fields}
    )
