"""Operators on arrays that record: bodies, rules, views and writes against the plain run."""

from __future__ import annotations

import threading
from time import perf_counter

import numpy as np
import pytest

import danlu as torch
import danlu.nn.functional as F
from danlu.compiler.operators import operators_on_traced
from danlu.kernels.graph.nodes import ShapeByValue, Unsupported
from danlu.ops import quick, registry
from danlu.ops.registry import Array
from tests.unit.recorded import Recording


def tensor(*shape, grad=False, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed + sum(shape))
    made = torch.from_numpy(rng.standard_normal(shape).astype(dtype))
    return made.requires_grad_(grad)


def values(found) -> list:
    return [None if each is None else np.array(each.detach()._array) for each in found]


def same(function, *tensors, externs=None, launched=False):
    """The graph of a function gives what the function gives, and writes what it writes."""
    start = [each._array.copy() for each in tensors]
    expected = values(function(*tensors))
    after = [each._array.copy() for each in tensors]
    for each, array in zip(tensors, start):
        each._array[...] = array
    recording = Recording(function, tensors)
    ways = [recording.evaluated]
    if launched:
        pytest.importorskip("llvmlite")
        ways.append(recording.planned())
    for way in ways:
        for each, array in zip(tensors, start):
            each._array[...] = array
        for one, other in zip(expected, way(), strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                assert (one.shape, one.dtype) == (other.shape, other.dtype)
                np.testing.assert_allclose(other, one, rtol=2e-5, atol=2e-5)
        for each, array in zip(tensors, after):
            np.testing.assert_allclose(each._array, array, rtol=2e-5, atol=2e-5)
    if externs is not None:
        assert [call.name for call in recording.graph.externs] == externs
    return recording


def gradients(function):
    """The function's result as a sum with weights, and the gradients of its tensors."""

    def call(*tensors):
        result = function(*tensors)
        weights = torch.arange(result.numel(), dtype=result.dtype).sin().reshape(result.shape)
        leaves = [each for each in tensors if each.requires_grad]
        return [result, *torch.autograd.grad((result * weights).sum(), leaves)]

    return call


# ---------------------------------------------------------------- the context
def bodies():
    """What the users of every operator run, seen through `on`."""
    return [op.call.on.__closure__ for op in registry.OPERATORS]


def test_bodies_are_put_back():
    x = tensor(4, grad=True)
    (x * 2).exp().sum().backward()  # the machine code of ops/quick.py is in place
    before = [[cell.cell_contents for cell in each] for each in bodies()]
    with operators_on_traced():
        inside = [[cell.cell_contents for cell in each] for each in bodies()]
        with operators_on_traced():
            pass
        assert inside == [[cell.cell_contents for cell in each] for each in bodies()]
    assert inside != before
    assert before == [[cell.cell_contents for cell in each] for each in bodies()]
    if quick.bodies:
        assert any(each in quick.bodies.values() for cells in before for each in cells)


def test_bodies_are_put_back_after_an_error():
    with pytest.raises(RuntimeError, match="mat1 and mat2|must match"):
        Recording(lambda x, y: [x + y], [tensor(3), tensor(4)])
    assert torch.equal(tensor(3) * 2, tensor(3) + tensor(3))


def test_swapping_is_quick():
    with operators_on_traced():
        pass

    def once():
        start = perf_counter()
        with operators_on_traced():
            pass
        return perf_counter() - start

    assert min(once() for _ in range(20)) < 2e-3


def test_other_threads_compute_meanwhile():
    found, entered, done = [], threading.Event(), threading.Event()

    def train():
        entered.wait(10)
        weight = torch.ones(3, requires_grad=True)
        ((weight * 2).tanh() + weight.cumsum(0)).sum().backward()
        found.append(weight.grad)
        done.set()

    thread = threading.Thread(target=train)
    thread.start()
    with operators_on_traced():
        entered.set()
        assert done.wait(10)
    thread.join()
    weight = torch.ones(3, requires_grad=True)
    ((weight * 2).tanh() + weight.cumsum(0)).sum().backward()
    assert torch.allclose(found[0], weight.grad)


def test_modules_loaded_in_a_trace_are_covered():
    with operators_on_traced():

        @registry.operator(method=False)
        def doubled_by_memory(input: Array):
            return np.frombuffer(input.tobytes(), input.dtype).reshape(input.shape) * 2

    try:
        same(lambda x: [doubled_by_memory(x)], tensor(3), externs=["doubled_by_memory"])
    finally:
        registry.OPERATORS.remove(doubled_by_memory.op)
        del registry.REGISTRY["doubled_by_memory"]


# ---------------------------------------------------------------- bodies and rules
@pytest.mark.parametrize("function", [
    lambda x: x.softmax(1), lambda x: x.log_softmax(0), lambda x: F.gelu(x), lambda x: F.silu(x),
    lambda x: x.var(1), lambda x: x.std(), lambda x: x.logsumexp(1), lambda x: x.norm(),
    lambda x: x.clamp(-0.5, 0.5), lambda x: torch.where(x > 0, x, x * 0.1),
    lambda x: F.layer_norm(x, (4,)), lambda x: x.amax(1), lambda x: x.max(1).values,
    lambda x: x[1:, ::2], lambda x: x.t() @ x, lambda x: torch.einsum("ij,kj->ik", x, x),
    lambda x: torch.cat([x, x * 2], 1), lambda x: torch.stack([x, x.exp()]),
    lambda x: x.unsqueeze(1).expand(3, 2, 4), lambda x: F.pad(x, (1, 2)), lambda x: x.prod(1),
], ids=range(21))  # fmt: skip
def test_operators_inside_the_loops(function):
    recording = same(gradients(function), tensor(3, 4, grad=True), launched=True)
    assert len(recording.graph.externs) <= 4


@pytest.mark.parametrize("function", [
    lambda x: x.cumsum(1), lambda x: x.sort(1).values, lambda x: x.topk(2, 1).values,
    lambda x: F.conv2d(x.reshape(1, 1, 3, 4), torch.ones(2, 1, 2, 2)),
    lambda x: F.conv_transpose1d(x.reshape(1, 3, 4), torch.ones(3, 2, 2), stride=2),
    lambda x: F.max_pool1d(x[None], 2), lambda x: F.avg_pool2d(x[None], 2, 1),
    lambda x: F.adaptive_avg_pool1d(x[None], 3), lambda x: F.interpolate(x[None], scale_factor=2),
    lambda x: F.interpolate(x[None, None], size=(5, 6), mode="bilinear"),
    lambda x: F.group_norm(x[None], 3), lambda x: F.instance_norm(x[None]),
    lambda x: F.batch_norm(x, None, None, training=True), lambda x: x.tril() @ x.t(),
    lambda x: torch.linalg.inv(x @ x.t() + torch.eye(3)), lambda x: torch.bmm(x[None], x.t()[None]),
    lambda x: F.unfold(x[None, None], 2), lambda x: F.scaled_dot_product_attention(x, x, x),
    lambda x: x.median(1).values, lambda x: x.flip(0).roll(1, 1), lambda x: torch.cdist(x, x + 1),
    lambda x: x.gather(1, torch.tensor([[0, 2], [1, 1], [3, 0]])),
    lambda x: x.index_add(0, torch.tensor([0, 0]), torch.ones(2, 4)),
    lambda x: x[torch.tensor([2, 0, 2])], lambda x: x[:, torch.tensor([1, 1])].exp(),
    lambda x: x.scatter(1, torch.tensor([[1], [2], [0]]), 0.5), lambda x: x.erf() + x.lgamma(),
    lambda x: torch.fft.rfft(x).abs(),
    lambda x: F.grid_sample(
        x[None, None], x[None, :, :, None].expand(1, 3, 4, 2), align_corners=False
    ),
], ids=range(29))  # fmt: skip
def test_operators_between_the_loops(function):
    same(gradients(function), tensor(3, 4, grad=True), launched=True)


@pytest.mark.parametrize("loss", [
    lambda x, t: F.cross_entropy(x, t), lambda x, t: F.cross_entropy(x, t, ignore_index=1),
    lambda x, t: F.cross_entropy(x, t, torch.arange(1, 5).float(), reduction="none"),
    lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), lambda x, t: F.nll_loss(x, t),
    lambda x, t: F.multi_margin_loss(x, t), lambda x, t: (F.one_hot(t, 4) * x).sum(),
], ids=range(7))  # fmt: skip
@pytest.mark.parametrize("target", [[0, 3, 2], [1, 1, 0]])
def test_losses_over_classes(loss, target):
    same(
        lambda x, t: gradients(lambda x: loss(x, t))(x),
        tensor(3, 4, grad=True), torch.tensor(target), launched=True,
    )  # fmt: skip


def test_ignored_targets_may_come_later():
    x, target = tensor(3, 4, grad=True), torch.tensor([0, 1, 2])
    function = lambda x, t: gradients(lambda x: F.cross_entropy(x, t))(x)  # noqa: E731
    recording = Recording(function, [x, target])
    target[1] = -100
    for one, other in zip(values(function(x, target)), recording.evaluated()):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("function", "wrong", "error"), [
    (lambda x, i: F.cross_entropy(x, i), 4, IndexError),
    (lambda x, i: F.embedding(i, x), 7, IndexError),
    (lambda x, i: F.embedding(i, x), -1, IndexError),
    (lambda x, i: x.gather(1, i[:, None]), 4, RuntimeError),
    (lambda x, i: x.index_select(0, i), -1, IndexError),
    (lambda x, i: x[i], 3, IndexError),
    (lambda x, i: x.take(i), 12, IndexError),
    (lambda x, i: x.scatter(1, i[:, None], 1.0), 9, RuntimeError),
], ids=range(8))  # fmt: skip
def test_wrong_positions_raise_at_run_time(function, wrong, error):
    x, index = tensor(3, 4), torch.tensor([0, 1, 2])
    recording = Recording(lambda x, i: [function(x, i)], [x, index])
    np.testing.assert_allclose(recording.evaluated()[0], function(x, index)._array, rtol=1e-6)
    index[1] = wrong
    with pytest.raises(error):
        function(x, index)
    with pytest.raises(error):
        recording.evaluated()
    pytest.importorskip("llvmlite")
    launch = recording.planned()
    with pytest.raises(error):
        launch()


@pytest.mark.parametrize("function", [
    torch.nonzero, torch.unique, lambda x: x[x > 0], lambda x: x.masked_select(x > 0),
    lambda x: torch.bincount(x.long().abs()), lambda x: x[0].item(), lambda x: x.tolist(),
    lambda x: x if x.sum() > 0 else -x, lambda x: float(x.sum()) * x, lambda x: x.numpy(),
    lambda x: x[: int(x.argmax())], lambda x: torch.allclose(x, x), lambda x: x.data_ptr(),
], ids=range(13))  # fmt: skip
def test_what_needs_values_is_refused(function):
    with pytest.raises(Unsupported):
        Recording(lambda x: [function(x)], [tensor(6)])


def test_shapes_by_value_are_told_from_fixed_ones():
    with pytest.raises(ShapeByValue, match="shape by value"):
        Recording(lambda x: [x[x > 0]], [tensor(6)])
    # a body that counts, whose result has one shape for all values
    same(lambda x: [torch.histc(x, 4, -1, 1)], tensor(6))


def test_weak_numbers_keep_their_dtype():
    half = tensor(4).half()
    same(lambda x: [x * 2.5, x + 1, 3 - x, x**2, x.float() / 3], half)
    same(lambda x: [x * 2.5, x // 2, x % 3, x / 2, -x], torch.arange(5))


def test_second_derivatives():
    def penalty(x):
        (slope,) = torch.autograd.grad((x.tanh() * x).sum(), x, create_graph=True)
        loss = (slope**2).sum()
        return [loss, *torch.autograd.grad(loss, x)]

    same(penalty, tensor(5, grad=True), launched=True)


def test_large_arrays():
    # which the plain run sends to generated functions, past the bodies
    def function(x, y):
        changed = x.detach() * 1
        changed.mul_(y).add_(y).exp_()
        changed.t().sigmoid_()
        changed.sub_(1.5).clamp_(0, 1).relu_()
        changed[1:].tanh_()
        mixed = x * 1
        mixed.add_(y)
        mixed[1:].mul_(y[1:])
        mixed.t().sub_(2)
        mixed = F.relu_(mixed) + changed
        out = (mixed + y).tanh().sin() * (x - y).exp() / (1 + x.abs()).sqrt()
        slope = torch.autograd.grad(out.sum(), x)[0]
        y.mul_(2).add_(x.detach())
        return [changed, out, slope, F.softmax(out, 1), out.sum(0), out.argmax(1), out.amax(1)]

    recording = same(function, tensor(300, 200, grad=True), tensor(300, 200, seed=1), launched=True)
    assert not {"sum", "softmax", "argmax", "amax"} & {x.name for x in recording.graph.externs}


@pytest.mark.parametrize("part", [
    lambda x: x[1], lambda x: x[:, 1:3], lambda x: x[..., -1], lambda x: x[1:, None, 0],
    lambda x: x[:2, ::2], lambda x: x.narrow(1, 1, 2), lambda x: x.select(1, 2),
    lambda x: x.split(2)[1], lambda x: x.chunk(2, 1)[1],
], ids=range(9))  # fmt: skip
def test_gradients_of_parts(part):
    same(gradients(lambda x: part(x) * 2), tensor(3, 4, grad=True), launched=True)


# ---------------------------------------------------------------- views and writes
@pytest.mark.parametrize("look", [
    lambda x: x[1], lambda x: x[:, 1:3], lambda x: x.t(), lambda x: x.view(-1),
    lambda x: x.view(4, 3)[1:], lambda x: x.transpose(0, 1)[2], lambda x: x.unsqueeze(0),
    lambda x: x[:, ::2].t(), lambda x: x.diagonal(), lambda x: x.flatten()[3:7],
    lambda x: x.reshape(2, 6)[:, 1], lambda x: x[..., None, 1], lambda x: x.unbind(1)[2],
    lambda x: x.split(2)[1], lambda x: x.detach()[0], lambda x: x.narrow(1, 1, 2),
], ids=range(16))  # fmt: skip
@pytest.mark.parametrize("is_argument", [True, False])
def test_writes_through_views(look, is_argument):
    def function(x):
        if not is_argument:
            x = x * 1
        row, total = x[1], x.view(12)
        before = x + 0
        part = look(x)
        part.mul_(3).add_(1)
        look(x)[...] += 0.5
        return [before, x + 0, part + 0, row + 0, total * 2, x.sum()]

    same(function, tensor(3, 4), launched=True)


def test_reads_between_writes():
    def function(x, y):
        kept = x * 1
        x[0] = y
        first = x.sum()
        x.copy_(x * 2)
        x[:, 1] = 0
        y.add_(x[1])
        return [kept, first, x.t() + 0, x[0] + y]

    same(function, tensor(3, 4), tensor(4), launched=True)


def test_an_array_keeps_what_was_assigned():
    def function(x, y):
        made = torch.zeros(3)
        made[...] = x
        made2 = torch.zeros(2, 3)
        made2[1] = x
        x.copy_(y)
        y.zero_()
        made.add_(1)
        return [made, made2, x * 1, y + 0]

    same(function, tensor(3), tensor(3, seed=1), launched=True)


def test_constants_are_kept_as_they_were():
    def function(x):
        table = torch.tensor([1.0, 5.0, 2.0])
        first = x * table
        table += 1
        table[0] = x[1]
        return [first, x * table]

    same(function, tensor(3), launched=True)


def test_gradients_through_writes():
    def function(x):
        made = torch.zeros(3, 4)
        made[:, 1:3] = x
        made[0] += 2
        made.view(-1)[::5].mul_(3)
        relu = F.relu(x * 1, inplace=True)
        return made.sin() + relu.sum()

    same(gradients(function), tensor(3, 2, grad=True), launched=True)


def test_accumulated_gradients():
    def function(x):
        weight = (x * 1).detach().requires_grad_()
        weight.exp().sum().backward()
        (weight * 2).sum().backward()
        return [weight.grad]

    same(function, tensor(3))


def test_writes_by_index():
    def function(x, i):
        x[i] = 0
        x[x > 1] = -1.0
        x[:, i] += 1
        x.index_fill_(0, i, 2.0)
        x.index_add_(0, i, torch.ones(2, 4))
        return [x * 1]

    same(function, tensor(4, 4), torch.tensor([2, 0]), launched=True)


def test_copies_that_may_be_views_are_not_written_to():
    # NumPy decides by the strides of an intermediate result whether this copies
    def function(x):
        mixed = torch.einsum("ij,jk->ik", x, x).t() * 1
        flat = mixed.reshape(-1)
        flat[0] = 7
        return [mixed]

    with pytest.raises(Unsupported, match="looked at elsewhere"):
        Recording(function, [tensor(3, 3)])


def test_a_reshape_that_copies_is_no_view():
    def function(x):
        flat = x.t().reshape(-1)
        flat[0] = 7
        return [x * 1, flat]

    same(function, tensor(3, 4), launched=True)


def test_expanded_arrays_are_not_written_to():
    with pytest.raises((Unsupported, RuntimeError), match="share memory|single memory"):
        Recording(lambda x: [(x * 1).expand(3, 4).add_(1)], [tensor(1, 4)])


def test_expanded_arrays_follow_their_base():
    def function(x):
        x = x * 1
        wide = x.expand(3, 4)
        x.add_(1)
        return [wide * 2]

    same(function, tensor(1, 4), launched=True)


def test_layouts_are_told_as_they_are():
    def function(x):
        assert x.is_contiguous() and not x.t().is_contiguous() and (x + 1).is_contiguous()
        assert x.t().stride() == (1, 4) and (x * 2).stride() == (4, 1)
        assert x.t().contiguous().is_contiguous()
        return [x.t().contiguous() + 1]

    same(function, tensor(3, 4))
