"""Hooks of modules: where they are kept, how they are registered and taken away again."""

from __future__ import annotations

import functools
import weakref
from collections import OrderedDict

from danlu.nn.modules._members import epoch

_global_buffer_registration_hooks: OrderedDict = OrderedDict()
_global_module_registration_hooks: OrderedDict = OrderedDict()
_global_parameter_registration_hooks: OrderedDict = OrderedDict()
_global_backward_pre_hooks: OrderedDict = OrderedDict()
_global_backward_hooks: OrderedDict = OrderedDict()
_global_forward_pre_hooks: OrderedDict = OrderedDict()
_global_forward_hooks: OrderedDict = OrderedDict()
_global_forward_hooks_always_called: OrderedDict = OrderedDict()
_global_forward_hooks_with_kwargs: OrderedDict = OrderedDict()

_MIXED_BACKWARD_HOOKS = (
    "Cannot use both regular backward hooks and full backward hooks {where}. "
    "Please use only one of them."
)


class RemovableHandle:
    """A handle that takes a hook away again, by ``remove()`` or at the end of a ``with`` block.

    Args:
        hooks_dict: the dictionary of hooks, indexed by the handle's ``id``.
        extra_dict: one more dictionary, or a list of them, from which the ``id`` goes too.
    """

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict=None):
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        extra = extra_dict if isinstance(extra_dict, (list, tuple)) else [extra_dict]
        self._tables = [weakref.ref(d) for d in (hooks_dict, *extra) if d is not None]

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        epoch[0] = object()
        for reference in self._tables:
            table = reference()
            if table is not None:
                table.pop(self.id, None)

    def __getstate__(self):
        return self.id, [reference() for reference in self._tables]

    def __setstate__(self, state):
        self.id, tables = state
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)
        self._tables = [weakref.ref(table) for table in tables if table is not None]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


class HookTable:
    """A dictionary of hooks that a module gets when somebody first asks for it.

    A module without hooks carries none of the dozen dictionaries, and ``_hooked`` alone tells
    ``__call__`` that nobody can have put a hook into one: 150 ns less a call than asking each.
    """

    def __init__(self, *, on_call: bool):
        self.on_call = on_call

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, module, owner=None):
        if module is None:
            return self
        if self.on_call:
            module.__dict__["_hooked"] = True
        return module.__dict__.setdefault(self.name, OrderedDict())


class BoundHook:
    """A hook that gets its module as first argument and does not keep the module alive."""

    def __init__(self, hook, module):
        functools.update_wrapper(self, hook, updated=())
        self.hook = hook
        self.module = weakref.ref(module)

    def __call__(self, *args, **kwargs):
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self):
        return {"hook": self.hook, "module": self.module()}

    def __setstate__(self, state):
        if state["module"] is None:
            raise RuntimeError("You are trying to revive the hook of a dead Module!")
        self.__init__(state["hook"], state["module"])


def _register(table, hook, *, prepend=False, flags=()) -> RemovableHandle:
    """Put a hook into ``table``; ``flags`` are pairs of a table to mark it in, and whether to."""
    epoch[0] = object()
    handle = RemovableHandle(table, extra_dict=[marked for marked, _ in flags])
    table[handle.id] = hook
    for marked, wanted in flags:
        if wanted:
            marked[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def register_module_buffer_registration_hook(hook) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` whenever any module registers a buffer.

    What the hook returns, unless None, is registered instead.
    """
    return _register(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` whenever any module registers a child.

    What the hook returns, unless None, is registered instead.
    """
    return _register(_global_module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook) -> RemovableHandle:
    """Call ``hook(module, name, param)`` whenever any module registers a parameter.

    What the hook returns, unless None, is registered instead.
    """
    return _register(_global_parameter_registration_hooks, hook)


def register_module_forward_pre_hook(hook) -> RemovableHandle:
    """Call ``hook(module, args)`` before every module's forward and before its own hooks."""
    return _register(_global_forward_pre_hooks, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the forward of every module.

    Args:
        hook: what it returns, unless None, replaces the output.
        with_kwargs: call ``hook(module, args, kwargs, output)`` instead.
        always_call: call it also when the forward raises.
    """
    flags = (
        (_global_forward_hooks_with_kwargs, with_kwargs),
        (_global_forward_hooks_always_called, always_call),
    )
    return _register(_global_forward_hooks, hook, flags=flags)


def register_module_full_backward_pre_hook(hook) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` when the gradients of any module's outputs are known."""
    return _register(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when any module's backward pass is done."""
    _choose_global_kind(full=True)
    return _register(_global_backward_hooks, hook)


def register_module_backward_hook(hook) -> RemovableHandle:
    """Deprecated: use :func:`register_module_full_backward_hook`."""
    _choose_global_kind(full=False)
    return _register(_global_backward_hooks, hook)


_global_is_full_backward_hook: bool | None = None


def _choose_global_kind(full: bool) -> None:
    global _global_is_full_backward_hook
    if _global_is_full_backward_hook is not None and _global_is_full_backward_hook is not full:
        raise RuntimeError(_MIXED_BACKWARD_HOOKS.format(where="as a global Module hook"))
    _global_is_full_backward_hook = full


def backward_hooks_of(module) -> tuple[list, list]:
    """The full and the old-style backward hooks that a call of ``module`` must set up."""
    full: list = []
    partial: list = []
    if _global_backward_hooks:
        (full if _global_is_full_backward_hook else partial).extend(_global_backward_hooks.values())
    (full if module._is_full_backward_hook else partial).extend(module._backward_hooks.values())
    return full, partial


class ModuleHooks:
    """The part of ``Module`` that registers hooks."""

    _hooked = False
    _is_full_backward_hook: bool | None = None

    _forward_pre_hooks = HookTable(on_call=True)
    _forward_pre_hooks_with_kwargs = HookTable(on_call=True)
    _forward_hooks = HookTable(on_call=True)
    _forward_hooks_with_kwargs = HookTable(on_call=True)
    _forward_hooks_always_called = HookTable(on_call=True)
    _backward_pre_hooks = HookTable(on_call=True)
    _backward_hooks = HookTable(on_call=True)
    _state_dict_pre_hooks = HookTable(on_call=False)
    _state_dict_hooks = HookTable(on_call=False)
    _load_state_dict_pre_hooks = HookTable(on_call=False)
    _load_state_dict_post_hooks = HookTable(on_call=False)

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Call ``hook(module, args)`` before every forward.

        Args:
            with_kwargs: call ``hook(module, args, kwargs)``; it returns None or a pair.
            prepend: run it before the hooks already registered on this module.
            with_kwargs: call ``hook(module, args, kwargs)``; it returns None or both anew.

        Example:
            >>> import danlu as torch
            >>> layer = torch.nn.Identity()
            >>> handle = layer.register_forward_pre_hook(lambda module, args: args[0] + 1)
            >>> layer(torch.tensor(1.0))
            tensor(2.)
            >>> handle.remove()
        """
        flags = ((self._forward_pre_hooks_with_kwargs, with_kwargs),)
        return _register(self._forward_pre_hooks, hook, prepend=prepend, flags=flags)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Call ``hook(module, args, output)`` after every forward.

        Args:
            hook: what it returns, unless None, replaces the output.
            prepend: run it before the hooks already registered on this module.
            with_kwargs: call ``hook(module, args, kwargs, output)``.
            always_call: call it also when the forward raises.

        Example:
            >>> import danlu as torch
            >>> layer, shapes = torch.nn.Linear(2, 3), []
            >>> hook = lambda module, args, output: shapes.append(output.shape)
            >>> with layer.register_forward_hook(hook):
            ...     output = layer(torch.ones(4, 2))
            >>> shapes
            [torch.Size([4, 3])]
        """
        flags = (
            (self._forward_hooks_with_kwargs, with_kwargs),
            (self._forward_hooks_always_called, always_call),
        )
        return _register(self._forward_hooks, hook, prepend=prepend, flags=flags)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Call ``hook(module, grad_output)`` when the gradients of the outputs are known.

        What it returns, unless None, replaces them for the backward pass through the module.
        """
        return _register(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Call ``hook(module, grad_input, grad_output)`` when the inputs' gradients are known.

        Both are tuples; ``grad_input`` has one entry per positional argument, None where it needs
        no gradient. What the hook returns, unless None, replaces ``grad_input``.
        """
        self._choose_backward_kind(full=True)
        return _register(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook):
        """Deprecated: sees the last operation only; use ``register_full_backward_hook``."""
        self._choose_backward_kind(full=False)
        return _register(self._backward_hooks, hook)

    def _choose_backward_kind(self, full: bool) -> None:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook is not full:
            raise RuntimeError(_MIXED_BACKWARD_HOOKS.format(where="on a single Module"))
        self._is_full_backward_hook = full

    def register_state_dict_pre_hook(self, hook):
        """Call ``hook(module, prefix, keep_vars)`` before the module's state is collected."""
        return _register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook):
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after the state is collected.

        It changes ``state_dict`` in place and returns None.
        """
        hook._from_public_api = True
        return _register(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook):
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was "
                "previously registered via register_state_dict_post_hook"
            )
        return _register(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook):
        """Call ``hook`` before this module loads its own entries.

        Its arguments are ``(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)``; it may change the containers in place.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False):
        bound = BoundHook(hook, self) if with_module else hook
        return _register(self._load_state_dict_pre_hooks, bound)

    def register_load_state_dict_post_hook(self, hook):
        """Call ``hook(module, incompatible_keys)`` after this module and its children have loaded.

        It may change ``missing_keys`` and ``unexpected_keys`` in place, and so decide what
        ``strict`` complains about.
        """
        return _register(self._load_state_dict_post_hooks, hook)
