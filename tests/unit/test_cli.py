"""The commands: `danlu run` behaves like `python`, the others print what they promise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import danlu
from danlu.cli import main
from danlu.version import __version__

SOURCE = str(Path(next(iter(danlu.__path__))).parent)
PYTHON = [sys.executable]
DANLU_RUN = [sys.executable, "-m", "danlu", "run"]


def run(command, folder, stdin="", **variables):
    return subprocess.run(
        command,
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": SOURCE, **variables},
    )


def assert_like_python(folder, arguments, stdin="", **variables):
    """`danlu run ARGUMENTS` and `python ARGUMENTS` print and return the same."""
    expected = run([*PYTHON, *arguments], folder, stdin, **variables)
    got = run([*DANLU_RUN, *arguments], folder, stdin, **variables)
    assert got.stdout == expected.stdout
    assert got.stderr == expected.stderr
    assert got.returncode == expected.returncode
    return got


SURROUNDINGS = """
import pickle, sys
class Thing: pass
assert type(pickle.loads(pickle.dumps(Thing()))) is Thing
assert sys.modules["__main__"].__dict__ is globals()
spec = __spec__ and (__spec__.name, __spec__.origin)
print(__name__, __file__, __package__, spec, __doc__, __cached__ and 1, type(__loader__).__name__)
print(sys.argv, sys.path[0], input(), sys.flags.safe_path if hasattr(sys.flags, "safe_path") else 0)
print(type(__builtins__), sorted(name for name in globals() if name.startswith("__")))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "program.py").write_text('"""A docstring."""' + SURROUNDINGS)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SURROUNDINGS)
    (package / "part.py").write_text(SURROUNDINGS)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["program.py"],
        ["program.py", "--help", "-m", "x y"],
        ["./package/../program.py"],
        ["-m", "program", "--flag"],
        ["-m", "package", "1"],
        ["-m", "package.part"],
        ["package"],
    ],
)
def test_a_program_sees_what_it_sees_under_python(folder, arguments):
    result = assert_like_python(folder, arguments, stdin="a line\n")
    assert result.returncode == 0


def test_a_linked_script_finds_its_neighbours(folder):
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "link.py").symlink_to(folder / "program.py")
    assert_like_python(folder, ["elsewhere/link.py"], stdin="a line\n")


def test_program_from_standard_input(folder):
    program = "import sys\nprint(sys.argv, __name__, repr(sys.path[0]))\nsys.exit(5)\n"
    assert assert_like_python(folder, ["-", "a"], stdin=program).returncode == 5


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def f():\n    return 1 / 0\n\nf()\n", 1),
        ("try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('b') from error\n", 1),
        ("x = (\n", 1),
        ("import no_such_module\n", 1),
        ("raise SystemExit(3)\n", 3),
        ("raise SystemExit('a message')\n", 1),
        ("import sys; sys.exit()\n", 0),
        ("import os; os._exit(7)\n", 7),
        ("raise KeyboardInterrupt\n", -signal.SIGINT),
        ("import sys; sys.excepthook = lambda *a: print('mine', a[1]); 1 / 0\n", 1),
        ("import atexit; atexit.register(print, 'at exit'); print('running')\n", 0),
        ("# coding: latin-1\nprint('caf\\xe9')\n", 0),
        (
            "x: int = 1\nprint(__annotations__)\nclass A:\n    y: 'int'\n"
            "print(A.__annotations__)\n",
            0,
        ),
    ],
)
def test_errors_and_exit_statuses_are_pythons(tmp_path, program, status):
    encoding = "latin-1" if "latin-1" in program else "utf-8"
    (tmp_path / "program.py").write_text(program, encoding=encoding)
    assert assert_like_python(tmp_path, ["program.py"]).returncode == status
    (tmp_path / "other.py").write_text(program, encoding=encoding)
    failed = run([*DANLU_RUN, "-m", "other"], tmp_path)
    assert failed.returncode == status
    assert "danlu/cli" not in failed.stderr


def test_warnings_are_shown_as_python_shows_them(tmp_path):
    program = "import warnings\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('new')\n"
    (tmp_path / "program.py").write_text(program)
    assert "old" in assert_like_python(tmp_path, ["program.py"]).stderr
    assert_like_python(tmp_path, ["program.py"], PYTHONWARNINGS="error")


def test_programs_that_cannot_start(tmp_path):
    missing = run([*DANLU_RUN, "nothing.py"], tmp_path)
    assert missing.returncode == 2
    assert f"can't open file '{tmp_path / 'nothing.py'}'" in missing.stderr
    module = run([*DANLU_RUN, "-m", "no_such_module"], tmp_path)
    assert module.returncode == 1
    assert "no_such_module" in module.stderr
    (tmp_path / "empty").mkdir()
    assert run([*DANLU_RUN, "empty"], tmp_path).returncode == 1
    for result in (missing, module):
        assert "Traceback" not in result.stderr


def test_an_unmodified_program_runs(tmp_path):
    (tmp_path / "program.py").write_text(
        "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
        "import danlu\nassert torch is danlu\n"
        "x = torch.tensor([1.0, 2.0], requires_grad=True)\n"
        "(x * x).sum().backward()\nprint(x.grad)\n"
    )
    result = run([*DANLU_RUN, "program.py"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "tensor([2., 4.])\n"


@pytest.mark.parametrize("arguments", [[], ["--nonsense"], ["-m"]])
def test_run_without_a_program_shows_its_usage(arguments, capsys):
    assert main(["run", *arguments]) == 2
    assert "usage: danlu run" in capsys.readouterr().err


def test_help_and_version(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {command} " in text for command in ("run", "tour", "bench", "doctor"))
    assert main(["run", "--help"]) == 0
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "hint"),
    [("tuor", "did you mean 'tour'"), ("docter", "'doctor'"), ("train.py", "danlu run train.py")],
)
def test_unknown_commands_get_a_suggestion(word, hint, capsys):
    with pytest.raises(SystemExit) as caught:
        main([word])
    assert caught.value.code == 2
    assert hint in capsys.readouterr().err


def test_doctor_as_text(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in (
        "danlu",
        "Python",
        "numpy",
        "threads",
        "BLAS",
        "backend cpu",
        "kernel cache",
        "extras",
    ):
        assert word in text


def test_doctor_as_json(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["danlu"]["version"] == __version__
    assert report["backends"]["cpu"]["available"] is True
    assert report["threads"]["number"] >= 1


def test_doctor_names_the_command_that_installs_what_is_missing(monkeypatch, capsys):
    from danlu.cli import doctor

    installed = doctor.version_of
    monkeypatch.setattr(
        doctor, "version_of", lambda name: None if name == "pandas" else installed(name)
    )
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "pip install 'danlu[keras]'" in text
    assert "pandas         missing" in text
