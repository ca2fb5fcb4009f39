"""nn.utils against PyTorch: clipping, vectors, normalizations, parametrizations, fusion."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")

BOTH = (torch, danlu)


def parameters(lib):
    made = []
    for i, shape in enumerate([(3, 2), (4,), (2, 2, 2)]):
        parameter = lib.nn.Parameter(lib.ones(*shape))
        values = np.random.default_rng(i).normal(size=shape).astype(np.float32)
        parameter.grad = lib.tensor(values)
        made.append(parameter)
    made.append(lib.nn.Parameter(lib.ones(1)))
    return made


def same(function, **tolerance):
    expected, found = (function(lib) for lib in BOTH)
    tolerance = {"rtol": 1e-5, "atol": 1e-6, **tolerance}
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert str(ours.dtype) == str(theirs.dtype)
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), **tolerance)


@pytest.mark.parametrize("norm_type", [2, 2.0, 1, float("inf"), 3.5, 0])
@pytest.mark.parametrize("max_norm", [0.7, 100.0])
def test_clip_grad_norm(norm_type, max_norm):
    def clip(lib):
        made = parameters(lib)
        total = lib.nn.utils.clip_grad_norm_(iter(made), max_norm, norm_type)
        return [total, *(p.grad for p in made[:-1])]

    same(clip)


def test_clip_grad_norm_of_one_tensor_and_of_nothing():
    def clip(lib):
        parameter = parameters(lib)[0]
        return [
            lib.nn.utils.clip_grad_norm_(parameter, 0.5),
            parameter.grad,
            lib.nn.utils.clip_grad_norm_([], 1.0),
            lib.nn.utils.get_total_norm([parameter.grad]),
        ]

    same(clip)


def test_clip_grad_value():
    def clip(lib):
        made = parameters(lib)
        lib.nn.utils.clip_grad_value_(made, 0.3)
        return [p.grad for p in made[:-1]]

    same(clip)


def test_non_finite_norm():
    for lib in BOTH:
        parameter = parameters(lib)[0]
        parameter.grad[0] = float("nan")
        with pytest.raises(RuntimeError, match=r"The total norm of order 2\.0 for gradients"):
            lib.nn.utils.clip_grad_norm_(parameter, 1.0, error_if_nonfinite=True)
        assert lib.nn.utils.clip_grad_norm_(parameter, 1.0).isnan()


def test_vectors():
    def roundtrip(lib):
        made = parameters(lib)
        vector = lib.nn.utils.parameters_to_vector(made)
        lib.nn.utils.vector_to_parameters(lib.arange(19, dtype=lib.float32), made)
        return [vector, *made]

    same(roundtrip)
    with pytest.raises(TypeError):
        danlu.nn.utils.vector_to_parameters([1.0], parameters(danlu))


def layer(lib, *shape):
    lib.manual_seed(1)
    made = lib.nn.Linear(*(shape or (4, 3)))
    with lib.no_grad():
        made.weight.copy_(
            lib.arange(made.weight.numel(), dtype=lib.float32).reshape(made.weight.shape) % 5 - 1
        )
    return made


def trained(lib, made, steps=2):
    """A few steps of descent, then the weight: the parametrization's gradient is in it."""
    x = lib.arange(8, dtype=lib.float32).reshape(2, 4) / 8
    for _ in range(steps):
        made.zero_grad()
        (made(x) ** 2).sum().backward()
        with lib.no_grad():
            for parameter in made.parameters():
                parameter.sub_(parameter.grad * 0.05)
    return [made(x), made.weight, *made.parameters(), *made.buffers()]


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    same(lambda lib: trained(lib, lib.nn.utils.parametrizations.weight_norm(layer(lib), dim=dim)))


@pytest.mark.filterwarnings("ignore")
def test_old_weight_norm():
    same(lambda lib: trained(lib, lib.nn.utils.weight_norm(layer(lib))))

    def removed(lib):
        made = lib.nn.utils.remove_weight_norm(lib.nn.utils.weight_norm(layer(lib)))
        return [made.weight, *made.parameters()]

    same(removed)


def test_weight_norm_reads_old_states():
    old = {"bias": danlu.zeros(3), "weight_g": danlu.ones(3, 1), "weight_v": danlu.ones(3, 4)}
    made = danlu.nn.utils.parametrizations.weight_norm(layer(danlu))
    made.load_state_dict(old)
    assert made.weight[0, 0].item() == pytest.approx(0.5)


def test_spectral_norm():
    same(
        lambda lib: trained(lib, lib.nn.utils.parametrizations.spectral_norm(layer(lib))),
        rtol=1e-3, atol=1e-4,
    )  # fmt: skip
    same(lambda lib: trained(lib, lib.nn.utils.spectral_norm(layer(lib))), rtol=1e-3, atol=1e-4)


def test_remove_spectral_norm():
    def removed(lib):
        made = lib.nn.utils.spectral_norm(layer(lib), n_power_iterations=30)
        made(lib.ones(1, 4))
        return [lib.nn.utils.remove_spectral_norm(made).weight]

    same(removed, rtol=1e-3)


@pytest.mark.parametrize("map_name", ["cayley", "matrix_exp", "householder"])
@pytest.mark.parametrize("shape", [(4, 4), (4, 3), (4, 6)])
def test_orthogonal(map_name, shape):
    for lib in BOTH:
        made = lib.nn.utils.parametrizations.orthogonal(layer(lib, *shape), orthogonal_map=map_name)
        weight = made.weight.detach()
        small = weight if weight.shape[0] <= weight.shape[1] else weight.T
        assert lib.allclose(small @ small.T, lib.eye(small.shape[0]), atol=1e-4)


@pytest.mark.parametrize("map_name", ["cayley", "matrix_exp", "householder"])
def test_orthogonal_without_a_base_has_pytorchs_values_and_gradients(map_name):
    def run(lib):
        made = lib.nn.utils.parametrizations.orthogonal(
            layer(lib, 4, 4), orthogonal_map=map_name, use_trivialization=False
        )
        return trained(lib, made)

    same(run, rtol=1e-3, atol=1e-4)


class Steps:
    """The same parametrizations for both libraries."""

    def __init__(self, lib):
        class Symmetric(lib.nn.Module):
            def forward(self, x):
                return x.triu() + x.triu(1).T

            def right_inverse(self, x):
                return x.triu()

        class Double(lib.nn.Module):
            def forward(self, x):
                return x * 2

        self.symmetric = Symmetric()
        self.double = Double()


def test_parametrize():
    def run(lib):
        parametrize, steps = lib.nn.utils.parametrize, Steps(lib)
        made = parametrize.register_parametrization(layer(lib, 4, 4), "weight", steps.symmetric)
        parametrize.register_parametrization(made, "weight", steps.double)
        assert parametrize.is_parametrized(made, "weight")
        assert not parametrize.is_parametrized(made, "bias")
        assert parametrize.type_before_parametrizations(made) is lib.nn.Linear
        assert list(made.state_dict()) == ["bias", "parametrizations.weight.original"]
        assert type(made).__name__ == "ParametrizedLinear"
        copied = copy.deepcopy(made)
        with parametrize.cached():
            assert made.weight is made.weight
        results = [*trained(lib, made), copied.weight]
        parametrize.remove_parametrizations(made, "weight")
        assert type(made) is lib.nn.Linear
        return [*results, made.weight]

    same(run)


def test_parametrize_repr():
    found = []
    for lib in BOTH:
        made = lib.nn.utils.parametrizations.weight_norm(layer(lib))
        found.append(repr(made))
    assert found[0] == found[1]


def test_assigning_a_parametrized_tensor():
    def run(lib):
        made = lib.nn.utils.parametrize.register_parametrization(
            layer(lib, 4, 4), "weight", Steps(lib).symmetric
        )
        made.weight = lib.ones(4, 4)
        return [made.weight, made.parametrizations.weight.original]

    same(run)


def test_parametrize_refuses():
    for lib in BOTH:
        parametrize, steps = lib.nn.utils.parametrize, Steps(lib)
        with pytest.raises(ValueError, match="does not have a parameter, a buffer"):
            parametrize.register_parametrization(layer(lib), "colour", steps.double)
        with pytest.raises(ValueError, match="does not have a parametrization on weight"):
            parametrize.remove_parametrizations(layer(lib), "weight")

        class Wrong(lib.nn.Module):
            def forward(self, x):
                return x.reshape(-1)

        with pytest.raises(ValueError, match="may not change the shape of the tensor, unless"):
            parametrize.register_parametrization(layer(lib), "weight", Wrong())
        made = parametrize.register_parametrization(layer(lib), "weight", steps.double)
        with pytest.raises(RuntimeError, match="does not implement right_inverse"):
            made.weight = lib.ones(3, 4)
        with pytest.raises(RuntimeError, match="only supported through state_dict"):
            pickle.dumps(made)


def test_fusion():
    def run(lib):
        linear, norm = layer(lib).eval(), lib.nn.BatchNorm1d(3).eval()
        with lib.no_grad():
            norm.running_mean.copy_(lib.tensor([1.0, 2.0, 3.0]))
            norm.running_var.copy_(lib.tensor([0.5, 2.0, 4.0]))
        fused = lib.nn.utils.fusion.fuse_linear_bn_eval(linear, norm)
        conv = lib.nn.Conv1d(2, 3, 1).eval()
        with lib.no_grad():
            conv.weight.fill_(0.5)
            conv.bias.fill_(0.25)
        fused_conv = lib.nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
        return [fused.weight, fused.bias, fused_conv.weight, fused_conv.bias]

    same(run)


def test_skip_init_draws_nothing():
    for lib in BOTH:
        lib.manual_seed(3)
        expected = lib.rand(2).tolist()
        lib.manual_seed(3)
        made = lib.nn.utils.skip_init(lib.nn.Linear, 2, 3)
        assert lib.rand(2).tolist() == expected
        assert made.weight.shape == (3, 2)
    with pytest.raises(RuntimeError, match="Expected a Module"):
        danlu.nn.utils.skip_init(dict)
