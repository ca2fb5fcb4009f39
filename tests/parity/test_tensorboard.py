"""The same calls on PyTorch's SummaryWriter and on danlu's write the same events and files."""

from __future__ import annotations

import os

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader  # noqa: E402
from tensorboard.compat.proto.event_pb2 import Event  # noqa: E402
from tensorboard.compat.proto.graph_pb2 import GraphDef  # noqa: E402
from tensorboard.util import tensor_util  # noqa: E402
from torch.utils import tensorboard as torch_tensorboard  # noqa: E402

from danlu.utils import tensorboard as danlu_tensorboard  # noqa: E402

WRITERS = {torch: torch_tensorboard.SummaryWriter, danlu: danlu_tensorboard.SummaryWriter}
WALLTIME = 1_700_000_000.0


def as_plain(value):
    """A summary's value in a form that compares: tensors by what they hold, not how."""
    kind = value.WhichOneof("value")
    content = getattr(value, kind) if kind else None
    if kind == "tensor":
        array = tensor_util.make_ndarray(content)
        content = (array.dtype.str, array.shape, array.tolist())
    elif kind is not None and kind != "simple_value":
        content = str(content)
    return value.tag, str(value.metadata), kind, content


def events(folder):
    """All events below the folder, by run."""
    found = {}
    for path, _, names in sorted(os.walk(folder)):
        run = os.path.relpath(path, folder)
        for name in sorted(name for name in names if "tfevents" in name):
            for raw in RawEventFileLoader(os.path.join(path, name)).Load():
                event = Event.FromString(raw)
                values = [as_plain(value) for value in event.summary.value]
                walltime = event.wall_time if event.wall_time == WALLTIME else None
                entry = (event.step, event.file_version, event.session_log.status, walltime, values)
                found.setdefault(run, []).append(entry)
    return found


def files(folder):
    """The other files below the folder, by path."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            if "tfevents" not in name:
                with open(os.path.join(path, name), "rb") as file:
                    found[os.path.relpath(os.path.join(path, name), folder)] = file.read()
    return found


def both(tmp_path, program, **options):
    """Run `program(writer, framework)` with both writers; the folders they wrote."""
    folders = []
    for framework, writer in WRITERS.items():
        folder = tmp_path / framework.__name__
        with writer(str(folder), **options) as w:
            program(w, framework)
        folders.append(folder)
    return folders


def numbers(w, t):
    w.add_scalar("loss", 0.5, 3, WALLTIME)
    w.add_scalar("loss", t.tensor([[0.25]]), 4, new_style=True)
    w.add_scalar("loss", np.float32(0.1), 5, new_style=True, double_precision=True)
    w.add_scalar("no/step", t.tensor(2))
    w.add_scalar("bf16", t.tensor(1.5, dtype=t.bfloat16))
    w.add_scalars("group/loss", {"train": 1.0, "val": t.tensor(2.0)}, 7, WALLTIME)
    w.add_scalars("group/loss", {"train": 0.5}, 8)
    w.add_tensor("t", t.tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
    w.add_tensor("i", t.tensor([1, 2, 3]), 1)


def histograms(w, t):
    values = np.random.default_rng(0).normal(size=(50, 20))
    w.add_histogram("w", t.tensor(values), 1, walltime=WALLTIME)
    w.add_histogram("w32", t.tensor(values, dtype=t.float32), 1)
    w.add_histogram("zero", t.zeros(5), 1)
    w.add_histogram("int", t.tensor([1, 2, 3, 3]), 1)
    w.add_histogram("array", values, 2, bins="auto")
    w.add_histogram("edges", values, 2, bins=[-1.0, 0.0, 0.5, 1.0])
    w.add_histogram("few", values, 2, max_bins=64)
    w.add_histogram("parameter", t.nn.Parameter(t.ones(3)), 2)
    w.add_histogram_raw("raw", -1, 3, 4, 5.0, 9.0, [0.0, 1.0, 2.0], [1, 2, 1], 3)


def images(w, t):
    rng = np.random.default_rng(0)
    colour, batch = rng.random((3, 5, 7)), rng.random((11, 3, 4, 6))
    w.add_image("chw", t.tensor(colour), 0, WALLTIME)
    w.add_image("hwc", colour.transpose(1, 2, 0), 0, dataformats="HWC")
    w.add_image("hw", t.tensor(colour[0] * 3 - 1), 0, dataformats="HW")
    w.add_image("wh", colour[0], 0, dataformats="WH")
    w.add_image("grey", t.tensor(colour[:1], dtype=t.float32), 0)
    w.add_image("alpha", rng.random((4, 5, 7)), 0)
    w.add_image("bytes", t.tensor((colour * 255).astype("uint8")), 0)
    w.add_images("batch", t.tensor(batch), 1)
    w.add_images("nhwc", batch.transpose(0, 2, 3, 1), 1, dataformats="NHWC")
    w.add_images("grey_batch", batch[:, :1], 1)


def figures(w, t):
    from matplotlib import pyplot

    def figure(k):
        made = pyplot.figure(figsize=(1, 1))
        made.add_subplot().plot([0, k, 1])
        return made

    w.add_figure("one", figure(1), 0)
    w.add_figure("two", [figure(1), figure(2)], 1, close=False)
    assert len(pyplot.get_fignums()) == 2
    pyplot.close("all")


def text_and_sound(w, t):
    w.add_text("notes", "**bold** 炉", 2, WALLTIME)
    w.add_audio("tone", t.sin(t.arange(0, 50, dtype=t.float64)).reshape(1, -1), 1, 8000)


def curves(w, t):
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 2, 60), rng.random(60)
    w.add_pr_curve("pr", t.tensor(labels), t.tensor(predictions), 1)
    w.add_pr_curve("ten", labels, predictions.astype("float32"), 1, num_thresholds=10)
    w.add_pr_curve("weights", labels, predictions, 1, 500, weights=rng.random(60))
    counts = [np.array(row) for row in ([5, 1], [3, 0], [0, 3], [0, 4], [0.6, 1], [1, 0.2])]
    w.add_pr_curve_raw("raw", *counts, 1, num_thresholds=2)


def layouts(w, t):
    w.add_custom_scalars(
        {"loss": {"both": ["Multiline", ["a", "b"]]}, "x": {"m": ["Margin", ["a", "b", "c"]]}}
    )
    w.add_custom_scalars_multilinechart(["a", "b"], "category", "title")
    w.add_custom_scalars_marginchart(["a", "b", "c"])


def hyperparameters(w, t):
    settings = {"lr": 0.1, "batch": 8, "kind": "sgd", "nesterov": True, "none": None}
    w.add_hparams(settings, {"acc": 0.5, "loss": t.tensor(1.5)}, {"batch": [8, 16]}, "trial", 4)
    w.add_hparams({"kind": "adam"}, {}, {"kind": ["sgd", "adam"]}, "trial2")


def embeddings(w, t):
    rng = np.random.default_rng(0)
    points, pictures = rng.random((6, 3)), rng.random((6, 3, 4, 5))
    w.add_embedding(t.tensor(points, dtype=t.float32), list("abcdef"), t.tensor(pictures), 1)
    w.add_embedding(points, tag="a/b%")
    rows = [[str(i), i] for i in range(6)]
    w.add_embedding(points, rows, global_step=2, metadata_header=["name", "number"])


@pytest.mark.parametrize(
    "program",
    [
        numbers,
        histograms,
        images,
        figures,
        text_and_sound,
        curves,
        layouts,
        hyperparameters,
        embeddings,
    ],
    ids=lambda program: program.__name__,
)
def test_same_events_and_files(tmp_path, program):
    expected, actual = both(tmp_path, program)
    assert files(actual) == files(expected)
    expected, actual = events(expected), events(actual)
    assert actual.keys() == expected.keys()
    for run, written in expected.items():
        for ours, theirs in zip(actual[run], written, strict=True):
            assert ours == theirs


def test_purge_step_and_suffix(tmp_path):
    folders = both(
        tmp_path, lambda w, t: w.add_scalar("a", 1, 5), purge_step=5, filename_suffix=".x"
    )
    expected, actual = map(events, folders)
    assert actual == expected
    assert all(name.endswith(".x") for folder in folders for name in os.listdir(folder))


def small_net(t):
    class Block(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = t.nn.Conv2d(3, 4, 3)
            self.act = t.nn.Sequential(t.nn.ReLU(), t.nn.Dropout(0.5))

        def forward(self, x):
            return self.act(self.conv(x))

    class Net(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()
            self.linear = t.nn.Linear(4, 2)

        def forward(self, image):
            return self.linear(self.block(image).mean((2, 3)))

    return Net()


def test_graph_groups_the_same_modules(tmp_path):
    groups, shapes = [], []
    for folder in both(tmp_path, lambda w, t: w.add_graph(small_net(t), t.zeros(2, 3, 8, 8))):
        (file,) = folder.iterdir()
        read = [Event.FromString(raw) for raw in RawEventFileLoader(str(file)).Load()]
        drawn = GraphDef.FromString(next(event.graph_def for event in read if event.graph_def))
        names = [node.name for node in drawn.node]
        groups.append(
            {name.rpartition("/")[0] for name in names if "[" in name and "GetAttr" not in name}
        )
        shapes.append([
            [dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim]
            for node in drawn.node
            if node.op == "IO Node"
        ])  # fmt: skip
        assert [event.tagged_run_metadata.tag for event in read][-1] == "step1"
    expected, actual = groups
    # PyTorch draws the reading of a parameter as a group of its own
    assert actual == {name for name in expected if not name.endswith(("/weight", "/bias"))}
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda w, t: w.add_scalar("a", t.zeros(2)),
        lambda w, t: w.add_scalar("a", [1.0]),
        lambda w, t: w.add_scalar("a", None),
        lambda w, t: w.add_scalar("a", "one"),
        lambda w, t: w.add_scalar(5, 1.0),
        lambda w, t: w.add_histogram("a", t.zeros(0)),
        lambda w, t: w.add_histogram("a", t.ones(3), bins="nonsense"),
        lambda w, t: w.add_histogram_raw("a", 0, 1, 1, 1, 1, [0.0, 1.0], [1]),
        lambda w, t: w.add_image("a", t.zeros(4, 4)),
        lambda w, t: w.add_image("a", t.zeros(3, 4, 4), dataformats="CHH"),
        lambda w, t: w.add_images("a", t.zeros(2, 2, 4, 4)),
        lambda w, t: w.add_embedding(t.zeros(3)),
        lambda w, t: w.add_embedding(t.zeros(3, 2), metadata=["a"]),
        lambda w, t: w.add_embedding(t.zeros(2, 2), ["a", "b"], metadata_header=["x", "y"]),
        lambda w, t: w.add_hparams([("lr", 1)], {}),
        lambda w, t: w.add_hparams({"lr": [1]}, {}),
        lambda w, t: w.add_hparams({"lr": 1}, {}, {"batch": [1]}),
        lambda w, t: w.add_custom_scalars_marginchart(["a"]),
        lambda w, t: w.add_pr_curve("a", np.zeros(3), np.zeros(4)),
    ],
)
def test_same_error_types(tmp_path, call):
    kinds = []
    for framework, writer in WRITERS.items():
        with writer(str(tmp_path / framework.__name__)) as w, pytest.raises(Exception) as caught:
            call(w, framework)
        kinds.append(caught.type)
    expected, actual = kinds
    assert issubclass(actual, expected)
