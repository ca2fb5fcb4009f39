"""What surrounds the trainer: callbacks, progress, plots, `VLog`, utilities."""

from __future__ import annotations

import io
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest

import danlu
from danlu import keras, nn
from danlu.keras import KerasModel, VLog, callbacks, plot_metric, utils
from danlu.optim import SGD


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    danlu.manual_seed(0)


def train(epochs=3, **options):
    """A small fit; returns (model, history)."""
    x = danlu.rand(20, 2)
    y = x.sum(1, keepdim=True)
    net = nn.Linear(2, 1)
    model = KerasModel(net, nn.MSELoss(), optimizer=SGD(net.parameters(), lr=0.1))
    options = {"plot": False, "quiet": True, "ckpt_path": None, **options}
    return model, model.fit([(x, y)], [(x, y)], epochs=epochs, **options)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def watched(**options):
    """A small fit with the progress that `plot=True` brings, but without the plot."""
    train(quiet=False, callbacks=[callbacks.VisProgress()], **options)


class TestProgress:
    def test_terminal_line_is_rewritten_in_place(self, monkeypatch):
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setenv("COLUMNS", "200")
        watched()
        text = screen.getvalue()
        line = text.split("\r\x1b[2K")[-1].splitlines()[0]
        assert re.fullmatch(
            r"█{20} 100\.00% \[3/3\] \[00:00<00:00\] "
            r"\[train_loss=[\d.e-]+, lr=0\.1000, val_loss=[\d.e-]+\]",
            line,
        )
        assert text.count("\n") == 3

    def test_at_most_five_times_a_second(self, monkeypatch):
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        watched(epochs=200, patience=None)
        assert screen.getvalue().count("\r") < 20

    def test_narrow_terminal_gets_one_line(self, monkeypatch):
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setenv("COLUMNS", "40")
        watched()
        lines = screen.getvalue().split("\r\x1b[2K")[1:]
        assert max(len(line.split("\n")[0]) for line in lines) <= 39

    def test_notebook_updates_one_display(self, monkeypatch):
        display = pytest.importorskip("IPython.display")
        shown, updates = [], []

        class Handle:
            def update(self, html):
                updates.append(html.data)

        def show(html, display_id):
            shown.append(html.data)
            return Handle()

        monkeypatch.setattr(display, "display", show)
        monkeypatch.setattr("danlu.keras.progress.in_notebook", lambda: True)
        watched()
        assert len(shown) == 1 and updates
        assert "<progress value='3' class='' max='3'" in updates[-1]
        assert "100.00% [3/3]" in updates[-1] and "val_loss=" in updates[-1]

    def test_encodings_without_bars(self, monkeypatch):
        screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", screen)
        utils.say("█ done 🚀")
        screen.flush()
        assert screen.buffer.getvalue().decode().strip() == "? done ?"


class TestCallbacks:
    def test_mini_log(self, capsys):
        train(epochs=4, callbacks=[callbacks.MiniLogCallback(log_freq=2)])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2 and "epoch=4, train_loss=" in lines[1]
        with pytest.raises(ValueError, match="log_freq"):
            callbacks.MiniLogCallback(0)

    def test_epoch_checkpoint_is_a_ring(self):
        train(epochs=5, callbacks=[callbacks.EpochCheckpoint("weights", max_ckpt=2)])
        assert sorted(os.listdir("weights")) == ["checkpoint_epoch4.pt", "checkpoint_epoch5.pt"]
        assert danlu.load("weights/checkpoint_epoch5.pt")["weight"].shape == (1, 2)

    def test_display_function(self):
        seen = []

        def show(model):
            seen.append((model.epoch, model.net.training, danlu.is_grad_enabled()))

        train(epochs=4, callbacks=[callbacks.VisDisplay(show, dis_period=2)])
        assert seen == [(0, False, False), (2, False, False), (4, False, False)]

    def test_tensorboard(self):
        pytest.importorskip("danlu.utils.tensorboard")
        train(callbacks=[callbacks.TensorBoardCallback("runs", "net", log_weight=True)])
        (run,) = os.listdir("runs/net")
        assert "dfhistory.csv" in os.listdir(f"runs/net/{run}")

    def test_wandb_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(ImportError, match="pip install wandb"):
            callbacks.WandbCallback()

    def test_wandb(self, monkeypatch):
        class Service:
            logged = []

            def init(self, **options):
                self.options = options

            def log(self, row):
                self.logged.append(row)

            def finish(self):
                self.finished = True

        service = Service()
        monkeypatch.setitem(sys.modules, "wandb", service)
        train(wandb="brew")
        assert service.options["project"] == "brew" and service.finished
        assert [row["epoch"] for row in service.logged] == [1, 2, 3]


class TestPlots:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        return pytest.importorskip("matplotlib")

    def test_fit_saves_one_plot(self, capsys):
        train(plot=True, quiet=None)
        assert os.listdir(".") == ["history.png"]
        assert f"plot of val_loss: {os.path.abspath('history.png')}" in capsys.readouterr().out

    def test_plot_metric_of_both_histories(self):
        _, history = train()
        axes = plot_metric(history, "loss").axes[0]
        assert [line.get_label() for line in axes.lines] == ["train_loss", "val_loss"]
        assert axes.lines[1].get_ydata().tolist() == history["val_loss"].tolist()
        older = history.rename(columns={"train_loss": "loss"})[["loss", "val_loss"]]
        assert len(plot_metric(older, "loss").axes[0].lines) == 2
        assert len(plot_metric(older[["loss"]], "loss").axes[0].lines) == 1

    def test_plot_metric_names_the_columns(self):
        _, history = train()
        with pytest.raises(ValueError, match="no metric 'acc'; its columns: epoch, train_loss"):
            plot_metric(history, "acc")

    def test_star_at_the_best_epoch(self):
        from danlu.keras.plots import draw_history

        history = {"epoch": [1, 2, 3], "val_acc": [0.5, 0.9, float("nan")], "train_acc": [0.1] * 3}
        axes = draw_history(history, "val_acc", "max").axes[0]
        assert axes.get_title() == "best val_acc=0.9000 (@epoch 2)"
        assert axes.lines[-1].get_xdata() == [2]

    def test_without_matplotlib_one_line_says_so(self, monkeypatch, capsys):
        monkeypatch.setattr("danlu.keras.plots.importlib.util.find_spec", lambda name: None)
        train(plot=True, quiet=None)
        assert capsys.readouterr().out.count("pip install 'danlu[keras]'") == 1
        assert os.listdir(".") == []


class TestVLog:
    def test_history_and_progress(self, capsys):
        log = VLog(2, "val_acc", "max", save_path=None)
        log.log_start()
        info = {"val_acc": 0.5}
        for _ in range(2):
            log.log_step({"train_loss": 1.0})
            log.log_epoch(info)
        history = log.log_end()
        assert history["epoch"].tolist() == [1, 2] and info == {"val_acc": 0.5}
        assert log.best_epoch == 1
        assert capsys.readouterr().out.splitlines()[0] == "epoch 1/2  val_acc=0.5000  best"

    def test_mistakes(self):
        with pytest.raises(ValueError, match="mode must be"):
            VLog(1, monitor_mode="auto")
        with pytest.raises(
            ValueError, match="'val_loss' is not among the logged values: train_loss"
        ):
            VLog(1).log_epoch({"train_loss": 1.0})


class TestUtils:
    def test_seed_everything(self, capsys):
        def draws():
            return random.random(), np.random.rand(), danlu.rand(1).item()

        assert utils.seed_everything(5) == 5
        assert capsys.readouterr().out == "Global seed set to 5\n"
        first = draws()
        utils.seed_everything(5, quiet=True)
        assert draws() == first and capsys.readouterr().out == ""
        with pytest.raises(ValueError, match=r"0 to 2\*\*32"):
            utils.seed_everything(-1)

    def test_colorful(self):
        assert utils.colorful("x", "blue", "underline") == "\033[4;34mx\033[0m"
        with pytest.raises(ValueError, match="'pink' is none of"):
            utils.colorful("x", "pink")

    def test_printlog(self, capsys):
        utils.printlog("done")
        assert re.fullmatch(r"\n={80}\d{4}-.*\ndone\n\n", capsys.readouterr().out)

    def test_compact(self):
        values = [utils.compact(v) for v in (3, 0.0, 0.12345, 1e-5, 123456.0, float("nan"))]
        assert values == ["3", "0.0000", "0.1235", "1.0000e-05", "1.2346e+05", "nan"]


def test_names_of_torchkeras():
    for name in (
        "KerasModel",
        "Model",
        "VLog",
        "summary",
        "metrics",
        "callbacks",
        "plots",
        "utils",
    ):
        assert hasattr(keras, name)
    assert keras.metrics.Accuracy is danlu.metrics.Accuracy


def test_import_stays_light():
    heavy = "pandas", "matplotlib", "IPython", "tqdm", "scipy"
    code = f"import sys, danlu.keras; print([m for m in {heavy} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert output.strip() == "[]"
