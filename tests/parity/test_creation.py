"""Making tensors, against PyTorch: values, dtypes, strides and refusals."""

from __future__ import annotations

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")

CALLS = {
    "zeros": lambda m: m.zeros(2, 3),
    "zeros of a list": lambda m: m.zeros([2, 3], dtype=m.int64),
    "zeros of a size": lambda m: m.zeros(m.Size([2])),
    "zeros of nothing": lambda m: m.zeros(()),
    "empty rows": lambda m: m.zeros(0, 3),
    "empty columns": lambda m: m.zeros(2, 0, 4),
    "ones": lambda m: m.ones(2, dtype=m.bool),
    "full": lambda m: m.full((2, 2), 7),
    "full of floats": lambda m: m.full((2,), 1.5),
    "full of bools": lambda m: m.full((2,), True),
    "full like": lambda m: m.full_like(m.ones(2, dtype=m.int32), 2.7),
    "eye": lambda m: m.eye(2, 3),
    "arange": lambda m: m.arange(5),
    "arange down": lambda m: m.arange(5, 1, -2),
    "arange of floats": lambda m: m.arange(0, 1, 0.1),
    "arange of a dtype": lambda m: m.arange(1, 4, dtype=m.float16),
    "linspace": lambda m: m.linspace(-1, 1, 7),
    "linspace of one": lambda m: m.linspace(3, 9, 1),
    "linspace of ints": lambda m: m.linspace(0, 10, 4, dtype=m.int64),
    "linspace of bfloat16": lambda m: m.linspace(0, 1, 9, dtype=m.bfloat16),
    "logspace": lambda m: m.logspace(0, 2, 3),
    "logspace of base 2": lambda m: m.logspace(0, 4, 5, base=2),
    "range": lambda m: m.range(1, 3),
    "tril indices": lambda m: m.tril_indices(3, 4, 1),
    "triu indices": lambda m: m.triu_indices(3, 3, -1),
    "complex": lambda m: m.complex(m.ones(2), m.zeros(2)),
    "polar": lambda m: m.polar(m.ones(2), m.tensor([0.0, 1.5])),
    "tensor of ints": lambda m: m.tensor([[1, 2], [3, 4]]),
    "tensor of floats": lambda m: m.tensor([1.0, 2]),
    "tensor of bools": lambda m: m.tensor([True, False]),
    "tensor of complex numbers": lambda m: m.tensor([1 + 2j]),
    "tensor of an array": lambda m: m.tensor(np.arange(3.0)),
    "tensor of NumPy's scalars": lambda m: m.tensor(np.float32(2)),
    "tensor of arrays": lambda m: m.tensor(np.ones((2, 2), np.float32)),
    "tensor of nothing": lambda m: m.tensor([]),
    "tensor of a dtype": lambda m: m.tensor([1.9, -1.9], dtype=m.int32),
    "empty strided": lambda m: m.empty_strided((2, 3), (1, 2)).fill_(0),
    "new zeros": lambda m: m.ones(2, dtype=m.float64).new_zeros(3, 2),
    "new full": lambda m: m.ones(2, dtype=m.int64).new_full((2,), 3),
    "new tensor": lambda m: m.ones(2, dtype=m.float64).new_tensor([1, 2]),
    "zeros like": lambda m: m.zeros_like(m.ones(2, 3, dtype=m.int16)),
    "ones like": lambda m: m.ones_like(m.ones(2), dtype=m.float64),
    "from numpy": lambda m: m.from_numpy(np.arange(6).reshape(2, 3).T),
    "as tensor": lambda m: m.as_tensor([1, 2.5]),
    "as array": lambda m: m.asarray(np.arange(3)),
    "scalar tensor": lambda m: m.scalar_tensor(2),
    "frombuffer": lambda m: m.frombuffer(bytearray(8), dtype=m.int16),
    "old constructor": lambda m: m.LongTensor([1, 2]),
    "old constructor of floats": lambda m: m.FloatTensor([[1, 2]]),
    "hann window": lambda m: m.hann_window(6),
    "hamming window": lambda m: m.hamming_window(5, periodic=False),
    "blackman window": lambda m: m.blackman_window(7, dtype=m.float64),
    "kaiser window": lambda m: m.kaiser_window(6),
    "bartlett window": lambda m: m.bartlett_window(6),
    "fftfreq": lambda m: m.fft.fftfreq(5, 0.5),
    "rfftfreq": lambda m: m.fft.rfftfreq(6),
}
WRONG = {
    "size of floats": lambda m: m.zeros(2.5),
    "size of a list of floats": lambda m: m.zeros([2.5]),
    "negative size": lambda m: m.zeros(-1),
    "unknown argument": lambda m: m.zeros(2, colour=1),
    "step 0": lambda m: m.arange(0, 5, 0),
    "step away from the end": lambda m: m.arange(0, 5, -1),
    "negative steps": lambda m: m.linspace(0, 1, -1),
    "ragged": lambda m: m.tensor([[1, 2], [3]]),
    "text": lambda m: m.tensor("a"),
    "list of text": lambda m: m.tensor(["a"]),
    "none": lambda m: m.tensor([None]),
    "complex as real": lambda m: m.tensor([1j], dtype=m.float32),
    "no array": lambda m: m.from_numpy([1, 2]),
    "array of text": lambda m: m.from_numpy(np.array(["a"])),
    "array upside down": lambda m: m.from_numpy(np.arange(3)[::-1]),
    "too large": lambda m: m.tensor([2**70]),
    "integer that requires gradients": lambda m: m.ones(2, dtype=m.int64, requires_grad=True),
    "complex of integers": lambda m: m.complex(m.ones(2).long(), m.ones(2).long()),
    "eye of negative size": lambda m: m.eye(-1),
    "dtype by name": lambda m: m.zeros(2, dtype="float32"),
}


@pytest.mark.parametrize("name", CALLS)
def test_creation(name):
    expected, got = CALLS[name](torch), CALLS[name](danlu)
    assert type(got) is danlu.Tensor
    assert str(got.dtype) == str(expected.dtype)
    assert tuple(got.shape) == tuple(expected.shape)
    assert got.stride() == expected.stride()
    assert got.requires_grad == expected.requires_grad
    if expected.dtype is torch.bfloat16:
        expected, got = expected.float(), got.float()
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", WRONG)
def test_refusals(name):
    with pytest.raises(Exception) as expected:
        WRONG[name](torch)
    with pytest.raises(expected.type) as got:
        WRONG[name](danlu)
    assert str(got.value)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,), (3, 0, 2), (1, 1), ()])
def test_strides_of_empty_and_small_tensors(shape):
    assert danlu.zeros(shape).stride() == torch.zeros(shape).stride()
    assert danlu.ones(shape).is_contiguous()
