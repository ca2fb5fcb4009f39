"""The command `danlu tour`: trains the lessons, prints their scores and writes their pictures."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from danlu.cli.tour.lesson import Lesson, Outcome

# In the order of the tour. They are named here so that a wrong name is refused, and help given,
# before anything is imported.
NAMES = (
    "linear", "logistic", "rings-low", "rings-mid", "rings-high", "softmax", "digits", "series",
    "text",
)  # fmt: skip
SEED = 1
NEEDED = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "pandas": "pandas"}
ALL_MET, MISSED, CANNOT_START = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="danlu tour",
        description="Train nine small models on real data, from bare tensors up to fit in one "
        "line; print what each reached, and write a picture of each and a page that shows them.",
        epilog="The exit status is 1 if a model misses its metric, 2 if the tour cannot start.",
    )
    found.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("danlu-tour"),
        help="folder for the pictures and index.html (default: %(default)s)",
    )
    found.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=NAMES,
        help=f"train this model alone; may be repeated ({', '.join(NAMES)})",
    )
    found.add_argument("--quiet", action="store_true", help="show the table only, no progress")
    return found


def main(arguments: list[str]) -> int:
    """Take the tour that the command line asks for, and return its exit status."""
    options = parser().parse_args(arguments)
    missing = [title for module, title in NEEDED.items() if find_spec(module) is None]
    if missing:
        return refuse(f"needs {' and '.join(missing)}: pip install 'danlu[all]'")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return refuse(f"cannot write to {str(options.out)!r}: {error.strerror}")
    try:
        return take(options.only or NAMES, options.out, options.quiet)
    except KeyboardInterrupt:
        return refuse("interrupted", status=130)


def refuse(reason: str, status: int = CANNOT_START) -> int:
    print(f"danlu tour: {reason}", file=sys.stderr)
    return status


def take(names: tuple[str, ...] | list[str], out: Path, quiet: bool) -> int:
    """Train the lessons of these names in the tour's order, and report."""
    from danlu.cli.tour import page
    from danlu.keras.utils import say

    start = time.perf_counter()
    lessons = [lesson for lesson in all_lessons() if lesson.name in names]
    outcomes = []
    with one_thread():
        for number, lesson in enumerate(lessons, 1):
            say(f"[{number}/{len(lessons)}] {lesson.title}", quiet=quiet)
            outcome = train(lesson, quiet)
            save_figure(outcome, out / f"{lesson.name}.png")
            outcomes.append(outcome)
    seconds = time.perf_counter() - start
    page.write(out / "index.html", lessons, outcomes, seconds)
    say(quiet=quiet)
    say(report(lessons, outcomes, seconds))
    say(f"pictures: {(out / 'index.html').absolute()}")
    met = all(score.met for outcome in outcomes for score in outcome.scores)
    return ALL_MET if met else MISSED


def all_lessons() -> list[Lesson]:
    """The nine lessons, in the tour's order."""
    from danlu.cli.tour import digits, linear, logistic, rings, series, softmax, text

    return [
        linear.LESSON, logistic.LESSON, *rings.LESSONS, softmax.LESSON, digits.LESSON,
        series.LESSON, text.LESSON,
    ]  # fmt: skip


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrix products in one thread: those of the tour are so small that a second one mostly waits,
    and where another program keeps the core busy the first then waits for it, ten times as long.
    """
    import danlu

    before = danlu.get_num_threads()
    danlu.set_num_threads(1)
    try:
        yield
    finally:
        danlu.set_num_threads(before)


def train(lesson: Lesson, quiet: bool) -> Outcome:
    """Run a lesson from the tour's seed, so that it gives the same alone and among the others."""
    import matplotlib

    import danlu
    from danlu.cli.tour import plots
    from danlu.cli.tour.lesson import Watch

    danlu.manual_seed(SEED)
    with matplotlib.rc_context(plots.STYLE):
        return lesson.run(lambda title: Watch(title, show=not quiet))


def save_figure(outcome: Outcome, path: Path) -> None:
    import matplotlib

    from danlu.cli.tour import plots

    with matplotlib.rc_context(plots.STYLE):
        outcome.figure.savefig(path)


def report(lessons: list[Lesson], outcomes: list[Outcome], seconds: float) -> str:
    """The table of all scores, and a line that sums it up."""
    from danlu.cli.tour.lesson import HEADINGS

    rows: list[tuple[str, ...]] = [HEADINGS]
    for lesson, outcome in zip(lessons, outcomes):
        titles = [lesson.title] + [""] * len(outcome.scores)
        rows += [(title, *score.cells()) for title, score in zip(titles, outcome.scores)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    numbers = (3, 4)
    lines = [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    scores = [score for outcome in outcomes for score in outcome.scores]
    missed = sum(not score.met for score in scores)
    verdict = f"{missed} of {len(scores)} metrics missed" if missed else "every metric met"
    return "\n".join([*lines, "", f"{len(lessons)} models in {seconds:.1f} s: {verdict}"])
