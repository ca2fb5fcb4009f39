"""In-place writes under recording: what they refuse, what they damage, and how views and bases
share history."""

from __future__ import annotations

import numpy as np
import pytest

import danlu

DAMAGED = "modified by an inplace operation"


def leaf(*values):
    return danlu.tensor(list(values), requires_grad=True)


def same(tensor, expected):
    np.testing.assert_allclose(tensor.detach().numpy(), expected, rtol=1e-6)


def gradient(fn, *values):
    """The gradient of the sum of `fn` at a copy of a leaf."""
    x = leaf(*values)
    fn(x.clone()).sum().backward()
    return x.grad.tolist()


# ---------------------------------------------------------------- what is refused
def test_leaves_and_their_views_are_not_written_to_under_recording():
    x = leaf(1.0, 2.0)
    for write in (lambda: x.add_(1), lambda: x.zero_(), lambda: x.copy_(danlu.ones(2))):
        with pytest.raises(RuntimeError, match="^a leaf Variable that requires grad"):
            write()
    for write in (lambda: x[:1].mul_(2), lambda: x.view(2, 1)[0].fill_(3)):
        with pytest.raises(RuntimeError, match="^a view of a leaf Variable"):
            write()
    with pytest.raises(RuntimeError, match="leaf Variable"):
        x[0] = 5
    with danlu.no_grad():
        x.add_(1)
        x[0] = 5
    same(x, [5, 3])
    assert x.is_leaf and x.requires_grad


def test_detach_in_place():
    y = leaf(1.0, 2.0) * 2
    assert y.detach_() is y
    assert y.is_leaf and not y.requires_grad
    with pytest.raises(RuntimeError, match="Can't detach views"):
        (leaf(1.0, 2.0) * 2)[:1].detach_()


def test_expanded_memory_is_not_written_to():
    base = danlu.ones(3)
    for write in (
        lambda t: t.add_(1), lambda t: t.zero_(), lambda t: t.copy_(danlu.ones(2, 3)),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="single memory location.*clone"):
            write(base.expand(2, 3))


def test_a_source_with_more_dimensions_is_not_copied():
    with pytest.raises(RuntimeError, match="must match the size"):
        danlu.ones(3).copy_(danlu.ones(1, 3))


# ---------------------------------------------------------------- damage is noticed
@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("an input", lambda t, x: t * x),
        ("the result", lambda t, x: (t * x).exp()),
        ("a list", lambda t, x: danlu.stack([t * x, t]).prod(0)),
        ("a matrix", lambda t, x: t.reshape(1, 2) @ x.reshape(2, 1)),
    ],
)
@pytest.mark.parametrize(
    "write",
    [
        lambda t: t.add_(1), lambda t: t[:1].zero_(), lambda t: t.detach().mul_(2),
        lambda t: t.__setitem__(0, 3.0), lambda t: danlu.add(t.detach(), 1, out=t.detach()),
    ],
)  # fmt: skip
def test_a_saved_tensor_that_was_written_to_is_noticed(name, use, write):
    x, t = leaf(1.0, 2.0), danlu.ones(2)
    y = use(t, x)
    write(y if name == "the result" else t)
    with pytest.raises(RuntimeError, match=DAMAGED + r".*is at version 1; expected version 0"):
        y.sum().backward()


def test_damage_is_noticed_under_create_graph_too():
    x, t = leaf(1.0, 2.0), danlu.ones(2)
    y = (x * t).sum()
    t.add_(1)
    with pytest.raises(RuntimeError, match=DAMAGED):
        danlu.autograd.grad(y, x, create_graph=True)


def test_writes_through_data_are_not_noticed():
    x, t = leaf(1.0, 2.0), danlu.ones(2)
    y = (x * t).sum()
    t.data.add_(1)
    y.backward()
    same(x.grad, [2, 2])


def test_a_write_after_backward_or_to_an_unsaved_tensor_does_no_harm():
    x, t = leaf(1.0, 2.0), danlu.ones(2)
    y = (x + t).sum() + (x * t).sum() * 0
    y.backward(retain_graph=True)
    t.add_(1)
    with pytest.raises(RuntimeError, match=DAMAGED):
        y.backward()
    z = (x + t).sum()
    t.add_(1)
    z.backward()


# ---------------------------------------------------------------- history follows the memory
@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda t: t.mul_(3), [3, 3, 3]),
        (lambda t: t.zero_(), [0, 0, 0]),
        (lambda t: t.fill_(7), [0, 0, 0]),
        (lambda t: t.sin_().mul_(2).exp_(), None),
        (lambda t: t.mul_(t), [2, 4, 6]),
        (lambda t: t.mul_(t.view(3)), [2, 4, 6]),
        (lambda t: t[1:].mul_(2), [1, 2, 2]),
        (lambda t: t[1:][:1].zero_(), [1, 0, 1]),
        (lambda t: t.view(3, 1).t()[0, 2:].mul_(5), [1, 1, 5]),
        (lambda t: t[:2].copy_(danlu.ones(2)), [0, 0, 1]),
        (lambda t: t.masked_fill_(t > 1, 0.0), [1, 0, 0]),
        (lambda t: t.index_put_((danlu.tensor([0, 2]),), danlu.tensor(9.0)), [0, 1, 0]),
        (lambda t: t.clamp_(1.5, 2.5), [0, 1, 0]),
        (lambda t: t.__setitem__(slice(None, 2), t[1:].clone()), [0, 1, 2]),
        (lambda t: t.__setitem__(0, t[2]), [0, 1, 2]),
        (lambda t: t.__setitem__(t > 2, 0.0), [1, 1, 0]),
        (lambda t: t.index_fill_(0, danlu.tensor([1]), 4.0), [1, 0, 1]),
    ],
)
def test_gradients_of_in_place_writes(write, expected):
    def run(t):
        write(t)
        return t

    if expected is None:
        values = np.array([1.0, 2.0, 3.0])
        inner = 2 * np.sin(values)
        expected = np.exp(inner) * 2 * np.cos(values)
    np.testing.assert_allclose(gradient(run, 1.0, 2.0, 3.0), expected, rtol=1e-5)


def test_a_write_to_the_base_reaches_its_views():
    x = leaf(1.0, 2.0)
    y = x * 1
    first, second = y[0], y[1:].view(1, 1)
    y.mul_(3)
    assert first.grad_fn is not None
    (first * 2 + second.sum()).backward()
    same(x.grad, [6, 3])


def test_a_write_to_a_view_reaches_its_base_and_other_views():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    first, other = y[:2], y[1:]
    first.mul_(10)
    assert y.grad_fn.name() == "torch::autograd::CopySlices"
    same(other, [20, 3])
    other.sum().backward(retain_graph=True)
    same(x.grad, [0, 10, 1])
    y.sum().backward()
    same(x.grad, [10, 20, 2])


def test_a_base_without_history_gets_one_through_its_view():
    x, base = leaf(2.0, 3.0), danlu.zeros(2, 2)
    row, column = base[0], base[:, 1]
    assert not base.requires_grad
    row.add_(x)
    assert base.requires_grad and column.requires_grad and row.requires_grad
    (column * danlu.tensor([5.0, 7.0])).sum().backward(retain_graph=True)
    same(x.grad, [0, 5])
    base.sum().backward()
    same(x.grad, [1, 6])


def test_a_buffer_filled_row_by_row():
    x, buffer = leaf(1.0, 2.0), danlu.zeros(3, 2)
    for i in range(3):
        buffer[i] = x * (i + 1)
    (buffer * danlu.arange(6.0).view(3, 2)).sum().backward()
    same(x.grad, [0 + 4 + 12, 1 + 6 + 15])


def test_a_view_that_requires_gradients_itself():
    base = danlu.ones(3)
    view = base[:2].requires_grad_()
    assert view.is_leaf and not base.requires_grad
    (view * 3).sum().backward()
    same(view.grad, [3, 3])


def test_second_derivatives_through_writes():
    def cube(t):
        t[:1].mul_(t[:1].detach() * 0 + 2)
        t.pow_(3)
        return t

    x = danlu.tensor([1.0, 2.0], dtype=danlu.float64, requires_grad=True)
    assert danlu.autograd.gradcheck(lambda x: cube(x.clone()), x)
    assert danlu.autograd.gradgradcheck(lambda x: cube(x.clone()), x)


def test_memory_and_versions_are_shared_by_detach():
    x = leaf(1.0, 2.0)
    y = x.detach()
    y.zero_()
    same(x, [0, 0])
    assert not y.requires_grad and y.data_ptr() == x.data_ptr()


def test_an_unrecorded_write_keeps_the_history():
    x = leaf(1.0, 2.0)
    y = x * 3
    view = y[:1]
    with danlu.no_grad():
        y.add_(1)
        view.add_(1)
    same(y, [5, 7])
    y.sum().backward()
    same(x.grad, [3, 3])
