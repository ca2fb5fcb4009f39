"""Schedulers: what they keep, and what they refuse."""

import gc
import pickle
import weakref

import pytest

import danlu
from danlu.optim import lr_scheduler


def sgd(lr=0.1, groups=1, **options):
    params = [{"params": [danlu.nn.Parameter(danlu.zeros(1))]} for _ in range(groups)]
    return danlu.optim.SGD(params, lr=lr, **options)


def rates(optimizer, scheduler, epochs):
    seen = []
    for _ in range(epochs):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_step_lr():
    optimizer = sgd(0.8)
    scheduler = lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    assert rates(optimizer, scheduler, 5) == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_plateau_lowers_after_patience_and_waits_for_the_cooldown():
    optimizer = sgd(1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=2)
    seen = []
    for loss in (3, 2, 2, 2, 2, 2, 2, 2):
        scheduler.step(danlu.tensor(float(loss)))
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_nan_is_never_better():
    scheduler = lr_scheduler.ReduceLROnPlateau(sgd(), patience=0)
    scheduler.step(1.0)
    scheduler.step(float("nan"))
    assert scheduler.best == 1.0
    assert scheduler.get_last_lr() == pytest.approx([0.01])


def test_a_scheduler_does_not_keep_its_optimizer_alive():
    optimizer = sgd()
    lr_scheduler.StepLR(optimizer, 2)
    gone = weakref.ref(optimizer)
    del optimizer
    assert gone() is None
    gc.collect()


def test_classes_are_named_by_their_public_path():
    assert repr(lr_scheduler.StepLR) == "<class 'danlu.optim.lr_scheduler.StepLR'>"
    assert pickle.loads(pickle.dumps(lr_scheduler.StepLR)) is lr_scheduler.StepLR
    assert lr_scheduler._LRScheduler is lr_scheduler.LRScheduler


def test_callable_objects_keep_their_attributes_in_a_state():
    class Decay:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, epoch):
            return self.rate**epoch

    scheduler = lr_scheduler.LambdaLR(sgd(), Decay(0.5))
    other = lr_scheduler.LambdaLR(sgd(), Decay(0.9))
    state = scheduler.state_dict()
    other.load_state_dict(state)
    assert other.lr_lambdas[0].rate == 0.5
    assert "lr_lambdas" in state


def test_more_steps_than_announced():
    optimizer = sgd(momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=2)
    rates(optimizer, scheduler, 2)
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        scheduler.step()


def test_momentum_is_asked_for_in_words():
    optimizer = danlu.optim.Adagrad([danlu.nn.Parameter(danlu.zeros(1))])
    with pytest.raises(ValueError, match="Adagrad has neither: pass cycle_momentum=False"):
        lr_scheduler.CyclicLR(optimizer, 0.1, 0.2)


def test_a_group_added_later_needs_its_lowest_rate():
    optimizer = sgd(groups=2)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0, 0.0])
    optimizer.add_param_group({"params": [danlu.nn.Parameter(danlu.zeros(1))]})
    scheduler.step(1.0)
    with pytest.raises(RuntimeError, match="a group was added"):
        scheduler.step(1.0)


def test_averaging_refuses_two_functions_and_wrong_decays():
    swa = danlu.optim.swa_utils
    with pytest.raises(ValueError, match="Invalid decay"):
        swa.get_ema_multi_avg_fn(1.5)
    with pytest.raises(AssertionError, match="Only one of"):
        swa.AveragedModel(
            danlu.nn.Linear(1, 1),
            avg_fn=swa.get_swa_avg_fn(),
            multi_avg_fn=swa.get_swa_multi_avg_fn(),
        )
