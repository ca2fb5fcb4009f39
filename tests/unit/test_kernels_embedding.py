"""Generated row look-up and sums of rows against the NumPy functions, on guarded memory."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu as torch
from danlu.kernels import embedding
from danlu.kernels.codegen.target import named
from danlu.kernels.codegen.types import I32, I64
from danlu.kernels.generated import embedding as generated
from danlu.kernels.runtime import machine, pool, road
from tests.unit.guarded import guarded

# rows of the table, shape of a row, shape of the indices
SIZES = [
    (10, (3,), (7,)),
    (100, (65,), (3, 50)),
    (5, (), (100,)),
    (77, (4, 4), (9,)),
    (1, (33,), (6,)),
]


@pytest.mark.parametrize(("rows", "row", "shape"), SIZES, ids=str)
@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize("end", [True, False])
def test_rows_and_sums_equal_numpy(rows, row, shape, kind, end, monkeypatch):
    random = np.random.default_rng(0)
    table = guarded(random.standard_normal((rows, *row)).astype(np.float32), end)
    values = guarded(random.standard_normal((*shape, *row)).astype(np.float32), end)
    indices = guarded(random.integers(0, rows, shape).astype(kind), end)
    with road.forced("numpy"):
        gathered = embedding.gather_rows(table, indices)
        summed = embedding.sum_rows(values, indices, rows)
    empty = np.empty
    monkeypatch.setattr(np, "empty", lambda shape, dtype: guarded(empty(shape, dtype), end))
    with road.forced("native"):
        np.testing.assert_array_equal(embedding.gather_rows(table, indices), gathered)
        found = embedding.sum_rows(values, indices, rows)
    np.testing.assert_allclose(found, summed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "complex64"])
def test_rows_of_any_dtype_are_copied(dtype):
    table = np.arange(60).reshape(12, 5).astype(dtype)
    with road.forced("native"):
        out = embedding.gather_rows(table, np.array([[11, 0], [3, 3]]))
    assert out.dtype == dtype
    assert out.real[:, :, 0].tolist() == [[55, 0], [15, 15]]


def test_signalling_bits_survive_the_copy():
    bits = np.array([[0x7F800001, 0xFFC12345, 0x80000000, 1]], dtype=np.uint32)
    with road.forced("native"):
        out = embedding.gather_rows(bits.view(np.float32), np.zeros(3, dtype=np.int64))
    np.testing.assert_array_equal(out.view(np.uint32), bits.repeat(3, axis=0))


def test_sums_carry_nan_to_their_row_and_ignore_strides():
    values = np.ones((6, 20), dtype=np.float32)[:, ::2]
    values[4, 3] = np.nan
    indices = np.array([0, 9, 2, 9, 9, 2, 9, 2, 1, 2, 0, 2])[1::2]
    with road.forced("native"):
        table = embedding.sum_rows(values, indices, 4 + 6)
    assert np.argwhere(np.isnan(table)).tolist() == [[2, 3]]
    assert table[:, 0].tolist() == [0, 0, 4, 0, 0, 0, 0, 0, 0, 2]


def test_other_kinds_stay_with_numpy():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    indices = np.array([2, 2])
    with road.forced("native"):
        assert embedding.gather_rows(table.T, indices).shape == (2, 4)
        assert embedding.gather_rows(table.astype("float16"), indices).dtype == np.float16
        sums = embedding.sum_rows(table[:2].astype("float64"), indices, 3)
        nothing = embedding.sum_rows(table[:0], indices[:0], 3)
    assert sums.tolist() == [[0, 0, 0], [0, 0, 0], [3, 5, 7]]
    assert nothing.tolist() == [[0] * 3] * 3


def test_one_and_two_threads_give_the_same_bits():
    random = np.random.default_rng(0)
    values = random.standard_normal((3000, 33)).astype(np.float32)
    indices = random.integers(0, 700, 3000)
    before, results = pool.thread_count(), []
    for count in (1, 2):
        pool.ensure().resize(count)
        results.append(generated.sum_rows(values, indices, 700))
    pool.ensure().resize(before)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("by_frequency", [False, True])
def test_the_layer_agrees_on_both_roads(by_frequency):
    found = {}
    for name in ("numpy", "native"):
        with road.forced(name):
            weight = torch.arange(80.0).reshape(10, 8).requires_grad_()
            indices = torch.tensor([[1, 5, 1], [9, 3, 3]])
            out = torch.nn.functional.embedding(
                indices, weight, padding_idx=3, scale_grad_by_freq=by_frequency
            )
            (out * out).sum().backward()
            found[name] = out.detach().numpy(), weight.grad.numpy()
    for native, expected in zip(found["native"], found["numpy"], strict=True):
        np.testing.assert_allclose(native, expected)
    assert not found["native"][1][3].any()


@pytest.mark.parametrize("cpu", ["skylake-avx512", "neoverse-n1"])
def test_texts_compile_for_other_processors(cpu):
    family = "aarch64" if cpu == "neoverse-n1" else "x86_64"
    target = named(f"{family}-unknown-linux-gnu", cpu)
    for text in (generated.gather_text, generated.sum_text):
        for kind in (I32, I64):
            assert len(machine.emit_object(text(target, kind), target)) > 500
