"""The array functions that replace NumPy on small arrays: same results, and the old body for all
that they do not know."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
from danlu.kernels.fused import cross_entropy, softmax
from danlu.kernels.generated import small
from danlu.kernels.runtime import road
from danlu.nn import functional as F
from danlu.ops import quick
from tests.unit.guarded import guarded

REFUSED = object()
LAYERS = (
    "affine affine_gradients product relu relu_gradient logits_loss logits_slope squares_loss "
    "squares_slope"
).split()


def refuse(*arguments):
    return REFUSED


@pytest.fixture(scope="module")
def functions():
    return small.load({name: (name, refuse) for name in (*LAYERS, *small.BINARY, *small.UNARY)})


@pytest.fixture
def replaced():
    quick.restore()
    assert quick.replace()
    yield
    quick.restore()


def normal(*shape, seed=0, end=True):
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return guarded(array, end) if array.size else array


def close(got, expected):
    expected = np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, np.dtype("float32"))
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=3e-6)


SHAPES = [
    (100, 2, 4),
    (100, 8, 1),
    (20, 4, 8),
    (7, 3, 5),
    (1, 1, 1),
    (5, 17, 9),
    (0, 2, 4),
    (3, 0, 2),
]


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("sizes", SHAPES)
class TestLayers:
    def test_affine(self, functions, sizes, end):
        rows, inner, columns = sizes
        x, w = normal(rows, inner, end=end), normal(columns, inner, seed=1, end=end)
        b = normal(columns, seed=2, end=end)
        close(functions["affine"](x, w, b), x @ w.T + b)
        close(functions["affine"](x, w, None), x @ w.T)

    def test_affine_gradients(self, functions, sizes, end):
        rows, inner, columns = sizes
        g, x = normal(rows, columns, end=end), normal(rows, inner, seed=1, end=end)
        w = normal(columns, inner, seed=2, end=end)
        for_x, for_w, for_b = functions["affine_gradients"](g, x, w, True, True, True)
        for got, expected in ((for_x, g @ w), (for_w, g.T @ x), (for_b, g.sum(axis=0))):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        none, some, nothing = functions["affine_gradients"](g, x, w, False, True, False)
        assert none is None
        assert nothing is None
        np.testing.assert_array_equal(some, for_w)

    def test_product(self, functions, sizes, end):
        rows, inner, columns = sizes
        a, b = normal(rows, inner, end=end), normal(inner, columns, seed=1, end=end)
        close(functions["product"](a, b), a @ b)


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (3, 5), (2, 3, 4), (0,)])
class TestElements:
    def test_binary(self, functions, shape, end):
        a, b = normal(*shape, end=end), normal(*shape, seed=1, end=end)
        for name in small.BINARY:
            np.testing.assert_array_equal(functions[name](a, b), getattr(np, name)(a, b))
            np.testing.assert_array_equal(functions[name](a, 1.7), getattr(np, name)(a, 1.7))

    def test_unary(self, functions, shape, end):
        x = normal(*shape, end=end)
        x = guarded(abs(x) + np.float32(0.1), end) if x.size else x
        exact = {"sigmoid": lambda x: 1 / (1 + np.exp(-x))}
        for name in small.UNARY:
            expected = exact.get(name) or getattr(np, name)
            expected = np.asarray(expected(x.astype(float)), np.float32)
            np.testing.assert_array_max_ulp(functions[name](x), expected, 2)

    def test_relu(self, functions, shape, end):
        x, g = normal(*shape, end=end), normal(*shape, seed=1, end=end)
        np.testing.assert_array_equal(functions["relu"](x), np.maximum(x, 0))
        np.testing.assert_array_equal(functions["relu_gradient"](g, x), np.where(x <= 0, 0, g))

    def test_losses(self, functions, shape, end):
        if 0 in shape:
            assert functions["squares_loss"](normal(*shape), normal(*shape), "mean") is REFUSED
            return
        x, t = normal(*shape, end=end), normal(*shape, seed=1, end=end)
        g = np.array(0.7, np.float32)
        logits = (x, t, None, None, "mean")
        close(functions["logits_loss"](*logits), (np.logaddexp(0, x) - x * t).mean())
        slope = (1 / (1 + np.exp(-x)) - t) * (0.7 / x.size)
        close(functions["logits_slope"](g, *logits), slope.astype(np.float32))
        close(functions["squares_loss"](x, t, "mean"), ((x - t) ** 2).mean())
        slope = (x - t) * (1.4 / x.size)
        close(functions["squares_slope"](g, x, t, "mean"), slope.astype(np.float32))


def test_special_values(functions):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 200.0, -200.0], np.float32)
    np.testing.assert_array_equal(functions["relu"](x), np.maximum(x, 0))
    losses = [
        float(functions["logits_loss"](x[k : k + 1], np.ones(1, np.float32), None, None, "mean"))
        for k in (5, 6)
    ]
    assert losses == [0, 200]
    assert np.isnan(functions["logits_loss"](x, x, None, None, "mean"))


class TestRefusals:
    @pytest.mark.parametrize(
        "x",
        [
            np.ones((3, 2)),
            np.ones((3, 2), np.float32).T[:2],
            np.ones((3, 4), np.float32)[:, ::2],
            np.ones(3, np.float32),
            np.ones((1 << 17, 2), np.float32),
            np.ma.ones((3, 2), np.float32),
            [[1.0, 2.0]],
            None,
            1.5,
        ],
    )
    def test_other_inputs(self, functions, x):
        w = np.ones((4, 2), np.float32)
        assert functions["affine"](x, w, None) is REFUSED

    def test_sizes_that_do_not_fit(self, functions):
        x, w, b = normal(3, 2), normal(4, 2), normal(4)
        assert functions["affine"](x, normal(4, 3), b) is REFUSED
        assert functions["affine"](x, w, normal(3)) is REFUSED
        assert functions["affine"](x, w, b.astype(float)) is REFUSED
        assert functions["product"](x, w) is REFUSED
        assert functions["add"](x, normal(2)) is REFUSED
        assert functions["add"](x, 1) is REFUSED
        assert functions["logits_loss"](x, x, x, None, "mean") is REFUSED
        assert functions["squares_loss"](x, x, "sum") is REFUSED

    def test_number_of_arguments(self, functions):
        assert functions["relu"]() is REFUSED
        assert functions["relu"](normal(3), normal(3)) is REFUSED

    def test_results_are_not_leaked(self, functions):
        import tracemalloc

        x = normal(100, 8)
        functions["relu"](x)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            functions["relu"](x)
            functions["affine_gradients"](x, x, normal(8, 8), True, False, True)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < 20_000


def steps(count, optimizer="SGD"):
    """Losses and weights of a small training run."""
    danlu.manual_seed(0)
    network = danlu.nn.Sequential(danlu.nn.Linear(2, 4), danlu.nn.ReLU(), danlu.nn.Linear(4, 1))
    x = danlu.randn(20, 2)
    y = (x.sum(dim=1, keepdim=True) > 0).float()
    optimizer = getattr(danlu.optim, optimizer)(network.parameters(), lr=0.1)
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(network(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses + [p.detach().numpy().copy() for p in network.parameters()]


class TestReplacing:
    def test_training_is_the_same(self, replaced):
        with_quick = steps(30)
        quick.restore()
        for got, expected in zip(with_quick, steps(30), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)

    def test_all_else_still_works(self, replaced):
        x = danlu.ones(3, 2, dtype=danlu.float64, requires_grad=True)
        (x @ danlu.ones(2, 1, dtype=danlu.float64)).relu().sum().backward()
        assert x.grad.tolist() == [[1, 1]] * 3
        assert (danlu.ones(2, 3).t() + danlu.ones(3)[:, None] * 2).tolist() == [[3, 3]] * 3
        assert (danlu.tensor([1, 2]) * 2).tolist() == [2, 4]
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            F.linear(danlu.ones(3, 2), danlu.ones(4, 3))
        with pytest.raises(RuntimeError, match="must match the size"):
            danlu.ones(3) + danlu.ones(4)

    def test_second_derivatives(self, replaced):
        x = danlu.tensor([[0.5, -1.0]], requires_grad=True)
        w = danlu.tensor([[1.0, 2.0]], requires_grad=True)
        loss = F.mse_loss(F.linear(x, w), danlu.zeros(1, 1))
        (first,) = danlu.autograd.grad(loss, x, create_graph=True)
        (second,) = danlu.autograd.grad(first.sum(), w)
        expected = 2 * ((w @ x.T).item() + x.detach().numpy() * w.detach().numpy().sum())
        np.testing.assert_allclose(second.numpy(), expected, rtol=1e-6)

    def test_the_first_backward_pass_replaces(self, monkeypatch):
        quick.restore()
        monkeypatch.setattr(quick, "_tried", False)
        with road.forced("auto"):
            x = danlu.ones(2, requires_grad=True)
            total = x.sum()
            assert not quick._replaced
            total.backward()
            assert quick._replaced

    def test_the_same_seed_gives_the_same_run(self, replaced):
        for first, second in zip(steps(30), steps(30), strict=True):
            np.testing.assert_array_equal(first, second)

    def test_not_without_generated_code(self):
        quick.restore()
        with road.forced("numpy"):
            assert quick.replace() is False


# ---------------------------------------------------------------------- rows
ROWS = ("softmax log_softmax softmax_backward log_softmax_backward cross_entropy "
        "cross_entropy_backward total average").split()  # fmt: skip
quick.restore()  # another file's backward pass may have put ours there
BODIES = {**vars(softmax), **vars(cross_entropy)}


@pytest.fixture(scope="module")
def rows_functions():
    return small.load({name: (name, refuse) for name in ROWS})


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("shape", [(100, 8), (1, 1), (7, 13), (3, 17), (2, 3, 5), (9,), (4, 1)])
class TestRows:
    @pytest.mark.parametrize("name", ["softmax", "log_softmax"])
    def test_softmax(self, rows_functions, name, shape, end):
        x, g = 4 * normal(*shape, end=end), normal(*shape, seed=1, end=end)
        expected = BODIES[name].__wrapped__(x.astype(float), -1)
        out = rows_functions[name](x, -1)
        close(out, expected.astype(np.float32))
        back = BODIES[f"{name}_backward"].__wrapped__(g.astype(float), out.astype(float), -1)
        close(rows_functions[f"{name}_backward"](g, out, -1), back.astype(np.float32))
        if len(shape) == 2:
            np.testing.assert_array_equal(rows_functions[name](x, 1), out)

    def test_cross_entropy(self, rows_functions, shape, end):
        if len(shape) != 2:
            x = normal(*shape, end=end)
            assert rows_functions["cross_entropy"](x, np.zeros(1, np.int64)) is REFUSED
            return
        x = 4 * normal(*shape, end=end)
        classes = np.random.default_rng(2).integers(-shape[1], 2 * shape[1], shape[0])
        found = rows_functions["cross_entropy"](x, classes)
        expected = BODIES["cross_entropy"].__wrapped__(x.astype(float), classes)
        for got, right in zip(found, expected, strict=True):
            close(got, right.astype(np.float32))
        share = np.array(0.3, np.float32)
        slope = BODIES["cross_entropy_backward"].__wrapped__(
            x.astype(float), classes, *(each.astype(float) for each in expected[1:]), share
        )
        got = rows_functions["cross_entropy_backward"](x, classes, *found[1:], share)
        close(got, slope.astype(np.float32))
        each = np.full(shape[0], 0.3, np.float32)
        again = rows_functions["cross_entropy_backward"](x, classes, *found[1:], each)
        assert again is REFUSED

    def test_sums(self, rows_functions, shape, end):
        x = normal(*shape, end=end)
        close(rows_functions["total"](x, None, False, None), np.float32(x.sum(dtype=float)))
        close(rows_functions["average"](x, None, False, None), np.float32(x.mean(dtype=float)))
        assert rows_functions["total"](x, 0, False, None) is REFUSED
        assert rows_functions["total"](x, None, True, None) is REFUSED


def test_special_values_in_rows(rows_functions):
    inf, nan = np.inf, np.nan
    x = np.array(
        [[1, -inf, 2], [nan, 0, 1], [inf, 0, 1], [-inf] * 3, [200, 0, -200], [0, -0.0, 0]],
        np.float32,
    )
    with np.errstate(all="ignore"):
        for name in ("softmax", "log_softmax"):
            expected = BODIES[name].__wrapped__(x, -1)
            np.testing.assert_allclose(rows_functions[name](x, -1), expected, rtol=1e-6)
        losses, *_ = BODIES["cross_entropy"].__wrapped__(x, np.zeros(6, np.int64))
    found, *_ = rows_functions["cross_entropy"](x, np.zeros(6, np.int64))
    np.testing.assert_allclose(found, losses, rtol=1e-6)


def test_other_rows_are_refused(rows_functions):
    x, classes = normal(4, 3), np.zeros(4, np.int64)
    for wrong in (x.astype(float), x.T, np.ones((4, 0), np.float32), normal(200, 100), 1.0):
        assert rows_functions["softmax"](wrong, -1) is REFUSED
        assert rows_functions["cross_entropy"](wrong, classes) is REFUSED
    for axis in (0, 2, None, -2, True):
        assert rows_functions["softmax"](x, axis) is REFUSED
    assert rows_functions["softmax"](normal(2, 3, 4), 1) is REFUSED
    for wrong in (classes[:3], classes.astype(np.int32), classes[:, None], [0] * 4):
        assert rows_functions["cross_entropy"](x, wrong) is REFUSED
    assert rows_functions["total"](np.ones(5000, np.float32), None, False, None) is REFUSED


def test_classifiers_train_the_same(replaced):
    def run():
        danlu.manual_seed(0)
        network = danlu.nn.Linear(5, 3)
        optimizer = danlu.optim.SGD(network.parameters(), lr=0.1)
        x, y = danlu.randn(20, 5), danlu.randint(0, 3, (20,))
        y[3] = -100  # left out
        weights = danlu.tensor([1.0, 2.0, 0.5])
        losses = []
        for _ in range(20):
            scores = network(x)
            loss = F.cross_entropy(scores, y) + F.cross_entropy(scores, y, weight=weights)
            loss = (
                loss + F.nll_loss(F.log_softmax(scores, 1), y) + scores.softmax(1).max(1)[0].mean()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return np.array(losses)

    with_quick = run()
    quick.restore()
    np.testing.assert_allclose(with_quick, run(), rtol=1e-5)
