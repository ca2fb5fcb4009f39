"""Ready parametrizations: weight norm, spectral norm and orthogonal matrices."""

from __future__ import annotations

from danlu.autograd.grad_mode import no_grad
from danlu.nn.modules.module import Module
from danlu.nn.utils._orthogonal import MAPS, Orthogonal
from danlu.nn.utils.parametrize import register_parametrization
from danlu.nn.utils.spectral_norm import as_matrix, normalized, output_dim
from danlu.nn.utils.weight_norm import norm_except_dim, scaled_direction
from danlu.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _tensor_of(module, name) -> Tensor:
    tensor = getattr(module, name, None)
    if not isinstance(tensor, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return tensor


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, magnitude, direction):
        return scaled_direction(direction, magnitude, self.dim)

    def right_inverse(self, weight):
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train the magnitude g and the direction v of a weight w = g v / |v| instead of the weight.

    Salimans & Kingma 2016, arXiv:1602.07868. States saved under the older
    ``nn.utils.weight_norm`` can be loaded.

    Args:
        module: the layer, which is changed and returned.
        name: of its weight. Default: "weight".
        dim: each index of this dimension has its own magnitude; None for one in all. Default: 0.

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 3))
        >>> layer.parametrizations.weight.original0.shape
        torch.Size([3, 1])
    """
    _tensor_of(module, name)
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def accept_old_names(state_dict, prefix, *_):
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(accept_old_names)
    return module


class _SpectralNorm(Module):
    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] "
                f"but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, "
                f"but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % ndim
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if ndim > 1:
            matrix = as_matrix(weight, self.dim)
            u = matrix.new_empty(matrix.size(0)).normal_(0, 1)
            v = matrix.new_empty(matrix.size(1)).normal_(0, 1)
            self.register_buffer("_u", normalized(u, eps))
            self.register_buffer("_v", normalized(v, eps))
            self._iterate(matrix, 15)

    @no_grad()
    def _iterate(self, matrix, steps):
        matrix = matrix.detach()
        for _ in range(steps):
            self._u.copy_(normalized(matrix.mv(self._v), self.eps))
            self._v.copy_(normalized(matrix.T.mv(self._u), self.eps))

    def forward(self, weight):
        if weight.dim() == 1:
            return normalized(weight, self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        # Copies, because the next iteration writes into the buffers before this one's backward.
        u, v = self._u.clone(), self._v.clone()
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, value):
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value, estimated by power iteration.

    Miyato et al. 2018, arXiv:1802.05957.

    Args:
        module: the layer, which is changed and returned.
        name: of its weight. Default: "weight".
        n_power_iterations: steps at each use in training mode. Default: 1.
        eps: smallest length by which a vector is divided. Default: 1e-12.
        dim: of the outputs; default 0, and 1 for transposed convolutions.

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4))
        >>> bool(torch.linalg.matrix_norm(layer.weight, 2) < 1.3)
        True
    """
    weight = _tensor_of(module, name)
    dim = output_dim(module) if dim is None else dim
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a matrix, or every matrix of a batch, orthogonal while it is trained.

    Its columns are orthonormal; its rows, if it has fewer of them.

    Args:
        module: the layer, which is changed and returned.
        name: of its weight, with at least 2 dimensions. Default: "weight".
        orthogonal_map: "matrix_exp", "cayley" or "householder"; default matrix_exp for square and
            complex matrices, householder for others.
        use_trivialization: multiply by a fixed orthogonal matrix, so that any value can be
            assigned. Default: True.

    Raises:
        ValueError: for an unknown map, or a tensor that is no matrix.

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(4, 2))
        >>> torch.allclose(layer.weight @ layer.weight.T, torch.eye(2), atol=1e-5)
        True
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in MAPS:
        names = ", ".join(f'"{each}"' for each in MAPS)
        raise ValueError(f"orthogonal_map has to be one of {names}. Got: {orthogonal_map}")
    step = Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    register_parametrization(module, name, step, unsafe=True)
    return module
