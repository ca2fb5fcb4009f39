"""Sliding blocks of images as columns, and columns as sliding blocks."""

from __future__ import annotations

from danlu.kernels import convolution as kernels
from danlu.ops.convolution import per_dimension
from danlu.ops.registry import Array, operator

__all__ = ["fold", "unfold_blocks"]


@operator(method=False, name="Im2Col")
def blocks_to_columns(input: Array, kernel, stride, padding, dilation):
    """Every window as a column."""
    return kernels.unfold(input, kernel, stride, padding, dilation)


@blocks_to_columns.vjp
def _(g, input_shape, kernel, stride, padding, dilation):
    return columns_to_blocks.on(g, tuple(input_shape[2:]), kernel, stride, padding, dilation)


@operator(method=False, name="Col2Im")
def columns_to_blocks(input: Array, sizes, kernel, stride, padding, dilation):
    """Columns added into their windows' places."""
    return kernels.fold(input, sizes, kernel, stride, padding, dilation)


@columns_to_blocks.vjp
def _(g, kernel, stride, padding, dilation):
    return blocks_to_columns.on(g, kernel, stride, padding, dilation)


def _block_settings(kernel_size, dilation, padding, stride):
    """Kernel, stride, padding pairs and dilation of two-dimensional blocks."""
    kernel = per_dimension(
        kernel_size, 2, "kernel_size", 1, "kernel size should be greater than zero, but got {}"
    )
    dilation = per_dimension(
        dilation, 2, "dilation", 1, "dilation should be greater than zero, but got {}"
    )
    stride = per_dimension(stride, 2, "stride", 1, "stride should be greater than zero, but got {}")
    padding = per_dimension(padding, 2, "padding", 0, "padding should be non-negative, but got {}")
    return kernel, stride, padding, dilation


def unfold_blocks(input, kernel_size, dilation=1, padding=0, stride=1):
    """Every sliding block of images as a column (im2col); published as `nn.functional.unfold`.

    Args:
        input: images, or one image without a batch axis.
        kernel_size: the blocks' size.
        dilation: steps between a block's elements; default 1.
        padding: zeros on both sides; default 0.
        stride: steps between blocks; default 1.

    Shape:
        (N, C, H, W) -> (N, C*kh*kw, blocks)

    Raises:
        RuntimeError: not an image, or no block fits.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.unfold(torch.ones(1, 3, 4, 4), kernel_size=2).shape
        torch.Size([1, 12, 9])
    """
    kernel, stride, padding, dilation = _block_settings(kernel_size, dilation, padding, stride)
    if input.ndim not in (3, 4):
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(input.shape)}"
        )
    pairs = tuple((p, p) for p in padding)
    positions = kernels.output_sizes(tuple(input.shape[-2:]), kernel, stride, pairs, dilation)
    if min(positions) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(input.shape[-2:])}, kernel_size={kernel}, "
            f"dilation={dilation}, padding={padding}, calculated shape of the array of sliding "
            "blocks "
            f"as {positions}, but its components must be at least one."
        )
    if input.ndim == 3:
        return blocks_to_columns(input.unsqueeze(0), kernel, stride, pairs, dilation).squeeze(0)
    return blocks_to_columns(input, kernel, stride, pairs, dilation)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns added into images at their blocks' places (col2im), the adjoint of `unfold`.

    Args:
        input: columns, with or without a batch axis.
        output_size: the images' spatial size.
        kernel_size, dilation, padding, stride: as in `unfold`.

    Shape:
        (N, C*kh*kw, blocks) -> (N, C, H, W)

    Raises:
        RuntimeError: columns that do not fit the output size.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.fold(torch.ones(1, 4, 2), (2, 3), (2, 2))
        tensor([[[[1., 2., 1.],
                  [1., 2., 1.]]]])
    """
    kernel, stride, padding, dilation = _block_settings(kernel_size, dilation, padding, stride)
    sizes = per_dimension(
        output_size, 2, "output_size", 1, "output size should be greater than zero, but got {}"
    )
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2D or 3D (batch mode) tensor for input, but got: {list(input.shape)}"
        )
    if input.shape[-2] % (kernel[0] * kernel[1]):
        raise RuntimeError(
            f"Expected size of input's dimension {input.ndim - 2} to be divisible by the product "
            "of "
            f"kernel_size, but got input.size({input.ndim - 2})={input.shape[-2]} and "
            f"kernel_size={kernel}."
        )
    pairs = tuple((p, p) for p in padding)
    positions = kernels.output_sizes(sizes, kernel, stride, pairs, dilation)
    if min(positions) < 1 or positions[0] * positions[1] != input.shape[-1]:
        raise RuntimeError(
            f"Given output_size={sizes}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, "
            f"stride={stride}, expected size of input's dimension {input.ndim - 1} to match the "
            f"calculated number of sliding blocks {positions[0]} * {positions[1]} = "
            f"{positions[0] * positions[1]}, but got "
            f"input.size({input.ndim - 1})={input.shape[-1]}."
        )
    if input.ndim == 2:
        return columns_to_blocks(
            input.unsqueeze(0), sizes, kernel, stride, pairs, dilation
        ).squeeze(0)
    return columns_to_blocks(input, sizes, kernel, stride, pairs, dilation)
