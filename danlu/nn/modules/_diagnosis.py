"""What an error inside a module's forward says about the place where it happened."""

from __future__ import annotations

import re

from danlu.tensor import Tensor

EXPLAINED_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)

_DIMENSION = re.compile(r"(?:(\w+)\s*=\s*)?(-?\d+)|(\*|\w+)")


def typename(value) -> str:
    """The name under which an error message speaks of a value: ``torch.FloatTensor``, ``str``."""
    if isinstance(value, Tensor):
        return value.type()
    cls = value if isinstance(value, type) else type(value)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


class _Climb:
    """The modules that an error has left so far, the innermost first, and that one's description.

    It travels on the error itself, and stays behind when the error is pickled into another process.
    """

    __slots__ = ("description", "modules")

    def __init__(self):
        self.modules: list = []
        self.description = ""

    def __reduce__(self):
        return _Climb, ()

    def note(self) -> str:
        path = [type(self.modules[-1]).__name__] if len(self.modules) > 1 else []
        for parent, child in zip(self.modules[:0:-1], self.modules[-2::-1], strict=True):
            path.append(_name_in(parent, child))
        return f"in {'.'.join(path)}: {self.description}" if path else f"in {self.description}"


def explain(error: Exception, module, args: tuple, kwargs: dict) -> None:
    """Note on the error in which module it arose, with what input, and what was expected.

    It is called once by every module through which the error climbs, the innermost first; the
    innermost writes the description, the outer ones lengthen the path, so that one note remains.
    """
    climb = getattr(error, "_climb", None)
    if climb is None:
        climb = error._climb = _Climb()
    if climb.modules:
        previous = climb.note()
    else:
        climb.description = _describe_call(module, args, kwargs)
        previous = None
    climb.modules.append(module)
    _replace_note(error, previous, climb.note())


def _name_in(parent, child) -> str:
    for name, module in parent.named_modules():
        if module is child and name:
            return name
    return type(child).__name__


def _replace_note(error: Exception, previous: str | None, note: str) -> None:
    if not hasattr(error, "add_note"):  # Python 3.10 prints no notes: they go into the message
        if len(error.args) == 1 and isinstance(error.args[0], str):
            message = error.args[0]
            if previous is not None:
                message = message.removesuffix("\n" + previous)
            error.args = (f"{message}\n{note}",)
        return
    notes = getattr(error, "__notes__", None)
    if notes and previous in notes:
        notes[notes.index(previous)] = note
    else:
        error.add_note(note)


def _describe_call(module, args: tuple, kwargs: dict) -> str:
    has_children = any(child is not None for child in module._modules.values())
    layer = f"{type(module).__name__}(...)" if has_children else repr(module)
    given = [_describe(value) for value in args]
    given += [f"{name}={_describe(value)}" for name, value in kwargs.items()]
    text = f"{layer}, called with {', '.join(given) or 'nothing'}"
    expected = getattr(module, "_expected", None)
    if expected is None:
        return text
    template = expected()
    shape = next((tuple(v.shape) for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None)
    return f"{text}; expected {template}{_mismatch(template, shape)}"


def _describe(value) -> str:
    if isinstance(value, Tensor):
        dtype = str(value.dtype).rpartition(".")[2]
        return f"Tensor({', '.join(map(str, value.shape))}) {dtype}"
    if value is None or isinstance(value, (bool, int, float, complex)):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    if type(value) in (tuple, list) and len(value) <= 4:
        inside = ", ".join(map(_describe, value))
        if type(value) is list:
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return type(value).__name__


def _mismatch(template: str, shape: tuple | None) -> str:
    """What is wrong with ``shape`` under a template such as ``(N, channels=3, *)``, and the cure.

    Alternatives are joined by " or "; the first one with the right number of dimensions counts.
    """
    if shape is None:
        return ""
    for alternative in template.split(" or "):
        inside = alternative[alternative.find("(") + 1 : alternative.rfind(")")]
        pattern = [m.groups() for m in _DIMENSION.finditer(inside)]
        star = next((i for i, (_, _, other) in enumerate(pattern) if other == "*"), None)
        if star is None:
            if len(pattern) != len(shape):
                continue
            places = list(enumerate(pattern))
        else:
            if len(pattern) - 1 > len(shape):
                continue
            tail = pattern[star + 1 :]
            places = list(enumerate(pattern[:star]))
            places += list(enumerate(tail, len(shape) - len(tail)))
        for dim, (name, size, _) in places:
            if size is not None and shape[dim] != int(size):
                wrong = f", but dimension {dim} of the input is {shape[dim]}"
                if name is None:
                    return wrong
                return (
                    f"{wrong}: build the layer with {name}={shape[dim]}, "
                    f"or give it an input with {size} there"
                )
        return ""
    return f", but the input has {len(shape)} dimension{'s' * (len(shape) != 1)}"
