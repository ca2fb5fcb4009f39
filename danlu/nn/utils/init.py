"""Making a module without the work of initialising it."""

from __future__ import annotations

__all__ = ["skip_init"]


def skip_init(module_cls, *args, **kwargs):
    """A module whose parameters hold whatever was in memory, to be loaded or filled afterwards.

    The random numbers that the constructor would have drawn are not consumed.

    Raises:
        RuntimeError: if ``module_cls`` is no Module class, or takes no ``device``.

    Example:
        >>> import danlu as torch
        >>> torch.nn.utils.skip_init(torch.nn.Linear, 2, 3).weight.shape
        torch.Size([3, 2])
    """
    import inspect

    from danlu.backend.random import default_generator
    from danlu.nn.modules.module import Module

    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    state = default_generator.get_state()
    module = module_cls(*args, **kwargs)
    default_generator.set_state(state)
    return module.to_empty(device=kwargs.get("device", "cpu"))
