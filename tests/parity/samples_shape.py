"""Reductions, changes of shape, joining and taking apart."""

from __future__ import annotations

from math import inf

import numpy as np

from tests.parity.sample_arrays import add, mask, positive, real, whole


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
add(
    "all any count_nonzero",
    lambda rng: [(whole(rng, 2, 3),), (mask(rng, 2, 3), 1)],
    differentiable=False,
)
add(
    "amax amin",
    lambda rng: [(real(rng, 2, 3), 1), (np.array([1.0, 3, 3, 0]), 0), (real(rng, 2, 3), 0, True)],
)
add("max min", lambda rng: [(real(rng, 2, 3),), (np.array([1.0, 3, 3, 0]),)])
add(
    "max min median nanmedian",
    lambda rng: [(real(rng, 2, 3), 1), (real(rng, 4, 2), 0, True), (real(rng), 0)],
)
add("median nanmedian", lambda rng: [(real(rng, 5),), (np.array([1.0, np.nan, 3, 2]),)])
add("mode", lambda rng: [(np.array([[1.0, 2, 2], [3, 3, 1]]),), (whole(rng, 3, 4), 0, True)])
add("aminmax", lambda rng: [(real(rng, 2, 3),), ((real(rng, 2, 3),), {"dim": 1})])
add(
    "argmax argmin",
    lambda rng: [(real(rng, 2, 3),), (real(rng, 2, 3), 1), (real(rng, 2, 3), 0, True)],
    differentiable=False,
)
add(
    "var std var_mean std_mean",
    lambda rng: [
        (real(rng, 2, 3, 4),),
        (real(rng, 2, 3, 4), 1),
        ((real(rng, 5, 2), 0), {"unbiased": False}),
        ((real(rng, 2, 3, 4),), {"dim": (0, 2), "correction": 2, "keepdim": True}),
    ],
    dtypes="ibh",
)
add("logsumexp", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 2, 3), (0, 1), True)])
add("cumsum cumprod logcumsumexp", lambda rng: [(positive(rng, 2, 3), 1), (positive(rng, 4), 0)])
add("cumprod", lambda rng: [(np.array([2.0, 0, 3, 0, 4]), 0)], second=False)
add("cummax cummin", lambda rng: [(real(rng, 2, 3), 1), (np.array([1.0, 3, 3, 0, 5]), 0)])
add(
    "diff",
    lambda rng: [
        (real(rng, 5),),
        (real(rng, 3, 4), 2),
        ((real(rng, 3, 2),), {"dim": 0, "prepend": real(rng, 1, 2)}),
    ],
)
add(
    "trapezoid cumulative_trapezoid",
    lambda rng: [
        (real(rng, 5),),
        (real(rng, 2, 4), positive(rng, 4)),
        ((real(rng, 3, 2),), {"dx": 0.5, "dim": 0}),
    ],
)
add(
    "gradient",
    lambda rng: [(real(rng, 4, 5),), ((real(rng, 6),), {"spacing": 0.5, "edge_order": 2})],
)
add(
    "norm",
    lambda rng: [
        (real(rng, 2, 3),),
        (real(rng, 2, 3), 1, 1),
        (real(rng, 2, 3), inf, 0, True),
        (real(rng, 2, 3), "nuc"),
    ],
)
add(
    "dist",
    lambda rng: [(real(rng, 2, 3), real(rng, 3) * 0.7), (real(rng, 4), real(rng, 4) * 0.3, 3)],
    dtypes="ib",
)
add(
    "cdist",
    lambda rng: [
        (real(rng, 3, 2), real(rng, 4, 2) + 0.1),
        (real(rng, 2, 3, 2), real(rng, 2, 4, 2) + 0.1, 1.0),
    ],
    dtypes="i",
    second=False,
)
add(
    "quantile nanquantile",
    lambda rng: [
        (real(rng, 5), 0.3),
        (real(rng, 3, 4), np.array([0.1, 0.7]), 1),
        ((real(rng, 3, 4), 0.25, 0), {"keepdim": True, "interpolation": "midpoint"}),
    ],
    dtypes="i",
)
add("softmax log_softmax", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 3), 0)])
add("renorm", lambda rng: [(real(rng, 3, 4), 2, 0, 1.5)], dtypes="", second=False)
add("cov corrcoef", lambda rng: [(real(rng, 2, 5),), (real(rng, 4),)], dtypes="")
add("trace", lambda rng: [(real(rng, 3, 3),), (real(rng, 2, 3),)])


# ---------------------------------------------------------------- shape
add(
    "reshape",
    lambda rng: [(real(rng, 2, 6), (3, 4)), (real(rng, 2, 6), (-1,)), (real(rng, 2, 0), (0, 3))],
    view=True,
)
add("Tensor.view", lambda rng: [(real(rng, 2, 6), 3, 4), (real(rng, 2, 6), -1)], view=True)
add("flatten ravel", lambda rng: [(real(rng, 2, 3, 2),), (real(rng),)], view=True)
add("flatten", lambda rng: [(real(rng, 2, 3, 2), 1), (real(rng, 2, 3, 2), 0, 1)], view=True)
add("unflatten", lambda rng: [(real(rng, 2, 6), 1, (2, -1))], view=True)
add("permute", lambda rng: [(real(rng, 2, 3, 4), (2, 0, 1)), (real(rng, 2, 3), (-1, 0))], view=True)
add(
    "transpose swapaxes swapdims",
    lambda rng: [(real(rng, 2, 3, 4), 0, 2), (real(rng, 2, 3), -1, 0)],
    view=True,
)
add("t", lambda rng: [(real(rng, 2, 3),), (real(rng, 3),)], view=True)
add("adjoint", lambda rng: [(real(rng, 2, 3),), (real(rng, 2, 3, 4),)], view=True)
add(
    "movedim moveaxis",
    lambda rng: [(real(rng, 2, 3, 4), 0, 2), (real(rng, 2, 3, 4), (0, 1), (1, 2))],
    view=True,
)
add(
    "squeeze",
    lambda rng: [(real(rng, 1, 3, 1),), (real(rng, 1, 3, 1), 0), (real(rng, 1, 3, 1), (0, 1))],
    view=True,
)
add("unsqueeze", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 2), -1)], view=True)
add("Tensor.expand", lambda rng: [(real(rng, 3, 1), 2, 3, 4), (real(rng, 1, 3), -1, 3)], view=True)
add("broadcast_to", lambda rng: [(real(rng, 3, 1), (2, 3, 4))], view=True)
add("broadcast_tensors", lambda rng: [(real(rng, 3, 1), real(rng, 4))], view=True)
add("Tensor.repeat", lambda rng: [(real(rng, 2, 3), 2, 2), (real(rng, 2), 3, 1, 2)])
add("tile", lambda rng: [(real(rng, 2, 3), (2,)), (real(rng, 2), (3, 1, 2))])
add(
    "repeat_interleave",
    lambda rng: [(real(rng, 2, 3), 2), (real(rng, 2, 3), np.array([1, 0, 2]), 1)],
)
add("flip", lambda rng: [(real(rng, 2, 3), (0,)), (real(rng, 2, 3), (0, 1))])
add("fliplr flipud", lambda rng: [(real(rng, 2, 3),)])
add("roll", lambda rng: [(real(rng, 2, 3), 1), (real(rng, 2, 3), (1, -1), (0, 1))])
add("rot90", lambda rng: [(real(rng, 2, 3),), (real(rng, 2, 3, 2), 2, (0, 2))])
add("select", lambda rng: [(real(rng, 2, 3), 1, 2), (real(rng, 2, 3), 0, -1)], view=True)
add("narrow", lambda rng: [(real(rng, 2, 5), 1, 1, 3), (real(rng, 2, 5), -1, -2, 2)], view=True)
add(
    "diagonal",
    lambda rng: [(real(rng, 3, 4),), (real(rng, 3, 4), 1), (real(rng, 2, 3, 4), -1, 1, 2)],
    view=True,
)
add("diag_embed", lambda rng: [(real(rng, 3),), (real(rng, 2, 3), 1)])
add("diag", lambda rng: [(real(rng, 3),), (real(rng, 3, 4), 1)])
add("diagflat", lambda rng: [(real(rng, 2, 2),)])
add("tril triu", lambda rng: [(real(rng, 3, 4),), (real(rng, 2, 3, 3), 1), (real(rng, 3, 3), -1)])
add(
    "atleast_1d atleast_2d atleast_3d",
    lambda rng: [(real(rng),), (real(rng, 2),), (real(rng, 2, 3),)],
)
add("Tensor.unfold", lambda rng: [(real(rng, 7), 0, 3, 2), (real(rng, 2, 5), 1, 2, 1)], view=True)
add(
    "as_strided",
    lambda rng: [(real(rng, 3, 4), (2, 2), (4, 2)), (real(rng, 6), (3, 2), (1, 1), 1)],
    view=True,
)
add("view_as_complex", lambda rng: [(real(rng, 3, 2),)], view=True, dtypes="")
add(
    "view_as_real real imag",
    lambda rng: [(real(rng, 2, 3) + 1j * positive(rng, 3),)],
    differentiable=False,
    view=True,
    dtypes="",
)
add("squeeze unsqueeze", lambda rng: [(real(rng, 1, 2), 0)], view=True)


# ---------------------------------------------------------------- joining and taking apart
def three(rng):
    return [real(rng, 2, 3), real(rng, 2, 3) + 1, real(rng, 2, 3) + 2]


add("cat concat concatenate stack", lambda rng: [(three(rng),), (three(rng), 1), (three(rng), -1)])
add(
    "cat",
    lambda rng: [([real(rng, 2, 3), real(rng, 1, 3)], 0), ([real(rng, 0), real(rng, 2, 3)], 0)],
)
add(
    "hstack vstack dstack column_stack row_stack",
    lambda rng: [(three(rng),), ([real(rng, 3), real(rng, 3)],)],
)
add(
    "split",
    lambda rng: [(real(rng, 5, 2), 2), (real(rng, 5, 2), [1, 4]), (real(rng, 2, 4), 3, 1)],
    view=True,
)
add("chunk tensor_split", lambda rng: [(real(rng, 5, 2), 3), (real(rng, 2, 4), 2, 1)], view=True)
add("tensor_split", lambda rng: [(real(rng, 6, 2), (1, 4))], view=True)
add("unbind", lambda rng: [(real(rng, 3, 2),), (real(rng, 3, 2), 1)], view=True)
add("hsplit vsplit", lambda rng: [(real(rng, 4, 4), 2), (real(rng, 4, 4), [1, 3])], view=True)
add("dsplit", lambda rng: [(real(rng, 2, 2, 4), 2)], view=True)
add(
    "meshgrid",
    lambda rng: [((real(rng, 3), real(rng, 2)), {"indexing": order}) for order in ("ij", "xy")],
)
add("cartesian_prod block_diag", lambda rng: [(real(rng, 3), real(rng, 2))])
add("combinations", lambda rng: [(real(rng, 4),), (real(rng, 3), 2, True)])
