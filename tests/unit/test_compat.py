"""`torch` and its companions stand for danlu while the hook of `danlu.compat` is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import danlu
import danlu.autograd
import danlu.compat
import danlu.nn.functional
from danlu.compat.names import FOLDED, ROOTS, candidates

SOURCE = str(Path(next(iter(danlu.__path__))).parent)


@pytest.fixture
def hook():
    danlu.compat.install()
    yield danlu.compat
    danlu.compat.uninstall()


@pytest.fixture
def rival(tmp_path):
    """A folder with a package for every name danlu stands for; importing one fails."""
    for root in [*ROOTS, "pytorch_lightning"]:
        (tmp_path / root).mkdir()
        (tmp_path / root / "__init__.py").write_text(
            f"raise RuntimeError('the real {root} was imported')\n"
        )
        info = tmp_path / f"{root}-0.0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {root}\nVersion: 0.0.1\n")
    return tmp_path


def run(folder, program, *interpreter_options, **variables):
    """Run `program` as a script of `folder` in a fresh process, with danlu on its path."""
    script = Path(folder) / "program.py"
    script.write_text(program)
    path = os.pathsep.join([str(folder), SOURCE])
    return subprocess.run(
        [sys.executable, *interpreter_options, str(script)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": path, **variables},
    )


def test_names_give_the_same_module_objects(hook):
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.autograd import Function

    assert torch is danlu
    assert nn is danlu.nn
    assert F is danlu.nn.functional
    assert Function is danlu.autograd.Function
    assert sys.modules["torch.nn"] is danlu.nn


def test_danlu_keeps_its_own_name_and_spec(hook):
    import torch

    assert torch.__name__ == "danlu"
    assert danlu.__spec__.name == "danlu"
    importlib.import_module("torch.nn.functional")
    assert danlu.nn.functional.__spec__.name == "danlu.nn.functional"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.utils.data.dataset", "Dataset"),
        ("torch.utils.data.dataset", "TensorDataset"),
        ("torch.utils.data.dataloader", "DataLoader"),
        ("torch.utils.data.sampler", "RandomSampler"),
        ("torch.nn.parameter", "Parameter"),
        ("torch.nn.modules.module", "Module"),
        ("torch.nn.modules.linear", "Linear"),
        ("torch.nn.modules.loss", "MSELoss"),
        ("torch.nn.utils.rnn", "pad_sequence"),
        ("torch.nn.utils.clip_grad", "clip_grad_norm_"),
        ("torch.optim.adam", "Adam"),
        ("torch.optim.optimizer", "Optimizer"),
        ("torch.optim.lr_scheduler", "StepLR"),
        ("torch.autograd.function", "Function"),
        ("torchkeras", "KerasModel"),
        ("torchkeras", "summary"),
        ("torchkeras.metrics", "Accuracy"),
        ("torchmetrics", "MeanAbsoluteError"),
    ],
)
def test_submodules_hold_the_names_that_programs_import(hook, module, name):
    assert hasattr(importlib.import_module(module), name)


def test_importing_a_submodule_leaves_the_function_of_the_same_name(hook):
    gradcheck = danlu.autograd.gradcheck
    importlib.import_module("torch.autograd.gradcheck")
    assert danlu.autograd.gradcheck is gradcheck
    tensor = danlu.tensor
    with_tensor = importlib.import_module("torch._tensor")
    assert danlu.tensor is tensor
    assert with_tensor.Tensor is danlu.Tensor


@pytest.mark.parametrize(
    "name", ["torch.no_such_part", "torch.nn.no_such_part", "torch.optim.adamm"]
)
def test_unknown_submodules_are_named(hook, name):
    with pytest.raises(ModuleNotFoundError, match=f"danlu does not have '{name}'") as caught:
        importlib.import_module(name)
    assert caught.value.name == name


def test_metadata_and_versions(hook):
    for root, (_, release) in ROOTS.items():
        assert importlib.metadata.version(root) == release
        assert importlib.metadata.distribution(root).metadata["Name"] == root
    assert importlib.metadata.version("torch") == "2.13.0"
    assert danlu.__version__.startswith("2.13.0+")
    assert importlib.metadata.version("numpy")
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("no-such-package-at-all")


def test_find_spec(hook):
    assert importlib.util.find_spec("torch") is not None
    assert importlib.util.find_spec("torch.nn.functional") is not None
    assert importlib.util.find_spec("no_such_module_at_all") is None


def test_a_stand_in_says_at_first_use_what_to_write():
    danlu.compat.install()
    try:
        pl = importlib.import_module("pytorch_lightning")
        with pytest.raises(AttributeError, match="KerasModel"):
            pl.Trainer  # noqa: B018
        with pytest.raises(ModuleNotFoundError, match="KerasModel"):
            exec("from pytorch_lightning import Trainer")
        with pytest.raises(ModuleNotFoundError, match="KerasModel"):
            importlib.import_module("pytorch_lightning.callbacks")
    finally:
        danlu.compat.uninstall()


def test_install_twice_and_uninstall_restore_everything():
    own_version = danlu.__version__
    before = {name for name in sys.modules if name.partition(".")[0] in ROOTS}
    spawn = importlib.import_module("multiprocessing.spawn")
    prepare = spawn.get_preparation_data
    finders = list(sys.meta_path)

    danlu.compat.install()
    danlu.compat.install()
    importlib.import_module("torch.utils.data.dataset")
    assert danlu.compat.installed()
    danlu.compat.uninstall()
    danlu.compat.uninstall()

    assert not danlu.compat.installed()
    assert danlu.__version__ == own_version
    assert {name for name in sys.modules if name.partition(".")[0] in ROOTS} == before
    assert spawn.get_preparation_data is prepare
    assert sys.meta_path == finders
    assert getattr(danlu.utils.data, "dataset", None) is not danlu.utils.data


def test_modules_loaded_before_come_back(monkeypatch):
    real = type(sys)("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", real)
    danlu.compat.install()
    assert "torchvision" not in sys.modules
    danlu.compat.uninstall()
    assert sys.modules["torchvision"] is real


def test_installed_packages_of_the_same_name_are_not_asked(rival):
    program = """
import danlu.compat
danlu.compat.install()
import importlib.metadata
import torch, torch.nn, torchkeras, torchmetrics, pytorch_lightning
print(torch.__name__, torchkeras.__name__, torchmetrics.__name__)
print(importlib.metadata.version("torch"))
"""
    result = run(rival, program)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["danlu", "danlu.keras", "danlu.metrics", "2.13.0"]


WORKERS = """
import multiprocessing, sys
import torch
from torch.utils.data import Dataset

class Squares(Dataset):
    def __getitem__(self, index):
        return torch.tensor(index * index)

def answer(queue, dataset):
    import torch.nn.functional, danlu
    queue.put((torch is danlu, dataset[3].item()))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    process = context.Process(target=answer, args=(queue, Squares()))
    process.start()
    print(*queue.get(timeout=30))
    process.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_have_the_hook(rival, method):
    multiprocessing = importlib.import_module("multiprocessing")
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no start method {method}")
    script = rival / "workers.py"
    script.write_text(WORKERS)
    result = subprocess.run(
        [sys.executable, "-m", "danlu", "run", str(script), method],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, str(rival)])},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["True", "9"]


def test_candidates_prefer_danlus_own_module():
    assert candidates("torch") == ["danlu"]
    assert candidates("torch.optim.adam") == ["danlu.optim.adam", "danlu.optim"]
    assert candidates("torchkeras.metrics") == ["danlu.keras.metrics", "danlu.metrics"]


def test_every_folded_package_exists_or_is_refused_with_its_name(hook):
    refusals = []
    for package in FOLDED:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            refusals.append(str(error))
    assert all(text.startswith("danlu does not have 'torch") for text in refusals)
