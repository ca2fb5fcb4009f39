"""Operators that read and write by position, and products."""

from __future__ import annotations

from math import inf

import numpy as np

from tests.parity.sample_arrays import add, mask, positive, real, whole


# ---------------------------------------------------------------- positions
def along_one(rng):
    return np.array([[0, 2, 1], [1, 0, 2]])


add(
    "gather",
    lambda rng: [
        (real(rng, 2, 4), 1, along_one(rng)),
        (real(rng, 3, 3), 0, along_one(rng)),
        (real(rng), 0, np.array([0])),
    ],
)
add(
    "take_along_dim",
    lambda rng: [(real(rng, 2, 4), along_one(rng), 1), (real(rng, 6), along_one(rng))],
)
add(
    "scatter",
    lambda rng: [
        (real(rng, 2, 4), 1, along_one(rng), real(rng, 2, 3)),
        (real(rng, 3, 3), 0, along_one(rng), 2.5),
        (real(rng), 0, np.array([0]), real(rng, 1)),
    ],
)
add(
    "scatter_add",
    lambda rng: [
        (real(rng, 2, 4), 1, np.array([[0, 0, 1]]), real(rng, 1, 3)),
        (real(rng), 0, np.array(0), real(rng)),
    ],
)
add(
    "scatter_reduce",
    lambda rng: [
        (
            (real(rng, 3, 4), 1, np.array([[0, 0, 1], [2, 2, 2]]), real(rng, 2, 3) + 0.01, kind),
            {"include_self": own},
        )
        for kind in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
    ],
    second=False,
)
add(
    "index_select",
    lambda rng: [(real(rng, 3, 4), 0, np.array([2, 0, 2])), (real(rng, 3, 4), 1, np.array([1]))],
)
add("index_add index_copy", lambda rng: [(real(rng, 3, 4), 0, np.array([2, 0]), real(rng, 2, 4))])
add("index_fill", lambda rng: [(real(rng, 3, 4), 1, np.array([2, 0]), 2.5)])
add(
    "index_reduce",
    lambda rng: [
        (real(rng, 3, 4), 0, np.array([2, 0, 0]), real(rng, 3, 4), kind)
        for kind in ("prod", "mean", "amax", "amin")
    ],
    second=False,
)
add(
    "index_put",
    lambda rng: [
        (real(rng, 3, 4), (np.array([0, 2]), np.array([1, 1])), real(rng, 2)),
        (real(rng, 3, 4), (np.array([0, 0]),), real(rng, 4), True),
    ],
)
add("take", lambda rng: [(real(rng, 3, 4), np.array([[0, 11], [5, 5]]))])
add("put", lambda rng: [(real(rng, 3, 4), np.array([0, 11]), real(rng, 2))], dtypes="ib")
add(
    "masked_fill",
    lambda rng: [(real(rng, 2, 3), mask(rng, 2, 3), 2.5), (real(rng, 2, 3), mask(rng, 3), -inf)],
    dtypes="h",
)
add(
    "masked_select",
    lambda rng: [(real(rng, 2, 3), mask(rng, 2, 3)), (real(rng, 2, 1), mask(rng, 3))],
)
add("masked_scatter", lambda rng: [(real(rng, 2, 3), mask(rng, 2, 3), real(rng, 6))])
add("select_scatter", lambda rng: [(real(rng, 2, 3), real(rng, 3), 0, 1)])
add(
    "slice_scatter",
    lambda rng: [((real(rng, 4, 3), real(rng, 2, 3)), {"start": 0, "end": 4, "step": 2})],
)
add(
    "diagonal_scatter",
    lambda rng: [(real(rng, 3, 3), real(rng, 3)), (real(rng, 3, 3), real(rng, 2), 1)],
)
add("nonzero argwhere", lambda rng: [(whole(rng, 3, 4),), (mask(rng, 5),)], differentiable=False)
add("sort", lambda rng: [(real(rng, 3, 4),), (real(rng, 3, 4), 0, True), (real(rng),)])
add("argsort msort", lambda rng: [(real(rng, 5),), (real(rng, 3, 4),)], differentiable=False)
add("topk", lambda rng: [(real(rng, 3, 5), 2), (real(rng, 5), 3, 0, False)], dtypes="h")
add("kthvalue", lambda rng: [(real(rng, 3, 5), 2), (real(rng, 5), 4, 0, True)], dtypes="h")
add(
    "unique unique_consecutive",
    lambda rng: [
        ((whole(rng, 8),), {"return_inverse": True, "return_counts": True}),
        ((whole(rng, 3, 2, high=-2),), {"dim": 0}),
    ],
    differentiable=False,
)
add(
    "bincount",
    lambda rng: [(whole(rng, 6, low=0),), (whole(rng, 6, low=0), positive(rng, 6), 9)],
    differentiable=False,
    dtypes="",
)
add(
    "histc",
    lambda rng: [(real(rng, 20), 4), (real(rng, 20), 5, -1, 1)],
    differentiable=False,
    dtypes="",
)
add(
    "histogram",
    lambda rng: [(real(rng, 20), 4), (real(rng, 20), np.array([-1.0, 0, 0.5, 2]))],
    differentiable=False,
    dtypes="",
)
add("isin", lambda rng: [(whole(rng, 6), whole(rng, 2))], differentiable=False)
add(
    "searchsorted",
    lambda rng: [
        (np.array([1.0, 3, 5]), real(rng, 2, 2) * 3),
        ((np.array([[1.0, 3], [2, 4]]), np.array([[3.0], [2]])), {"right": True}),
    ],
    differentiable=False,
)
add("bucketize", lambda rng: [(real(rng, 5), np.array([-1.0, 0, 1]))], differentiable=False)


# ---------------------------------------------------------------- products
add(
    "matmul",
    lambda rng: [
        (real(rng, 2, 3), real(rng, 3, 4)),
        (real(rng, 3), real(rng, 3)),
        (real(rng, 2, 3), real(rng, 3)),
        (real(rng, 3), real(rng, 3, 2)),
        (real(rng, 5, 2, 3), real(rng, 3, 4)),
        (real(rng, 5, 1, 2, 3), real(rng, 2, 3, 4)),
        (real(rng, 2, 0), real(rng, 0, 3)),
    ],
    dtypes="ihc",
)
add("mm", lambda rng: [(real(rng, 2, 3), real(rng, 3, 4))], dtypes="ihc")
add("bmm", lambda rng: [(real(rng, 2, 2, 3), real(rng, 2, 3, 4))], dtypes="ihc")
add("mv", lambda rng: [(real(rng, 2, 3), real(rng, 3))], dtypes="ihc")
add("dot vdot inner", lambda rng: [(real(rng, 3), real(rng, 3))], dtypes="ihc")
add("outer ger", lambda rng: [(real(rng, 3), real(rng, 2))], dtypes="ihc")
add(
    "addmm",
    lambda rng: [
        (real(rng, 2, 4), real(rng, 2, 3), real(rng, 3, 4)),
        ((real(rng, 4), real(rng, 2, 3), real(rng, 3, 4)), {"beta": 0.5, "alpha": 2}),
    ],
    dtypes="h",
)
add("addmv", lambda rng: [(real(rng, 2), real(rng, 2, 3), real(rng, 3))], dtypes="h")
add("addr", lambda rng: [(real(rng, 3, 2), real(rng, 3), real(rng, 2))], dtypes="h")
add(
    "baddbmm",
    lambda rng: [(real(rng, 2, 2, 4), real(rng, 2, 2, 3), real(rng, 2, 3, 4))],
    dtypes="h",
)
add("addbmm", lambda rng: [(real(rng, 2, 4), real(rng, 2, 2, 3), real(rng, 2, 3, 4))], dtypes="h")
add(
    "tensordot",
    lambda rng: [
        ((real(rng, 2, 3, 4), real(rng, 3, 4, 2)), {"dims": 2}),
        ((real(rng, 2, 3), real(rng, 2, 4)), {"dims": ([0], [0])}),
    ],
    dtypes="",
)
add("kron", lambda rng: [(real(rng, 2, 2), real(rng, 3, 2))])
add("chain_matmul", lambda rng: [(real(rng, 2, 3), real(rng, 3, 4), real(rng, 4, 2))], dtypes="")
add(
    "einsum",
    lambda rng: [
        ("ij,jk->ik", real(rng, 2, 3), real(rng, 3, 4)),
        ("ii->i", real(rng, 3, 3)),
        ("...ij->...ji", real(rng, 2, 3, 4)),
        ("ij,ij->", real(rng, 2, 3), real(rng, 2, 3)),
        ("bi,ij,bj->b", real(rng, 2, 3), real(rng, 3, 3), real(rng, 2, 3)),
    ],
    dtypes="",
)
add("cross linalg.cross", lambda rng: [(real(rng, 2, 3), real(rng, 2, 3))], dtypes="i")
