"""Texts of generated Python functions: the names in them, and the functions that they define.

A text says the same in every process that traces the same program, as names are counted and not made
of addresses. So its code can come from the disk: compiling the texts of a small training step takes
two milliseconds, a tenth of the time from a warm start to machine code.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterable
from importlib.util import MAGIC_NUMBER
from typing import Any

from danlu.kernels.runtime import cache

__all__ = ["Scope", "define", "function_text"]

_SHORT = 1000  # characters that are compiled faster than they are looked up


class Scope(dict):
    """What a text refers to, by name.

    Example:
        >>> from danlu.compiler.texts import Scope
        >>> names, value = Scope(), [1]
        >>> names.of(value, "list"), names.of([2], "list"), names.of(value, "list")
        ('list0', 'list1', 'list0')
    """

    def __init__(self, **known: Any):
        super().__init__(known)
        self._found: dict[tuple[str, int], str] = {}

    def of(self, value, stem: str) -> str:
        """The name of an object, which begins with `stem`."""
        key = stem, id(value)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = f"{stem}{len(self._found)}"
            self[found] = value
        return found


def function_text(head: str, lines: Iterable[str]) -> str:
    """A function of these lines.

    Example:
        >>> from danlu.compiler.texts import function_text
        >>> function_text("f(x)", ["x = x + 1", "return x"])
        'def f(x):\\n    x = x + 1\\n    return x\\n'
    """
    return f"def {head}:\n" + "".join(f"    {line}\n" for line in lines)


def define(text: str, scope: dict) -> None:
    """Define the functions of a text in `scope`."""
    exec(text if len(text) < _SHORT else _code(text), scope)


def _code(text: str):
    digest = hashlib.blake2b(MAGIC_NUMBER + text.encode(), digest_size=16, person=b"danlu.text")
    found = cache.read(digest.hexdigest())
    if found is not None:
        return marshal.loads(found)
    code = compile(text, "<string>", "exec")
    cache.write(digest.hexdigest(), marshal.dumps(code))
    return code
