"""Convolution and transposed convolution in one to three dimensions.

Three operators carry all of it, each the derivative of the others: `convolve`,
`transposed_convolve` (its
adjoint in the input) and `convolve_weight` (its adjoint in the weight)."""

from __future__ import annotations

from danlu.kernels import convolution as kernels
from danlu.ops.checks import scalar_type
from danlu.ops.registry import Array, operator

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolution",
]

_CPP_NAMES = {
    "Float": "float", "Double": "double", "Half": "c10::Half", "BFloat16": "c10::BFloat16",
    "Long": "long int",
    "Int": "int", "Short": "short int", "Char": "signed char", "Byte": "unsigned char", "Bool":
    "bool",
    "ComplexFloat": "c10::complex<float>", "ComplexDouble": "c10::complex<double>",
}  # fmt: skip


# ------------------------------------------------------------------------------ operators
def _sum_per_channel(g):
    return g.sum(axis=(0, *range(2, len(g.shape))))


@operator(method=False, name="Convolution")
def convolve(input: Array, weight: Array, bias: Array | None, stride, padding, dilation, groups):
    """Batched cross-correlation; one number per dimension, padding as (before, after) pairs."""
    return kernels.convolve(input, weight, stride, padding, dilation, groups, bias)


@convolve.vjp
def _(needs, g, input, weight, stride, padding, dilation, groups):
    sizes, kernel = tuple(input.shape[2:]), tuple(weight.shape[2:])
    settings = (stride, padding, dilation, groups)
    return (
        transposed_convolve.on(g, weight.conj(), None, sizes, *settings) if needs[0] else None,
        convolve_weight.on(g, input.conj(), kernel, *settings) if needs[1] else None,
        _sum_per_channel(g) if needs[2] else None,
    )


@operator(method=False, name="Convolution")
def transposed_convolve(
    input: Array, weight: Array, bias: Array | None, sizes, stride, padding, dilation, groups
):
    """The adjoint of `convolve` in its input, for an input of spatial `sizes`."""
    sizes = tuple(sizes)
    return kernels.convolve_input(input, weight, sizes, stride, padding, dilation, groups, bias)


@transposed_convolve.vjp
def _(needs, g, input, weight, stride, padding, dilation, groups):
    kernel = tuple(weight.shape[2:])
    settings = (stride, padding, dilation, groups)
    return (
        convolve.on(g, weight.conj(), None, *settings) if needs[0] else None,
        convolve_weight.on(input.conj(), g, kernel, *settings) if needs[1] else None,
        _sum_per_channel(g) if needs[2] else None,
    )


@operator(method=False, name="ConvolutionBackward")
def convolve_weight(grad: Array, input: Array, kernel, stride, padding, dilation, groups):
    """The adjoint of `convolve` in its weight, for a spatial `kernel` size."""
    return kernels.convolve_weight(grad, input, kernel, stride, padding, dilation, groups)


@convolve_weight.vjp
def _(needs, g, grad, input, stride, padding, dilation, groups):
    settings = (stride, padding, dilation, groups)
    sizes = tuple(input.shape[2:])
    return (
        convolve.on(input.conj(), g, None, *settings) if needs[0] else None,
        transposed_convolve.on(grad.conj(), g, None, sizes, *settings) if needs[1] else None,
    )


# ------------------------------------------------------------------------------ what fits
def per_dimension(value, rank, name, minimum, problem):
    """`value` as one int a dimension, each at least `minimum`.

    Raises:
        RuntimeError: another number of values (torch's words), or one that is too small: `problem`.
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {rank} values to match the "
            f"convolution dimensions, but got {name}={list(values)}"
        )
    for each in values:
        if not isinstance(each, int):
            if not hasattr(each, "__index__"):
                raise TypeError(f"{name} must be int or a tuple of ints, but got {value!r}")
            return per_dimension([int(v) for v in values], rank, name, minimum, problem)
        if each < minimum:
            raise RuntimeError(problem.format(list(values)))
    return values


def _settings(rank, stride, dilation):
    stride = per_dimension(stride, rank, "stride", 1, "non-positive stride is not supported")
    dilation = per_dimension(
        dilation, rank, "dilation", 1, "dilation should be greater than zero, but got {}"
    )
    return stride, dilation


def _padding_pairs(padding, rank, kernel, stride, dilation):
    """Padding as (before, after) pairs; "same" puts the odd one after, as PyTorch does."""
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * rank
        if padding != "same":
            raise RuntimeError(
                f"Invalid padding string: '{padding}': write 'same', 'valid' or numbers"
            )
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple((total // 2, total - total // 2) for total in totals)
    padding = per_dimension(padding, rank, "padding", 0, "negative padding is not supported")
    return tuple((p, p) for p in padding)


def _check(name, rank, input, weight, bias, groups, transposed):
    """Refuse ranks, channels and dtypes that do not fit together."""
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, "
            f"but got input of size: {list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    shape = list(weight.shape)
    if weight.ndim != rank + 2:
        raise RuntimeError(
            f"{name}: expected a weight of {rank + 2} dimensions (out_channels, in_channels, "
            f"{rank} kernel sizes), but got weight of size {shape}"
        )
    batched = input.shape if input.ndim == rank + 2 else (1, *input.shape)
    given = f"Given transposed={int(transposed)}" if transposed else f"Given groups={groups}"
    if shape[0] % groups or shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {shape} instead"
        )
    channels = shape[0] if transposed else shape[1] * groups
    if batched[1] != channels:
        raise RuntimeError(
            f"{given}, weight of size {shape}, expected input{list(batched)} to have {channels} "
            f"channels, but got {batched[1]} channels instead"
        )
    outputs = shape[1] * groups if transposed else shape[0]
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != outputs):
        given = given if transposed else "Given"
        joint = ", weight" if transposed else " weight"
        raise RuntimeError(
            f"{given}{joint} of size {shape}, expected bias to be 1-dimensional with {outputs} "
            f"elements, but got bias of size {list(bias.shape)} instead"
        )
    arrays = [("input", input), ("weight", weight)] + ([] if bias is None else [("bias", bias)])
    for what, other in arrays[::-1]:
        if other.dtype is not input.dtype:
            mine, others = (_CPP_NAMES[scalar_type(t._array)] for t in (input, other))
            raise RuntimeError(
                f"Input type ({mine}) and {what} type ({others}) should be the same: bring the "
                "input "
                "to the layer's dtype with .to(weight.dtype), such as .float()"
            )
    if input._array.dtype.kind == "b":
        raise NotImplementedError(f"\"slow_{name}_cpu\" not implemented for 'Bool'")


def _fits(rank, input, kernel, padding, dilation):
    padded = [size + b + a for size, (b, a) in zip(input.shape[-rank:], padding)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if any(size < r for size, r in zip(padded, reach)):
        shown = [" x ".join(map(str, sizes)) for sizes in (padded, reach)]
        raise RuntimeError(
            f"Calculated padded input size per channel: ({shown[0]}). Kernel size: ({shown[1]}). "
            "Kernel size can't be greater than actual input size"
        )


def _convolve(rank, name, input, weight, bias, stride, padding, dilation, groups):
    _check(name, rank, input, weight, bias, groups, transposed=False)
    kernel = weight._array.shape[2:]
    stride, dilation = _settings(rank, stride, dilation)
    padding = _padding_pairs(padding, rank, kernel, stride, dilation)
    _fits(rank, input, kernel, padding, dilation)
    if input.ndim == rank + 1:
        batch = input.unsqueeze(0)
        return convolve(batch, weight, bias, stride, padding, dilation, groups).squeeze(0)
    return convolve(input, weight, bias, stride, padding, dilation, groups)


def _convolve_transposed(
    rank, name, input, weight, bias, stride, padding, output_padding, groups, dilation
):  # fmt: skip
    _check(name, rank, input, weight, bias, groups, transposed=True)
    stride, dilation = _settings(rank, stride, dilation)
    padding = per_dimension(padding, rank, "padding", 0, "negative padding is not supported")
    extra = per_dimension(
        output_padding, rank, "output_padding", 0, "negative output_padding is not supported"
    )
    if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation)):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got "
            "output_padding: "
            f"{list(extra)} stride: {list(stride)} dilation: {list(dilation)}"
        )
    kernel = weight._array.shape[2:]
    sizes = tuple(
        (size - 1) * s - 2 * p + d * (k - 1) + e + 1
        for size, k, s, p, d, e in zip(
            input.shape[-rank:], kernel, stride, padding, dilation, extra
        )
    )
    if any(size <= 0 for size in sizes):
        raise RuntimeError(
            f"Given input size per channel: {list(input.shape[-rank:])}. Calculated output size "
            "per "
            f"channel: {list(sizes)}. Output size is too small"
        )
    pairs = tuple((p, p - e) for p, e in zip(padding, extra))
    if input.ndim == rank + 1:
        batch = input.unsqueeze(0)
        return transposed_convolve(
            batch, weight, bias, sizes, stride, pairs, dilation, groups
        ).squeeze(0)
    return transposed_convolve(input, weight, bias, sizes, stride, pairs, dilation, groups)


# ------------------------------------------------------------------------------ public functions
def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation over one dimension; see `conv2d`.

    Shape:
        (N, C, L), (O, C/groups, k), (O,) -> (N, O, L'); the batch axis may be absent.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.conv1d(torch.arange(4.0).reshape(1, 1, 4), torch.ones(1, 1, 2))
        tensor([[[1., 3., 5.]]])
    """
    return _convolve(1, "conv1d", input, weight, bias, stride, padding, dilation, groups)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of images with kernels (Dumoulin and Visin 2016).

    ``out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] * input[n, c, y*stride +
    i*dilation, ...]``

    Args:
        input: images of C channels.
        weight: O kernels, each over C/groups channels.
        bias: one number per output channel, or None.
        stride: steps between windows, one int or one per dimension; default 1.
        padding: zeros on both sides, one int or one per dimension, or "same" or "valid"; default 0.
        dilation: steps between the kernel's elements; default 1.
        groups: channels are split into so many groups that do not see each other; default 1.

    Shape:
        (N, C, H, W), (O, C/groups, kh, kw), (O,) -> (N, O, H', W') with
        H' = (H + 2*padding - dilation*(kh - 1) - 1) // stride + 1; the batch axis may be absent.

    Raises:
        RuntimeError: shapes or dtypes that do not fit, or settings out of range.

    Example:
        >>> import danlu as torch
        >>> image, kernel = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)
        >>> torch.nn.functional.conv2d(image, kernel)
        tensor([[[[4., 4.],
                  [4., 4.]]]])
    """
    return _convolve(2, "conv2d", input, weight, bias, stride, padding, dilation, groups)


def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation over three dimensions; see `conv2d`.

    Shape:
        (N, C, D, H, W), (O, C/groups, kd, kh, kw), (O,) -> (N, O, D', H', W')

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.conv3d(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)).item()
        8.0
    """
    return _convolve(3, "conv3d", input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """The adjoint of `conv1d`; see `conv_transpose2d`.

    Shape:
        (N, C, L), (C, O/groups, k), (O,) -> (N, O, L')

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.conv_transpose1d(torch.ones(1, 1, 2), torch.ones(1, 1, 2))
        tensor([[[1., 2., 1.]]])
    """
    return _convolve_transposed(
        1,
        "conv_transpose1d",
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose2d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """The adjoint of `conv2d`: every input element adds its multiple of the kernel to the output.

    Args:
        input: images of C channels.
        weight: kernels, the input channels first.
        bias: one number per output channel, or None.
        stride: steps between the kernel's places in the output; default 1.
        padding: how much is cut off the output's sides; default 0.
        output_padding: added to the output's size at the end, below stride or dilation; default 0.
        groups: channels are split into so many groups; default 1.
        dilation: steps between the kernel's elements; default 1.

    Shape:
        (N, C, H, W), (C, O/groups, kh, kw), (O,) -> (N, O, H', W') with
        H' = (H - 1)*stride - 2*padding + dilation*(kh - 1) + output_padding + 1

    Raises:
        RuntimeError: shapes or dtypes that do not fit, or settings out of range.

    Example:
        >>> import danlu as torch
        >>> image, kernel = torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
        >>> torch.nn.functional.conv_transpose2d(image, kernel, stride=2)
        tensor([[[[1., 1., 1., 1.]]]])
    """
    return _convolve_transposed(
        2,
        "conv_transpose2d",
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose3d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """The adjoint of `conv3d`; see `conv_transpose2d`.

    Shape:
        (N, C, D, H, W), (C, O/groups, kd, kh, kw), (O,) -> (N, O, D', H', W')

    Example:
        >>> import danlu as torch
        >>> x, weight = torch.ones(1, 1, 1, 1, 1), torch.ones(1, 2, 1, 1, 1)
        >>> torch.nn.functional.conv_transpose3d(x, weight).shape
        torch.Size([1, 2, 1, 1, 1])
    """
    return _convolve_transposed(
        3,
        "conv_transpose3d",
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


_BY_RANK = {
    1: (conv1d, conv_transpose1d),
    2: (conv2d, conv_transpose2d),
    3: (conv3d, conv_transpose3d),
}


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """Any of the six convolutions, the number of dimensions taken from the weight.

    Example:
        >>> import danlu as torch
        >>> x, weight = torch.ones(1, 1, 3), torch.ones(1, 1, 2)
        >>> torch.convolution(x, weight, None, [1], [0], [1], False, [0], 1)
        tensor([[[2., 2.]]])
    """
    if weight.ndim - 2 not in _BY_RANK:
        raise RuntimeError(
            f"convolution: weight must have 3 to 5 dimensions, but got {weight.ndim}"
        )
    plain, adjoint = _BY_RANK[weight.ndim - 2]
    if transposed:
        return adjoint(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return plain(input, weight, bias, stride, padding, dilation, groups)
