"""Random numbers in a trace: the streams, and with them the numbers, of eager code."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

import danlu as torch
from danlu.compiler.operators import operators_on_traced
from danlu.compiler.random import generators_of, random_on_traced
from danlu.compiler.session import Session
from danlu.kernels.graph.nodes import Graph, Unsupported
from danlu.kernels.graph.traced import Traced, lift
from danlu.utils.checkpoint import checkpoint
from tests.unit.recorded import evaluate

F = torch.nn.functional


class Recorded:
    """A function of tensors in a trace, which other calls of it do not end."""

    def __init__(self, function, *tensors):
        session = Session()
        self.graph, self.arguments = session.graph, session.arguments
        self.results = session.run(
            lambda: [self._node(each) for each in _listed(function(*tensors))],
            [operators_on_traced()],
        )

    def _node(self, tensor):
        return lift(self.graph, tensor._array).node

    def run(self):
        return evaluate(self.graph, self.results, self.arguments)

    def launched(self):
        from danlu.kernels.graph.plan import plan_graph

        plan = plan_graph(self.graph, self.results, self.arguments)
        return lambda: list(plan.launch(*self.arguments))


def _listed(found):
    return found if isinstance(found, (list, tuple)) else [found]


def numbers(*shape):
    values = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(values)


def agree(given, expected) -> None:
    for mine, other in zip(given, expected, strict=True):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        if mine.dtype.kind in "fV":
            np.testing.assert_allclose(
                mine.astype(np.float64), other.astype(np.float64), rtol=1e-5, atol=1e-6
            )
        else:
            np.testing.assert_array_equal(mine, other)


def check(function, *tensors, run=None) -> Recorded:
    """Eager and recorded calls in turn, one stream behind them."""
    before = torch.get_rng_state().numpy()
    recorded = Recorded(function, *tensors)
    np.testing.assert_array_equal(torch.get_rng_state().numpy(), before)
    run = recorded.run if run is None else recorded.launched()
    twins = [each.clone() for each in tensors]

    def eager():
        return [each.numpy().copy() for each in _listed(function(*twins))]

    torch.manual_seed(7)
    expected = [eager() for _ in range(4)]
    state = torch.get_rng_state().numpy()
    for twin, each in zip(twins, tensors, strict=True):
        twin.copy_(each)
    torch.manual_seed(7)
    agree(run(), expected[0])
    for twin, each in zip(twins, tensors, strict=True):
        twin.copy_(each)
    agree(eager(), expected[1])
    for twin, each in zip(twins, tensors, strict=True):
        each.copy_(twin)
    agree(run(), expected[2])
    agree(run(), expected[3])
    np.testing.assert_array_equal(torch.get_rng_state().numpy(), state)
    return recorded


OWN = torch.Generator()

DRAWS = {
    "rand": lambda x: torch.rand(4, 6),
    "rand, no axes": lambda x: torch.rand(()),
    "rand, no elements": lambda x: [torch.rand(0, 3).sum() + x.sum(), torch.rand(2)],
    "rand, many": lambda x: torch.rand(300, 300).sum(0),
    "rand, half precision": lambda x: torch.rand(5, dtype=torch.bfloat16),
    "randn": lambda x: torch.randn(4, 6) * x,
    "randn, odd pairs": lambda x: torch.randn(3),
    "randn, float64": lambda x: torch.randn(21, dtype=torch.float64),
    "randint": lambda x: torch.randint(3, 9, (5,)),
    "randint, wide": lambda x: torch.randint(-(2**40), 2**40, (5,)),
    "randperm": lambda x: torch.randperm(20),
    "randperm of one": lambda x: [torch.randperm(1) + 0, torch.rand(1)],
    "normal": lambda x: torch.normal(1.0, 2.0, (20,)),
    "normal around": lambda x: torch.normal(x, 2.0),
    "normal around with deviations": lambda x: torch.normal(x, x.abs()),
    "normal with deviations": lambda x: torch.normal(0.5, x.abs()),
    "rand_like": lambda x: torch.rand_like(x),
    "rand_like, transposed": lambda x: torch.rand_like((x + 1).t()),
    "rand_like, sum of transposed": lambda x: torch.rand_like(x.t() * 2 + x.t()),
    "rand_like, in rows": lambda x: torch.rand_like(x.t(), memory_format=torch.contiguous_format),
    "randn_like, part": lambda x: torch.randn_like(x[:, ::2].t()),
    "randn_like, half of the columns": lambda x: torch.randn_like(x.chunk(2, 1)[0]),
    "randn_like, float64": lambda x: torch.randn_like(x, dtype=torch.float64),
    "randint_like": lambda x: torch.randint_like(x, 5),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "bernoulli of one number": lambda x: torch.bernoulli(x, 0.3),
    "bernoulli_, probabilities": lambda x: (x * 2).bernoulli_(x[0].sigmoid()),
    "multinomial": lambda x: torch.multinomial(x.exp(), 1),
    "multinomial, replacement": lambda x: torch.multinomial(x[0].exp(), 9, replacement=True),
    "multinomial, no replacement": lambda x: torch.multinomial(x.exp(), 3),
    "poisson": lambda x: torch.poisson(x.exp() * 8),
    "uniform_": lambda x: (x + 1).uniform_(-1, 3),
    "normal_": lambda x: (x + 1).normal_(1, 0.1),
    "normal_, transposed": lambda x: (x + 1).t().normal_(),
    "log_normal_": lambda x: (x + 1).log_normal_(),
    "exponential_": lambda x: (x + 1).exponential_(2.0),
    "cauchy_": lambda x: (x + 1).cauchy_(),
    "geometric_": lambda x: (x + 1).geometric_(0.3),
    "random_": lambda x: (x + 1).random_(10),
    "empty filled": lambda x: torch.empty(3, 4).uniform_() + torch.empty(4).normal_(),
    "an argument filled": lambda x: x.normal_(),
    "columns of an argument filled": lambda x: [x.t().uniform_(), x],
    "dropout": lambda x: F.dropout(x, 0.3),
    "dropout, transposed": lambda x: F.dropout((x * 2).t(), 0.3),
    "dropout, half of the columns": lambda x: F.dropout(x.chunk(2, 1)[0], 0.3),
    "dropout of one row for all": lambda x: F.dropout(x[0].expand(3, 6), 0.3),
    "dropout in place": lambda x: F.dropout(x * 2, 0.3, inplace=True),
    "dropout, half precision": lambda x: F.dropout(x.half(), 0.3),
    "dropout2d": lambda x: F.dropout2d(x.reshape(2, 3, 2, 2), 0.4),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.3, training=True),
    "feature_alpha_dropout": lambda x: F.feature_alpha_dropout(x.reshape(2, 3, 4), 0.4, True),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "gumbel_softmax": lambda x: F.gumbel_softmax(x, 0.7),
    "gumbel_softmax, hard": lambda x: F.gumbel_softmax(x, hard=True),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.4),
    "own generator": lambda x: [torch.rand(3, generator=OWN), torch.rand(3)],
    "seeded inside": lambda x: [torch.manual_seed(3), torch.rand(3)][1],
    "state set back": lambda x: _twice(torch.rand),
    "fork": lambda x: _in_fork(torch.rand),
    "initial weights": lambda x: torch.nn.Linear(6, 2)(x).detach(),
}


def _twice(draw):
    state = torch.get_rng_state()
    first = draw(3)
    torch.set_rng_state(state)
    return [first, draw(3), draw(2)]


def _in_fork(draw):
    with torch.random.fork_rng():
        first = draw(3)
    return [first, draw(3)]


@pytest.mark.parametrize("function", DRAWS.values(), ids=DRAWS)
def test_draws_are_those_of_eager_code(function):
    OWN.manual_seed(1)
    if function is DRAWS["own generator"]:
        expected = [function(None)[0] for _ in range(2)]
        OWN.manual_seed(1)
        recorded = Recorded(function, numbers(4, 6))
        for each in expected:
            np.testing.assert_array_equal(recorded.run()[0], each.numpy())
        assert OWN in generators_of(recorded.graph)
        return
    check(function, numbers(4, 6))


@pytest.mark.parametrize(
    "name", ["dropout", "randn", "bernoulli", "attention", "an argument filled"]
)
def test_draws_of_a_launch(name):
    pytest.importorskip("llvmlite")
    check(DRAWS[name], numbers(4, 6), run="launch")


def test_a_checkpoint_repeats_its_masks():
    def gradient(x):
        x = x.detach().requires_grad_()
        checkpoint(lambda x: F.dropout(x * x, 0.5).sin(), x, use_reentrant=False).sum().backward()
        return x.grad

    check(gradient, numbers(4, 6))


# numbers fill arrays in the order of their memory, which results take from operands
LAYOUTS = {
    "contiguous": lambda x: x.t().contiguous(),
    "cloned": lambda x: x.t().clone(),
    "computed": lambda x: x.t().relu() + torch.ones(4),
    "of two orders": lambda x: torch.ones(6, 4) * x.t(),
    "softmax": lambda x: x.t().softmax(1),
    "product": lambda x: F.linear(x, torch.ones(3, 6)).t(),
    "reduced": lambda x: x.reshape(2, 2, 6).permute(2, 0, 1).sum(1, keepdim=True),
    "normalised": lambda x: F.layer_norm(x.t(), (4,)),
    "looked up": lambda x: x.t()[torch.tensor([1, 2])],
    "reshaped": lambda x: x.t().reshape(3, 8).t(),
    "expanded": lambda x: x[0].expand(3, 6),
    "split": lambda x: x.t().chunk(2, 1)[1],
    "converted": lambda x: x.t().double(),
    "stacked": lambda x: torch.stack([x.t(), x.t()], 1),
    "joined with rows": lambda x: torch.cat([x.t(), torch.ones(6, 4)]),
    "convolved": lambda x: F.conv1d(x[None], torch.ones(2, 4, 3)).permute(2, 0, 1),
}


@pytest.mark.parametrize("made", LAYOUTS.values(), ids=LAYOUTS)
def test_numbers_fill_memory_in_its_order(made):
    check(lambda x: torch.rand_like(made(x)), numbers(4, 6))


# ------------------------------------------------------------------------------ the graph
def test_equal_draws_differ():
    recorded = Recorded(lambda: [torch.rand(4), torch.rand(4)])
    first, second = recorded.run()
    assert not np.array_equal(first, second)


def _unused(x):
    torch.rand(5)
    return x + torch.rand(6)


def _after_a_mean(x):
    """The first draw waits for a reduction, the second does not."""
    few = torch.bernoulli(x.sigmoid().mean(0))
    noise = torch.randn(6)
    many = torch.bernoulli(x.exp().sum(0) / x.exp().sum())
    return [few, noise, many, torch.rand(2)]


@pytest.mark.parametrize("function", [_unused, _after_a_mean])
def test_launches_draw_all_numbers_in_order(function):
    pytest.importorskip("llvmlite")
    check(function, numbers(4, 6), run="launch")


def test_refused_values_are_refused_at_run_time():
    x = numbers(4, 6).abs()
    for function, reason in (
        (lambda x: torch.normal(0.0, x), "std >= 0.0"),
        (lambda x: torch.poisson(x), "Poisson rate"),
        (lambda x: torch.bernoulli(x / x.max()), "p_in >= 0"),
        (lambda x: torch.multinomial(x, 1), "multinomial distribution"),
    ):
        recorded = Recorded(function, x)
        recorded.run()
        x[0, 0] *= -1
        with pytest.raises(RuntimeError, match=reason):
            recorded.run()
        x[0, 0] *= -1


# ------------------------------------------------------------------------------ around a trace
@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.default_generator.words(2),
        lambda: torch.default_generator.words(624),
        lambda: random.random(),
        lambda: np.random.rand(),
    ],
    ids=["words", "as many words as the state", "random", "numpy.random"],
)
def test_draws_past_the_graph_are_seen(draw):
    torch.manual_seed(0)
    with random_on_traced(Graph()) as stream:
        assert not stream.drawn_unseen()
        draw()
        assert stream.drawn_unseen()


@pytest.mark.parametrize(
    "function",
    [
        torch.initial_seed,
        torch.seed,
        lambda: torch.Generator().random64(),
        lambda: list(torch.utils.data.RandomSampler(range(9), generator=OWN)),
        lambda: torch.utils.data.random_split(range(9), [4, 5], generator=OWN),
    ],
    ids=["initial_seed", "seed", "random64", "sampler", "random_split"],
)
def test_numbers_for_python_are_refused(function):
    with random_on_traced(Graph()), pytest.raises(Unsupported):
        function()


def test_other_threads_draw_meanwhile():
    generator, drawn = torch.Generator().manual_seed(1), []
    expected = torch.rand(3, generator=torch.Generator().manual_seed(1))
    with random_on_traced(Graph()):
        mine = torch.rand(3, generator=generator)
        thread = threading.Thread(target=lambda: drawn.append(torch.rand(3, generator=generator)))
        thread.start()
        thread.join()
    assert isinstance(mine._array, Traced)
    np.testing.assert_array_equal(drawn[0].numpy(), expected.numpy())


def test_an_error_ends_the_trace():
    with pytest.raises(Unsupported), random_on_traced(Graph()):
        torch.rand(3)._array.tolist()
    assert isinstance(torch.rand(3)._array, np.ndarray)
    torch.manual_seed(torch.initial_seed())
