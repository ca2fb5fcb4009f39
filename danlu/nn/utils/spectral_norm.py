"""Spectral normalization by a forward pre-hook; `parametrizations.spectral_norm` succeeds it."""

from __future__ import annotations

from danlu.autograd.grad_mode import no_grad
from danlu.nn.parameter import Parameter

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]


def normalized(vector, eps: float):
    """The vector divided by its length, or by ``eps`` if that is larger."""
    from danlu import linalg

    return vector / linalg.vector_norm(vector).clamp(min=eps)


def as_matrix(weight, dim: int):
    """The weight with ``dim`` first and all other dimensions flattened."""
    if dim != 0:
        weight = weight.permute(dim, *(d for d in range(weight.dim()) if d != dim))
    return weight.flatten(1)


def random_direction(like, size: int, eps: float):
    """A random unit vector with the dtype of ``like``."""
    return normalized(like.new_empty(size).normal_(0, 1), eps)


def power_iteration(matrix, u, v, steps: int, eps: float) -> None:
    """Turn ``u`` and ``v``, in place, towards the first left and right singular vector."""
    with no_grad():
        matrix = matrix.detach()
        for _ in range(steps):
            v.copy_(normalized(matrix.T.mv(u), eps))
            u.copy_(normalized(matrix.mv(v), eps))


class SpectralNorm:
    """The hook that divides a weight by an estimate of its largest singular value."""

    _version = 1

    def __init__(self, name="weight", n_power_iterations=1, dim=0, eps=1e-12):
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, "
                f"but got n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps

    def compute_weight(self, module, do_power_iteration: bool):
        """The normalized weight, after a few steps of power iteration if asked."""
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            power_iteration(matrix, u, v, self.n_power_iterations, self.eps)
            u, v = u.clone(), v.clone()
        return weight / u.dot(matrix.mv(v))

    def remove(self, module) -> None:
        """Make the weight an ordinary parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        delattr(module, self.name)
        for end in ("_u", "_v", "_orig"):
            delattr(module, self.name + end)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module, inputs) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divide a weight by its largest singular value before every forward.

    Miyato et al. 2018, arXiv:1802.05957: w / sigma(w), sigma by power iteration.

    Args:
        module: the layer, which is changed and returned.
        name: of its weight. Default: "weight".
        n_power_iterations: steps before each forward in training mode. Default: 1.
        eps: smallest length by which a vector is divided. Default: 1e-12.
        dim: of the outputs; default 0, and 1 for transposed convolutions.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            raise RuntimeError(
                f"Cannot register two spectral_norm hooks on the same parameter {name}"
            )
    hook = SpectralNorm(name, n_power_iterations, output_dim(module) if dim is None else dim, eps)
    weight = module._parameters[name]
    with no_grad():
        matrix = as_matrix(weight, hook.dim)
        u = random_direction(weight, matrix.size(0), eps)
        v = random_direction(weight, matrix.size(1), eps)
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.data)
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(hook)
    return module


def output_dim(module) -> int:
    """The dimension of a layer's weight that counts its outputs."""
    return 1 if getattr(module, "transposed", False) else 0


def remove_spectral_norm(module, name="weight"):
    """Undo :func:`spectral_norm`: the weight is one parameter again.

    Raises:
        ValueError: if there is no spectral normalization on ``name``.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
