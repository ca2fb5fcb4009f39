"""Every scheduler sets torch's rates, and its checkpoints travel both ways."""

import copy
import math
import warnings

import pytest

torch = pytest.importorskip("torch")

import danlu  # noqa: E402

EPOCHS, HALF = 40, 20
METRICS = [2 + math.exp(-epoch / 6) + (0.3 if epoch % 11 > 8 else 0) for epoch in range(EPOCHS)]

SCHEDULES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 0.95**epoch),
    "LambdaLR, a list": lambda s, o: s.LambdaLR(o, [lambda e: e // 7 + 1, lambda e: 1 / (1 + e)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 1 + 0.1 * math.cos(epoch)),
    "StepLR": lambda s, o: s.StepLR(o, 3, gamma=0.8),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [5, 5, 30], gamma=0.5),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, 12),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.1, 0.8, 20),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.93),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 25, power=2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 7, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.001),
    "CyclicLR": lambda s, o: s.CyclicLR(
        o, 0.01, [0.2, 0.3], 5, 9, "triangular2", base_momentum=0.7
    ),
    "CyclicLR, exp_range": lambda s, o: s.CyclicLR(
        o, 0.01, 0.2, 4, mode="exp_range", gamma=0.97, cycle_momentum=False
    ),
    "CyclicLR, own scale": lambda s, o: s.CyclicLR(
        o, 0.01, 0.2, 4, scale_fn=lambda x: 1 / (1 + x), scale_mode="iterations"
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.2], epochs=5, steps_per_epoch=10, anneal_strategy="linear"
    ),
    "OneCycleLR, three phases": lambda s, o: s.OneCycleLR(
        o, 0.5, total_steps=41, pct_start=0.4, three_phase=True, div_factor=10
    ),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(
        o, factor=0.3, patience=1, threshold_mode="abs", cooldown=2, min_lr=[0.01, 0.002]
    ),
    "ReduceLROnPlateau, max": lambda s, o: s.ReduceLROnPlateau(o, "max", 0.5, 2, threshold=0.05),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.5, 3), s.StepLR(o, 4, 0.7), s.ExponentialLR(o, 0.9)], [6, 20]
    ),
    "SequentialLR, warm-up": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 30)], milestones=[5]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.CosineAnnealingLR(o, 20), s.LinearLR(o, 0.2, total_iters=8)], optimizer=o
    ),
}


def make(module, schedule, optimizer="SGD", **options):
    params = [module.nn.Parameter(module.zeros(2)) for _ in range(2)]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.05}]
    if optimizer == "SGD":
        options.setdefault("momentum", 0.9)
    made = getattr(module.optim, optimizer)(groups, lr=0.1, **options)
    return made, schedule(module.optim.lr_scheduler, made)


def run(optimizer, scheduler, epochs):
    rates = []
    for epoch in epochs:
        for group in optimizer.param_groups:
            rates += [float(group["lr"]), group.get("momentum", group.get("betas", (0,))[0])]
        rates += map(float, scheduler.get_last_lr())
        optimizer.step()
        metric = [METRICS[epoch]] if hasattr(scheduler, "patience") else []
        scheduler.step(*metric)
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_and_checkpoints(name):
    schedule = SCHEDULES[name]
    expected = make(torch, schedule)
    got = make(danlu, schedule)
    assert run(*got, range(HALF)) == pytest.approx(run(*expected, range(HALF)), abs=1e-12)
    states = [copy.deepcopy((o.state_dict(), s.state_dict())) for o, s in (expected, got)]
    public = [{k for k in state[1] if not k.startswith("_")} for state in states]
    assert public[0] == public[1]
    rest = run(*expected, range(HALF, EPOCHS))
    assert run(*got, range(HALF, EPOCHS)) == pytest.approx(rest, abs=1e-12)
    for module, state in ((danlu, states[0]), (torch, states[1])):
        optimizer, scheduler = make(module, schedule)
        optimizer.load_state_dict(state[0])
        scheduler.load_state_dict(state[1])
        assert run(optimizer, scheduler, range(HALF, EPOCHS)) == pytest.approx(rest, abs=1e-12)


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR"])
def test_betas_move_with_adam(name):
    runs = [run(*make(m, SCHEDULES[name], "Adam"), range(EPOCHS)) for m in (torch, danlu)]
    assert runs[1] == pytest.approx(runs[0], abs=1e-12)


@pytest.mark.parametrize(
    "name", ["StepLR", "MultiStepLR", "LinearLR", "CosineAnnealingLR", "PolynomialLR"]
)
def test_closed_forms(name):
    ends = []
    for module in (torch, danlu):
        optimizer, scheduler = make(module, SCHEDULES[name])
        optimizer.step()
        with pytest.warns(UserWarning, match="epoch"):
            scheduler.step(9)
        ends.append(scheduler.get_last_lr())
    assert ends[1] == pytest.approx(ends[0], abs=1e-14)


def test_fractional_epochs_of_warm_restarts():
    ends = []
    for module in (torch, danlu):
        scheduler = make(module, SCHEDULES["CosineAnnealingWarmRestarts"])[1]
        rates = []
        for epoch in (0.5, 3, 5.25, 17.0, 40):
            scheduler.step(epoch)
            rates += scheduler.get_last_lr()
        ends.append(rates)
    assert ends[1] == pytest.approx(ends[0], abs=1e-14)


def test_tensor_rates_keep_their_identity():
    for module in (torch, danlu):
        lr = module.tensor(0.1)
        optimizer = module.optim.SGD([module.nn.Parameter(module.zeros(1))], lr=lr)
        scheduler = module.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.step()
        scheduler.step()
        assert optimizer.param_groups[0]["lr"] is lr
        assert lr.item() == pytest.approx(0.05)


def test_swalr():
    runs = []
    for module in (torch, danlu):
        params = [module.nn.Parameter(module.zeros(1))]
        for strategy, epochs in (("cos", 7), ("linear", 3), ("cos", 0)):
            optimizer = module.optim.SGD(params, lr=0.5)
            scheduler = module.optim.swa_utils.SWALR(optimizer, 0.05, epochs, strategy)
            runs.append(run(optimizer, scheduler, range(12)))
    for a, b in zip(runs[:3], runs[3:]):
        assert b == pytest.approx(a, abs=1e-12)


@pytest.mark.parametrize("kind", ["default", "avg_fn", "ema", "ema multi", "buffers"])
def test_averaged_models(kind):
    ends = []
    for module in (torch, danlu):
        swa = module.optim.swa_utils
        kwargs = {
            "default": {},
            "avg_fn": {"avg_fn": lambda average, current, n: 0.7 * average + 0.3 * current},
            "ema": {"avg_fn": swa.get_ema_avg_fn(0.9)},
            "ema multi": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)},
            "buffers": {"use_buffers": True},
        }[kind]
        model = module.nn.Sequential(module.nn.Linear(3, 2), module.nn.BatchNorm1d(2))
        average = swa.AveragedModel(model, **kwargs)
        with module.no_grad():
            for step in range(4):
                for number, p in enumerate(model.parameters()):
                    p.fill_(step * step + number)
                model[1].running_mean.fill_(step)
                average.update_parameters(model)
        swa.update_bn([module.ones(4, 3), module.arange(12.0).reshape(4, 3)], average)
        ends.append({k: v.tolist() for k, v in average.state_dict().items()})
    assert ends[0].keys() == ends[1].keys()
    for key in ends[0]:
        assert danlu.allclose(
            danlu.tensor(ends[1][key], dtype=danlu.float64),
            danlu.tensor(ends[0][key], dtype=danlu.float64), rtol=1e-4,
        ), key  # fmt: skip


MISTAKES = {
    "no optimizer": lambda s, o: s.StepLR("optimizer", 3),
    "resume": lambda s, o: s.StepLR(o, 3, last_epoch=2),
    "lambdas": lambda s, o: s.LambdaLR(o, [lambda e: 1.0]),
    "not callable": lambda s, o: s.MultiplicativeLR(o, 0.5),
    "factor": lambda s, o: s.ConstantLR(o, 1.5),
    "start factor": lambda s, o: s.LinearLR(o, 0.0),
    "T_0": lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    "T_mult": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 0),
    "mode": lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square"),
    "max_lr": lambda s, o: s.CyclicLR(o, 0.1, [0.2]),
    "steps": lambda s, o: s.OneCycleLR(o, 0.1),
    "pct": lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=2.0),
    "anneal": lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="square"),
    "plateau factor": lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    "plateau mode": lambda s, o: s.ReduceLROnPlateau(o, "least"),
    "plateau min_lr": lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]),
    "milestones": lambda s, o: s.SequentialLR(o, [s.StepLR(o, 2)], [3]),
    "sequence of none": lambda s, o: s.SequentialLR(o, [], []),
    "chain of none": lambda s, o: s.ChainedScheduler([]),
    "plateau in sequence": lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_raise_what_torch_raises(name):
    with pytest.raises(Exception) as expected:
        make(torch, MISTAKES[name])
    with pytest.raises(type(expected.value)) as got:
        make(danlu, MISTAKES[name])
    assert str(got.value).startswith(str(expected.value).rstrip(".")[:22])


def test_warnings_come_when_torchs_do():
    def provoke(module, what):
        optimizer, scheduler = make(module, SCHEDULES["StepLR"])
        if what == "order":
            scheduler.step()
        elif what == "get_lr":
            scheduler.get_lr()
        elif what == "overridden":
            optimizer.step = lambda: None
            scheduler.step()
        else:
            optimizer.step()
            scheduler.step()

    for what in ("order", "get_lr", "overridden", "nothing"):
        texts = []
        for module in (torch, danlu):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                provoke(module, what)
            texts.append([str(w.message)[:40] for w in caught if w.category is UserWarning])
        assert texts[0] == texts[1]
