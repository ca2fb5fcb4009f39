"""Changing the dtype, device or memory of everything that a module holds."""

from __future__ import annotations

import warnings

from danlu.autograd.grad_mode import no_grad
from danlu.backend.device import device as Device
from danlu.backend.dtypes import dtype as Dtype
from danlu.tensor import Tensor


class ModuleConversion:
    """The part of ``Module`` that converts parameters and buffers in place."""

    def _apply(self, fn, recurse=True):
        """Replace what lies in every parameter, its gradient and every buffer by ``fn`` of it.

        Parameters stay the same objects, so that optimizers keep them.
        """
        if recurse:
            for child in self.children():
                child._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            with no_grad():
                gradient = parameter.grad
                parameter.data = fn(parameter.data)
                if gradient is not None:
                    parameter.grad = fn(gradient).requires_grad_(gradient.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs):
        """Convert parameters and buffers in place: ``to(device)``, ``to(dtype)``, ``to(tensor)``.

        Args:
            device: where they go.
            dtype: a floating point or complex dtype; integer buffers keep theirs.
            tensor: one whose dtype and device are taken.
            non_blocking: accepted, without effect on the CPU.

        Returns:
            The module itself.

        Raises:
            TypeError: for an integer dtype.

        Example:
            >>> import danlu as torch
            >>> torch.nn.Linear(2, 1).to(torch.float64).weight.dtype
            torch.float64
        """
        device, dtype = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, "
                f"but got desired dtype={dtype}"
            )
        if dtype is not None and dtype.is_complex:
            warnings.warn(
                "Complex modules are new: some modules might not work as expected with complex "
                "parameters or buffers.",
                stacklevel=2,
            )

        def convert(tensor):
            convertible = tensor.is_floating_point() or tensor.is_complex()
            wanted = {}
            if device is not None:
                wanted["device"] = device
            if dtype is not None and convertible:
                wanted["dtype"] = dtype
            return tensor.to(**wanted) if wanted else tensor

        return self._apply(convert)

    def to_empty(self, *, device, recurse: bool = True):
        """Give every parameter and buffer new, uninitialised memory on ``device``."""
        from danlu.ops.creation import empty_like

        return self._apply(lambda tensor: empty_like(tensor, device=device), recurse=recurse)

    def type(self, dst_type):
        """Convert all parameters and buffers, integer ones too, to ``dst_type``."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self):
        """Convert floating point parameters and buffers to float32."""
        return self._cast("float")

    def double(self):
        """Convert floating point parameters and buffers to float64."""
        return self._cast("double")

    def half(self):
        """Convert floating point parameters and buffers to float16."""
        return self._cast("half")

    def bfloat16(self):
        """Convert floating point parameters and buffers to bfloat16."""
        return self._cast("bfloat16")

    def _cast(self, method: str):
        return self._apply(lambda t: getattr(t, method)() if t.is_floating_point() else t)

    def cpu(self):
        """Move parameters and buffers to the CPU."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device=None):
        """Move parameters and buffers to a GPU."""
        return self._apply(lambda tensor: tensor.cuda(device))

    def share_memory(self):
        """Move parameters and buffers to memory shared between processes."""
        return self._apply(lambda tensor: tensor.share_memory_())


def _parse_to(*args, non_blocking=False, memory_format=None, **kwargs):
    """The device and the dtype that the arguments of ``Module.to`` ask for."""
    wanted = {"device": None, "dtype": None}
    if "tensor" in kwargs:
        args = (kwargs.pop("tensor"), *args)
    for place, value in enumerate(args):
        if isinstance(value, Tensor) and place == 0:
            wanted.update(device=value.device, dtype=value.dtype)
        elif isinstance(value, Dtype):
            wanted["dtype"] = value
        elif place == 0 and isinstance(value, (str, int, Device)) and not isinstance(value, bool):
            wanted["device"] = Device(value)
        elif value is not None and not isinstance(value, bool):
            raise TypeError(
                f"to() received {value!r} as argument {place + 1}; it takes a device, a dtype or "
                "a tensor: module.to('cpu'), module.to(torch.float64), module.to(x)"
            )
    for name, value in kwargs.items():
        if name not in wanted:
            raise TypeError(f"to() got an unexpected keyword argument '{name}'")
        if value is not None:
            wanted[name] = Device(value) if name == "device" else value
    return wanted["device"], wanted["dtype"]
