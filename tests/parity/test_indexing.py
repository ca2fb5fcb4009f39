"""Reading and writing through any index, against PyTorch; views and in-place writes through them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import danlu

torch = pytest.importorskip("torch")

EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True)
FEW = settings(max_examples=80, deadline=None, derandomize=True)
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


# ---------------------------------------------------------------- indices
@st.composite
def one_dimension(draw, size):
    """An index of one dimension: an int, a slice, an integer array or a mask."""
    kind = draw(st.sampled_from(["int", "slice", "array", "mask"]))
    if kind == "int":
        return draw(st.integers(-size, size - 1))
    if kind == "slice":
        bound = st.one_of(st.none(), st.integers(-size - 1, size + 1))
        return slice(draw(bound), draw(bound), draw(st.one_of(st.none(), st.integers(1, 3))))
    if kind == "mask":
        return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    length = draw(st.sampled_from([1, 2]))
    return np.array(draw(st.lists(st.integers(-size, size - 1), min_size=length, max_size=length)))


@st.composite
def indices(draw, shape):
    """An index of a tensor of this shape, with None and Ellipsis mixed in."""
    count = draw(st.integers(0, len(shape)))
    dims = range(count)
    items = [draw(one_dimension(shape[i])) for i in dims]
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), None)
    if count == len(shape) or draw(st.booleans()):
        items.append(Ellipsis)
    return tuple(items) if len(items) != 1 or draw(st.booleans()) else items[0]


def tensors_of(module, index):
    """The index with its arrays as tensors."""
    if isinstance(index, tuple):
        return tuple(tensors_of(module, each) for each in index)
    if isinstance(index, np.ndarray):
        return module.tensor(index.tolist(), dtype=module.bool if index.dtype == bool else None)
    return index


def pair(shape, **options):
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape) + 1
    return (
        torch.tensor(values, **options),
        danlu.tensor(values, **options),
    )


def equal(expected, got):
    assert tuple(got.shape) == tuple(expected.shape)
    assert str(got.dtype) == str(expected.dtype)
    np.testing.assert_array_equal(got.detach().numpy(), expected.detach().numpy())


def outcome(function):
    """What a call returns, or the exception it raises."""
    try:
        return function(), None
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        return None, error


@EXAMPLES
@given(st.data())
def test_reading(data):
    shape = data.draw(SHAPES)
    index = data.draw(indices(shape))
    a, b = pair(shape, requires_grad=True)
    expected, refused = outcome(lambda: a[tensors_of(torch, index)])
    got, error = outcome(lambda: b[tensors_of(danlu, index)])
    assert (error is None) == (refused is None), (refused, error)
    if refused is not None:
        assert isinstance(error, type(refused))
        return
    equal(expected, got)
    is_view = (
        not any(isinstance(each, np.ndarray) for each in index)
        if isinstance(index, tuple)
        else True
    )
    if 0 not in got.shape and is_view and not isinstance(index, np.ndarray):
        steps = zip(got.shape, got.stride(), expected.stride())
        assert all(mine == theirs for size, mine, theirs in steps if size > 1)
    (expected * expected).sum().backward()
    (got * got).sum().backward()
    equal(a.grad, b.grad)


@EXAMPLES
@given(st.data())
def test_writing(data):
    shape = data.draw(SHAPES)
    index = data.draw(indices(shape))
    a, b = pair(shape, requires_grad=True)
    # positions that are written twice have no defined winner
    spots = np.arange(np.prod(shape)).reshape(shape)
    part, refused = outcome(lambda: torch.tensor(spots)[tensors_of(torch, index)])
    if refused is not None or part.unique().numel() != part.numel():
        return
    scale = data.draw(st.sampled_from(["number", "zero-dim", "same", "row"]))
    if scale == "number":
        values = (7.0, 7.0)
    else:
        size = {"zero-dim": (), "same": tuple(part.shape), "row": tuple(part.shape[-1:])}[scale]
        values = pair(size, requires_grad=True)
    written_a, written_b = a * 1, b * 1
    written_a[tensors_of(torch, index)] = values[0]
    written_b[tensors_of(danlu, index)] = values[1]
    equal(written_a, written_b)
    (written_a * written_a).sum().backward()
    (written_b * written_b).sum().backward()
    equal(a.grad, b.grad)
    if scale != "number":
        equal(values[0].grad, values[1].grad)


@FEW
@given(st.data())
def test_adding_in_place_through_an_index(data):
    shape = data.draw(SHAPES)
    index = data.draw(indices(shape))
    a, b = pair(shape, requires_grad=True)
    if outcome(lambda: a[tensors_of(torch, index)])[1] is not None:
        return
    one, two = a * 2, b * 2
    one[tensors_of(torch, index)] += 3
    two[tensors_of(danlu, index)] += 3
    equal(one, two)
    one.exp().sum().backward()
    two.exp().sum().backward()
    np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-12)


# ---------------------------------------------------------------- views
VIEWS = {
    "transpose": lambda x: x.transpose(0, -1),
    "reshape": lambda x: x.reshape(-1),
    "first": lambda x: x[0],
    "last": lambda x: x[..., -1:],
    "every second": lambda x: x[::2],
    "unsqueeze": lambda x: x.unsqueeze(1),
    "narrow": lambda x: x.narrow(0, 0, 1),
    "diagonal": lambda x: x.diagonal() if x.ndim > 1 else x[:],
}
WRITES = {
    "multiply": lambda x: x.mul_(3),
    "add": lambda x: x.add_(1),
    "fill": lambda x: x.fill_(2),
    "exp": lambda x: x.clamp_(max=2).exp_(),
    "zero": lambda x: x.zero_(),
    "assign": lambda x: x.__setitem__(Ellipsis, 5.0),
}


@FEW
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
    st.lists(st.sampled_from(sorted(VIEWS)), min_size=1, max_size=3),
    st.lists(st.sampled_from(sorted(WRITES)), min_size=1, max_size=2),
)
def test_writing_through_views_of_views(shape, steps, writes):
    results = []
    for module, leaf in zip((torch, danlu), pair(shape, requires_grad=True)):
        base = leaf * 1.5
        view = base
        try:
            for step in steps:
                view = VIEWS[step](view)
            for write in writes:
                WRITES[write](view)
            total = (base * base).sum() + view.sum()
            total.backward()
        except (RuntimeError, IndexError) as error:
            results.append(error)
            continue
        results.append((base.detach(), view.detach(), leaf.grad))
        del module
    expected, got = results
    if isinstance(expected, Exception):
        assert isinstance(got, type(expected)), got
        return
    if isinstance(got, Exception):
        raise got
    for a, b in zip(expected, got):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12)


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    "wrong",
    [
        lambda m, x: x[5],
        lambda m, x: x[0, 0, 0],
        lambda m, x: x[1.5],
        lambda m, x: x["a"],
        lambda m, x: x[::-1],
        lambda m, x: x[m.tensor([9])],
        lambda m, x: x[m.tensor([True, False, True])],
        lambda m, x: x[m.tensor([1.0])],
        lambda m, x: m.tensor(1.0)[0],
        lambda m, x: x.__setitem__(0, m.ones(5)),
        lambda m, x: x.__setitem__(7, 1),
        lambda m, x: x.__setitem__(0, "a"),
        lambda m, x: x.__setitem__(m.tensor([0]), m.ones(2, 2, 2)),
        lambda m, x: m.gather(x, 1, m.tensor([[9]])),
        lambda m, x: m.gather(x, 1, m.tensor([0])),
        lambda m, x: m.gather(x, 0, m.ones(1, 1)),
        lambda m, x: m.gather(x, 5, m.tensor([[0]])),
        lambda m, x: m.index_select(x, 0, m.tensor([2])),
        lambda m, x: m.take(x, m.tensor([99])),
        lambda m, x: x.scatter(0, m.tensor([[5]]), 1.0),
        lambda m, x: x.masked_fill(m.ones(2, 3), 0),
        lambda m, x: x.masked_select(m.ones(2, 3)),
        lambda m, x: x.scatter_reduce(0, m.tensor([[0]]), x, "no"),
        lambda m, x: x.select(0, 2),
        lambda m, x: x.narrow(0, 1, 5),
        lambda m, x: x.unfold(0, 9, 1),
    ],
)
def test_wrong_indices_raise_the_same_type(wrong):
    with pytest.raises(Exception) as expected:
        wrong(torch, torch.zeros(2, 3))
    with pytest.raises(expected.type):
        wrong(danlu, danlu.zeros(2, 3))
