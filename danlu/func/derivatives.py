"""Derivatives of functions as functions, over the tape.

A call starts a graph of its own at its inputs. It stays joined to what the function uses from
outside and what
requires gradients there, so that derivatives nest: `grad(grad(f))` is the second derivative."""

from __future__ import annotations

import functools

from danlu.autograd.functional import _gradients
from danlu.autograd.functional import jvp as product_with_vector
from danlu.autograd.grad_mode import enable_grad, state
from danlu.autograd.node import LEAF
from danlu.func.trees import leaves, rebuilt, same_structure, structure
from danlu.ops.creation import zeros_like
from danlu.ops.joining import stack
from danlu.tensor import Tensor

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "vjp"]


class _Start:
    """The inputs of one call as the starting points of its graph."""

    def __init__(self, tree):
        self.tree = tree
        self.inputs = [self._input(each) for each in leaves(tree)]
        self.own = {id(each) for each in self.inputs if each._edge is None}

    @staticmethod
    def _input(value):
        if not isinstance(value, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(value)}")
        return value.view_as(value) if value.requires_grad else value.detach().requires_grad_()

    def arguments(self):
        """The inputs in their containers."""
        return rebuilt(self.tree, iter(self.inputs))

    def leads_outside(self, outputs) -> bool:
        """Whether `outputs` depend on tensors outside of this call that require gradients."""
        seen: set = set()
        waiting = [each.grad_fn for each in outputs if isinstance(each, Tensor) and each.grad_fn]
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            for edge in node.next:
                if edge is None:
                    continue
                if edge[1] != LEAF:
                    waiting.append(edge[0])
                elif id(edge[0]) not in self.own:
                    return True
        return False


def _run(func, args, argnums, kwargs):
    """Call `func` with the chosen arguments as starting points.

    Returns:
        (start, outputs, whether the result is to stay joined to a graph outside)
    """
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise RuntimeError(f"Got argnum={number}, but only {len(args)} positional inputs")
    outside = state.grad
    with enable_grad():
        start = _Start(tuple(args[number] for number in numbers))
        given = list(args)
        for number, value in zip(numbers, start.arguments()):
            given[number] = value
        outputs = func(*given, **kwargs)
    return start, outputs, outside and start.leads_outside(leaves(outputs))


def _published(tree, joined: bool):
    """Results without the graph of the call that made them, unless they lead on to one outside."""
    if joined:
        return tree
    plain = (each.detach() if isinstance(each, Tensor) else each for each in leaves(tree))
    return rebuilt(tree, plain)


def _chosen(tree, argnums):
    return tree if isinstance(argnums, tuple) else tree[0]


def _split(outputs, has_aux: bool, name: str):
    if not has_aux:
        return outputs, None
    if not (isinstance(outputs, tuple) and len(outputs) == 2):
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return outputs


def grad_and_value(func, argnums=0, has_aux=False):
    """A function that returns the gradient of the scalar function `func`, and its value.

    Args:
        func: returns a Tensor of one element; with `has_aux` a pair of that and anything else.
        argnums: the positional argument to differentiate by, or a tuple of several. Default: 0.
        has_aux: see `func`. Default: False.

    Returns:
        A function that returns (gradient, value), or (gradient, (value, aux)).

    Raises (when called):
        RuntimeError: the result is not a 0-dimensional Tensor, or there is no argument `argnums`.

    Example:
        >>> import danlu as torch
        >>> torch.func.grad_and_value(lambda x: (x * x).sum())(torch.tensor([1.0, 3.0]))
        (tensor([2., 6.]), tensor(10.))
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        start, outputs, joined = _run(func, args, argnums, kwargs)
        value, aux = _split(outputs, has_aux, "grad_and_value(f)(*args)")
        where = "grad_and_value(f)(*args): Expected f(*args) to return"
        if not isinstance(value, Tensor):
            raise RuntimeError(f"{where} a Tensor, got {type(value)}")
        if value.dim():
            raise RuntimeError(
                f"{where} a scalar Tensor, got tensor with {value.dim()} dims. Maybe you wanted to "
                "use the vjp or jacrev APIs instead?"
            )
        found = _filled(_gradients((value,), start.inputs, create_graph=joined), start.inputs)
        gradient = _chosen(rebuilt(start.tree, iter(found)), argnums)
        value, aux = _published(value, joined), _published(aux, joined)
        return gradient, ((value, aux) if has_aux else value)

    return wrapper


def grad(func, argnums=0, has_aux=False):
    """A function that returns the gradient of the scalar function `func`.

    Args:
        func: returns a Tensor of one element; with `has_aux` a pair of that and anything else.
        argnums: the positional argument to differentiate by, or a tuple of several. Default: 0.
        has_aux: see `func`; the made function then returns (gradient, aux). Default: False.

    Raises (when called):
        RuntimeError: the result is not a 0-dimensional Tensor, or there is no argument `argnums`.

    Example:
        >>> import danlu as torch
        >>> torch.func.grad(torch.func.grad(lambda x: x**3))(torch.tensor(2.0))
        tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


def _filled(gradients, references) -> list:
    return [
        zeros_like(reference.detach()) if each is None else each
        for each, reference in zip(gradients, references)
    ]


def vjp(func, *primals, has_aux=False):
    """The value of `func` and a function that multiplies a vector with its Jacobian: v J.

    Args:
        func: returns a Tensor, or Tensors in tuples, lists or dictionaries; with `has_aux` a pair
            of that and anything.
        primals: the arguments.

    Returns:
        (output, function), or (output, function, aux). The function takes a value built like the
        output and returns a tuple with one product for each of the primals.

    Raises (when called):
        RuntimeError: the vector is not built like the output.

    Example:
        >>> import danlu as torch
        >>> value, pull = torch.func.vjp(lambda x: x * x, torch.tensor([1.0, 3.0]))
        >>> value, pull(torch.ones(2))
        (tensor([1., 9.]), (tensor([2., 6.]),))
    """
    start, outputs, joined = _run(func, primals, tuple(range(len(primals))), {})
    outputs, aux = _split(outputs, has_aux, "vjp(f, *primals)")

    def multiply(cotangents, retain_graph=True, create_graph=None):
        if not same_structure(cotangents, outputs):
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                f"outputs to the function. cotangents: {structure(cotangents)}, primal output: "
                f"{structure(outputs)}"
            )
        vectors = tuple(leaves(cotangents))
        record = joined or any(each.requires_grad for each in vectors)
        found = _gradients(
            tuple(leaves(outputs)), start.inputs, vectors, create_graph=record, retain_graph=True
        )
        return rebuilt(start.tree, iter(_filled(found, start.inputs)))

    shown = _published(outputs, joined)
    return (shown, multiply, _published(aux, joined)) if has_aux else (shown, multiply)


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """The value of `func` and the product of its Jacobian with a vector: J v.

    Args:
        func: takes Tensors, returns a Tensor or a tuple of Tensors.
        primals: the arguments, a tuple.
        tangents: the vector, a tuple of the same shapes.
        strict: raise where an output does not depend on an input. Default: False.
        has_aux: `func` returns a pair of its output and anything else. Default: False.

    Returns:
        (output, product), or (output, product, aux).

    Raises:
        RuntimeError: primals or tangents are not tuples, or do not fit.

    Example:
        >>> import danlu as torch
        >>> torch.func.jvp(lambda x: x * x, (torch.tensor([1.0, 3.0]),), (torch.ones(2),))
        (tensor([1., 9.]), tensor([2., 6.]))
    """
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, tuple):
            raise RuntimeError(
                f"jvp(f, primals, tangents): Expected {name} to be a tuple. E.g. it should be "
                "valid to call f(*primals)."
            )
    extra = []

    def main(*inputs):
        output, aux = _split(func(*inputs), has_aux, "jvp(f, primals, tangents)")
        extra.append(aux)
        return output

    joined = state.grad and any(each.requires_grad for each in (*primals, *tangents))
    found = product_with_vector(main, primals, tangents, create_graph=joined, strict=strict)
    return (*found, _published(extra[0], joined)) if has_aux else found


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """A function that returns the Jacobian of `func`, computed row by row in reverse mode.

    Args:
        func: returns a Tensor, or Tensors in tuples, lists or dictionaries; with `has_aux` a pair
            of that and anything.
        argnums: the positional argument to differentiate by, or a tuple of several. Default: 0.
        has_aux: the made function returns (Jacobian, aux). Default: False.
        chunk_size: accepted for PyTorch's sake.

    Returns:
        A function whose result is built like the output, with the Jacobians by the arguments in
        each place.

    Example:
        >>> import danlu as torch
        >>> torch.func.jacrev(lambda x: x * x)(torch.tensor([1.0, 3.0]))
        tensor([[2., 0.],
                [0., 6.]])
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        start, outputs, joined = _run(func, args, argnums, kwargs)
        outputs, aux = _split(outputs, has_aux, "jacrev(f)(*args)")
        matrices = [
            _chosen(rebuilt(start.tree, iter(_matrix(each, start.inputs, joined))), argnums)
            for each in leaves(outputs)
        ]
        jacobian = rebuilt(outputs, iter(matrices))
        return (jacobian, _published(aux, joined)) if has_aux else jacobian

    return wrapper


def _matrix(output, inputs, joined: bool) -> list:
    """The Jacobian of one output by each input: one backward pass per output element."""
    columns: list[list] = [[] for _ in inputs]
    with enable_grad():
        elements = list(output.reshape(-1))
    for element in elements:
        found = _gradients((element,), inputs, create_graph=joined, retain_graph=True)
        for column, gradient in zip(columns, _filled(found, inputs)):
            column.append(gradient)
    return [
        (stack(column) if column else each.detach().new_zeros((0, *each.shape)))
        .reshape((*output.shape, *each.shape))
        for column, each in zip(columns, inputs)
    ]  # fmt: skip


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """A function that returns the Jacobian of `func`; the same as `jacrev`, for danlu has reverse
    mode alone.

    Args:
        func, argnums, has_aux: see `jacrev`.
        randomness: accepted for PyTorch's sake.

    Example:
        >>> import danlu as torch
        >>> torch.func.jacfwd(lambda x: x.sum() * x)(torch.tensor([1.0, 3.0]))
        tensor([[5., 1.],
                [3., 7.]])
    """
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func, argnums=0):
    """A function that returns the second derivatives of `func`: the Jacobian of its Jacobian.

    Args:
        func, argnums: see `jacrev`.

    Example:
        >>> import danlu as torch
        >>> torch.func.hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    return jacrev(jacrev(func, argnums), argnums)
