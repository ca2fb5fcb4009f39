"""Normalisation functions; running statistics are updated here, outside the tape."""

from __future__ import annotations

from math import prod

from danlu.backend.dtypes import finfo
from danlu.ops import normalization as ops
from danlu.ops.joining import cat
from danlu.size import Size

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "rms_norm",
]


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes of each sample (Ba et al.
    2016).

    Args:
        input: a floating-point tensor.
        normalized_shape: the sizes of the last axes.
        weight: scale of that shape, or None.
        bias: shift of that shape, or None.
        eps: added to the biased variance; default 1e-5.

    Shape:
        (*, normalized_shape) -> (*, normalized_shape)

    Raises:
        RuntimeError: shapes that do not fit.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.layer_norm(torch.tensor([[1.0, 3.0]]), (2,))
        tensor([[-1.0000,  1.0000]])
    """
    return ops.native_layer_norm(input, weight, bias, tuple(normalized_shape), eps)[0]


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """x / sqrt(mean(x^2) + eps) * weight over the last axes of each sample (Zhang and Sennrich
    2019).

    Args:
        input: a floating-point tensor.
        normalized_shape: the sizes of the last axes.
        weight: scale of that shape, or None.
        eps: added to the mean square; default the dtype's machine epsilon.

    Shape:
        (*, normalized_shape) -> (*, normalized_shape)

    Raises:
        RuntimeError: shapes that do not fit.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.rms_norm(torch.tensor([[1.0, 7.0]]), (2,))
        tensor([[0.2000, 1.4000]])
    """
    if eps is None:
        eps = finfo(input.dtype).eps
    return ops.native_rms_norm(input, weight, tuple(normalized_shape), eps)


def _require_several_values(count, shape):
    if count == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {Size(shape)}: "
            "use a larger batch, or call eval()"
        )


def _check_channels(shape, **given):
    """Refuse per-channel tensors of another length than the input's axis 1."""
    if len(shape) < 2:
        raise RuntimeError(
            "Expected more than 1 dimension for batch normalisation, but got a tensor of size "
            f"{list(shape)}"
        )
    for name, tensor in given.items():
        if tensor is not None and tensor._array.shape != (shape[1],):
            raise RuntimeError(
                f"{name} should contain {shape[1]} elements not {tensor.numel()}: the input of "
                f"shape {list(shape)} has {shape[1]} channels in axis 1"
            )


def _update(running, value, momentum):
    """running = (1 - momentum) running + momentum value, in place and unrecorded."""
    array = running._array
    array *= 1 - momentum
    array += value * momentum
    running._writes[0] += 1


def _update_running(running_mean, running_var, mean, scale, eps, count, momentum):
    """Move the running statistics towards the batch's; the variance is made unbiased."""
    if running_mean is not None:
        _update(running_mean, mean._array.reshape(-1), momentum)
    if running_var is not None:
        inverse = scale._array.reshape(-1)
        unbiased = (1 / (inverse * inverse) - eps) * (count / (count - 1))
        _update(running_var, unbiased, momentum)


def _of_nothing(input, weight, bias):
    """An empty batch stays empty and teaches nothing, but the parameters get gradients of zero."""
    out = input.clone()
    for parameter, joined in ((weight, out.mul), (bias, out.add)):
        if parameter is not None and parameter.numel():
            out = joined(parameter[0])
    return out


def batch_norm(
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel (Ioffe and Szegedy 2015).

    Args:
        input: a floating-point tensor.
        running_mean: mean used outside training and updated in training, or None.
        running_var: variance likewise (unbiased), or None.
        weight: scale of each channel, or None.
        bias: shift of each channel, or None.
        training: use and record the batch's own statistics; default False.
        momentum: weight of the batch in the update; default 0.1.
        eps: added to the biased variance; default 1e-5.

    Shape:
        (N, C, *) -> (N, C, *)

    Raises:
        ValueError: one value per channel in training, or an `eps` that is not positive.
        RuntimeError: statistics or parameters of another length than C.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True)
        tensor([[-1.0000],
                [ 1.0000]])
    """
    shape = input._array.shape
    if not prod(shape):
        return _of_nothing(input, weight, bias)
    _check_channels(
        shape, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if not training:
        if eps < 0:
            raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "Expected running_mean and running_var to be defined when training is False"
            )
        return ops.batch_norm_inference(input, weight, bias, running_mean, running_var, eps)
    count = prod(shape) // shape[1]
    _require_several_values(count, shape)
    if eps <= 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    out, mean, scale = ops.batch_norm_training(input, weight, bias, eps)
    _update_running(running_mean, running_var, mean, scale, eps, count, momentum)
    return out


def instance_norm(
    input,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of each sample (Ulyanov et al.
    2016).

    Args:
        input: a floating-point tensor.
        running_mean: mean used without `use_input_stats`, else updated by the batch's average;
            or None.
        running_var: variance likewise, or None.
        weight: scale of each channel, or None.
        bias: shift of each channel, or None.
        use_input_stats: use and record the input's own statistics; default True.
        momentum: weight of the input in the update; default 0.1.
        eps: added to the biased variance; default 1e-5.

    Shape:
        (N, C, *) -> (N, C, *)

    Raises:
        ValueError: one value per channel.
        RuntimeError: statistics or parameters of another length than C.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.instance_norm(torch.tensor([[[1.0, 3.0]]]))
        tensor([[[-1.0000,  1.0000]]])
    """
    shape = input._array.shape
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "Expected running_mean and running_var to be defined when use_input_stats is False"
            )
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    _check_channels(
        shape, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    count = prod(shape[2:])
    if count == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {Size(shape)}"
        )
    out, mean, scale = ops.native_group_norm(input, weight, bias, shape[1], eps)
    if running_mean is not None:
        _update(running_mean, mean._array.reshape(shape[:2]).mean(axis=0), momentum)
    if running_var is not None:
        inverse = scale._array.reshape(shape[:2])
        unbiased = (1 / (inverse * inverse) - eps) * (count / (count - 1))
        _update(running_var, unbiased.mean(axis=0), momentum)
    return out


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias for each group of channels of each sample (Wu
    and He 2018).

    Args:
        input: a floating-point tensor.
        num_groups: number of groups, a divisor of C.
        weight: scale of each channel, or None.
        bias: shift of each channel, or None.
        eps: added to the biased variance; default 1e-5.

    Shape:
        (N, C, *) -> (N, C, *)

    Raises:
        ValueError: one value per group.
        RuntimeError: C is no multiple of `num_groups`, or parameters of another length.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.group_norm(torch.tensor([[1.0, 3.0], [2.0, 8.0]]), 1)
        tensor([[-1.0000,  1.0000],
                [-1.0000,  1.0000]])
    """
    shape = input._array.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {len(shape)}"
        )
    if shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(shape)} and num_groups={num_groups}"
        )
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None and given._array.shape != (shape[1],):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, "
                f"but got {name} of shape {list(given.shape)} and input of shape {list(shape)}"
            )
    _require_several_values(
        prod(shape) // num_groups, (shape[0] * shape[1] // num_groups, num_groups, *shape[2:])
    )
    return ops.native_group_norm(input, weight, bias, num_groups, eps)[0]


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta (Krizhevsky et al.
    2012).

    Args:
        input: a floating-point tensor of three axes or more.
        size: number of channels in the mean, which counts channels beyond the border as zero.
        alpha: factor of the mean; default 1e-4.
        beta: exponent; default 0.75.
        k: constant; default 1.

    Shape:
        (N, C, *) -> (N, C, *)

    Raises:
        ValueError: fewer than three axes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.local_response_norm(torch.ones(1, 1, 2), 1, alpha=3.0, beta=0.5)
        tensor([[[0.5000, 0.5000]]])
    """
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    if not input.numel():
        return input
    channels = input.shape[1]
    before = input.new_zeros((input.shape[0], size // 2, *input.shape[2:]))
    after = input.new_zeros((input.shape[0], (size - 1) // 2, *input.shape[2:]))
    squares = cat((before, input * input, after), 1)
    window = squares[:, :channels]
    for start in range(1, size):
        window = window + squares[:, start : start + channels]
    return input / (window * (alpha / size) + k) ** beta
