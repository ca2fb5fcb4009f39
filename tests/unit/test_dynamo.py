"""The compiler by PyTorch's private names."""

from __future__ import annotations

import pytest

import danlu as torch

pytest.importorskip("llvmlite")


def test_reset_forgets_programs():
    double = torch.compile(lambda x: x * 2)
    double(torch.ones(3))
    assert double.programs
    torch._dynamo.reset()
    assert not double.programs


def test_settings_are_kept_and_put_back():
    for settings in (torch._dynamo.config, torch._inductor.config):
        settings.verbose = True
        with settings.patch("verbose", False):
            assert settings.verbose is False
        with settings.patch({"verbose": 2}, other=1):
            assert (settings.verbose, settings.other) == (2, 1)
        assert settings.verbose is True
        assert not hasattr(settings, "other")
        del settings.verbose


def test_explain_counts_what_keeps_a_call_from_compiling():
    def function(x):
        print(x.sum())
        return x * 2

    found = torch._dynamo.explain(function)(torch.ones(2))
    assert (found.graph_count, found.graph_break_count) == (0, 1)
    assert "test_dynamo.py" in found.break_reasons[0]
    assert torch._dynamo.explain(lambda x: x * 2)(torch.ones(2)) == (1, 0, [])


def test_the_former_name_of_compile():
    @torch._dynamo.optimize("inductor", nopython=True)
    def function(x):
        return x + 1

    for _ in range(3):
        torch._dynamo.mark_dynamic(x := torch.ones(2), 0)
        assert function(x).tolist() == [2.0, 2.0]
    assert torch.compiler.stats(function).compiled_calls == 2
    with pytest.raises(RuntimeError, match="fullgraph"):
        torch._dynamo.optimize(nopython=True)(lambda x: x.item())(torch.ones(()))
