"""Whether operations are recorded: a thread-local switch and the context managers that turn it."""

from __future__ import annotations

try:
    from _thread import _local as local  # what threading.local is, without the 0.7 ms of threading
except ImportError:
    from threading import local

__all__ = [
    "enable_grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad",
    "set_grad_enabled", "state",
]  # fmt: skip


class _State(local):
    grad = True
    inference = False
    after_backward: list | None = None  # what the running backward pass calls at its end


state = _State()


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require gradients are recorded in this thread.

    Example:
        >>> import danlu as torch
        >>> with torch.no_grad():
        ...     torch.is_grad_enabled()
        False
    """
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is on in this thread."""
    return state.inference


class _Switch:
    """A context manager that also decorates functions and generators."""

    __slots__ = ("_before", "_mode")

    def __init__(self, mode: bool):
        self._mode = mode
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._before.append((state.grad, state.inference))
        state.grad = self._mode

    def __exit__(self, *exception) -> None:
        state.grad, state.inference = self._before.pop()

    def _fresh(self) -> _Switch:
        return type(self)()  # type: ignore[call-arg]

    def __call__(self, function):
        import functools
        import inspect

        if inspect.isclass(function):
            function.__init__ = self(function.__init__)
            return function
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def each_step(*args, **kwargs):
                generator = function(*args, **kwargs)
                sent = None
                while True:
                    with self._fresh():
                        try:
                            item = generator.send(sent)
                        except StopIteration as stop:
                            return stop.value
                    sent = yield item

            return each_step

        @functools.wraps(function)
        def whole_call(*args, **kwargs):
            with self._fresh():
                return function(*args, **kwargs)

        return whole_call


class no_grad(_Switch):
    """Record nothing inside; results do not require gradients. Also a decorator, with or without
    `()`.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    __slots__ = ()

    def __new__(cls, function=None):
        made = object.__new__(cls)
        if function is None:
            return made
        made.__init__()
        return made(function)

    def __init__(self, function=None):
        super().__init__(False)


class enable_grad(no_grad):
    """Record again inside a `no_grad` block. Also a decorator, with or without `()`.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(1, requires_grad=True)
        >>> with torch.no_grad(), torch.enable_grad():
        ...     (2 * x).requires_grad
        True
    """

    __slots__ = ()

    def __init__(self, function=None):
        _Switch.__init__(self, True)


class set_grad_enabled(_Switch):
    """Switch recording on or off at once; as a context manager, until the block ends.

    Example:
        >>> import danlu as torch
        >>> with torch.set_grad_enabled(False):
        ...     torch.is_grad_enabled()
        False
    """

    __slots__ = ()

    def __init__(self, mode: bool):
        super().__init__(bool(mode))
        self._before.append((state.grad, state.inference))
        state.grad = self._mode

    def __enter__(self) -> None:
        state.grad = self._mode

    def __exit__(self, *exception) -> None:
        state.grad, state.inference = self._before[-1]

    def _fresh(self):
        return set_grad_enabled(self._mode)

    def __call__(self, function):
        state.grad, state.inference = self._before[-1]
        return super().__call__(function)


class inference_mode(_Switch):
    """`no_grad` for code whose results never meet a recording again.

    Args:
        mode: True to enter inference mode, False to leave it inside.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(1, requires_grad=True)
        >>> with torch.inference_mode():
        ...     (2 * x).requires_grad
        False
    """

    __slots__ = ("_inference",)

    def __new__(cls, mode=True):
        made = object.__new__(cls)
        if callable(mode):
            made.__init__()
            return made(mode)
        return made

    def __init__(self, mode: bool = True):
        super().__init__(not mode)
        self._inference = bool(mode)

    def __enter__(self) -> None:
        super().__enter__()
        state.inference = self._inference

    def _fresh(self):
        return inference_mode(self._inference)
