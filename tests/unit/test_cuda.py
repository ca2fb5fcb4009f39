"""What a program meets that asks for an accelerator where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

import danlu
from danlu import nn

cuda = danlu.cuda


def test_a_program_that_asks_first_runs_on_the_cpu():
    device = danlu.device("cuda:0" if cuda.is_available() else "cpu")
    assert (device.type, cuda.device_count(), cuda.is_initialized()) == ("cpu", 0, False)
    assert not cuda.is_bf16_supported()
    assert not danlu.accelerator.is_available()
    assert danlu.accelerator.current_accelerator() is None
    assert danlu.accelerator.device_count() == 0


@pytest.mark.parametrize(
    "call",
    [
        cuda.init,
        cuda.current_device,
        cuda.get_device_name,
        cuda.get_device_properties,
        cuda.get_device_capability,
        cuda.synchronize,
        cuda.current_stream,
        cuda.default_stream,
        cuda.initial_seed,
        cuda.get_rng_state,
        cuda.mem_get_info,
        lambda: cuda.set_device(0),
        lambda: cuda.set_device("cuda:1"),
        lambda: cuda.device(0).__enter__(),
        lambda: cuda.set_rng_state_all([danlu.zeros(1)]),
        lambda: danlu.ones(1).cuda(),
        lambda: danlu.ones(1, device="cuda"),
        lambda: nn.Linear(1, 1).to("cuda"),
    ],
)
def test_what_needs_a_device_says_that_there_is_none(call):
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled.*'cpu'"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        danlu.accelerator.synchronize,
        danlu.accelerator.current_device_index,
        danlu.accelerator.current_stream,
        danlu.accelerator.empty_cache,
        lambda: danlu.accelerator.set_device_index(0),
    ],
)
def test_accelerator_functions_raise_runtime_errors(call):
    with pytest.raises(RuntimeError, match="Cannot access accelerator device"):
        call()


@pytest.mark.parametrize("make", [cuda.Stream, cuda.Event])
def test_streams_and_events_cannot_be_made(make):
    with pytest.raises(RuntimeError, match="requires CUDA support"):
        make()


def test_what_has_a_meaning_without_a_device_does_nothing():
    danlu.manual_seed(3)
    expected = danlu.rand(2)
    danlu.manual_seed(3)
    cuda.manual_seed(7)
    cuda.manual_seed_all(8)
    cuda.seed_all()
    assert danlu.equal(danlu.rand(2), expected)
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    cuda.set_device(-1)
    cuda.set_stream(None)
    assert cuda.memory_allocated() == cuda.max_memory_allocated() == cuda.memory_reserved() == 0
    assert cuda.get_rng_state_all() == []
    with cuda.device(None), cuda.stream(None), cuda.device_of(danlu.ones(1)):
        pass


def test_a_device_of_another_type_is_refused():
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        cuda.set_device("cpu")


def test_cuda_tensor_types_can_be_named_but_not_made():
    assert not isinstance(danlu.ones(1), cuda.FloatTensor)
    assert repr(cuda.LongTensor) == "<class 'torch.cuda.LongTensor'>"
    with pytest.raises(TypeError, match=r"write torch\.FloatTensor"):
        cuda.FloatTensor(2)


def test_all_names_exist():
    modules = [cuda, danlu.amp, cuda.amp, danlu.accelerator, danlu.multiprocessing, nn.parallel]
    modules += [getattr(danlu.backends, name) for name in danlu.backends.__all__]
    for module in modules:
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_switches_keep_what_is_written():
    cudnn = danlu.backends.cudnn
    before = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic)
    try:
        cudnn.benchmark, cudnn.deterministic = True, True
        with cudnn.flags(enabled=False):
            assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (False, False, False)
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (True, True, True)
        assert cudnn.benchmark_limit is None
    finally:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = before
    assert not cudnn.is_available()
    assert not danlu.backends.mps.is_available()
    assert danlu.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2", "AVX512")


def train_one_step(scaled):
    danlu.manual_seed(0)
    net = nn.Linear(3, 1)
    optimizer = danlu.optim.Adam(net.parameters(), lr=0.1)
    x, y = danlu.ones(4, 3), danlu.zeros(4, 1)
    if not scaled:
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        return net.weight
    scaler = danlu.amp.GradScaler("cpu")
    with danlu.autocast("cpu", dtype=danlu.bfloat16):
        loss = nn.functional.mse_loss(net(x), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    return net.weight


def test_a_mixed_precision_program_trains_in_full_precision():
    assert danlu.equal(train_one_step(scaled=True), train_one_step(scaled=False))


def test_mixed_precision_on_cuda_warns_that_it_is_off():
    with pytest.warns(UserWarning, match="Disabling autocast"):
        danlu.autocast("cuda")
    with pytest.warns(UserWarning, match="Disabling"):
        scaler = danlu.amp.GradScaler()
    assert not scaler.is_enabled()
    assert (scaler.get_scale(), scaler.state_dict()) == (1.0, {})
    with pytest.warns(FutureWarning, match=r"torch\.amp\.autocast\('cuda'"):
        cuda.amp.autocast(enabled=False)
    with pytest.warns(FutureWarning, match=r"torch\.amp\.GradScaler\('cuda'"):
        cuda.amp.GradScaler(enabled=False)


def test_autocast_decorates_and_checks_its_device():
    @danlu.autocast("cpu")
    def double(x):
        """Twice x."""
        return x + x

    assert (double(danlu.ones(1)).item(), double.__doc__) == (2.0, "Twice x.")
    assert not danlu.is_autocast_enabled("cpu")
    assert danlu.get_autocast_dtype("cpu") is danlu.bfloat16
    with pytest.raises(RuntimeError, match="device type"):
        danlu.autocast("gpu")
    with pytest.raises(ValueError, match=r"x\.device\.type"):
        danlu.autocast(danlu.device("cpu"))


def test_custom_functions_for_mixed_precision_stay_as_they_are():
    class Double(danlu.autograd.Function):
        @staticmethod
        @danlu.amp.custom_fwd(device_type="cuda", cast_inputs=danlu.float32)
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @cuda.amp.custom_bwd
        def backward(ctx, g):
            return g * 2

    x = danlu.ones(1, requires_grad=True)
    Double.apply(x).backward()
    assert x.grad.item() == 2.0


@pytest.mark.parametrize("device_ids", [None, [0, 1]])
def test_data_parallel_is_the_module_it_wraps(device_ids):
    linear = nn.Linear(2, 1)
    model = nn.DataParallel(linear, device_ids=device_ids)
    x = danlu.ones(6, 2)
    assert danlu.equal(model(x), linear(x))
    assert danlu.equal(nn.parallel.data_parallel(linear, x), linear(x))
    assert list(model.state_dict()) == ["module.weight", "module.bias"]
    assert model.device_ids == []
    assert repr(model).startswith("DataParallel(\n  (module): Linear(")


def test_multiprocessing_is_pythons():
    import multiprocessing

    mp = danlu.multiprocessing
    assert mp.Process is multiprocessing.Process
    before = mp.get_sharing_strategy()
    mp.set_sharing_strategy("file_system")
    assert mp.get_sharing_strategy() == "file_system"
    mp.set_sharing_strategy(before)
    with pytest.raises(ValueError, match="file_descriptor"):
        mp.set_sharing_strategy("telepathy")


def test_none_of_it_is_loaded_before_it_is_used():
    program = (
        "import sys, danlu\n"
        "late = 'danlu.cuda danlu.backends danlu.amp danlu.accelerator danlu.multiprocessing'\n"
        "assert not set(late.split()) & set(sys.modules), set(late.split()) & set(sys.modules)\n"
        "danlu.cuda.amp, danlu.backends.cudnn, danlu.multiprocessing\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
