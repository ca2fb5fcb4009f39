"""Training as a user writes it: steps, epochs and `fit` on the two-rings data, a loader, a
full-batch regression.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from cases import case

ROWS, BATCH = 2800, 100
EPOCHS_A_FIT = 10


def rings(torch, rows=ROWS):
    """Points of two noisy rings, (rows, 2), and which ring each is on, (rows, 1)."""
    torch.manual_seed(0)
    half = rows // 2
    radius = torch.cat([torch.full((half, 1), 5.0), torch.full((rows - half, 1), 8.0)])
    radius = radius + torch.randn(rows, 1)
    angle = 2 * math.pi * torch.rand(rows, 1)
    features = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    labels = torch.cat([torch.zeros(half, 1), torch.ones(rows - half, 1)])
    return features, labels


def ring_network(torch):
    nn = torch.nn
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def ring_step(torch, optimizer, rows):
    features, labels = rings(torch, rows)
    network = ring_network(torch)
    loss_function = torch.nn.BCEWithLogitsLoss()
    optimizer = getattr(torch.optim, optimizer)(network.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        loss_function(network(features), labels).backward()
        optimizer.step()

    return step


@case("training step of the ring network, SGD, batch 20", at_most=0.35)
def ring_step_sgd_20(torch):
    return ring_step(torch, "SGD", 20)


@case("training step of the ring network, SGD, batch 100", at_most=0.35)
def ring_step_sgd_100(torch):
    return ring_step(torch, "SGD", 100)


@case("training step of the ring network, Adam, batch 20", at_most=0.30)
def ring_step_adam_20(torch):
    return ring_step(torch, "Adam", 20)


@case("training step of the ring network, Adam, batch 100", at_most=0.30)
def ring_step_adam_100(torch):
    return ring_step(torch, "Adam", 100)


@case("DataLoader epoch, 4000 rows, batch 100, shuffled", at_most=0.05)
def loader_epoch(torch):
    from importlib import import_module

    data = import_module(f"{torch.__name__}.utils.data")
    loader = data.DataLoader(data.TensorDataset(*rings(torch, 4000)), batch_size=100, shuffle=True)

    def epoch():
        for _ in loader:
            pass

    return epoch


def ring_training(torch):
    """The shuffled loader, the network, the loss and the optimizer of an epoch on the ring data."""
    from importlib import import_module

    data = import_module(f"{torch.__name__}.utils.data")
    loader = data.DataLoader(data.TensorDataset(*rings(torch)), batch_size=BATCH, shuffle=True)
    network = ring_network(torch)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    return loader, network, torch.nn.BCEWithLogitsLoss(), optimizer


@case("epoch of a plain loop on the ring data: 28 steps, Adam, accuracy")
def loop_epoch(torch):
    loader, network, loss_function, optimizer = ring_training(torch)

    def epoch():
        total_loss, right, rows = 0.0, 0, 0
        for features, labels in loader:
            optimizer.zero_grad()
            predictions = network(features)
            loss = loss_function(predictions, labels)
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
            right += ((predictions > 0) == (labels > 0.5)).sum().item()
            rows += len(labels)
        return total_loss / len(loader), right / rows

    return epoch


def keras_training(danlu, compile):
    """A `KerasModel` for the ring data, and a function that fits it for some epochs and stays at
    the last one, as a plain loop does: the state of another epoch would be traced anew.
    """
    from danlu.keras import KerasModel
    from danlu.metrics import Accuracy

    loader, network, loss_function, optimizer = ring_training(danlu)
    model = KerasModel(network, loss_function, {"acc": Accuracy()}, optimizer)
    checkpoint = str(Path(tempfile.mkdtemp(prefix="danlu-bench-")) / "checkpoint")

    def fit():
        model.fit(
            loader,
            epochs=EPOCHS_A_FIT,
            ckpt_path=checkpoint,
            monitor="train_loss",
            patience=1000,
            plot=False,
            quiet=True,
            restore_best=False,
            compile=compile,
        )

    return model, fit


def eager_fit(danlu):
    """Epochs of `fit` whose steps run eagerly."""
    _, fit = keras_training(danlu, compile=False)
    return fit, EPOCHS_A_FIT


@case("epoch of KerasModel.fit on the ring data, against torch's plain loop", at_most=0.40)
def fit_epoch(torch):
    return loop_epoch(torch) if torch.__name__ == "torch" else eager_fit(torch)


@case("epoch of KerasModel.fit, against danlu's own plain loop", at_most=1.10, against="loop_epoch")
def fit_over_loop(torch):
    return eager_fit(torch)


@case("full-batch linear regression, 100,000 rows of 10, one step", at_most=0.60)
def regression_100000(torch):
    torch.manual_seed(0)
    features = torch.randn(100000, 10)
    target = features @ torch.randn(10, 1) + 0.1 * torch.randn(100000, 1)
    model = torch.nn.Linear(10, 1)
    loss_function = torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        loss_function(model(features), target).backward()
        optimizer.step()

    return step
