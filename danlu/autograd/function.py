"""`autograd.Function`: operations with a derivative written by the user."""

from __future__ import annotations

import numpy as np

from danlu.autograd import anomaly
from danlu.autograd.grad_mode import state
from danlu.autograd.node import BACKWARD_TWICE, FREED, Node, edge_of, sequence
from danlu.backend import conversions
from danlu.tensor import Tensor, rebase_history, wrap

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx:
    """What `forward` leaves for `backward`: saved tensors and whatever else is set on it."""

    _to_save: tuple = ()
    _dirty: tuple = ()
    _non_differentiable: tuple = ()
    _materialize = True
    needs_input_grad: tuple = ()
    _node = None
    _saved = None

    def save_for_backward(self, *tensors) -> None:
        """Keep tensors for `backward`, guarded against in-place changes; read them from
        `saved_tensors`."""
        for i, each in enumerate(tensors):
            if each is not None and not isinstance(each, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type "
                    f"{type(each).__name__}: set other values as attributes, ctx.name = value"
                )
        self._to_save = tensors

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple:
        """The tensors given to `save_for_backward`.

        Raises:
            RuntimeError: the graph was freed, or one of them was modified in place.
        """
        if self._saved is FREED:
            raise RuntimeError(BACKWARD_TWICE)
        if self._saved is None:
            return self._to_save
        found = []
        for saved in self._saved:
            if saved is None:
                found.append(None)
                continue
            array, version, count, edge, original = saved
            if version[0] != count:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: a tensor of shape {list(array.shape)} saved by "
                    f"{self._node.name()} is at version {version[0]}; expected version {count} "
                    "instead"
                )
            if original is not None:
                found.append(original)
                continue
            tensor = wrap(array)
            tensor._writes = version
            if edge is not None:
                tensor._edge, tensor._requires_grad = edge, True
            found.append(tensor)
        return tuple(found)

    def mark_dirty(self, *tensors) -> None:
        """Say which inputs `forward` modified in place; it must return them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors) -> None:
        """Say which outputs have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether outputs without gradient arrive in `backward` as zeros (the default) or as
        None."""
        self._materialize = value


class FunctionNode(Node):
    """The node of a user's Function; a subclass for each carries its name."""

    __slots__ = ("ctx", "expected", "kinds", "outputs", "positions", "shapes")

    function: type

    def apply(self, g):
        received = [g] if self.outputs == 1 else g
        tensors = [None if each is None else wrap(conversions.as_array(each)) for each in received]
        with_grad = state.grad
        state.grad = False
        try:
            results = self._run(tensors)
        finally:
            state.grad = with_grad
        return [None if each is None else conversions.another(each._array) for each in results]

    def apply_recorded(self, g):
        return self._run([g] if self.outputs == 1 else g)

    def _run(self, received):
        ctx = self.ctx
        if ctx._materialize:
            received = [
                wrap(np.zeros(shape, kind)) if each is None else each
                for each, shape, kind in zip(received, self.shapes, self.kinds)
            ]
        results = self.function.backward(ctx, *received)
        results = results if isinstance(results, tuple) else (results,)
        count = len(ctx.needs_input_grad)
        if len(results) < count or any(each is not None for each in results[count:]):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected "
                f"{count}, got {len(results)}): backward returns one per argument of forward, None "
                "where there is none"
            )
        return [
            None if edge is None else self._fitted(results[position], position, *expected)
            for edge, position, expected in zip(self.next, self.positions, self.expected)
        ]

    def _fitted(self, result, position, shape, kind):
        """A gradient in the shape and dtype of its input: dimensions that the input was stretched
        along are summed."""
        if result is None:
            return None
        if not isinstance(result, Tensor):
            raise RuntimeError(
                f"expected Variable or None (got {type(result).__name__}) from {self.name()}"
            )
        got = result._array.shape
        if got != shape:
            from danlu.ops.rules import sum_to

            extra = len(got) - len(shape)
            if extra < 0 or any(n not in (1, m) for m, n in zip(got[extra:], shape)):
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {position} - "
                    f"got {list(got)} but expected shape compatible with {list(shape)}"
                )
            result = sum_to(result, shape)
        if result._array.dtype != kind:
            from danlu.ops.rules import cast_gradient

            result = cast_gradient(result, kind)
        return result

    def release(self) -> None:
        if self.ctx._saved:
            self.ctx._saved = FREED

    @property
    def saved_tensors(self):
        """What `forward` saved."""
        return self.ctx.saved_tensors

    def __getattr__(self, name):
        if name in ("ctx", "_metadata"):
            raise AttributeError(name)
        return getattr(self.ctx, name)


class Function:
    """An operation with its own derivative: subclass with static `forward` and `backward`, call
    through `apply`.

    `forward(ctx, *args)` computes the result without being recorded; `backward(ctx, *grad_outputs)`
    returns one gradient per argument of forward, None where there is none. With a separate
    `setup_context(ctx, inputs, output)`, forward takes no ctx.

    Example:
        >>> import danlu as torch
        >>> class Square(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         (x,) = ctx.saved_tensors
        ...         return 2 * x * g
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> Square.apply(x).backward()
        >>> x.grad
        tensor(6.)
    """

    def __init__(self, *args, **kwargs):
        import warnings

        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all "
            "static, so you should invoke them on the class itself: "
            f"{type(self).__name__}.apply(...)",
            DeprecationWarning,
            stacklevel=2,
        )

    @staticmethod
    def forward(*args, **kwargs):
        """Compute the result; override it."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Compute the gradients of the arguments; override it."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Save what `backward` needs, when `forward` takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run the operation and record it."""
        ctx = FunctionCtx()
        positions = [i for i, each in enumerate(args) if isinstance(each, Tensor)]
        edges = {i: edge_of(args[i]) for i in positions}
        ctx.needs_input_grad = tuple(edges.get(i) is not None for i in range(len(args)))
        recording = state.grad and any(ctx.needs_input_grad)
        with_grad = state.grad
        state.grad = False
        try:
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args, **kwargs)
        finally:
            state.grad = with_grad
        many = isinstance(output, tuple)
        outputs = list(output) if many else [output]
        if not recording:
            return output
        node = _node_class(cls)()
        node.seq = sequence()
        node.hooks = None
        node.ctx, node.positions = ctx, positions
        node.next = tuple(edges[i] for i in positions)
        node.expected = [(args[i]._array.shape, args[i]._array.dtype) for i in positions]
        node.outputs = len(outputs)
        node.shapes = [each._array.shape if isinstance(each, Tensor) else None for each in outputs]
        node.kinds = [each._array.dtype if isinstance(each, Tensor) else None for each in outputs]
        ctx._node = node
        if anomaly.state.on:
            anomaly.note_forward_call(node)
        given = {id(each) for each in args if isinstance(each, Tensor)}
        dirty = {id(each) for each in ctx._dirty}
        constant = {id(each) for each in ctx._non_differentiable}
        saved_outputs = {}
        for number, each in enumerate(outputs):
            if not isinstance(each, Tensor) or id(each) in constant:
                continue
            if each._array.dtype.kind not in "fcV":
                continue
            if id(each) in dirty:
                if each._requires_grad and each._edge is None:
                    raise RuntimeError(
                        "a leaf Variable that requires grad has been used in an in-place operation."
                    )
                each._writes[0] += 1
                rebase_history(each, node)
                continue
            original = each
            if id(each) in given:
                each = wrap(conversions.another(each._array))
                each._writes = original._writes
            elif each._edge is not None or each._view is not None:
                each = wrap(each._array)
            each._edge, each._requires_grad = (node, number), True
            outputs[number] = each
            saved_outputs[id(original)] = (node, number)
        ctx._saved = tuple(_saved(each, saved_outputs, given) for each in ctx._to_save)
        ctx._to_save = ()
        return tuple(outputs) if many else outputs[0]


def _node_class(function) -> type:
    """The node type of a Function, named as PyTorch prints it."""
    made = function.__dict__.get("_backward_cls")
    if made is None:
        body = {"__slots__": (), "function": function, "__module__": function.__module__}
        made = function._backward_cls = type(function.__name__ + "Backward", (FunctionNode,), body)
    return made


def _saved(tensor, outputs, given):
    """A saved tensor: outputs by their place in the graph, so that no cycle keeps the graph
    alive."""
    if tensor is None:
        return None
    edge = outputs.get(id(tensor))
    if edge is not None:
        return tensor._array, tensor._writes, tensor._writes[0], edge, None
    return tensor._array, tensor._writes, tensor._writes[0], None, tensor


def once_differentiable(fn):
    """Decorate a `backward` whose own computation is not to be differentiated: doing so raises an
    error."""
    import functools

    @functools.wraps(fn)
    def wrapper(ctx, *args):
        recorded = state.grad and any(
            isinstance(each, Tensor) and each.requires_grad for each in args
        )
        with_grad = state.grad
        state.grad = False
        try:
            outputs = fn(ctx, *args)
        finally:
            state.grad = with_grad
        if not recorded:
            return outputs
        results = outputs if isinstance(outputs, tuple) else (outputs,)
        marked = tuple(
            _Forbidden.apply(args[0], each) if isinstance(each, Tensor) else each
            for each in results
        )
        return marked if isinstance(outputs, tuple) else marked[0]

    return wrapper


class _Forbidden(Function):
    """Passes a gradient on and refuses to be differentiated."""

    @staticmethod
    def forward(ctx, source, value):
        return value.clone()

    @staticmethod
    def backward(ctx, g):
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )
