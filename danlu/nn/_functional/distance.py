"""Distances and similarities between vectors."""

from __future__ import annotations

from danlu.linalg import vector_norm
from danlu.ops.binary import div
from danlu.ops.creation import triu_indices
from danlu.ops.shape import broadcast_tensors

__all__ = ["cosine_similarity", "normalize", "pairwise_distance", "pdist"]


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along one axis.

    Args:
        x1: first vectors.
        x2: second vectors, broadcast against the first.
        dim: the axis of the vectors; default 1.
        eps: least length; default 1e-8.

    Shape:
        (*, D, *), (*, D, *) -> (*, *)

    Example:
        >>> import danlu as torch
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> torch.nn.functional.cosine_similarity(x, torch.tensor([[1.0, 0.0]]))
        tensor([0.6000])
    """
    if not (x1.is_floating_point() or x2.is_floating_point()):
        raise RuntimeError(
            "expected common dtype to be floating point, yet common dtype is " + str(x1.dtype)
        )
    if x1._array.shape != x2._array.shape:
        x1, x2 = broadcast_tensors(x1, x2)
    unit1 = x1 / vector_norm(x1, 2, dim, True).clamp(min=eps)
    unit2 = x2 / vector_norm(x2, 2, dim, True).clamp(min=eps)
    return (unit1 * unit2).sum(dim)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last axis.

    Args:
        x1: first vectors.
        x2: second vectors, broadcast against the first.
        p: order of the norm; default 2.
        eps: added to the difference, which keeps the norm differentiable; default 1e-6.
        keepdim: keep the last axis with size 1; default False.

    Shape:
        (N, D), (N, D) -> (N) or, with keepdim, (N, 1)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.pairwise_distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([5.0000])
    """
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def pdist(input, p=2):
    """The p-norm distances between all pairs of rows, in the order (0, 1), (0, 2), ..., (1, 2), ...

    Args:
        input: a matrix.
        p: order of the norm, 0 or more; default 2.

    Shape:
        (N, D) -> (N (N - 1) / 2)

    Raises:
        RuntimeError: the input is no matrix.

    Example:
        >>> import danlu as torch
        >>> torch.pdist(torch.tensor([[0.0], [1.0], [3.0]]))
        tensor([1., 3., 2.])
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    first, second = triu_indices(input.shape[0], input.shape[0], 1)
    return vector_norm(input[first] - input[second], p, -1)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """x / max(|x|_p, eps) along one axis.

    Args:
        input: vectors.
        p: order of the norm; default 2.
        dim: the axis of the vectors; default 1.
        eps: least length; default 1e-12.
        out: where to write the result; default a new tensor.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.normalize(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    length = vector_norm(input, p, dim, True).clamp(min=eps)
    return div(input, length) if out is None else div(input, length, out=out)
