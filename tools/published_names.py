#!/usr/bin/env python3
"""Write danlu/ops/published.py: which module has which function of `danlu` and method of Tensor.

    python tools/published_names.py            # write it
    python tools/published_names.py --check    # only say whether it is current (exit status 1: no)

The functions are those that danlu/__init__.py imports for type checkers; the methods are what the
modules publish when they are loaded.
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "danlu" / "ops" / "published.py"
PUBLISHING = ("danlu.autograd", "danlu.linalg", "danlu.ops")
HEADER = '''"""Where the functions of `danlu` and the methods of Tensor are: module -> names.

Written by tools/published_names.py."""

from __future__ import annotations

# fmt: off
'''


def functions() -> dict[str, list[str]]:
    """Module -> the names that danlu/__init__.py imports from it `if TYPE_CHECKING`."""
    tree = ast.parse((ROOT / "danlu" / "__init__.py").read_text(encoding="utf-8"))
    [block] = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    found: dict[str, list[str]] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom) and node.module is not None
        if node.module == "danlu.base":  # published all at once, at the first use of any
            continue
        imported = [alias.name for alias in node.names]
        found[node.module] = import_module(node.module).__all__ if imported == ["*"] else imported
    return found


def methods() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Module -> the methods of Tensor that it publishes, and the same for properties."""
    tensor = import_module("danlu.tensor")
    publish = tensor.publish_method
    plain: dict[str, list[str]] = {}
    properties: dict[str, list[str]] = {}

    def noted(name: str, function) -> None:
        frame = sys._getframe(1)
        while frame.f_code.co_name != "<module>":
            assert frame.f_back is not None
            frame = frame.f_back
        table = properties if isinstance(function, property) else plain
        table.setdefault(frame.f_globals["__name__"], []).append(name)
        publish(name, function)

    tensor.publish_method = noted
    for package in map(import_module, PUBLISHING):
        for module in walk_packages(package.__path__, package.__name__ + "."):
            import_module(module.name)
    return plain, properties


def written(title: str, table: dict[str, list[str]]) -> str:
    """The source text of one table.

    Raises:
        ValueError: two modules have a name of the table.
    """
    homes: dict[str, str] = {}
    for module, names in table.items():
        for name in names:
            if homes.setdefault(name, module) != module:
                raise ValueError(f"{name} is in {homes[name]} and in {module}")
    lines = [f"{title} = {{"]
    for module in sorted(table):
        lines.append(f'    "{module.removeprefix("danlu.")}": (')
        wrapped = textwrap.wrap(" ".join(sorted(set(table[module]))), 88)
        lines += [f'        "{line} "' for line in wrapped[:-1]]
        lines += [f'        "{wrapped[-1]}"', "    ),"]
    return "\n".join([*lines, "}", ""])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    plain, properties = methods()
    tables = (("FUNCTIONS", functions()), ("METHODS", plain), ("PROPERTIES", properties))
    text = HEADER + "".join(written(title, table) for title, table in tables)
    if FILE.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        print(f"{FILE} is not current: run tools/published_names.py", file=sys.stderr)
        return 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
