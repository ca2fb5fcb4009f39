"""Without a CUDA device danlu answers as PyTorch's CPU build does."""

from __future__ import annotations

import pytest

import danlu

torch = pytest.importorskip("torch")

if torch.cuda.is_available():
    pytest.skip("PyTorch sees a CUDA device here", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")

CALLS = {
    "is_available": lambda t: t.cuda.is_available(),
    "device_count": lambda t: t.cuda.device_count(),
    "is_initialized": lambda t: t.cuda.is_initialized(),
    "is_bf16_supported": lambda t: t.cuda.is_bf16_supported(),
    "init": lambda t: t.cuda.init(),
    "current_device": lambda t: t.cuda.current_device(),
    "get_device_name": lambda t: t.cuda.get_device_name(0),
    "get_device_capability": lambda t: t.cuda.get_device_capability(),
    "get_device_properties": lambda t: t.cuda.get_device_properties(0),
    "synchronize": lambda t: t.cuda.synchronize(),
    "current_stream": lambda t: t.cuda.current_stream(),
    "mem_get_info": lambda t: t.cuda.mem_get_info(),
    "initial_seed": lambda t: t.cuda.initial_seed(),
    "get_rng_state": lambda t: t.cuda.get_rng_state(),
    "get_rng_state_all": lambda t: t.cuda.get_rng_state_all(),
    "can_device_access_peer": lambda t: t.cuda.can_device_access_peer(0, 1),
    "ipc_collect": lambda t: t.cuda.ipc_collect(),
    "set_device negative": lambda t: t.cuda.set_device(-1),
    "set_device cpu": lambda t: t.cuda.set_device("cpu"),
    "empty_cache": lambda t: t.cuda.empty_cache(),
    "manual_seed_all": lambda t: t.cuda.manual_seed_all(1),
    "seed_all": lambda t: t.cuda.seed_all(),
    "memory_allocated": lambda t: t.cuda.memory_allocated(),
    "max_memory_reserved": lambda t: t.cuda.max_memory_reserved(),
    "memory_stats": lambda t: t.cuda.memory_stats(),
    "Stream": lambda t: t.cuda.Stream(),
    "Event": lambda t: t.cuda.Event(),
    "FloatTensor": lambda t: t.cuda.FloatTensor(2),
    "FloatTensor repr": lambda t: repr(t.cuda.FloatTensor),
    "isinstance": lambda t: isinstance(t.ones(1), t.cuda.FloatTensor),
    "Tensor.cuda": lambda t: t.ones(1).cuda(),
    "device=cuda": lambda t: t.ones(1, device="cuda"),
    "accelerator": lambda t: t.accelerator.current_accelerator(),
    "accelerator.synchronize": lambda t: t.accelerator.synchronize(),
    "mps": lambda t: t.backends.mps.is_available(),
    "cudnn": lambda t: t.backends.cudnn.is_available(),
    "cudnn.version": lambda t: t.backends.cudnn.version(),
    "cudnn.set_flags": lambda t: t.backends.cudnn.set_flags()[:4],
    "autocast wrong type": lambda t: t.autocast("gpu"),
    "autocast dtype": lambda t: str(t.get_autocast_dtype("cpu")),
    "scaler": lambda t: t.amp.GradScaler().is_enabled(),
    "scaler scale": lambda t: t.amp.GradScaler().scale(t.ones(1)).item(),
    "scaler state": lambda t: t.amp.GradScaler().state_dict(),
    "data parallel": lambda t: repr(t.nn.DataParallel(t.nn.Linear(2, 1))),
    "data parallel ids": lambda t: t.nn.DataParallel(t.nn.Linear(2, 1), [0, 1]).device_ids,
    "sharing strategies": lambda t: t.multiprocessing.get_all_sharing_strategies(),
}


def outcome(call, framework):
    try:
        return call(framework)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("name", CALLS)
def test_same_outcome(name):
    assert outcome(CALLS[name], danlu) == outcome(CALLS[name], torch)
