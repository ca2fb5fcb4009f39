"""Linear algebra and Fourier transforms."""

from __future__ import annotations

from math import inf

import numpy as np

from tests.parity.sample_arrays import add, positive, positive_definite, real, regular, symmetric


# ---------------------------------------------------------------- linear algebra
def squares(draw=regular):
    return lambda rng: [(draw(rng, 3, 3),), (draw(rng, 2, 2, 2),)]


def rectangles(rng):
    return [(real(rng, 4, 3),), (real(rng, 3, 4),), (regular(rng, 3, 3),)]


add(
    "linalg.inv inverse linalg.det det linalg.slogdet slogdet linalg.matrix_exp logdet",
    squares(),
    dtypes="",
)
add("linalg.cholesky cholesky logdet", squares(positive_definite), dtypes="")
add(
    "linalg.solve",
    lambda rng: [
        (regular(rng, 3, 3), real(rng, 3)),
        (regular(rng, 2, 3, 3), real(rng, 3, 2)),
        ((regular(rng, 3, 3), real(rng, 2, 3)), {"left": False}),
    ],
    dtypes="",
)
add(
    "linalg.solve_triangular",
    lambda rng: (
        [
            ((regular(rng, 3, 3), real(rng, 3, 2)), {"upper": upper, "unitriangular": unit})
            for upper in (True, False)
            for unit in (True, False)
        ]
        + [((regular(rng, 3, 3), real(rng, 2, 3)), {"upper": True, "left": False})]
    ),
    dtypes="",
)
add("linalg.qr qr", rectangles, dtypes="", compare="shapes", differentiable=False)
add("linalg.eigh", squares(symmetric), dtypes="", compare="shapes", differentiable=False)
add("linalg.eig", squares(), dtypes="", compare="shapes", differentiable=False)
add("linalg.svd svd", rectangles, dtypes="", compare="shapes", differentiable=False)
add("linalg.svdvals linalg.pinv pinverse", rectangles, dtypes="")
add("linalg.eigvalsh", squares(symmetric), dtypes="", second=False)
add("linalg.lu linalg.lu_factor linalg.lu_factor_ex", rectangles, dtypes="")
add("linalg.inv_ex", squares(), dtypes="")
add("linalg.solve_ex", lambda rng: [(regular(rng, 3, 3), real(rng, 3, 2))], dtypes="")
add("geqrf", rectangles, dtypes="", differentiable=False)
add("linalg.ldl_factor_ex", squares(symmetric), dtypes="", differentiable=False)
add("linalg.matrix_power", lambda rng: [(regular(rng, 3, 3), n) for n in (-2, 0, 1, 3)], dtypes="")
add(
    "linalg.multi_dot", lambda rng: [([real(rng, 2, 3), real(rng, 3, 4), real(rng, 4)],)], dtypes=""
)
add(
    "linalg.vector_norm",
    lambda rng: [
        (real(rng, 3, 4),),
        (real(rng, 3, 4), 3, 1),
        (real(rng, 3, 4), inf, 0),
        (real(rng, 3, 4), -inf, (0, 1), True),
        (real(rng, 4), 0.5),
        (real(rng, 4), 0),
    ],
    dtypes="i",
    tolerance=1e-4,
)
add(
    "linalg.matrix_norm",
    lambda rng: [(regular(rng, 3, 3), kind) for kind in ("fro", "nuc", 1, -1, 2, -2, inf, -inf)],
    dtypes="",
    tolerance=1e-4,
)
add(
    "linalg.norm",
    lambda rng: [
        (real(rng, 3, 4),),
        (real(rng, 3, 4), 2),
        (real(rng, 3), 1),
        (real(rng, 3, 4), "fro", (0, 1), True),
    ],
    dtypes="",
)
add(
    "linalg.cond",
    lambda rng: [(regular(rng, 3, 3), kind) for kind in (None, 1, inf, "fro", -2)],
    dtypes="",
    second=False,
)
add(
    "linalg.matrix_rank",
    lambda rng: [
        (regular(rng, 3, 3),),
        (np.ones((3, 2)),),
        ((np.ones((2, 2)),), {"hermitian": True}),
    ],
    differentiable=False,
    dtypes="",
)
add(
    "linalg.lstsq",
    lambda rng: [
        ((real(rng, 5, 2) ** 2, real(rng, 5, 1)), {"driver": each})
        for each in ("gelsy", "gelsd", "gels")
    ],
    dtypes="",
    second=False,
    tolerance=1e-3,
)
add("linalg.vander", lambda rng: [(real(rng, 3),), ((real(rng, 3),), {"N": 4})], dtypes="i")
add("vander", lambda rng: [(real(rng, 3),), (real(rng, 3), 4, True)], dtypes="i")
add("linalg.vecdot", lambda rng: [(real(rng, 2, 3), real(rng, 2, 3))], dtypes="")
add("linalg.diagonal", lambda rng: [(real(rng, 2, 3, 4),)], view=True)
add(
    "linalg.tensorinv",
    lambda rng: [((regular(rng, 4, 4).reshape(2, 2, 4),), {"ind": 2})],
    dtypes="",
)
add(
    "linalg.tensorsolve",
    lambda rng: [(regular(rng, 4, 4).reshape(2, 2, 4), real(rng, 2, 2))],
    dtypes="",
)
add("linalg.householder_product", lambda rng: [(real(rng, 4, 3), positive(rng, 3))], dtypes="")
add("cholesky_solve", lambda rng: [(real(rng, 3, 2), np.tril(regular(rng, 3, 3)))], dtypes="")
add("cholesky_inverse", lambda rng: [(np.tril(regular(rng, 3, 3)),)], dtypes="", second=False)
add(
    "triangular_solve", lambda rng: [(real(rng, 3, 2), regular(rng, 3, 3))], dtypes="", second=False
)

# ---------------------------------------------------------------- Fourier transforms
add(
    "fft.fft fft.ifft fft.rfft fft.ihfft",
    lambda rng: [(real(rng, 5),), (real(rng, 4), 6), (real(rng, 2, 4), 3, 0, "ortho")],
    dtypes="i",
)
add(
    "fft.irfft fft.hfft",
    lambda rng: [(real(rng, 4),), (real(rng, 4), 5), (real(rng, 2, 4), 6, 1, "forward")],
    dtypes="i",
)
add(
    "fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2 fft.fftn fft.ifftn fft.rfftn fft.irfftn fft.hfftn "
    "fft.ihfftn",
    lambda rng: [(real(rng, 3, 4),), (real(rng, 3, 4), (4, 3))],
    dtypes="",
)
add("fft.fftshift fft.ifftshift", lambda rng: [(real(rng, 5),), (real(rng, 3, 4), 1)], dtypes="i")
add(
    "stft",
    lambda rng: [
        ((real(rng, 16), 4), {"return_complex": True}),
        (
            (real(rng, 2, 16), 4, 2),
            {"return_complex": True, "window": positive(rng, 4), "center": False},
        ),
    ],
    dtypes="",
)
