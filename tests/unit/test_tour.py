"""`danlu tour`: its models meet their metrics, and it says so, shows it and returns it."""

from __future__ import annotations

import html
import re
import sys
from math import nan

import pytest

import danlu
from danlu.cli.tour import command, main
from danlu.cli.tour.lesson import Lesson, Outcome, Score, Watch

needs_plots = pytest.mark.skipif(
    any(command.find_spec(module) is None for module in command.NEEDED),
    reason="needs scikit-learn, matplotlib and pandas",
)


@needs_plots
def test_the_whole_tour_meets_its_metrics(tmp_path, capsys):
    threads = danlu.get_num_threads()
    out = tmp_path / "deep" / "tour"
    assert main(["--out", str(out)]) == 0
    printed = capsys.readouterr().out

    table = printed[printed.index("\nmodel ") :]
    assert re.search(r"9 models in \d+\.\d s: every metric met", table)
    assert " NO\n" not in table
    for data in ("iris", "digits", "diabetes", "breast cancer", "wine", "line", "cubic", "rings"):
        assert re.search(rf"\s{data}.* yes\n", table)

    assert "[4/9] Ring network, mid level" in printed
    assert re.search(r"rings +█{10}░{10} epoch 10/20  loss 0\.\d{4}\n", printed)

    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("<section") == len(command.NAMES)
    for name in command.NAMES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f'<img src="{name}.png"' in page
    assert danlu.get_num_threads() == threads


@needs_plots
def test_only_and_quiet(tmp_path, capsys):
    arguments = ["--only", "softmax", "--only", "logistic", "--quiet", "--out", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("model ")
    assert "epoch" not in printed
    assert printed.index("Logistic") < printed.index("Softmax")
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.html",
        "logistic.png",
        "softmax.png",
    }


@needs_plots
@pytest.mark.parametrize("value", [0.5, nan])
def test_a_missed_metric_shows_in_the_table_and_the_status(tmp_path, capsys, monkeypatch, value):
    from matplotlib.figure import Figure

    def run(open_watch):
        watch = open_watch("data")
        for _ in watch(range(2)):
            watch.step(1.0)
        return Outcome([Score("data", "accuracy", value, 0.9, watch)], Figure())

    lesson = Lesson("poor", "Poor <model>", "Fails.", (run,), run)
    monkeypatch.setattr(command, "all_lessons", lambda: [lesson])
    assert command.take(["poor"], tmp_path, quiet=True) == 1
    printed = capsys.readouterr().out
    assert re.search(rf"Poor <model> +data +accuracy {value:.3f} .* ≥ 0\.90 +NO\n", printed)
    assert "1 of 1 metrics missed" in printed
    assert '<td class="no">NO</td>' in (tmp_path / "index.html").read_text(encoding="utf-8")


@needs_plots
def test_names_are_those_of_the_lessons():
    assert tuple(lesson.name for lesson in command.all_lessons()) == command.NAMES


def test_a_missing_package_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda module: None if module == "sklearn" else 1)
    assert main(["--out", str(tmp_path / "new")]) == 2
    message = "danlu tour: needs scikit-learn: pip install 'danlu[all]'\n"
    assert capsys.readouterr().err == message
    assert not (tmp_path / "new").exists()


def test_an_unknown_name_lists_the_names(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--only", "gan"])
    assert stop.value.code == 2
    assert "'rings-low'" in capsys.readouterr().err.replace("rings-low,", "'rings-low',")


@needs_plots
def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file")]) == 2
    assert "cannot write to" in capsys.readouterr().err


@needs_plots
def test_an_interrupt_is_one_line(tmp_path, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "take", interrupted)
    assert main(["--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "danlu tour: interrupted\n"


def test_a_watch_counts_and_averages():
    watch = Watch("line", show=False)
    for epoch in watch(range(3)):
        watch.step(danlu.tensor(float(epoch)))
        watch.step(float(epoch) + 1)
    assert (watch.steps, watch.losses) == (6, [0.5, 1.5, 2.5])
    assert watch.steps_per_second == watch.steps / watch.seconds


def test_a_terminal_sees_one_line_that_is_redrawn(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    watch = Watch("line")
    for _ in watch(range(5)):
        watch.step(1.0)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.startswith("\r\033[K  line ")
    assert "epoch 5/5  loss 1.0000\n" in printed


def test_scores_compare_in_both_directions():
    watch = Watch("", show=False)
    assert Score("", "", 0.9, 0.9, watch).met
    assert not Score("", "", 0.8, 0.9, watch).met
    assert Score("", "", 0.8, 0.9, watch, lower_is_better=True).met
    assert not Score("", "", nan, 0.9, watch, lower_is_better=True).met


@needs_plots
def test_highlighting_keeps_the_code():
    from danlu.cli.tour import page

    for lesson in command.all_lessons():
        for thing in lesson.code:
            code = page.source(thing)
            shown = page.highlighted(code)
            assert html.unescape(re.sub(r"<span[^>]*>|</span>", "", shown)) == code
            assert '<span class="defined">' in shown
    assert page.highlighted("a < 'b'") == 'a &lt; <span class="string">&#x27;b&#x27;</span>'


def test_the_corpus_is_cleaned(tmp_path):
    from danlu.cli.tour import corpus

    (tmp_path / "module.py").write_text(
        '"""Make an array of the given shape. Then x.\n\n'
        "    >>> Not this one because it is code.\n\n"
        '    flag : bool, default\n    True Whether to fit the model at all.\n    """\n'
    )
    assert list(corpus.sentences(tmp_path / "module.py")) == [
        "Make an array of the given shape.",
        "Whether to fit the model at all.",
    ]
    assert corpus.words("Let NumPy do it, np.sum-like.") == ["let", "do", "it", "sum", "like"]
    texts = [("one two two", 1), ("two " * 40, 0)]
    numbers = corpus.vocabulary(texts)
    assert numbers == {"two": 2, "one": 3}
    X, Y = corpus.encode([*texts, ("never seen", 0)], numbers)
    assert X.shape == (3, corpus.LENGTH)
    assert X[0, :4].tolist() == [3, 2, 2, corpus.PAD]
    assert X[2, :3].tolist() == [corpus.UNKNOWN, corpus.UNKNOWN, corpus.PAD]
    assert Y.tolist() == [[1.0], [0.0], [0.0]]


@needs_plots
def test_no_sentence_is_both_trained_on_and_held_out():
    from danlu.cli.tour import corpus

    train, test = corpus.read()
    assert not {sentence for sentence, _ in train} & {sentence for sentence, _ in test}
    for texts in (train, test):
        share = sum(label for _, label in texts) / len(texts)
        assert len(texts) > 800
        assert 0.25 < share < 0.75
