"""A compiled `nn.Module`."""

from __future__ import annotations

from danlu.nn.modules.module import Module

__all__ = ["OptimizedModule"]


class OptimizedModule(Module):
    """What `danlu.compile(module)` returns: the module, whose calls run machine code.

    Attributes are the module's own; in `state_dict` its entries begin with ``_orig_mod.``, as
    PyTorch's do.

    Example:
        >>> import danlu as torch
        >>> net = torch.compile(torch.nn.Linear(3, 2))
        >>> net(torch.zeros(1, 3)).shape, net.in_features
        (torch.Size([1, 2]), 3)
    """

    def __init__(self, module: Module, compiled):
        super().__init__()
        self._orig_mod = module
        object.__setattr__(self, "_compiled", compiled)
        self.training = module.training

    def forward(self, *args, **kwargs):
        return self._compiled(*args, **kwargs)

    def __call__(self, *args, **kwargs):
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name):
        if name == "_orig_mod":
            return super().__getattr__(name)
        return getattr(self._orig_mod, name)

    def __setattr__(self, name, value):
        if name in ("_orig_mod", "training") or "_orig_mod" not in self._modules:
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)
