"""Modules that hold modules or parameters: in order, in a list, or by name."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from danlu.nn.modules.module import Module, _indent
from danlu.nn.parameter import Parameter
from danlu.tensor import Tensor

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _position(index, length: int) -> int:
    """A non-negative index into ``length`` entries.

    Raises:
        IndexError: if it is out of range.
    """
    index = operator.index(index)
    if not -length <= index < length:
        raise IndexError(f"index {index} is out of range: there are {length} entries")
    return index % length


class _IndexedModules(Module):
    """Children under the names "0", "1", ...: what ``Sequential`` and ``ModuleList`` share."""

    def _key_at(self, index) -> str:
        return list(self._modules)[_position(index, len(self._modules))]

    def _selected(self, where: slice):
        return type(self)(list(self._modules.values())[where])

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules.values())

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self._selected(index)
        return self._modules[self._key_at(index)]

    def __setitem__(self, index, module):
        setattr(self, self._key_at(index), module)

    def __delitem__(self, index):
        keys = list(self._modules)
        doomed = keys[index] if isinstance(index, slice) else [self._key_at(index)]
        for key in doomed:
            delattr(self, key)
        self._modules = {str(i): module for i, module in enumerate(self._modules.values())}

    def append(self, module: Module):
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]):
        """Add modules at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{self._get_name()}.extend should be called with an iterable, "
                f"but got {type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, key):
        """Take out and return the module at ``key``, or the modules of a slice."""
        taken = self[key]
        del self[key]
        return taken

    def _insert(self, index: int, module: Module) -> None:
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._modules = {str(i): each for i, each in enumerate(modules)}


class Sequential(_IndexedModules):
    """Modules one after the other: each gets the output of the one before.

    Args:
        *args: the modules, or one ``OrderedDict`` of names and modules.

    Example:
        >>> import danlu as torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
        >>> net(torch.zeros(3, 2)).shape
        torch.Size([3, 1])
        >>> net[:2]
        Sequential(
          (0): Linear(in_features=2, out_features=4, bias=True)
          (1): ReLU()
        )
    """

    def __init__(self, *args):
        super().__init__()
        named = len(args) == 1 and isinstance(args[0], OrderedDict)
        for name, module in args[0].items() if named else enumerate(args):
            self.add_module(name if named else str(name), module)

    def forward(self, input):
        for module in self._modules.values():
            input = module(input)
        return input

    def _selected(self, where: slice):
        return type(self)(OrderedDict(list(self._modules.items())[where]))

    def __add__(self, other):
        _check_sequential(other)
        return Sequential(*self, *other)

    def __iadd__(self, other):
        _check_sequential(other)
        return self.extend(list(other))

    def __mul__(self, times: int):
        _check_times(self, times)
        return Sequential(*list(self) * times)

    __rmul__ = __mul__

    def __imul__(self, times: int):
        _check_times(self, times)
        return self.extend(list(self) * (times - 1))

    def insert(self, index: int, module: Module):
        """Put a module before the one at ``index``."""
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        if not -len(self) <= index <= len(self):
            raise IndexError(f"Index out of range: {index}")
        self._insert(index, module)
        return self


def _check_sequential(other) -> None:
    if not isinstance(other, Sequential):
        raise ValueError(
            "add operator supports only objects of Sequential class, "
            f"but {type(other)} is given: use append for a single module"
        )


def _check_times(sequential, times) -> None:
    if not isinstance(times, int):
        raise TypeError(f"unsupported operand type(s) for *: {type(sequential)} and {type(times)}")
    if times <= 0:
        raise ValueError(f"Non-positive multiplication factor {times} for {type(sequential)}")


class ModuleList(_IndexedModules):
    """A list of modules, whose parameters are those of the module that holds it.

    Args:
        modules: what it begins with. Default: nothing.

    Example:
        >>> import danlu as torch
        >>> torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
        ModuleList(
          (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
        )
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __iadd__(self, modules: Iterable[Module]):
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]):
        return ModuleList([*self, *other])

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the one at ``index``."""
        self._insert(index, module)

    def __repr__(self):
        blocks: list[list] = []  # [first index, last index, text], equal neighbours together
        for i, module in enumerate(self):
            text = repr(module)
            if blocks and blocks[-1][2] == text:
                blocks[-1][1] = i
            else:
                blocks.append([i, i, text])
        if not blocks:
            return self._get_name() + "()"
        lines = []
        for first, last, text in blocks:
            if first == last:
                lines.append(f"({first}): {_indent(text)}")
            else:
                lines.append(f"({first}-{last}): {last - first + 1} x {_indent(text)}")
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """A dictionary of modules, in the order in which they were put in.

    Args:
        modules: a mapping, or pairs of name and module. Default: nothing.

    Example:
        >>> import danlu as torch
        >>> layers = torch.nn.ModuleDict({"act": torch.nn.ReLU()})
        >>> layers["act"]
        ReLU()
    """

    def __init__(self, modules: Mapping[str, Module] | None = None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str):
        return self._modules[key]

    def __setitem__(self, key: str, module: Module):
        self.add_module(key, module)

    def __delitem__(self, key: str):
        del self._modules[key]

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules)

    def __contains__(self, key: str):
        return key in self._modules

    def clear(self) -> None:
        """Take out all modules."""
        self._modules.clear()

    def pop(self, key: str):
        """Take out and return the module called ``key``."""
        return self._modules.pop(key)

    def keys(self):
        """The names."""
        return self._modules.keys()

    def items(self):
        """Pairs of name and module."""
        return self._modules.items()

    def values(self):
        """The modules."""
        return self._modules.values()

    def update(self, modules) -> None:
        """Put in the modules of a mapping, or of pairs of name and module."""
        for key, module in _pairs(modules, "ModuleDict", (Mapping, ModuleDict)):
            self[key] = module


def _pairs(entries, container: str, mappings: tuple):
    """The pairs in a mapping or an iterable of pairs; TypeError or ValueError if it is neither."""
    if isinstance(entries, mappings):
        return list(entries.items())
    if not isinstance(entries, Iterable):
        raise TypeError(
            f"{container}.update should be called with an iterable of key/value pairs, "
            f"but got {type(entries).__name__}"
        )
    pairs = []
    for i, pair in enumerate(entries):
        if not isinstance(pair, Iterable):
            raise TypeError(
                f"{container} update sequence element #{i} should be Iterable; "
                f"is {type(pair).__name__}"
            )
        pairs.append(tuple(pair))
        if len(pairs[i]) != 2:
            raise ValueError(
                f"{container} update sequence element #{i} has length {len(pairs[i])}; "
                "2 is required"
            )
    return pairs


def _as_parameter(value):
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return Parameter(value)
    return value


def _entry_line(key, value, type_of) -> str:
    """How one entry of a parameter container prints; ``type_of`` names a tensor's type."""
    if not isinstance(value, Tensor):
        return f"  ({key}): Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    size = "x".join(map(str, value.shape))
    device = "" if value.device.type == "cpu" else f" ({value.device})"
    return f"  ({key}): {kind} containing: [{type_of(value)} of size {size}{device}]"


class ParameterList(Module):
    """A list of parameters; tensors put into it become parameters, other values stay as they are.

    Args:
        values: what it begins with. Default: nothing.

    Example:
        >>> import danlu as torch
        >>> torch.nn.ParameterList([torch.zeros(2, 3)])
        ParameterList(  (0): Parameter containing: [torch.float32 of size 2x3])
    """

    def __init__(self, values: Iterable | None = None):
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(self[i] for i in range(*index.indices(len(self))))
        return getattr(self, str(_position(index, len(self))))

    def __setitem__(self, index, value):
        setattr(self, str(_position(index, len(self))), _as_parameter(value))

    def __len__(self):
        return self._size

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __iadd__(self, values: Iterable):
        return self.extend(values)

    def append(self, value):
        """Add a value at the end."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable):
        """Add values at the end."""
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(
                "ParameterList.extend should be called with an iterable, "
                f"but got {type(values).__name__}"
            )
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self):
        return "\n".join(_entry_line(i, v, lambda t: t.dtype) for i, v in enumerate(self))

    def __call__(self, *args, **kwargs):
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(Module):
    """A dictionary of parameters; tensors put into it become parameters, other values stay.

    Args:
        parameters: a mapping, or pairs of name and value. Default: nothing.

    Example:
        >>> import danlu as torch
        >>> scales = torch.nn.ParameterDict({"left": torch.ones(2)})
        >>> scales["left"].requires_grad
        True
    """

    def __init__(self, parameters=None):
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str):
        return getattr(self, _check_key(key))

    def __setitem__(self, key: str, value):
        setattr(self, _check_key(key), _as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key: str):
        del self._keys[key]
        delattr(self, _check_key(key))

    def __len__(self):
        return len(self._keys)

    def __iter__(self):
        return iter(self._keys)

    def __reversed__(self):
        return reversed(self._keys)

    def __contains__(self, key: str):
        return key in self._keys

    def copy(self):
        """A new dictionary of the same parameters."""
        return ParameterDict(OrderedDict(self.items()))

    def setdefault(self, key: str, default=None):
        """The value of ``key``, which becomes ``default`` if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Take out all entries."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key: str):
        """Take out and return the value of ``key``."""
        value = self[key]
        del self[key]
        return value

    def popitem(self):
        """Take out and return the last pair."""
        if not self._keys:
            raise KeyError("popitem(): ParameterDict is empty")
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def get(self, key: str, default=None):
        """The value of ``key``, or ``default``."""
        return self[key] if key in self._keys else default

    def fromkeys(self, keys: Iterable[str], default=None):
        """A new dictionary with ``default`` under each of ``keys``."""
        return ParameterDict((key, default) for key in keys)

    def keys(self):
        """The names."""
        return self._keys.keys()

    def items(self):
        """Pairs of name and value."""
        return ((key, self[key]) for key in self._keys)

    def values(self):
        """The values."""
        return (self[key] for key in self._keys)

    def update(self, parameters) -> None:
        """Put in the entries of a mapping (a plain one in the order of its names) or of pairs."""
        pairs = _pairs(parameters, "ParameterDict", (Mapping, ParameterDict))
        if isinstance(parameters, Mapping) and not isinstance(parameters, OrderedDict):
            pairs.sort(key=lambda pair: pair[0])
        for key, value in pairs:
            self[key] = value

    def extra_repr(self):
        return "\n".join(_entry_line(k, v, lambda t: t.type()) for k, v in self.items())

    def __call__(self, *args, **kwargs):
        raise RuntimeError("ParameterDict should not be called.")

    def __or__(self, other):
        merged = self.copy()
        merged.update(other)
        return merged

    def __ror__(self, other):
        merged = other.copy()
        merged.update(self)
        return merged

    def __ior__(self, other):
        self.update(other)
        return self


def _check_key(key) -> str:
    if not isinstance(key, str):
        raise TypeError(
            "Index given to ParameterDict cannot be used as a key as it is not a string "
            f"(type is '{type(key).__name__}')"
        )
    return key
