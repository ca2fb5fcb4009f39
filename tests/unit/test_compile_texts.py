"""Texts of generated functions: their names, and their code from the disk."""

import subprocess
import sys

import pytest

from danlu.compiler import texts
from danlu.compiler.texts import Scope, define, function_text
from danlu.kernels.runtime import cache

LONG = function_text("f(x)", [*[f"x = x + {number}" for number in range(200)], "return x"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    return tmp_path


def defined(text):
    scope = {}
    define(text, scope)
    return scope["f"]


def test_names_are_counted_and_kept():
    names, first, second = Scope(known=1), [], []
    assert [names.of(first, "a"), names.of(second, "b"), names.of(first, "a")] == ["a0", "b1", "a0"]
    assert names.of(first, "other") == "other2"  # two meanings of one object
    assert names["a0"] is first and names["b1"] is second and names["known"] == 1


def test_long_texts_are_compiled_once(folder, monkeypatch):
    assert defined(LONG)(1) == 1 + sum(range(200))
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(texts, "compile", None, raising=False)
    assert defined(LONG)(2) == 2 + sum(range(200))


def test_short_texts_leave_no_file(folder):
    assert defined("def f(x):\n    return x\n")(3) == 3
    assert not list(folder.iterdir())


def test_a_damaged_file_is_written_again(folder):
    defined(LONG)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert defined(LONG)(0) == sum(range(200))
    assert file.read_bytes() == whole


def test_without_a_cache(monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", "")
    assert cache.folder() is None
    assert defined(LONG)(0) == sum(range(200))


PROGRAM = """
import danlu as torch
spare = [object() for _ in range({spare})]  # other addresses
network = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
@torch.compile
def step(x, weights):
    optimizer.zero_grad()
    loss = (network(x) * weights["of rows"]).square().mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return loss, {{"rows": len(x)}}
for _ in range(3):
    step(torch.ones(3, 2), {{"of rows": torch.ones(3, 1)}})
assert torch.compiler.stats(step).compiled_calls == 1, torch.compiler.stats(step).refusals
"""


def test_another_process_finds_all_of_it(folder):
    for spare in (1, 1000):
        subprocess.run([sys.executable, "-c", PROGRAM.format(spare=spare)], check=True)
        found = sorted(each.name for each in folder.iterdir())
        if spare == 1:
            before = found
    assert found == before
