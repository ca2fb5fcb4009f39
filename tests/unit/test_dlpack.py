"""Memory shared by the DLPack protocol."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
from danlu.utils.dlpack import from_dlpack, to_dlpack


@pytest.mark.parametrize("carry", [lambda tensor: tensor, to_dlpack])
def test_the_memory_is_the_same(carry):
    tensor = danlu.arange(4.0)
    again = from_dlpack(carry(tensor))
    again[0] = 7
    assert tensor[0] == 7 and again.dtype == tensor.dtype


def test_arrays_of_another_library():
    array = np.arange(6).reshape(2, 3)[:, ::2]
    tensor = from_dlpack(array)
    tensor[1, 1] = 9
    assert array[1, 1] == 9 and tuple(tensor.shape) == (2, 2)
    assert np.from_dlpack(tensor)[1, 1] == 9


def test_gradients_stay_behind():
    assert not from_dlpack(danlu.ones(2, requires_grad=True)).requires_grad
