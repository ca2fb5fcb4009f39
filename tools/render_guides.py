#!/usr/bin/env python3
"""Run the pages of docs/guide, and renew the figures and the printed output that they show.

    python tools/render_guides.py                 # all pages, in both languages
    python tools/render_guides.py table image     # only these

The Python blocks of a page run in order in one fresh process and an empty folder. A ```text block
right after a Python block is what that block prints, and a figure of a page is a file that its
code saves; this tool writes both. `tests/unit/test_guides.py` checks that they are current.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "guide"
IMAGES = (GUIDE / "images").resolve()
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
PICTURE = re.compile(r"!\[[^\]\n]*\]\(([^)\n]+)\)")


def pages() -> list[Path]:
    """The English pages; the Chinese page of the same name lies in zh/."""
    return sorted(GUIDE.glob("*.md"))


def blocks(text: str) -> list[tuple[str, str | None]]:
    """Every Python block of a page with the output that the page shows, or None."""
    return [(match["code"], match["output"]) for match in BLOCK.finditer(text)]


def figures(page: Path) -> set[str]:
    """The file names of the figures that a page shows."""
    links = PICTURE.findall(page.read_text(encoding="utf-8"))
    paths = [(page.parent / link).resolve() for link in links]
    return {path.name for path in paths if path.parent == IMAGES}


def run(page: Path, folder: Path) -> list[str]:
    """What each block of a page prints, run in a fresh process with `folder` as its home.

    Raises:
        RuntimeError: if a block fails; the message is the process's traceback.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {
        **os.environ,
        **threads,
        "MPLBACKEND": "Agg",
        "MATPLOTLIBRC": str(GUIDE / "matplotlibrc"),
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "100",
    }
    result = subprocess.run(
        [sys.executable, __file__, "--execute", str(page)],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    if result.returncode:
        raise RuntimeError(f"{page.name}: {result.stderr}")
    return json.loads(result.stdout)


def execute(page: Path) -> list[str]:
    """Run the blocks of a page in this process, as the program `__main__`."""
    program = types.ModuleType("__main__")
    sys.modules["__main__"] = program
    text = page.read_text(encoding="utf-8")
    printed = []
    for match in BLOCK.finditer(text):
        # Blank lines before the code make a traceback's line numbers those of the page.
        above = text.count("\n", 0, match.start("code"))
        code = compile("\n" * above + match["code"], str(page), "exec", dont_inherit=True)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, program.__dict__)
        printed.append(out.getvalue())
    return printed


def with_outputs(text: str, outputs: list[str]) -> str:
    """The page with every shown output replaced by the printed one."""
    printed = iter(outputs)

    def renewed(match: re.Match) -> str:
        output = next(printed)
        block = f"```python\n{match['code']}```\n"
        return block if match["output"] is None else f"{block}\n```text\n{output}```\n"

    return BLOCK.sub(renewed, text)


def shrink(figure: Path, target: Path) -> None:
    """Copy a figure with a palette of 256 colours, a third of its size."""
    from PIL import Image

    with Image.open(figure) as image:
        image.convert("RGB").quantize(256).save(target, optimize=True)


def render(page: Path) -> None:
    """Renew the outputs of a page in both languages, and its figures."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = run(page, Path(folder))
        for name in figures(page):
            shrink(Path(folder) / name, IMAGES / name)
    for version in (page, GUIDE / "zh" / page.name):
        if version.exists():
            text = version.read_text(encoding="utf-8")
            version.write_text(with_outputs(text, outputs), encoding="utf-8")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--execute"]:
        print(json.dumps(execute(Path(arguments[1]))))
        return
    IMAGES.mkdir(exist_ok=True)
    for page in pages():
        if not arguments or page.stem in arguments:
            print(page.relative_to(ROOT))
            render(page)


if __name__ == "__main__":
    main(sys.argv[1:])
