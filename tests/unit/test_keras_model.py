"""`KerasModel` and the older `Model`: training, stopping, checks, resuming, extension points."""

from __future__ import annotations

import math
import os
import re

import numpy as np
import pytest

import danlu
from danlu import nn
from danlu.keras import KerasModel, Model
from danlu.metrics import Accuracy, MeanAbsoluteError
from danlu.optim import SGD, Adam
from danlu.utils.data import DataLoader, TensorDataset


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    danlu.manual_seed(0)


def line_data(rows=60):
    x = danlu.rand(rows, 2)
    return x, x @ danlu.tensor([[2.0], [-3.0]]) + 1.0


def loader_of(*tensors, batch_size=10, **options):
    return DataLoader(TensorDataset(*tensors), batch_size=batch_size, **options)


def line_model(lr=0.1, **options):
    net = nn.Linear(2, 1)
    options.setdefault("metrics_dict", {"mae": MeanAbsoluteError()})
    return KerasModel(net, nn.MSELoss(), optimizer=SGD(net.parameters(), lr=lr), **options)


def fit(model, *args, **options):
    return model.fit(*args, **{"plot": False, "quiet": True, **options})


class Scripted(nn.Module):
    """A network whose loss is a script: validation losses by epoch, its weight the epoch."""

    def __init__(self, losses):
        super().__init__()
        self.weight = nn.Parameter(danlu.zeros(1))
        self.losses, self.epoch = losses, 0

    def forward(self, x):
        return self.weight * x


def scripted(losses, **options):
    """A fit whose monitored values are `losses`; returns (model, history)."""
    net = Scripted(losses)

    def loss_fn(preds, labels):
        if net.training:
            return (preds * 0).sum()
        return (preds * 0).sum() + losses[net.epoch - 1]

    class Epochs:
        def on_train_epoch_start(self, model):
            net.epoch = model.epoch

        def on_train_epoch_end(self, model):
            with danlu.no_grad():
                net.weight.fill_(float(model.epoch))

    model = KerasModel(net, loss_fn, optimizer=SGD(net.parameters(), lr=0.1))
    x = danlu.ones(2, 1)
    options = {"epochs": len(losses), "callbacks": [Epochs()], "patience": None, **options}
    return model, fit(model, [(x, x)], [(x, x)], **options)


class TestHistory:
    def test_columns_and_values(self):
        x, y = line_data()
        history = fit(line_model(), loader_of(x, y), loader_of(x, y), epochs=3)
        columns = ["epoch", "train_loss", "train_mae", "lr", "val_loss", "val_mae"]
        assert list(history.columns) == columns
        assert history["epoch"].tolist() == [1, 2, 3]
        assert history["lr"].tolist() == [0.1] * 3
        assert history["val_loss"].is_monotonic_decreasing

    def test_same_as_the_bare_loop(self):
        x, y = line_data(55)
        model = line_model()
        bare = nn.Linear(2, 1)
        bare.load_state_dict(model.net.state_dict())
        fit(model, loader_of(x, y), epochs=4, restore_best=False)
        optimizer = SGD(bare.parameters(), lr=0.1)
        for _ in range(4):
            total = 0.0
            for features, labels in loader_of(x, y):
                loss = nn.functional.mse_loss(bare(features), labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                total += loss.item() / 6
        assert danlu.equal(bare.weight, model.net.weight)
        assert model.history["train_loss"][-1] == pytest.approx(total, rel=1e-6)

    def test_metrics_are_those_of_the_whole_epoch(self):
        x, y = line_data(25)
        model = line_model(metrics_dict={"mae": MeanAbsoluteError(), "fn": nn.functional.l1_loss})
        values = model.evaluate(loader_of(x, y), quiet=True)
        expected = (model.net(x) - y).abs().mean().item()
        assert values["val_mae"] == pytest.approx(expected, rel=1e-5)
        assert values["val_fn"] == pytest.approx(expected, rel=1e-5)
        assert all(type(value) is float for value in values.values())

    def test_metrics_with_state_that_a_loader_overwrites(self):
        class Reused:
            def __iter__(self):
                x = danlu.zeros(2, 1)
                for value in (1.0, 3.0):
                    x.fill_(value)
                    yield x, danlu.zeros(2, 1)

        model = KerasModel(
            nn.Identity(), nn.MSELoss(), {"mae": MeanAbsoluteError()}, SGD([danlu.zeros(1)], 0.1)
        )
        assert model.evaluate(Reused(), quiet=True)["val_mae"] == 2.0

    def test_learning_rate_after_the_last_step(self):
        x, y = line_data(30)
        net = nn.Linear(2, 1)
        optimizer = SGD(net.parameters(), lr=0.8)
        scheduler = danlu.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
        model = KerasModel(net, nn.MSELoss(), optimizer=optimizer, lr_scheduler=scheduler)
        assert fit(model, loader_of(x, y), epochs=2)["lr"].tolist() == [0.4, 0.2]

    def test_plateau_scheduler_steps_once_an_epoch(self):
        net = Scripted([])
        optimizer = SGD(net.parameters(), lr=1.0)
        scheduler = danlu.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        x = danlu.ones(4, 1)
        model = KerasModel(
            net, lambda p, y: (p * 0).sum(), optimizer=optimizer, lr_scheduler=scheduler
        )
        history = fit(model, [(x, x)] * 3, epochs=3)
        assert history["lr"].tolist() == [1.0, 1.0, 0.5]

    def test_second_fit_starts_a_new_history(self):
        x, y = line_data()
        model = line_model()
        fit(model, loader_of(x, y), epochs=2)
        assert fit(model, loader_of(x, y), epochs=3)["epoch"].tolist() == [1, 2, 3]


class TestBest:
    def test_ends_on_the_best_weights_when_all_epochs_ran(self):
        model, history = scripted([3.0, 1.0, 2.0])
        assert model.net.weight.item() == 2.0
        assert (model.best_epoch, model.best_value) == (2, 1.0)
        assert len(history) == 3

    def test_restore_best_can_be_declined(self):
        assert scripted([3.0, 1.0, 2.0], restore_best=False)[0].net.weight.item() == 3.0

    def test_nan_is_never_best(self):
        assert scripted([math.nan, 2.0, 1.0, math.nan])[0].net.weight.item() == 3.0
        assert scripted([1.0, math.nan], mode="max")[0].net.weight.item() == 1.0

    def test_only_nan_keeps_the_last_weights(self):
        model, _ = scripted([math.nan, math.nan])
        assert model.net.weight.item() == 2.0 and model.best_epoch is None

    def test_first_of_equal_values(self):
        assert scripted([2.0, 1.0, 1.0])[0].net.weight.item() == 2.0

    def test_mode_max(self):
        assert scripted([1.0, 3.0, 2.0], mode="max")[0].net.weight.item() == 2.0

    def test_patience(self):
        model, history = scripted([1.0, 0.5, 2.0, 2.0, 0.1], patience=2)
        assert len(history) == 4
        assert model.net.weight.item() == 2.0

    def test_a_second_fit_goes_on_from_the_best_moment(self):
        validation_losses = [2.0, 1.0, 3.0, 3.0]

        class Loss(nn.MSELoss):
            scripted = 0.0

            def forward(self, preds, labels):
                loss = super().forward(preds, labels)
                return loss if danlu.is_grad_enabled() else loss * 0 + self.scripted

        class Script:
            def on_train_epoch_end(self, model):
                model.loss_fn.scripted = validation_losses[model.epoch - 1]

        def trained(epochs):
            danlu.manual_seed(3)
            x, y = line_data()
            net = nn.Linear(2, 1)
            model = KerasModel(net, Loss(), optimizer=Adam(net.parameters(), lr=0.05))
            data = loader_of(x, y)
            fit(model, data, data, epochs=epochs, callbacks=[Script()])
            assert model.best_epoch == 2
            fit(model, data, epochs=1, restore_best=False)
            return net.weight

        assert danlu.equal(trained(4), trained(2))

    def test_checkpoint_holds_the_best_weights(self):
        model, _ = scripted([3.0, 1.0, 2.0], ckpt_path="runs/best")
        assert os.listdir("runs") == ["best"]
        assert danlu.load("runs/best")["weight"].item() == 2.0
        with danlu.no_grad():
            model.net.weight.fill_(7.0)
        model.load_ckpt()
        assert model.net.weight.item() == 2.0

    def test_no_checkpoint_on_request(self):
        model, _ = scripted([1.0], ckpt_path=None)
        assert os.listdir(".") == []
        with pytest.raises(FileNotFoundError, match="no checkpoint at 'elsewhere'"):
            model.load_ckpt("elsewhere")

    def test_save_and_load(self):
        model = line_model()
        model.save_ckpt("here.pt")
        other = line_model()
        other.load_ckpt("here.pt")
        assert danlu.equal(model.net.weight, other.net.weight)


class TestCheckedBeforeTheFirstStep:
    def refused(self, model, data, match, error=ValueError, **options):
        before = {name: value.clone() for name, value in model.net.state_dict().items()}
        with pytest.raises(error, match=match):
            fit(model, data, **options)
        for name, value in model.net.state_dict().items():
            assert danlu.equal(value, before[name]), name

    def test_column_against_row(self):
        x, y = line_data()
        data = loader_of(x, y.squeeze(1))
        for loss_fn in (nn.MSELoss(), nn.functional.l1_loss, nn.BCEWithLogitsLoss()):
            model = KerasModel(nn.Linear(2, 1), loss_fn)
            self.refused(model, data, r"\(10, 1\).*\(10,\).*squeeze|out of range")

    def test_column_against_row_in_a_metric(self):
        x, y = line_data()

        def squeezing(preds, labels):
            return nn.functional.mse_loss(preds.squeeze(1), labels)

        data = loader_of(x, y.squeeze(1))
        model = KerasModel(nn.Linear(2, 1), squeezing, {"mae": MeanAbsoluteError()})
        self.refused(model, data, "MeanAbsoluteError: .*squeeze")
        model = KerasModel(nn.Linear(2, 1), squeezing)
        assert len(fit(model, data, epochs=1)) == 1

    def test_labels_out_of_range(self):
        data = loader_of(danlu.rand(10, 2), danlu.tensor([0, 1, 2, 1, 3, 0, 0, 0, 0, 0]))
        model = KerasModel(nn.Linear(2, 3), nn.CrossEntropyLoss())
        self.refused(model, data, "label 3 at position 4 .* 3 classes")

    def test_class_labels_in_a_column(self):
        data = loader_of(danlu.rand(10, 2), danlu.zeros(10, 1, dtype=danlu.int64))
        self.refused(
            KerasModel(nn.Linear(2, 3), nn.CrossEntropyLoss()), data, r"labels\.squeeze\(1\)"
        )

    def test_floating_class_labels(self):
        data = loader_of(danlu.rand(10, 2), danlu.zeros(10))
        self.refused(KerasModel(nn.Linear(2, 3), nn.CrossEntropyLoss()), data, r"labels\.long\(\)")

    def test_binary_labels_out_of_range(self):
        data = loader_of(danlu.rand(10, 2), 2 * danlu.ones(10, 1))
        self.refused(KerasModel(nn.Linear(2, 1), nn.BCEWithLogitsLoss()), data, "between 0 and 1")

    def test_loss_that_is_not_one_number(self):
        x, y = line_data()
        model = KerasModel(nn.Linear(2, 1), nn.MSELoss(reduction="none"))
        self.refused(model, loader_of(x, y), r"shape \(10, 1\).*mean")

    def test_batch_that_is_not_a_pair(self):
        x, y = line_data()
        self.refused(line_model(), loader_of(x, y, y), "tuple|list of 3 elements", TypeError)

    def test_leaves_random_stream_modes_and_buffers_alone(self):
        x, y = line_data(20)
        batches = [(x[:10], y[:10]), (x[10:], y[10:])]

        def trained(check):
            danlu.manual_seed(5)
            net = nn.Sequential(
                nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)
            )
            optimizer = SGD(net.parameters(), lr=0.1)
            if check:
                model = KerasModel(net, nn.MSELoss(), optimizer=optimizer)
                fit(model, batches, epochs=1, restore_best=False)
            else:
                for features, labels in batches:
                    nn.functional.mse_loss(net(features), labels).backward()
                    optimizer.step()
                    optimizer.zero_grad()
            return net.state_dict()

        checked, bare = trained(True), trained(False)
        for name in bare:
            assert danlu.equal(checked[name], bare[name]), name

    def test_monitor(self):
        x, y = line_data()
        data = loader_of(x, y)
        self.refused(
            line_model(),
            data,
            "valid names: train_loss, train_mae, val_loss, val_mae",
            monitor="val_acc",
            val_data=data,
        )
        self.refused(line_model(), data, "needs validation data", monitor="val_mae")
        self.refused(line_model(), data, "mode must be", mode="auto")
        model = line_model()
        fit(model, data, epochs=1)
        assert model.monitor == "train_loss"

    def test_constructor(self):
        with pytest.raises(TypeError, match=r"write Accuracy\(\)"):
            KerasModel(nn.Linear(1, 1), nn.MSELoss(), {"acc": Accuracy})
        with pytest.raises(TypeError, match="net must be"):
            KerasModel(lambda x: x, nn.MSELoss())

    def test_empty_data(self):
        with pytest.raises(ValueError, match="no batch"):
            fit(line_model(), [])


class TestInterruption:
    class Interrupt:
        def __init__(self, epoch):
            self.epoch = epoch

        def on_train_batch_end(self, model):
            if model.epoch == self.epoch:
                raise KeyboardInterrupt

    def test_returns_the_history_and_keeps_the_best_weights(self):
        x, y = line_data()
        model = line_model()
        history = fit(model, loader_of(x, y), epochs=9, callbacks=[self.Interrupt(4)])
        assert history["epoch"].tolist() == [1, 2, 3]
        best = danlu.load("checkpoint")
        assert danlu.equal(best["weight"], model.net.weight)

    def test_in_the_first_epoch(self):
        x, y = line_data()
        assert len(fit(line_model(), loader_of(x, y), callbacks=[self.Interrupt(1)])) == 0

    @pytest.mark.parametrize("interrupted_in", [1, 2, 4])
    def test_resumed_run_equals_an_uninterrupted_one(self, interrupted_in):
        x, y = line_data()

        def model():
            danlu.manual_seed(1)
            net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.3), nn.Linear(8, 1))
            optimizer = Adam(net.parameters(), lr=0.05)
            scheduler = danlu.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.8)
            return KerasModel(net, nn.MSELoss(), None, optimizer, scheduler)

        data = loader_of(x, y, shuffle=True)
        whole = model()
        expected = fit(whole, data, epochs=5, ckpt_path="whole")
        interrupt = self.Interrupt(interrupted_in)
        fit(model(), data, epochs=5, ckpt_path="parts", resume=True, callbacks=[interrupt])
        second = model()
        history = fit(second, data, epochs=5, ckpt_path="parts", resume=True)
        assert history.equals(expected)
        for name, value in whole.net.state_dict().items():
            assert danlu.equal(value, second.net.state_dict()[name]), name

    def test_resume_needs_a_file(self):
        with pytest.raises(ValueError, match="needs a ckpt_path"):
            fit(line_model(), line_data(), ckpt_path=None, resume=True)


class TestData:
    def test_arrays(self):
        x, y = line_data(50)
        history = fit(
            line_model(), (x.numpy().astype(np.float64), y.numpy()), validation_split=0.2, epochs=2
        )
        assert "val_mae" in history
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(x.numpy().astype(np.float64), columns=["a", "b"])
        assert len(fit(line_model(), (frame, y.numpy()), epochs=1)) == 1

    def test_dataset(self):
        assert len(fit(line_model(), TensorDataset(*line_data()), epochs=1)) == 1

    def test_validation_split_takes_the_last_rows(self):
        from danlu.keras.data import split_validation

        train, val = split_validation([danlu.arange(10)], 0.3)
        assert train[0].tolist() == list(range(7)) and val[0].tolist() == [7, 8, 9]
        with pytest.raises(ValueError, match="between 0 and 1"):
            split_validation([danlu.arange(10)], 1.5)
        with pytest.raises(ValueError, match="works on arrays"):
            fit(line_model(), loader_of(*line_data()), validation_split=0.2)

    def test_refuses(self):
        x, y = line_data()
        with pytest.raises(TypeError, match="iterator, which is empty after one epoch"):
            fit(line_model(), iter(loader_of(x, y)))
        with pytest.raises(TypeError, match="must be a DataLoader"):
            fit(line_model(), 3)
        with pytest.raises(ValueError, match="different numbers of rows"):
            fit(line_model(), (x, y[:5]))

    def test_predict(self):
        x, y = line_data(25)
        model = line_model()
        expected = model.net(x)
        for data in (x, x.numpy(), (x, y), loader_of(x), loader_of(x, y), TensorDataset(x)):
            preds = model.predict(data, batch_size=7)
            assert not preds.requires_grad
            assert danlu.allclose(preds, expected)

    def test_predict_leaves_the_mode(self):
        model = KerasModel(
            nn.Sequential(nn.Dropout(0.5)), nn.MSELoss(), optimizer=SGD([danlu.zeros(1)], 0.1)
        )
        x = danlu.ones(5, 2)
        assert danlu.equal(model.predict(x), x)
        assert model.net.training


class TestExtension:
    def test_step_runner_of_ones_own(self):
        class PairStep:
            def __init__(
                self,
                net,
                loss_fn,
                accelerator=None,
                stage="train",
                metrics_dict=None,
                optimizer=None,
                lr_scheduler=None,
            ):
                self.net, self.loss_fn, self.stage = net, loss_fn, stage
                self.metrics_dict, self.optimizer = metrics_dict, optimizer
                self.accelerator = accelerator
                net.train(stage == "train")

            def __call__(self, batch):
                x, y = batch["x"], batch["y"]
                preds = self.net(x)
                loss = self.loss_fn(preds, y)
                if self.optimizer is not None and self.stage == "train":
                    self.accelerator.backward(loss)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                preds, y = self.accelerator.gather(preds), self.accelerator.gather(y)
                values = {
                    f"{self.stage}_{name}": metric(preds, y).item()
                    for name, metric in self.metrics_dict.items()
                }
                return {f"{self.stage}_loss": loss.item(), f"{self.stage}_extra": 1.0}, values

        class Custom(KerasModel):
            StepRunner = PairStep

        x, y = line_data(20)
        net = nn.Linear(2, 1)
        model = Custom(net, nn.MSELoss(), {"mae": MeanAbsoluteError()}, SGD(net.parameters(), 0.1))
        batches = [{"x": x[:10], "y": y[:10]}, {"x": x[10:], "y": y[10:]}]
        history = fit(model, batches, batches, epochs=3, monitor="val_extra")
        columns = "epoch train_loss train_extra train_mae lr val_loss val_extra val_mae"
        assert list(history.columns) == columns.split()
        assert history["train_loss"].is_monotonic_decreasing
        expected = (model.predict(x) - y).abs().mean().item()
        assert model.evaluate(batches, quiet=True)["val_mae"] == pytest.approx(expected, rel=1e-5)
        with pytest.raises(
            ValueError, match="'val_other' is not recorded; valid names: .*val_extra"
        ):
            fit(model, batches, batches, epochs=1, monitor="val_other")

    def test_clip_limits_the_step(self):
        x, y = danlu.ones(4, 2), 1000 * danlu.ones(4, 1)
        net = nn.Linear(2, 1)
        before = danlu.cat([p.detach().flatten().clone() for p in net.parameters()])
        model = KerasModel(net, nn.MSELoss(), optimizer=SGD(net.parameters(), lr=1.0), clip=0.5)
        fit(model, [(x, y)], epochs=1)
        after = danlu.cat([p.detach().flatten() for p in net.parameters()])
        assert (after - before).norm().item() == pytest.approx(0.5, rel=1e-3)

    def test_gradient_accumulation_equals_a_larger_batch(self):
        x, y = line_data(40)
        small, large = line_model(), line_model()
        large.net.load_state_dict(small.net.state_dict())
        fit(
            small,
            loader_of(x, y, batch_size=10),
            epochs=2,
            gradient_accumulation_steps=2,
            restore_best=False,
        )
        fit(large, loader_of(x, y, batch_size=20), epochs=2, restore_best=False)
        assert danlu.allclose(small.net.weight, large.net.weight, atol=1e-6)

    def test_accumulation_steps_on_the_last_batch(self):
        x, y = line_data(10)
        model = line_model()
        before = model.net.weight.detach().clone()
        fit(model, loader_of(x, y), epochs=1, gradient_accumulation_steps=4)
        assert not danlu.equal(before, model.net.weight)

    def test_callbacks_and_their_order(self):
        calls = []

        class Log:
            def __getattr__(self, name):
                if not name.startswith("on_"):
                    raise AttributeError(name)
                return lambda model: calls.append(name)

        x, y = line_data(20)
        fit(line_model(), loader_of(x, y), loader_of(x, y), epochs=1, callbacks=[Log()])
        assert calls == [
            "on_fit_start",
            "on_train_epoch_start",
            *["on_train_batch_end"] * 2,
            "on_train_epoch_end",
            *["on_validation_batch_end"] * 2,
            "on_validation_epoch_end",
            "on_fit_end",
        ]

    def test_a_callback_may_stop(self):
        class Stop:
            def on_validation_epoch_end(self, model):
                model.stop_training = model.epoch == 2

        x, y = line_data()
        assert len(fit(line_model(), loader_of(x, y), epochs=9, callbacks=[Stop()])) == 2

    def test_a_callback_may_stop_within_an_epoch(self):
        class Stop:
            batches = 0

            def on_train_batch_end(self, model):
                self.batches += 1
                model.stop_training = True

        x, y = line_data()
        stop = Stop()
        assert len(fit(line_model(), loader_of(x, y), callbacks=[stop])) == 1
        assert stop.batches == 1

    def test_a_callback_without_a_hook_is_a_mistake(self):
        with pytest.raises(TypeError, match="none of the methods on_fit_start"):
            fit(line_model(), line_data(), callbacks=[object()])

    def test_metrics_learn_from_the_loss_what_scores_are(self):
        x, y = danlu.zeros(4, 1), danlu.tensor([[0.0], [0.0], [0.0], [1.0]])
        net = nn.Linear(1, 1)
        nn.init.constant_(net.bias, 0.3)
        logits = KerasModel(net, nn.BCEWithLogitsLoss(), {"acc": Accuracy()})
        assert logits.evaluate([(x, y)], quiet=True)["val_acc"] == 0.25
        probabilities = KerasModel(net, nn.BCELoss(), {"acc": Accuracy()})
        assert probabilities.evaluate([(x, y)], quiet=True)["val_acc"] == 0.75

    def test_metrics_are_no_parameters(self):
        assert list(dict(line_model().named_parameters())) == ["net.weight", "net.bias"]

    def test_device(self):
        assert line_model().accelerator.device.type in ("cpu", "cuda")


class TestPrinting:
    def test_quiet_prints_nothing(self, capsys):
        x, y = line_data()
        model = line_model()
        model.fit(loader_of(x, y), epochs=2, quiet=True, plot=False)
        model.evaluate(loader_of(x, y), quiet=True)
        assert capsys.readouterr().out == ""

    def test_bars_for_every_epoch(self, capsys):
        scripted([3.0, 1.0, 2.0], quiet=False)
        out = capsys.readouterr().out
        assert out.splitlines()[0] in (
            "<<<<<< 🐌 cpu is used >>>>>>",
            "<<<<<< ⚡️ cuda is used >>>>>>",
        )
        epochs = re.split(r"\n={80}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", out)[1:]
        for number, (text, loss) in enumerate(zip(epochs, (3, 1, 2)), 1):
            heading, empty, train, val, *more = text.splitlines()
            assert heading == f"Epoch {number} / 3" and empty == ""
            bar = r"100%\|█+\| 1/1 \[00:00<00:00, +[\d.]+it/s, "
            assert re.fullmatch(bar + r"lr=0\.1, train_loss=0\]", train) and len(train) == 100
            assert re.fullmatch(bar + rf"val_loss={loss}\]", val) and len(val) == 100
            best = [f"<<<<<< reach best val_loss : {loss}.0 >>>>>>"] if number < 3 else []
            assert more[: len(best)] == best and ("reach best" in text) == bool(best)
        assert out.endswith("best val_loss=1.0000 in epoch 2; the network has its weights\n")

    def test_a_line_for_each_epoch_beside_a_plot(self, capsys):
        pytest.importorskip("matplotlib")
        scripted([3.0, 1.0, 2.0], quiet=False, plot=True)
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].startswith("epoch 1/3  train_loss=0.0000, lr=0.1000, val_loss=3.0000")
        assert [line.endswith("best") for line in lines[1:4]] == [True, True, False]

    def test_early_stopping_is_told(self, capsys):
        scripted([1.0, 2.0, 2.0, 2.0], quiet=False, patience=2)
        out = capsys.readouterr().out
        assert "<<<<<< val_loss without improvement in 2 epoch,early stopping >>>>>>" in out

    def test_evaluate_prints_one_bar(self, capsys):
        x, y = line_data(25)
        line_model().evaluate(loader_of(x, y))
        pattern = (
            r"100%\|█{10}\| 3/3 \[00:00<00:00, +[\d.]+it/s, val_loss=[\d.]+, val_mae=[\d.]+\]\n"
        )
        assert re.fullmatch(pattern, capsys.readouterr().out)

    def test_progress_of_one_model_is_not_that_of_another(self, capsys):
        x, y = line_data(20)
        fit(line_model(), loader_of(x, y), quiet=False, epochs=1)
        capsys.readouterr()
        fit(line_model(), loader_of(x, y), epochs=1)
        assert not hasattr(danlu.keras.EpochRunner, "progress")
        assert capsys.readouterr().out == ""


class TestOlderModel:
    @staticmethod
    def mae(preds, labels):
        return (preds - labels).abs().mean()

    def compiled(self, **options):
        model = Model(nn.Linear(2, 1))
        model.compile(nn.MSELoss(), SGD(model.parameters(), lr=0.1), {"mae": self.mae}, **options)
        return model

    def test_history_and_table(self, capsys):
        x, y = line_data(20)
        model = self.compiled()
        history = model.fit(2, loader_of(x, y), dl_val=loader_of(x, y), log_step_freq=2)
        assert list(history.columns) == ["loss", "mae", "val_loss", "val_mae"]
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == ["Start Training ...", ""]
        assert lines[2].startswith("=" * 80 + "20")
        loss, mae, *val = (round(value, 3) for value in history.iloc[0])
        assert lines[3] == str({"step": 2, "loss": loss, "mae": mae})
        assert lines[4] == "" and lines[5].startswith(" +-------+")
        cells = [cell.strip() for cell in lines[6].strip("|").split("|")]
        assert cells == ["epoch", "loss", "mae", "val_loss", "val_mae"]
        cells = [cell.strip() for cell in lines[8].strip("|").split("|")]
        assert cells == ["1", *map(str, (loss, mae, *val))]
        assert lines[-1] == "Finished Training..."

    def test_second_fit_continues_and_compile_resets(self):
        x, y = line_data(20)
        model = self.compiled()
        model.fit(2, loader_of(x, y), quiet=True)
        assert len(model.fit(1, loader_of(x, y), quiet=True)) == 3
        model.compile(nn.MSELoss())
        assert len(model.fit(1, loader_of(x, y), quiet=True)) == 1

    def test_evaluate_gives_python_floats(self, capsys):
        x, y = line_data(15)
        model = self.compiled()
        model.metrics_dict["numpy"] = lambda preds, labels: np.float64(0.5)
        values = model.evaluate(loader_of(x, y))
        assert capsys.readouterr().out == ""
        assert list(values) == ["val_loss", "val_mae", "val_numpy"]
        assert all(type(value) is float for value in values.values())

    def test_means_are_over_batches(self):
        x, y = line_data(15)
        model = self.compiled()
        batches = [self.mae(model(x[:10]), y[:10]).item(), self.mae(model(x[10:]), y[10:]).item()]
        assert model.evaluate(loader_of(x, y))["val_mae"] == pytest.approx(sum(batches) / 2)

    def test_predict(self):
        x, y = line_data(15)
        model = self.compiled()
        for loader in (loader_of(x), loader_of(x, y)):
            assert danlu.allclose(model.predict(loader), model(x))
            assert not model.predict(loader).requires_grad

    def test_names_in_the_state_dict(self):
        class Net(Model):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(2, 1)

            def forward(self, x):
                return self.fc(x)

        assert list(Model(nn.Linear(2, 1)).state_dict()) == ["net.weight", "net.bias"]
        assert list(Net().state_dict()) == ["fc.weight", "fc.bias"]

    def test_mistakes(self):
        x, y = line_data()
        with pytest.raises(RuntimeError, match="call `compile"):
            Model(nn.Linear(2, 1)).fit(1, loader_of(x, y))
        with pytest.raises(NotImplementedError, match="define forward"):
            Model()(x)
        with pytest.raises(ValueError, match="squeeze"):
            self.compiled().fit(1, loader_of(x, y.squeeze(1)), quiet=True)
