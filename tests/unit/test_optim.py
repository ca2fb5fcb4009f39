"""Optimizers: groups, state, hooks, and joint updates that must not show."""

import copy
import pickle

import numpy as np
import pytest

import danlu
from danlu.optim._formula import JOINT_SIZE

ALL = [
    name for name in danlu.optim.__all__
    if name not in ("Optimizer", "LBFGS", "SparseAdam", "Muon", "lr_scheduler", "swa_utils")
]  # fmt: skip


def parameters(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [
        danlu.nn.Parameter(danlu.from_numpy(np.array(rng.standard_normal(s), dtype=np.float32)))
        for s in shapes
    ]


def with_gradients(params, seed=1):
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = danlu.from_numpy(np.array(rng.standard_normal(tuple(p.shape)), dtype=np.float32))
    return params


@pytest.mark.parametrize("name", ALL)
def test_parameters_updated_together_end_where_they_end_alone(name):
    shapes = [(4, 3), (3,), (), (1, 2)]
    joint, alone = parameters(*shapes), parameters(*shapes)
    kwargs = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    together = getattr(danlu.optim, name)(joint, **kwargs)
    each = [getattr(danlu.optim, name)([p], **kwargs) for p in alone]
    for step in range(5):
        with_gradients(joint, step)
        with_gradients(alone, step)
        together.step()
        for optimizer in each:
            optimizer.step()
    for a, b in zip(joint, alone):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_large_and_transposed_parameters_are_updated_in_place():
    base = np.zeros((JOINT_SIZE, 2), np.float32)
    large = danlu.nn.Parameter(danlu.from_numpy(base))
    turned = danlu.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3)).t().requires_grad_()
    small = danlu.nn.Parameter(danlu.zeros(2))
    expected = turned.detach().numpy() - 0.1
    optimizer = danlu.optim.Adam([large, turned, small], lr=0.1)
    for p in (large, turned, small):
        p.grad = danlu.ones(*p.shape)
    optimizer.step()
    assert np.allclose(base, -0.1)
    assert np.allclose(turned.detach().numpy(), expected)


def test_parameters_that_share_memory_are_updated_in_turn():
    base = danlu.ones(3)
    whole, part = base[:], base[:2]
    whole.requires_grad_()
    part.requires_grad_()
    optimizer = danlu.optim.SGD([whole, part], lr=0.1, momentum=0.9)
    whole.grad, part.grad = danlu.ones(3), danlu.ones(2)
    optimizer.step()
    assert base.tolist() == pytest.approx([0.8, 0.8, 0.9])


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_a_parameter_given_twice_is_updated_twice():
    (p,) = parameters((2,))
    before = p.detach().clone()
    optimizer = danlu.optim.Adam([p, p], lr=0.1)
    p.grad = danlu.ones(2)
    optimizer.step()
    assert optimizer.state[p]["step"].item() == 2
    assert danlu.allclose(p.detach(), before - 0.2, atol=1e-3)


def test_the_gradient_stays_as_it_is():
    for kwargs in (
        {"weight_decay": 0.1},
        {"maximize": True},
        {"weight_decay": 0.1, "maximize": True},
    ):
        for shapes in ([(3,)], [(3,), (2,)]):
            params = with_gradients(parameters(*shapes))
            before = [p.grad.clone() for p in params]
            for name in ALL:
                getattr(danlu.optim, name)(
                    params,
                    **{k: v for k, v in kwargs.items() if not (name == "Rprop" and k[0] == "w")},
                ).step()
            for p, grad in zip(params, before):
                assert danlu.equal(p.grad, grad)


def test_a_step_is_seen_by_the_version_check():
    (p,) = parameters((2,))
    for optimizer in (danlu.optim.SGD([p], lr=0.1), danlu.optim.Adam([p])):
        loss = (p * p).sum()
        p.grad = danlu.ones(2)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_replaced_state_and_replaced_memory_are_noticed():
    params = parameters((3,), (2,))
    optimizer = danlu.optim.Adam(params, lr=0.1)
    with_gradients(params)
    optimizer.step()
    optimizer.state[params[0]]["exp_avg"] = danlu.zeros(3)
    params[1].data = danlu.zeros(2)
    optimizer.step()
    assert optimizer.state[params[0]]["exp_avg"].abs().sum() > 0
    assert params[1].detach().abs().sum() > 0
    optimizer.state.clear()
    optimizer.step()
    assert [optimizer.state[p]["step"].item() for p in params] == [1.0, 1.0]


def test_state_counts_apart_for_parameters_without_gradients():
    first, second = params = with_gradients(parameters((3,), (2,)))
    optimizer = danlu.optim.Adam(params)
    optimizer.step()
    second.grad = None
    optimizer.step()
    with_gradients(params)
    optimizer.step()
    assert optimizer.state[first]["step"].item() == 3
    assert optimizer.state[second]["step"].item() == 2


def test_loaded_state_is_a_copy():
    params = with_gradients(parameters((3,), (2,)))
    optimizer = danlu.optim.Adam(params)
    optimizer.step()
    other = danlu.optim.Adam(with_gradients(parameters((3,), (2,))))
    other.load_state_dict(optimizer.state_dict())
    before = optimizer.state[params[0]]["exp_avg"].clone()
    other.step()
    assert danlu.equal(optimizer.state[params[0]]["exp_avg"], before)


def test_pickle_and_deepcopy_keep_going():
    params = with_gradients(parameters((3,), (2,)))
    optimizer = danlu.optim.Adam(params, lr=0.1)
    optimizer.step()
    copied_params, copied = copy.deepcopy((params, optimizer))
    pickled_params, pickled = pickle.loads(pickle.dumps((params, optimizer)))
    with_gradients(params, 3)
    optimizer.step()
    for others, other in ((copied_params, copied), (pickled_params, pickled)):
        with_gradients(others, 3)
        other.step()
        for a, b in zip(params, others):
            assert danlu.equal(a.detach(), b.detach())


def test_zero_grad():
    (p,) = with_gradients(parameters((2,)))
    grad = p.grad
    optimizer = danlu.optim.SGD([p], lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is grad and grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_hooks_run_in_order_and_may_replace_arguments():
    (p,) = with_gradients(parameters((2,)))
    optimizer = danlu.optim.SGD([p], lr=0.1)
    calls = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("pre"))
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post"))
    everywhere = danlu.optim.optimizer.register_optimizer_step_pre_hook(
        lambda o, args, kwargs: calls.append("global")
    )
    optimizer.step()
    everywhere.remove()
    handle.remove()
    optimizer.step()
    assert calls == ["global", "pre", "post", "pre"]
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        optimizer.step()


def test_state_dict_hooks():
    (p,) = with_gradients(parameters((2,)))
    optimizer = danlu.optim.SGD([p], lr=0.1)
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "note": 1})
    assert optimizer.state_dict()["note"] == 1
    loaded = []
    optimizer.register_load_state_dict_pre_hook(lambda o, state: loaded.append("pre"))
    optimizer.register_load_state_dict_post_hook(lambda o: loaded.append("post"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert loaded == ["pre", "post"]


def test_step_returns_the_loss_of_the_closure_with_gradients_recorded():
    (p,) = parameters((2,))
    optimizer = danlu.optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with danlu.no_grad():
        loss = optimizer.step(closure)
    assert loss.requires_grad and p.grad is not None


def test_an_own_optimizer_without_step_says_so():
    class Own(danlu.optim.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Own does not define step"):
        Own(parameters((2,)), {}).step()


def test_required_options():
    from danlu.optim.optimizer import required

    with pytest.raises(ValueError, match="required optimization parameter lr"):
        danlu.optim.Optimizer(parameters((2,)), {"lr": required})


def test_tensor_learning_rates():
    (p,), (q,) = with_gradients(parameters((2,))), with_gradients(parameters((2,)))
    danlu.optim.Adam([p], lr=danlu.tensor(0.5)).step()
    danlu.optim.Adam([q], lr=0.5).step()
    assert danlu.equal(p.detach(), q.detach())
    with pytest.raises(ValueError, match="1-element"):
        danlu.optim.Adam([p], lr=danlu.tensor([0.1, 0.2]))


def test_differentiable_refuses_gradients_with_a_history():
    (p,) = parameters((2,))
    optimizer = danlu.optim.SGD([p], lr=0.1, differentiable=True)
    (p**3).sum().backward(create_graph=True)
    with pytest.raises(RuntimeError, match="its step is not recorded"):
        optimizer.step()


class Rows:
    """As much of a sparse gradient as SparseAdam needs."""

    is_sparse = True

    def __init__(self, rows, values):
        self.rows, self.data = danlu.tensor([rows]), danlu.tensor(values)

    def coalesce(self):
        return self

    def indices(self):
        return self.rows

    def values(self):
        return self.data


def test_sparse_adam_touches_only_named_rows(monkeypatch):
    (table,) = parameters((4, 2))
    before = table.detach().clone()
    optimizer = danlu.optim.SparseAdam([table], lr=0.1)
    optimizer._update(optimizer.param_groups[0], table, Rows([2, 0], [[1.0, -2.0], [3.0, 4.0]]))
    change = (table.detach() - before).numpy()
    assert np.allclose(change, [[-0.1, -0.1], [0, 0], [-0.1, 0.1], [0, 0]], atol=1e-6)
    assert optimizer.state[table]["exp_avg"][1].tolist() == [0.0, 0.0]


def test_lbfgs_finds_the_minimum_of_rosenbrock():
    w = danlu.tensor([-1.2, 1.0], dtype=danlu.float64, requires_grad=True)
    optimizer = danlu.optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    assert np.allclose(w.detach().numpy(), [1, 1], atol=1e-3)
    with pytest.raises(RuntimeError, match="strong_wolfe"):
        danlu.optim.LBFGS([w], line_search_fn="armijo").step(closure)
