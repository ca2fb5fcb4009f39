"""Losses against PyTorch: values, both derivatives, warnings and mistakes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")

REDUCTIONS = ("mean", "sum", "none")
rng = np.random.default_rng(11)
PREDICTIONS = rng.normal(size=(4, 5))
VALUES = rng.normal(size=(4, 5))
SIGNS = np.sign(rng.normal(size=(4, 5)))
PROBABILITIES = rng.uniform(0.05, 0.95, (4, 5))
CLASSES = np.array([1, 0, 4, 2])
WEIGHTS = rng.uniform(0.5, 2.0, 5)


def numpy_of(tensor):
    return (
        None if tensor is None else (tensor.detach() + 0).numpy()
    )  # PyTorch's lazy zeros made real


def run(lib, call, inputs, order):
    leaves = [lib.from_numpy(np.array(each)).requires_grad_(True) for each in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = call(lib, *leaves)
    found = [out]
    factors = lib.arange(out.numel(), dtype=lib.float64).reshape(out.shape) + 1
    first = lib.autograd.grad(
        (out * factors).sum(), leaves, create_graph=order > 1, allow_unused=True
    )
    found += first
    if order > 1:
        used = [each for each in first if each is not None and each.requires_grad]
        total = sum((each * each).sum() for each in used)
        found += (
            lib.autograd.grad(total, leaves, allow_unused=True) if used else [None] * len(leaves)
        )
    return [numpy_of(each) for each in found]


def same(call, *inputs, order=2):
    for mine, theirs in zip(run(danlu, call, inputs, order), run(torch, call, inputs, order)):
        if mine is None or theirs is None:
            other = theirs if mine is None else mine
            assert other is None or not np.any(other)
            continue
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "options"),
    [("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.5}),
     ("smooth_l1_loss", {"beta": 0.0}), ("huber_loss", {"delta": 0.7}), ("poisson_nll_loss", {})],
)  # fmt: skip
def test_regression(name, options, reduction):
    def call(lib, x, y):
        return getattr(lib.nn.functional, name)(x, y, reduction=reduction, **options)

    same(call, PREDICTIONS, VALUES)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_regression(name, reduction):
    def call(lib, x, y):
        weight = lib.from_numpy(np.abs(VALUES) + 1)
        return getattr(lib.nn.functional, name)(x, y, reduction=reduction, weight=weight)

    same(call, PREDICTIONS, VALUES)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy(reduction, weighted):
    def call(lib, x, y):
        weight = lib.from_numpy(WEIGHTS) if weighted else None
        return lib.nn.functional.binary_cross_entropy(x, y, weight, reduction=reduction)

    # PyTorch has no second derivative for the target
    same(call, PROBABILITIES, PROBABILITIES[::-1], order=1)


def test_binary_cross_entropy_at_zero_and_one():
    def call(lib, x):
        return lib.nn.functional.binary_cross_entropy(x, lib.tensor([0.0, 1.0, 1.0, 0.0]).double())

    same(call, np.array([0.0, 1.0, 0.0, 1.0]), order=1)


def test_second_derivative_of_binary_cross_entropy():
    target = (VALUES > 0).astype(float)
    same(
        lambda lib, x: lib.nn.functional.binary_cross_entropy(x, lib.from_numpy(target)),
        PROBABILITIES,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("pos_weighted", [False, True])
def test_binary_cross_entropy_with_logits(reduction, weighted, pos_weighted):
    def call(lib, x, y):
        return lib.nn.functional.binary_cross_entropy_with_logits(
            x,
            y,
            lib.from_numpy(WEIGHTS) if weighted else None,
            pos_weight=lib.from_numpy(WEIGHTS[::-1].copy()) if pos_weighted else None,
            reduction=reduction,
        )

    same(call, PREDICTIONS * 10, PROBABILITIES)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_index", [-100, 0, 2])
@pytest.mark.parametrize(
    ("name", "smoothing"), [("nll_loss", 0.0), ("cross_entropy", 0.0), ("cross_entropy", 0.2)]
)
def test_class_targets(name, smoothing, ignore_index, weighted, reduction):
    options = {"label_smoothing": smoothing} if smoothing else {}

    def call(lib, x):
        return getattr(lib.nn.functional, name)(
            x,
            lib.from_numpy(CLASSES),
            lib.from_numpy(WEIGHTS) if weighted else None,
            ignore_index=ignore_index,
            reduction=reduction,
            **options,
        )

    same(call, PREDICTIONS)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (3, 5), (3, 5, 4), (3, 5, 2, 2)])
def test_class_targets_in_any_dimension(name, reduction, shape):
    logits = np.random.default_rng(1).normal(size=shape)
    target = np.random.default_rng(2).integers(
        0, 5, shape[:1] + shape[2:] if len(shape) > 1 else ()
    )

    def call(lib, x):
        classes = lib.tensor(target.tolist())
        return getattr(lib.nn.functional, name)(x, classes, reduction=reduction, ignore_index=3)

    same(call, logits)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_probability_targets(reduction, smoothing, weighted):
    def call(lib, x, y):
        weight = lib.from_numpy(WEIGHTS) if weighted else None
        return lib.nn.functional.cross_entropy(
            x, y, weight, reduction=reduction, label_smoothing=smoothing
        )

    same(call, PREDICTIONS, PROBABILITIES)


def test_everything_ignored_is_nan():
    for lib in (danlu, torch):
        target = lib.full((4,), -100)
        assert lib.nn.functional.cross_entropy(lib.from_numpy(PREDICTIONS), target).isnan()


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction, log_target):
    def call(lib, x, y):
        return lib.nn.functional.kl_div(x, y, reduction=reduction, log_target=log_target)

    same(call, PREDICTIONS, PROBABILITIES)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_with_signs(reduction):
    signs = SIGNS[:, 0].copy()

    def with_signs(name, count, target=SIGNS):
        def call(lib, *tensors):
            function = getattr(lib.nn.functional, name)
            return function(*tensors[:count], lib.from_numpy(target), reduction=reduction)

        return call

    same(with_signs("soft_margin_loss", 1), PREDICTIONS)
    same(with_signs("hinge_embedding_loss", 1), PREDICTIONS)
    same(with_signs("margin_ranking_loss", 2), PREDICTIONS, VALUES)
    same(with_signs("cosine_embedding_loss", 2, signs), PREDICTIONS, VALUES)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_margins(reduction):
    same(
        lambda lib, *t: lib.nn.functional.triplet_margin_loss(*t, swap=True, reduction=reduction),
        PREDICTIONS, VALUES, SIGNS,
    )  # fmt: skip
    for p in (1, 2):
        same(
            lambda lib, x, p=p: lib.nn.functional.multi_margin_loss(
                x, lib.from_numpy(CLASSES), p, 0.8, lib.from_numpy(WEIGHTS), reduction=reduction
            ),
            PREDICTIONS,
            order=1,
        )
    labels = np.array([[3, 0, -1, 1, 2], [1, 2, 3, 4, 0], [-1, 0, 0, 0, 0], [2, -1, 4, 4, 4]])
    same(
        lambda lib, x: lib.nn.functional.multilabel_margin_loss(
            x, lib.from_numpy(labels), reduction=reduction
        ),
        PREDICTIONS,
        order=1,
    )
    same(
        lambda lib, x, y: lib.nn.functional.multilabel_soft_margin_loss(x, y, reduction=reduction),
        PREDICTIONS,
        PROBABILITIES,
    )


@pytest.mark.parametrize("full", [False, True])
def test_gaussian_and_poisson(full):
    same(lambda lib, x, y, v: lib.nn.functional.gaussian_nll_loss(x, y, v, full=full),
         PREDICTIONS, VALUES, PROBABILITIES)  # fmt: skip
    same(
        lambda lib, x: lib.nn.functional.poisson_nll_loss(
            x, lib.tensor([[0.0, 1.0, 2.0, 3.0, 7.0]]).double(), log_input=False, full=full
        ),
        PROBABILITIES,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc(reduction, zero_infinity):
    logits = np.random.default_rng(4).normal(size=(8, 3, 5))
    targets = [[1, 1, 2], [3, 4, 1], [2, 1, 1]]

    def call(lib, x):
        return lib.nn.functional.ctc_loss(
            x.log_softmax(2), lib.tensor(targets), (8, 6, 7 if not zero_infinity else 1), (3, 2, 1 +
            zero_infinity),
            reduction=reduction, zero_infinity=zero_infinity,
        )  # fmt: skip

    same(call, logits, order=1)


# ------------------------------------------------------------------------------ warnings and
# mistakes
def test_warnings_of_shapes_and_old_arguments():
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        for lib in (torch, danlu):
            with pytest.warns(UserWarning, match=r"Using a target size \(torch.Size\(\[4\]\)\)"):
                getattr(lib.nn.functional, name)(lib.ones(4, 1), lib.ones(4))
    for lib in (torch, danlu):
        with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
            assert lib.nn.MSELoss(size_average=False).reduction == "sum"
        with pytest.warns(UserWarning, match="please use reduction='none' instead"):
            lib.nn.functional.mse_loss(lib.ones(4), lib.ones(4), reduce=False)


@pytest.mark.filterwarnings("ignore")
def test_shapes_that_do_not_broadcast():
    for lib in (torch, danlu):
        with pytest.raises(RuntimeError):
            lib.nn.functional.mse_loss(lib.ones(3, 4), lib.ones(3, 3))


MISTAKES = [
    lambda lib, F, x: F.mse_loss(x, x, reduction="average"),
    lambda lib, F, x: F.mse_loss(lib.ones(2).long(), lib.ones(2).long()),
    lambda lib, F, x: F.binary_cross_entropy(x + 5, x),
    lambda lib, F, x: F.binary_cross_entropy(x, lib.ones(4)),
    lambda lib, F, x: F.binary_cross_entropy(x, x.double()),
    lambda lib, F, x: F.binary_cross_entropy_with_logits(x, lib.ones(4)),
    lambda lib, F, x: F.cross_entropy(x, lib.tensor([0, 1, 5])),
    lambda lib, F, x: F.cross_entropy(x, lib.tensor([0, 1, -1])),
    lambda lib, F, x: F.nll_loss(x, lib.tensor([0, 1, 4])),
    lambda lib, F, x: F.cross_entropy(x, lib.tensor([0.0, 1.0, 2.0])),
    lambda lib, F, x: F.cross_entropy(x, lib.tensor([0, 1, 2]).int()),
    lambda lib, F, x: F.cross_entropy(x, lib.tensor([0, 1])),
    lambda lib, F, x: F.cross_entropy(x, lib.tensor([[0], [1], [2]])),
    lambda lib, F, x: F.cross_entropy(x, lib.tensor([0, 1, 2]), lib.ones(3)),
    lambda lib, F, x: F.cross_entropy(x, lib.tensor([0, 1, 2]), label_smoothing=2.0),
    lambda lib, F, x: F.cross_entropy(x.reshape(3, 2, 2), lib.zeros(3, 3).long()),
    lambda lib, F, x: F.huber_loss(x, x, delta=0.0),
    lambda lib, F, x: F.smooth_l1_loss(x, x, beta=-1.0),
    lambda lib, F, x: F.triplet_margin_loss(x, x, x, margin=0.0),
    lambda lib, F, x: F.multi_margin_loss(x, lib.tensor([0, 1, 2]), p=3),
    lambda lib, F, x: F.cosine_embedding_loss(x, x, lib.ones(3, 1)),
    lambda lib, F, x: F.gaussian_nll_loss(x, x, -x),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.filterwarnings("ignore")
def test_mistakes_raise_pytorchs_exceptions(mistake):
    with pytest.raises(Exception) as theirs:
        mistake(torch, torch.nn.functional, torch.full((3, 4), 0.5))
    with pytest.raises(type(theirs.value)) as mine:
        mistake(danlu, danlu.nn.functional, danlu.full((3, 4), 0.5))
    assert type(mine.value) is type(theirs.value)
    start = str(theirs.value).split("(")[0].split(".")[0][:30]
    assert str(mine.value).startswith(start)
