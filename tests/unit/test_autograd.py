"""The tape: backward, grad, hooks, modes and leaves."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest

import danlu
from danlu.autograd import graph

FREED = "backward through the graph a second time"


def leaf(*values, dtype=None):
    return danlu.tensor(list(values), dtype=dtype or danlu.float32, requires_grad=True)


def same(tensor, expected):
    np.testing.assert_allclose(tensor.detach().numpy(), expected, rtol=1e-6)


# ---------------------------------------------------------------- backward
def test_gradients_accumulate_over_passes_into_the_same_tensor():
    x = leaf(1, 2)
    (x * 3).sum().backward()
    kept = x.grad
    (x * 4).sum().backward()
    assert x.grad is kept
    same(x.grad, [7, 7])


def test_gradients_of_all_uses_of_a_leaf_are_summed():
    x = leaf(1, 2)
    (x * x + x * 3 + x).sum().backward()
    same(x.grad, [6, 8])


def test_retain_graph_allows_a_second_pass():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    same(x.grad, [4, 8])


def test_a_freed_graph_says_so():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=FREED):
        y.backward()


def test_a_graph_that_saves_nothing_can_be_used_again():
    x = leaf(1, 2)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    same(x.grad, [2, 2])


def test_only_real_scalars_start_a_backward_pass_alone():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="only for real scalar outputs"):
        (x * 1j).sum().backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(danlu.ones(3))
    with pytest.raises(RuntimeError, match="does not require grad"):
        danlu.ones(()).backward()
    (x * 2).backward(danlu.tensor([1.0, 10.0]))
    same(x.grad, [2, 20])


def test_backward_from_a_leaf():
    x = leaf(1, 2)
    x.backward(danlu.ones(2))
    same(x.grad, [1, 1])


def test_a_leaf_frozen_after_the_forward_pass_gets_no_gradient():
    x, w = leaf(1, 2), leaf(3, 4)
    y = (x * w).sum()
    w.requires_grad_(False)
    y.backward()
    same(x.grad, [3, 4])
    assert w.grad is None


def test_backward_into_chosen_inputs():
    x, w = leaf(1, 2), leaf(3, 4)
    (x * w).sum().backward(inputs=[x])
    same(x.grad, [3, 4])
    assert w.grad is None
    y = x * 2
    (y * y).sum().backward(inputs=y)
    same(y.grad, [4, 8])
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * 2).sum().backward(inputs=[])


def test_create_graph_to_the_fourth_order():
    x = danlu.tensor(2.0, requires_grad=True)
    y, found = x**4, []
    for _ in range(4):
        (y,) = danlu.autograd.grad(y, x, create_graph=True)
        found.append(y.item())
    assert found == [32, 48, 48, 24]


# ---------------------------------------------------------------- grad
def test_grad_of_several_outputs_and_inputs():
    x = leaf(1, 2)
    y = x * 2
    z = y * x
    dx, dy = danlu.autograd.grad([y.sum(), z], [x, y], [None, danlu.ones(2)])
    same(dx, [6, 10])
    same(dy, [2, 3])
    assert x.grad is None


def test_grad_of_unused_inputs():
    x, unused = leaf(1, 2), leaf(3, 4)

    def y():
        return (x * 2).sum()

    with pytest.raises(RuntimeError, match="index 1 appears to not have been used"):
        danlu.autograd.grad(y(), [x, unused])
    assert danlu.autograd.grad(y(), [x, unused], allow_unused=True)[1] is None
    same(danlu.autograd.grad(y(), [x, unused], materialize_grads=True)[1], [0, 0])
    with pytest.raises(ValueError, match="Expected allow_unused to be True"):
        danlu.autograd.grad(y(), [unused], allow_unused=False, materialize_grads=True)


def test_grad_refuses_inputs_without_gradient_and_no_inputs():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="does not require grad"):
        danlu.autograd.grad((x * 2).sum(), danlu.ones(2))
    with pytest.raises(RuntimeError, match="cannot be empty"):
        danlu.autograd.grad((x * 2).sum(), [])


def test_grad_of_a_batch_of_vectors():
    x = leaf(1, 2)
    (rows,) = danlu.autograd.grad(x * x, x, danlu.eye(2), is_grads_batched=True)
    same(rows, [[2, 0], [0, 4]])


@pytest.mark.parametrize("parts", [1, 3])
def test_gradient_through_iteration(parts):
    x = danlu.arange(float(parts)).requires_grad_()
    sum(each * (i + 2) for i, each in enumerate(x)).backward()
    same(x.grad, [i + 2 for i in range(parts)])


def test_broadcasting_and_promotion_are_undone():
    scalar = danlu.tensor(2.0, requires_grad=True)
    column = danlu.ones(3, 1, dtype=danlu.float64, requires_grad=True)
    row = danlu.ones(1, 4, requires_grad=True)
    one = danlu.ones(1, dtype=danlu.float16, requires_grad=True)
    (scalar * column + row * one).sum().backward()
    assert [each.grad.shape for each in (scalar, column, row, one)] == [(), (3, 1), (1, 4), (1,)]
    assert [each.grad.dtype for each in (scalar, column, row, one)] == [
        danlu.float32, danlu.float64, danlu.float32, danlu.float16,
    ]  # fmt: skip
    assert (scalar.grad.item(), one.grad.item()) == (12, 12)
    same(column.grad, np.full((3, 1), 8.0))
    same(row.grad, np.full((1, 4), 3.0))


# ---------------------------------------------------------------- hooks
def test_order_of_all_hooks():
    x, seen = leaf(1, 2), []

    def note(name, result=lambda *_: None):
        return lambda *given: (seen.append(name), result(*given))[1]

    x.register_hook(note("leaf"))
    x.register_post_accumulate_grad_hook(note("accumulated"))
    y = x * 2
    y.register_hook(note("first"))
    y.retain_grad()
    y.register_hook(note("second", lambda g: g * 3))
    y.grad_fn.register_prehook(note("before node"))
    y.grad_fn.register_hook(note("after node"))
    y.sum().backward()
    assert seen == ["first", "second", "before node", "after node", "leaf", "accumulated"]
    same(y.grad, [3, 3])
    same(x.grad, [6, 6])


def test_hooks_run_in_order_and_can_be_removed():
    x = leaf(1)
    handle = x.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: g + 1)
    (x * 1).backward()
    same(x.grad, [3])
    handle.remove()
    handle.remove()
    x.grad = None
    (x * 1).backward()
    same(x.grad, [2])
    with x.register_hook(lambda g: g * 0):
        pass
    (x * 1).backward()
    same(x.grad, [4])


def test_a_hook_sees_the_sum_over_all_uses():
    x, seen = leaf(1, 2), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [[5, 5]]


def test_hooks_with_bad_results_or_on_tensors_without_gradient():
    x = leaf(1, 2)
    for result, error in ((3, TypeError), (danlu.ones(1), RuntimeError)):
        y = x * 2
        y.register_hook(lambda g, result=result: result)
        with pytest.raises(error, match="hook"):
            y.sum().backward()
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        danlu.ones(2).register_hook(print)
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="retain_grad"):
        danlu.ones(2).retain_grad()


def test_node_hooks_replace_gradients():
    x = leaf(1, 2)
    y = x * 2
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 10,))
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] + 1, None))
    y.sum().backward()
    same(x.grad, [21, 21])


def test_hooks_under_create_graph_are_differentiated():
    x = danlu.tensor(3.0, requires_grad=True)
    y = x * x
    y.register_hook(lambda g: g * x)
    (first,) = danlu.autograd.grad(y, x, create_graph=True)
    (second,) = danlu.autograd.grad(first, x)
    assert (first.item(), second.item()) == (18, 12)


def test_post_accumulate_hook_may_clear_the_gradient():
    x = leaf(1, 2)
    x.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
    (x * 2).sum().backward()
    assert x.grad is None


def test_retain_grad_and_the_warning_without_it():
    x = leaf(1, 2)
    y = x * 2
    with pytest.warns(UserWarning, match="not a leaf"):
        assert y.grad is None
    y.retain_grad()
    assert y.retains_grad and not x.retains_grad
    (y * 3).sum().backward()
    same(y.grad, [3, 3])


def test_multi_grad_hook_of_all_and_of_any():
    a, b, seen = leaf(1, 2), leaf(3, 4), []
    handle = graph.register_multi_grad_hook(
        [a, b], lambda found: seen.append([each is not None for each in found])
    )
    (a * b).sum().backward()
    (b * 2).sum().backward()
    assert seen == [[True, True], [False, True]]
    handle.remove()
    (a * b).sum().backward()
    assert len(seen) == 2
    graph.register_multi_grad_hook([a, b], lambda g: seen.append("any"), mode="any")
    (a * b).sum().backward()
    (a * 2).sum().backward()
    assert seen[2:] == ["any", "any"]
    with pytest.raises(ValueError, match="mode"):
        graph.register_multi_grad_hook([a], print, mode="some")


# ---------------------------------------------------------------- the graph as seen
def test_walking_the_graph():
    x = leaf(1, 2)
    node, names = ((x * 2).exp() + x).sum().grad_fn, []
    while node is not None:
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    assert names == [
        "SumBackward0", "AddBackward0", "ExpBackward0", "MulBackward0",
        "torch::autograd::AccumulateGrad",
    ]  # fmt: skip


def test_next_functions_hold_leaves_and_gaps():
    x = leaf(1, 2)
    node = (x * danlu.ones(2)).grad_fn
    (first, number), gap = node.next_functions
    assert first.variable is x and number == 0 and gap == (None, 0)
    assert repr(node).startswith("<MulBackward0 object at 0x")
    node.metadata["note"] = 1
    assert node.metadata == {"note": 1}


def test_gradient_edges_and_versions():
    x = leaf(1, 2)
    y = x * x
    assert graph.get_gradient_edge(y).node is y.grad_fn
    assert graph.get_gradient_edge(x).node.variable is x
    with pytest.raises(RuntimeError, match="gradient edge"):
        graph.get_gradient_edge(danlu.ones(1))
    w = danlu.ones(2)
    z = (x * w).sum()
    graph.increment_version([w])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


# ---------------------------------------------------------------- modes
def test_modes_nest_and_come_back_after_exceptions():
    with danlu.no_grad():
        assert not danlu.is_grad_enabled()
        with danlu.enable_grad():
            assert (leaf(1) * 2).requires_grad
        with pytest.raises(KeyError), danlu.set_grad_enabled(True):
            raise KeyError
        assert not (leaf(1) * 2).requires_grad
    assert danlu.is_grad_enabled()
    danlu.set_grad_enabled(False)
    assert not danlu.is_grad_enabled()
    danlu.set_grad_enabled(True)
    with danlu.inference_mode():
        assert danlu.is_inference_mode_enabled() and not danlu.is_grad_enabled()
        with danlu.inference_mode(False):
            assert danlu.is_grad_enabled()
    assert danlu.is_grad_enabled() and not danlu.is_inference_mode_enabled()


@pytest.mark.parametrize(
    "decorator",
    [
        lambda: danlu.no_grad, danlu.no_grad, lambda: danlu.set_grad_enabled(False),
        danlu.inference_mode,
    ],
)  # fmt: skip
def test_modes_decorate_functions(decorator):
    @decorator()
    def enabled(value):
        """Says."""
        return danlu.is_grad_enabled(), value

    assert danlu.is_grad_enabled()
    assert enabled(value=3) == (False, 3)
    assert danlu.is_grad_enabled()
    assert (enabled.__name__, enabled.__doc__) == ("enabled", "Says.")


def test_modes_decorate_generators_and_classes():
    @danlu.no_grad()
    def steps():
        sent = yield danlu.is_grad_enabled()
        yield danlu.is_grad_enabled(), sent

    running = steps()
    assert next(running) is False
    assert danlu.is_grad_enabled()
    assert running.send(5) == (False, 5)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @danlu.no_grad()
        class Model:
            def __init__(self):
                self.enabled = danlu.is_grad_enabled()

    assert Model().enabled is False


def test_modes_are_local_to_the_thread():
    seen = []
    with danlu.no_grad():
        thread = threading.Thread(target=lambda: seen.append(danlu.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_numpy_of_a_leaf_under_no_grad():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="detach"):
        x.numpy()
    with danlu.no_grad():
        assert x.numpy().tolist() == [1, 2]


def test_anomaly_mode_shows_where_the_forward_call_was():
    x = leaf(0)
    with danlu.autograd.detect_anomaly():
        y = x.sqrt() * 0  # the marked line
        with pytest.raises(RuntimeError, match="SqrtBackward0.*nan") as caught:
            y.sum().backward()
    assert "the marked line" in str(caught.value)
    (x.sqrt() * 0).sum().backward()
    assert np.isnan(x.grad.item())


# ---------------------------------------------------------------- leaves as objects
def test_assigned_gradients_are_checked():
    x = leaf(1, 2)
    for wrong, error in (
        (danlu.ones(3), RuntimeError), (danlu.ones(2, dtype=danlu.float64), RuntimeError),
        ([1.0, 2.0], TypeError), (x, RuntimeError),
    ):  # fmt: skip
        with pytest.raises(error):
            x.grad = wrong
    x.grad = danlu.ones(2)
    (x * 2).sum().backward()
    same(x.grad, [3, 3])
    x.grad = None
    del x.grad
    assert x.grad is None


def test_requires_grad_can_be_set_on_float_leaves_only():
    with pytest.raises(RuntimeError, match="floating point"):
        danlu.tensor([1]).requires_grad_()
    y = leaf(1) * 2
    y.requires_grad_()
    with pytest.raises(RuntimeError, match="leaf variables"):
        y.requires_grad = False
    assert not leaf(1).requires_grad_(False).requires_grad


def test_copies_of_leaves_and_results():
    x = leaf(1, 2)
    x.grad = danlu.ones(2)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad and twin.is_leaf and twin is not x
        same(twin, [1, 2])
    same(copy.deepcopy(x).grad, [1, 1])
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(x * 2)


def test_assigning_data_replaces_the_memory():
    x = leaf(1, 2)
    x.data = danlu.ones(3)
    assert x.requires_grad and x.shape == (3,)
    (x * 2).sum().backward()
    same(x.grad, [2, 2, 2])
