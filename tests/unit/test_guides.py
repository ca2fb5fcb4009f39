"""The guide's pages run, print what they show and save the figures they show, in both languages."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHINESE_DOCS = DOCS / "guide" / "zh"
NAMES = sorted(path.name for path in (DOCS / "guide").glob("*.md"))
NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]\d+)?")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
LARGEST_FIGURE = 120_000  # bytes


@pytest.fixture(scope="module")
def guides():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module("render_guides")


def alike(shown, printed):
    """Whether two outputs agree: words and whole numbers exactly, others within 3 %, for the last
    digits of a training depend on the BLAS and its order of summation.
    """
    texts = [" ".join(NUMBER.sub("#", text).split()) for text in (shown, printed)]
    numbers = [list(map(float, NUMBER.findall(text))) for text in (shown, printed)]
    return texts[0] == texts[1] and all(
        abs(one - other) <= 0.03 + 0.03 * abs(one) for one, other in zip(*numbers)
    )


def links(page):
    """The files that a page links to."""
    return LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", NAMES)
def test_page_prints_what_it_shows(name, guides, tmp_path):
    for package in ("matplotlib", "pandas", "sklearn"):
        pytest.importorskip(package)
    if name == "tensorboard.md":
        pytest.importorskip("tensorboard")
    if name == "image.md":
        pytest.importorskip("PIL")
    page = DOCS / "guide" / name
    printed = guides.run(page, tmp_path)
    blocks = guides.blocks(page.read_text(encoding="utf-8"))
    assert len(printed) == len(blocks)
    for (code, shown), output in zip(blocks, printed):
        assert shown is None or alike(shown, output), f"{code}\nprinted:\n{output}\nnot:\n{shown}"
    missing = {figure for figure in guides.figures(page) if not (tmp_path / figure).is_file()}
    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_page_is_the_same_in_chinese(name, guides):
    page, translation = DOCS / "guide" / name, CHINESE_DOCS / name
    texts = [path.read_text(encoding="utf-8") for path in (page, translation)]
    english, chinese = map(guides.blocks, texts)
    assert len(english) == len(chinese)
    for (code, output), (translated_code, translated_output) in zip(english, chinese):
        assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(translated_code))
        assert output == translated_output
    assert guides.figures(page) == guides.figures(translation)
    assert texts[0].count("\n## ") == texts[1].count("\n## ")
    assert len(re.findall(r"[\u4e00-\u9fff]", texts[1])) > 200


def test_every_output_follows_its_block(guides):
    """A text block elsewhere would be compared with nothing."""
    for page in DOCS.glob("guide/**/*.md"):
        text = page.read_text(encoding="utf-8")
        compared = [output for _, output in guides.blocks(text) if output is not None]
        assert text.count("```text\n") == len(compared), page
        assert all(compared), page


def test_figures_are_those_of_the_pages(guides):
    shown = set().union(*(guides.figures(DOCS / "guide" / name) for name in NAMES))
    sizes = {path.name: path.stat().st_size for path in guides.IMAGES.iterdir()}
    assert shown == set(sizes)
    assert max(sizes.values()) <= LARGEST_FIGURE


def test_indexes_list_every_page():
    assert {path.name for path in CHINESE_DOCS.glob("*.md")} == set(NAMES)
    for index, folder in (("README.md", "guide/"), ("README.zh-CN.md", "guide/zh/")):
        assert {folder + name for name in NAMES} <= set(links(DOCS / index))


def test_links_lead_somewhere():
    for page in [*DOCS.glob("README*.md"), *DOCS.glob("guide/**/*.md")]:
        for link in links(page):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_comparison_notices_what_is_different():
    assert alike("loss 0.501  acc 0.90\n", "loss 0.509   acc 0.91\n")
    assert not alike("loss 0.50", "loss 0.60")
    assert not alike("acc 0.50", "loss 0.50")
    assert not alike("(5, 3)", "(5, 4)")
    assert not alike("0.5 0.5", "0.5")


def test_outputs_are_written_after_their_blocks(guides):
    text = "a\n\n```python\nprint(1)\n```\n\n```text\nold\n```\n\n```python\nx = 1\n```\n"
    renewed = guides.with_outputs(text, ["1\n", ""])
    assert guides.blocks(renewed) == [("print(1)\n", "1\n"), ("x = 1\n", None)]
    assert guides.with_outputs(renewed, ["1\n", ""]) == renewed


def test_failing_block_is_named_by_its_line(guides, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("words\n\n```python\nx = 1\nraise ValueError('here')\n```\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"page\.md.*line 5(.|\n)*ValueError: here"):
        guides.run(page, tmp_path)
