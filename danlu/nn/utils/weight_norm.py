"""Weight normalization by a forward pre-hook; `parametrizations.weight_norm` is its successor."""

from __future__ import annotations

import warnings

from danlu.nn.parameter import Parameter, is_lazy

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


def norm_except_dim(tensor, dim: int):
    """The 2-norm over all dimensions but one, which stays in place; over all of them for -1."""
    from danlu import linalg

    if dim == -1:
        return linalg.vector_norm(tensor)
    others = [d for d in range(tensor.dim()) if d != dim]
    return linalg.vector_norm(tensor, dim=others, keepdim=True)


def scaled_direction(direction, magnitude, dim: int):
    """magnitude * direction / |direction|, the weight that the two parameters stand for."""
    return direction * (magnitude / norm_except_dim(direction, dim))


class WeightNorm:
    """The hook that computes a weight from its magnitude and its direction before every forward."""

    def __init__(self, name: str, dim: int | None):
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module):
        """The weight for the module's present parameters."""
        direction, magnitude = (getattr(module, self.name + end) for end in ("_v", "_g"))
        return scaled_direction(direction, magnitude, self.dim)

    @staticmethod
    def apply(module, name: str, dim: int | None):
        """Put the hook on ``module`` and two parameters in place of the weight."""
        warnings.warn(
            "`torch.nn.utils.weight_norm` is deprecated in favor of "
            "`torch.nn.utils.parametrizations.weight_norm`.",
            FutureWarning,
            stacklevel=3,
        )
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two weight_norm hooks on the same parameter {name}"
                )
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `WeightNorm` can't have uninitialized parameters. Call it "
                "once on a batch before applying weight normalization"
            )
        hook = WeightNorm(name, dim)
        del module._parameters[name]
        module.register_parameter(name + "_g", Parameter(norm_except_dim(weight.data, hook.dim)))
        module.register_parameter(name + "_v", Parameter(weight.data))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module) -> None:
        """Make the weight an ordinary parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"]
        del module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.data))

    def __call__(self, module, inputs) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module, name: str = "weight", dim: int | None = 0):
    """Train the magnitude g and the direction v of a weight w = g v / |v| instead of the weight.

    Salimans & Kingma 2016, arXiv:1602.07868. Deprecated in favour of
    ``nn.utils.parametrizations.weight_norm``.

    Args:
        module: the layer, which is changed and returned.
        name: of its weight. Default: "weight".
        dim: each index of this dimension has its own magnitude; None for one in all. Default: 0.
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module, name: str = "weight"):
    """Undo :func:`weight_norm`: the weight is one parameter again.

    Raises:
        ValueError: if there is no weight normalization on ``name``.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
