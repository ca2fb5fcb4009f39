"""The named tuples that operators of several results return."""

from __future__ import annotations

__all__ = ["return_type"]


class _ReturnType(tuple):
    """A tuple of results with names, printed as PyTorch's return types."""

    __slots__ = ()
    _fields: tuple = ()
    _title = ""

    def __repr__(self) -> str:
        fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"torch.return_types.{self._title}(\n{fields})"

    def __reduce__(self):
        return (tuple, (tuple(self),))


def return_type(title: str, names: tuple, space: str = ""):
    """The named-tuple type that `title` returns, with fields `names`."""
    from operator import itemgetter

    title = f"{space}_{title}" if space else title
    body = {"__slots__": (), "_fields": names, "_title": title, "__module__": "torch.return_types"}
    body.update({name: property(itemgetter(i)) for i, name in enumerate(names)})
    return type(title, (_ReturnType,), body)
