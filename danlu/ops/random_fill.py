"""Values for random operators: what they refuse, and the draws behind it, for arrays."""

from __future__ import annotations

import warnings

import numpy as np

from danlu.backend import dtypes
from danlu.backend import random as draws
from danlu.backend.random import Generator, default_generator
from danlu.kernels import random as machine
from danlu.ops.registry import scalar_name
from danlu.tensor import Tensor

machine.install()

__all__ = [
    "FLOATS", "INTEGERS", "fill_bernoulli", "fill_cauchy", "fill_exponential", "fill_geometric",
    "fill_integers", "fill_log_normal", "fill_normal", "fill_uniform", "integer", "number",
    "require_kind", "stream",
]  # fmt: skip

# significant bits of the floating-point types that have random kernels
_DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
FLOATS = frozenset(_DIGITS)
_LARGEST = {
    "float16": 65504.0, "bfloat16": 255 * 2.0**120, "float32": (2 - 2.0**-23) * 2.0**127,
    "float64": (2 - 2.0**-52) * 2.0**1023,
}  # fmt: skip
INTEGERS = frozenset(("uint8", "int8", "int16", "int32", "int64"))
_COMPLEX = frozenset(("complex64", "complex128"))
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


# ---------------------------------------------------------------- checks
def stream(generator) -> Generator:
    """The generator to draw from: the default one for None.

    Raises:
        TypeError: not a Generator.
    """
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(
            f"generator must be a torch.Generator or None, not {type(generator).__name__}; "
            "write torch.Generator().manual_seed(seed)"
        )
    return generator


def require_kind(array, kinds, kernel: str) -> None:
    """Refuse element types for which PyTorch has no such kernel.

    Raises:
        NotImplementedError: the array's type is not among `kinds`.
    """
    kind = dtypes.of_array(array)
    if kind.name not in kinds:
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{scalar_name(kind)}': "
            f"expected one of {', '.join(sorted(kinds))}"
        )


def _require_continuous(array, distribution: str) -> None:
    if dtypes.of_array(array).name not in FLOATS:
        raise RuntimeError(
            f"{distribution} distribution is a continuous probability distribution. dtype must be "
            f"a floating point but you specified {scalar_name(dtypes.of_array(array))}"
        )


def number(value, function: str, name: str) -> float:
    """A Python float from a number, NumPy's included, or a tensor of one element.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, (Tensor, np.number)):
        value = value.item()
    if not isinstance(value, (float, int)) or isinstance(value, bool):
        raise TypeError(
            f"{function}(): argument '{name}' must be float, not {type(value).__name__}"
        )
    return float(value)


def integer(value, function: str, name: str) -> int:
    """An int64 from a Python int, an integer tensor of one element or a NumPy integer.

    Raises:
        TypeError: not an integer.
        ValueError: not in the range of int64.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{function}(): argument '{name}' must be int, not {type(value).__name__}")
    value = value.__index__()
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise ValueError(f"Overflow when unpacking long long: {name}={value} does not fit in int64")
    return value


# ---------------------------------------------------------------- values
def fill_uniform(array, low, high, generator):
    """Checked values of `uniform_` for an array."""
    require_kind(array, FLOATS | _COMPLEX, "check_uniform_bounds")
    if low != 0.0 or high != 1.0:
        kind = dtypes.of_array(array).to_real()
        largest = _LARGEST[kind.name]
        for name, bound in (("from", low), ("to", high)):
            if not abs(bound) <= largest:
                raise RuntimeError(f"{name} is out of bounds for {kind.name}: {bound:g}")
        if low > high:
            raise RuntimeError(
                "uniform_ expects to return a [from, to) range, but found "
                f"from={low:g} > to={high:g}"
            )
        if high - low > largest:
            raise RuntimeError(
                f"uniform_ expects to-from <= {largest:g}, the largest {scalar_name(kind)}, but "
                f"found to={high:g} and from={low:g} which result in to-from to exceed the limit"
            )
    return draws.uniform(generator, array.shape, array.dtype, low, high)


def _require_std(std: float) -> None:
    if not std >= 0.0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")


def fill_normal(array, mean, std, generator):
    """Checked values of `normal_` for an array."""
    _require_std(std)
    require_kind(array, FLOATS | _COMPLEX, "normal_kernel_cpu")
    contiguous = array.flags.c_contiguous
    return draws.normal(generator, array.shape, array.dtype, mean, std, contiguous)


def fill_log_normal(array, mean, std, generator):
    if not std > 0.0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    require_kind(array, FLOATS, "log_normal_cpu")
    return draws.log_normal(generator, array.shape, array.dtype, mean, std)


def fill_exponential(array, rate, generator):
    if not rate > 0.0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    _require_continuous(array, "Exponential")
    return draws.exponential(generator, array.shape, array.dtype, rate)


def fill_cauchy(array, median, sigma, generator):
    if not sigma > 0.0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    _require_continuous(array, "Cauchy")
    return draws.cauchy(generator, array.shape, array.dtype, median, sigma)


def fill_geometric(array, p, generator):
    if not 0.0 < p < 1.0:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    require_kind(array, FLOATS | INTEGERS, "geometric_cpu")
    return draws.geometric(generator, array.shape, array.dtype, p)


def fill_bernoulli(array, p, generator):
    """Checked values of `bernoulli_` for an array; `p` is a number or an array that broadcasts to
    it."""
    kinds = FLOATS | INTEGERS | {"bool"}
    if isinstance(p, float):
        if not 0.0 <= p <= 1.0:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        require_kind(array, kinds, "bernoulli_scalar_cpu_")
        return draws.bernoulli(generator, array.shape, array.dtype, p)
    require_kind(array, kinds, "bernoulli_tensor_cpu_self_")
    require_kind(p, FLOATS, "bernoulli_tensor_cpu_p_")
    return _ones_of_probabilities(array, p, generator)


def _ones_of_probabilities(array, p, generator):
    try:
        p = np.broadcast_to(p, array.shape)
    except ValueError:
        raise RuntimeError(
            f"the probabilities must broadcast to the tensor: target sizes {list(array.shape)}, "
            f"tensor sizes {list(p.shape)}"
        ) from None
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError(
            "Expected p_in >= 0 && p_in <= 1 to be true, but got false: probabilities lie in "
            "[0, 1]; logits become probabilities by torch.sigmoid"
        )
    in_order = p.transpose(draws.memory_axes(array))
    return draws.bernoulli(generator, array.shape, array.dtype, np.ascontiguousarray(in_order))


def _limits(kind: str) -> tuple[int, int]:
    """The least integer a dtype holds, and the largest one that `random_` draws: floats up to
    2**digits."""
    if kind == "bool":
        return 0, 1
    if kind in _DIGITS:
        return -(1 << _DIGITS[kind]), 1 << _DIGITS[kind]
    limits = np.iinfo(kind)
    return int(limits.min), min(int(limits.max), _INT64_MAX)


def _without_rounding_out(low: int, high: int, array) -> tuple[int, int]:
    """Move bounds inward, to where no draw from [low, high) leaves it when it is rounded to the
    array's float type."""
    digits = _DIGITS[dtypes.of_array(array).name]

    def rounded(value: int) -> int:
        return int(draws.cast(np.array([value]), array.dtype)[0])

    after, before = rounded(low + 1), rounded(high - 1)
    if after < low:
        low = after + (1 << (abs(low + 1).bit_length() - digits))
    if before >= high:
        high = before - (1 << (abs(high - 1).bit_length() - digits))
    return low, high


def fill_integers(array, low, high, generator):
    """Checked values of `random_` for an array: [low, high), up to the dtype's limit if `high` is
    None, from 0 if `low` is None as well."""
    kind = dtypes.of_array(array).name
    if low is None and high is None:
        require_kind(array, FLOATS | INTEGERS | {"bool"}, "random_kernel_cpu")
        limit = _limits(kind)[1]
        return draws.integers_below_limit(generator, array.shape, array.dtype, limit)
    if array.dtype.kind == "c":
        raise RuntimeError(
            "check_random_bounds handles only integral, floating-point and boolean types, not "
            f"{scalar_name(dtypes.of_array(array))}"
        )
    low = 0 if low is None else low
    if high is None and low == _INT64_MIN:
        if kind not in ("int64", "float64", "float32", "bfloat16"):
            raise RuntimeError(
                "random_full_64_bits_range_kernel_cpu handles only int64, double, float and "
                f"bfloat16, not {kind}"
            )
        return draws.integers_of_64_bits(generator, array.shape, array.dtype)
    high = _limits(kind)[1] + 1 if high is None else high
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    _require_in_range(kind, low, high - 1)
    if kind in FLOATS and max(abs(low), abs(high)) > 1 << _DIGITS[kind]:
        low, high = _without_rounding_out(low, high, array)
    return draws.integers(generator, array.shape, array.dtype, low, high)


def _require_in_range(kind: str, first: int, last: int) -> None:
    exact = _limits(kind)
    least, largest = (-_LARGEST[kind], _LARGEST[kind]) if kind in FLOATS else exact
    for name, bound in (("from", first), ("to - 1", last)):
        if not least <= bound <= largest:
            raise RuntimeError(
                f"{name} is out of bounds for {kind}: {bound} is not in [{least}, {largest}]"
            )
        if not exact[0] <= bound <= exact[1]:
            warnings.warn(
                f"{name} is out of bounds {list(exact)}: {kind} cannot represent every "
                "integer beyond, so the draw is not uniform",
                UserWarning,
                stacklevel=5,
            )
