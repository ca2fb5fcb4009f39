"""Every text is compared with the one PyTorch prints."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

import danlu  # noqa: E402
from danlu.backend import dtypes  # noqa: E402
from danlu.printing import tensor_format, tensor_repr  # noqa: E402
from danlu.tensor import wrap  # noqa: E402

SHAPES = [
    (), (1,), (3,), (20,), (0,), (0, 3), (2, 3), (3, 0, 2), (4, 7, 2), (2, 2, 2, 2),
    (1001,), (50, 50), (2, 600), (7, 7, 30), (6, 6, 6, 6), (1, 1, 1200), (30, 30, 2, 2),
]  # fmt: skip
DTYPES = [each for each in dtypes.ALL if each is not dtypes.complex32]


def _mixed(random, shape, other, share=0.3):
    return np.where(random.random(shape) < share, other, random.standard_normal(shape))


VALUES = {
    "normal": lambda r, s: r.standard_normal(s),
    "hundreds": lambda r, s: r.standard_normal(s) * 100,
    "whole": lambda r, s: r.integers(-5, 5, s).astype(float),
    "millions": lambda r, s: r.standard_normal(s) * 1e6,
    "wide": lambda r, s: np.exp(r.standard_normal(s)) ** 6,
    "nan": lambda r, s: _mixed(r, s, np.nan),
    "whole and nan": lambda r, s: np.round(_mixed(r, s, np.nan)),
    "infinite": lambda r, s: _mixed(r, s, -np.inf),
    "only infinite": lambda r, s: np.full(s, np.inf),
    "negative zero": lambda r, s: np.full(s, -0.0),
    "tiny": lambda r, s: r.integers(0, 2, s) * 1e-30,
    "large": lambda r, s: np.full(s, 1e9),
}
OPTIONS = [
    {"precision": 2}, {"precision": 0}, {"edgeitems": 1}, {"edgeitems": 0}, {"threshold": 10},
    {"threshold": 0}, {"linewidth": 20}, {"sci_mode": True}, {"sci_mode": False},
    {"profile": "short"}, {"profile": "full"},
]  # fmt: skip


def same_tensor(tensor):
    """danlu's tensor of the same dtype and bits."""
    dtype = dtypes.BY_NAME[str(tensor.dtype).removeprefix("torch.")]
    if dtype in dtypes._NARROW:
        bits = torch.uint8 if dtype.itemsize == 1 else torch.int16
        return wrap(tensor.view(bits).numpy().view(dtype.numpy))
    return wrap(tensor.numpy())


def family(dtype, shapes):
    random = np.random.default_rng(0)
    for shape, make in itertools.product(shapes, VALUES.values()):
        values = torch.from_numpy(np.asarray(make(random, shape)))
        if dtype.is_complex:
            values = torch.complex(values, torch.from_numpy(np.asarray(make(random, shape))))
        tensor = values.to(getattr(torch, dtype.name))
        # PyTorch takes the not-a-number of this type for a finite value, and sets it as a fraction.
        if dtype is dtypes.float8_e8m0fnu and bool(tensor.float().isnan().any()):
            continue
        yield tensor


def assert_same_text(tensor):
    assert tensor_repr(same_tensor(tensor)) == repr(tensor)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_family(dtype):
    for tensor in family(dtype, SHAPES):
        assert_same_text(tensor)


@contextlib.contextmanager
def options(**chosen):
    torch.set_printoptions(**chosen)
    danlu.set_printoptions(**chosen)
    try:
        yield
    finally:
        torch.set_printoptions(profile="default")
        danlu.set_printoptions(profile="default")


@pytest.mark.parametrize("chosen", OPTIONS, ids=str)
def test_options(chosen):
    with options(**chosen):
        assert danlu.get_printoptions() == torch._tensor_str.get_printoptions()
        for dtype in (dtypes.float32, dtypes.int64, dtypes.complex64):
            for tensor in family(dtype, SHAPES[:11]):
                assert_same_text(tensor)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.complex64]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    ),
    st.sampled_from([{}, {"threshold": 5, "edgeitems": 2}, {"precision": 1, "linewidth": 40}]),
)
def test_any_array(array, chosen):
    with options(**chosen):
        assert_same_text(torch.from_numpy(array))


@pytest.mark.parametrize("spec", ["", ".3f", "10.2e", "+", ">12"])
def test_format_of_a_number(spec):
    for value in (1.25, -3.0, float("nan")):
        ours, theirs = wrap(np.array(value, "float32")), torch.tensor(value)
        assert tensor_format(ours, spec) == format(theirs, spec)


def test_gradient_suffixes():
    for length in range(1, 30, 4):
        theirs = torch.full((length,), 0.5, dtype=torch.float64, requires_grad=True)
        ours = wrap(np.full(length, 0.5))
        ours.requires_grad = True
        assert tensor_repr(ours) == repr(theirs)
        assert tensor_repr(ours * 2.0) == repr(theirs * 2.0)


def test_parameters_and_subclasses():
    class Named(torch.nn.Parameter):
        pass

    class NamedHere(danlu.nn.Parameter):
        pass

    NamedHere.__name__ = "Named"
    array = np.array([0.5, 2.0], "float32")
    for theirs, ours in ((torch.nn.Parameter, danlu.nn.Parameter), (Named, NamedHere)):
        assert tensor_repr(ours(wrap(array))) == repr(theirs(torch.from_numpy(array)))
