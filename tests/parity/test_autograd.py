"""The same small programs on PyTorch's tape and on danlu's: results, gradients, names, error
types."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from importlib import import_module  # noqa: E402

import danlu  # noqa: E402
import danlu.autograd.numeric  # noqa: E402

F64 = "float64"


def plain(value):
    """Tensors as (dtype, values), containers as they are: what both frameworks can be compared
    by."""
    if isinstance(value, (torch.Tensor, danlu.Tensor)):
        return str(value.dtype), value.requires_grad, value.detach().numpy().astype(complex)
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def equal(ours, theirs):
    if isinstance(theirs, np.ndarray):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-7)
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), (ours, theirs)
        for pair in zip(ours, theirs):
            equal(*pair)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        equal(list(ours.values()), list(theirs.values()))
    else:
        assert ours == theirs


def outcome(case, xp):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(case(xp))
        except Exception as error:
            return type(error).__name__, str(error)[:35]


def leaf(xp, *values, dtype="float32"):
    return xp.tensor(list(values) or [1.0, 2.0], dtype=getattr(xp, dtype), requires_grad=True)


# ---------------------------------------------------------------- programs
def accumulation(xp):
    x = leaf(xp)
    for factor in (1.0, 2.0):
        (x.exp() * factor + x * x).sum().backward()
    return x.grad


def kinds_of_broadcasting(xp):
    made = [
        xp.tensor(2.0, requires_grad=True), leaf(xp, 3.0, dtype=F64), leaf(xp, 1, 2, 3),
        xp.ones(2, 1, dtype=xp.float16, requires_grad=True),
    ]  # fmt: skip
    a, b, c, d = made
    ((a * b + c) / d).sum().backward()
    return [each.grad for each in made]


def complex_numbers(xp):
    x, z = leaf(xp), xp.tensor([1 + 2j, 0.5 - 1j], requires_grad=True)
    (x * z * z).abs().sum().backward()
    return x.grad, z.grad


def grad_of_several(xp):
    x, w = leaf(xp), leaf(xp, 3, 4)
    y = x * w
    return xp.autograd.grad([y.sum(), y * x], [x, w, y], [None, xp.ones(2)])


def grad_materialized(xp):
    x, w = leaf(xp), leaf(xp)
    return xp.autograd.grad((x * 2).sum(), [x, w], materialize_grads=True)


def unused(xp):
    return xp.autograd.grad(leaf(xp).sum(), [leaf(xp)])


def unused_materialized_and_refused(xp):
    x = leaf(xp)
    return xp.autograd.grad(x.sum(), [x], allow_unused=False, materialize_grads=True)


def no_inputs(xp):
    return xp.autograd.grad(leaf(xp).sum(), [])


def empty_backward_inputs(xp):
    return leaf(xp).sum().backward(inputs=[])


def without_gradient(xp):
    return xp.ones(()).backward()


def not_a_scalar(xp):
    return (leaf(xp) * 2).backward()


def complex_scalar(xp):
    return (leaf(xp) * 1j).sum().backward()


def gradient_of_wrong_shape(xp):
    return (leaf(xp) * 2).backward(xp.ones(3))


def second_backward(xp):
    y = leaf(xp).exp().sum()
    y.backward()
    return y.backward()


def third_order(xp):
    x, y = leaf(xp, 0.5, 1.5, dtype=F64), None
    y = x.tanh() * x.exp()
    found = []
    for _ in range(3):
        (y,) = xp.autograd.grad(y.sum(), x, create_graph=True)
        found.append(y.detach())
    return found


def batched(xp):
    x = leaf(xp)
    return xp.autograd.grad(x * x, x, xp.eye(2), is_grads_batched=True)


def hook_of_wrong_type(xp):
    y = leaf(xp) * 2
    y.register_hook(lambda g: 3)
    return y.sum().backward()


def deepcopy_of_a_result(xp):
    import copy

    return copy.deepcopy(leaf(xp) * 2)


def gradient_of_wrong_type(xp):
    leaf(xp).grad = [1.0]


def integers_require_no_gradient(xp):
    return xp.tensor([1]).requires_grad_()


def retained_flag(xp):
    y = leaf(xp) * 2
    before = y.retains_grad
    y.retain_grad()
    return before, y.retains_grad, y.requires_grad, y.is_leaf, y.output_nr


def nan_in_anomaly_mode(xp):
    with xp.autograd.detect_anomaly():
        (leaf(xp, 0.0).sqrt() * 0).sum().backward()


def graph_walk(xp):
    x = leaf(xp)
    node = (((x * 2).exp() + x).view(1, 2).t() @ xp.ones(1, 1)).tanh().mean().grad_fn
    names, waiting = [], [node]
    while waiting:
        node = waiting.pop(0)
        if node is not None:
            names.append(node.name())
            waiting.extend(each for each, _ in node.next_functions)
    return names


def checkpointed(xp):
    call = import_module(f"{xp.__name__}.utils.checkpoint").checkpoint
    x = leaf(xp)
    h = x * x
    y = call(lambda a: (a * h * x).sin(), h, use_reentrant=False)
    (first,) = xp.autograd.grad(y.sum(), x, create_graph=True)
    return first.detach(), xp.autograd.grad(first.sum(), x)


def checkpointed_dropout(xp):
    module = import_module(f"{xp.__name__}.utils.checkpoint")
    xp.manual_seed(0)
    net = xp.nn.Sequential(xp.nn.Linear(3, 8), xp.nn.Dropout(0.5), xp.nn.Linear(8, 2))
    x = xp.rand(5, 3, requires_grad=True)
    (module.checkpoint(net, x, use_reentrant=True) ** 2).sum().backward()
    module.checkpoint_sequential(net, 2, x, use_reentrant=False).sum().backward()
    return x.grad, net[0].weight.grad, xp.rand(2)


def returned_from_hooks(xp):
    x = leaf(xp)
    y = x * 2
    y.grad_fn.register_prehook(lambda g: (g[0] * 10,))
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] + 1, None))
    y.sum().backward()
    return x.grad


CASES = [
    accumulation, kinds_of_broadcasting, complex_numbers, grad_of_several, grad_materialized,
    unused, unused_materialized_and_refused, no_inputs, empty_backward_inputs, without_gradient,
    not_a_scalar, complex_scalar, gradient_of_wrong_shape, second_backward, third_order, batched,
    deepcopy_of_a_result, gradient_of_wrong_type, integers_require_no_gradient, retained_flag,
    nan_in_anomaly_mode, graph_walk, checkpointed, checkpointed_dropout, returned_from_hooks,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_same_outcome(case):
    equal(outcome(case, danlu), outcome(case, torch))


def test_hook_of_wrong_type_raises_the_same_error():
    assert outcome(hook_of_wrong_type, danlu)[0] == outcome(hook_of_wrong_type, torch)[0]


# ---------------------------------------------------------------- functional and func
def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


FUNCTIONAL = {
    "jacobian": lambda f, a, b: f.jacobian(lambda a, b: (a * b.sum(), a.sum()), (a, b)),
    "jacobian of a scalar": lambda f, a, b: f.jacobian(lambda a: a.sum(), a),
    "jacobian joined": lambda f, a, b: f.jacobian(
        lambda a: a**3, a.requires_grad_(), create_graph=True
    ),
    "jacobian strict": lambda f, a, b: f.jacobian(lambda a, b: a * 1, (a, b), strict=True),
    "jacobian strict constant": lambda f, a, b: f.jacobian(
        lambda a: a * 1, a, strict=True, create_graph=True
    ),
    "jacobian of a number": lambda f, a, b: f.jacobian(lambda a: a, 3.0),
    "jacobian forward": lambda f, a, b: f.jacobian(
        lambda a: a.exp(), a, vectorize=True, strategy="forward-mode"
    ),
    "jacobian strategy": lambda f, a, b: f.jacobian(lambda a: a, a, strategy="sideways"),
    "hessian": lambda f, a, b: f.hessian(rosenbrock, a),
    "hessian of two": lambda f, a, b: f.hessian(lambda a, b: (a[:2] * b).prod() + a.sum(), (a, b)),
    "hessian of a vector": lambda f, a, b: f.hessian(lambda a: a, a),
    "hessian strict": lambda f, a, b: f.hessian(lambda a: a.sum(), a, strict=True),
    "vjp": lambda f, a, b: f.vjp(lambda a, b: a * b.sum(), (a, b), a),
    "vjp of a scalar": lambda f, a, b: f.vjp(rosenbrock, a),
    "vjp wrong": lambda f, a, b: f.vjp(lambda a: a * 2, a, b),
    "vjp none": lambda f, a, b: f.vjp(lambda a: a * 2, a),
    "jvp": lambda f, a, b: f.jvp(lambda a, b: (a * b.sum(), a.exp()), (a, b), (a, b)),
    "jvp strict": lambda f, a, b: f.jvp(lambda a, b: a.exp(), (a, b), (a, b), strict=True),
    "jvp wrong": lambda f, a, b: f.jvp(lambda a: a.exp(), a, (a, a)),
    "vhp": lambda f, a, b: f.vhp(rosenbrock, a, a),
    "hvp": lambda f, a, b: f.hvp(rosenbrock, a, a),
    "hvp of two": lambda f, a, b: f.hvp(lambda a, b: (a[:2] * b).prod(), (a, b), (a, b)),
    "vhp strict": lambda f, a, b: f.vhp(lambda a: a.sum(), a, a, strict=True),
    "vhp of a vector": lambda f, a, b: f.vhp(lambda a: a, a, a),
}
FUNC = {
    "grad": lambda f, a, b: f.grad(rosenbrock)(a),
    "grad twice": lambda f, a, b: f.grad(f.grad(lambda x: x**3))(a[1]),
    "grad of two": lambda f, a, b: f.grad(lambda a, b: (a[:2] * b).sum(), argnums=(0, 1))(a, b),
    "grad of a tree": lambda f, a, b: f.grad(lambda d: (d["a"] ** 2).sum())({"a": a, "b": b}),
    "grad with aux": lambda f, a, b: f.grad_and_value(lambda a: (a.sum(), a * 3), has_aux=True)(a),
    "grad of a vector": lambda f, a, b: f.grad(lambda a: a * 2)(a),
    "grad argnums": lambda f, a, b: f.grad(rosenbrock, argnums=2)(a),
    "vjp": lambda f, a, b: f.vjp(lambda a, b: (a * b.sum(), b), a, b)[1]((a, b)),
    "vjp wrong": lambda f, a, b: f.vjp(lambda a: (a, a), a)[1](a),
    "jvp": lambda f, a, b: f.jvp(lambda a, b: a * b.sum(), (a, b), (a, b)),
    "jvp wrong": lambda f, a, b: f.jvp(lambda a: a, a, (a,)),
    "jacrev": lambda f, a, b: f.jacrev(lambda a, b: {"p": a * b.sum()}, argnums=(0, 1))(a, b),
    "jacfwd": lambda f, a, b: f.jacfwd(lambda a: (a * a, a.sum()))(a),
    "hessian": lambda f, a, b: f.hessian(rosenbrock)(a),
    "vmap": lambda f, a, b: f.vmap(lambda x, y: (x * y, x.sum()))(b.view(2, 1), b.view(2, 1)),
    "vmap dims": lambda f, a, b: f.vmap(lambda x: x * 2, in_dims=1, out_dims=1)(a.view(1, 3)),
    "vmap grad": lambda f, a, b: f.vmap(f.grad(rosenbrock))(a.expand(2, 3)),
    "vmap sizes": lambda f, a, b: f.vmap(lambda x, y: x)(a, b),
    "vmap of a number": lambda f, a, b: f.vmap(lambda x: x)(3),
    "vmap dim": lambda f, a, b: f.vmap(lambda x: x, in_dims=3)(a),
    "vmap in_dims": lambda f, a, b: f.vmap(lambda x: x, in_dims=None)(a),
    "vmap to a number": lambda f, a, b: f.vmap(lambda x: 3)(a),
}


def space(xp, name):
    return xp.func if name == "func" else xp.autograd.functional


@pytest.mark.parametrize(
    ("where", "name"),
    [("functional", name) for name in FUNCTIONAL] + [("func", name) for name in FUNC],
)
def test_derivatives_as_functions(where, name):
    program = (FUNC if where == "func" else FUNCTIONAL)[name]

    def case(xp):
        a = xp.tensor([1.0, 2.0, -0.5], dtype=xp.float64)
        return program(space(xp, where), a, xp.tensor([3.0, 4.0], dtype=xp.float64))

    equal(outcome(case, danlu), outcome(case, torch))


def test_derivatives_stay_joined_to_the_outside():
    def case(xp):
        a, w = xp.tensor([1.0, 2.0]), leaf(xp, 3, 4)
        joined = xp.func.grad(lambda x: (x * x * w).sum())(a)
        joined.sum().backward()
        return w.grad, joined, xp.func.grad(rosenbrock)(w)

    equal(outcome(case, danlu), outcome(case, torch))


# ---------------------------------------------------------------- gradcheck
GRADCHECKS = {
    "right": lambda xp, x: xp.autograd.gradcheck(lambda x: (x.exp() * x, x.sum()), x),
    "second": lambda xp, x: xp.autograd.gradgradcheck(lambda x: x.sin() * x, x),
    "fast": lambda xp, x: xp.autograd.gradcheck(lambda x: x.exp(), x, fast_mode=True),
    "wrong": lambda xp, x: xp.autograd.gradcheck(lambda x: x + (x * x).detach(), x),
    "wrong, quiet": lambda xp, x: xp.autograd.gradcheck(
        lambda x: x + (x * x).detach(), x, raise_exception=False
    ),
    "no gradient": lambda xp, x: xp.autograd.gradcheck(lambda x: x, x.detach()),
    "expanded": lambda xp, x: xp.autograd.gradcheck(
        lambda x: x * 1, x.detach().expand(2, 2).requires_grad_()
    ),
    "constant": lambda xp, x: xp.autograd.gradcheck(lambda x: x.detach() * 2, x),
}


@pytest.mark.parametrize("name", GRADCHECKS)
def test_gradcheck(name):
    def case(xp):
        return GRADCHECKS[name](xp, leaf(xp, 0.5, 1.5, dtype=F64))

    equal(outcome(case, danlu), outcome(case, torch))
