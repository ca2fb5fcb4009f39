"""Steps of optimizers over large parameters, which generated code takes in one pass."""

from __future__ import annotations

from cases import case


def stepper(torch, sizes, make, **options):
    """The `step` of an optimizer over parameters that have gradients."""
    params = [torch.randn(size).requires_grad_() for size in sizes]
    for param in params:
        param.grad = torch.randn(param.numel())
    return make(params, **options).step


@case("Adam, one tensor of 10,000,000", at_most=0.2)
def adam_10_million(torch):
    return stepper(torch, [10_000_000], torch.optim.Adam)


@case("Adam, one tensor of 10,000,000, against its fused form", at_most=1.0)
def adam_10_million_fused(torch):
    return stepper(torch, [10_000_000], torch.optim.Adam, fused=True)


@case("Adam, ten tensors of 1,000,000", at_most=0.5)
def adam_ten_of_a_million(torch):
    return stepper(torch, [1_000_000] * 10, torch.optim.Adam)


@case("SGD with momentum, ten tensors of 1,000,000", at_most=1.0)
def sgd_ten_of_a_million(torch):
    return stepper(torch, [1_000_000] * 10, torch.optim.SGD, momentum=0.9)


@case("add, 10,000,000 elements, a new result")
def add_10_million(torch):
    a, b = torch.randn(10_000_000), torch.randn(10_000_000)
    return lambda: a + b
