"""Single operators on small and middle-sized tensors, where the cost of a call shows."""

from __future__ import annotations

from cases import case


@case("add, 10 elements")
def add_10(torch):
    a, b = torch.rand(10), torch.rand(10)
    return lambda: a + b


@case("add, 1,000,000 elements")
def add_1000000(torch):
    a, b = torch.rand(1000000), torch.rand(1000000)
    return lambda: a + b


@case("multiply, 1,000 elements")
def mul_1000(torch):
    a, b = torch.rand(1000), torch.rand(1000)
    return lambda: a * b


@case("matmul, (8, 8)")
def matmul_8(torch):
    a, b = torch.rand(8, 8), torch.rand(8, 8)
    return lambda: a @ b


@case("matmul, (256, 256)")
def matmul_256(torch):
    a, b = torch.rand(256, 256), torch.rand(256, 256)
    return lambda: a @ b


@case("relu, (100, 8)")
def relu_800(torch):
    a = torch.randn(100, 8)
    return lambda: torch.relu(a)


@case("sum of (100, 8) along one dimension")
def sum_800(torch):
    a = torch.randn(100, 8)
    return lambda: a.sum(dim=1)


@case("forward and backward of a chain of 20 operators, 10 elements")
def chain_20(torch):
    x = torch.rand(10, requires_grad=True)

    def run():
        y = x
        for _ in range(10):
            y = y * 1.01 + x
        y.sum().backward()

    return run
