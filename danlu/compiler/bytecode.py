"""What a function's bytecode names: the globals, attributes and variables that it reads or writes."""

from __future__ import annotations

import dis
import sys
from types import CodeType

__all__ = ["Names", "names_of"]

_GLOBAL_READS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))
_ATTRIBUTE_READS = frozenset(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"))
_ITEM_WRITES = frozenset(("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"))
_WRITES = {
    "STORE_GLOBAL": "global", "DELETE_GLOBAL": "global",
    "STORE_ATTR": "attribute", "DELETE_ATTR": "attribute",
    "STORE_DEREF": "variable", "DELETE_DEREF": "variable",
}  # fmt: skip
# From 3.11 on, the lowest bit of LOAD_GLOBAL's argument tells that the global is called at once.
_TELLS_CALLS = sys.version_info >= (3, 11)


class Names:
    """The names in one code object, each with a line on which it stands.

    Attributes:
        globals: name -> line of the first read or write.
        handed_on: those read for something else than to be called at once, as far as that shows.
        attributes: name -> line of the first read or write.
        stored: what is written: ("global" | "attribute" | "variable", name) -> line.
        loaded: every name -> the lines on which it is read.
        changing: the lines on which items are written, or something is updated by an operator.
    """

    __slots__ = ("attributes", "changing", "globals", "handed_on", "loaded", "stored")

    def __init__(self, code: CodeType):
        self.globals: dict[str, int] = {}
        self.handed_on: dict[str, int] = {}
        self.attributes: dict[str, int] = {}
        self.stored: dict[tuple[str, str], int] = {}
        self.loaded: dict[str, set[int]] = {}
        self.changing: list[int] = []
        lines = {offset: line for offset, line in dis.findlinestarts(code) if line is not None}
        line = code.co_firstlineno
        for instruction in dis.get_instructions(code):
            line = lines.get(instruction.offset, line)
            self._note(instruction, line)

    def _note(self, instruction, line: int) -> None:
        name, value = instruction.opname, instruction.argval
        if name in _GLOBAL_READS:
            self.globals.setdefault(value, line)
            if _TELLS_CALLS and name == "LOAD_GLOBAL" and not instruction.arg & 1:
                self.handed_on.setdefault(value, line)
        elif name in _ATTRIBUTE_READS:
            self.attributes.setdefault(value, line)
        elif name in _WRITES:
            kind = _WRITES[name]
            self.stored.setdefault((kind, value), line)
            if kind != "variable":
                names = self.globals if kind == "global" else self.attributes
                names.setdefault(value, line)
        elif name in _ITEM_WRITES or name.startswith("INPLACE_") or _updates(instruction):
            self.changing.append(line)
        if "LOAD_" in name:  # 3.13 has instructions that load two names
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, str):
                    self.loaded.setdefault(each, set()).add(line)

    def line_of_change(self, name: str | None) -> int | None:
        """The likeliest line on which what is known by this name has its contents changed."""
        beside = self.loaded.get(name, set()) if name is not None else set()
        return next((line for line in self.changing if line in beside), None)


def _updates(instruction) -> bool:
    return instruction.opname == "BINARY_OP" and instruction.argrepr.endswith("=")


# id(code) -> the names in it, with the code, whose id must not be given to another
_known: dict[int, tuple[Names, CodeType]] = {}


def names_of(code: CodeType) -> Names:
    """The names in a code object; code objects are read once."""
    # by identity: their own hash and equality look at every constant, in every call
    found = _known.get(id(code))
    if found is None:
        found = _known[id(code)] = (Names(code), code)
    return found[0]
