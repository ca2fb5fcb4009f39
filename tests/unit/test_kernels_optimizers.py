"""Steps of optimizers by generated code: the same bits as with NumPy."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
from danlu import optim
from danlu.kernels import optimizers as kernels
from danlu.kernels.codegen.target import named
from danlu.kernels.generated import optimizers as generated
from danlu.kernels.runtime import launch, machine, pool, road
from danlu.optim._bundles import FusedBundle
from tests.unit.guarded import guarded


@pytest.fixture(autouse=True)
def threads():
    if road.reason() is not None:
        pytest.skip(road.reason())
    before = pool.thread_count()
    yield
    pool.ensure().resize(before)


CASES = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1, "maximize": True}),
    (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (optim.Adam, {"lr": 0.1}),
    (optim.Adam, {"weight_decay": 0.1, "amsgrad": True}),
    (optim.Adam, {"betas": (0.3, 0.9), "maximize": True, "eps": 1}),
    (optim.AdamW, {"lr": 0.1}),
    (optim.AdamW, {"amsgrad": True, "maximize": True}),
    (optim.Adagrad, {"lr": 0.1}),
    (optim.Adagrad, {"lr_decay": 0.1, "weight_decay": 0.2, "maximize": True}),
    (optim.RMSprop, {"lr": 0.1}),
    (optim.RMSprop, {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.RMSprop, {"centered": True, "alpha": 0.2, "maximize": True}),
]
SHAPES = [(3, 5), (), (7,), (1,), (0, 4), (129, 257), (40_001,)]


def parameters(shapes, draw):
    return [
        danlu.nn.Parameter(danlu.tensor(draw.standard_normal(shape).astype(np.float32)))
        for shape in shapes
    ]


def train(roads, make, options, shapes=SHAPES, gradient=None):
    """Parameters and optimizer after one step on each of the roads."""
    draw = np.random.default_rng(0)
    params = parameters(shapes, draw)
    optimizer = make(params, **options)
    for name in roads:
        for param in params:
            grad = draw.standard_normal(param.shape).astype(np.float32)
            param.grad = danlu.tensor(grad if gradient is None else gradient(grad))
        with road.forced(name):
            optimizer.step()
    return params, optimizer


def bits(params, optimizer):
    """Everything that a step changes."""
    arrays = [param.detach().numpy() for param in params]
    for param in params:
        entry = optimizer.state.get(param, {})
        arrays += [entry[name].numpy() for name in sorted(entry)]
    return arrays


def assert_same(one, other):
    for a, b in zip(bits(*one), bits(*other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def plans(optimizer):
    return {type(bundle) for _, bundles, _ in optimizer._plans.values() for bundle in bundles}


@pytest.mark.parametrize(("make", "options"), CASES)
def test_both_roads_give_the_same_bits(make, options):
    reference = train(["numpy"] * 6, make, options)
    native = train(["native"] * 6, make, options)
    assert plans(native[1]) == {FusedBundle}
    assert_same(native, reference)
    assert_same(train(["numpy", "native", "native", "numpy", "native", "numpy"], make, options),
                reference)  # fmt: skip
    assert native[1].state_dict()["state"].keys() == reference[1].state_dict()["state"].keys()
    assert [param._version for param in native[0]] == [param._version for param in reference[0]]


@pytest.mark.parametrize(("make", "options"), [CASES[4], CASES[6], CASES[11], CASES[13]])
def test_values_that_are_not_finite(make, options):
    def gradient(grad):
        flat = np.resize(np.float32([np.nan, np.inf, -np.inf, 0, 1e-42, 3e38]), grad.size)
        return np.where(grad.reshape(-1) > 0, flat, grad.reshape(-1)).reshape(grad.shape)

    with np.errstate(all="ignore"):
        assert_same(
            train(["native"] * 4, make, options, gradient=gradient),
            train(["numpy"] * 4, make, options, gradient=gradient),
        )


@pytest.mark.parametrize(("make", "options"), [CASES[3], CASES[5]])
def test_any_number_of_threads_gives_the_same_bits(make, options):
    results = []
    for number in (1, 2, 5):
        pool.ensure().resize(number)
        results.append(train(["native"] * 3, make, options, [(200_001,), (300, 301), (5,)]))
    for result in results[1:]:
        assert_same(result, results[0])


def rules():
    """Every rule with all its options on, and all off."""
    for name, rule in generated.RULES.items():
        number = rule.__code__.co_argcount
        for setting in (False, True):
            yield name, (setting,) * number


@pytest.mark.parametrize(("name", "options"), list(rules()))
@pytest.mark.parametrize("end", [True, False])
def test_nothing_outside_the_arrays_is_touched(name, options, end):
    rule = generated.RULES[name](*options)
    kernel = launch.kernel((name, *options), lambda: generated.text(rule))
    for size in (1, 7, 8, 9, 31, 1025, 33_000):
        draw = np.random.default_rng(size)
        param, grad, *states = (
            guarded(draw.random(size, np.float32), end) for _ in range(2 + len(rule.states))
        )
        (table,) = kernels.tables([param], [states])
        before = param.copy()
        kernel.call(table.tasks, table.starts, table.pieces, *[0.5] * len(rule.scalars), grad)
        assert (param != before).all()


@pytest.mark.parametrize(
    "target",
    [
        named("x86_64-unknown-linux-gnu", "skylake-avx512"),
        named("x86_64-unknown-linux-gnu", "x86-64"),
        named("aarch64-unknown-linux-gnu", "neoverse-n1"),
    ],
    ids=lambda target: target.cpu,
)
def test_other_machines(target):
    for name, options in rules():
        text = generated.text(generated.RULES[name](*options), target)
        assert f"<{target.float_lanes} x float>" in text
        assert machine.emit_object(text, target)


def test_a_table_cuts_by_size_alone():
    sizes = (10, 0, 3 * kernels.TASK + 1, 20, kernels.TASK)
    arrays = [np.zeros(size, np.float32) for size in sizes]
    (table,) = kernels.tables(arrays, [[] for _ in arrays])
    rows = table.pieces.reshape(-1, len(generated.COLUMNS))
    covered = [np.zeros(size, int) for size in sizes]
    for number, start, count, address in rows:
        covered[number][start : start + count] += 1
        assert address == arrays[number].ctypes.data + 4 * start
    assert all((each == 1).all() for each in covered)
    work = [rows[a:b, 2].sum() for a, b in zip(table.starts, table.starts[1:], strict=False)]
    assert len(work) == table.tasks and 0 < min(work) and max(work) <= kernels.TASK


def test_more_parameters_than_a_call_takes():
    shapes = [(3,)] * 600
    native = train(["native"] * 2, optim.Adam, {}, shapes)
    ((_, (bundle,), _),) = native[1]._plans.values()
    assert len(bundle.tables) == 3
    assert_same(native, train(["numpy"] * 2, optim.Adam, {}, shapes))


def test_gradients_and_parameters_of_other_layouts():
    def run(name):
        draw = np.random.default_rng(0)
        params = parameters([(30, 40), (50,)], draw)
        params.append(danlu.nn.Parameter(danlu.rand(20, 30, dtype=danlu.float64)))
        params.append(danlu.nn.Parameter(danlu.tensor(draw.random((6, 5), np.float32)).T))
        base = danlu.tensor(draw.random(12).astype(np.float32))
        params += [base[:8].requires_grad_(), base[4:].requires_grad_()]
        optimizer = optim.Adam(params, lr=0.1)
        with road.forced(name), danlu.no_grad():
            for _ in range(3):
                for param in params:
                    # transposed, and every second of an array
                    wide = danlu.tensor(draw.random((*param.shape[::-1], 2))).to(param.dtype)
                    param.grad = wide[..., 0].T if param.ndim == 2 else wide[..., 0]
                optimizer.step()
        return params, optimizer

    danlu.manual_seed(0)
    native = run("native")
    danlu.manual_seed(0)
    reference = run("numpy")
    assert len(plans(native[1])) == 2
    assert_same(native, reference)


def test_a_run_changes_roads_by_itself(monkeypatch):
    monkeypatch.setattr(kernels, "WARM", 5 * (kernels.CALLS + 8))
    monkeypatch.setattr(kernels, "COLD", 5 * (kernels.CALLS + 8))
    found = []
    for steps in (5, 6):
        monkeypatch.setattr(kernels, "_spent", 0)
        found.append(plans(train(["auto"] * steps, optim.Adam, {}, [(8,)])[1]))
    assert FusedBundle not in found[0] and found[1] == {FusedBundle}
    assert_same(
        train(["auto"] * 8, optim.SGD, {"lr": 0.1}, [(8,)]),
        train(["numpy"] * 8, optim.SGD, {"lr": 0.1}, [(8,)]),
    )


def test_options_that_change_and_state_that_is_replaced():
    def run(name):
        draw = np.random.default_rng(0)
        params = parameters([(4, 3), (5,)], draw)
        optimizer = optim.Adam(params, lr=0.1)
        with road.forced(name):
            for turn in range(8):
                for param in params[: 1 if turn == 2 else 2]:
                    param.grad = danlu.tensor(draw.random(param.shape, np.float32))
                if turn == 2:
                    params[1].grad = None
                if turn == 3:
                    optimizer.param_groups[0].update(lr=0.01, weight_decay=0.1, betas=(0.2, 0.8))
                if turn == 4:
                    optimizer.load_state_dict(optimizer.state_dict())
                if turn == 5:
                    optimizer.state[params[0]]["exp_avg"] = danlu.ones(4, 3)
                if turn == 6:
                    params[0].data = danlu.full((4, 3), 2.0)
                if turn == 7:
                    optimizer.param_groups[0]["lr"] = danlu.tensor(0.5)
                optimizer.step()
        return params, optimizer

    assert_same(run("native"), run("numpy"))


def test_a_subclass_with_a_formula_of_its_own():
    class Half(optim.SGD):
        def update(self, group, bundle):
            bundle.param *= 0.5

    param = danlu.nn.Parameter(danlu.ones(3))
    param.grad = danlu.ones(3)
    optimizer = Half([param], lr=0.1, momentum=0.9)
    with road.forced("native"):
        optimizer.step()
    assert param.tolist() == [0.5] * 3


def test_a_gradient_of_another_size():
    param = danlu.nn.Parameter(danlu.ones(5))
    param.grad = danlu.ones(5)
    optimizer = optim.Adam([param], lr=0.1)
    with road.forced("native"):
        optimizer.step()
        param.data = danlu.ones(70)
        optimizer.state.clear()
        with pytest.raises(ValueError, match="broadcast"):
            optimizer.step()
