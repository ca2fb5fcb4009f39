"""Functions of one sample applied to batches."""

from __future__ import annotations

import functools

from danlu.backend.random import default_generator
from danlu.func.trees import leaves, rebuilt, structure
from danlu.ops.joining import stack
from danlu.ops.shape import movedim
from danlu.tensor import Tensor

__all__ = ["stack_module_state", "vmap"]


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """A function that applies `func` to every sample of a batch and stacks the results.

    The samples are computed one after the other, so this saves writing, not time; an operation on
    the whole batch is faster.

    Args:
        func: takes and returns Tensors, also in tuples, lists or dictionaries.
        in_dims: the dimension of the arguments that counts the samples, None for arguments that all
            samples share;
            an int for all arguments, or built like them. Default: 0.
        out_dims: the dimension of the results that counts the samples. Default: 0.
        randomness: "different" or "same" random numbers for the samples; "error" refuses to draw.
            Default: "error".
        chunk_size: accepted for PyTorch's sake.

    Raises (when called):
        ValueError: `in_dims` does not fit, sizes differ, or a result is not a Tensor.
        RuntimeError: random numbers were drawn under "error".

    Example:
        >>> import danlu as torch
        >>> weight, rows = torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 1.0], [3.0, 0.5]])
        >>> torch.vmap(torch.dot, in_dims=(None, 0))(weight, rows)
        tensor([3., 4.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        name = getattr(func, "__name__", repr(func))
        dims = _dims_like(args, in_dims, name)
        values = leaves(args)
        count = _sample_count(values, dims, in_dims, name)
        results = []
        random_state = default_generator.state_bytes() if randomness == "same" else None
        position = default_generator.position()
        for i in range(count):
            if randomness == "same":
                default_generator.set_state_bytes(random_state)
            sample = (each if d is None else each.select(d, i) for each, d in zip(values, dims))
            results.append(func(*rebuilt(args, sample), **kwargs))
            if randomness == "error" and default_generator.position() != position:
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either "
                    "use the 'same' or 'different' randomness flags on vmap or perform the "
                    "randomness operation out of vmap"
                )
        return _stacked(results, out_dims, name)

    return wrapper


def _dims_like(args, in_dims, name: str) -> list:
    """The dimension of each leaf of the arguments."""
    if isinstance(in_dims, int):
        return [in_dims] * len(leaves(args))
    if not isinstance(in_dims, (tuple, list)):
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a "
            f"(potentially nested) tuple matching the structure of inputs, got: {type(in_dims)}."
        )

    def spread(dims, tree) -> list:
        if dims is None or isinstance(dims, int):
            return [dims] * len(leaves(tree))
        if isinstance(dims, dict) and isinstance(tree, dict) and dims.keys() == tree.keys():
            return [d for key in tree for d in spread(dims[key], tree[key])]
        nested = isinstance(dims, (tuple, list)) and isinstance(tree, (tuple, list))
        if nested and len(dims) == len(tree):
            return [d for pair in zip(dims, tree) for d in spread(*pair)]
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the "
            f"structure of `inputs`. in_dims has structure {structure(in_dims)} but inputs has "
            f"structure {structure(args)}."
        )

    return spread(tuple(in_dims), args)


def _sample_count(values, dims, in_dims, name: str) -> int:
    where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): "
    sizes = []
    for value, dim in zip(values, dims):
        if dim is None:
            continue
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{where}Got in_dim={dim} for an input but the input is of type {type(value)}. We "
                "cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -value.ndim <= dim < value.ndim:
            raise ValueError(
                f"{where}Got in_dim={dim} for some input, but that input is a Tensor of "
                f"dimensionality {value.ndim} so expected in_dim to satisfy -{value.ndim} <= "
                f"in_dim < {value.ndim}."
            )
        sizes.append(value.size(dim))
    if not sizes:
        raise ValueError(f"{where}at least one input must have a dimension to map over")
    if len(set(sizes)) > 1:
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0]


def _stacked(results, out_dims, name: str):
    if not results:
        raise ValueError(f"vmap({name}, ...): the mapped dimension has size 0: there is no sample")
    columns = list(zip(*[leaves(each) for each in results]))
    dims = [out_dims] * len(columns) if isinstance(out_dims, int) else leaves(out_dims)
    stacked = []
    for column, dim in zip(columns, dims):
        if not isinstance(column[0], Tensor):
            raise ValueError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type "
                f"{type(column[0])}. Did you mean to set out_dims= to None for output?"
            )
        stacked.append(column[0] if dim is None else movedim(stack(column), 0, dim))
    return rebuilt(results[0], iter(stacked))


def stack_module_state(models):
    """The parameters and the buffers of several modules of one architecture, stacked along a new
    first dimension.

    Args:
        models: modules of the same class and sizes, all in training or all in evaluation mode.

    Returns:
        (parameters, buffers): two dictionaries, to be given to `functional_call` under `vmap`.

    Raises:
        RuntimeError: there is no module, or they differ.

    Example:
        >>> import danlu as torch
        >>> nets = [torch.nn.Linear(2, 3) for _ in range(4)]
        >>> parameters, buffers = torch.func.stack_module_state(nets)
        >>> parameters["weight"].shape
        torch.Size([4, 3, 2])
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({each.training for each in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if len({type(each) for each in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(dictionaries) -> dict:
        return {
            name: stack([each[name].detach() for each in dictionaries]).requires_grad_(
                first.requires_grad
            )
            for name, first in dictionaries[0].items()
        }

    return (
        stacked([dict(each.named_parameters()) for each in models]),
        stacked([dict(each.named_buffers()) for each in models]),
    )
