"""Parametrizations: a parameter computed from others whenever it is read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy

from danlu.autograd.grad_mode import no_grad
from danlu.nn.modules.container import ModuleDict, ModuleList
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter
from danlu.tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache_depth = 0
_cache: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached():
    """Inside the block every parametrized tensor is computed once, however often it is read.

    Example:
        >>> import danlu as torch
        >>> from danlu.nn.utils import parametrize, parametrizations
        >>> layer = parametrizations.weight_norm(torch.nn.Linear(2, 2))
        >>> with parametrize.cached():
        ...     layer.weight is layer.weight
        True
    """
    global _cache_depth
    _cache_depth += 1
    try:
        yield
    finally:
        _cache_depth -= 1
        if not _cache_depth:
            _cache.clear()


def _register(module, name: str, tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_same(
    what: str, expected: Tensor, given, *, shape: bool = True, unless: str = ""
) -> None:
    """Refuse a tensor that cannot stand for ``expected``.

    Raises:
        ValueError: saying what differs.
    """
    if not isinstance(given, Tensor):
        raise ValueError(f"{what} must return a tensor. Got {type(given).__name__}.")
    if given.dtype != expected.dtype:
        raise ValueError(
            f"{what} may not change the dtype of the tensor{unless}: "
            f"it is {expected.dtype}, and became {given.dtype}"
        )
    if shape and given.shape != expected.shape:
        raise ValueError(
            f"{what} may not change the shape of the tensor{unless}: "
            f"it is {expected.shape}, and became {given.shape}"
        )


_UNLESS_UNSAFE = ", unless the `unsafe` flag is enabled"


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and the tensors they begin with.

    ``original`` is the tensor that the first one gets; ``original0``, ``original1``, ... if its
    ``right_inverse`` gave several.

    Args:
        modules: the parametrizations, at least one.
        original: the tensor before; its memory is used.
        unsafe: whether dtype and shape may change. Default: False.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        value = self._inverse_where_defined(original)
        if not isinstance(value, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(value).__name__}"
            )
        before = original.detach()
        self.is_tensor = isinstance(value, Tensor)
        self.ntensors = 1 if self.is_tensor else len(value)
        if isinstance(value, Tensor):
            _check_same(
                "`right_inverse`, when it outputs one tensor,", original, value, shape=False
            )
            original.data = value.detach()
            _register(self, "original", original)
        else:
            self._register_originals(value, original)
        if not unsafe:
            _check_same("A parametrization", before, self(), unless=_UNLESS_UNSAFE)

    @no_grad()
    def _inverse_where_defined(self, value):
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                with suppress(NotImplementedError):
                    value = module.right_inverse(value)
        return value

    def _register_originals(self, values, original):
        for i, value in enumerate(values):
            if not isinstance(value, Tensor):
                raise ValueError(
                    "'right_inverse' must return a Tensor or a Sequence of tensors. "
                    f"Got element {i} of the sequence with type {type(value).__name__}."
                )
            if isinstance(original, Parameter):
                value = Parameter(value, original.requires_grad)
            value.requires_grad_(original.requires_grad)
            _register(self, f"original{i}", value)

    def _originals(self) -> list:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    @no_grad()
    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes ``value``."""
        for module in reversed(list(self)):
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(
                    f"parametrization {type(module).__name__} does not implement right_inverse."
                )
            value = module.right_inverse(value)
        values: Sequence
        if self.is_tensor:
            values = [value]
        elif not isinstance(value, Sequence):
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}."
            )
        else:
            values = value
        if len(values) != self.ntensors:
            raise ValueError(
                "'right_inverse' must return a sequence of tensors of length "
                f"{self.ntensors}. Got a sequence of length {len(values)}."
            )
        for original, each in zip(self._originals(), values, strict=True):
            _check_same("`right_inverse`", original, each, shape=False)
            original.data = each.detach()

    def forward(self) -> Tensor:
        first, *others = self
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value


def _parametrized_class(cls: type) -> type:
    """A class of one module's own, on which properties can stand for its tensors."""

    def __deepcopy__(self, memo):
        copied = cls.__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(deepcopy(Module.__getstate__(self), memo))
        return copied

    def __getstate__(self):
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(): save "
            "module.state_dict() and load it into a module parametrized in the same way"
        )

    attributes: dict = {"__getstate__": __getstate__}
    if not hasattr(cls, "__deepcopy__"):
        attributes["__deepcopy__"] = __deepcopy__
    return type(f"Parametrized{cls.__name__}", (cls,), attributes)


def _parametrized_property(name: str) -> property:
    def get(self):
        parametrization = self.parametrizations[name]
        if not _cache_depth:
            return parametrization()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def set(self, value):
        self.parametrizations[name].right_inverse(value)

    return property(get, set)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let a parameter or buffer be what ``parametrization`` makes of it, whenever it is read.

    Args:
        module: the layer, which is changed and returned.
        tensor_name: of its parameter or buffer; one already parametrized gets one more step.
        parametrization: a module from the original to the tensor used. Where it defines
            ``right_inverse``, the tensor can be assigned to, and keeps its value now.
        unsafe: whether dtype and shape may change. Default: False.

    Raises:
        ValueError: if there is no such tensor, or the parametrization does not keep its form.

    Example:
        >>> import danlu as torch
        >>> class Symmetric(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).T
        >>> layer = torch.nn.Linear(3, 3)
        >>> _ = torch.nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())
        >>> bool((layer.weight == layer.weight.T).all())
        True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_one_more(module, tensor_name, parametrization)
        steps = module.parametrizations[tensor_name]
        steps.append(parametrization)
        steps.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        steps = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            module.__class__ = _parametrized_class(type(module))
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _parametrized_property(tensor_name))
        module.parametrizations._modules[tensor_name] = steps
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def _check_one_more(module, name, parametrization):
    before = getattr(module, name)
    after = parametrization(before)
    _check_same("A parametrization", before, after, unless=_UNLESS_UNSAFE)
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(after)
        except NotImplementedError:
            return
        _check_same("parametrization.right_inverse", before, back, unless=_UNLESS_UNSAFE)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has a parametrization, or one on this tensor."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make the tensor an ordinary parameter or buffer again.

    Args:
        module: the layer, which is changed and returned.
        tensor_name: of the parametrized tensor.
        leave_parametrized: keep the value that the parametrization gives, instead of the original.
            Default: True.

    Raises:
        ValueError: if it is not parametrized, or the original is several tensors and wanted back.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    steps = module.parametrizations[tensor_name]
    if not steps.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    if steps.is_tensor:
        tensor = steps.original
        if leave_parametrized:
            with no_grad():
                tensor.data = getattr(module, tensor_name).detach()
    else:
        value = getattr(module, tensor_name)
        tensor = Parameter(value.detach()) if value.requires_grad else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, tensor)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class, as it was before its first parametrization."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give ``to_module`` the parametrizations of ``from_module`` and share their originals.

    Args:
        from_module: where they are taken from.
        to_module: where they go; a tensor that it lacks is made.
        tensor_name: the only one to transfer. Default: all.
    """
    if not is_parametrized(from_module):
        return to_module
    for name in from_module.parametrizations if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        source = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        if source.is_tensor:
            target.original = source.original
        else:
            for i in range(source.ntensors):
                setattr(target, f"original{i}", getattr(source, f"original{i}"))
    return to_module
