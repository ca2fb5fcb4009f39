"""`DataParallel`, on a machine with one device."""

from __future__ import annotations

from danlu.nn.modules.module import Module

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Spreads the batch over several GPUs; without them it is the wrapped module.

    The module lies below the name ``module``, so the keys of `state_dict` begin with ``module.``
    as they do on a machine with GPUs.

    Args:
        module: the module to call.
        device_ids: the GPUs to use; there are none, so it is not heeded.
        output_device: the GPU to gather the results on; not heeded.
        dim: the axis of the batch; default 0.

    Example:
        >>> import danlu as torch
        >>> model = torch.nn.DataParallel(torch.nn.Linear(2, 1))
        >>> list(model.state_dict()), model.device_ids
        (['module.weight', 'module.bias'], [])
    """

    def __init__(self, module: Module, device_ids=None, output_device=None, dim: int = 0):
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []
        self.dim = dim

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None
):
    """Call a module with the batch spread over GPUs; without them, call it.

    Args:
        module: the module to call.
        inputs: its argument, or the tuple of its arguments.
        device_ids: the GPUs to use; not heeded.
        output_device: the GPU to gather the results on; not heeded.
        dim: the axis of the batch; not heeded.
        module_kwargs: keyword arguments for the module.
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*arguments, **(module_kwargs or {}))
