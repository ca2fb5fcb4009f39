"""Pooling, normalisation of channels and embedding, forward and backward: generated kernels."""

from __future__ import annotations

from cases import case


def _forward_and_backward(apply, x, *parameters):
    """A function that applies and goes back; gradients are dropped first, not added up."""
    grad = apply(x).detach().clone()
    leaves = [x, *parameters]

    def run():
        for leaf in leaves:
            leaf.grad = None
        apply(x).backward(grad)

    return run


@case("max_pool2d 2x2, (128, 64, 28, 28), forward and backward", at_most=0.6)
def max_pool2d_2x2(torch):
    x = torch.randn(128, 64, 28, 28, requires_grad=True)
    return _forward_and_backward(lambda x: torch.nn.functional.max_pool2d(x, 2), x)


@case("max_pool2d 3x3 stride 2, (16, 64, 112, 112), forward and backward")
def max_pool2d_3x3(torch):
    x = torch.randn(16, 64, 112, 112, requires_grad=True)
    return _forward_and_backward(lambda x: torch.nn.functional.max_pool2d(x, 3, 2, 1), x)


@case("avg_pool2d 2x2, (64, 64, 28, 28), forward and backward")
def avg_pool2d_2x2(torch):
    x = torch.randn(64, 64, 28, 28, requires_grad=True)
    return _forward_and_backward(lambda x: torch.nn.functional.avg_pool2d(x, 2), x)


@case("batch_norm training, (64, 64, 56, 56), forward and backward", at_most=0.9)
def batch_norm_training(torch):
    layer = torch.nn.BatchNorm2d(64)
    x = torch.randn(64, 64, 56, 56, requires_grad=True)
    return _forward_and_backward(layer, x, *layer.parameters())


@case("group_norm, 8 groups, (32, 64, 28, 28), forward and backward")
def group_norm(torch):
    layer = torch.nn.GroupNorm(8, 64)
    x = torch.randn(32, 64, 28, 28, requires_grad=True)
    return _forward_and_backward(layer, x, *layer.parameters())


@case("embedding, 8192 of 10000 rows of 128, forward and dense backward", at_most=1.0)
def embedding(torch):
    indices = torch.randint(0, 10000, (8192,))
    table = torch.randn(10000, 128, requires_grad=True)
    return _forward_and_backward(lambda table: torch.nn.functional.embedding(indices, table), table)
