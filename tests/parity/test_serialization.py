"""danlu writes what PyTorch reads, and reads what PyTorch writes."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

import danlu  # noqa: E402
from danlu.backend import dtypes  # noqa: E402
from danlu.serialization.rebuild import LEGACY_STORAGE_DTYPES  # noqa: E402
from danlu.tensor import wrap  # noqa: E402

DTYPES = [each for each in dtypes.ALL if each is not dtypes.complex32]
# PyTorch's loader of its old format fails on the dtypes that it writes there as untyped storages.
IN_OLD_FILES = [each for each in DTYPES if each in LEGACY_STORAGE_DTYPES]


def written(module, value, **options):
    file = io.BytesIO()
    module.save(value, file, **options)
    file.seek(0)
    return file


def from_danlu(value, load=None, **options):
    return torch.load(written(danlu, value, **options), **(load or {"weights_only": True}))


def from_torch(value, load=None, **options):
    return danlu.load(written(torch, value, **options), **(load or {}))


def torch_bytes(tensor):
    flat = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def assert_same(ours, theirs):
    if isinstance(ours, danlu.Tensor):
        assert isinstance(theirs, torch.Tensor)
        assert isinstance(ours, danlu.nn.Parameter) == isinstance(theirs, torch.nn.Parameter)
        assert repr(ours.dtype) == str(theirs.dtype)
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert ours.requires_grad == theirs.requires_grad
        assert ours._array.tobytes() == torch_bytes(theirs)
        if 0 not in ours.shape:
            itemsize = ours._array.itemsize
            assert tuple(s // itemsize for s in ours._array.strides) == theirs.stride()
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            assert_same(one, other)
    else:
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_dtypes_both_ways(dtype):
    ours = wrap(np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype.numpy))
    theirs = from_danlu(ours)
    assert_same(ours, theirs)
    assert_same(from_torch(theirs), theirs)


@pytest.mark.parametrize("dtype", IN_OLD_FILES, ids=lambda dtype: dtype.name)
def test_dtypes_in_the_old_format(dtype):
    ours = {"a": wrap(np.array([1, 0, 3]).astype(dtype.numpy)), "b": wrap(np.zeros((0, 2)))}
    old = {"_use_new_zipfile_serialization": False}
    theirs = from_danlu(ours, **old)
    assert_same(ours, theirs)
    assert_same(from_torch(theirs, **old), theirs)


def containers(module, tensor):
    leaf = tensor([1.0, 2.0])
    leaf.requires_grad = True
    return {
        "od": OrderedDict(a=1, b=[1.5, None, True, (1, (2,)), "é"]),
        3: {1, 2},
        "count": Counter("aab"),
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"ab"),
        "complex": 1 - 2j,
        "long": 1 << 90,
        "size": module.Size([2, 3]),
        "dtype": module.bfloat16,
        "device": module.device("cpu"),
        "parameter": module.nn.Parameter(tensor([1.0])),
        "frozen": module.nn.Parameter(tensor([1.0]), requires_grad=False),
        "leaf": leaf,
    }


def test_containers_both_ways():
    ours = containers(danlu, lambda values: wrap(np.array(values, "float32")))
    theirs = containers(torch, torch.tensor)
    assert_same(ours, from_danlu(ours))
    assert_same(from_torch(theirs), theirs)
    assert_same(from_torch(theirs, {"weights_only": False}), theirs)
    assert_same(ours, from_danlu(ours, {"weights_only": False}))


def test_files_are_the_same_bytes(tmp_path):
    base = torch.arange(10.0)
    theirs = {"a": base, "b": base[2:6:2], "e": torch.zeros(0), "h": torch.ones(3).bfloat16()}
    theirs["parameter"] = torch.nn.Parameter(torch.ones(2, 2))
    theirs["rest"] = [torch.device("cpu"), torch.Size([1]), torch.float16, {1}]
    (tmp_path / "torch").mkdir()
    (tmp_path / "danlu").mkdir()
    torch.save(theirs, tmp_path / "torch" / "x.pt")
    danlu.save(danlu.load(tmp_path / "torch" / "x.pt"), tmp_path / "danlu" / "x.pt")
    expected = (tmp_path / "torch" / "x.pt").read_bytes()
    ours = (tmp_path / "danlu" / "x.pt").read_bytes()
    end_of_records = zipfile.ZipFile(io.BytesIO(ours)).getinfo("x/version").header_offset
    assert ours[:end_of_records] == expected[:end_of_records]


def test_shared_storages_stay_shared():
    base = wrap(np.arange(12, dtype="float32").reshape(3, 4))
    views = [wrap(base._array[1:, ::2]), wrap(base._array.T), base]
    theirs = from_danlu(views)
    assert_same(views, theirs)
    assert len({each.untyped_storage().data_ptr() for each in theirs}) == 1
    assert theirs[0].storage_offset() == 4

    ours = from_torch(theirs)
    theirs[2].zero_()
    ours[2]._array[...] = 0
    assert_same(ours, theirs)


def test_the_whole_storage_of_a_view_is_kept():
    theirs = from_torch(torch.arange(100.0)[10:12])
    assert from_danlu(theirs).untyped_storage().nbytes() == 400


def test_conjugated_and_negated_tensors():
    conjugated = torch.tensor([1 + 2j, 3 - 1j]).conj()
    assert conjugated.is_conj()
    assert conjugated.imag.is_neg()
    for theirs in (conjugated, conjugated.imag):
        assert from_torch(theirs)._array.tolist() == theirs.tolist()


def test_tensor_with_attributes():
    theirs = torch.ones(2)
    theirs.tag = "x"
    ours = from_torch(theirs)
    assert ours.tag == "x"
    assert from_danlu(ours).tag == "x"


@pytest.mark.parametrize("calculated", [False, True])
def test_pytorch_maps_our_files(tmp_path, calculated, monkeypatch):
    from torch.utils.serialization import config

    monkeypatch.setenv("TORCH_SERIALIZATION_DEBUG", "1")
    value = [wrap(np.arange(n, dtype="float64")) for n in (1, 0, 100, 7)]
    danlu.save(value, tmp_path / "x.pt")
    with config.patch("load.calculate_storage_offsets", calculated):
        assert_same(value, torch.load(tmp_path / "x.pt", mmap=True))


def test_optimizer_and_module_state():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    theirs = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    ours = from_torch(theirs)
    assert_same(ours, theirs)
    assert ours["model"]._metadata == theirs["model"]._metadata
    again = from_danlu(ours)
    model.load_state_dict(again["model"])
    optimizer.load_state_dict(again["optimizer"])


def test_whole_models_of_pytorch():
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Dropout(0.5))
    theirs.eval()
    ours = from_torch(theirs, {"weights_only": False})
    assert repr(ours) == repr(theirs)
    assert not ours.training
    result = ours(wrap(np.ones((1, 2), "float32")))
    expected = theirs(torch.ones(1, 2)).detach().numpy()
    np.testing.assert_allclose(result._array, expected, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.int64, np.uint8, np.bool_, np.complex64, np.uint16]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    ),
    st.data(),
)
def test_any_view_both_ways(array, data):
    steps = st.slices
    index = tuple(
        data.draw(steps(n).filter(lambda s: s.step is None or s.step > 0)) for n in array.shape
    )
    ours = [wrap(array[index]), wrap(array)]
    theirs = from_danlu(ours)
    assert_same(ours, theirs)
    assert_same(from_torch(theirs), theirs)


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("spoil", "load"),
    [
        (lambda m: written(m, Evil()), {}),
        (lambda m: io.BytesIO(b""), {}),
        (lambda m: io.BytesIO(b"not a checkpoint"), {}),
        (lambda m: io.BytesIO(written(m, [1]).getvalue()[:200]), {}),
        (lambda m: written(m, m.zeros(2)), {"map_location": "cuda"}),
        (lambda m: written(m, m.zeros(2)), {"map_location": "moon"}),
        (lambda m: written(m, 1), {"weights_only": True, "pickle_module": pickle}),
        (lambda m: written(m, 1), {"mmap": True}),
        (lambda m: "/nowhere/at/all.pt", {}),
        (lambda m: 3, {}),
    ],
    ids=["evil", "empty", "other", "short", "cuda", "moon", "module", "mmap", "missing", "number"],
)
def test_errors_have_pytorchs_types(spoil, load):
    with pytest.raises(Exception) as expected:
        torch.load(spoil(torch), **load)
    with pytest.raises(expected.type):
        danlu.load(spoil(danlu), **load)


def test_errors_of_save_have_pytorchs_types():
    for bad in ("/nowhere/at/all.pt", 3):
        with pytest.raises(Exception) as expected:
            torch.save(1, bad)
        with pytest.raises(expected.type):
            danlu.save(1, bad)


def test_safe_globals_have_pytorchs_behaviour():
    for module in (torch.serialization, danlu.serialization):
        with module.safe_globals([zipfile.ZipFile]):
            assert zipfile.ZipFile in module.get_safe_globals()
        assert zipfile.ZipFile not in module.get_safe_globals()
        with module.safe_globals([(Counter, "elsewhere.Counter")]):
            assert (Counter, "elsewhere.Counter") in module.get_safe_globals()
