"""The state of modules: collecting it into a dictionary and loading it back."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Mapping

from danlu.autograd.grad_mode import no_grad
from danlu.nn.parameter import Parameter, is_lazy
from danlu.tensor import Tensor

_EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class ModuleState:
    """The part of ``Module`` that saves and loads."""

    _version = 1
    dump_patches = False

    def get_extra_state(self):
        """What ``state_dict`` stores beside tensors; a subclass that defines it defines both."""
        raise RuntimeError(
            f"{type(self).__name__} has no extra state: define get_extra_state and set_extra_state"
        )

    def set_extra_state(self, state):
        """Take back what ``get_extra_state`` returned."""
        raise RuntimeError(
            f"{type(self).__name__} has no extra state: define get_extra_state and set_extra_state"
        )

    def _has_own(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(ModuleState, method)

    def _persistent_buffers(self) -> dict:
        left_out = self._non_persistent_buffers_set
        return {name: buffer for name, buffer in self._buffers.items() if name not in left_out}

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for members in (self._parameters, self._persistent_buffers()):
            for name, tensor in members.items():
                if tensor is not None:
                    destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if self._has_own("get_extra_state"):
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        """All parameters and persistent buffers, by name.

        Args:
            destination: a dictionary to fill; default a new ``OrderedDict``.
            prefix: put before every name.
            keep_vars: give the parameters themselves, not detached tensors on the same memory.

        Example:
            >>> import danlu as torch
            >>> list(torch.nn.Linear(2, 3).state_dict())
            ['weight', 'bias']
        """
        if args:
            destination, prefix, keep_vars = _positional(args, destination, prefix, keep_vars)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in self._state_dict_hooks.values():
            answer = hook(self, destination, prefix, metadata)
            if answer is None:
                continue
            if getattr(hook, "_from_public_api", False):
                raise RuntimeError("state_dict post-hook must return None")
            destination = answer
        return destination

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copy parameters and buffers from a state dictionary into this module.

        Args:
            state_dict: what ``state_dict`` of such a module gave.
            strict: whether missing and unexpected names are errors; wrong shapes always are.
            assign: put the given tensors in place of the module's, keeping their dtype and device;
                make optimizers afterwards.

        Returns:
            A named tuple of ``missing_keys`` and ``unexpected_keys``.

        Raises:
            RuntimeError: naming every mismatch at once.

        Example:
            >>> import danlu as torch
            >>> a, b = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
            >>> a.load_state_dict(b.state_dict())
            <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        entries = OrderedDict(state_dict)
        if metadata is not None:
            entries._metadata = metadata
        report = _IncompatibleKeys([], [])
        errors: list[str] = []
        _load(self, entries, "", metadata, assign, report, errors)
        if strict:
            errors = _strict_errors(report, errors)
        if errors:
            lines = "\n\t".join(errors)
            raise RuntimeError(f"Error(s) in loading state_dict for {self._get_name()}:\n\t{lines}")
        return report

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        assign = local_metadata.get("assign_to_params_buffers", False)
        members = {**self._parameters, **self._persistent_buffers()}
        members = {name: tensor for name, tensor in members.items() if tensor is not None}
        for name, tensor in members.items():
            key = prefix + name
            if key in state_dict:
                self._load_member(name, tensor, key, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)
        extra = prefix + _EXTRA_STATE
        if self._has_own("set_extra_state"):
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if not key.startswith(prefix) or key == extra:
                    continue
                first, dot, _ = key[len(prefix) :].partition(".")
                if first not in (self._modules if dot else members):
                    unexpected_keys.append(key)

    def _load_member(self, name, tensor, key, value, assign, error_msgs):
        if not isinstance(value, Tensor):
            error_msgs.append(
                f'While copying the parameter named "{key}", expected a Tensor from the '
                f"checkpoint but received {type(value)}"
            )
            return
        if not is_lazy(tensor):
            if not is_lazy(value) and tensor.dim() == 0 and value.shape == (1,):
                value = value[0]
            if value.shape != tensor.shape:
                error_msgs.append(
                    f"size mismatch for {key}: copying a param with shape {value.shape} from "
                    f"checkpoint, the shape in current model is {tensor.shape}."
                )
                return
        try:
            with no_grad():
                if not assign:
                    if is_lazy(tensor) and not is_lazy(value):
                        tensor.materialize(value.shape)
                    if not is_lazy(value):
                        tensor.copy_(value)
                    return
                if isinstance(tensor, Parameter):
                    if not isinstance(value, Parameter):
                        value = Parameter(value, requires_grad=tensor.requires_grad)
                    else:
                        value.requires_grad_(tensor.requires_grad)
                setattr(self, name, value)
        except Exception as error:
            error_msgs.append(
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{tensor.size()} and whose dimensions in the checkpoint are {value.size()}, "
                f"an exception occurred : {error.args}."
            )


def _positional(args, destination, prefix, keep_vars):
    import warnings

    warnings.warn(
        "Positional args are being deprecated, use kwargs instead: "
        "state_dict(destination=..., prefix=..., keep_vars=...)",
        FutureWarning,
        stacklevel=3,
    )
    given = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
    if destination is None:
        destination = given["destination"]
    return (
        destination,
        prefix or given.get("prefix", ""),
        keep_vars or given.get("keep_vars", False),
    )


def _load(module, entries, prefix, metadata, assign, report, errors):
    local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
    if assign:
        local_metadata = {**local_metadata, "assign_to_params_buffers": True}
    module._load_from_state_dict(
        entries, prefix, local_metadata, True, report.missing_keys, report.unexpected_keys, errors
    )
    for name, child in module._modules.items():
        if child is not None:
            inner = f"{prefix}{name}."
            of_child = {key: value for key, value in entries.items() if key.startswith(inner)}
            _load(child, of_child, inner, metadata, assign, report, errors)
    for hook in module._load_state_dict_post_hooks.values():
        if hook(module, report) is not None:
            raise AssertionError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to "
                "return new values, if incompatible_keys need to be modified, it should be done "
                "inplace."
            )


def _strict_errors(report, errors: list[str]) -> list[str]:
    """The complete list: names that are missing or too many first, the cure for a prefix last."""
    names = []
    for what, keys in zip(("Missing", "Unexpected"), report, strict=True):
        if keys:
            quoted = ", ".join(f'"{key}"' for key in keys)
            names.append(f"{what} key(s) in state_dict: {quoted}. ")
    return names + errors + _prefix_advice(*report)


def _prefix_advice(missing: list[str], unexpected: list[str]) -> list[str]:
    """What to write where all names differ by one prefix, as after ``DataParallel``."""
    if not missing or len(missing) != len(unexpected):
        return []
    for longer, shorter, repair in (
        (
            unexpected,
            missing,
            "{{key.removeprefix({prefix!r}): value for key, value in state.items()}}",
        ),
        (missing, unexpected, "{{{prefix!r} + key: value for key, value in state.items()}}"),
    ):
        prefix = longer[0].removesuffix(shorter[0])
        if prefix != longer[0] and longer == [prefix + key for key in shorter]:
            return ["All names differ by a prefix: load " + repair.format(prefix=prefix)]
    return []
