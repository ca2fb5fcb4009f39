"""`danlu run`: run a program as Python does, with `torch` and its companions standing for danlu."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType, TracebackType
from typing import Any

USAGE = """\
usage: danlu run SCRIPT [ARGUMENTS]
       danlu run -m MODULE [ARGUMENTS]
       danlu run -              (the program comes from standard input)

Runs an unmodified PyTorch program: torch, torchvision, torchkeras and torchmetrics stand for danlu,
also where the real ones are installed. Everything after SCRIPT or MODULE belongs to the program.
"""


class CannotStart(Exception):
    """The program cannot be read; carries a message and the exit status that Python gives."""


def main(arguments: list[str]) -> int:
    """Run the program that `arguments` name; its exceptions, SystemExit included, are passed on."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    first = arguments[0]
    if first.startswith("-") and first not in ("-", "-m"):
        print(f"danlu run: unknown option {first!r}\n\n{USAGE}", end="", file=sys.stderr)
        return 2
    if first == "-m" and len(arguments) == 1:
        print(f"danlu run: -m needs the name of a module\n\n{USAGE}", end="", file=sys.stderr)
        return 2

    from danlu.compat import install

    install()
    try:
        if first == "-m":
            program, source = load_module(arguments[1], arguments[1:])
        elif first == "-":
            program, source = load_standard_input(arguments)
        else:
            program, source = load_path(first, arguments)
        if isinstance(source, bytes):
            name = getattr(program, "__file__", "<stdin>")
            source = compile(source, name, "exec", dont_inherit=True)
        sys.modules["__main__"] = program
        exec(source, program.__dict__)
    except CannotStart as error:
        message, status = error.args
        print(f"danlu run: {message}", file=sys.stderr)
        return status
    except BaseException as error:
        report_from_program(error)
        raise
    return 0


def search_first(folder: str) -> None:
    """Put `folder` where the folder of the script stands in `sys.path`."""
    if not getattr(sys.flags, "safe_path", False):  # since Python 3.11: no such entry under -P
        sys.path[0] = folder


def load_path(path: str, argv: list[str]) -> tuple[ModuleType, Any]:
    """The `__main__` module of a script, or of a folder or archive with a `__main__.py`, and its
    source.
    """
    from pkgutil import get_importer

    sys.argv[:] = argv
    full_path = os.path.join(os.getcwd(), path)  # as Python writes it, not normalised
    importer = get_importer(full_path)
    if importer is not None:
        spec = importer.find_spec("__main__", None)
        if spec is None:
            raise CannotStart(f"can't find '__main__' module in {full_path!r}", 1)
        search_first(full_path)
        return from_spec(spec)
    loader = SourceFileLoader("__main__", full_path)
    try:
        source = loader.get_data(full_path)
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        raise CannotStart(f"can't open file {full_path!r}: {reason}", 2) from None
    search_first(os.path.dirname(os.path.realpath(path)))
    program = fresh_main(loader)
    program.__file__ = full_path
    return program, source


def load_module(name: str, argv: list[str]) -> tuple[ModuleType, Any]:
    """The module `name`, or the `__main__` of the package `name`, as `__main__`, and its code."""
    sys.argv[:] = ["-m", *argv[1:]]
    search_first(os.getcwd())
    try:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = find_spec(name)
    except (ImportError, ValueError) as error:
        raise CannotStart(f"error while finding the module {name!r}: {error}", 1) from error
    if spec is None:
        raise CannotStart(f"no module named {name!r}", 1)
    program, code = from_spec(spec)
    sys.argv[0] = spec.origin or name
    return program, code


def from_spec(spec: ModuleSpec) -> tuple[ModuleType, Any]:
    """The module of `spec` as `__main__`, and its code."""
    get_code = getattr(spec.loader, "get_code", None)
    code = None if get_code is None else get_code(spec.name)
    if code is None:
        raise CannotStart(f"{spec.name!r} has no code in Python that could be run", 1)
    program = fresh_main(spec.loader)
    program.__spec__ = spec
    program.__package__ = spec.parent
    program.__file__ = spec.origin
    program.__dict__["__cached__"] = spec.cached
    return program, code


def load_standard_input(argv: list[str]) -> tuple[ModuleType, Any]:
    """A program read from standard input to its end."""
    sys.argv[:] = argv
    search_first("")
    return fresh_main(None), sys.stdin.buffer.read()


def fresh_main(loader: Any) -> ModuleType:
    program = ModuleType("__main__")
    program.__loader__ = loader
    program.__dict__.update(
        __builtins__=sys.modules["builtins"], __cached__=None, __annotations__={}
    )
    return program


def report_from_program(error: BaseException) -> None:
    """Let the interpreter report `error` without the frames of this file and of the import system
    below it.

    The report is left to the interpreter, with whatever hook the program has set, because it also
    decides on the exit status; but on the way there more frames are added, so that they are taken
    off when it reports.
    """
    frames = error.__traceback__
    while frames is not None and is_runner(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    report = sys.excepthook

    def excepthook(kind: Any, value: BaseException, traceback: TracebackType | None) -> None:
        if value is error:
            value, traceback = value.with_traceback(frames), frames
        report(kind, value, traceback)

    sys.excepthook = excepthook


def is_runner(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen ")
