"""The names of linear algebra outside `danlu.linalg`, which is only loaded when one of them is first used."""

from __future__ import annotations

from danlu.tensor import Tensor, publish_method

METHODS = (
    "cholesky", "cholesky_inverse", "cholesky_solve", "cross", "det", "geqrf", "inverse", "logdet", "lu",
    "lu_solve", "matrix_exp", "matrix_power", "norm", "orgqr", "ormqr", "pinverse", "qr", "slogdet", "svd",
    "triangular_solve",
)  # fmt: skip
FUNCTIONS = (
    *METHODS, "frobenius_norm", "lu_unpack", "matrix_rank", "norm_except_dim", "nuclear_norm", "pca_lowrank",
    "svd_lowrank", "vander",
)  # fmt: skip


def _loading(name):
    def method(self, *args, **kwargs):
        from danlu import linalg  # noqa: F401 - publishes the real methods over these

        return getattr(Tensor, name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"See `danlu.{name}`."
    return method


for _name in METHODS:
    publish_method(_name, _loading(_name))
