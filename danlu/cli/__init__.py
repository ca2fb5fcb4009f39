"""The command `danlu`: `danlu run`, `danlu tour`, `danlu bench`, `danlu doctor`."""

from __future__ import annotations

import sys
from importlib import import_module

# Each command is the module of its name in this package, with `main(arguments) -> exit status`.
COMMANDS = {
    "run": "run a PyTorch program unchanged, with danlu in the place of torch",
    "tour": "train nine small models on real data, with a picture of each",
    "bench": "time danlu against PyTorch on this machine",
    "doctor": "show what danlu found on this machine, and what is missing",
}

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line `danlu ARGUMENTS` and return its exit status."""
    if arguments is None:
        arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        return import_module(f"danlu.cli.{arguments[0]}").main(arguments[1:])
    return without_command(arguments)


def without_command(arguments: list[str]) -> int:
    """`danlu`, `danlu --help`, `danlu --version`, and first words that are no command."""
    import argparse

    from danlu.version import __version__, torch_version

    parser = argparse.ArgumentParser(
        prog="danlu",
        usage="danlu COMMAND [ARGUMENTS]",
        description="A deep-learning framework in Python and NumPy with PyTorch's API.",
        epilog="commands:\n"
        + "\n".join(f"  {name:8} {what}" for name, what in COMMANDS.items())
        + "\n\n'danlu COMMAND --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"danlu {__version__} (follows PyTorch {torch_version})"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    command = parser.parse_known_args(arguments)[0].command
    if command is not None:
        parser.error(unknown(command))
    parser.print_help()
    return 0


def unknown(command: str) -> str:
    """What to say about a first word that is no command."""
    import difflib

    if command.endswith(".py"):
        return f"no command {command!r}; a program is run with: danlu run {command}"
    close = difflib.get_close_matches(command, COMMANDS, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"no command {command!r}{hint} (there are: {', '.join(COMMANDS)})"
