"""Random numbers in bulk, where the stream's words and their conversion are what costs."""

from __future__ import annotations

from cases import case


@case("rand, 1,000,000 elements", at_most=0.3)
def rand_million(torch):
    return lambda: torch.rand(1_000_000)


@case("randn, 1,000,000 elements", at_most=0.4)
def randn_million(torch):
    return lambda: torch.randn(1_000_000)


@case("randn, 10,000 elements", at_most=1.0)
def randn_10_thousand(torch):
    return lambda: torch.randn(10_000)


@case("randperm, 1,000,000 elements", at_most=0.6)
def randperm_million(torch):
    return lambda: torch.randperm(1_000_000)


@case("dropout, 1,000,000 elements, forward and backward", at_most=0.3)
def dropout_million(torch):
    x = torch.rand(1_000_000, requires_grad=True)
    gradient = torch.rand(1_000_000)

    def run():
        x.grad = None
        torch.nn.functional.dropout(x, 0.1).backward(gradient)

    return run
