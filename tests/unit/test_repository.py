"""The repository keeps its word: documents run, the import is light, PyTorch is not imported,
extras agree.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import danlu
from danlu.cli import doctor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "danlu"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# the pages of the guide have their own test, which runs their blocks in order
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def programs():
    """Every Python block of a document that is a whole program: one that imports danlu itself."""
    for document in DOCUMENTS:
        for number, block in enumerate(BLOCK.findall(document.read_text(encoding="utf-8")), 1):
            if re.search(r"^import danlu\b", block, re.MULTILINE):
                yield pytest.param(document, block, id=f"{document.name}-{number}")


@pytest.mark.parametrize(("document", "block"), list(programs()))
def test_programs_in_the_documents_run(document, block, tmp_path, monkeypatch):
    if document.name == "compile.md":
        pytest.importorskip("llvmlite")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(document), "exec", dont_inherit=True), {"__name__": "__main__"})


def test_the_readmes_say_the_same():
    english, chinese = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
    )

    def without_comments(text):
        return [re.sub(r" *#.*", "", block) for block in BLOCK.findall(text)]

    def names(text):
        prose = BLOCK.sub("", text)
        return {name for name in re.findall(r"`([^`\n]+)`", prose) if name.isascii()}

    assert without_comments(english) == without_comments(chinese)
    assert len(without_comments(english)) == 2
    assert names(english) >= names(chinese)
    assert len(english.split("\n## ")) == len(chinese.split("\n## "))
    for command in ("pip install '.[all]' && danlu tour", "pip install '.[test]' && pytest"):
        assert command in english
        assert command in chinese


def project():
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]


def test_the_doctor_knows_the_extras():
    declared = {
        extra: {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}
        for extra, requirements in project()["optional-dependencies"].items()
        if extra not in ("all", "test")
    }
    assert declared == {extra: set(packages) for extra, packages in doctor.EXTRAS.items()}
    everything = project()["optional-dependencies"]["all"]
    assert everything == [f"danlu[{','.join(doctor.EXTRAS)}]"]


HEAVY = (
    "cupy dataclasses inspect llvmlite matplotlib ml_dtypes multiprocessing pandas PIL scipy "
    "sklearn tensorboard torch tqdm"
)


def test_import_is_light():
    """What `import danlu` adds to `import numpy` is nothing that is heavy."""
    program = (
        "import sys, numpy; before = set(sys.modules); import danlu, json; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert not loaded & set(HEAVY.split())


def test_danlu_never_imports_torch():
    """PyTorch's names are imported nowhere: `danlu.compat` only answers for them."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            roots = {name.partition(".")[0] for name in names}
            assert not roots & {"torch", "torchvision", "torchkeras", "torchmetrics"}, path


def test_files_are_short():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("danlu", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    }
    # a test file mirrors the file that it tests, and a table of cases needs room
    too_long = {
        path: lines
        for path, lines in lengths.items()
        if lines > (750 if path.startswith("tests") else 500)
    }
    assert not too_long


def test_version_is_the_newest_in_the_changes():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changes, re.MULTILINE)
    assert newest is not None
    assert newest[1] == danlu.version.__version__


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module
    for name in [
        name
        for name in sys.modules
        if name.partition(".")[0] in ("cases", "compile_times", "jax_side", "run", "side", "table")
    ]:
        del sys.modules[name]


def case_names():
    return [
        node.name
        for path in sorted((ROOT / "benchmarks" / "cases").glob("[!_]*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    ]


# its model is that of resnet18_step, and the steps until it runs compiled take ten seconds
LONG = {"compiled_resnet18_step"}


@pytest.mark.parametrize("name", sorted(set(case_names()) - LONG))
def test_benchmarks_run_on_danlu(name, benchmarks):
    if name.startswith("compiled_"):
        pytest.importorskip("llvmlite")
    prepared = benchmarks("cases").load()[name].prepare(danlu)
    run, units = prepared if isinstance(prepared, tuple) else (prepared, 1)
    assert units >= 1
    run()


def test_table_is_written_between_the_markers(benchmarks):
    table = benchmarks("table")
    result = benchmarks("run").entry("label", "s", [3e-6, 1e-6, 2e-6], [4e-6], at_most=0.4)
    assert result["ratio"] == pytest.approx(0.5)
    assert not result["met"]
    report = {
        "results": {"add_10": result},
        "rounds": 3,
        "threads": 2,
        "date": "2026-01-01",
        "machine": {"processor": "a processor"},
        "versions": {"python": "3", "torch": "2", "numpy": "2"},
    }
    for language in (0, 1):
        content = table.table(report, language)
        assert "| 2 us | 4 us | 0.50 |" in content
        text = table.replaced(f"a\n{table.BEGIN}\nold\n{table.END}\nb", content)
        assert text.startswith("a\n")
        assert text.endswith("\nb")
        assert "old" not in text
        assert table.replaced(text, content) == text
    with pytest.raises(ValueError, match="markers"):
        table.replaced("nothing here", "x")


def test_table_of_compiled_code_has_all_that_was_measured(benchmarks):
    table, run = benchmarks("table"), benchmarks("run")
    steps = run.entry("a step, compiled", "s", [3e-6], [100e-6], at_most=0.04)
    report = {
        "results": {
            "gpt_step": run.entry("a step", "s", [50e-6], [100e-6]),
            "compiled_gpt_step": steps,
            "gpt_step_jax": run.entry("a step", "s", [3e-6], [4e-6], "JAX", 0.5),
            "gpt_step_compile_cold": run.alone("a step", [0.25, 0.5, 0.75], 1.0),
            "gpt_step_compile_warm": run.alone("a step", [0.125], None),
            "compiled_gpt_step_peak": run.entry("a peak", "B", [3e6], [4e6], "gpt_step", 1.0),
            "compiled_lstm_step": {"label": "refused", "error": "why", "met": False},
        },
        "rounds": 3,
        "threads": 2,
        "date": "2026-01-01",
        "machine": {"processor": "a processor"},
        "versions": {"python": "3", "torch": "2", "numpy": "2", "jax": "0.9"},
    }
    content = table.compiled(report)
    assert "| a step | 3 us | 50 us | 100 us | 0.030 | 0.04 |" in content
    assert "| work | compiled | JAX 0.9 | ratio | at most |" in content
    assert "| a step | 3 us | 4 us | 0.75 | 0.50 |" in content
    assert "| a step | 500 ms | 1 s | 125 ms |  |" in content
    assert "| a peak | 3 MB | 4 MB | 0.75 | 1.00 |" in content
    assert "refused" not in content
    assert content not in table.promises(report)
    assert "compiled" not in table.promises(report)
    assert not run.alone("slow", [2.0], 1.0)["met"]


def test_what_is_refused_is_no_benchmark_of_compiled_code(benchmarks):
    pytest.importorskip("llvmlite")
    x = danlu.ones(3)

    def doubled():
        return x * 2

    def refused():
        return x * x.sum().item()

    assert benchmarks("compile_times").compile_seconds(doubled) > 0
    assert benchmarks("cases.compiled").compiled(danlu, doubled)().tolist() == [2.0] * 3
    for measure in (
        benchmarks("compile_times").compile_seconds,
        lambda step: benchmarks("cases.compiled").compiled(danlu, step),
    ):
        with (
            pytest.warns(danlu.compiler.CompileWarning),
            pytest.raises(RuntimeError, match=r"not run compiled: .*test_repository\.py"),
        ):
            measure(refused)


def test_benchmarks_name_cases_that_exist(benchmarks):
    run, known = benchmarks("run"), set(case_names())
    assert {case for _, case, _ in run.AGAINST_JAX.values()} <= known
    assert {*run.COMPILE_TIMES, *run.PEAKS, *run.COMPILED_PEAKS} <= known
    asked = {rival.case for _, _, rival in run.AGAINST_JAX.values()}
    assert asked == set(benchmarks("jax_side").CASES)
    assert set(benchmarks("table").ROWS) <= known | {*run.FIRST_PROGRAMS, "installed_size"}
