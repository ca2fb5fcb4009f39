"""Tensors of random numbers. The same seed gives PyTorch's numbers."""

from __future__ import annotations

import numpy as np

from danlu.autograd.grad_mode import state
from danlu.backend import dtypes
from danlu.backend import random as draws
from danlu.backend.layout import contiguous_format
from danlu.ops.creation import finish, kind_or_default
from danlu.ops.random_fill import (
    FLOATS,
    INTEGERS,
    fill_integers,
    fill_normal,
    fill_uniform,
    integer,
    number,
    require_kind,
    stream,
)
from danlu.ops.random_operators import normal_around
from danlu.ops.registry import scalar_name
from danlu.tensor import Tensor, wrap

__all__ = [
    "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
]  # fmt: skip


# ---------------------------------------------------------------- what the functions share
def _size(function: str, sizes) -> tuple:
    """A shape from `f(2, 3)`, `f((2, 3))`, `f([2, 3])` or `f(Size)`."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = sizes[0]
    shape = []
    for position, each in enumerate(sizes, 1):
        if isinstance(each, bool) or not hasattr(each, "__index__"):
            raise TypeError(
                f"{function}(): argument 'size' (position {position}) must be tuple of ints, "
                f"not {type(each).__name__}"
            )
        try:
            shape.append(each.__index__())
        except TypeError:
            raise TypeError(
                f"{function}(): argument 'size' (position {position}) must be tuple of ints, not a "
                "tensor of several elements; write *sizes.tolist()"
            ) from None
    for length in shape:
        if length < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {length}: {shape}")
    return tuple(shape)


def _into(out, shape, dtype, fill, args) -> Tensor:
    """Draw into `out`, which takes the new shape and keeps its dtype."""
    if state.grad and out.requires_grad:
        raise RuntimeError(
            "out=... arguments don't support automatic differentiation, but one of the arguments "
            "requires grad. Assign the result instead, or call under torch.no_grad()."
        )
    if dtype is not None and dtypes.numpy_dtype(dtype) != out._array.dtype:
        raise RuntimeError(
            f"dtype {scalar_name(dtype)} does not match dtype of out parameter "
            f"({scalar_name(out.dtype)})"
        )
    if out._array.shape != shape:
        out._array = np.empty(shape, out._array.dtype)
    draws.fill(out._array, fill(out._array, *args))
    out._writes[0] += 1
    return out


def _drawn(fill, args, shape, dtype, out, device, requires_grad) -> Tensor:
    if out is not None:
        return _into(out, shape, dtype, fill, args)
    return finish(fill(np.empty(shape, kind_or_default(dtype)), *args), requires_grad, device)


def _like(function, fill, args, input, dtype, device, requires_grad, memory_format) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{function}(): argument 'input' (position 1) must be Tensor, "
            f"not {type(input).__name__}"
        )
    array = input._array
    kind = array.dtype if dtype is None else dtypes.numpy_dtype(dtype)
    in_rows = memory_format is contiguous_format or 0 in array.strides
    target = np.empty_like(array, kind, order="C" if in_rows else "K")
    draws.fill(target, fill(target, *args))
    return finish(target, requires_grad, device)


# ---------------------------------------------------------------- uniform and normal
def rand(
    *size, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False, **named,
):  # fmt: skip
    """Numbers of the uniform distribution over [0, 1).

    Args:
        size: the shape, as numbers or as one tuple, list or Size (also by keyword).
        generator: the stream to draw from; the default generator if None.
        out: the tensor to write to.
        dtype: floating point or complex; the default dtype if None.
        layout: `torch.strided`.
        device: where the tensor lives; the default device if None.
        requires_grad: whether operations on the result are recorded. Default: False.
        pin_memory: accepted for PyTorch's sake, has no effect on a CPU.

    Raises:
        TypeError: the size is not made of ints.
        NotImplementedError: the dtype is an integer type or bool.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.rand(2, 2)
        tensor([[0.4963, 0.7682],
                [0.0885, 0.1320]])
    """
    shape = _size("rand", _size_argument("rand", size, named))
    args = (0.0, 1.0, stream(generator))
    return _drawn(fill_uniform, args, shape, dtype, out, device, requires_grad)


def randn(
    *size, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False, **named,
):  # fmt: skip
    """Numbers of the standard normal distribution; complex ones have variance 1 in all, half in
    each component.

    Args: as those of `rand`.

    Raises:
        TypeError: the size is not made of ints.
        NotImplementedError: the dtype is an integer type or bool.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.randn(3)
        tensor([ 1.5410, -0.2934, -2.1788])
    """
    shape = _size("randn", _size_argument("randn", size, named))
    args = (0.0, 1.0, stream(generator))
    return _drawn(fill_normal, args, shape, dtype, out, device, requires_grad)


def _size_argument(function, size, named):
    if "size" in named and not size:
        size = (named.pop("size"),)
    if named:
        raise TypeError(f"{function}() got an unexpected keyword argument '{next(iter(named))}'")
    if not size:
        raise TypeError(
            f"{function}() missing its size: write {function}(2, 3) or {function}((2, 3))"
        )
    return size


def rand_like(
    input, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False, memory_format=None,
):  # fmt: skip
    """Numbers of the uniform distribution over [0, 1), in the shape, dtype and strides of `input`.

    Args: as those of `rand`; memory_format `torch.contiguous_format` gives row order instead of
        input's strides.

    Example:
        >>> import danlu as torch
        >>> torch.rand_like(torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """
    args = (0.0, 1.0, stream(generator))
    return _like(
        "rand_like", fill_uniform, args, input, dtype, device, requires_grad, memory_format
    )


def randn_like(
    input, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False, memory_format=None,
):  # fmt: skip
    """Numbers of the standard normal distribution, in the shape, dtype and strides of `input`.

    Args: as those of `rand_like`.

    Example:
        >>> import danlu as torch
        >>> torch.randn_like(torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """
    args = (0.0, 1.0, stream(generator))
    return _like(
        "randn_like", fill_normal, args, input, dtype, device, requires_grad, memory_format
    )


def normal(
    mean, std=1.0, size=None, *, generator=None, out=None, dtype=None, layout=None, device=None,
    requires_grad=False, pin_memory=False,
):  # fmt: skip
    """Numbers of normal distributions: each element around its own mean with its own standard
    deviation, or all of one distribution in a given size.

    Args:
        mean: a number, or a tensor with the mean of each element.
        std: a number, at least 0, or a tensor that broadcasts with `mean`. Default: 1.
        size: the shape; needed, and only allowed, where neither mean nor std is a tensor.
        generator: the stream to draw from; the default generator if None.
        out: the tensor to write to.
        dtype, layout, device, requires_grad, pin_memory: as those of `rand`, with `size` only.

    Raises:
        RuntimeError: a negative standard deviation.
        TypeError: numbers without a size.
        NotImplementedError: the dtype is an integer type or bool.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.normal(torch.tensor([0.0, 100.0]), torch.tensor([1.0, 0.0]))
        tensor([  1.5410, 100.0000])
    """
    of_mean, of_std = isinstance(mean, Tensor), isinstance(std, Tensor)
    if size is not None:
        if (of_mean and mean.ndim) or (of_std and std.ndim):
            raise TypeError(
                "normal() takes a size only where mean and std are numbers: leave it out"
            )
        if isinstance(size, int):
            raise TypeError(f"normal(): argument 'size' must be tuple of ints: write ({size},)")
        args = (number(mean, "normal", "mean"), number(std, "normal", "std"), stream(generator))
        return _drawn(
            fill_normal, args, _size("normal", (size,)), dtype, out, device, requires_grad
        )
    if not (of_mean or of_std):
        raise TypeError("normal() of numbers needs a size: write normal(mean, std, (2, 3))")
    if of_std:
        spread = std._array
        if spread.dtype.kind == "c":
            raise RuntimeError("normal expects standard deviation to be non-complex")
        if not of_mean:
            mean = wrap(np.full((), number(mean, "normal", "mean"), spread.dtype))
        return normal_around(mean, std, 1.0, stream(generator), out=out)
    return normal_around(mean, None, number(std, "normal", "std"), stream(generator), out=out)


# ---------------------------------------------------------------- integers
def randint(
    *args, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False, **named,
):  # fmt: skip
    """Integers of the discrete uniform distribution over [low, high): `randint(high, size)` or
    `randint(low, high, size)`.

    Args:
        low: lower bound. Default: 0.
        high: upper bound, never drawn.
        size: the shape, a tuple, list or Size.
        dtype: int64 if None.
        generator, out, layout, device, requires_grad, pin_memory: as those of `rand`.

    Raises:
        RuntimeError: low >= high, or a bound that the dtype does not hold.
        TypeError: bounds or sizes that are no ints.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.randint(10, (5,))
        tensor([4, 9, 3, 0, 3])
    """
    low, high, size = _range_arguments("randint", args, named, ("low", "high", "size"))
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}; "
            "write (n,) for n numbers"
        )
    bounds = (low, high, stream(generator))
    kind = dtypes.int64 if dtype is None and out is None else dtype
    return _drawn(
        fill_integers, bounds, _size("randint", (size,)), kind, out, device, requires_grad
    )


def _range_arguments(function, args, named, names):
    """The arguments of `f(high, ...)` or `f(low, high, ...)`, by position or by name."""
    free = [each for each in names if each not in named]
    if len(args) < len(free) and free[0] == "low":
        free = free[1:]
    if len(args) != len(free) or not named.keys() <= set(names):
        written = ", ".join(names)
        raise TypeError(
            f"{function}() received an invalid combination of arguments: expected ({written}) or "
            f"({written.replace('low, ', '')}), got {len(args)} by position"
            + (f" and {', '.join(named)} by name" if named else "")
        )
    values = {"low": 0, **dict(zip(free, args, strict=True)), **named}
    for name in ("low", "high"):
        values[name] = integer(values[name], function, name)
    return [values[name] for name in names]


def randint_like(
    input, *args, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False, memory_format=None, **named,
):  # fmt: skip
    """Integers of the discrete uniform distribution over [low, high), in the shape, dtype and
    strides of `input`: `randint_like(input, high)` or `randint_like(input, low, high)`.

    Args: as those of `randint` and `rand_like`.

    Example:
        >>> import danlu as torch
        >>> torch.randint_like(torch.zeros(2, 3), 10).dtype
        torch.float32
    """
    low, high = _range_arguments("randint_like", args, named, ("low", "high"))
    bounds = (low, high, stream(generator))
    return _like(
        "randint_like", fill_integers, bounds, input, dtype, device, requires_grad, memory_format
    )


# the largest n whose permutation the floating-point types hold exactly
_LARGEST_PERMUTATION = {"float16": 2**11 + 1, "bfloat16": 2**8 + 1, "float32": 2**24 + 1}


def randperm(
    n, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):  # fmt: skip
    """A random permutation of 0, 1, ..., n - 1, by the shuffle of Fisher and Yates.

    Args:
        n: how many, at least 0.
        dtype: int64 if None.
        generator, out, layout, device, requires_grad, pin_memory: as those of `rand`.

    Raises:
        RuntimeError: n is negative, or its numbers do not fit the dtype.
        TypeError: n is no int.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.randperm(5)
        tensor([4, 0, 1, 3, 2])
    """
    n = integer(n, "randperm", "n")
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    kind = dtypes.int64 if dtype is None and out is None else dtype
    args = (n, stream(generator))
    return _drawn(_fill_permutation, args, (n,), kind, out, device, requires_grad)


def _fill_permutation(array, n, generator):
    require_kind(array, FLOATS | INTEGERS, "randperm")
    kind = array.dtype.name
    if kind in INTEGERS and n > np.iinfo(kind).max:
        raise RuntimeError(f"value cannot be converted to type {kind}_t without overflow: n = {n}")
    if n > _LARGEST_PERMUTATION.get(kind, n):
        name = scalar_name(dtypes.of_array(array))
        raise RuntimeError(
            f"n cannot be greater than {_LARGEST_PERMUTATION[kind]} for {name} type."
        )
    return draws.cast(draws.randperm(generator, n), array.dtype)
