"""Nested arguments and results: their leaves in order, and how to find or rebuild them."""

from __future__ import annotations

from typing import Any

__all__ = ["build", "leaves"]


def leaves(value, path: str) -> tuple[list[tuple[str, Any]], list[str]]:
    """The leaves of nested tuples, lists and dicts.

    Args:
        path: the expression that finds the value.

    Returns:
        (expression, leaf) pairs, and expressions that are true of values of this structure.
    """
    found: list[tuple[str, Any]] = []
    checks: list[str] = []
    _walk(value, path, found, checks)
    return found, checks


def _walk(value, path, found, checks) -> None:
    kind = type(value)
    if kind in (tuple, list) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        checks.append(f"len({path}) == {len(value)}")
        if kind is not tuple or not path.isidentifier():
            checks.insert(len(checks) - 1, f"type({path}).__name__ == {kind.__name__!r}")
        for number, each in enumerate(value):
            _walk(each, f"{path}[{number}]", found, checks)
    elif kind is dict and all(type(key) in (str, int) for key in value):
        checks.append(f"type({path}).__name__ == 'dict' and [*{path}] == {[*value]!r}")
        for key, each in value.items():
            _walk(each, f"{path}[{key!r}]", found, checks)
    else:
        found.append((path, value))


def build(value, leaf) -> str:
    """The expression that makes a value of this structure, `leaf(value)` those of its leaves.

    `leaf` is also asked for containers of other types, which it refuses.
    """
    kind = type(value)
    if kind is tuple:
        return f"({''.join(build(each, leaf) + ', ' for each in value)})"
    if kind is list:
        return f"[{', '.join(build(each, leaf) for each in value)}]"
    if kind is dict:
        return f"{{{', '.join(f'{key!r}: {build(each, leaf)}' for key, each in value.items())}}}"
    return leaf(value)
