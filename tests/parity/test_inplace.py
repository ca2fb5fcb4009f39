"""Random programs of views, in-place writes and ordinary operators, run with PyTorch and with
danlu.

After every step all live tensors must agree (values, `requires_grad`, `is_leaf`, versions, errors),
and at the end the gradients of all leaves."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import danlu  # noqa: E402

VIEWS = [
    lambda t: t[..., :1] if t.dim() else t.view(1),
    lambda t: t.transpose(0, -1) if t.dim() else t.unsqueeze(0),
    lambda t: t.unsqueeze(0),
    lambda t: t[0] if t.dim() else t.view(-1),
    lambda t: t.reshape(-1),
    lambda t: t.view(t.shape),
    lambda t: t[..., ::2] if t.dim() else t.view_as(t),
    lambda t: t.diagonal() if t.dim() >= 2 else t.squeeze(),
    lambda t: t.detach(),
    lambda t: t.narrow(0, 0, 1) if t.dim() else t.view_as(t),
]
ALONE = [
    lambda t: t.mul_(2),
    lambda t: t.sin_(),
    lambda t: t.zero_(),
    lambda t: t.fill_(3),
    lambda t: t.exp_(),
    lambda t: t.masked_fill_(t > 1, 0.5),
    lambda t: t.clamp_(0.2, 1.0),
    lambda t: t.div_(2),
    lambda t: t.__setitem__(t > 1, 0.25),
    lambda t: t.neg_(),
]
WITH_ANOTHER = [
    lambda t, o: t.add_(o),
    lambda t, o: t.mul_(o),
    lambda t, o: t.copy_(o),
    lambda t, o: t.__setitem__(0, o.sum()),
    lambda t, o: t.__setitem__(..., o),
    lambda t, o: t.sub_(o),
]
RESULTS = [
    lambda t, o: t.sin(),
    lambda t, o: t * o,
    lambda t, o: t.exp(),
    lambda t, o: t + o,
    lambda t, o: t.clone(),
    lambda t, o: t.sum(),
]

numbers = st.integers(0, 30)
leaves = st.tuples(
    st.just("leaf"), numbers, st.sampled_from([(3,), (2, 3), (2, 2), (), (1, 3)]), st.booleans()
)
steps = st.one_of(
    st.tuples(st.just("view"), numbers, numbers, st.sampled_from(range(len(VIEWS)))),
    st.tuples(st.just("write"), numbers, numbers, st.sampled_from(range(len(ALONE)))),
    st.tuples(st.just("write with"), numbers, numbers, st.sampled_from(range(len(WITH_ANOTHER)))),
    st.tuples(st.just("unrecorded"), numbers, numbers, st.sampled_from(range(len(ALONE)))),
    st.tuples(st.just("result"), numbers, numbers, st.sampled_from(range(len(RESULTS)))),
)
programs = st.tuples(
    st.lists(leaves, min_size=1, max_size=3), st.lists(steps, min_size=2, max_size=12)
)


def share_memory(a, b) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def take(xp, live, step):
    """One step of a program; a step that fails gives the type of its error."""
    kind, first, second, which = step
    tensor, other = live[first % len(live)], live[second % len(live)]
    if xp is torch and kind == "write with":
        # reading and writing overlapping memory: PyTorch refuses or gives what its loop order gives
        assume(not share_memory(tensor, other))
    if kind == "view":
        live.append(VIEWS[which](tensor))
    elif kind == "write":
        ALONE[which](tensor)
    elif kind == "write with":
        WITH_ANOTHER[which](tensor, other)
    elif kind == "unrecorded":
        with xp.no_grad():
            ALONE[which](tensor)
    else:
        live.append(RESULTS[which](tensor, other))


def state(xp, tensor):
    version = tensor._version
    return tuple(tensor.shape), tensor.requires_grad, tensor.is_leaf, version


def run(xp, program):
    """What can be seen of a program: per step the error or the tensors, at the end the
    gradients."""
    beginnings, steps = program
    seen, values, live = [], [], []
    for _, seed, shape, requires_grad in beginnings:
        array = np.random.RandomState(seed).rand(*shape) + 0.5
        live.append(xp.tensor(array, dtype=xp.float64).requires_grad_(requires_grad))
    start = list(live)
    for step in steps:
        try:
            take(xp, live, step)
            seen.append("done")
        except (RuntimeError, IndexError) as error:
            seen.append(type(error).__name__)
        seen.append([state(xp, each) for each in live])
        values.append([each.detach().numpy().copy() for each in live])
    loss = sum((each * (i + 1)).sum() for i, each in enumerate(live))
    try:
        if loss.requires_grad:
            loss.backward()
    except RuntimeError as error:
        seen.append(type(error).__name__)
        return seen, values, None
    return seen, values, [None if each.grad is None else each.grad.numpy() for each in start]


@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:overflow")
@settings(max_examples=250, deadline=None)
@given(programs)
def test_random_programs(program):
    expected_seen, expected_values, expected_gradients = run(torch, program)
    seen, values, gradients = run(danlu, program)
    assert seen == expected_seen
    for ours, theirs in zip(values, expected_values):
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b, rtol=1e-9)
    assert (gradients is None) == (expected_gradients is None)
    for ours, theirs in zip(gradients or [], expected_gradients or []):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-9)
