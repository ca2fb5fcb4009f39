"""What tensors look like: texts that PyTorch printed, kept word for word."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
from danlu.printing import tensor_format, tensor_repr
from danlu.tensor import wrap


@pytest.fixture(autouse=True)
def default_options():
    yield
    danlu.set_printoptions(profile="default")


def shown(values, dtype="float32"):
    return tensor_repr(wrap(np.array(values, dtype)))


GOLDENS = {
    "whole numbers": ([1.0, 2.0], "float32", "tensor([1., 2.])"),
    "fractions": ([1.0, 2.5], "float32", "tensor([1.0000, 2.5000])"),
    "wide range": ([1e-5, 1.0], "float32", "tensor([1.0000e-05, 1.0000e+00])"),
    "large": ([1e9, 1.0], "float32", "tensor([1.0000e+09, 1.0000e+00])"),
    "nan among whole numbers": ([1.0, float("nan")], "float32", "tensor([1., nan])"),
    "inf among fractions": (
        [0.5, float("inf"), -0.25],
        "float32",
        "tensor([ 0.5000,     inf, -0.2500])",
    ),
    "negative zero": ([-0.0, 1.0], "float32", "tensor([-0., 1.])"),
    "no dimension": (3.5, "float32", "tensor(3.5000)"),
    "integers": ([1, -20], "int64", "tensor([  1, -20])"),
    "short integers": ([1, 2], "int16", "tensor([1, 2], dtype=torch.int16)"),
    "bool": ([True, False], "bool", "tensor([ True, False])"),
    "double": ([0.1], "float64", "tensor([0.1000], dtype=torch.float64)"),
    "half": ([0.1], "float16", "tensor([0.1000], dtype=torch.float16)"),
    "complex": ([1 + 2j, -1.5j], "complex64", "tensor([1.+2.0000j, -0.-1.5000j])"),
    "empty": ([], "float32", "tensor([])"),
    "empty with shape": (np.zeros((0, 3)), "float32", "tensor([], size=(0, 3))"),
    "empty integers": ([], "int64", "tensor([], dtype=torch.int64)"),
    "matrix": ([[1, 2], [3, 4]], "int64", "tensor([[1, 2],\n        [3, 4]])"),
    "three dimensions": (
        [[[1.0]], [[2.0]]],
        "float32",
        "tensor([[[1.]],\n\n        [[2.]]])",
    ),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_text(name):
    values, dtype, expected = GOLDENS[name]
    assert shown(values, dtype) == expected


def test_bfloat16_is_named():
    array = np.array([1.0, 2.0]).astype(danlu.bfloat16.numpy)
    assert tensor_repr(wrap(array)) == "tensor([1., 2.], dtype=torch.bfloat16)"


def test_lines_break_at_eighty_characters():
    assert shown(np.arange(30), "int64") == (
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
        "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"
    )


def test_large_tensors_are_summarised():
    assert shown(np.arange(1001), "int64") == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    assert shown(np.zeros((40, 40))) == (
        "tensor([[0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        ...,\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.]])"
    )


def test_summary_reads_only_what_it_shows():
    one = np.ones((1, 1, 1))
    far_larger_than_memory = np.lib.stride_tricks.as_strided(one, (1 << 19,) * 3, (0, 0, 0))
    text = tensor_repr(wrap(far_larger_than_memory))
    assert text.count("1.") == 6**3
    assert text.count("...") == 6 * 6 + 6 + 1


def test_gradient_suffixes():
    leaf = wrap(np.ones(2, "float32"))
    leaf.requires_grad = True
    assert tensor_repr(leaf) == "tensor([1., 1.], requires_grad=True)"
    assert tensor_repr(leaf * 2) == "tensor([2., 2.], grad_fn=<MulBackward0>)"


def test_suffix_moves_to_a_line_of_its_own():
    tensor = wrap(np.full(8, 0.5))
    tensor.requires_grad = True
    assert tensor_repr(tensor) == (
        "tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000],\n"
        "       dtype=torch.float64, requires_grad=True)"
    )


def test_parameter_says_what_it_is():
    parameter = danlu.nn.Parameter(wrap(np.ones(2, "float32")))
    expected = "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert tensor_repr(parameter) == expected


def test_subclass_is_named():
    class Scaled(danlu.Tensor):
        pass

    assert tensor_repr(wrap(np.ones(2, "float32")).as_subclass(Scaled)) == "Scaled([1., 1.])"


def test_default_dtype_decides_what_is_left_unsaid():
    danlu.set_default_dtype(danlu.float64)
    try:
        assert shown([0.5], "float64") == "tensor([0.5000])"
        assert shown([0.5], "float32") == "tensor([0.5000], dtype=torch.float32)"
        assert shown([1j], "complex128") == "tensor([0.+1.j])"
    finally:
        danlu.set_default_dtype(danlu.float32)


def test_format_of_one_number_is_pythons():
    assert tensor_format(wrap(np.array(1.23456)), ".2f") == "1.23"
    assert tensor_format(wrap(np.array(7)), "03d") == "007"
    assert tensor_format(wrap(np.ones(2, "float32")), "") == "tensor([1., 1.])"
    with pytest.raises(TypeError, match="unsupported format string"):
        tensor_format(wrap(np.ones(2)), ".2f")


class TestOptions:
    def test_each_option(self):
        danlu.set_printoptions(precision=2)
        assert shown([1.126, 2]) == "tensor([1.13, 2.00])"
        danlu.set_printoptions(sci_mode=True)
        assert shown([1.126, 2]) == "tensor([1.13e+00, 2.00e+00])"
        danlu.set_printoptions(threshold=3, edgeitems=1)
        assert shown([1, 2, 3, 4]) == "tensor([1.,  ..., 4.])"
        danlu.set_printoptions(profile="default", linewidth=14)
        assert shown([1, 2, 3]) == "tensor([1.,\n        2.,\n        3.])"

    def test_profiles(self):
        danlu.set_printoptions(profile="short")
        assert danlu.get_printoptions() == {
            "precision": 2,
            "threshold": 1000,
            "edgeitems": 2,
            "linewidth": 80,
            "sci_mode": None,
        }
        danlu.set_printoptions(profile="full")
        assert danlu.get_printoptions()["threshold"] == float("inf")

    def test_what_was_read_can_be_set_again(self):
        danlu.set_printoptions(precision=7, sci_mode=False)
        options = danlu.get_printoptions()
        danlu.set_printoptions(profile="default")
        danlu.set_printoptions(**options)
        assert danlu.get_printoptions() == options

    def test_mistakes_are_named_and_change_nothing(self):
        before = danlu.get_printoptions()
        with pytest.raises(ValueError, match="'default', 'short', 'full', got 'tiny'"):
            danlu.set_printoptions(profile="tiny", precision=1)
        with pytest.raises(TypeError, match="precision must be an int"):
            danlu.set_printoptions(precision="4")
        with pytest.raises(TypeError, match="threshold must be a number"):
            danlu.set_printoptions(threshold="many")
        assert danlu.get_printoptions() == before
