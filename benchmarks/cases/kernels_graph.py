"""Fused kernels through the public functions: activations, softmax, normalisation, cross entropy."""

from __future__ import annotations

from cases import case


def _both_ways(torch, function, *shapes):
    """Forward and backward of a function of leaves of these shapes, with a given gradient."""
    leaves = [torch.randn(*shape, requires_grad=True) for shape in shapes]
    grad = torch.randn(*shapes[0])

    def run():
        for leaf in leaves:
            leaf.grad = None
        function(*leaves).backward(grad)

    return run


@case("gelu (tanh), forward and backward, 4096x1024", at_most=0.5)
def gelu_tanh(torch):
    functional = torch.nn.functional
    return _both_ways(torch, lambda x: functional.gelu(x, approximate="tanh"), (4096, 1024))


@case("gelu, forward and backward, 4096x1024", at_most=0.5)
def gelu(torch):
    return _both_ways(torch, torch.nn.functional.gelu, (4096, 1024))


@case("softmax, forward and backward, 4096x1024", at_most=0.95)
def softmax(torch):
    return _both_ways(torch, lambda x: torch.softmax(x, dim=-1), (4096, 1024))


@case("layer_norm, forward and backward, 4096x1024", at_most=0.9)
def layer_norm(torch):
    functional = torch.nn.functional
    return _both_ways(
        torch, lambda x, weight, bias: functional.layer_norm(x, (1024,), weight, bias),
        (4096, 1024), (1024,), (1024,),
    )  # fmt: skip


@case("cross entropy, forward and backward, 8192x1000", at_most=0.4)
def cross_entropy(torch):
    scores = torch.randn(8192, 1000, requires_grad=True)
    target = torch.randint(0, 1000, (8192,))

    def run():
        scores.grad = None
        torch.nn.functional.cross_entropy(scores, target).backward()

    return run


@case("sigmoid, forward and backward, 1024x1024", at_most=0.9)
def sigmoid(torch):
    return _both_ways(torch, torch.sigmoid, (1024, 1024))


@case("tanh, forward and backward, 1024x1024", at_most=0.6)
def tanh(torch):
    return _both_ways(torch, torch.tanh, (1024, 1024))


@case("addition of a transposed matrix, 2048x2048", at_most=0.6)
def add_transposed(torch):
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return lambda: a + b.T
