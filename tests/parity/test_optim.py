"""Every optimizer of torch.optim takes the same steps here; checkpoints travel both ways."""

import copy
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.testing._internal.common_optimizers import optim_db  # noqa: E402

import danlu  # noqa: E402

STEPS = 20
IMPLEMENTATIONS = {"foreach", "fused", "capturable", "differentiable"}
SHAPES = [(4, 3), (3,), (3, 2), (2,), ()]


def samples():
    for info in optim_db:
        name = info.optim_cls.__name__
        if name in ("LBFGS", "SparseAdam"):
            continue
        for sample in info.optim_inputs_func(device="cpu"):
            if not IMPLEMENTATIONS & sample.kwargs.keys():
                yield pytest.param(name, sample.kwargs, id=f"{name} {sample.desc}")


def ours(value):
    if isinstance(value, torch.Tensor):
        return danlu.tensor(value.item())
    return tuple(map(ours, value)) if isinstance(value, tuple) else value


def draw(rng, shape, dtype):
    values = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        values = values + 1j * rng.standard_normal(shape)
    return np.array(values, dtype=dtype)


def make(module, name, kwargs, values):
    parameters = [module.nn.Parameter(module.from_numpy(value.copy())) for value in values]
    half = len(parameters) // 2
    groups = [{"params": parameters[:half]}, {"params": parameters[half:], "lr": 0.02}]
    return parameters, getattr(module.optim, name)(groups, **kwargs)


def take_steps(module, parameters, optimizer, gradients):
    trajectory = []
    for step in gradients:
        for parameter, gradient in zip(parameters, step):
            parameter.grad = None if gradient is None else module.from_numpy(gradient.copy())
        optimizer.step()
        trajectory.append([parameter.detach().numpy().copy() for parameter in parameters])
    return trajectory


def gradients_of(rng, values, dtype):
    """Random gradients; some are missing at the beginning, so that step counts differ."""
    return [
        [
            None if step < 8 and (step + number) % 7 == 3 else draw(rng, value.shape, dtype)
            for number, value in enumerate(values)
        ]
        for step in range(STEPS)
    ]


COMPLEX = [
    "SGD",
    "Adam",
    "AdamW",
    "Adagrad",
    "RMSprop",
    "Adadelta",
    "Adamax",
    "NAdam",
    "RAdam",
    "ASGD",
    "Rprop",
]


@pytest.mark.parametrize("name", COMPLEX)
def test_twenty_steps_of_complex_parameters(name):
    compare_twenty_steps(name, {"lr": 0.01}, "complex64")


def test_twenty_steps_in_float64():
    for name in (*COMPLEX, "Adafactor"):
        compare_twenty_steps(name, {}, "float64")


@pytest.mark.parametrize(("name", "kwargs"), list(samples()))
def test_twenty_steps(name, kwargs):
    compare_twenty_steps(name, kwargs, "float32")


def compare_twenty_steps(name, kwargs, dtype):
    rng = np.random.default_rng(0)
    shapes = [shape for shape in SHAPES if len(shape) == 2] if name == "Muon" else SHAPES
    values = [draw(rng, shape, dtype) for shape in shapes]
    gradients = gradients_of(rng, values, dtype)
    expected_of, expected = make(torch, name, kwargs, values)
    own_kwargs = {key: ours(value) for key, value in kwargs.items()}
    got_of, got = make(danlu, name, own_kwargs, values)
    assert repr(got).replace(" dtype=", "") == repr(expected).replace(" dtype=", "")
    steps = take_steps(torch, expected_of, expected, gradients)
    # Newton-Schulz iterations are rounded to bfloat16, by every implementation in its own way.
    tolerance = 4e-3 if name == "Muon" else 32 * np.finfo(dtype).eps
    for one, other in zip(steps, take_steps(danlu, got_of, got, gradients)):
        for a, b in zip(one, other):
            assert b.dtype == a.dtype
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    state, own = expected.state_dict()["state"], got.state_dict()["state"]
    assert state.keys() == own.keys()
    for number in state:
        assert state[number].keys() == own[number].keys()
        for key, value in state[number].items():
            assert str(own[number][key].dtype).split(".")[-1] == str(value.dtype).split(".")[-1]
            assert tuple(own[number][key].shape) == tuple(value.shape)


def carried(state, tensor):
    """A state_dict with the tensors of one side as those of the other."""
    if isinstance(state, dict):
        return {key: carried(value, tensor) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(carried(value, tensor) for value in state)
    return tensor(state.detach().numpy().copy()) if hasattr(state, "detach") else state


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "NAdam", "ASGD", "Rprop", "Adafactor"]
)
def test_a_checkpoint_travels_both_ways(name):
    rng = np.random.default_rng(1)
    values = [draw(rng, shape, "float32") for shape in SHAPES]
    gradients = [[draw(rng, shape, "float32") for shape in SHAPES] for _ in range(10)]
    kwargs = {"momentum": 0.9} if name == "SGD" else {}
    for source, target, tensor in (
        (torch, danlu, danlu.from_numpy),
        (danlu, torch, torch.from_numpy),
    ):
        parameters, optimizer = make(source, name, kwargs, values)
        half = take_steps(source, parameters, optimizer, gradients[:5])[-1]
        state = carried(copy.deepcopy(optimizer.state_dict()), tensor)
        expected = take_steps(source, parameters, optimizer, gradients[5:])
        parameters, optimizer = make(target, name, kwargs, half)
        optimizer.load_state_dict(state)
        for one, other in zip(expected, take_steps(target, parameters, optimizer, gradients[5:])):
            for a, b in zip(one, other):
                np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lbfgs(search, dtype):
    rng = np.random.default_rng(2)
    inputs, targets = draw(rng, (8, 4), dtype), draw(rng, (8, 2), dtype)
    weights = draw(rng, (4, 2), dtype), draw(rng, (2,), dtype)
    runs = []
    for module in (torch, danlu):
        w, b = parameters = [module.nn.Parameter(module.from_numpy(v.copy())) for v in weights]
        x, y = module.from_numpy(inputs), module.from_numpy(targets)
        optimizer = module.optim.LBFGS(parameters, lr=0.5, max_iter=4, line_search_fn=search)

        def closure(x=x, y=y, w=w, b=b, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((x @ w + b - y) ** 2).mean()
            loss.backward()
            return loss

        # Later, differences of nearly equal gradients amplify every rounding.
        losses = [optimizer.step(closure).item() for _ in range(3)]
        entry = optimizer.state_dict()["state"][0]
        runs.append((losses, [p.detach().numpy() for p in parameters], entry))
    (losses, values, state), (own_losses, own_values, own_state) = runs
    tolerance = 1e-2 if dtype == "float32" else 1e-8
    np.testing.assert_allclose(own_losses, losses, rtol=tolerance)
    for a, b in zip(values, own_values):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    assert state.keys() == own_state.keys()
    assert (state["func_evals"], state["n_iter"]) == (own_state["func_evals"], own_state["n_iter"])


WRONG = [
    ("SGD", {"lr": -1.0}), ("SGD", {"momentum": -1.0}), ("SGD", {"weight_decay": -1.0}),
    ("SGD", {"nesterov": True}), ("SGD", {"fused": True, "foreach": True}),
    ("Adam", {"betas": (1.0, 0.9)}), ("Adam", {"betas": (0.9, -0.1)}), ("Adam", {"eps": -1.0}),
    ("Adam", {"fused": True, "differentiable": True}), ("Adagrad", {"lr_decay": -1.0}),
    ("RMSprop", {"alpha": -1.0}), ("Adadelta", {"rho": 1.5}), ("Rprop", {"etas": (1.5, 2.0)}),
    ("Adafactor", {"d": 0.5}), ("Adafactor", {"beta2_decay": 0.1}), ("Muon", {"momentum": -1.0}),
    ("Muon", {"adjust_lr_fn": "other"}), ("SparseAdam", {"lr": 0.0}),
    ("NAdam", {"momentum_decay": -1.0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs"), WRONG)
def test_hyperparameters_out_of_range(name, kwargs):
    raised = []
    for module in (torch, danlu):
        with pytest.raises(Exception) as error:
            getattr(module.optim, name)([module.nn.Parameter(module.zeros(2, 2))], **kwargs)
        raised.append(error.value)
    assert type(raised[1]) is type(raised[0])
    assert str(raised[0]).split(":")[0].split(",")[0].lower() in str(raised[1]).lower()


def mistakes():
    yield "empty", lambda m: m.optim.SGD([], lr=0.1)
    yield "one tensor", lambda m: m.optim.SGD(m.zeros(2), lr=0.1)
    yield "number", lambda m: m.optim.SGD([1.0], lr=0.1)
    yield "set", lambda m: m.optim.SGD([{"params": {m.nn.Parameter(m.zeros(1))}}], lr=0.1)
    yield "non-leaf", lambda m: m.optim.SGD([m.ones(2, requires_grad=True) * 2], lr=0.1)
    yield "no dict", lambda m: m.optim.SGD([m.nn.Parameter(m.zeros(1))], lr=0.1).add_param_group([])
    yield "not 2d", lambda m: m.optim.Muon([m.nn.Parameter(m.zeros(2))])
    yield (
        "groups",
        lambda m: m.optim.LBFGS(
            [{"params": [m.nn.Parameter(m.zeros(1))]}, {"params": [m.nn.Parameter(m.zeros(1))]}]
        ),
    )

    def twice(m):
        p = m.nn.Parameter(m.zeros(1))
        return m.optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)

    yield "twice", twice

    def dense(m):
        p = m.nn.Parameter(m.zeros(1))
        p.grad = m.ones(1)
        m.optim.SparseAdam([p]).step()

    yield "dense gradient", dense

    def other_groups(m):
        a, b = (m.optim.SGD([m.nn.Parameter(m.zeros(1)) for _ in range(n)], lr=0.1) for n in (1, 2))
        a.load_state_dict(b.state_dict())

    yield "other groups", other_groups


@pytest.mark.parametrize("mistake", [pytest.param(f, id=name) for name, f in mistakes()])
def test_mistakes_raise_what_torch_raises(mistake):
    with pytest.raises(Exception) as expected:
        mistake(torch)
    with pytest.raises(type(expected.value)) as got:
        mistake(danlu)
    words = str(expected.value).split(",")[0].split(":")[0].split(" torch.")[0]
    assert str(got.value).startswith(words[:40])


def test_duplicate_parameters_warn():
    for module in (torch, danlu):
        p = module.nn.Parameter(module.zeros(1))
        with pytest.warns(UserWarning, match="duplicate parameters"):
            module.optim.SGD([p, p], lr=0.1)


def test_defaults_equal_torchs():
    for info in optim_db:
        name = info.optim_cls.__name__
        expected, got = (
            getattr(m.optim, name)([m.nn.Parameter(m.zeros(2, 2))]).defaults for m in (torch, danlu)
        )
        assert got == expected, name


def test_named_parameters():
    states = []
    for module in (torch, danlu):
        layer = module.nn.Linear(2, 1)
        optimizer = module.optim.SGD(layer.named_parameters(), lr=0.1)
        states.append(optimizer.state_dict()["param_groups"])
    assert states[0] == states[1]


def test_sgd_in_half_precision():
    for dtype, name in itertools.product(("bfloat16", "float16"), ("SGD", "Adam")):
        ends = []
        for module in (torch, danlu):
            kind = getattr(module, dtype)
            p = module.nn.Parameter(module.tensor([1.0, -2.0, 0.5], dtype=kind))
            optimizer = getattr(module.optim, name)([p], lr=0.1)
            for _ in range(3):
                p.grad = module.tensor([0.5, -0.25, 2.0], dtype=kind)
                optimizer.step()
            ends.append(p.detach().to(module.float32).numpy())
        np.testing.assert_allclose(ends[1], ends[0], rtol=2e-2)
