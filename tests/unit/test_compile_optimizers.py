"""Steps of optimizers in a graph, against the same steps made eagerly."""

from __future__ import annotations

import math

import numpy as np
import pytest

import danlu as torch
from danlu.compiler.optimizers import inline
from danlu.compiler.overlay import NotReady
from danlu.compiler.symbolic import Numbers, Symbols
from danlu.kernels import optimizers as kernels
from danlu.kernels.graph.nodes import Graph, Slot, Unsupported
from danlu.kernels.graph.traced import Traced
from danlu.optim._bundles import JOINT_SIZE, FusedBundle
from danlu.tensor import wrap
from tests.unit.recorded import evaluate

SHAPES = [(4, 3), (3,), (), (65, 64), (2, 1, 2)]  # the fourth is no small one
OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1, "maximize": True}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "dampening": 0.2}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"betas": (0.3, 0.9), "maximize": True}),
    ("AdamW", {}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"weight_decay": 0.1}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("Adadelta", {}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("ASGD", {"t0": 4}),
    ("Rprop", {}),
]

GENERATED = ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop")  # which have eager steps in machine code


class Session:
    """What `inline` needs of a trace."""

    def __init__(self):
        self.graph, self.arguments, self.sources = Graph(), [], []
        self.guards, self._leaves = [], {}
        self.host_calls = []
        self.symbols = Symbols(self.scalar)
        self.names = self.symbols.names

    def _argument(self, sample, source):
        self.arguments.append(sample)
        self.sources.append(source)
        return len(self.arguments) - 1

    def leaf(self, array):
        if id(array) not in self._leaves:
            number = self._argument(array, self.names.of(array, "a"))
            leaf = self.graph.leaf(array, Slot("argument", number))
            self._leaves[id(array)] = Traced(self.graph, leaf)
        return self._leaves[id(array)]

    def scalar(self, value, source):
        number = self._argument(float(value), source)
        node = self.graph.make("scalar", (), np.dtype(np.float64), (), number)
        return Traced(self.graph, node, weak=True)

    def guard(self, expression):
        self.guards.append(expression)


def launched(graph, arguments):
    """The back end for large graphs."""
    from danlu.kernels.graph.plan import plan_graph

    return plan_graph(graph, [], arguments).launch


class Inlined:
    """A trace of one or several steps of an optimizer."""

    def __init__(self, optimizer, steps=1, generated=False):
        self.session = session = Session()
        params = [param for group in optimizer.param_groups for param in group["params"]]
        real = [(param, param._array, param._grad, param._writes[0]) for param in params]
        try:
            for param, array, grad, _ in real:
                if grad is not None:
                    param._grad = wrap(session.leaf(grad._array))
                    param._array = session.leaf(array)
            # the overlay of a trace shows real arrays to those who ask for them
            for _ in range(steps):
                inline(optimizer, session)
        finally:
            self.bumped = [param._writes[0] - before for param, _, _, before in real]
            for param, array, grad, before in real:
                param._array, param._grad, param._writes[0] = array, grad, before
        self._launch = launched(session.graph, session.arguments) if generated else self._evaluate
        guards = " and ".join(dict.fromkeys(session.guards))
        lines = [f"if not ({guards}):", "    return False", *session.symbols.lines(),
                 f"launch({', '.join(session.sources)})", "return True"]  # fmt: skip
        text = "def run():\n" + "".join(f"    {line}\n" for line in lines)
        scope = {**session.names, "launch": self._launch}
        exec(text, scope)
        self.run = scope["run"]

    def _evaluate(self, *arguments):
        evaluate(self.session.graph, [], arguments)


class Compiled:
    """An optimizer whose steps are made by traces, as long as one fits."""

    def __init__(self, optimizer, **options):
        self.optimizer, self.options = optimizer, options
        self.traces = self.runs = 0
        self.inlined = None

    def step(self):
        if self.inlined is not None and self.inlined.run():
            self.runs += 1
            return
        try:
            self.inlined = Inlined(self.optimizer, **self.options)
        except NotReady:
            self.optimizer.step()
            return
        self.traces += 1
        assert self.inlined.run()
        self.runs += 1


def parameters(shapes=SHAPES, dtype=torch.float32):
    torch.manual_seed(1)
    params = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in shapes]
    for param in params:
        param.grad = torch.zeros_like(param)
    return params


def twins(name, options, shapes=SHAPES, dtype=torch.float32):
    """The same optimizer twice, over equal parameters of its own."""
    made = []
    for _ in range(2):
        params = parameters(shapes, dtype)
        made.append((params, getattr(torch.optim, name)(params, **options)))
    return made


def set_gradients(step, *lists):
    """The gradients of a step, in the memory of those before."""
    for params in lists:
        draw = np.random.default_rng(step)
        for param in params:
            if param.grad is not None:
                param.grad._array[...] = draw.standard_normal(param.shape)


def agree(found, expected, rtol=1e-6):
    """Two optimizers over equal parameters, in all that they remember."""
    state, other = found.state_dict(), expected.state_dict()
    assert state["state"].keys() == other["state"].keys()
    for number, entry in other["state"].items():
        assert list(state["state"][number]) == list(entry)
        for name, value in entry.items():
            same = state["state"][number][name]
            assert same.dtype == value.dtype and same.shape == value.shape
            if name == "step":
                assert same.item() == value.item()
            np.testing.assert_allclose(same.numpy(), value.numpy(), rtol, 1e-9, err_msg=name)
    for group, same in zip(expected.param_groups, found.param_groups):
        for param, twin in zip(group["params"], same["params"]):
            np.testing.assert_allclose(twin.detach().numpy(), param.detach().numpy(), rtol, 1e-7)


@pytest.fixture(params=["numpy", "fused"])
def road(request, monkeypatch):
    """Which eager steps come between: those by NumPy, or those by generated code."""
    if request.param == "fused":
        pytest.importorskip("llvmlite")
    monkeypatch.setattr(kernels, "worth", lambda: request.param == "fused")
    return request.param


# ------------------------------------------------------------------------------ the same steps
@pytest.mark.parametrize(
    ("name", "options", "road"),
    [(*each, "numpy") for each in OPTIMIZERS]
    + [(*each, "fused") for each in OPTIMIZERS if each[0] in GENERATED],
    indirect=["road"],
)
def test_steps_are_those_of_eager_code(name, options, road):
    (params, optimizer), (others, eager) = twins(name, options)
    compiled = Compiled(optimizer)
    for step in range(10):
        set_gradients(step, params, others)
        if step in (5, 8):  # a schedule
            for each in (optimizer, eager):
                each.param_groups[0]["lr"] *= 0.5
        eager.step()
        if step in (3, 6):
            optimizer.step()
        else:
            compiled.step()
        agree(optimizer, eager)
    assert compiled.runs >= 5
    if name not in ("RAdam", "ASGD"):  # which decide by the step
        assert compiled.traces <= 2


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "Rprop"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_generated_code_makes_the_steps(name, dtype):
    pytest.importorskip("llvmlite")
    (params, optimizer), (others, eager) = twins(name, {}, dtype=dtype)
    compiled = Compiled(optimizer, generated=True)
    for step in range(6):
        set_gradients(step, params, others)
        eager.step()
        compiled.step()
        agree(optimizer, eager, rtol=3e-6)
    assert compiled.runs >= 5 and compiled.traces == 1


def test_groups_with_rates_of_their_own():
    made = []
    for _ in range(2):
        params = parameters()
        params[1].grad = None
        groups = [{"params": params[:3], "lr": 0.1}, {"params": params[3:], "weight_decay": 0.2}]
        made.append((params, torch.optim.Adam(groups, lr=0.01)))
    (params, optimizer), (others, eager) = made
    compiled = Compiled(optimizer)
    for step in range(5):
        set_gradients(step, params, others)
        for each in (optimizer, eager):
            each.param_groups[1]["lr"] = 0.01 * (step + 1)
        eager.step()
        compiled.step()
        agree(optimizer, eager)
    assert compiled.traces == 1 and compiled.runs == 4


def test_rate_as_a_tensor():
    (params, optimizer), (others, eager) = twins("Adam", {"lr": 0.1})
    for each in (optimizer, eager):
        each.param_groups[0]["lr"] = torch.tensor(0.1)
    compiled = Compiled(optimizer)
    for step in range(5):
        set_gradients(step, params, others)
        eager.step()
        compiled.step()
        for each in (optimizer, eager):
            each.param_groups[0]["lr"].mul_(0.9)
        agree(optimizer, eager)
    assert compiled.traces == 1 and compiled.runs == 4


def test_parameters_that_have_been_counted_apart():
    (params, optimizer), (others, eager) = twins("Adam", {})
    compiled = Compiled(optimizer)
    for step in range(6):
        if step == 0:
            params[0].grad = others[0].grad = None
        if step == 2:
            params[0].grad, others[0].grad = torch.zeros(4, 3), torch.zeros(4, 3)
            compiled.inlined = None
        set_gradients(step, params, others)
        eager.step()
        compiled.step()
        agree(optimizer, eager)
    assert optimizer.state[params[0]]["step"].item() == 4
    assert optimizer.state[params[1]]["step"].item() == 6
    assert compiled.runs == 4 and compiled.traces == 2


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam"])
def test_two_steps_in_one_trace(name):
    (params, optimizer), (others, eager) = twins(name, {})
    set_gradients(0, params, others)
    for each in (optimizer, eager):
        each.step()
    both = Inlined(optimizer, steps=2)
    for step in range(1, 4):
        set_gradients(step, params, others)
        assert both.run()
        for _ in range(2):
            eager.step()
        agree(optimizer, eager)
    assert both.bumped == [2] * len(params)


@pytest.mark.parametrize("generated", [False, True])
def test_strided_and_empty_parameters(generated):
    if generated:
        pytest.importorskip("llvmlite")
    made = []
    for _ in range(2):
        params = parameters([(3, 4), (0, 2), (5,)])
        params[0].data = params[0].data.t()
        params[0].grad = torch.zeros(4, 3)
        made.append((params, torch.optim.Adam(params)))
    (params, optimizer), (others, eager) = made
    compiled = Compiled(optimizer, generated=generated)
    for step in range(4):
        set_gradients(step, params, others)
        eager.step()
        compiled.step()
        agree(optimizer, eager)
    assert compiled.runs == 3 and not params[0].is_contiguous()


def test_small_parameters_are_one_array(road):
    params = parameters()
    optimizer = torch.optim.Adam(params)
    optimizer.step()
    session = Inlined(optimizer).session
    large = [each for each in session.arguments if np.size(each) > JOINT_SIZE]
    # of the large parameter, itself, its gradient and its two averages
    assert len(large) == 4
    small = [each for each in session.arguments if isinstance(each, np.ndarray)
             and each.size == sum(math.prod(shape) for shape in SHAPES if shape != (65, 64))]  # fmt: skip
    assert len(small) == 2
    assert (type(optimizer._plans[0][1][0]) is FusedBundle) == (road == "fused")
    sizes = sorted(session.names[each].size for each in session.names if each.startswith("numbers"))
    assert sizes == ([5] if road == "fused" else [1, 4])


# ------------------------------------------------------------------------------ what is guarded
def ready(name="Adam", **options):
    params = parameters([(4, 3), (3,)])
    optimizer = getattr(torch.optim, name)(params, **options)
    optimizer.step()
    optimizer.step()
    return params, optimizer, Inlined(optimizer)


def _replace_state(params, optimizer):
    optimizer.state[params[0]]["exp_avg"] = torch.zeros(4, 3)


def _replace_entry(params, optimizer):
    optimizer.state[params[1]] = dict(optimizer.state[params[1]])


def _move_state(params, optimizer):
    optimizer.state[params[1]]["exp_avg_sq"].data = torch.zeros(3)


def _count_apart(params, optimizer):
    optimizer.state[params[1]]["step"].add_(1)


def _set(key, value):
    return lambda params, optimizer: optimizer.param_groups[0].update({key: value})


CHANGES = {
    "state replaced": _replace_state,
    "entry replaced": _replace_entry,
    "state in other memory": _move_state,
    "state loaded": lambda params, optimizer: optimizer.load_state_dict(optimizer.state_dict()),
    "state forgotten": lambda params, optimizer: optimizer.state.clear(),
    "more state": lambda params, optimizer: optimizer.state[params[0]].update(more=torch.ones(3)),
    "another key": lambda params, optimizer: optimizer.state.update({torch.ones(2): {}}),
    "step counts that differ": _count_apart,
    "another group": lambda params, optimizer: optimizer.add_param_group({"params": parameters()}),
    "another parameter": lambda params, optimizer: optimizer.param_groups[0]["params"].reverse(),
    "a hook": lambda params, optimizer: optimizer.register_step_post_hook(print),
    "weight decay": _set("weight_decay", 0.1),
    "amsgrad": _set("amsgrad", True),
    "maximize": _set("maximize", True),
    "betas on the other side": _set("betas", (0.2, 0.9)),
    "another step": lambda params, optimizer: vars(optimizer).update(step=print),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_seen(change):
    params, optimizer, inlined = ready()
    assert inlined.run()
    change(params, optimizer)
    before = [param.detach().clone() for param in params]
    assert not inlined.run()
    assert all(torch.equal(param, other) for param, other in zip(params, before))


@pytest.mark.parametrize(
    ("option", "value"), [("lr", 1), ("betas", (0.8, np.float32(0.9))), ("eps", 0.5)]
)
def test_numbers_are_read_anew(option, value):
    (params, optimizer), (others, eager) = twins("Adam", {})
    for each in (optimizer, eager):
        each.step()
    inlined = Inlined(optimizer)
    set_gradients(1, params, others)
    for each in (optimizer, eager):
        each.param_groups[0][option] = value
    assert inlined.run()
    eager.step()
    agree(optimizer, eager)


def test_what_is_no_number_raises_as_in_eager_code():
    params, optimizer, inlined = ready()
    before = [param.detach().clone() for param in params]
    optimizer.param_groups[0]["lr"] = None
    with pytest.raises(TypeError):
        inlined.run()
    assert all(torch.equal(param, other) for param, other in zip(params, before))
    assert optimizer.state[params[0]]["step"].item() == 2


def test_a_scheduler_does_no_harm():
    _, optimizer, _ = ready()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    with pytest.raises(NotReady):
        Inlined(optimizer)
    optimizer.step()
    inlined = Inlined(optimizer)
    assert inlined.run()
    schedule.step()
    assert inlined.run()


def test_rectification_begins_with_a_step():
    optimizer = torch.optim.RAdam(parameters([(3,)]))
    compiled = Compiled(optimizer)
    for _ in range(9):
        compiled.step()
    assert compiled.traces == 2 and compiled.runs == 8
    optimizer = torch.optim.RAdam(parameters([(3,)]))
    optimizer.step()
    early = Inlined(optimizer).session.symbols.functions()
    assert len(early.table(9)) == 4 and len(early.table(2)) == 2


# ------------------------------------------------------------------------------ what is refused
class OwnStep(torch.optim.Adam):
    def step(self, closure=None):
        return super().step(closure)


class ByValue(torch.optim.Adam):
    """A formula with a function that loses where its numbers come from."""

    def update(self, group, bundle):
        bundle.add_(bundle.param, bundle.grad, -math.exp(-bundle.step))

    update.__module__ = "danlu.optim.by_value"


class OwnFormula(torch.optim.Adam):
    rate = 0.1

    def update(self, group, bundle):
        bundle.add_(bundle.param, bundle.grad, -self.rate)


def _shared():
    param = torch.nn.Parameter(torch.ones(4))
    return [param, torch.nn.Parameter(param.detach()[:2])]


REFUSED = {
    "no formula": lambda: torch.optim.LBFGS(parameters()),
    "values": lambda: torch.optim.Muon(parameters([(4, 3)])),
    "an own step": lambda: OwnStep(parameters()),
    "numbers by value": lambda: ByValue(parameters()),
    "an own formula": lambda: OwnFormula(parameters()),
    "narrow": lambda: torch.optim.Adam(parameters([(3,)], torch.bfloat16)),
    "complex": lambda: torch.optim.Adam(parameters([(3,)], torch.complex64)),
    "shared memory": lambda: torch.optim.SGD(_shared()),
    "differentiable": lambda: torch.optim.Adam(parameters(), differentiable=True),
    "too large": lambda: torch.optim.SGD(parameters([(1024, 1024)])),
    "an odd option": lambda: torch.optim.SGD(
        [{"params": parameters(), "lr": 0.1, "maximize": object()}]
    ),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_refusals_leave_nothing_behind(make):
    optimizer = make()
    for group in optimizer.param_groups:
        for param in group["params"]:
            param.grad = torch.ones_like(param)
    if not isinstance(optimizer, (torch.optim.LBFGS, torch.optim.SGD)):
        optimizer.step()
    session = Session()
    params = [param for group in optimizer.param_groups for param in group["params"]]
    real = [(param, param._array, param._grad) for param in params]
    for param, array, grad in real:
        param._array, param._grad = session.leaf(array), wrap(session.leaf(grad._array))
    versions = [param._writes[0] for param in params]
    with pytest.raises(Unsupported):
        inline(optimizer, session)
    for param, array, grad in real:
        param._array, param._grad = array, grad
    assert not session.graph.writes and not session.guards and not session.symbols.guards
    assert versions == [param._writes[0] for param in params]


def test_hooks_are_guarded():
    """The trace runs them; here only that they stay the same is of interest."""
    _, optimizer, _ = ready()
    plain = Inlined(optimizer)
    assert plain.run()
    handle = optimizer.register_step_pre_hook(lambda *given: None)
    assert not plain.run()
    hooked = Inlined(optimizer)
    assert hooked.run()
    other = optimizer.register_step_post_hook(lambda *given: None)
    assert not hooked.run()
    other.remove()
    assert hooked.run()
    handle.remove()
    assert not hooked.run()
    assert plain.run()


def test_a_step_after_a_host_call_is_refused():
    _, optimizer, _ = ready()
    session = Session()
    session.host_calls.append(print)  # a scheduler, which sets the rate of this very step
    with pytest.raises(Unsupported, match="Python"):
        inline(optimizer, session)


@pytest.mark.parametrize(("name", "options"), [("Adam", {}), ("SGD", {"momentum": 0.9})])
def test_state_begins_eagerly(name, options):
    optimizer = getattr(torch.optim, name)(parameters(), **options)
    with pytest.raises(NotReady):
        Inlined(optimizer)
    assert not optimizer.state
    optimizer.step()
    assert Inlined(optimizer).run()


# ------------------------------------------------------------------------------ symbols
def symbols(**values):
    """Symbols that read numbers of a dict."""
    found = Symbols(lambda value, name: name)  # the graph does not matter
    group = found.name(values, "group")
    inputs = {key: found.input(f"float({group}[{key!r}])", value) for key, value in values.items()}
    return found, values, inputs


FORMULAS = {
    "sums": lambda a, b: a + b - 2 * a - (1 - b) + 0.5,
    "quotients": lambda a, b: a / b / 3 + 2 / b,
    "powers": lambda a, b: a**b + 0.96**a + b**0.5,
    "signs": lambda a, b: -a * abs(-b) - (-3) * a,
    "choices": lambda a, b: max(1, a) + min(a, b, 2.5),
}


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_formulas_are_evaluated_at_run_time(formula):
    found, values, inputs = symbols(a=0.75, b=2.0)
    result = formula(*inputs.values())
    assert result.value == formula(0.75, 2.0)
    found.argument(result)
    scalars = found.functions().scalars
    assert scalars() == (formula(0.75, 2.0),)
    values.update(a=0.5, b=2.25)
    assert scalars() == (formula(0.5, 2.25),)


def test_equal_expressions_are_one_argument():
    found, _, inputs = symbols(a=0.75)
    a = inputs["a"]
    assert found.argument(1 - a) is found.argument(1 - a)
    assert (1 - a) is (1 - a) and (1 - a) is not (a - 1)
    assert len(found.arguments) == 1 and len({a: 1, 1 - a: 2, a + 0: 3}) == 3


def test_decisions_are_guarded():
    found, values, inputs = symbols(a=0.75, b=0.0)
    a, b = inputs.values()
    assert a > 0.5 and not b and a != b and float(a) == 0.75 and int(a * 4) == 3
    texts = found.guards

    def hold():
        return all(eval(text, {**found.names}) for text in texts)

    assert hold()
    values["b"] = 0.1
    assert not hold()
    values.update(b=0.0, a=0.8)  # which is above 0.5 all the same, but no 0.75
    assert not hold()
    assert "group0['a']" in " ".join(texts)


def test_origins_are_not_lost():
    found, _, _ = symbols(a=1.0)
    count = found.numbers(np.ones(3, np.float32)).item(0)
    for function in (float, int, math.sqrt, np.sqrt, np.asarray):
        with pytest.raises((Unsupported, TypeError)):
            np.add(np.zeros(2), function(count))
    with pytest.raises(TypeError):
        np.ones(2) * count


@pytest.mark.parametrize("recurrent", [False, True])
def test_tables_are_the_runs_to_come(recurrent):
    found, values, inputs = symbols(decay=0.9)
    steps, product = np.full(3, 4, np.float32), np.full(3, 0.5, np.float32)
    count = found.numbers(steps)
    count.present = count.present + 1
    wanted = [count.present, 1 - inputs["decay"] ** count.present, inputs["decay"] + 0]
    assert count.present < 8
    if recurrent:
        other = found.numbers(product)
        other *= inputs["decay"]
        wanted.append(other.item(0))
    for each in wanted:
        found.argument(each)
    functions = found.functions()
    table = functions.table(9)
    assert table.shape == (3, len(wanted)) and table.dtype == np.float64
    for row in table:
        np.testing.assert_allclose(functions.scalars(), row, 1e-15)
        steps += 1
        product *= np.float32(values["decay"])
    assert functions.table(9).shape == (0, len(wanted))


def test_numbers_are_rounded_as_arrays_round():
    found, _, inputs = symbols(factor=0.1)
    array = np.full(2, 0.3, np.float32)
    numbers = found.numbers(array)
    assert isinstance(numbers, Numbers) and found.numbers(array) is numbers
    numbers *= inputs["factor"]
    found.argument(numbers.item(0))
    array *= 0.1
    expected = array.item(0)
    array[...] = 0.3
    assert found.functions().scalars() == (expected,)


def test_symbols_meet_arrays():
    graph = Graph()

    def scalar(value, name):
        node = graph.make("scalar", (), np.dtype(np.float64), (), 1)
        return Traced(graph, node, weak=True)

    found = Symbols(scalar)
    rate = found.input("rate", 0.5)
    array = np.arange(3, dtype=np.float32)
    traced = Traced(graph, graph.leaf(array, Slot("argument", 0)))
    results = [rate * traced, traced - rate, 2 * rate + traced, traced / rate]
    assert all(each.dtype == np.float32 for each in results)
    (left, right, _, _) = evaluate(graph, [each.node for each in results], [array, 4.0])
    np.testing.assert_array_equal(left, 4 * array)
    np.testing.assert_array_equal(right, array - 4)
