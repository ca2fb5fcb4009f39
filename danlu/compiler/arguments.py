"""The arguments of a call: the tensors among them, and the guards on them all."""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.backend.device import device
from danlu.backend.layout import layout, memory_format
from danlu.compiler.overlay import real
from danlu.compiler.structure import leaves
from danlu.kernels.graph.nodes import Unsupported
from danlu.size import Size
from danlu.tensor import Tensor

__all__ = ["BY_VALUE", "arguments_of"]

# what is the same if it is equal: as an argument, or as a result
BY_VALUE = frozenset((
    int, float, bool, str, bytes, complex, type(None), slice, range, type(Ellipsis), Size, device,
    dtypes.dtype, layout, memory_format,
))  # fmt: skip


def arguments_of(args, kwargs, session) -> tuple[list[str], list[str]]:
    """Let the overlay know the tensors among the arguments of a call.

    Returns:
        The lines that name them at run time, and the guards on all arguments.
    """
    found, checks = leaves(args, "args", session.names)
    if kwargs:
        more, further = leaves(kwargs, "kwargs", session.names)
        found, checks = found + more, checks + further
    else:
        checks.append("not kwargs")
    lines: list[str] = []
    seen: dict[int, str] = {}
    for path, value in found:
        if isinstance(value, Tensor):
            name = f"x{len(lines)}"
            lines.append(f"{name} = {path}")
            checks += [f"{name} is{'' if id(value) == other else ' not'} {before}"
                       for other, before in seen.items()]  # fmt: skip
            if id(value) not in seen:
                seen[id(value)] = name
                session.overlay.of(value, name)
            checks += _tensor_checks(name, value, session)
        elif value is None or isinstance(value, bool):
            checks.append(f"{path} is {value}")
        elif type(value) in BY_VALUE:
            name = session.names.of(value, "option")
            kind = session.names.of(type(value), "kind")
            same = f"{path} == {name}" if value == value else f"{path} != {path}"
            checks.append(f"{path}.__class__ is {kind} and {same}")
        elif isinstance(value, np.ndarray):
            raise Unsupported("a NumPy array among the arguments: pass torch.from_numpy(array)")
        else:
            checks.append(f"{path} is {session.names.of(value, 'option')}")
    return lines, checks


def _tensor_checks(name, value, session) -> list[str]:
    array = real("_array", value)
    kind = session.names.of(type(value), "kind")
    session.names[array.dtype.name] = array.dtype
    checks = [
        f"{name}.__class__ is {kind}",
        f"{name}._array.shape == {array.shape}",
        f"{name}._array.dtype is {array.dtype.name}",
    ]
    if array.flags.c_contiguous:
        checks.append(f"{name}._array.flags.c_contiguous")
    else:
        checks.append(f"{name}._array.strides == {array.strides}")
    if array.dtype.kind in "fcV":
        checks.append(f"{name}._requires_grad is {value._requires_grad}")
    if value._requires_grad:
        checks.append(f"{name}._hooks is None")
        if value._hooks is not None:
            raise Unsupported("hooks on an argument")
    return checks
