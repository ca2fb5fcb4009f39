"""Matrix products and attention by kernels, most in the shapes of a small decoder."""

from __future__ import annotations

from cases import case

BATCH, LENGTH, WIDTH, HEADS = 16, 128, 128, 4


@case("linear 128 to 512 on (16, 128, 128), forward and backward", at_most=1.00)
def linear_widening(torch):
    torch.manual_seed(0)
    layer = torch.nn.Linear(WIDTH, 4 * WIDTH)
    x = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    grad = torch.randn(BATCH, LENGTH, 4 * WIDTH)
    inputs = (x, layer.weight, layer.bias)
    return lambda: torch.autograd.grad(layer(x), inputs, grad)


@case("matmul, (512, 512)", at_most=1.15)
def matmul_512(torch):
    a, b = torch.rand(512, 512), torch.rand(512, 512)
    return lambda: a @ b


@case("matmul, (1024, 1024)", at_most=1.10)
def matmul_1024(torch):
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    return lambda: a @ b


@case("weight gradient, (2048, 512) transposed by (2048, 128)", at_most=1.10)
def weight_gradient(torch):
    grad, x = torch.rand(BATCH * LENGTH, 4 * WIDTH), torch.rand(BATCH * LENGTH, WIDTH)
    return lambda: grad.T @ x


@case("matmul, 64 of (128, 32) by (32, 128)", at_most=1.00)
def matmul_batched(torch):
    a, b = torch.rand(64, 128, 32), torch.rand(64, 32, 128)
    return lambda: a @ b


@case("causal attention, 16 of 4 heads, (128, 32), forward and backward", at_most=1.00)
def attention_short(torch):
    return attention(torch, BATCH, HEADS, LENGTH, WIDTH // HEADS)


@case("causal attention, 2 of 8 heads, (1024, 64), forward and backward", at_most=1.00)
def attention_long(torch):
    return attention(torch, 2, 8, 1024, 64)


def attention(torch, batch, heads, length, size):
    torch.manual_seed(0)
    # heads lie between the features, as projections leave them
    q, k, v, grad = (torch.randn(batch, length, heads, size).transpose(1, 2) for _ in range(4))
    inputs = tuple(x.requires_grad_() for x in (q, k, v))
    attend = torch.nn.functional.scaled_dot_product_attention
    return lambda: torch.autograd.grad(attend(*inputs, is_causal=True), inputs, grad)
