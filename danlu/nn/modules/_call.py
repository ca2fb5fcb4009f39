"""Calling a module that has hooks."""

from __future__ import annotations

import warnings

from danlu.autograd import grad_mode
from danlu.nn.modules import _hooks
from danlu.tensor import Tensor


def call_with_hooks(module, args: tuple, kwargs: dict):
    """Run the module's forward with the global hooks and its own around it."""
    progress = _Progress()
    try:
        return _call(module, args, kwargs, progress)
    except Exception:
        _run_hooks_always_called(module, args, kwargs, progress)
        raise


class _Progress:
    """How far a call has come: what the hooks of a failed one are still to be told."""

    __slots__ = ("result", "started")

    def __init__(self):
        self.result = None
        self.started: set = set()


def _call(module, args, kwargs, progress):
    args, kwargs = _run_forward_pre_hooks(module, args, kwargs)
    full, partial = _hooks.backward_hooks_of(module)
    before = [*_hooks._global_backward_pre_hooks.values(), *module._backward_pre_hooks.values()]
    watch = _BackwardWatch(module, full, before) if full or before else None
    if watch is not None:
        args = watch.watch_inputs(args)
    progress.result = module.forward(*args, **kwargs)
    _run_forward_hooks(module, args, kwargs, progress)
    if watch is not None:
        progress.result = watch.watch_outputs(progress.result)
    if partial:
        _hook_last_node(module, partial, progress.result)
    return progress.result


def _run_forward_pre_hooks(module, args, kwargs):
    own, with_kwargs = module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs
    for key, hook in (*_hooks._global_forward_pre_hooks.items(), *own.items()):
        if key in with_kwargs:
            answer = hook(module, args, kwargs)
            if answer is None:
                continue
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise RuntimeError(
                    "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                    f"but got {answer}."
                )
            args, kwargs = answer
        else:
            answer = hook(module, args)
            if answer is not None:
                args = answer if isinstance(answer, tuple) else (answer,)
    return args, kwargs


def _run_forward_hooks(module, args, kwargs, progress):
    for key, hook in _forward_hooks(module):
        progress.started.add(key)
        answer = _call_forward_hook(key, hook, module, args, kwargs, progress.result)
        if answer is not None:
            progress.result = answer


def _forward_hooks(module):
    return *_hooks._global_forward_hooks.items(), *module._forward_hooks.items()


def _call_forward_hook(key, hook, module, args, kwargs, result):
    if key in module._forward_hooks_with_kwargs or key in _hooks._global_forward_hooks_with_kwargs:
        return hook(module, args, kwargs, result)
    return hook(module, args, result)


def _run_hooks_always_called(module, args, kwargs, progress):
    always = {*_hooks._global_forward_hooks_always_called, *module._forward_hooks_always_called}
    for key, hook in _forward_hooks(module):
        if key not in always or key in progress.started:
            continue
        try:
            answer = _call_forward_hook(key, hook, module, args, kwargs, progress.result)
        except Exception as error:
            warnings.warn(
                "module forward hook with ``always_call=True`` raised an exception that was "
                f"silenced as another error was raised in forward: {error}",
                stacklevel=4,
            )
            continue
        if answer is not None:
            progress.result = answer


class _BackwardWatch:
    """Calls the backward hooks of one call of a module.

    An identity on the tape after the outputs tells when their gradients are known, one before the
    inputs when the pass through the module is over.
    """

    def __init__(self, module, hooks, pre_hooks):
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs = None
        self.arguments = self.outputs = 0
        self.watched_inputs: list | None = None
        self.watched_outputs: list | None = None

    def watch_inputs(self, args: tuple) -> tuple:
        self.arguments = len(args)
        args, self.watched_inputs = _pass_through(args, self._inputs_done)
        return args

    def watch_outputs(self, result):
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of "
                f"Tensors but received {type(result)}",
                stacklevel=5,
            )
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        self.outputs = len(outputs)
        outputs, self.watched_outputs = _pass_through(outputs, self._outputs_known)
        return outputs if isinstance(result, tuple) else outputs[0]

    def _outputs_known(self, gradients):
        self.grad_outputs = _spread(self.watched_outputs, gradients, self.outputs)
        for hook in self.pre_hooks:
            answer = hook(self.module, self.grad_outputs)
            if answer is None:
                continue
            answer = answer if isinstance(answer, tuple) else (answer,)
            if len(answer) != len(self.grad_outputs):
                raise RuntimeError(
                    "Backward pre hook returned an invalid number of grad_output, "
                    f"got {len(answer)}, but expected {len(self.grad_outputs)}"
                )
            self.grad_outputs = answer
        passed_on = tuple(self.grad_outputs[i] for i in self.watched_outputs)
        if self.watched_inputs is None:
            self._finish_without_inputs()
        return passed_on

    def _finish_without_inputs(self):
        if self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients.",
                stacklevel=2,
            )
        for hook in self.hooks:
            answer = hook(self.module, (None,) * self.arguments, self.grad_outputs)
            if answer is not None and not (
                isinstance(answer, tuple) and all(entry is None for entry in answer)
            ):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_outputs = None

    def _inputs_done(self, gradients):
        if self.grad_outputs is None:  # the gradient came by another road than the outputs
            return gradients
        grad_inputs = _spread(self.watched_inputs, gradients, self.arguments)
        for hook in self.hooks:
            answer = hook(self.module, grad_inputs, self.grad_outputs)
            if answer is None:
                continue
            answer = answer if isinstance(answer, tuple) else (answer,)
            if len(answer) != len(grad_inputs):
                raise RuntimeError(
                    "Backward hook returned an invalid number of grad_input, "
                    f"got {len(answer)}, but expected {len(grad_inputs)}"
                )
            grad_inputs = answer
        self.grad_outputs = None
        return tuple(grad_inputs[i] for i in self.watched_inputs)


def _spread(places: list, values, size: int) -> tuple:
    spread = [None] * size
    for place, value in zip(places, values, strict=True):
        spread[place] = value
    return tuple(spread)


def _pass_through(values: tuple, on_gradients):
    """The values, those on the tape led through an identity, and where those stand (or None)."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    if not places or not grad_mode.is_grad_enabled():
        return values, None
    passed = _identity().apply(on_gradients, *(values[i] for i in places))
    passed = iter(passed if isinstance(passed, tuple) else (passed,))
    replaced = [next(passed) if i in places else v for i, v in enumerate(values)]
    if hasattr(values, "_fields"):
        return type(values)(*replaced), places
    return tuple(replaced), places


_identity_class = None


def _identity():
    """The identity that hands its gradients to a function on their way back, made at first use."""
    global _identity_class
    if _identity_class is None:
        from danlu.autograd import Function

        class BackwardHookFunction(Function):
            @staticmethod
            def forward(ctx, on_gradients, *tensors):
                ctx.set_materialize_grads(False)
                ctx.on_gradients = on_gradients
                return tuple(tensor.view_as(tensor) for tensor in tensors)

            @staticmethod
            def backward(ctx, *gradients):
                return (None, *ctx.on_gradients(gradients))

        _identity_class = BackwardHookFunction
    return _identity_class


def _hook_last_node(module, hooks, result):
    """Old-style backward hooks: they see the last recorded operation of the first output only."""
    tensor = result
    while not isinstance(tensor, Tensor):
        if isinstance(tensor, dict):
            tensor = next(value for value in tensor.values() if isinstance(value, Tensor))
        else:
            tensor = tensor[0]
    node = tensor.grad_fn
    if node is None:
        return
    if not isinstance(result, Tensor):
        warnings.warn(
            "A backward hook registered with register_backward_hook sees the gradients of one "
            "operation only; use register_full_backward_hook.",
            FutureWarning,
            stacklevel=4,
        )
    for hook in hooks:
        node.register_hook(_hooks.BoundHook(hook, module))
