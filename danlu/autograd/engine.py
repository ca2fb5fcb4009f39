"""The backward pass: nodes are popped from a heap, newest first, until the leaves are reached.

A node's inputs are always older than the node, so the newest node on the heap has received every
gradient it will get. That needs no pass over the graph beforehand and no recursion: a chain of
100,000 nodes is one loop."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np

from danlu.autograd import anomaly
from danlu.autograd.grad_mode import state
from danlu.autograd.node import LEAF, edge_of
from danlu.backend import conversions
from danlu.ops import quick
from danlu.tensor import Tensor, publish_method, wrap

__all__ = ["run_backward"]


class _Sums:
    """Gradients on their way into leaves, summed over all the uses of each leaf."""

    __slots__ = ("entries",)

    def __init__(self):
        # id(leaf) -> [leaf, gradient, whether the gradient's memory is ours]
        self.entries: dict = {}

    def add(self, leaf, gradient, owned: bool) -> None:
        entry = self.entries.get(id(leaf))
        if entry is None:
            self.entries[id(leaf)] = [leaf, gradient, owned]
        elif entry[2] and gradient.__class__ is np.ndarray and gradient.dtype == entry[1].dtype:
            np.add(entry[1], gradient, out=entry[1])
        else:
            entry[1] = entry[1] + gradient
            entry[2] = entry[1].__class__ is np.ndarray


def run_backward(roots, gradients, keep, record, wanted=None):
    """Walk the tape from `roots` and deliver gradients.

    Args:
        roots: edges of the outputs.
        gradients: one array per root; Tensors if `record`.
        keep: whether the nodes keep what they saved (`retain_graph`).
        record: whether to run the rules on Tensors (`create_graph`).
        wanted: edges whose gradients are to be returned; None to accumulate into every leaf met.

    Returns:
        None, or the gradient of each wanted edge (None where there is none).
    """
    quick.before_backward()
    before = state.grad, state.after_backward
    state.grad, state.after_backward = record, None
    leaves = _Sums()
    waiting: dict = {}
    heap: list = []
    try:
        for (target, number), gradient in zip(roots, gradients):
            if number == LEAF:
                leaves.add(target, gradient, False)
            else:
                _deliver(waiting, heap, target, number, gradient)
        if wanted is None:
            caught = on_path = None
        else:
            caught = {(id(target), number): None for target, number in wanted}
            on_path = _nodes_leading_to(caught, roots)
        while heap:
            node = heappop(heap)[1]
            gradient = waiting.pop(node)
            if node.hooks is not None:
                gradient = _run_output_hooks(node, gradient, record)
            if caught is not None:
                for number in range(node.outputs):
                    if (id(node), number) in caught:
                        caught[id(node), number] = (
                            gradient if node.outputs == 1 else gradient[number]
                        )
                if node not in on_path:
                    continue
            if record:
                results = node.apply_recorded(gradient)
            else:
                results = node.apply(gradient)
            if anomaly.state.check_nan:
                anomaly.check(node, results)
            if node.hooks is not None:
                results = _run_node_hooks(node, results, gradient, record)
            if not keep:
                node.release()
            # one array for two inputs belongs to neither (2 or more None take the longer look)
            repeats = len(set(map(id, results))) != len(results) and _repeats(results)
            for edge, result in zip(node.next, results):
                if edge is None or result is None:
                    continue
                target, number = edge
                if number == LEAF:
                    owned = (
                        result.__class__ is np.ndarray
                        and result.base is None
                        and result is not gradient
                        and not repeats
                    )
                    leaves.add(target, result, owned)
                elif target.outputs == 1:
                    if target in waiting:
                        waiting[target] = waiting[target] + result
                    else:
                        waiting[target] = result
                        heappush(heap, (-target.seq, target))
                else:
                    _deliver(waiting, heap, target, number, result)
        found = _finish(leaves, caught, wanted, record)
        if state.after_backward is not None:
            for call in state.after_backward:
                call()
        return found
    finally:
        state.grad, state.after_backward = before


def _repeats(results) -> bool:
    """Whether a rule returned one array for several inputs."""
    given = [id(each) for each in results if each is not None]
    return len(set(given)) != len(given)


def _deliver(waiting, heap, node, number, gradient) -> None:
    """Add a gradient to what output `number` of `node` has received so far."""
    if node not in waiting:
        heappush(heap, (-node.seq, node))
        if node.outputs == 1:
            waiting[node] = gradient
            return
        waiting[node] = [None] * node.outputs
    if node.outputs == 1:
        waiting[node] = waiting[node] + gradient
    else:
        received = waiting[node]
        before = received[number]
        received[number] = gradient if before is None else before + gradient


def _nodes_leading_to(caught, roots) -> set:
    """The nodes that must run so that every wanted edge gets its gradient."""
    seen: dict = {}
    stack = [target for target, number in roots if number != LEAF]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen[node] = None
        stack.extend(edge[0] for edge in node.next if edge is not None and edge[1] != LEAF)
    leading: set = set()
    for node in sorted(seen, key=lambda each: each.seq):
        for edge in node.next:
            if edge is not None and ((id(edge[0]), edge[1]) in caught or edge[0] in leading):
                leading.add(node)
                break
    return leading


def _finish(leaves, caught, wanted, record):
    if wanted is None:
        for leaf, gradient, owned in leaves.entries.values():
            if leaf._requires_grad:  # it may have been frozen since the forward pass
                leaf._accumulate(gradient, owned)
        return None
    for leaf, gradient, _ in leaves.entries.values():
        key = (id(leaf), LEAF)
        if key in caught:
            if leaf._hooks:
                gradient = call_hooks(leaf._hooks, gradient, record)
            caught[key] = gradient
    found = [caught[id(target), number] for target, number in wanted]
    return [
        each if each is None or hasattr(each, "_array") else wrap(conversions.copied(each))
        for each in found
    ]


def call_hooks(hooks: dict, gradient, record: bool):
    """Pass a gradient through users' hooks, which see Tensors; returns what the last one left."""
    was_array = not hasattr(gradient, "_array")
    shown = wrap(conversions.as_array(gradient)) if was_array else gradient
    for hook in list(hooks.values()):
        changed = hook(shown)
        if changed is not None:
            if not isinstance(changed, Tensor):
                raise TypeError(
                    f"expected Tensor, but hook returned '{type(changed).__name__}': "
                    "a hook returns the new gradient as a Tensor, or None to keep the old"
                )
            if changed.shape != shown.shape:
                raise RuntimeError(
                    f"hook '{getattr(hook, '__name__', hook)}' has changed the size of value: "
                    f"{tuple(shown.shape)} became {tuple(changed.shape)}"
                )
            shown = changed
    return shown if record else shown._array


def _run_output_hooks(node, gradient, record: bool):
    for number, hooks in node.hooks.items():
        if not isinstance(number, int):
            continue
        one = gradient if node.outputs == 1 else gradient[number]
        if one is None:
            continue
        if hooks.functions:
            one = call_hooks(hooks.functions, one, record)
        if hooks.retained_by is not None:
            tensor = hooks.retained_by()
            if tensor is not None:
                kept = one if record else wrap(conversions.copied(one))
                tensor._grad = kept if tensor._grad is None else tensor._grad + kept
        if node.outputs == 1:
            gradient = one
        else:
            gradient[number] = one
    if "pre" in node.hooks:
        gradient = _through_tuple(node, gradient, node.hooks["pre"].functions, record)
    return gradient


def _as_tensors(values):
    return tuple(
        each if each is None or hasattr(each, "_array") else wrap(conversions.as_array(each))
        for each in values
    )


def _through_tuple(node, gradient, functions, record):
    values = _as_tensors([gradient] if node.outputs == 1 else gradient)
    for hook in list(functions.values()):
        changed = hook(values)
        if changed is not None:
            values = changed if isinstance(changed, tuple) else (changed,)
    plain = [each if record or each is None else each._array for each in values]
    return plain[0] if node.outputs == 1 else plain


def _run_node_hooks(node, results, gradient, record):
    if "post" not in node.hooks:
        return results
    outputs = _as_tensors([gradient] if node.outputs == 1 else gradient)
    inputs = _as_tensors(results)
    for hook in list(node.hooks["post"].functions.values()):
        changed = hook(inputs, outputs)
        if changed is not None:
            inputs = changed if isinstance(changed, tuple) else (changed,)
    return tuple(each if record or each is None else each._array for each in inputs)


GRAD_FOR_SCALAR_ONLY = "grad can be implicitly created only for scalar outputs"


def root_gradients(tensors, gradients, record: bool):
    """Edges and starting gradients of the outputs of a backward pass.

    Raises:
        RuntimeError: an output needs no gradient, is not a scalar and has none given, or has one of
            another shape.
    """
    edges, starts = [], []
    for number, (tensor, gradient) in enumerate(zip(tensors, gradients)):
        edge = edge_of(tensor)
        if edge is None:
            raise RuntimeError(
                f"element {number} of tensors does not require grad and does not have a grad_fn"
            )
        array = tensor._array
        if gradient is None:
            if array.size != 1:
                raise RuntimeError(
                    f"{GRAD_FOR_SCALAR_ONLY}, but this one has shape {list(array.shape)}: reduce "
                    "it first (.sum(), .mean()) or pass gradient= of that shape"
                )
            if array.dtype.kind not in "fV":
                raise RuntimeError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"{tensor.dtype!r}"
                )
            ones = np.ones(array.shape, array.dtype)  # a sixth of the time of ones_like
            start = wrap(ones) if record else ones
        else:
            if gradient._array.shape != array.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{number}] has a shape of {gradient.shape} and "
                    f"output[{number}] has a shape of {tensor.shape}."
                )
            start = gradient if record else gradient._array
            if gradient._array.dtype != array.dtype:
                start = start.astype(array.dtype)
        edges.append(edge)
        starts.append(start)
    return edges, starts


def tensor_backward(
    self, gradient=None, retain_graph=None, create_graph=False, inputs=None
) -> None:
    """Compute the gradients of this tensor with respect to the leaves and add them to their `grad`.

    Args:
        gradient: the gradient of some scalar with respect to this tensor; may be left out for one
            element.
        retain_graph: keep the graph for another backward pass; the default is `create_graph`.
        create_graph: record the backward pass itself, for higher derivatives.
        inputs: the only leaves to accumulate into; all if None.

    Raises:
        RuntimeError: no gradient flows here, the graph was freed, a saved tensor was overwritten,
            or the tensor is not a scalar and `gradient` is missing.
    """
    if inputs is not None:
        from danlu.autograd import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)
        return
    create_graph = bool(create_graph)
    edges, starts = root_gradients((self,), (gradient,), create_graph)
    run_backward(
        edges, starts, create_graph if retain_graph is None else retain_graph, create_graph
    )


tensor_backward.__name__ = "backward"
publish_method("backward", tensor_backward)
