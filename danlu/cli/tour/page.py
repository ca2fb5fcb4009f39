"""The page of the tour: pictures, scores and code of every lesson in one HTML file."""

from __future__ import annotations

import html
import inspect
import io
import keyword
import textwrap
import tokenize
from pathlib import Path
from typing import Any

from danlu.cli.tour.lesson import HEADINGS, Lesson, Outcome
from danlu.version import __version__

STYLE = """\
:root { --ink: #26221f; --muted: #7b7269; --rule: #e4dccf; --paper: #fffdf9; --ground: #f6f1e8;
  --cinnabar: #c23b2a; --jade: #2a8478; --indigo: #38578c; --gold: #a9741a; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 56px 20px 72px; }
h1 { font-size: 2.3rem; margin: 0; letter-spacing: -0.02em; }
h1 span { color: var(--cinnabar); }
h2 { font-size: 1.35rem; margin: 0; letter-spacing: -0.01em; }
p { margin: 6px 0 0; max-width: 46em; }
.lead, .about { color: var(--muted); }
section, .summary { background: var(--paper); border: 1px solid var(--rule); border-radius: 14px;
  padding: 24px 26px; margin-top: 26px; box-shadow: 0 1px 2px rgb(60 40 20 / 5%); }
.summary { padding: 10px 14px; overflow-x: auto; }
.number { color: var(--cinnabar); font-variant-numeric: tabular-nums; margin-right: 0.35em; }
img { display: block; width: 100%; height: auto; margin-top: 16px; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th { text-align: left; font-weight: 600; color: var(--muted); }
th, td { padding: 7px 12px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
td.right, th.right { text-align: right; font-variant-numeric: tabular-nums; }
td a { color: inherit; text-decoration-color: var(--cinnabar); text-underline-offset: 3px; }
.yes, .no { font-weight: 600; }
.yes { color: var(--jade); }
.no { color: var(--cinnabar); }
.chips { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 14px; font-size: 0.86rem; }
.chips span { border: 1px solid var(--rule); border-radius: 99px; padding: 3px 12px; }
.chips b { font-variant-numeric: tabular-nums; }
pre { margin: 18px 0 0; padding: 16px 18px; background: #faf5ec; border-radius: 10px;
  overflow-x: auto; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
.keyword { color: var(--cinnabar); }
.string, .comment { color: var(--jade); }
.literal { color: var(--gold); }
.defined { color: var(--indigo); font-weight: 600; }
footer { color: var(--muted); font-size: 0.88rem; margin-top: 30px; }
"""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>danlu tour</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1><span>丹炉</span> danlu tour</h1>
<p class="lead">{lead}</p>
<div class="summary">{table}</div>
{sections}
<footer>danlu {version}. Metrics are those of data that training did not see.</footer>
</main>
</body>
</html>
"""

SECTION = """\
<section id="{name}">
<h2><span class="number">{number}</span>{title}</h2>
<p class="about">{about}</p>
<div class="chips">{chips}</div>
<img src="{name}.png" alt="{alt}">
<pre><code>{code}</code></pre>
</section>"""


def write(path: Path, lessons: list[Lesson], outcomes: list[Outcome], seconds: float) -> None:
    """Write the page for lessons whose pictures lie beside it."""
    sections = [
        section(number, lesson, outcome)
        for number, (lesson, outcome) in enumerate(zip(lessons, outcomes), 1)
    ]
    count = "one small model" if len(lessons) == 1 else f"{len(lessons)} small models"
    text = PAGE.format(
        style=STYLE,
        lead=html.escape(
            f"{count[0].upper()}{count[1:]}, trained on this machine in {seconds:.0f} seconds."
        ),
        table=table(lessons, outcomes),
        sections="\n".join(sections),
        version=html.escape(__version__),
    )
    path.write_text(text, encoding="utf-8")


def table(lessons: list[Lesson], outcomes: list[Outcome]) -> str:
    rows = [
        "<tr>" + "".join(f"<th{right(i)}>{name}</th>" for i, name in enumerate(HEADINGS)) + "</tr>"
    ]
    for lesson, outcome in zip(lessons, outcomes):
        for place, score in enumerate(outcome.scores):
            *cells, met = map(html.escape, score.cells())
            link = f'<a href="#{lesson.name}">{html.escape(lesson.title)}</a>' if place == 0 else ""
            middle = "".join(f"<td{right(i)}>{cell}</td>" for i, cell in enumerate(cells, 1))
            rows.append(f'<tr><td>{link}</td>{middle}<td class="{met.lower()}">{met}</td></tr>')
    return f"<table>{''.join(rows)}</table>"


def right(column: int) -> str:
    return ' class="right"' if HEADINGS[column] in ("seconds", "steps/s") else ""


def section(number: int, lesson: Lesson, outcome: Outcome) -> str:
    chips = []
    for score in outcome.scores:
        data, metric, seconds, _, expected, _ = map(html.escape, score.cells())
        reached = f'<b class="{"yes" if score.met else "no"}">{metric}</b>'
        chips.append(f"<span>{data}: {reached}, expected {expected}, {seconds} s</span>")
    return SECTION.format(
        name=lesson.name,
        number=number,
        title=html.escape(lesson.title),
        about=html.escape(lesson.about),
        chips="".join(chips),
        alt=html.escape(f"What {lesson.title} learned"),
        code="\n\n\n".join(highlighted(source(thing)) for thing in lesson.code),
    )


def source(thing: Any) -> str:
    return textwrap.dedent(inspect.getsource(thing)).replace("  # fmt: skip", "").rstrip()


def highlighted(code: str) -> str:
    """Python source as HTML, its tokens in spans by kind.

    >>> highlighted("return 1")
    '<span class="keyword">return</span> <span class="literal">1</span>'
    """
    lines = code.splitlines(keepends=True)
    parts, row, column, before = [], 1, 0, ""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        kind = kind_of(token, before)
        if kind is None:
            before = token.string
            continue
        parts.append(html.escape(between(lines, (row, column), token.start)))
        parts.append(f'<span class="{kind}">{html.escape(token.string)}</span>')
        (row, column), before = token.end, token.string
    parts.append(html.escape(between(lines, (row, column), (len(lines) + 1, 0))))
    return "".join(parts)


def kind_of(token: tokenize.TokenInfo, before: str) -> str | None:
    if token.type == tokenize.NAME:
        if keyword.iskeyword(token.string):
            return "literal" if token.string in ("True", "False", "None") else "keyword"
        return "defined" if before in ("def", "class") else None
    kinds = {
        tokenize.STRING: "string",
        tokenize.COMMENT: "comment",
        tokenize.NUMBER: "literal",
    }
    return kinds.get(token.type)


def between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """The text from one (row, column) to another; rows count from 1."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    last = lines[end[0] - 1][: end[1]] if end[0] <= len(lines) else ""
    first = lines[start[0] - 1][start[1] :] if start[0] <= len(lines) else ""
    return first + "".join(lines[start[0] : end[0] - 1]) + last
