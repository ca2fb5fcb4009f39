"""Nested tuples, lists and dictionaries, seen as their leaves."""

from __future__ import annotations

__all__ = ["leaves", "rebuilt", "same_structure", "structure"]


def _children(tree):
    """What a container holds, None for a leaf."""
    if isinstance(tree, dict):
        return list(tree.values())
    return list(tree) if isinstance(tree, (tuple, list)) else None


def leaves(tree) -> list:
    """The leaves in order.

    >>> leaves({"a": (1, [2]), "b": 3})
    [1, 2, 3]
    """
    children = _children(tree)
    return [tree] if children is None else [leaf for child in children for leaf in leaves(child)]


def rebuilt(tree, values):
    """The same containers with other leaves, taken in order from the iterator `values`.

    >>> rebuilt({"a": (1, [2]), "b": 3}, iter("xyz"))
    {'a': ('x', ['y']), 'b': 'z'}
    """
    children = _children(tree)
    if children is None:
        return next(values)
    made = [rebuilt(child, values) for child in children]
    if isinstance(tree, dict):
        return dict(zip(tree, made))
    return type(tree)(*made) if hasattr(tree, "_fields") else type(tree)(made)


def structure(tree) -> str:
    """The containers, with `*` for each leaf, for messages and comparison.

    >>> structure({"a": (1, [2])})
    "{'a': (*, [*])}"
    """
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key!r}: {structure(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(structure, tree)) + "]"
    if isinstance(tree, tuple):
        return "(" + ", ".join(map(structure, tree)) + ("," if len(tree) == 1 else "") + ")"
    return "*"


def same_structure(tree, other) -> bool:
    """Whether two trees have the same containers."""
    return structure(tree) == structure(other)
