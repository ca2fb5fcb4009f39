"""Linear algebra against PyTorch where samples.py cannot compare: factors that are unique up to
signs, and errors.
"""

from __future__ import annotations

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")

rng = np.random.default_rng(0)
KINDS = ["float64", "complex128"]


def matrix(kind, *shape):
    made = rng.normal(size=shape)
    return made + 1j * rng.normal(size=shape) if kind.startswith("complex") else made


def hermitian(x):
    return x + x.conj().swapaxes(-1, -2) + np.diag(3.0 * np.arange(x.shape[-1]))


def invariant(m, function, x):
    """A scalar of the factors that does not depend on signs or phases, and its gradient."""
    leaf = m.tensor(x, requires_grad=True)
    value = function(m, leaf)
    value.backward()
    return value.item(), leaf.grad


def weights(m, t):
    return m.arange(t.numel(), dtype=m.float64).sin().reshape(t.shape)


def of_vectors(m, v):
    """|v|^2, element by element weighted: the same for every choice of phases."""
    return ((v * v.conj()).real * weights(m, v)).sum()


def symmetrised(g):
    return g + g.conj().swapaxes(-1, -2)


@pytest.mark.parametrize("kind", KINDS)
def test_eigh_gradient(kind):
    def f(m, a):
        values, vectors = m.linalg.eigh(a)
        return (values**2 * weights(m, values)).sum() + of_vectors(m, vectors)

    x = hermitian(matrix(kind, 4, 4))
    (a, ga), (b, gb) = (invariant(m, f, x) for m in (torch, danlu))
    assert b == pytest.approx(a)
    np.testing.assert_allclose(symmetrised(gb.numpy()), symmetrised(ga.numpy()), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_eig_gradient(kind):
    def f(m, a):
        values, vectors = m.linalg.eig(a)
        return (values.abs() ** 2).sum() + ((vectors * vectors.conj()).real ** 2).sum()

    x = matrix(kind, 4, 4)
    (a, ga), (b, gb) = (invariant(m, f, x) for m in (torch, danlu))
    assert b == pytest.approx(a)
    np.testing.assert_allclose(gb.numpy(), ga.numpy(), atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3), (2, 4, 3)])
@pytest.mark.parametrize("full", [False, True])
def test_svd_gradient(kind, shape, full):
    def f(m, a):
        u, s, vh = m.linalg.svd(a, full_matrices=full)
        k = s.shape[-1]
        return (
            (s**2 * weights(m, s)).sum() + of_vectors(m, u[..., :k]) + of_vectors(m, vh[..., :k, :])
        )

    x = matrix(kind, *shape)
    (a, ga), (b, gb) = (invariant(m, f, x) for m in (torch, danlu))
    assert b == pytest.approx(a)
    np.testing.assert_allclose(gb.numpy(), ga.numpy(), atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("shape", "mode"),
    [((4, 3), "reduced"), ((3, 4), "reduced"), ((3, 3), "complete"), ((3, 5), "complete")],
)
def test_qr_gradient(kind, shape, mode):
    def f(m, a):
        q, r = m.linalg.qr(a, mode)
        return of_vectors(m, q) + of_vectors(m, r)

    x = matrix(kind, *shape)
    (a, ga), (b, gb) = (invariant(m, f, x) for m in (torch, danlu))
    assert b == pytest.approx(a)
    np.testing.assert_allclose(gb.numpy(), ga.numpy(), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["inv", "det", "matrix_exp", "cholesky", "pinv", "slogdet", "lu", "lu_factor"]
)
def test_complex_and_real_gradients(kind, name):
    def f(m, a):
        if name == "cholesky":
            a = a @ a.mH + 3 * m.eye(3, dtype=a.dtype)
        found = getattr(m.linalg, name)(a)
        found = [found] if hasattr(found, "dtype") else [t for t in found if t.requires_grad]
        total = 0
        for t in found:
            part = t * weights(m, t)
            total = total + (
                part.real.sum() + 0.7 * part.imag.sum() if t.is_complex() else part.sum()
            )
        return total

    x = matrix(kind, 3, 3)
    (a, ga), (b, gb) = (invariant(m, f, x) for m in (torch, danlu))
    assert b == pytest.approx(a)
    np.testing.assert_allclose(gb.numpy(), ga.numpy(), atol=1e-9)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3), (2, 3, 3), (0, 3), (3, 0)])
def test_factors_rebuild_the_matrix(shape):
    x = danlu.tensor(matrix("float64", *shape))
    u, s, vh = danlu.linalg.svd(x, full_matrices=False)
    q, r = danlu.linalg.qr(x)
    p, lower, upper = danlu.linalg.lu(x)
    for rebuilt in ((u * s.unsqueeze(-2)) @ vh, q @ r, p @ lower @ upper):
        np.testing.assert_allclose(rebuilt.numpy(), x.numpy(), atol=1e-12)


def test_solvers_on_factors():
    a, b = (danlu.tensor(matrix("complex128", *s)) for s in ((2, 3, 3), (2, 3, 2)))
    expected = danlu.linalg.solve(a, b)
    factors = danlu.linalg.lu_factor(a)
    np.testing.assert_allclose(
        danlu.linalg.lu_solve(*factors, b).numpy(), expected.numpy(), atol=1e-10
    )
    again = danlu.linalg.lu_solve(*factors, b, adjoint=True)
    np.testing.assert_allclose((a.mH @ again).numpy(), b.numpy(), atol=1e-10)
    left = danlu.linalg.lu_solve(*factors, b.mT, left=False)
    np.testing.assert_allclose((left @ a).numpy(), b.mT.numpy(), atol=1e-10)


def test_ldl():
    pytest.importorskip("scipy")
    x = hermitian(matrix("float64", 4, 4))
    b = matrix("float64", 4, 2)
    results = []
    for m in (torch, danlu):
        factors = m.linalg.ldl_factor(m.tensor(x))
        results.append((*factors, m.linalg.ldl_solve(*factors, m.tensor(b))))
    for expected, got in zip(*results):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-12)


# ---------------------------------------------------------------- errors
SINGULAR = [[1.0, 1.0], [1.0, 1.0]]
ERRORS = {
    "inv of singular": lambda m: m.linalg.inv(m.tensor(SINGULAR)),
    "inv of a singular one in a batch": lambda m: m.linalg.inv(
        m.stack([m.eye(2), m.tensor(SINGULAR)])
    ),
    "inv of a vector": lambda m: m.linalg.inv(m.ones(2)),
    "inv of a rectangle": lambda m: m.linalg.inv(m.ones(2, 3)),
    "inv of integers": lambda m: m.linalg.inv(m.ones(2, 2, dtype=m.int64)),
    "inv of halves": lambda m: m.linalg.inv(m.ones(2, 2, dtype=m.float16)),
    "solve of singular": lambda m: m.linalg.solve(m.tensor(SINGULAR), m.ones(2)),
    "solve of shapes that do not fit": lambda m: m.linalg.solve(m.eye(2), m.ones(3, 2)),
    "cholesky of indefinite": lambda m: m.linalg.cholesky(-m.eye(2)),
    "cholesky of one in a batch": lambda m: m.linalg.cholesky(m.stack([m.eye(2), -m.eye(2)])),
    "eigh of another triangle": lambda m: m.linalg.eigh(m.eye(2), "X"),
    "eig of NaN": lambda m: m.linalg.eig(m.full((2, 2), float("nan"))),
    "svd of NaN": lambda m: m.linalg.svd(m.full((2, 2), float("nan"))),
    "svd of a vector": lambda m: m.linalg.svd(m.ones(2)),
    "qr of another mode": lambda m: m.linalg.qr(m.eye(2), "x"),
    "qr backward of mode r": lambda m: (
        m.linalg.qr(m.eye(2).requires_grad_(), "r")[1].sum().backward()
    ),
    "qr backward of a tall complete one": lambda m: (
        m.linalg.qr(m.eye(3, 2).requires_grad_(), "complete")[0].sum().backward()
    ),
    "norm of an empty maximum": lambda m: m.linalg.vector_norm(m.zeros(0), float("inf")),
    "norm of integers": lambda m: m.linalg.vector_norm(m.ones(2, dtype=m.int64)),
    "norm of another kind": lambda m: m.linalg.matrix_norm(m.eye(2), 3),
    "norm of a vector as matrix": lambda m: m.linalg.matrix_norm(m.ones(3)),
    "norm of three dimensions": lambda m: m.linalg.norm(m.ones(2, 3, 4), 2, (0, 1, 2)),
    "cond of another norm": lambda m: m.linalg.cond(m.eye(2), "x"),
    "cross of two elements": lambda m: m.linalg.cross(m.ones(2), m.ones(2)),
    "one matrix": lambda m: m.linalg.multi_dot([m.eye(2)]),
    "power of a rectangle": lambda m: m.linalg.matrix_power(m.ones(2, 3), 2),
    "negative power of singular": lambda m: m.linalg.matrix_power(m.tensor(SINGULAR), -1),
    "lu without pivots": lambda m: m.linalg.lu(m.eye(2), pivot=False),
    "lu factor of singular": lambda m: m.linalg.lu_factor(m.tensor(SINGULAR)),
    "lstsq driver": lambda m: m.linalg.lstsq(m.eye(2), m.eye(2), driver="x"),
    "cdist of columns": lambda m: m.cdist(m.ones(2, 3), m.ones(2, 2)),
    "fft of no points": lambda m: m.fft.fft(m.ones(3), 0),
    "fft of another norm": lambda m: m.fft.fft(m.ones(3), norm="x"),
    "fft of a number": lambda m: m.fft.fft(m.tensor(1.0)),
    "fft of another dimension": lambda m: m.fft.fft(m.ones(3), dim=2),
    "rfft of complex": lambda m: m.fft.rfft(m.ones(3) * 1j),
    "fft of halves": lambda m: m.fft.fft(m.ones(3, dtype=m.float16)),
    "fftn along one twice": lambda m: m.fft.fftn(m.ones(3, 3), dim=(0, 0)),
    "fftn of sizes without dims": lambda m: m.fft.fftn(m.ones(3), s=(1, 2)),
    "irfft of one": lambda m: m.fft.irfft(m.ones(1)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    with pytest.raises((RuntimeError, IndexError)) as expected:
        ERRORS[name](torch)
    with pytest.raises((RuntimeError, IndexError)) as got:
        ERRORS[name](danlu)
    kinds = [m.linalg.LinAlgError for m in (torch, danlu)]
    assert isinstance(got.value, IndexError) == isinstance(expected.value, IndexError)
    assert isinstance(got.value, kinds[1]) == isinstance(expected.value, kinds[0])


def test_singular_matrices_raise_linalg_errors():
    for name in ("inv of singular", "solve of singular", "cholesky of indefinite", "svd of NaN"):
        with pytest.raises(danlu.linalg.LinAlgError) as got:
            ERRORS[name](danlu)
        with pytest.raises(torch.linalg.LinAlgError) as expected:
            ERRORS[name](torch)
        assert str(got.value)[:40] == str(expected.value)[:40]
