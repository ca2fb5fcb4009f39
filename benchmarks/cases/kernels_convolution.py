"""Convolutions of the sizes of common networks, each direction alone."""

from __future__ import annotations

from cases import case

# label: images, channels, size, outputs, kernel, stride, padding, groups
SHAPES = {
    "mnist_first": (128, 1, 28, 32, 3, 1, 0, 1),
    "mnist_second": (128, 32, 13, 64, 5, 1, 0, 1),
    "resnet_stem": (64, 3, 32, 64, 3, 1, 1, 1),
    "resnet_64": (64, 64, 32, 64, 3, 1, 1, 1),
    "resnet_128": (64, 128, 16, 128, 3, 1, 1, 1),
    "resnet_256": (64, 256, 8, 256, 3, 1, 1, 1),
    "resnet_512": (64, 512, 4, 512, 3, 1, 1, 1),
    "stride_2": (64, 128, 16, 256, 3, 2, 1, 1),
    "shortcut": (64, 128, 16, 256, 1, 2, 0, 1),
    "one_by_one": (32, 256, 14, 1024, 1, 1, 0, 1),
    "depthwise": (64, 64, 28, 64, 3, 1, 1, 64),
}


def forward(shape):
    def prepare(torch):
        x, weight, bias, settings = operands(torch, shape)
        conv2d = torch.nn.functional.conv2d
        return lambda: conv2d(x, weight, bias, *settings)

    return prepare


def gradient(shape, of_weight):
    def prepare(torch):
        x, weight, bias, settings = operands(torch, shape)
        wanted = weight if of_weight else x
        wanted.requires_grad_(True)
        out = torch.nn.functional.conv2d(x, weight, bias, *settings)
        g = torch.randn(*out.shape)
        return lambda: torch.autograd.grad(out, wanted, g, retain_graph=True)

    return prepare


def operands(torch, shape):
    images, channels, size, outputs, kernel, stride, padding, groups = shape
    x = torch.randn(images, channels, size, size)
    weight = torch.randn(outputs, channels // groups, kernel, kernel) * 0.1
    return x, weight, torch.randn(outputs), (stride, padding, 1, groups)


for name, shape in SHAPES.items():
    images, channels, size, outputs, kernel, stride, *_ = shape
    what = f"{images}x{channels}x{size}x{size}, {outputs} kernels {kernel}x{kernel}"
    what += f" (stride {stride})" if stride > 1 else ""
    preparations = {
        "forward": forward(shape),
        "input_gradient": gradient(shape, of_weight=False),
        "weight_gradient": gradient(shape, of_weight=True),
    }
    if channels == 1:  # images need no gradient
        del preparations["input_gradient"]
    for direction, prepare in preparations.items():
        prepare.__name__ = f"conv_{name}_{direction}"
        case(f"convolution {what}: {direction.replace('_', ' ')}", at_most=1.05)(prepare)
