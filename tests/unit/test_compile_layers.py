"""Layers and losses in a trace: forward and backward pass, buffers and random numbers as without."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import danlu as torch
from danlu import nn
from danlu.compiler.operators import operators_on_traced
from danlu.compiler.session import Session
from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.graph.traced import lift
from tests.unit.layer_samples import SAMPLES
from tests.unit.recorded import evaluate

pytestmark = pytest.mark.filterwarnings("ignore")

# what a trace leaves to eager code, and why
REFUSED = {
    "AdaptiveLogSoftmaxWithLoss": "how many samples a cluster has decides shapes",
    "BatchNorm1d-cumulative-train": "the momentum is a number made of the count of batches",
    "EmbeddingBag-largest": "indices decide how many rows a bag has",
    "FractionalMaxPool2d": "windows begin where random numbers say",
    "FractionalMaxPool3d": "windows begin where random numbers say",
    "MaxUnpool1d": "the indices are checked by value",
    "MaxUnpool2d": "the indices are checked by value",
    "MaxUnpool3d": "the indices are checked by value",
}
# of `danlu.nn`, what calls nothing by itself
NO_LAYERS = {
    "DataParallel", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "RNNBase",
    "RNNCellBase", "Sequential", "TransformerDecoder", "TransformerEncoder",
}  # fmt: skip


def tensors_of(value) -> list:
    """The tensors in nested results."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [each for one in value for each in tensors_of(one)]
    return []


class Step:
    """One forward and backward pass of a layer, as a function without arguments."""

    def __init__(self, module, inputs):
        self.module, self.inputs = module, inputs

    def __call__(self):
        outputs = tensors_of(self.module(*self.inputs))
        smooth = [each for each in outputs if each.requires_grad]
        if smooth:
            sum((each * torch.cos(each.detach() + 1)).sum() for each in smooth).backward()
        leaves = [*self.module.parameters(), *self.inputs]
        return [*outputs, *(each.grad for each in leaves)]

    def eager(self):
        """What a step gives without a trace; gradients are forgotten."""
        found = [None if each is None else each.detach().numpy().copy() for each in self()]
        for each in (*self.module.parameters(), *self.inputs):
            each.grad = None
        return found


class Recorded:
    """A step in a trace."""

    def __init__(self, step):
        session = Session()
        self.graph, self.arguments = session.graph, session.arguments
        self.results = session.run(lambda: self._nodes(step()), [operators_on_traced()])

    def _nodes(self, tensors):
        return [None if each is None else lift(self.graph, each._array).node for each in tensors]

    def run(self):
        return evaluate(self.graph, self.results, self.arguments)

    def launched(self):
        """`run` by machine code."""
        from danlu.kernels.graph.plan import plan_graph

        plan = plan_graph(self.graph, self.results, self.arguments)
        return lambda: list(plan.launch(*self.arguments))


def built(sample):
    """The layer, called once where it takes its sizes from what it gets."""
    torch.manual_seed(1)
    options = {
        name: torch.from_numpy(each) if isinstance(each, np.ndarray) else each
        for name, each in sample.options.items()
    }
    return getattr(nn, sample.name)(*sample.args, **options)


def inputs_of(sample):
    rng = np.random.default_rng(3)

    def tensor(given):
        if isinstance(given, np.ndarray):
            return torch.from_numpy(given.copy())
        shares = given[0] == "share"
        made = rng.uniform(0.1, 0.9, given[1:]) if shares else rng.standard_normal(given)
        return torch.from_numpy(made.astype(np.float32)).requires_grad_()

    return [tensor(each) for each in sample.inputs]


def same(given, expected) -> None:
    assert len(given) == len(expected)
    for mine, other in zip(given, expected, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
            np.testing.assert_allclose(mine, other, rtol=2e-5, atol=1e-5)


def check(module, twin, sample_inputs, launch=False):
    """Two steps of a layer, recorded once, and of its twin, eager."""
    step, eager = Step(module, sample_inputs()), Step(twin, sample_inputs())
    before = torch.get_rng_state().numpy()
    recorded = Recorded(step)
    np.testing.assert_array_equal(torch.get_rng_state().numpy(), before)
    run = recorded.launched() if launch else recorded.run
    for seed in (5, 6):
        torch.manual_seed(seed)
        expected = eager.eager(), torch.get_rng_state().numpy()
        torch.manual_seed(seed)
        given = run(), torch.get_rng_state().numpy()
        same(given[0], expected[0])
        np.testing.assert_array_equal(given[1], expected[1])
        same(*[[each.numpy() for each in one.module.state_dict().values()]
               for one in (step, eager)])  # fmt: skip


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_layer_gives_in_a_trace_what_it_gives_without(sample, training):
    module = built(sample).train(training)
    if "Lazy" in sample.name:
        module(*inputs_of(sample))
    mode = "train" if training else "eval"
    if not REFUSED.keys().isdisjoint((str(sample), f"{sample}-{mode}")):
        with pytest.raises(Unsupported):
            Recorded(Step(module, inputs_of(sample)))
        return
    check(module, copy.deepcopy(module), lambda: inputs_of(sample))


LAUNCHED = (
    "BatchNorm2d", "Conv2d", "CrossEntropyLoss-options", "Dropout", "EmbeddingBag-offsets", "LSTM-deep",
    "MultiheadAttention-dropout", "TransformerEncoderLayer",
)  # fmt: skip


@pytest.mark.parametrize("sample", [each for each in SAMPLES if str(each) in LAUNCHED], ids=str)
def test_launches_of_layers(sample):
    pytest.importorskip("llvmlite")
    module = built(sample)
    check(module, copy.deepcopy(module), lambda: inputs_of(sample), launch=True)


def test_every_layer_has_a_sample():
    layers = {
        name for name, each in vars(nn).items()
        if isinstance(each, type) and issubclass(each, nn.Module)
    }  # fmt: skip
    assert layers - {sample.name for sample in SAMPLES} <= NO_LAYERS


WRAPPED = {
    "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8), 2),
    "layers in a row": lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh()),
    "norm of weights": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)),
    "norm of weights, by hook": lambda: nn.utils.weight_norm(nn.Linear(6, 4)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(6, 4)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4)),
    "spectral norm, by hook": lambda: nn.utils.spectral_norm(nn.Linear(6, 4)),
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("build", WRAPPED.values(), ids=WRAPPED)
def test_layers_of_layers(build, training):
    torch.manual_seed(1)
    module = build().train(training)
    torch.manual_seed(1)
    twin = build().train(training)
    x = np.random.default_rng(3).standard_normal((5, 6)).astype(np.float32)
    check(module, twin, lambda: [torch.from_numpy(x.copy()).requires_grad_()])
