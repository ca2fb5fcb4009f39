"""What a function's bytecode names: the globals, attributes and variables that it reads or writes."""

from __future__ import annotations

import dis
import sys
from types import CodeType

__all__ = ["Names", "line_of_change", "names_of"]

_GLOBAL_READS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))
_ATTRIBUTE_READS = frozenset(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"))
_ITEM_WRITES = frozenset(("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"))
_WRITES = {
    "STORE_GLOBAL": "global", "DELETE_GLOBAL": "global",
    "STORE_ATTR": "attribute", "DELETE_ATTR": "attribute",
    "STORE_DEREF": "variable", "DELETE_DEREF": "variable",
}  # fmt: skip
# functions that get the name of an attribute as their second argument
_BY_NAME = frozenset(("getattr", "setattr", "delattr", "hasattr"))
# what takes the arguments of a call off the stack
_CALLS = frozenset(("PRECALL",) if "PRECALL" in dis.opmap else ("CALL", "CALL_FUNCTION"))
# code with one of these goes on after an exception; the latter is 3.10's
_CATCHES = frozenset(("CHECK_EXC_MATCH", "SETUP_FINALLY"))
# names by which a function reaches attributes that it does not name
_ANY_NAME = frozenset((
    "vars", "dir", "attrgetter", "__dict__", "__getattribute__", "__setattr__", "__delattr__",
    "asdict", "astuple", "getmembers", "format", "format_map",
))  # fmt: skip
# functions that make text of an object, with its attributes in it
_TEXT = frozenset(("repr", "str", "ascii", "format"))
# functions of C that call what they are given, where no profiler sees it
_APPLIES = frozenset((
    "accumulate", "filter", "iter", "map", "max", "min", "reduce", "sort", "sorted", "starmap",
))  # fmt: skip
_SETTERS = frozenset(("setattr", "delattr", "__setattr__", "__delattr__"))
_SHUFFLES = ("SWAP", "COPY", "ROT_", "DUP_")
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
# From 3.11 on, the lowest bit of LOAD_GLOBAL's argument tells that the global is called at once.
_TELLS_CALLS = sys.version_info >= (3, 11)
# From 3.12 on, that of LOAD_ATTR's does; before, a method has an instruction of its own.
_METHODS_ARE_ATTRIBUTES = sys.version_info >= (3, 12)


class Names:
    """The names in one code object, each with a line on which it stands.

    Attributes:
        globals: name -> line of the first read or write.
        handed_on: those read for something else than to be called at once, as far as that shows.
        attributes: name -> line of the first read or write.
        held: those read for something else than to be called at once.
        applies: whether it has functions called by functions written in C.
        asked: those that may be absent: written, or given to `getattr` and the like.
        computed: whether attributes are reached by names that the code computes.
        catches: whether the code goes on after an exception.
        formats: whether it makes text of objects, or compares them.
        imports: (level, name) of the modules that it imports.
        stored: what is written: ("global" | "attribute" | "variable", name) -> line.
        loaded: every name -> the lines on which it is read.
        changing: the lines on which items are written, or something is updated by an operator.
    """

    __slots__ = (
        "applies", "asked", "attributes", "catches", "changing", "computed", "formats", "globals", "handed_on",
        "held", "imports", "loaded", "stored",
    )  # fmt: skip

    def __init__(self, code: CodeType):
        self.globals: dict[str, int] = {}
        self.handed_on: dict[str, int] = {}
        self.attributes: dict[str, int] = {}
        self.stored: dict[tuple[str, str], int] = {}
        self.loaded: dict[str, set[int]] = {}
        self.changing: list[int] = []
        self.held: set[str] = set()
        self.imports: set[tuple[int, str]] = set()
        self.computed = self.catches = self.formats = False
        lines = {offset: line for offset, line in dis.findlinestarts(code) if line is not None}
        line = code.co_firstlineno
        instructions = list(dis.get_instructions(code))
        for instruction in instructions:
            line = lines.get(instruction.offset, line)
            self._note(instruction, line)
        if not _TELLS_CALLS:
            for name in _arguments(instructions):
                self.handed_on.setdefault(name, min(self.loaded[name]))
        for level, one, each in zip(instructions, instructions[1:], instructions[2:]):
            if (one.opname, each.opname) == ("PUSH_EXC_INFO", "POP_TOP"):  # a bare `except:`
                self.catches = True
            elif each.opname == "IMPORT_NAME":
                self.imports.add((level.argval or 0, each.argval))
        self.asked = {name for kind, name in self.stored if kind == "attribute"}
        mentioned = {*self.globals, *self.attributes}
        self.computed |= not _ANY_NAME.isdisjoint(mentioned)
        self.formats |= not _TEXT.isdisjoint(mentioned)
        self.applies = not _APPLIES.isdisjoint(mentioned)
        self.catches |= "suppress" in mentioned
        if not _BY_NAME.isdisjoint(self.globals):
            for function, name in _given_names(instructions):
                if name is None:
                    self.computed = True
                    continue
                line = min(self.loaded[function])
                self.asked.add(name)
                self.attributes.setdefault(name, line)
                if function in ("setattr", "delattr"):
                    self.stored.setdefault(("attribute", name), line)

    def _note(self, instruction, line: int) -> None:
        name, value = instruction.opname, instruction.argval
        if name in _GLOBAL_READS:
            self.globals.setdefault(value, line)
            if _TELLS_CALLS and name == "LOAD_GLOBAL" and not instruction.arg & 1:
                self.handed_on.setdefault(value, line)
        elif name in _ATTRIBUTE_READS:
            self.attributes.setdefault(value, line)
            if name == "LOAD_ATTR" and not (_METHODS_ARE_ATTRIBUTES and instruction.arg & 1):
                self.held.add(value)
        elif name in _CATCHES:
            self.catches = True
        elif name == "MATCH_CLASS":
            self.computed = True
            self.attributes.setdefault("__match_args__", line)
        elif name == "IMPORT_FROM":
            self.attributes.setdefault(value, line)
        elif name.startswith(("FORMAT_", "COMPARE_OP")) or instruction.argrepr in ("%", "%="):
            self.formats = True
            if instruction.argrepr == "%=":
                self.changing.append(line)
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


def _arguments(instructions):
    """The global variables that are arguments of calls as they are; for bytecode that does not tell
    them from functions (Python 3.10). Behind a branch, nothing is known of the stack."""
    variables: dict[int, str] = {}  # depth -> the variable there
    depth = 0
    for each in instructions:
        if each.opcode in _JUMPS or each.is_jump_target:
            variables.clear()
        if each.opname in ("CALL_FUNCTION", "CALL_METHOD", "CALL_FUNCTION_KW"):
            last = depth - (each.opname == "CALL_FUNCTION_KW")  # names of keywords lie on top
            for place in range(last - each.arg + 1, last + 1):
                if place in variables:
                    yield variables[place]
        depth += dis.stack_effect(each.opcode, each.arg, jump=False)
        variables = {place: name for place, name in variables.items() if place < depth}
        if each.opname == "LOAD_GLOBAL":
            variables[depth] = each.argval


def _given_names(instructions):
    """The uses of `getattr` and its like: the function, and its second argument if a constant.

    Follows what lies on the stack between the function and its call; a branch in the arguments, or
    a function that is not called at once, leaves the name unknown.
    """
    waiting: list[tuple[str, int]] = []  # functions to be called, and how deep they lie
    constants: dict[int, str | None] = {}  # depth -> the constant there
    depth = 0
    for each in instructions:
        name = each.opname
        if waiting and (each.opcode in _JUMPS or each.is_jump_target or name.startswith(_SHUFFLES)):
            yield from ((function, None) for function, _ in waiting)
            waiting.clear()
        if waiting and name in _CALLS and depth == waiting[-1][1] + each.arg:
            function, base = waiting.pop()
            yield function, constants.get(base + 2) if each.arg >= 2 else None
        before, depth = depth, depth + dis.stack_effect(each.opcode, each.arg, jump=False)
        for slot in range(before + 1, depth):
            constants[slot] = None
        is_name = name == "LOAD_CONST" and isinstance(each.argval, str)
        constants[depth] = each.argval if is_name else None
        if name in _GLOBAL_READS and each.argval in _BY_NAME:
            waiting.append((each.argval, depth))
    yield from ((function, None) for function, _ in waiting)


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


def line_of_change(kind: str, label: str | None, codes: list[tuple[CodeType, Names]]) -> str | None:
    """The line of these code objects that has changed a place, or is likeliest to have.

    Args:
        kind, label: how bytecode calls the place: see `Names.stored`.
    """
    for code, names in codes:
        line = names.stored.get((kind, label or ""))
        if line is not None:
            return f"{code.co_filename}:{line}"
    for code, names in codes:
        computed = names.loaded.keys() & _SETTERS
        if computed and kind in ("attribute", "contents"):
            return f"{code.co_filename}:{min(names.loaded[computed.pop()])}"
        line = names.line_of_change(label)
        if line is not None:
            return f"{code.co_filename}:{line}"
    for code, names in codes:
        if names.changing and kind in ("contents", "module"):
            return f"{code.co_filename}:{names.changing[0]}"
    return None
