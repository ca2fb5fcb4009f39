"""Training steps compiled by `danlu.compile`, against the same steps on PyTorch as it runs them by
default.

A step is called until danlu says that it runs compiled, so that neither tracing nor compiling is
timed, and a step that is refused is an error instead of a slow success.
"""

from __future__ import annotations

from functools import partial

from cases import case
from cases.models import (
    cubic_step,
    gpt_step,
    lstm_step,
    mnist_cnn_step,
    resnet18_step,
)
from cases.training import (
    EPOCHS_A_FIT,
    keras_training,
    loop_epoch,
    regression_100000,
    ring_network,
    rings,
)

# The first call of a step may make the optimizer's state, and the next ones trace and compare.
CALLS_TO_COMPILE = 8


def compiled(torch, step, *arguments):
    """What is timed: the step on PyTorch, the compiled step on danlu."""
    if torch.__name__ == "torch":
        return partial(step, *arguments)
    made = torch.compile(step)
    call_until_compiled(torch, made, *arguments)
    return partial(made, *arguments)


def call_until_compiled(danlu, made, *arguments):
    """Call a compiled function until a call ran nothing but machine code."""
    for _ in range(CALLS_TO_COMPILE):
        before = danlu.compiler.stats(made).compiled_calls
        made(*arguments)
        if danlu.compiler.stats(made).compiled_calls > before:
            return
    refusals = "; ".join(danlu.compiler.stats(made).refusals)
    raise RuntimeError(f"it does not run compiled: {refusals or 'no reason given'}")


def compiled_ring_step(torch, optimizer):
    features, labels = rings(torch, 100)
    network = ring_network(torch)
    loss_function = torch.nn.BCEWithLogitsLoss()
    optimizer = getattr(torch.optim, optimizer)(network.parameters(), lr=0.01)

    def step(features, labels):
        optimizer.zero_grad()
        loss = loss_function(network(features), labels)
        loss.backward()
        optimizer.step()
        return loss

    return compiled(torch, step, features, labels)


@case("training step of the ring network, SGD, batch 100, compiled", at_most=0.03)
def compiled_ring_step_sgd_100(torch):
    return compiled_ring_step(torch, "SGD")


@case("training step of the ring network, Adam, batch 100, compiled", at_most=0.03)
def compiled_ring_step_adam_100(torch):
    return compiled_ring_step(torch, "Adam")


@case("epoch of KerasModel.fit on the ring data, compiled, against a plain loop", at_most=0.03)
def compiled_fit_epoch(torch):
    if torch.__name__ == "torch":
        return loop_epoch(torch)
    model, fit = keras_training(torch, compile="auto")
    fit()
    if "ran compiled" not in model.compiled:
        raise RuntimeError(model.compiled or "it does not run compiled")
    return fit, EPOCHS_A_FIT


@case("full-batch linear regression, 100,000 rows of 10, one step, compiled", at_most=0.15)
def compiled_regression_100000(torch):
    return compiled(torch, regression_100000(torch))


@case("cubic regression, 10,000 rows, 1-20-1, step, compiled", at_most=0.30)
def compiled_cubic_step(torch):
    return compiled(torch, cubic_step(torch))


@case("the tutorial's MNIST CNN, batch 128, step, compiled", at_most=0.70)
def compiled_mnist_cnn_step(torch):
    return compiled(torch, mnist_cnn_step(torch))


@case("ResNet-18 on 32 x 32 images, batch 64, step, compiled", at_most=0.90)
def compiled_resnet18_step(torch):
    return compiled(torch, resnet18_step(torch))


@case("small GPT: 4 layers, 128 wide, 128 tokens, batch 16, step, compiled", at_most=0.80)
def compiled_gpt_step(torch):
    return compiled(torch, gpt_step(torch))


@case("LSTM, 2 layers x 128, sequence 64, batch 32, step, compiled", at_most=0.80)
def compiled_lstm_step(torch):
    return compiled(torch, lstm_step(torch))
