"""Sample calls of every operator: arrays stand for tensors, everything else for itself.

No PyTorch and no danlu here: the parity tests run each sample on both, the unit tests run them on danlu alone.
To add an operator, add its entry to the family below that it belongs to."""

from __future__ import annotations

import zlib
from math import inf

import numpy as np

__all__ = ["ENTRIES", "Entry"]


class Entry:
    """One operator and how it is called.

    Args:
        name: where it is found below the module ("linalg.inv"); "Tensor.x" is the method x.
        samples: a function from a random generator to a list of calls, each (args, kwargs) or a tuple of args.
        differentiable: whether first derivatives are compared; `second` says it of second ones.
        view: results share memory with the first argument, and strides are compared.
        dtypes: which kinds besides float32 are tried: "i" int64, "b" bool, "h" float16 and bfloat16, "c" complex64.
        compare: "values", or "shapes" where values may differ by right (the vectors of eigenvalues).
    """

    def __init__(
        self, name, samples, *, differentiable=True, second=None, view=False, dtypes="ibhc",
        compare="values", tolerance=1e-5,
    ):  # fmt: skip
        self.name = name
        self.make = samples
        self.differentiable = differentiable
        self.second = differentiable if second is None else second
        self.view = view
        self.dtypes = dtypes
        self.compare = compare
        self.tolerance = tolerance

    def samples(self) -> list:
        """The calls, the same at every run, as (args, kwargs)."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        found = []
        for call in self.make(rng):
            args, kwargs = call if len(call) == 2 and isinstance(call[1], dict) else (call, {})
            found.append((tuple(args), kwargs))
        return found

    def __repr__(self) -> str:
        return self.name


ENTRIES: list[Entry] = []


def add(names, samples, **options) -> None:
    """Entries for several operators that take the same samples."""
    for name in names.split():
        ENTRIES.append(Entry(name, samples, **options))


# ---------------------------------------------------------------- arrays
def real(rng, *shape):
    """Numbers between -2 and 2, none near another or near an integer."""
    count = int(np.prod(shape))
    return (rng.permutation(count) * 4.0 / max(count, 1) - 1.93).reshape(shape)


def positive(rng, *shape):
    return np.asarray(np.abs(real(rng, *shape)) + 0.3)


def within_one(rng, *shape):
    return np.asarray(real(rng, *shape) * 0.45)


def above_one(rng, *shape):
    return np.asarray(positive(rng, *shape) + 1.1)


def probability(rng, *shape):
    return np.asarray(within_one(rng, *shape) / 2 + 0.5)


def whole(rng, *shape, low=-4, high=5):
    return np.asarray(rng.integers(low, high, shape))


def mask(rng, *shape):
    return np.asarray(rng.integers(0, 2, shape)).astype(np.bool_)


def regular(rng, *shape):
    """Square matrices far from singular."""
    return real(rng, *shape) + 3 * np.eye(shape[-1])


def symmetric(rng, *shape):
    x = real(rng, *shape)
    return x + x.swapaxes(-1, -2) + np.diag(np.arange(shape[-1]) * 3.0)


def positive_definite(rng, *shape):
    x = real(rng, *shape)
    return x @ x.swapaxes(-1, -2) + 2 * np.eye(shape[-1])


# ---------------------------------------------------------------- one tensor, element by element
def unary(draw):
    return lambda rng: [(draw(rng, 5),), (draw(rng, 2, 3),), (draw(rng),), (draw(rng, 0, 2),)]


add(
    "abs absolute neg negative sign sgn square frac trunc fix ceil floor exp exp2 expm1 sin cos sinh cosh tanh "
    "sigmoid atan arctan asinh arcsinh erf erfc sinc deg2rad rad2deg nan_to_num round special.ndtr special.i0e "
    "special.i1e special.erfcx special.log_ndtr",
    unary(real),
)  # fmt: skip
add("tan atanh arctanh asin acos arcsin arccos erfinv", unary(within_one))
add("log log2 log10 log1p sqrt rsqrt reciprocal lgamma digamma special.entr i0", unary(positive))
add("acosh arccosh", unary(above_one))
add("logit", lambda rng: [(probability(rng, 5),), (probability(rng, 5), 0.3)])
add("special.ndtri", unary(probability))
add("angle positive conj conj_physical real", unary(real))
add(
    "isfinite isinf isnan isneginf isposinf isreal signbit logical_not",
    lambda rng: [(np.array([1.0, inf, -inf, np.nan, 0.0, -0.0]),), (real(rng, 2, 2),)],
    differentiable=False,
)  # fmt: skip
add("bitwise_not", lambda rng: [(whole(rng, 4),), (mask(rng, 3),)], differentiable=False)
add("polygamma", lambda rng: [(1, positive(rng, 4)), (2, positive(rng, 3))])
add("mvlgamma", lambda rng: [(positive(rng, 4) + 1, 2)])
add("round", lambda rng: [((real(rng, 5) * 30,), {"decimals": 1}), ((real(rng, 5) * 99,), {"decimals": -1})])
add("frexp", lambda rng: [(real(rng, 5) * 9,)], second=False)
add("clone Tensor.contiguous detach", unary(real))
add(
    "special.bessel_j0 special.bessel_j1 special.modified_bessel_i0 special.modified_bessel_k0",
    unary(positive), differentiable=False,
)  # fmt: skip


# ---------------------------------------------------------------- two tensors
def pairs(left, right):
    """Equal shapes, broadcasting both ways, 0-d, and a number on the right."""
    return lambda rng: [
        (left(rng, 2, 3), right(rng, 2, 3)), (left(rng, 2, 1), right(rng, 3)),
        (left(rng, 3), right(rng, 2, 3)), (left(rng), right(rng, 2)), (left(rng, 0), right(rng, 1)),
    ]  # fmt: skip


def with_numbers(left, right):
    return lambda rng: [*pairs(left, right)(rng), (left(rng, 3), 2.5), (left(rng, 2, 2), 3)]


add("add sub subtract mul multiply rsub", with_numbers(real, real))
add("add sub", lambda rng: [((real(rng, 2, 3), real(rng, 3)), {"alpha": 3})])
add("div divide true_divide", with_numbers(real, positive))
add(
    "div", lambda rng: [
        ((real(rng, 2, 3) * 9, positive(rng, 3)), {"rounding_mode": mode}) for mode in ("floor", "trunc")
    ],
)  # fmt: skip
add("floor_divide", with_numbers(real, positive), differentiable=False)
add("remainder fmod", with_numbers(real, positive))
add("pow", with_numbers(positive, real))
add("pow", lambda rng: [(real(rng, 3), 2), (real(rng, 3), 3), (real(rng, 3), 0), (2.0, real(rng, 3))])
add("float_power", pairs(positive, real))
add("maximum minimum fmax fmin hypot logaddexp logaddexp2 atan2 arctan2", pairs(real, real))
add("copysign", pairs(real, real))
add("xlogy special.xlog1py", pairs(real, positive))
add("ldexp", pairs(real, real))
add("nextafter heaviside", pairs(real, real), differentiable=False)
add("eq ne lt le gt ge", with_numbers(whole, whole), differentiable=False)
add("greater less greater_equal less_equal not_equal", pairs(real, real), differentiable=False)
add("logical_and logical_or logical_xor", pairs(mask, mask), differentiable=False)
add("bitwise_and bitwise_or bitwise_xor gcd lcm", pairs(whole, whole), differentiable=False)
add(
    "bitwise_left_shift bitwise_right_shift",
    lambda rng: [(whole(rng, 4), np.array([0, 1, 2, 3]))], differentiable=False,
)  # fmt: skip
add("igamma igammac", pairs(positive, positive), differentiable=False)
add("addcmul addcdiv", lambda rng: [
    (real(rng, 2, 3), real(rng, 2, 3), positive(rng, 3)),
    ((real(rng, 2), real(rng, 2), positive(rng, 2)), {"value": 0.5}),
])  # fmt: skip
add("lerp", lambda rng: [(real(rng, 2, 3), real(rng, 3), 0.3), (real(rng, 3), real(rng, 3), probability(rng, 3))])
add("isclose", lambda rng: [(np.array([1.0, 2, inf, np.nan]), np.array([1.0, 2.1, inf, np.nan]))], differentiable=False)
add("clamp clip", lambda rng: [
    (real(rng, 6), -0.5, 0.8), ((real(rng, 6),), {"min": 0.1}), ((real(rng, 6),), {"max": 0.1}),
    (real(rng, 2, 3), real(rng, 3) - 2, positive(rng, 3)),
])  # fmt: skip
add("clamp_min clamp_max", lambda rng: [(real(rng, 6), 0.25)])
add("where", lambda rng: [
    (mask(rng, 2, 3), real(rng, 2, 3), real(rng, 3)), (mask(rng, 2, 3), real(rng, 3), 2.5),
    (mask(rng, 3), real(rng), real(rng)),
])  # fmt: skip


# ---------------------------------------------------------------- reductions
def reductions(draw=real):
    return lambda rng: [
        (draw(rng, 2, 3, 4),), (draw(rng, 2, 3, 4), 1), (draw(rng, 2, 3, 4), -1, True), (draw(rng),),
        ((draw(rng, 3, 2),), {"dim": 0, "keepdim": True}), (draw(rng, 3, 0), 0),
    ]  # fmt: skip


def several_dims(rng):
    return [(real(rng, 2, 3, 4), (0, 2)), (real(rng, 2, 3), (0, 1), True)]


add("sum mean nansum", reductions())
add("sum mean nansum nanmean amax amin all any", several_dims, dtypes="ib")
add("prod", reductions(positive))
add("prod", lambda rng: [(np.array([[1.0, 0, 3], [0, 2, 0]]), 1), (np.array([2.0, 0, 3]),)])
add("all any count_nonzero", lambda rng: [(whole(rng, 2, 3),), (mask(rng, 2, 3), 1)], differentiable=False)
add("amax amin", lambda rng: [(real(rng, 2, 3), 1), (np.array([1.0, 3, 3, 0]), 0), (real(rng, 2, 3), 0, True)])
add("max min", lambda rng: [(real(rng, 2, 3),), (np.array([1.0, 3, 3, 0]),)])
add("max min median nanmedian", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 4, 2), 0, True), (real(rng), 0)])
add("median nanmedian", lambda rng: [(real(rng, 5),), (np.array([1.0, np.nan, 3, 2]),)])
add("mode", lambda rng: [(np.array([[1.0, 2, 2], [3, 3, 1]]),), (whole(rng, 3, 4), 0, True)])
add("aminmax", lambda rng: [(real(rng, 2, 3),), ((real(rng, 2, 3),), {"dim": 1})])
add("argmax argmin", lambda rng: [(real(rng, 2, 3),), (real(rng, 2, 3), 1), (real(rng, 2, 3), 0, True)], differentiable=False)
add("var std var_mean std_mean", lambda rng: [
    (real(rng, 2, 3, 4),), (real(rng, 2, 3, 4), 1), ((real(rng, 5, 2), 0), {"unbiased": False}),
    ((real(rng, 2, 3, 4),), {"dim": (0, 2), "correction": 2, "keepdim": True}),
], dtypes="ibh")  # fmt: skip
add("logsumexp", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 2, 3), (0, 1), True)])
add("cumsum cumprod logcumsumexp", lambda rng: [(positive(rng, 2, 3), 1), (positive(rng, 4), 0)])
add("cumprod", lambda rng: [(np.array([2.0, 0, 3, 0, 4]), 0)], second=False)
add("cummax cummin", lambda rng: [(real(rng, 2, 3), 1), (np.array([1.0, 3, 3, 0, 5]), 0)])
add("diff", lambda rng: [(real(rng, 5),), (real(rng, 3, 4), 2), ((real(rng, 3, 2),), {"dim": 0, "prepend": real(rng, 1, 2)})])
add("trapezoid cumulative_trapezoid", lambda rng: [(real(rng, 5),), (real(rng, 2, 4), positive(rng, 4)), ((real(rng, 3, 2),), {"dx": 0.5, "dim": 0})])
add("gradient", lambda rng: [(real(rng, 4, 5),), ((real(rng, 6),), {"spacing": 0.5, "edge_order": 2})])
add("norm", lambda rng: [(real(rng, 2, 3),), (real(rng, 2, 3), 1, 1), (real(rng, 2, 3), inf, 0, True), (real(rng, 2, 3), "nuc")])
add("dist", lambda rng: [(real(rng, 2, 3), real(rng, 3) * 0.7), (real(rng, 4), real(rng, 4) * 0.3, 3)], dtypes="ib")
add("cdist", lambda rng: [(real(rng, 3, 2), real(rng, 4, 2) + 0.1), (real(rng, 2, 3, 2), real(rng, 2, 4, 2) + 0.1, 1.0)], dtypes="i", second=False)
add("quantile nanquantile", lambda rng: [
    (real(rng, 5), 0.3), (real(rng, 3, 4), np.array([0.1, 0.7]), 1),
    ((real(rng, 3, 4), 0.25, 0), {"keepdim": True, "interpolation": "midpoint"}),
], dtypes="i")  # fmt: skip
add("softmax log_softmax", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 3), 0)])
add("renorm", lambda rng: [(real(rng, 3, 4), 2, 0, 1.5)], dtypes="", second=False)
add("cov corrcoef", lambda rng: [(real(rng, 2, 5),), (real(rng, 4),)], dtypes="")
add("trace", lambda rng: [(real(rng, 3, 3),), (real(rng, 2, 3),)])


# ---------------------------------------------------------------- shape
add("reshape", lambda rng: [(real(rng, 2, 6), (3, 4)), (real(rng, 2, 6), (-1,)), (real(rng, 2, 0), (0, 3))], view=True)
add("Tensor.view", lambda rng: [(real(rng, 2, 6), 3, 4), (real(rng, 2, 6), -1)], view=True)
add("flatten ravel", lambda rng: [(real(rng, 2, 3, 2),), (real(rng),)], view=True)
add("flatten", lambda rng: [(real(rng, 2, 3, 2), 1), (real(rng, 2, 3, 2), 0, 1)], view=True)
add("unflatten", lambda rng: [(real(rng, 2, 6), 1, (2, -1))], view=True)
add("permute", lambda rng: [(real(rng, 2, 3, 4), (2, 0, 1)), (real(rng, 2, 3), (-1, 0))], view=True)
add("transpose swapaxes swapdims", lambda rng: [(real(rng, 2, 3, 4), 0, 2), (real(rng, 2, 3), -1, 0)], view=True)
add("t", lambda rng: [(real(rng, 2, 3),), (real(rng, 3),)], view=True)
add("adjoint", lambda rng: [(real(rng, 2, 3),), (real(rng, 2, 3, 4),)], view=True)
add("movedim moveaxis", lambda rng: [(real(rng, 2, 3, 4), 0, 2), (real(rng, 2, 3, 4), (0, 1), (1, 2))], view=True)
add("squeeze", lambda rng: [(real(rng, 1, 3, 1),), (real(rng, 1, 3, 1), 0), (real(rng, 1, 3, 1), (0, 1))], view=True)
add("unsqueeze", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 2), -1)], view=True)
add("Tensor.expand", lambda rng: [(real(rng, 3, 1), 2, 3, 4), (real(rng, 1, 3), -1, 3)], view=True)
add("broadcast_to", lambda rng: [(real(rng, 3, 1), (2, 3, 4))], view=True)
add("broadcast_tensors", lambda rng: [(real(rng, 3, 1), real(rng, 4))], view=True)
add("Tensor.repeat", lambda rng: [(real(rng, 2, 3), 2, 2), (real(rng, 2), 3, 1, 2)])
add("tile", lambda rng: [(real(rng, 2, 3), (2,)), (real(rng, 2), (3, 1, 2))])
add("repeat_interleave", lambda rng: [(real(rng, 2, 3), 2), (real(rng, 2, 3), np.array([1, 0, 2]), 1)])
add("flip", lambda rng: [(real(rng, 2, 3), (0,)), (real(rng, 2, 3), (0, 1))])
add("fliplr flipud", lambda rng: [(real(rng, 2, 3),)])
add("roll", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 2, 3), (1, -1), (0, 1))])
add("rot90", lambda rng: [(real(rng, 2, 3),), (real(rng, 2, 3, 2), 2, (0, 2))])
add("select", lambda rng: [(real(rng, 2, 3), 1, 2), (real(rng, 2, 3), 0, -1)], view=True)
add("narrow", lambda rng: [(real(rng, 2, 5), 1, 1, 3), (real(rng, 2, 5), -1, -2, 2)], view=True)
add("diagonal", lambda rng: [(real(rng, 3, 4),), (real(rng, 3, 4), 1), (real(rng, 2, 3, 4), -1, 1, 2)], view=True)
add("diag_embed", lambda rng: [(real(rng, 3),), (real(rng, 2, 3), 1)])
add("diag", lambda rng: [(real(rng, 3),), (real(rng, 3, 4), 1)])
add("diagflat", lambda rng: [(real(rng, 2, 2),)])
add("tril triu", lambda rng: [(real(rng, 3, 4),), (real(rng, 2, 3, 3), 1), (real(rng, 3, 3), -1)])
add("atleast_1d atleast_2d atleast_3d", lambda rng: [(real(rng),), (real(rng, 2),), (real(rng, 2, 3),)])
add("Tensor.unfold", lambda rng: [(real(rng, 7), 0, 3, 2), (real(rng, 2, 5), 1, 2, 1)], view=True)
add("as_strided", lambda rng: [(real(rng, 3, 4), (2, 2), (4, 2)), (real(rng, 6), (3, 2), (1, 1), 1)], view=True)
add("view_as_complex", lambda rng: [(real(rng, 3, 2),)], view=True, dtypes="")
add("squeeze unsqueeze", lambda rng: [(real(rng, 1, 2), 0)], view=True)


# ---------------------------------------------------------------- joining and taking apart
def three(rng):
    return [real(rng, 2, 3), real(rng, 2, 3) + 1, real(rng, 2, 3) + 2]


add("cat concat concatenate stack", lambda rng: [(three(rng),), (three(rng), 1), (three(rng), -1)])
add("cat", lambda rng: [([real(rng, 2, 3), real(rng, 1, 3)], 0), ([real(rng, 0), real(rng, 2, 3)], 0)])
add("hstack vstack dstack column_stack row_stack", lambda rng: [(three(rng),), ([real(rng, 3), real(rng, 3)],)])
add("split", lambda rng: [(real(rng, 5, 2), 2), (real(rng, 5, 2), [1, 4]), (real(rng, 2, 4), 3, 1)], view=True)
add("chunk tensor_split", lambda rng: [(real(rng, 5, 2), 3), (real(rng, 2, 4), 2, 1)], view=True)
add("tensor_split", lambda rng: [(real(rng, 6, 2), (1, 4))], view=True)
add("unbind", lambda rng: [(real(rng, 3, 2),), (real(rng, 3, 2), 1)], view=True)
add("hsplit vsplit", lambda rng: [(real(rng, 4, 4), 2), (real(rng, 4, 4), [1, 3])], view=True)
add("dsplit", lambda rng: [(real(rng, 2, 2, 4), 2)], view=True)
add("meshgrid", lambda rng: [((real(rng, 3), real(rng, 2)), {"indexing": order}) for order in ("ij", "xy")])
add("cartesian_prod block_diag", lambda rng: [(real(rng, 3), real(rng, 2))])
add("combinations", lambda rng: [(real(rng, 4),), (real(rng, 3), 2, True)])


# ---------------------------------------------------------------- positions
def along_one(rng):
    return np.array([[0, 2, 1], [1, 0, 2]])


add("gather", lambda rng: [(real(rng, 2, 4), 1, along_one(rng)), (real(rng, 3, 3), 0, along_one(rng)), (real(rng), 0, np.array([0]))])
add("take_along_dim", lambda rng: [(real(rng, 2, 4), along_one(rng), 1), (real(rng, 6), along_one(rng))])
add("scatter", lambda rng: [
    (real(rng, 2, 4), 1, along_one(rng), real(rng, 2, 3)), (real(rng, 3, 3), 0, along_one(rng), 2.5),
    (real(rng), 0, np.array([0]), real(rng, 1)),
])  # fmt: skip
add("scatter_add", lambda rng: [(real(rng, 2, 4), 1, np.array([[0, 0, 1]]), real(rng, 1, 3)), (real(rng), 0, np.array(0), real(rng))])
add("scatter_reduce", lambda rng: [
    ((real(rng, 3, 4), 1, np.array([[0, 0, 1], [2, 2, 2]]), real(rng, 2, 3) + 0.01, kind), {"include_self": own})
    for kind in ("sum", "prod", "mean", "amax", "amin") for own in (True, False)
], second=False)  # fmt: skip
add("index_select", lambda rng: [(real(rng, 3, 4), 0, np.array([2, 0, 2])), (real(rng, 3, 4), 1, np.array([1]))])
add("index_add index_copy", lambda rng: [(real(rng, 3, 4), 0, np.array([2, 0]), real(rng, 2, 4))])
add("index_fill", lambda rng: [(real(rng, 3, 4), 1, np.array([2, 0]), 2.5)])
add("index_reduce", lambda rng: [(real(rng, 3, 4), 0, np.array([2, 0, 0]), real(rng, 3, 4), kind) for kind in ("prod", "mean", "amax", "amin")], second=False)
add("index_put", lambda rng: [(real(rng, 3, 4), (np.array([0, 2]), np.array([1, 1])), real(rng, 2)), (real(rng, 3, 4), (np.array([0, 0]),), real(rng, 4), True)])
add("take", lambda rng: [(real(rng, 3, 4), np.array([[0, 11], [5, 5]]))])
add("put", lambda rng: [(real(rng, 3, 4), np.array([0, 11]), real(rng, 2))], dtypes="ib")
add("masked_fill", lambda rng: [(real(rng, 2, 3), mask(rng, 2, 3), 2.5), (real(rng, 2, 3), mask(rng, 3), -inf)], dtypes="h")
add("masked_select", lambda rng: [(real(rng, 2, 3), mask(rng, 2, 3)), (real(rng, 2, 1), mask(rng, 3))])
add("masked_scatter", lambda rng: [(real(rng, 2, 3), mask(rng, 2, 3), real(rng, 6))])
add("select_scatter", lambda rng: [(real(rng, 2, 3), real(rng, 3), 0, 1)])
add("slice_scatter", lambda rng: [((real(rng, 4, 3), real(rng, 2, 3)), {"start": 0, "end": 4, "step": 2})])
add("diagonal_scatter", lambda rng: [(real(rng, 3, 3), real(rng, 3)), (real(rng, 3, 3), real(rng, 2), 1)])
add("nonzero argwhere", lambda rng: [(whole(rng, 3, 4),), (mask(rng, 5),)], differentiable=False)
add("sort", lambda rng: [(real(rng, 3, 4),), (real(rng, 3, 4), 0, True), (real(rng),)])
add("argsort msort", lambda rng: [(real(rng, 5),), (real(rng, 3, 4),)], differentiable=False)
add("topk", lambda rng: [(real(rng, 3, 5), 2), (real(rng, 5), 3, 0, False)], dtypes="h")
add("kthvalue", lambda rng: [(real(rng, 3, 5), 2), (real(rng, 5), 4, 0, True)], dtypes="h")
add("unique unique_consecutive", lambda rng: [((whole(rng, 8),), {"return_inverse": True, "return_counts": True}), ((whole(rng, 3, 2, high=-2),), {"dim": 0})], differentiable=False)
add("bincount", lambda rng: [(whole(rng, 6, low=0),), (whole(rng, 6, low=0), positive(rng, 6), 9)], differentiable=False, dtypes="")
add("histc", lambda rng: [(real(rng, 20), 4), (real(rng, 20), 5, -1, 1)], differentiable=False, dtypes="")
add("histogram", lambda rng: [(real(rng, 20), 4), (real(rng, 20), np.array([-1.0, 0, 0.5, 2]))], differentiable=False, dtypes="")
add("isin", lambda rng: [(whole(rng, 6), whole(rng, 2))], differentiable=False)
add("searchsorted", lambda rng: [(np.array([1.0, 3, 5]), real(rng, 2, 2) * 3), ((np.array([[1.0, 3], [2, 4]]), np.array([[3.0], [2]])), {"right": True})], differentiable=False)
add("bucketize", lambda rng: [(real(rng, 5), np.array([-1.0, 0, 1]))], differentiable=False)


# ---------------------------------------------------------------- products
add("matmul", lambda rng: [
    (real(rng, 2, 3), real(rng, 3, 4)), (real(rng, 3), real(rng, 3)), (real(rng, 2, 3), real(rng, 3)), (real(rng, 3), real(rng, 3, 2)),
    (real(rng, 5, 2, 3), real(rng, 3, 4)), (real(rng, 5, 1, 2, 3), real(rng, 2, 3, 4)), (real(rng, 2, 0), real(rng, 0, 3)),
], dtypes="ihc")  # fmt: skip
add("mm", lambda rng: [(real(rng, 2, 3), real(rng, 3, 4))], dtypes="ihc")
add("bmm", lambda rng: [(real(rng, 2, 2, 3), real(rng, 2, 3, 4))], dtypes="ihc")
add("mv", lambda rng: [(real(rng, 2, 3), real(rng, 3))], dtypes="ihc")
add("dot vdot inner", lambda rng: [(real(rng, 3), real(rng, 3))], dtypes="ihc")
add("outer ger", lambda rng: [(real(rng, 3), real(rng, 2))], dtypes="ihc")
add("addmm", lambda rng: [(real(rng, 2, 4), real(rng, 2, 3), real(rng, 3, 4)), ((real(rng, 4), real(rng, 2, 3), real(rng, 3, 4)), {"beta": 0.5, "alpha": 2})], dtypes="h")
add("addmv", lambda rng: [(real(rng, 2), real(rng, 2, 3), real(rng, 3))], dtypes="h")
add("addr", lambda rng: [(real(rng, 3, 2), real(rng, 3), real(rng, 2))], dtypes="h")
add("baddbmm", lambda rng: [(real(rng, 2, 2, 4), real(rng, 2, 2, 3), real(rng, 2, 3, 4))], dtypes="h")
add("addbmm", lambda rng: [(real(rng, 2, 4), real(rng, 2, 2, 3), real(rng, 2, 3, 4))], dtypes="h")
add("tensordot", lambda rng: [((real(rng, 2, 3, 4), real(rng, 3, 4, 2)), {"dims": 2}), ((real(rng, 2, 3), real(rng, 2, 4)), {"dims": ([0], [0])})], dtypes="")
add("kron", lambda rng: [(real(rng, 2, 2), real(rng, 3, 2))])
add("chain_matmul", lambda rng: [(real(rng, 2, 3), real(rng, 3, 4), real(rng, 4, 2))], dtypes="")
add("einsum", lambda rng: [
    ("ij,jk->ik", real(rng, 2, 3), real(rng, 3, 4)), ("ii->i", real(rng, 3, 3)), ("...ij->...ji", real(rng, 2, 3, 4)),
    ("ij,ij->", real(rng, 2, 3), real(rng, 2, 3)), ("bi,ij,bj->b", real(rng, 2, 3), real(rng, 3, 3), real(rng, 2, 3)),
], dtypes="")  # fmt: skip
add("cross linalg.cross", lambda rng: [(real(rng, 2, 3), real(rng, 2, 3))], dtypes="i")


# ---------------------------------------------------------------- linear algebra
def squares(draw=regular):
    return lambda rng: [(draw(rng, 3, 3),), (draw(rng, 2, 2, 2),)]


def rectangles(rng):
    return [(real(rng, 4, 3),), (real(rng, 3, 4),), (regular(rng, 3, 3),)]


add("linalg.inv inverse linalg.det det linalg.slogdet slogdet linalg.matrix_exp logdet", squares(), dtypes="")
add("linalg.cholesky cholesky logdet", squares(positive_definite), dtypes="")
add("linalg.solve", lambda rng: [(regular(rng, 3, 3), real(rng, 3)), (regular(rng, 2, 3, 3), real(rng, 3, 2)), ((regular(rng, 3, 3), real(rng, 2, 3)), {"left": False})], dtypes="")
add("linalg.solve_triangular", lambda rng: [
    ((regular(rng, 3, 3), real(rng, 3, 2)), {"upper": upper, "unitriangular": unit}) for upper in (True, False) for unit in (True, False)
] + [((regular(rng, 3, 3), real(rng, 2, 3)), {"upper": True, "left": False})], dtypes="")  # fmt: skip
add("linalg.qr qr", rectangles, dtypes="", compare="shapes", differentiable=False)
add("linalg.eigh", squares(symmetric), dtypes="", compare="shapes", differentiable=False)
add("linalg.eig", squares(), dtypes="", compare="shapes", differentiable=False)
add("linalg.svd svd", rectangles, dtypes="", compare="shapes", differentiable=False)
add("linalg.svdvals linalg.pinv pinverse", rectangles, dtypes="")
add("linalg.eigvalsh", squares(symmetric), dtypes="", second=False)
add("linalg.lu linalg.lu_factor", rectangles, dtypes="")
add("linalg.matrix_power", lambda rng: [(regular(rng, 3, 3), n) for n in (-2, 0, 1, 3)], dtypes="")
add("linalg.multi_dot", lambda rng: [([real(rng, 2, 3), real(rng, 3, 4), real(rng, 4)],)], dtypes="")
add("linalg.vector_norm", lambda rng: [
    (real(rng, 3, 4),), (real(rng, 3, 4), 3, 1), (real(rng, 3, 4), inf, 0), (real(rng, 3, 4), -inf, (0, 1), True), (real(rng, 4), 0.5), (real(rng, 4), 0),
], dtypes="i", tolerance=1e-4)  # fmt: skip
add("linalg.matrix_norm", lambda rng: [(regular(rng, 3, 3), kind) for kind in ("fro", "nuc", 1, -1, 2, -2, inf, -inf)], dtypes="", tolerance=1e-4)
add("linalg.norm", lambda rng: [(real(rng, 3, 4),), (real(rng, 3, 4), 2), (real(rng, 3), 1), (real(rng, 3, 4), "fro", (0, 1), True)], dtypes="")
add("linalg.cond", lambda rng: [(regular(rng, 3, 3), kind) for kind in (None, 1, inf, "fro", -2)], dtypes="", second=False)
add("linalg.matrix_rank", lambda rng: [(regular(rng, 3, 3),), (np.ones((3, 2)),), ((np.ones((2, 2)),), {"hermitian": True})], differentiable=False, dtypes="")
add("linalg.lstsq", lambda rng: [((real(rng, 5, 2) ** 2, real(rng, 5, 1)), {"driver": each}) for each in ("gelsy", "gelsd", "gels")], dtypes="", second=False, tolerance=1e-3)
add("linalg.vander", lambda rng: [(real(rng, 3),), ((real(rng, 3),), {"N": 4})], dtypes="i")
add("vander", lambda rng: [(real(rng, 3),), (real(rng, 3), 4, True)], dtypes="i")
add("linalg.vecdot", lambda rng: [(real(rng, 2, 3), real(rng, 2, 3))], dtypes="")
add("linalg.diagonal", lambda rng: [(real(rng, 2, 3, 4),)], view=True)
add("linalg.tensorinv", lambda rng: [((regular(rng, 4, 4).reshape(2, 2, 4),), {"ind": 2})], dtypes="")
add("linalg.tensorsolve", lambda rng: [(regular(rng, 4, 4).reshape(2, 2, 4), real(rng, 2, 2))], dtypes="")
add("linalg.householder_product", lambda rng: [(real(rng, 4, 3), positive(rng, 3))], dtypes="")
add("cholesky_solve", lambda rng: [(real(rng, 3, 2), np.tril(regular(rng, 3, 3)))], dtypes="")
add("cholesky_inverse", lambda rng: [(np.tril(regular(rng, 3, 3)),)], dtypes="", second=False)
add("triangular_solve", lambda rng: [(real(rng, 3, 2), regular(rng, 3, 3))], dtypes="", second=False)

# ---------------------------------------------------------------- Fourier transforms
add("fft.fft fft.ifft fft.rfft fft.ihfft", lambda rng: [(real(rng, 5),), (real(rng, 4), 6), (real(rng, 2, 4), 3, 0, "ortho")], dtypes="i")
add("fft.irfft fft.hfft", lambda rng: [(real(rng, 4),), (real(rng, 4), 5), (real(rng, 2, 4), 6, 1, "forward")], dtypes="i")
add("fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2 fft.fftn fft.ifftn fft.rfftn fft.irfftn fft.hfftn fft.ihfftn", lambda rng: [(real(rng, 3, 4),), (real(rng, 3, 4), (4, 3))], dtypes="")
add("fft.fftshift fft.ifftshift", lambda rng: [(real(rng, 5),), (real(rng, 3, 4), 1)], dtypes="i")
add("stft", lambda rng: [((real(rng, 16), 4), {"return_complex": True}), ((real(rng, 2, 16), 4, 2), {"return_complex": True, "window": positive(rng, 4), "center": False})], dtypes="")
