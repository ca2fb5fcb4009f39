"""`KerasModel.fit(compile=...)`: machine code trains like eager code, and says when it does not."""

from __future__ import annotations

import copy
import warnings

import pytest

import danlu
from danlu import nn
from danlu.keras import KerasModel
from danlu.keras.compiled import AFTER
from danlu.metrics import AUROC, Accuracy
from danlu.utils.data import DataLoader, Subset, TensorDataset

pytest.importorskip("llvmlite")


class Counting:
    """A callback that asks for batches."""

    def __init__(self):
        self.batches = 0

    def on_train_batch_end(self, model):
        self.batches += 1


class Reader(nn.Module):
    """A network that looks at values."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        y = self.layer(x)
        return y if y.sum().item() < 1e30 else -y


def network(dropout=0.0):
    layers = [nn.Linear(3, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1)]
    return nn.Sequential(*layers)


def trained(mode, *, net=None, rows=100, epochs=4, scheduler=False, metrics=None, **options):
    danlu.manual_seed(0)
    net = network() if net is None else net()
    x = danlu.randn(rows, 3)
    y = (x.sum(1, keepdim=True) > 0).float()
    optimizer = danlu.optim.Adam(net.parameters(), lr=0.01)
    rates = danlu.optim.lr_scheduler.StepLR(optimizer, 7, 0.9) if scheduler else None
    metrics = {"acc": Accuracy()} if metrics is None else metrics()
    model = KerasModel(net, nn.BCEWithLogitsLoss(), metrics, optimizer, rates, **options)
    data = options.get("data", (x, y))
    loader = DataLoader(TensorDataset(*data), batch_size=8, shuffle=True)
    history = model.fit(
        loader, (x, y), epochs=epochs, ckpt_path=None, patience=None, plot=False, quiet=True,
        restore_best=False, compile=mode,
    )  # fmt: skip
    return model, history


def assert_alike(one, other):
    (left, first), (right, second) = one, other
    assert list(first.columns) == list(second.columns)
    assert (first - second).abs().max().max() < 1e-5
    for a, b in zip(left.net.state_dict().values(), right.net.state_dict().values()):
        assert danlu.allclose(a, b, rtol=1e-4, atol=1e-6)
    steps = [
        [entry["step"].item() for entry in model.optimizer.state.values()]
        for model in (left, right)
    ]
    assert steps[0] == steps[1]


VARIANTS = {
    "plain": {},
    "a smaller last batch": {"rows": 101},
    "dropout": {"net": lambda: network(0.3)},
    "a scheduler": {"scheduler": True},
    "clipping": {"clip": 0.1},
    "a metric of batches": {"metrics": lambda: {"auc": AUROC(), "sum": lambda p, y: p.sum()}},
    "batch norm": {
        "net": lambda: nn.Sequential(
            nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 1)
        )
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_compiled_fit_is_the_eager_one(variant):
    options = VARIANTS[variant]
    expected, found = trained(False, **options), trained(True, **options)
    assert_alike(found, expected)
    assert "the train step ran compiled" in found[0].compiled
    assert expected[0].compiled == ""


def test_auto_begins_with_eager_steps():
    few = AFTER // 13
    model, _ = trained("auto", epochs=few)
    assert model.compiled == ""
    model, _ = trained("auto", epochs=few + 3)
    assert "the train step ran compiled" in model.compiled
    assert_alike((model, _), trained(False, epochs=few + 3))


def test_epochs_of_data_in_memory_are_native_calls(monkeypatch):
    from danlu.compiler.program import Program

    lengths = []
    repeat = Program.repeat

    def counted(self, args, kwargs, rows, order):
        lengths.append(len(order))
        return repeat(self, args, kwargs, rows, order)

    monkeypatch.setattr(Program, "repeat", counted)
    trained(True, rows=96, epochs=3)
    assert lengths[-2:] == [12, 3]  # an epoch of training in batches of 8, of validation in 32


def test_callbacks_that_ask_for_batches_get_them():
    danlu.manual_seed(0)
    net, counting = network(), Counting()
    model = KerasModel(net, nn.MSELoss())
    x = danlu.randn(40, 3)
    model.fit(
        (x, x[:, :1]), epochs=3, batch_size=8, ckpt_path=None, plot=False, quiet=True,
        monitor="train_loss", callbacks=[counting], compile=True,
    )  # fmt: skip
    assert counting.batches == 15
    assert "the train step ran compiled" in model.compiled


def test_subsets_are_gathered_from_the_whole():
    found = []
    for mode in (False, True):
        danlu.manual_seed(0)
        net = network()
        x = danlu.randn(60, 3)
        data = Subset(TensorDataset(x, x[:, :1] * 2), range(10, 50))
        model = KerasModel(net, nn.MSELoss())
        history = model.fit(
            DataLoader(data, batch_size=8, shuffle=True), epochs=4, ckpt_path=None, plot=False,
            quiet=True, monitor="train_loss", compile=mode,
        )  # fmt: skip
        found.append(history["train_loss"].tolist())
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_what_is_refused_trains_eagerly_and_says_so():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, history = trained("auto", net=Reader, epochs=6)
    assert (
        "the train step ran eagerly" in model.compiled and "test_keras_compile.py" in model.compiled
    )
    assert_alike((model, history), trained(False, net=Reader, epochs=6))


def test_true_warns_where_it_cannot():
    from danlu.compiler import CompileWarning

    with pytest.warns(CompileWarning, match=r"the train step runs eagerly.*test_keras_compile\.py"):
        trained(True, net=Reader, epochs=1)


def test_a_copy_trains_its_own_network():
    model, _ = trained(True)
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    other = copy.deepcopy(model)
    x = danlu.randn(40, 3)
    other.fit(
        (x, (x[:, :1] > 0).float()), epochs=2, ckpt_path=None, plot=False, quiet=True,
        monitor="train_loss", compile=True,
    )  # fmt: skip
    assert "ran compiled" in other.compiled
    assert all(danlu.equal(value, before[name]) for name, value in model.net.state_dict().items())
    assert not all(danlu.equal(v, before[name]) for name, v in other.net.state_dict().items())


def test_other_modes_are_refused():
    with pytest.raises(ValueError, match="compile must be 'auto', True or False, got 'yes'"):
        trained("yes")
