"""Functions over the tape: jacobian and its kin, gradcheck, danlu.func, checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
from danlu.autograd import functional, numeric

FREED = "backward through the graph a second time"


def leaf(*values, dtype=None):
    return danlu.tensor(list(values), dtype=dtype or danlu.float32, requires_grad=True)


def same(tensor, expected):
    np.testing.assert_allclose(tensor.detach().numpy(), expected, rtol=1e-6)


# ---------------------------------------------------------------- derivatives as functions
def test_jacobian_and_hessian_of_several():
    x, y = danlu.tensor([1.0, 2.0]), danlu.tensor([3.0, 4.0])
    (dx, dy), (total, nothing) = functional.jacobian(lambda x, y: (x * y, x.sum()), (x, y))
    same(dx, [[3, 0], [0, 4]])
    same(dy, [[1, 0], [0, 2]])
    same(total, [1, 1])
    same(nothing, [0, 0])
    (xx, xy), (yx, yy) = functional.hessian(lambda x, y: (x * x * y).sum(), (x, y))
    same(xx, [[6, 0], [0, 8]])
    same(xy, [[2, 0], [0, 4]])
    same(yx, [[2, 0], [0, 4]])
    same(yy, np.zeros((2, 2)))


@pytest.mark.parametrize("name", ["vjp", "jvp", "vhp", "hvp"])
def test_products_refuse_what_does_not_fit(name):
    product = getattr(functional, name)
    x = danlu.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match="must be either a Tensor or a tuple"):
        product(lambda x: x.sum(), 3.0, x)
    with pytest.raises(RuntimeError, match="invalid size"):
        product(lambda x: x.sum(), x, danlu.ones(3))
    with pytest.raises(RuntimeError, match="can only be None"):
        product(lambda x: x * 2, x)
    with pytest.raises(RuntimeError, match="strict mode"):
        product(
            lambda x: danlu.tensor(1.0), x, danlu.ones(2) if name != "vjp" else None, strict=True
        )


def test_gradcheck_finds_a_wrong_derivative():
    class Wrong(danlu.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * g

    x = leaf(1, 2, dtype=danlu.float64)
    with pytest.raises(numeric.GradcheckError, match="Jacobian mismatch for output 0"):
        danlu.autograd.gradcheck(Wrong.apply, x)
    for fast in (True, False):
        assert not danlu.autograd.gradcheck(Wrong.apply, x, raise_exception=False, fast_mode=fast)
    with pytest.raises(ValueError, match="at least one input"):
        danlu.autograd.gradcheck(Wrong.apply, x.detach())
    with pytest.warns(UserWarning, match="double precision"):
        danlu.autograd.gradcheck(lambda x: x * 2, leaf(1), atol=1)


@pytest.mark.parametrize("fast", [True, False])
def test_gradcheck_passes_right_derivatives(fast):
    x = leaf(0.5, 2, dtype=danlu.float64)
    z = danlu.tensor([1 + 2j, 0.5 - 1j], dtype=danlu.complex128, requires_grad=True)
    for fn, inputs in (
        (lambda x, z: (x * z, x.exp().sum()), (x, z)),
        (lambda z: z.abs(), (z,)),
        (lambda z: z * z, (z,)),
        (lambda x: x.sort()[0], (x,)),
    ):
        assert danlu.autograd.gradcheck(fn, inputs, fast_mode=fast)
        assert danlu.autograd.gradgradcheck(fn, inputs, fast_mode=fast)


def test_func_derivatives_nest_and_stay_joined_to_the_outside():
    from danlu import func

    x = danlu.tensor([1.0, 2.0])
    w = leaf(3, 4)
    assert not func.grad(lambda x: (x * x).sum())(x).requires_grad
    joined = func.grad(lambda x: (x * x * w).sum())(x)
    joined.sum().backward()
    same(w.grad, [2, 4])
    same(func.jacrev(func.grad(lambda x: (x**3).sum()))(x), [[6, 0], [0, 12]])
    same(func.vmap(func.hessian(lambda x: (x**3).sum()))(danlu.ones(2, 1)), np.full((2, 1, 1), 6.0))
    gradient, (value, aux) = func.grad_and_value(lambda d: (d["a"].sum(), "aux"), has_aux=True)(
        {"a": x}
    )
    same(gradient["a"], [1, 1])
    assert (value.item(), aux) == (3, "aux")
    with pytest.raises(RuntimeError, match="scalar Tensor"):
        func.grad(lambda x: x * 2)(x)


def test_vmap_maps_and_says_what_does_not_fit():
    from danlu import func

    rows = danlu.arange(6.0).reshape(3, 2)
    same(func.vmap(danlu.dot, in_dims=(0, None))(rows, danlu.ones(2)), [1, 5, 9])
    same(func.vmap(lambda x: x * 2, in_dims=1, out_dims=1)(rows), rows.numpy() * 2)
    with pytest.raises(ValueError, match="same size in the mapped dimension"):
        func.vmap(lambda x, y: x)(danlu.ones(2), danlu.ones(3))
    with pytest.raises(ValueError, match="must only return Tensors"):
        func.vmap(lambda x: 3)(danlu.ones(2))
    with pytest.raises(RuntimeError, match="randomness"):
        func.vmap(lambda x: danlu.rand(1))(danlu.ones(2))
    drawn = func.vmap(lambda x: danlu.rand(1), randomness="same")(danlu.ones(2))
    assert drawn[0].item() == drawn[1].item()


# ---------------------------------------------------------------- checkpoint
def _checkpointed(use_reentrant):
    from danlu.utils.checkpoint import checkpoint

    return lambda fn, *args, **kwargs: checkpoint(fn, *args, use_reentrant=use_reentrant, **kwargs)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoint_gives_the_gradients_of_the_plain_call(use_reentrant):
    danlu.manual_seed(0)
    net = danlu.nn.Sequential(danlu.nn.Linear(3, 4), danlu.nn.Dropout(0.5), danlu.nn.Tanh())
    x = danlu.rand(5, 3, requires_grad=True)
    found = []
    for call in (lambda fn, x: fn(x), _checkpointed(use_reentrant)):
        danlu.manual_seed(1)
        net.zero_grad()
        x.grad = None
        (call(net, x) ** 2).sum().backward()
        found.append((x.grad, net[0].weight.grad, danlu.rand(1)))
    for plain, again in zip(*found):
        assert danlu.equal(plain, again)


def test_checkpoint_runs_again_once_and_drops_what_it_saved():
    calls = []

    def square(x):
        calls.append(danlu.is_grad_enabled())
        return x * x

    x = leaf(1, 2)
    y = _checkpointed(False)(square, x)
    assert calls == [True]
    y.sum().backward()
    assert calls == [True, True]
    same(x.grad, [2, 4])
    with pytest.raises(RuntimeError, match=FREED):
        y.sum().backward()
    with danlu.no_grad():
        assert not _checkpointed(False)(square, x).requires_grad


def test_checkpoint_of_what_was_computed_before_and_of_higher_order():
    x = leaf(1, 2)
    h = x * x

    def sine(a):
        return (a * h * x).sin()

    plain, again = [], []
    for found, y in ((plain, sine(h)), (again, _checkpointed(False)(sine, h))):
        for _ in range(3):
            (y,) = danlu.autograd.grad(y.sum(), x, create_graph=True)
            found.append(y.detach().numpy())
    np.testing.assert_allclose(plain, again, rtol=1e-5)


def test_checkpoint_notices_changes_between_the_two_runs():
    from danlu.utils.checkpoint import CheckpointError

    x, others = leaf(1, 2), [leaf(1, 1), leaf(2, 2)]
    y = _checkpointed(False)(lambda x: x * others.pop(), x)
    with pytest.raises(CheckpointError, match="different number of tensors"):
        y.sum().backward()
    w = danlu.ones(2)
    y = _checkpointed(False)(lambda x, w: x * w, x, w)
    w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_checkpoint_arguments():
    from danlu.utils.checkpoint import checkpoint, checkpoint_sequential

    x = leaf(1, 2)
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint(lambda x: x * 2, x)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: k"):
        checkpoint(lambda x, k: x * k, x, k=3, use_reentrant=True)
    y = checkpoint(lambda x, k: {"y": x * k}, x, k=3, use_reentrant=False)["y"]
    y.sum().backward()
    same(x.grad, [3, 3])
    x.grad = None
    doubled = checkpoint_sequential([lambda x: x * 2] * 5, 2, x, use_reentrant=False)
    doubled.sum().backward()
    same(x.grad, [32, 32])
