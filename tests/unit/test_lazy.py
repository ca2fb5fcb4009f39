"""Names and methods whose modules are loaded when first used: the table is right, nobody notices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import danlu as torch
from danlu import tensor as make_tensor
from danlu.ops import lazy
from danlu.ops.published import FUNCTIONS, METHODS, PROPERTIES
from danlu.tensor import STAND_INS, Tensor, publish_method

ROOT = Path(__file__).parents[2]
METHOD_NAMES = sorted(name for names in METHODS.values() for name in names.split())
# what the first use of a tensor's type loads; the operators, the tape's engine and threading come later
BEGUN = set(
    "danlu danlu.autograd danlu.autograd.grad_mode danlu.autograd.node danlu.backend danlu.base "
    "danlu.backend.conversions danlu.backend.device danlu.backend.dtypes danlu.backend.layout "
    "danlu.backend.memory danlu.backend.threads danlu.ops danlu.ops.lazy danlu.ops.published "
    "danlu.protocols danlu.size danlu.tensor danlu.version".split()
)


def fresh(program: str, *arguments: str) -> str:
    """What a program prints in a process that has not imported danlu yet."""
    command = [sys.executable, *arguments] if arguments else [sys.executable, "-c", program]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_table_is_what_the_modules_publish():
    fresh("", str(ROOT / "tools" / "published_names.py"), "--check")


def test_import_loads_nothing():
    loaded = fresh(
        "import sys; before = set(sys.modules); import danlu; danlu.__version__; "
        "print(*set(sys.modules) - before)"
    ).split()
    assert {name for name in loaded if name.startswith("danlu")} == {"danlu", "danlu.version"}
    assert not {name for name in loaded if name.startswith("numpy")}


def test_first_use_loads_no_operator():
    loaded = fresh(
        "import sys, numpy; before = set(sys.modules); import danlu; danlu.Tensor; "
        "print(*set(sys.modules) - before)"
    ).split()
    assert {name for name in loaded if name.startswith("danlu")} == BEGUN
    assert not {"threading", "heapq", "copy", "ctypes"} & set(loaded)


@pytest.mark.parametrize(
    "first", ["import danlu.nn", "from danlu.tensor import Tensor", "from danlu import nn", "pass"]
)
def test_the_function_tensor_whatever_comes_first(first):
    assert fresh(f"{first}; import danlu; print(danlu.tensor([3, 1]).sort().values)") == (
        "tensor([1, 3])"
    )


def test_methods_are_there_without_danlu_itself():
    program = "from danlu.tensor import Tensor; print(callable(Tensor.sort))"
    assert fresh(program) == "True"


def test_overflow_is_no_warning():
    program = (
        "import warnings; warnings.simplefilter('error'); import danlu.nn as nn; import danlu; "
        "print(danlu.tensor([200.0]).exp())"
    )
    assert fresh(program) == "tensor([inf])"


def test_every_name_is_found():
    for names in FUNCTIONS.values():
        for name in names.split():
            assert getattr(torch, name) is not None
            assert vars(torch)[name] is getattr(torch, name)  # no `__getattr__` from now on
    for name in set(lazy.names()) - {"default_generator"}:
        assert callable(getattr(torch, name))
    for name in METHOD_NAMES:
        assert callable(getattr(Tensor, name))
        assert Tensor.__dict__[name] is STAND_INS[name].method  # no stand-in from now on
    for names in PROPERTIES.values():
        for name in names.split():
            assert isinstance(getattr(Tensor, name), property)


def test_dir_and_star_have_what_is_not_loaded():
    program = (
        "import danlu; names = dir(danlu); "
        "assert {'sort', 'conv2d', 'nn', 'float32', 'abs_', 'tensor'} - set(names) == {'conv2d'}; "
        "assert {'sort', 'abs', 'relu_', 'backward', '__add__', 'T'} <= set(dir(danlu.Tensor)); "
        "assert not any(name.startswith('danlu.ops.sort') for name in __import__('sys').modules)"
    )
    fresh(program)
    program = (
        "from danlu import *\n"
        "assert sort(tensor([2, 1]))[0].tolist() == [1, 2] and float32 is float and save\n"
        "assert not {'nn', 'ops', 'size', 'linalg'} & set(globals())"
    )
    fresh(program)


@pytest.mark.parametrize(
    "program",
    [
        "from danlu import sort; print(sort(danlu.tensor([2.0, 1.0])).values.tolist())",
        "print(danlu.tensor([2.0, 1.0]).sort().values.tolist())",
        "print(danlu.Tensor.sort(danlu.tensor([2.0, 1.0])).values.tolist())",
        "print((3 - danlu.tensor([2.0, 1.0])).tolist())",
        "x = danlu.tensor([0.0, 1.0]); x += 1; print(x.tolist())",
        "x = danlu.tensor([2.0, 1.0]); x[0] = 1; x[1] = 2; print(x.tolist())",
        "print(danlu.tensor([[1.0, 2.0]]).T.flatten().tolist())",
        "x = danlu.tensor([0j]); x.real = 1; print(x.real.tolist() + [2.0])",
        "x = danlu.ones(2, requires_grad=True); (x @ danlu.tensor([1.0, 2.0])).backward(); "
        "print(x.grad.tolist())",
        "print(danlu.abs_(danlu.tensor([-1.0, 2.0])).tolist())",
        "print(list(map(float, danlu.tensor([1.0, 2.0]))))",
        "import pickle; print(pickle.loads(pickle.dumps(danlu.tensor([1.0, 2.0]))).tolist())",
        "import pickle; print(pickle.loads(pickle.dumps(danlu.Tensor.add))"
        "(danlu.tensor([1.0, 2.0]), 0).tolist())",
        "import copy; print(copy.deepcopy(danlu.tensor([1.0, 2.0])).tolist())",
    ],
)
def test_the_first_use_may_be_anything(program):
    assert fresh("import danlu; " + program) == "[1.0, 2.0]"


def test_a_first_use_by_a_subclass():
    program = (
        "import danlu\n"
        "class Named(danlu.Tensor):\n"
        "    def sort(self): return super().sort().values.tolist()\n"
        "    def __rsub__(self, other): return 'mine'\n"
        "x = danlu.tensor([2.0, 1.0]).as_subclass(Named)\n"
        "print(x.sort(), danlu.tensor([1.0]) - x)"
    )
    assert fresh(program) == "[1.0, 2.0] mine"


def test_help_and_hasattr_show_the_method_itself():
    program = (
        "import danlu, inspect, pydoc\n"
        "assert hasattr(danlu.Tensor, 'sort') and not hasattr(danlu.Tensor, 'sorted')\n"
        "assert inspect.isfunction(danlu.Tensor.cumsum)\n"
        "assert danlu.Tensor.cumsum.__doc__ == danlu.cumsum.__doc__ != None\n"
        "text = pydoc.plain(pydoc.render_doc(danlu.Tensor))\n"
        "assert 'StandIn' not in text and 'cumsum' in text"
    )
    fresh(program)


def test_many_threads_may_use_it_first():
    program = (
        "import danlu, threading\n"
        "x, found = danlu.tensor([2.0, 1.0]), []\n"
        "def use(): found.append((x.sort().values + x.cumsum(0)).tolist())\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "for each in threads: each.start()\n"
        "for each in threads: each.join()\n"
        "assert found == [[3.0, 5.0]] * 8"
    )
    fresh(program)


def test_a_programs_own_method_stays():
    program = (
        "import danlu\n"
        "from unittest import mock\n"
        "x = danlu.tensor([2.0, 1.0])\n"
        "with mock.patch.object(danlu.Tensor, 'sort', lambda self: 'mine'):\n"
        "    import danlu.ops.sorting\n"
        "    assert x.sort() == 'mine'\n"
        "assert x.sort().values.tolist() == [1.0, 2.0]\n"
        "danlu.Tensor.cumsum = lambda self: 'mine'\n"
        "assert danlu.cumsum(x, 0).tolist() == [2.0, 3.0] and x.cumsum() == 'mine'"
    )
    fresh(program)


def test_a_method_is_there_when_its_module_is_complete():
    """Not before: another thread would meet operators without their derivatives."""
    program = (
        "import danlu, danlu.ops.sorting\n"
        "held = danlu.Tensor.__dict__\n"
        "assert type(held['sort']) is type(held['argsort']) is not type(lambda: 0)\n"
        "danlu.Tensor.sort\n"
        "assert type(held['sort']) is type(held['argsort']) is type(lambda: 0)"
    )
    fresh(program)


def test_a_stand_in_is_refused_while_its_module_is_loading():
    stand_in = lazy._StandIn("nothing", "ops.sorting")
    with pytest.raises(AttributeError, match="Tensor.nothing was used while danlu.ops.sorting is"):
        stand_in.load()


def test_publishing_again_replaces_a_method(monkeypatch):
    make_tensor([1.0]).cumsum(0)
    original = Tensor.__dict__["cumsum"]
    monkeypatch.setattr(Tensor, "cumsum", original)  # puts both back afterwards
    monkeypatch.setattr(STAND_INS["cumsum"], "method", original)
    publish_method("cumsum", lambda self: "newer")
    assert make_tensor([1.0]).cumsum() == "newer"


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="has no attribute 'nonesuch'"):
        _ = torch.nonesuch
    with pytest.raises(AttributeError, match="has no attribute '_nonesuch'"):
        _ = torch._nonesuch
    assert lazy.find("nonesuch") is None
