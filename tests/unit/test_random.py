"""Random tensors and the default generator's state, against numbers that torch 2.13 gave."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import numpy as np
import pytest

import danlu
from danlu.backend import threads


@pytest.fixture(autouse=True)
def seven():
    danlu.manual_seed(7)


@pytest.mark.parametrize(
    "name", ["random", "random_fill", "random_inplace", "random_operators", "random_state"]
)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(f"danlu.ops.{name}"))
    assert failed == 0


def test_thread_examples():
    failed, tried = doctest.testmod(threads)
    assert (failed, tried > 0) == (0, True)


def test_default_linear_weights_after_seed_zero():
    danlu.manual_seed(0)
    weight = danlu.nn.Linear(2, 3).weight
    expected = [[-0.0053, 0.3793], [-0.5820, -0.5204], [-0.2723, 0.1896]]
    np.testing.assert_allclose(weight.detach().numpy(), expected, atol=5e-5)


def test_a_transposed_target_takes_the_serial_road():
    expected = [
        [-0.1467950940132141, -0.8948279023170471, 0.317678302526474, 1.3470226526260376],
        [0.7861412763595581, -0.3556250333786011, 0.13280697166919708, 2.4382081031799316],
    ]
    drawn = danlu.empty(4, 5).t().normal_()
    np.testing.assert_allclose(drawn[:2].numpy(), expected, rtol=1e-6)


def test_manual_seed_repeats_and_returns_the_default_generator():
    assert danlu.manual_seed(3) is danlu.default_generator
    first = danlu.rand(5)
    danlu.manual_seed(3)
    assert danlu.equal(first, danlu.rand(5))


def test_state_can_be_kept_and_restored():
    danlu.randn(3)
    state = danlu.get_rng_state()
    assert (state.dtype, tuple(state.shape)) == (danlu.uint8, (5056,))
    first = danlu.randn(5)
    danlu.set_rng_state(state)
    assert danlu.equal(first, danlu.randn(5))


def test_fork_rng_gives_the_state_back():
    with danlu.random.fork_rng():
        inside = danlu.rand(3)
    assert danlu.equal(inside, danlu.rand(3))
    with danlu.random.fork_rng(enabled=False):
        moved = danlu.rand(3)
    assert not danlu.equal(moved, danlu.rand(3))


def test_fork_rng_gives_the_state_back_after_an_error():
    before = danlu.get_rng_state()
    with pytest.raises(TypeError), danlu.random.fork_rng():
        danlu.rand(danlu.rand(3))
    assert danlu.equal(before, danlu.get_rng_state())


def test_seed_is_new_each_time():
    assert danlu.seed() != danlu.seed()
    assert danlu.seed() == danlu.initial_seed()


def test_the_unseeded_default_generator_differs_between_runs():
    program = "import danlu; print(danlu.initial_seed(), danlu.rand(1).item())"
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 2


def test_importing_leaves_numpys_random_module_alone():
    program = "import sys, danlu; print('numpy.random' in sys.modules, 'random' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == "False"


def test_requires_grad_and_dtype():
    drawn = danlu.rand(3, dtype=danlu.float64, requires_grad=True)
    assert drawn.requires_grad
    assert drawn.is_leaf
    assert drawn.dtype is danlu.float64


def test_out_takes_the_size_and_keeps_the_dtype():
    out = danlu.zeros(2, dtype=danlu.float64)
    assert danlu.rand(3, out=out) is out
    assert (tuple(out.shape), out.dtype) == ((3,), danlu.float64)
    with pytest.raises(RuntimeError, match="out=... arguments"):
        danlu.rand(3, out=danlu.zeros(3, requires_grad=True))


def test_writes_under_no_grad_reach_leaves():
    leaf = danlu.zeros(3, requires_grad=True)
    with danlu.no_grad():
        assert leaf.uniform_(1, 2) is leaf
    assert leaf.min() >= 1
    assert leaf.is_leaf


def test_in_place_draws_are_noticed_by_backward():
    x = danlu.ones(3, requires_grad=True)
    y = x * 2
    z = y * y
    y.detach().normal_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


# ---------------------------------------------------------------- threads
@pytest.fixture
def default_threads(monkeypatch):
    """Thread numbers as in a new process; BLAS gets its own number back."""
    before = threads.blas_info()["threads"]
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setattr(threads, "_interop_threads", None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield
    if before is not None:
        threads._library().set_threads(before)


@pytest.mark.usefixtures("default_threads")
def test_setting_threads_reaches_blas():
    danlu.set_num_threads(1)
    assert danlu.get_num_threads() == 1
    info = threads.blas_info()
    assert info["name"] == "unknown" or info["threads"] == 1


@pytest.mark.usefixtures("default_threads")
@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), ("4,2", 4), (" 5 ", 5), ("0", None), ("many", None)]
)
def test_the_environment_sets_the_default(monkeypatch, value, expected):
    default = danlu.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert danlu.get_num_threads() == (expected or default)


def test_quotas_of_both_cgroup_versions(tmp_path):
    new = tmp_path / "pod" / "job"
    new.mkdir(parents=True)
    (new / "cpu.max").write_text("max 100000\n")
    (tmp_path / "pod" / "cpu.max").write_text("250000 100000\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/pod/job\n")
    assert threads._cgroup_cpus(str(tmp_path), str(membership)) == 3

    old = tmp_path / "cpu,cpuacct" / "job"
    old.mkdir(parents=True)
    (old / "cpu.cfs_quota_us").write_text("50000")
    (old / "cpu.cfs_period_us").write_text("100000")
    membership.write_text("4:memory:/job\n3:cpu,cpuacct:/job\n")
    assert threads._cgroup_cpus(str(tmp_path), str(membership)) == 1
    (old / "cpu.cfs_quota_us").write_text("-1")
    assert threads._cgroup_cpus(str(tmp_path), str(membership)) is None
    assert threads._cgroup_cpus(str(tmp_path), str(tmp_path / "missing")) is None


@pytest.mark.usefixtures("default_threads")
def test_a_quota_below_the_cpus_limits_blas(monkeypatch):
    monkeypatch.setattr(threads, "_cgroup_cpus", lambda: 1)
    monkeypatch.setattr(threads, "_available_cpus", lambda: 8)
    threads.apply_cpu_limit()
    assert danlu.get_num_threads() == 1
    info = threads.blas_info()
    assert info["name"] == "unknown" or info["threads"] == 1


@pytest.mark.usefixtures("default_threads")
def test_interop_threads_are_set_once():
    danlu.set_num_interop_threads(2)
    assert danlu.get_num_interop_threads() == 2
    with pytest.raises(RuntimeError, match="cannot set number of interop threads"):
        danlu.set_num_interop_threads(1)
