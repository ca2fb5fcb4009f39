"""Calling compiled functions: signatures, memory, derivatives from outside, errors and threads."""

from __future__ import annotations

import dataclasses
import threading

import pytest

import danlu as torch
from danlu import nn
from danlu.compiler import CompileWarning
from tests.unit.compiling import differences, recorded

pytest.importorskip("llvmlite")


# ---------------------------------------------------------------------- signatures
def test_arguments_of_other_kinds_are_traced_anew():
    def step(x, by=1, plus=None):
        y = x * by if plus is None else x * by + plus
        return y.sum(0), y.dtype == torch.float32

    x = torch.arange(12.0).reshape(4, 3)
    calls = [
        (x,), (x, 2), (x, 2.0), (x, True), (x, 3), (x, 2.0, x), (x, 2.0, 1), (x.double(),),
        (x.long(),), (x.long(), 2.0), (x[:2],), (x.T,), (x[:, ::2],), (x[0],), (x[0, 0].reshape(1),),
        (x.expand(2, 4, 3), x), (x > 3,), (x.flip(0), torch.tensor(2.0)), (x[:0],), (x.bfloat16(),),
        (nn.Parameter(x),),
    ]  # fmt: skip
    compiled = torch.compile(step)
    for _ in range(2):
        found, _ = recorded(compiled, *calls)
        assert not differences(found, recorded(step, *calls)[0], "float32")
    assert torch.compiler.stats(compiled).compiled_calls >= 5


def test_keywords_and_positions():
    def step(x, y=None, *rest, scale=1.0, **others):
        total = x * scale + sum(rest)
        return total - y if y is not None else total + sum(others.values())

    compiled = torch.compile(step)
    x, y = torch.ones(3), torch.arange(3.0)
    for _ in range(3):
        for args, kwargs in (
            ((x,), {}), ((x, y), {}), ((x,), {"y": y}), ((x, y, y), {"scale": 2.0}),
            ((), {"x": x}), ((x,), {"a": y, "b": x}), ((x,), {"b": y, "a": x}),
        ):  # fmt: skip
            assert torch.equal(compiled(*args, **kwargs), step(*args, **kwargs))
    with pytest.raises(TypeError):
        compiled()


def test_one_note_after_eight_signatures():
    compiled = torch.compile(lambda x: (x * 2).sum())
    sizes = list(range(1, 13)) * 2
    found, told = recorded(compiled, *[(torch.ones(n),) for n in sizes])
    assert [float(each) for each in found] == [2.0 * n for n in sizes]
    assert len(told) == 1


def test_many_shapes_that_come_once_cost_no_trace():
    compiled = torch.compile(lambda x: (x * 2).sum())
    sizes = range(1, 41)
    found, told = recorded(compiled, *[(torch.ones(size),) for size in sizes])
    assert [float(each) for each in found] == [2.0 * size for size in sizes]
    assert len(told) == 1
    assert "traced 9 times" in str(told[0])
    assert torch.compiler.stats(compiled).traces == 9
    for _ in range(2):  # traced when it comes for the second time
        compiled(torch.ones(40))
    assert (
        torch.compiler.stats(compiled).traces,
        torch.compiler.stats(compiled).compiled_calls,
    ) == (10, 1)


def test_the_last_small_batch():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    compiled = torch.compile(lambda x: net(x).square().mean())
    calls = [(torch.randn(n, 3),) for n in (8, 8, 8, 5) * 3]
    found, told = recorded(compiled, *calls)
    assert not differences(found, recorded(lambda x: net(x).square().mean(), *calls)[0], "float32")
    assert not told
    stats = torch.compiler.stats(compiled)
    assert (stats.traces, stats.compiled_calls) == (2, 10)


def test_modes_around_the_call():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    compiled = torch.compile(lambda x: net(x))
    x = torch.randn(4, 3)
    for _ in range(3):
        assert compiled(x).requires_grad
        with torch.no_grad():
            assert not compiled(x).requires_grad
        with torch.inference_mode():
            assert compiled(x).is_inference() == net(x).is_inference()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert compiled(x).dtype == net(x).dtype
        assert compiled(x).dtype == torch.float32


def test_default_dtype_and_shape_errors():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    compiled = torch.compile(lambda x: net(x))
    for _ in range(3):
        compiled(torch.ones(4, 3))
        with pytest.raises(RuntimeError):
            compiled(torch.ones(4, 5))
        with pytest.raises(RuntimeError):
            compiled(torch.ones(4, 3, dtype=torch.float64))


# ---------------------------------------------------------------------- memory
def test_results_are_not_overwritten():
    compiled = torch.compile(lambda x: (x * 2, x.sum(), x.t().contiguous()))
    kept = [compiled(torch.full((3, 2), float(i))) for i in range(5)]
    for i, (double, total, turned) in enumerate(kept):
        assert (double == 2 * i).all() and total == 6 * i and (turned == i).all()
        double.zero_()
    assert [float(total) for _, total, _ in kept] == [6.0 * i for i in range(5)]


def test_gradients_are_not_overwritten():
    w = torch.ones(3, requires_grad=True)

    def step(x):
        w.grad = None
        (w * x).sum().backward()

    compiled, kept = torch.compile(step), []
    for i in range(5):
        compiled(torch.full((3,), float(i)))
        kept.append(w.grad)
    assert [float(g[0]) for g in kept] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_one_tensor_given_twice():
    def step(a, b):
        a.mul_(2)
        return a + b

    compiled = torch.compile(step)
    for _ in range(3):
        a, b = torch.ones(3), torch.ones(3)
        assert compiled(a, b).tolist() == [3.0] * 3
        assert compiled(a, a).tolist() == [8.0] * 3
        assert compiled(b, b.view(3)).tolist() == [4.0] * 3
        base = torch.arange(4.0)
        assert compiled(base[:3], base[1:]).tolist() == [2.0, 6.0, 7.0]
        assert base.tolist() == [0.0, 2.0, 4.0, 3.0]


@pytest.mark.parametrize("view", [
    lambda x: x, lambda x: x[0], lambda x: x.T, lambda x: x.view(-1)[1:], lambda x: x.detach(),
    lambda x: x.mul_(2), lambda x: (x, x), lambda x: (x[1], x * 2),
], ids=["itself", "row", "transposed", "flat", "detached", "in place", "twice", "both"])  # fmt: skip
def test_results_that_share_memory_with_inputs(view):
    compiled = torch.compile(lambda x: view(x))
    for _ in range(3):
        x = torch.arange(6.0).reshape(2, 3)
        expected = view(y := x.clone())
        found = compiled(x)
        one, other = (
            (found, expected) if isinstance(found, torch.Tensor) else (found[0], expected[0])
        )
        assert (found is x) == (expected is y)
        one.add_(10)
        other.add_(10)
        assert torch.equal(one, other) and one.stride() == other.stride()
        assert torch.equal(x, y)


def test_a_result_given_twice_is_one_tensor():
    def step(x):
        y = x * 2
        return y, y, y[0]

    compiled = torch.compile(step)
    for _ in range(3):
        a, b, c = compiled(torch.ones(2, 3))
        assert a is b
        a.zero_()
        assert not c.any()


def test_writes_are_counted():
    w = torch.ones(3, requires_grad=True)

    def step(x):
        with torch.no_grad():
            w.sub_(x)

    compiled = torch.compile(step)
    for _ in range(3):
        compiled(torch.ones(3))
    version = w._version
    loss = (w * w).sum()
    compiled(torch.ones(3))
    assert w._version > version
    with pytest.raises(RuntimeError, match="inplace"):
        loss.backward()


def test_inputs_of_any_layout():
    def step(x, w):
        x = x * 2 + w
        return x, x.sum(0), x @ x.T

    compiled = torch.compile(step)
    base = torch.arange(24.0).reshape(4, 6)
    for x, w in (
        (base[:, :3], base[0, :3]), (base[:, ::2], base[0, ::2]), (base.T, base[:, 0]),
        (base[1:, 3:], base[3, 3:]), (base.flip(1)[:, :3], torch.ones(())), (base[:0], base[0]),
    ):  # fmt: skip
        for _ in range(3):
            for found, expected in zip(compiled(x, w), step(x, w)):
                assert torch.allclose(found, expected) and found.shape == expected.shape


# ---------------------------------------------------------------------- backward from outside
def test_the_loop_differentiates_what_was_returned():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    compiled = torch.compile(lambda x: net(x))
    for i in range(4):
        x = torch.randn(5, 3, requires_grad=True)
        grads = []
        for call in (net, compiled):
            out = call(x)
            assert out.requires_grad and not out.is_leaf
            loss = (out * out.detach().sin()).sum() * (i + 1)
            grads.append(torch.autograd.grad(loss, [x, *net.parameters()]))
        for eager, other in zip(*grads):
            assert torch.allclose(eager, other, atol=1e-5)


@pytest.mark.parametrize("name", ["cumsum", "sort", "fft", "convolution", "embedding", "pooling"])
def test_gradients_of_a_part_of_a_result(name):
    F, rows = nn.functional, torch.tensor([0, 1, 1, 5])
    whole = {
        "cumsum": lambda w: w.cumsum(1),
        "sort": lambda w: w.sort(1)[0],
        "fft": lambda w: torch.fft.fft(w).real,
        "convolution": lambda w: F.conv1d(w[None], torch.ones(2, 6, 2))[0],
        "embedding": lambda w: F.embedding(rows, w, scale_grad_by_freq=True),
        "pooling": lambda w: F.max_pool1d(w[None], 2)[0],
    }[name]
    compiled = torch.compile(lambda w: whole(w)[:, -1].square().mean())
    torch.manual_seed(0)
    for _ in range(4):
        w = torch.randn(6, 4, requires_grad=True)
        found = torch.autograd.grad(compiled(w), w)[0]
        expected = torch.autograd.grad(whole(w)[:, -1].square().mean(), w)[0]
        assert torch.allclose(found, expected, atol=1e-5)
    stats = torch.compiler.stats(compiled)
    assert not stats.refusals and stats.compiled_calls == 3


def test_gradients_flow_through_two_compiled_functions():
    w = torch.ones(3, requires_grad=True)
    first, second = torch.compile(lambda x: x * w), torch.compile(lambda h: h.square().sum())
    for _ in range(4):
        w.grad = None
        second(first(torch.arange(3.0))).backward()
        assert w.grad.tolist() == [0.0, 2.0, 8.0]


def test_a_compiled_function_is_differentiated_once():
    compiled = torch.compile(lambda x: (x**3).sum())
    for _ in range(3):
        x = torch.arange(3.0, requires_grad=True)
        compiled(x).backward()
        assert x.grad.tolist() == [0.0, 3.0, 12.0]
    with pytest.raises(RuntimeError, match="once"):
        torch.autograd.grad(compiled(x), x, create_graph=True)


# ---------------------------------------------------------------------- errors, threads, nesting
def test_errors_are_those_of_the_function():
    table = nn.Embedding(4, 2)
    compiled = torch.compile(lambda rows: table(rows).sum())
    for _ in range(3):
        assert torch.allclose(compiled(torch.tensor([0, 3])), table(torch.tensor([0, 3])).sum())
    assert torch.compiler.stats(compiled).compiled_calls == 2
    for bad in (4, -1):
        with pytest.raises(IndexError) as caught:
            compiled(torch.tensor([0, bad]))
        assert caught.value.__context__ is None
    assert torch.allclose(compiled(torch.tensor([1, 2])), table(torch.tensor([1, 2])).sum())


def test_targets_are_checked():
    compiled = torch.compile(lambda x, y: nn.functional.cross_entropy(x, y))
    x = torch.zeros(2, 3)
    for _ in range(3):
        compiled(x, torch.tensor([0, 2]))
    with pytest.raises((IndexError, RuntimeError)):
        compiled(x, torch.tensor([0, 3]))


def test_an_error_leaves_what_the_function_leaves():
    total = torch.zeros(3)

    def step(x, fail):
        total.add_(x)
        if fail:
            raise ValueError("enough")
        return total * 2

    compiled = torch.compile(step)
    for i in range(1, 4):
        compiled(torch.ones(3), False)
        with pytest.raises(ValueError, match="enough"):
            compiled(torch.ones(3), True)
        assert total[0] == 2 * i


def test_compiled_functions_call_each_other():
    inner = torch.compile(lambda x: x * 2)
    outer = torch.compile(lambda x: inner(x) + 1)
    for i in range(4):
        assert outer(torch.full((2,), float(i))).tolist() == [2.0 * i + 1] * 2


def test_threads_share_a_compiled_function():
    torch.manual_seed(0)
    net = nn.Linear(3, 3)
    compiled = torch.compile(lambda x: net(x).tanh() @ x.T)
    wrong = []

    def work(seed):
        for i in range(20):
            x = torch.full((4 + seed % 2, 3), float(seed + i))
            if not torch.allclose(compiled(x), net(x).tanh() @ x.T, atol=1e-4):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_trace_changes_no_other_thread():
    compiled = torch.compile(lambda x: sum((x * i).tanh() for i in range(20)))
    w = torch.ones(3, requires_grad=True)
    stop, wrong = threading.Event(), []

    def work():
        while not stop.is_set():
            w.grad = None
            (w * 2).sum().backward()
            if type(w.grad.tolist()) is not list or w.grad.tolist() != [2.0] * 3:
                wrong.append(w.grad)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for n in range(1, 5):
            compiled(torch.ones(n))
    finally:
        stop.set()
        thread.join()
    assert not wrong


def test_a_compiled_module_is_its_module():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    compiled = torch.compile(net)
    x = torch.randn(5, 3)
    for _ in range(3):
        assert torch.allclose(compiled(x), net(x), atol=1e-5)
    compiled.eval()
    assert not net.training
    assert torch.allclose(compiled(x), net(x), atol=1e-5)
    assert [id(p) for p in compiled.parameters()] == [id(p) for p in net.parameters()]
    assert {key.removeprefix("_orig_mod.") for key in compiled.state_dict()} == set(
        net.state_dict()
    )
    net.compile()
    assert torch.allclose(net(x), compiled(x), atol=1e-5)


def test_a_compiled_method():
    class Trainer:
        def __init__(self, scale):
            self.scale = scale

        @torch.compile
        def step(self, x):
            return x * self.scale

    first, second = Trainer(2.0), Trainer(3.0)
    for _ in range(3):
        assert first.step(torch.ones(2)).tolist() == [2.0, 2.0]
        assert second.step(torch.ones(2)).tolist() == [3.0, 3.0]


# ---------------------------------------------------------------------- results
@dataclasses.dataclass
class Output:
    loss: torch.Tensor
    scores: list
    name: str = "of all"


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: torch.Tensor


@dataclasses.dataclass
class Counted:
    value: torch.Tensor
    made = 0

    def __post_init__(self):
        Counted.made += 1


@dataclasses.dataclass
class OwnConstructor:
    value: torch.Tensor

    def __init__(self, value):
        self.value = value * 2


def test_dataclasses_are_returned():
    layer = nn.Linear(3, 2)
    compiled = torch.compile(lambda x: (Output(layer(x).sum(), [x * 2]), Frozen(x + 1)))
    for scale in (1.0, 2.0, 3.0):
        x = torch.full((2, 3), scale)
        output, frozen = compiled(x)
        assert type(output) is Output and type(frozen) is Frozen
        assert torch.allclose(output.loss, layer(x).sum())
        assert torch.equal(output.scores[0], x * 2) and torch.equal(frozen.value, x + 1)
        assert output.name == "of all" and output.loss.requires_grad
    assert torch.compiler.stats(compiled).compiled_calls == 2


@pytest.mark.parametrize("kind", [Counted, OwnConstructor])
def test_dataclasses_with_code_of_their_own_stay_eager(kind):
    compiled = torch.compile(lambda x: kind(x * 2))
    with pytest.warns(CompileWarning):
        found = [compiled(torch.ones(2)).value.tolist() for _ in range(3)]
    assert found == [kind(torch.ones(2) * 2).value.tolist()] * 3
    assert not torch.compiler.stats(compiled).compiled_calls


def test_vectorized_functions_are_compiled():
    def loss(weight, row):
        return (weight * row).sin().sum()

    def rows(weight, x):
        return torch.func.vmap(torch.func.grad(loss), (None, 0))(weight, x)

    compiled, weight = torch.compile(rows), torch.tensor([1.0, -2.0])
    for _ in range(3):
        x = torch.randn(4, 2)
        assert torch.allclose(compiled(weight, x), rows(weight, x), atol=1e-6)
    assert torch.compiler.stats(compiled).compiled_calls == 2
    drawing = torch.compile(lambda x: torch.vmap(lambda row: row + torch.rand(()))(x))
    with pytest.raises(RuntimeError, match="randomness error mode"):
        drawing(torch.ones(3))
