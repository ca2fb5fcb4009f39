"""A model's graph for TensorBoard, read off the tape of one run.

The tape numbers its nodes in order, so it is enough to note the numbers at which each module was
entered and left to know which module recorded which node."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from contextlib import contextmanager

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.config_pb2 import RunMetadata
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.step_stats_pb2 import DeviceStepStats, StepStats
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef

from danlu.autograd import enable_grad
from danlu.autograd.node import LEAF, edge_of, sequence
from danlu.nn.modules.module import (
    Module,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from danlu.tensor import Tensor

__all__ = ["graph"]


def graph(model, input_to_model, verbose=False) -> tuple[GraphDef, RunMetadata]:
    """The graph of `model`, and an empty record of its run.

    Args:
        model: a Module.
        input_to_model: a tensor, or a tuple or list of the arguments of ``model.forward``.
        verbose: also print the nodes. Default: False

    Raises:
        TypeError: `model` is no Module.
        ValueError: no input.
    """
    if not isinstance(model, Module):
        raise TypeError(
            f"add_graph: model must be a torch.nn.Module, got {type(model).__name__}"
            + (": give the module itself, not its class" if isinstance(model, type) else "")
        )
    if input_to_model is None:
        raise ValueError(
            "add_graph: the graph is read off one run of the model: give the arguments of its "
            "forward as input_to_model, for instance torch.rand(1, 3, 32, 32)"
        )
    if isinstance(input_to_model, (Tensor, dict)):
        input_to_model = (input_to_model,)
    recorder = _Recorder(model)
    with _evaluating(model), _all_recorded(model), recorder, enable_grad():
        outputs = model(*recorder.watch(tuple(input_to_model)))
    nodes = _Drawing(recorder).draw(outputs)
    if verbose:
        for node in nodes:
            print(f"{node.name} = {node.op}({', '.join(node.input)})")
    device = DeviceStepStats(device="/device:CPU:0")
    metadata = RunMetadata(step_stats=StepStats(dev_stats=[device]))
    return GraphDef(node=nodes, versions=VersionDef(producer=22)), metadata


@contextmanager
def _evaluating(model):
    """Evaluation mode inside the block; afterwards every module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _all_recorded(model):
    """Frozen parameters ask for gradients inside the block: the tape must know them, too."""
    frozen = [
        parameter
        for parameter in model.parameters()
        if not parameter.requires_grad and parameter.is_floating_point()
    ]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _tensors_in(value) -> list:
    """All tensors in nested lists, tuples and dicts, in order."""
    found, waiting = [], [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, dict):
            waiting.extend(reversed(list(value.values())))
        elif isinstance(value, (list, tuple)):
            waiting.extend(reversed(value))
    return found


class _Call:
    """One call of a module: when it began, and which inputs of the model it got as arguments."""

    __slots__ = ("inputs", "path", "start")

    def __init__(self, path, start, inputs):
        self.path = path
        self.start = start
        self.inputs = inputs


class _Recorder:
    """What the tape does not know of a run: the modules, the inputs, and shapes.

    Attributes:
        inputs: (name, shape) of every input of the model.
        input_of: node of the tape -> the name of the input that it stands for.
        first_uses: (start, end, name): the first node recorded between these numbers used the
            input of this name, which has no gradient and so no place on the tape.
        shapes: (node, output number) -> shape, where a module got or returned it.
        passed: node -> the name of a module that returned its input as it was.
        leaves: id of a parameter -> (name, shape).
        details: path of a module without children -> its settings.
    """

    def __init__(self, model):
        self.paths: dict = {}
        self.leaves: dict = {}
        self.details: dict = {}
        for name, module in model.named_modules():
            parent, _, last = name.rpartition(".")
            title = type(module).__name__
            path = f"{self.paths_by_name[parent]}/{title}[{last}]" if name else title
            self._know(name, module, path)
        self.model = model
        self.inputs: list = []
        self.input_of: dict = {}
        self.first_uses: list = []
        self.shapes: dict = {}
        self.passed: dict = {}
        self.marks: list = [(-1, type(model).__name__)]
        self._calls: list = []
        self._plain_inputs: dict = {}
        self._kept: list = []

    def _know(self, name, module, path):
        raise NotImplementedError
