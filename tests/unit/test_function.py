"""User-defined operations: autograd.Function in all its facets."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
from danlu.autograd.function import once_differentiable


def leaf(*values):
    return danlu.tensor(list(values), requires_grad=True)


def function(**methods):
    """A Function with these static methods."""
    body = {name: staticmethod(method) for name, method in methods.items()}
    return type("Custom", (danlu.autograd.Function,), body)


def same(tensor, expected):
    np.testing.assert_allclose(tensor.detach().numpy(), expected, rtol=1e-6)


class Square(danlu.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


def test_forward_is_not_recorded_and_backward_is_called_once():
    modes = []

    def forward(ctx, x):
        modes.append(danlu.is_grad_enabled())
        return x * 2

    def backward(ctx, g):
        modes.append(danlu.is_grad_enabled())
        return g * 2

    x = leaf(1.0, 2.0)
    function(forward=forward, backward=backward).apply(x).sum().backward()
    same(x.grad, [2, 2])
    assert modes == [False, False]


def test_names():
    y = Square.apply(leaf(1.0))
    assert y.grad_fn.name() == type(y.grad_fn).__name__ == "SquareBackward"
    assert repr(y) == "tensor([1.], grad_fn=<SquareBackward>)"
    assert y.grad_fn.next_functions[0][0].name() == "torch::autograd::AccumulateGrad"


def test_needs_input_grad_and_arguments_that_are_no_tensors():
    seen = []

    def backward(ctx, g):
        seen.append(ctx.needs_input_grad)
        return g * ctx.factor, None, None

    def forward(ctx, x, y, factor):
        ctx.factor = factor
        return (x + y) * factor

    x = leaf(1.0, 2.0)
    function(forward=forward, backward=backward).apply(x, danlu.ones(2), 3).sum().backward()
    assert seen == [(True, False, False)]
    same(x.grad, [3, 3])


def test_second_derivative_through_a_function():
    x = danlu.tensor(3.0, requires_grad=True)
    (first,) = danlu.autograd.grad(Square.apply(x), x, create_graph=True)
    (second,) = danlu.autograd.grad(first, x)
    assert (first.item(), second.item()) == (6, 2)
    x = danlu.tensor([0.5, 2.0], dtype=danlu.float64, requires_grad=True)
    assert danlu.autograd.gradgradcheck(Square.apply, x)


def test_a_saved_output_keeps_its_place_in_the_graph():
    def forward(ctx, x):
        out = x.exp()
        ctx.save_for_backward(out)
        return out

    exp = function(forward=forward, backward=lambda ctx, g: ctx.saved_tensors[0] * g)
    x = leaf(0.0, 1.0)
    (first,) = danlu.autograd.grad(exp.apply(x).sum(), x, create_graph=True)
    (second,) = danlu.autograd.grad(first.sum(), x)
    same(second, np.exp([0, 1]))


def test_saved_tensors_are_guarded_and_freed():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = Square.apply(y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
    z = Square.apply(x).sum()
    z.backward()
    with pytest.raises(RuntimeError, match="second time"):
        z.backward()
    with pytest.raises(TypeError, match="argument 0 is of type int"):
        function(forward=lambda ctx, x: ctx.save_for_backward(3)).apply(x)


def test_once_differentiable():
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g

    once = function(forward=Square.forward, backward=once_differentiable(backward))
    x = leaf(1.0, 2.0)
    once.apply(x).sum().backward()
    same(x.grad, [2, 4])
    (first,) = danlu.autograd.grad((once.apply(x) ** 2).sum(), x, create_graph=True)
    same(first, [4, 32])
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_setup_context():
    def setup_context(ctx, inputs, output):
        x, ctx.factor = inputs
        ctx.save_for_backward(x, output)

    def backward(ctx, g):
        x, out = ctx.saved_tensors
        return g * out / x, None

    scale = function(
        forward=lambda x, factor: x * factor, setup_context=setup_context, backward=backward
    )
    x = leaf(1.0, 2.0)
    scale.apply(x, 3.0).sum().backward()
    same(x.grad, [3, 3])


def _add_one(ctx, x):
    x.add_(1)
    ctx.mark_dirty(x)
    return x


def test_mark_dirty():
    dirty = function(forward=_add_one, backward=lambda ctx, g: g * 2)
    x = leaf(1.0, 2.0)
    y = x * 1
    assert dirty.apply(y) is y
    assert y.grad_fn.name() == "CustomBackward"
    y.sum().backward()
    same(x.grad, [2, 2])
    with pytest.raises(RuntimeError, match="leaf Variable"):
        dirty.apply(x)


def test_mark_dirty_on_a_view_changes_its_base():
    dirty = function(forward=_add_one, backward=lambda ctx, g: g * 2)
    x = leaf(1.0, 2.0)
    y = x * 1
    dirty.apply(y[:1])
    same(y, [2, 2])
    y.sum().backward()
    same(x.grad, [2, 1])


def test_mark_non_differentiable_and_integer_outputs():
    received = []

    def forward(ctx, x):
        order, copy = x.argsort(), x * 3
        ctx.mark_non_differentiable(copy)
        return x * 2, order, copy

    def backward(ctx, g, g_order, g_copy):
        received.extend([g_order, g_copy])
        return g * 2

    x = leaf(1.0, 2.0)
    y, order, copy = function(forward=forward, backward=backward).apply(x)
    assert [each.requires_grad for each in (y, order, copy)] == [True, False, False]
    y.sum().backward()
    same(x.grad, [2, 2])
    assert all(each is None or not each.any() for each in received)


@pytest.mark.parametrize("materialize", [True, False])
def test_gradients_of_unused_outputs(materialize):
    received = []

    def forward(ctx, x):
        ctx.set_materialize_grads(materialize)
        return x * 1, x * 2

    def backward(ctx, a, b):
        received.append(b)
        return a

    x = leaf(1.0, 2.0)
    function(forward=forward, backward=backward).apply(x)[0].sum().backward()
    if materialize:
        same(received[0], [0, 0])
    else:
        assert received == [None]


def test_an_input_returned_as_it_is_becomes_a_new_tensor():
    identity = function(forward=lambda ctx, x: x, backward=lambda ctx, g: g * 5)
    x = leaf(1.0, 2.0)
    y = identity.apply(x)
    assert y is not x and y.grad_fn is not None and x.is_leaf
    y.sum().backward()
    same(x.grad, [5, 5])


def test_outputs_that_are_no_tensors_pass_through():
    y, five, nothing = function(
        forward=lambda ctx, x: (x * 1, 5, None), backward=lambda ctx, g, a, b: g
    ).apply(leaf(1.0))
    assert (five, nothing) == (5, None) and y.requires_grad


def _returning(result):
    return function(forward=lambda ctx, x: x * 1, backward=lambda ctx, g: result(g))


def test_gradients_are_fitted_to_their_inputs():
    for source in (lambda x: x, lambda x: x * 1):
        x = leaf(1.0, 2.0)
        _returning(lambda g: danlu.ones(3, 2)).apply(source(x)).sum().backward()
        same(x.grad, [3, 3])
        x.grad = None
        _returning(lambda g: g.double()).apply(source(x)).sum().backward()
        assert x.grad.dtype is danlu.float32
        _returning(lambda g: (g, None)).apply(source(x)).sum().backward()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda g: danlu.ones(3), "invalid gradient at index 0"),
        (lambda g: g.sum(), "invalid gradient at index 0"),
        (lambda g: 3, "expected Variable or None"),
        (lambda g: (g, g), "incorrect number of gradients"),
        (lambda g: (), "incorrect number of gradients"),
    ],
)
def test_wrong_results_of_backward(result, message):
    with pytest.raises(RuntimeError, match=message):
        _returning(result).apply(leaf(1.0, 2.0) * 1).sum().backward()


def test_missing_methods_and_instances():
    with pytest.raises(NotImplementedError, match="forward"):
        function().apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="backward"):
        function(forward=lambda ctx, x: x * 1).apply(leaf(1.0)).backward()
    with pytest.warns(DeprecationWarning, match=r"Custom.apply\(...\)"):
        function()()


def test_nothing_is_recorded_without_need():
    assert not Square.apply(danlu.ones(2)).requires_grad
    with danlu.no_grad():
        assert not Square.apply(leaf(1.0)).requires_grad


def test_one_gradient_for_two_leaves_is_not_shared():
    """A rule may return the same array twice; each leaf must end with memory of its own."""

    class Both(danlu.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, c):
            return a + b + c

        @staticmethod
        def backward(ctx, g):
            twice = g * 2
            return twice, g * 3, twice

    a, b, c = (danlu.zeros(2, requires_grad=True) for _ in range(3))
    (Both.apply(a, b, c) + Both.apply(a, b, b)).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist(), c.grad.tolist()) == ([4, 4], [8, 8], [2, 2])
    a.grad += 1
    assert c.grad.tolist() == [2, 2]
