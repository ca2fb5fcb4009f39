"""nn.init against PyTorch: the same seed gives the same weights."""

from __future__ import annotations

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")

# One unit in the last place is allowed, and what a longer computation makes of it.
CLOSE = {"rtol": 1e-6, "atol": 1e-7}

DRAWS = {
    "uniform": ("uniform_", (7, 5), (-2.0, 3.0), {}),
    "normal": ("normal_", (7, 5), (1.0, 0.5), {}),
    "normal, few": ("normal_", (3,), (0.0, 2.0), {}),
    "truncated": ("trunc_normal_", (40, 5), (), {"std": 0.02, "a": -0.03, "b": 0.03}),
    "truncated far": ("trunc_normal_", (40, 5), (), {"a": 1.5, "b": 3.0}),
    "truncated default": ("trunc_normal_", (64,), (), {}),
    "constant": ("constant_", (2, 3), (0.3,), {}),
    "ones": ("ones_", (2, 3), (), {}),
    "zeros": ("zeros_", (2, 3), (), {}),
    "eye": ("eye_", (3, 5), (), {}),
    "dirac 1d": ("dirac_", (4, 3, 5), (), {}),
    "dirac 2d": ("dirac_", (6, 2, 3, 4), (3,), {}),
    "dirac 3d": ("dirac_", (2, 3, 3, 3, 2), (), {}),
    "xavier uniform": ("xavier_uniform_", (6, 4, 3), (2.0,), {}),
    "xavier normal": ("xavier_normal_", (6, 4), (), {}),
    "kaiming uniform": ("kaiming_uniform_", (6, 4, 3, 3), (), {"a": 5**0.5}),
    "kaiming uniform relu": ("kaiming_uniform_", (6, 4), (), {"nonlinearity": "relu"}),
    "kaiming normal": ("kaiming_normal_", (6, 4), (), {"mode": "fan_out"}),
    "orthogonal tall": ("orthogonal_", (7, 4), (), {}),
    "orthogonal wide": ("orthogonal_", (4, 3, 2), (), {"gain": 1.5}),
    "sparse": ("sparse_", (10, 6), (0.3,), {"std": 0.5}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DRAWS)
def test_same_values(name, dtype):
    function, shape, arguments, options = DRAWS[name]
    made = []
    for lib in (torch, danlu):
        lib.manual_seed(7)
        tensor = lib.empty(*shape, dtype=getattr(lib, dtype))
        assert getattr(lib.nn.init, function)(tensor, *arguments, **options) is tensor
        made.append(tensor.numpy())
        made.append(lib.rand(2).numpy())  # the stream stands at the same place afterwards
    close = CLOSE if not name.startswith("orthogonal") else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(made[2], made[0], **close)
    np.testing.assert_array_equal(made[3], made[1])


ERRORS = {
    "one dimension": lambda lib: lib.nn.init.xavier_uniform_(lib.empty(3)),
    "mode": lambda lib: lib.nn.init.kaiming_normal_(lib.empty(3, 3), mode="fan"),
    "nonlinearity": lambda lib: lib.nn.init.calculate_gain("gelu"),
    "slope": lambda lib: lib.nn.init.calculate_gain("leaky_relu", "a"),
    "eye": lambda lib: lib.nn.init.eye_(lib.empty(3)),
    "dirac": lambda lib: lib.nn.init.dirac_(lib.empty(3)),
    "dirac groups": lambda lib: lib.nn.init.dirac_(lib.empty(3, 3, 3), 2),
    "orthogonal": lambda lib: lib.nn.init.orthogonal_(lib.empty(3)),
    "sparse": lambda lib: lib.nn.init.sparse_(lib.empty(3), 0.1),
}


@pytest.mark.parametrize("name", ERRORS)
def test_same_errors(name):
    try:
        ERRORS[name](torch)
    except Exception as error:
        expected = error
    with pytest.raises(type(expected)) as found:
        ERRORS[name](danlu)
    assert str(found.value)[:20] == str(expected)[:20]


def test_generator():
    made = []
    for lib in (torch, danlu):
        generator = lib.Generator().manual_seed(5)
        made.append(lib.nn.init.kaiming_uniform_(lib.empty(5, 4), generator=generator).numpy())
    np.testing.assert_array_equal(made[1], made[0])


@pytest.mark.parametrize("name", torch.nn.init.__all__)
def test_every_public_name_exists(name):
    assert callable(getattr(danlu.nn.init, name))
