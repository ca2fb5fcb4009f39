"""Errors inside modules say where they happened, with what, and what was expected."""

from __future__ import annotations

import pickle
import sys

import pytest

import danlu
from danlu import nn
from tests.unit.small_modules import Affine, Net

# Errors that name their place


def notes_of(error):
    if sys.version_info < (3, 11):
        return [str(error).rpartition("\nin ")[2]]
    return error.__notes__


def test_shape_error_names_the_path_of_the_module():
    net = Net()
    net.first.weight = nn.Parameter(danlu.ones(4, 2))
    with pytest.raises(RuntimeError) as caught:
        net(danlu.ones(5, 2))
    (note,) = notes_of(caught.value)
    assert note.endswith(
        "Net.blocks.0: Affine(inputs=3), called with Tensor(5, 4) float32; expected (*, inputs=3), "
        "but dimension 1 of the input is 4: build the layer with inputs=4, or give it an input "
        "with 3 there"
    )


def test_error_in_the_outermost_module_names_it():
    with pytest.raises(RuntimeError) as caught:
        Affine()(danlu.ones(1, 5))
    (note,) = notes_of(caught.value)
    assert "Affine(inputs=2), called with Tensor(1, 5) float32" in note


def test_every_kind_of_argument_is_described():
    class Any(nn.Module):
        def forward(self, *args, **kwargs):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        Any()(danlu.zeros(2), None, [danlu.zeros(1)], (3,), "mean", {}, mask=True)
    (note,) = notes_of(caught.value)
    assert note.endswith(
        "Any(), called with Tensor(2) float32, None, [Tensor(1) float32], (3,), 'mean', dict, "
        "mask=True"
    )


def test_expected_shapes_with_alternatives_and_several_dimensions():
    from danlu.nn.modules._diagnosis import _mismatch

    template = "(N, in_channels=3, H, W) or (in_channels=3, H, W)"
    assert _mismatch(template, (2, 3, 8, 8)) == ""
    assert "dimension 1 of the input is 4: build the layer with in_channels=4" in _mismatch(
        template, (2, 4, 8, 8)
    )
    assert "dimension 0 of the input is 2" in _mismatch(template, (2, 8, 8))
    assert _mismatch(template, (2, 3)) == ", but the input has 2 dimensions"
    assert _mismatch("(*, 4)", (4,)) == ""
    assert _mismatch("(*, 4)", (5,)) == ", but dimension 0 of the input is 5"


def test_errors_of_other_kinds_get_no_note():
    class Interrupted(nn.Module):
        def forward(self):
            raise KeyError("k")

    with pytest.raises(KeyError) as caught:
        Interrupted()()
    assert getattr(caught.value, "__notes__", []) == []


def test_error_with_a_note_can_be_pickled():
    with pytest.raises(RuntimeError) as caught:
        Affine()(danlu.ones(1, 5))
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), RuntimeError)


def test_missing_forward():
    class Empty(nn.Module):
        pass

    with pytest.raises(
        NotImplementedError, match=r'Empty.*missing the required "forward" function'
    ):
        Empty()(1)
