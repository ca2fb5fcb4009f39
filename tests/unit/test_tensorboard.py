"""`danlu.utils.tensorboard` read back with TensorBoard's own reader, without PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import danlu
from danlu import nn

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from danlu.utils.tensorboard import SummaryWriter


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_scalars_are_read_back(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(500):
            writer.add_scalar("loss/train", danlu.tensor(1 / (step + 1)), step)
        writer.add_scalars("loss", {"train": 1.0, "val": 2.0}, 3)
    scalars = read(tmp_path).Scalars("loss/train")
    assert [each.step for each in scalars] == list(range(500))
    assert scalars[4].value == pytest.approx(0.2)
    assert read(tmp_path / "loss_val").Scalars("loss")[0].value == 2.0


def test_events_are_on_disk_after_flush_and_a_closed_writer_opens_again(tmp_path):
    writer = SummaryWriter(tmp_path)
    writer.add_scalar("a", 1.0, 0)
    writer.flush()
    assert len(read(tmp_path).Scalars("a")) == 1
    writer.close()
    writer.close()
    writer.add_scalar("a", 2.0, 1)
    writer.close()
    assert [each.value for each in read(tmp_path).Scalars("a")] == [1.0, 2.0]
    assert len(os.listdir(tmp_path)) == 2


def test_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(comment="_lr_0.1") as writer:
        assert writer.get_logdir().startswith("runs" + os.sep)
        assert writer.get_logdir().endswith("_lr_0.1")
    assert len(os.listdir("runs")) == 1


def test_purge_step_hides_what_came_after_the_crash(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(10):
            writer.add_scalar("a", 0.0, step)
    with SummaryWriter(tmp_path, purge_step=5) as writer:
        writer.add_scalar("a", 1.0, 5)
    assert [(each.step, each.value) for each in read(tmp_path).Scalars("a")][4:] == [(4, 0), (5, 1)]


def test_histogram_counts(tmp_path):
    values = danlu.tensor([-2.0, 0.0, 0.0, 1.0, 3.0])
    with SummaryWriter(tmp_path) as writer:
        writer.add_histogram("w", values, 0, bins=[-4, -1, 2, 4, 8])
    histogram = read(tmp_path).Histograms("w")[0].histogram_value
    assert (histogram.num, histogram.sum, histogram.sum_squares) == (5, 2, 14)
    assert list(histogram.bucket_limit) == [-4, -1, 2, 4]
    assert list(histogram.bucket) == [0, 1, 3, 1]


def test_image_pixels(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    import io

    picture = danlu.tensor([[[0, 64], [128, 255]]], dtype=danlu.uint8)
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("one", picture)
        writer.add_images("nine", danlu.ones(9, 3, 2, 2))
    one, nine = (read(tmp_path).Images(tag)[0] for tag in ("one", "nine"))
    pixels = np.asarray(pil.open(io.BytesIO(one.encoded_image_string)))
    assert pixels[..., 0].tolist() == [[0, 64], [128, 255]] and pixels.shape == (2, 2, 3)
    assert (nine.width, nine.height) == (16, 4)


def test_text_and_tensor(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_text("notes", "丹炉", 1)
        writer.add_tensor("t", danlu.arange(3), 1)
    events = read(tmp_path)
    assert events.Tensors("notes/text_summary")[0].tensor_proto.string_val[0].decode() == "丹炉"


# ---------------------------------------------------------------- graphs
class Reader(nn.Module):
    """Tokens and a scale in; an embedding, a shared layer used twice, two outputs."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.shared = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, tokens, scale):
        x = self.embedding(tokens) * scale
        x = self.drop(self.shared(danlu.relu(self.shared(x))))
        output, (hidden, _) = self.lstm(x)
        return {"output": output, "best": output.argmax(-1), "hidden": [hidden]}


@pytest.fixture
def drawn(tmp_path):
    model = Reader()
    model.shared.weight.requires_grad_(False)
    model.drop.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with SummaryWriter(tmp_path) as writer, danlu.no_grad():
        writer.add_graph(model, (danlu.zeros(2, 5, dtype=danlu.int64), danlu.ones(1)))
    assert model.training and model.lstm.training and not model.drop.training
    assert not model.shared.weight.requires_grad
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    return graph_of(tmp_path)


def graph_of(folder):
    """The nodes of the run's graph, by name."""
    return {node.name: node for node in read(folder).Graph().node}


def shape_of(node):
    return [dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim]


def test_graph_nodes_and_edges(drawn):
    embedded = next(name for name in drawn if name.startswith("Reader/Embedding[embedding]/Emb"))
    assert list(drawn[embedded].input) == ["input/tokens", "Reader/Embedding[embedding]/weight"]
    assert shape_of(drawn[embedded]) == [2, 5, 4]
    product = next(node for node in drawn.values() if node.op == "Mul")
    assert list(product.input) == [embedded, "input/scale"]
    assert shape_of(drawn["input/tokens"]) == [2, 5]
    linear = [name for name in drawn if name.startswith("Reader/Linear[shared]/") and "/" in name]
    assert {"Reader/Linear[shared]/weight", "Reader/Linear[shared]/bias"} < set(linear)
    calls = [name for name in linear if drawn[name].op != "Parameter"]
    assert len(calls) == 2 and calls[1] == calls[0] + "_1"
    assert drawn[calls[0]].attr["attr"].s == b"in_features=4, out_features=4, bias=True"
    assert "Reader/Dropout[drop]/Dropout" in drawn


def test_graph_outputs(drawn):
    outputs = [node for name, node in drawn.items() if name.startswith("output/")]
    assert [shape_of(node) for node in outputs] == [[2, 5, 3], [2, 5], [1, 2, 3]]
    assert [len(node.input) for node in outputs] == [1, 0, 1]
    for node in drawn.values():
        for source in node.input:
            assert source.split(":")[0] in drawn


def test_graph_of_a_deep_model(tmp_path):
    deep = nn.Sequential(*[nn.Tanh() for _ in range(3000)])
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(deep, danlu.zeros(1))
    assert len(graph_of(tmp_path)) == 3002


def test_graph_prints_and_allows_inplace_writes_to_the_input(tmp_path, capsys):
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(nn.ReLU(inplace=True), danlu.ones(2), verbose=True)
    assert "ReLU/Relu = Relu(input/input)" in capsys.readouterr().out


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda w: w.add_scalar(5, 1.0),
            TypeError,
            "tag must be a str such as 'loss/train', got int",
        ),
        (lambda w: w.add_scalar("", 1.0), ValueError, "tag is empty"),
        (
            lambda w: w.add_scalar("a", danlu.zeros(2, 3)),
            AssertionError,
            r"got 6 in shape \[2, 3\]",
        ),
        (
            lambda w: w.add_scalar("a", [1.0]),
            NotImplementedError,
            r"'a'.*got list: convert it with",
        ),
        (
            lambda w: w.add_scalar("a", "x"),
            ValueError,
            "expected numbers, got 'x'; text goes to add_text",
        ),
        (lambda w: w.add_scalars("a", 1.0), TypeError, "one number goes to add_scalar"),
        (
            lambda w: w.add_scalars("a", {1: 1.0}),
            TypeError,
            r"add_scalars\('a', ...\): tag must be",
        ),
        (lambda w: w.add_histogram("a", []), NotImplementedError, "add_histogram"),
        (
            lambda w: w.add_histogram("a", danlu.full((2,), 1e30)),
            ValueError,
            "none of the 2 values",
        ),
        (lambda w: w.add_image("a", danlu.zeros(4, 4)), AssertionError, "pass dataformats='HW'"),
        (
            lambda w: w.add_image("a", danlu.zeros(5, 4, 4)),
            AssertionError,
            "1, 3 or 4 channels, got 5",
        ),
        (
            lambda w: w.add_image("a", danlu.zeros(3, 4, 4), dataformats="CXY"),
            AssertionError,
            "'CXY'",
        ),
        (lambda w: w.add_figure("a", danlu.zeros(3)), TypeError, "expected a matplotlib figure"),
        (lambda w: w.add_text("a", 5), TypeError, r"write str\(value\)"),
        (lambda w: w.add_graph(nn.Linear), TypeError, "got type: give the module itself"),
        (lambda w: w.add_graph(nn.Linear(1, 1)), ValueError, "as input_to_model"),
        (
            lambda w: w.add_embedding(danlu.zeros(3, 2), ["a"]),
            AssertionError,
            "3 points, but metadata has 1",
        ),
        (lambda w: w.add_hparams({"lr": [1]}, {}), ValueError, "'lr' must be an int"),
        (lambda w: w.add_hparams({"lr": 1}, {}, {"lr": ["a"]}), TypeError, "must be a list of int"),
        (
            lambda w: w.add_custom_scalars({"a": {"b": ["Line", []]}}),
            ValueError,
            "'Multiline' or 'Margin'",
        ),
    ],
)
def test_errors(tmp_path, call, error, message):
    with SummaryWriter(tmp_path) as writer, pytest.raises(error, match=message):
        call(writer)


def test_warnings(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        with pytest.warns(UserWarning, match="2 predictions lie outside 0 to 1.*sigmoid"):
            writer.add_pr_curve("a", danlu.ones(3), danlu.tensor([0.5, 2.0, -1.0]))
        writer.add_embedding(danlu.zeros(2, 2))
        with pytest.warns(UserWarning, match="overwrites what was logged at step 0"):
            writer.add_embedding(danlu.zeros(2, 2))


def test_a_missing_package_is_named():
    program = "import sys; sys.modules['tensorboard'] = None; import danlu.utils.tensorboard"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: SummaryWriter writes with the package tensorboard" in done.stderr
    assert "pip install 'danlu[tensorboard]'" in done.stderr


def test_neither_tensorflow_nor_torch_is_loaded(tmp_path):
    program = (
        "import sys, danlu; from danlu.utils.tensorboard import SummaryWriter\n"
        f"with SummaryWriter({str(tmp_path)!r}) as writer:\n"
        "    writer.add_graph(danlu.nn.Linear(2, 1), danlu.ones(2))\n"
        "assert not {'tensorflow', 'torch', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
