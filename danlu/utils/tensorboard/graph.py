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
    """One call of a module that has not returned yet."""

    __slots__ = ("entered", "inputs", "path")

    def __init__(self, path, entered, inputs):
        self.path = path
        self.entered = entered
        self.inputs = inputs


class _Recorder:
    """What the tape does not know of a run of `model`: the modules, the inputs, and shapes.

    Attributes:
        marks: (number, path): from this number on, nodes of the tape belong to the module `path`.
        inputs: name of an input of the model -> its shape.
        input_of: node of the tape -> the input that it stands for.
        first_uses: (entered, left, input): the first node between these numbers used the input,
            which needs no gradient and has no place on the tape.
        identities: node -> the name of the module that returned its input as it was.
        shapes: (node, output number) -> the shape, where a module got or returned the tensor.
    """

    def __init__(self, model):
        self.model = model
        self.paths = _paths(model)
        self.marks = [(-1, self.paths[id(model)])]
        self.inputs: dict = {}
        self.input_of: dict = {}
        self.first_uses: list = []
        self.identities: dict = {}
        self.shapes: dict = {}
        self._calls: list = []
        self._off_tape: dict = {}
        self._handles: tuple = ()

    def __enter__(self):
        self._handles = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave),
        )
        return self

    def __exit__(self, *exception):
        for handle in self._handles:
            handle.remove()

    def watch(self, arguments: tuple) -> tuple:
        """The arguments of the model, those that can on the tape as nodes of their own."""
        code = type(self.model).forward.__code__
        names = code.co_varnames[1 : code.co_argcount]
        watched = []
        for i, argument in enumerate(arguments):
            name = names[i] if i < len(names) else f"input_{i + 1}"
            watched.append(self._watch(argument, f"input/{name}"))
        return tuple(watched)

    def _watch(self, value, name):
        if isinstance(value, dict):
            return {key: self._watch(each, f"{name}.{key}") for key, each in value.items()}
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(self._watch(each, f"{name}.{i}") for i, each in enumerate(value))
        if not isinstance(value, Tensor):
            return value
        self.inputs[name] = tuple(value.shape)
        if value.is_floating_point() or value.is_complex():
            # a copy of a leaf: unlike the leaf itself, in-place methods may write to it
            value = value.detach().requires_grad_(True).clone()
            self.input_of[edge_of(value)[0]] = name
        else:
            self._off_tape[id(value)] = name
        return value

    def _enter(self, module, arguments):
        self._note_shapes(arguments)
        found = {id(tensor) for tensor in _tensors_in(arguments)}
        inputs = {name for key, name in self._off_tape.items() if key in found}
        for call in self._calls:
            call.inputs -= inputs
        path = self.paths.get(id(module))
        if path is None:  # made on the fly, or a child that is no attribute
            path = f"{self.marks[-1][1]}/{type(module).__name__}"
        self._calls.append(_Call(path, sequence(), inputs))
        self.marks.append((self._calls[-1].entered, path))

    def _leave(self, module, arguments, result):
        call = self._calls.pop()
        left = sequence()
        made_nothing = left == call.entered + 1
        if made_nothing and isinstance(result, Tensor) and result.requires_grad:
            result = result.clone()
            self.identities[edge_of(result)[0]] = type(module).__name__
            left = sequence()
        self.first_uses += [(call.entered, left, name) for name in call.inputs]
        self.marks.append((left, self._calls[-1].path if self._calls else self.marks[0][1]))
        self._note_shapes(result)
        return result

    def _note_shapes(self, values):
        for tensor in _tensors_in(values):
            edge = edge_of(tensor)
            if edge is not None and edge[1] != LEAF:
                self.shapes[edge] = tuple(tensor.shape)


def _paths(model) -> dict:
    """id of a module -> its path in the graph: the types, and in brackets the attributes."""
    paths = {}
    by_name: dict = {}
    for name, module in model.named_modules():
        parent, _, last = name.rpartition(".")
        title = type(module).__name__
        by_name[name] = f"{by_name[parent]}/{title}[{last}]" if name else title
        paths[id(module)] = by_name[name]
    return paths


class _Drawing:
    """The nodes of the picture from what was recorded."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.marks = sorted(recorder.marks)
        self.names: dict = {}
        self.taken: Counter = Counter()
        self.drawn: list = []
        self.leaves: dict = {}
        self.settings: dict = {}
        for module in recorder.model.modules():
            path = recorder.paths[id(module)]
            self.settings[path] = module.extra_repr()
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    self.leaves.setdefault(id(parameter), f"{path}/{name}")

    def draw(self, outputs) -> list[NodeDef]:
        """All nodes, every one after those that it depends on."""
        recorder = self.recorder
        for name, shape in recorder.inputs.items():
            self.drawn.append(_node(name, "IO Node", (), {0: shape}))
        edges = {edge: None for edge in map(edge_of, _tensors_in(outputs)) if edge is not None}
        nodes = self._nodes(*edges, *recorder.shapes)
        uses = self._off_tape_uses(nodes)
        for node in nodes:
            self._draw_node(node, uses.get(node, ()))
        for i, tensor in enumerate(_tensors_in(outputs), 1):
            edge = edge_of(tensor)
            sources = () if edge is None else (self._source(edge, ""),)
            self.drawn.append(
                _node(f"output/output.{i}", "IO Node", sources, {0: tuple(tensor.shape)})
            )
        return self.drawn

    def _nodes(self, *edges) -> list:
        """The nodes of the tape that the edges lead to, oldest first."""
        found = set()
        waiting = [node for node, number in edges if number != LEAF]
        while waiting:
            node = waiting.pop()
            if node in found:
                continue
            found.add(node)
            if node not in self.recorder.input_of:
                waiting += [edge[0] for edge in node.next if edge is not None and edge[1] != LEAF]
        return sorted(found, key=lambda node: node.seq)

    def _off_tape_uses(self, nodes) -> dict:
        """node -> the inputs without a gradient that it used."""
        numbers = [node.seq for node in nodes]
        uses: dict = {}
        for entered, left, name in self.recorder.first_uses:
            first = bisect_right(numbers, entered)
            if first < len(nodes) and numbers[first] < left:
                uses.setdefault(nodes[first], []).append(name)
        return uses

    def _draw_node(self, node, inputs):
        recorder = self.recorder
        if node in recorder.input_of:
            self.names[node] = recorder.input_of[node]
            return
        _, path = self.marks[bisect_right(self.marks, node.seq, key=_number) - 1]
        kind = recorder.identities.get(node) or _operator_name(node)
        sources = [*inputs, *(self._source(edge, path) for edge in node.next if edge is not None)]
        name = self.names[node] = self._unique(f"{path}/{kind}")
        shapes = {
            n: recorder.shapes[node, n] for n in range(node.outputs) if (node, n) in recorder.shapes
        }
        self.drawn.append(_node(name, kind, sources, shapes, self.settings.get(path, "")))

    def _source(self, edge, path) -> str:
        """The name of what an edge comes from; a parameter is drawn when first used."""
        owner, number = edge
        if number != LEAF:
            return self.names[owner] if number == 0 else f"{self.names[owner]}:{number}"
        if owner not in self.names:
            name = self.leaves.get(id(owner))
            kind = "Parameter" if name else "Constant"
            self.names[owner] = name or self._unique(f"{path}/constant".lstrip("/"))
            self.drawn.append(_node(self.names[owner], kind, (), {0: tuple(owner.shape)}))
        return self.names[owner]

    def _unique(self, name) -> str:
        self.taken[name] += 1
        return name if self.taken[name] == 1 else f"{name}_{self.taken[name] - 1}"


def _number(mark) -> int:
    return mark[0]


def _operator_name(node) -> str:
    return node.name().rstrip("0123456789").removesuffix("Backward")


def _node(name, kind, sources, shapes, settings="") -> NodeDef:
    """A node of the picture; `shapes` holds those outputs whose shape is known."""
    node = NodeDef(name=name, op=kind, input=sources)
    if settings:
        node.attr["attr"].CopyFrom(AttrValue(s=settings.encode()))
    if shapes:
        unknown = TensorShapeProto(unknown_rank=True)
        known = [
            _shape_proto(shapes[i]) if i in shapes else unknown for i in range(max(shapes) + 1)
        ]
        listed = AttrValue.ListValue(shape=known)
        node.attr["_output_shapes"].CopyFrom(AttrValue(list=listed))
    return node


def _shape_proto(shape) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])
