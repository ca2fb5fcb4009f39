"""Automatic differentiation: the tape, its modes, and functions over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from danlu.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

if TYPE_CHECKING:
    from danlu.autograd.anomaly import detect_anomaly as detect_anomaly
    from danlu.autograd.anomaly import set_detect_anomaly as set_detect_anomaly
    from danlu.autograd.function import Function as Function

__all__ = [
    "Function", "Variable", "backward", "detect_anomaly", "enable_grad", "functional", "grad",
    "gradcheck", "gradgradcheck", "inference_mode", "is_grad_enabled", "no_grad",
    "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip


def _as_tuple(value) -> tuple:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def backward(
    tensors,
    grad_tensors=None,
    retain_graph=None,
    create_graph=False,
    grad_variables=None,
    inputs=None,
) -> None:
    """Compute gradients of `tensors` and accumulate them into the leaves; see `Tensor.backward`.

    Args:
        tensors: one tensor or a sequence.
        grad_tensors: a gradient per tensor; None for scalars.
        inputs: the only tensors to accumulate into.

    Raises:
        RuntimeError: see `Tensor.backward`; or `inputs` is empty.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> torch.autograd.backward([x.sum(), (x * x).sum()])
        >>> x.grad
        tensor([3., 3.])
    """
    from danlu.autograd.engine import root_gradients, run_backward
    from danlu.autograd.node import LEAF, edge_of

    tensors = _as_tuple(tensors)
    given = grad_variables if grad_tensors is None else grad_tensors
    gradients = (None,) * len(tensors) if given is None else _as_tuple(given)
    if len(gradients) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(gradients)} gradients")
    create_graph = bool(create_graph)
    edges, starts = root_gradients(tensors, gradients, create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        run_backward(edges, starts, keep, create_graph)
        return
    targets = _as_tuple(inputs)
    if not targets:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    wanted = [edge_of(each) for each in targets]
    if None in wanted:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    found = run_backward(edges, starts, keep, create_graph, wanted)
    for tensor, edge, gradient in zip(targets, wanted, found):
        if gradient is None:
            continue
        if edge[1] == LEAF:
            # the hooks on the gradient have run on the way here
            tensor._accumulate(gradient if create_graph else gradient._array, True, hooked=True)
        else:
            tensor._grad = gradient if tensor._grad is None else tensor._grad + gradient


def grad(
    outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True,
    allow_unused=None, is_grads_batched=False, materialize_grads=False,
):  # fmt: skip
    """The gradients of the sum of `outputs` with respect to each of `inputs`, as a tuple.

    Args:
        grad_outputs: what the outputs are multiplied with; None for scalars.
        create_graph: record the computation, so that the gradients can be differentiated again.
        allow_unused: return None for inputs that the outputs do not depend on, instead of raising.
        materialize_grads: return zeros for them.

    Example:
        >>> import danlu as torch
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> torch.autograd.grad(x * x, x)
        (tensor(6.),)

    Raises:
        RuntimeError: an input does not require gradients, or was not used and `allow_unused` is not
            set.
    """
    from danlu.autograd.engine import root_gradients, run_backward
    from danlu.autograd.node import edge_of

    outputs, targets = _as_tuple(outputs), _as_tuple(inputs)
    gradients = (None,) * len(outputs) if grad_outputs is None else _as_tuple(grad_outputs)
    if is_grads_batched:
        return _batched(outputs, targets, gradients, retain_graph, create_graph, allow_unused)
    if not targets:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    wanted = [edge_of(each) for each in targets]
    if None in wanted:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    create_graph = bool(create_graph)
    edges, starts = root_gradients(outputs, gradients, create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    found = run_backward(edges, starts, keep, create_graph, wanted)
    for i, gradient in enumerate(found):
        if gradient is None and materialize_grads:
            from danlu.ops.creation import zeros_like

            found[i] = zeros_like(targets[i])
        elif gradient is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {i} appears to not have been used in the "
                "graph. Set allow_unused=True if this is the desired behavior."
            )
    return tuple(found)


def _batched(outputs, targets, gradients, retain_graph, create_graph, allow_unused):
    """`is_grads_batched`: one pass per entry of the gradients' first dimension."""
    from danlu.ops.joining import stack

    rows = []
    for i in range(len(gradients[0])):
        one = [each[i] for each in gradients]
        rows.append(grad(outputs, targets, one, True, create_graph, allow_unused=allow_unused))
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows))


class _VariableType(type):
    def __instancecheck__(cls, instance) -> bool:
        from danlu.tensor import Tensor

        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableType):
    """The name Tensor had before PyTorch 0.4; `Variable(x)` is x, recording if asked."""

    def __new__(cls, data, requires_grad=False, volatile=False):
        return data.detach().requires_grad_(requires_grad) if requires_grad else data.detach()


_SUBMODULES = ("function", "functional", "grad_mode", "graph")
_LAZY = {
    "Function": "function", "detect_anomaly": "anomaly", "gradcheck": "numeric",
    "gradgradcheck": "numeric", "set_detect_anomaly": "anomaly",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    import importlib

    if name in _SUBMODULES:
        return importlib.import_module(f"danlu.autograd.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'torch.autograd' has no attribute '{name}'")
    found = getattr(importlib.import_module(f"danlu.autograd.{_LAZY[name]}"), name)
    globals()[name] = found
    return found
