"""Normalisation layers: x-hat = (x - mean) / sqrt(variance + eps), then scale and shift, as one
node each.

The nodes also return the mean and 1 / sqrt(variance + eps), which the derivative needs; Legend: N
samples, C channels,
G groups, * any further axes."""

from __future__ import annotations

from math import prod

from danlu.kernels import normalization as kernels
from danlu.kernels.fused import normalization as fused
from danlu.ops.checks import require_floating
from danlu.ops.registry import Array, ns, operator


def _count(shape, axes):
    """How many elements each statistic is taken over; 1 of none, whose sums are 0 as well."""
    return max(prod([shape[axis] for axis in axes]), 1)


def _standardized(x, axes, eps):
    """x-hat, the mean, the biased variance and 1 / sqrt(variance + eps) over `axes`, which are
    kept."""
    xp = ns(x)
    count = x.dtype.type(_count(x.shape, axes))
    mean = x.sum(axis=axes, keepdims=True) / count
    centered = x - mean
    variance = (centered * centered).sum(axis=axes, keepdims=True) / count
    scale = 1 / xp.sqrt(variance + eps)
    centered *= scale
    return centered, mean, variance, scale


def _through_standardized(g, standardized, scale, axes):
    """The gradient of x from that of x-hat: scale (g - mean(g) - x-hat mean(g x-hat))."""
    count = _count(standardized.shape, axes)
    shift = g.sum(axis=axes, keepdims=True)
    slope = (g * standardized).sum(axis=axes, keepdims=True)
    return (g - (shift + standardized * slope) * (1 / count)) * scale


def _through_statistics(grad, g_mean, g_scale, standardized, scale, axes):
    """Add what reaches x through the returned statistics; only second derivatives do."""
    count = _count(standardized.shape, axes)
    if g_mean is not None:
        grad = _plus(grad, ns(g_mean).broadcast_to(g_mean * (1 / count), standardized.shape))
    if g_scale is not None:
        grad = _plus(grad, standardized * (scale * scale * g_scale * (-1 / count)))
    return grad


def _plus(sum_so_far, term):
    return term if sum_so_far is None else sum_so_far + term


def _affine(out, weight, bias, shape):
    """weight * out + bias, in place, with weight and bias broadcast from `shape`."""
    if weight is not None:
        out *= weight.reshape(shape)
    if bias is not None:
        out += bias.reshape(shape)
    return out


# ------------------------------------------------------------------------------ layer norm
def check_normalized_shape(input, normalized_shape, weight, bias):
    """Refuse a `normalized_shape` that is not the end of the input's shape, or not that of the
    parameters.

    Raises:
        RuntimeError: either.
    """
    count = len(normalized_shape)
    if not count:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
            "element, but got normalized_shape = []"
        )
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None and given.shape != normalized_shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(given.shape)} and normalized_shape = {list(normalized_shape)}"
            )
    if input.shape[-count:] != normalized_shape:
        axes = "".join(f", {size}" for size in normalized_shape)
        raise RuntimeError(
            f"Given normalized_shape={list(normalized_shape)}, expected input with shape "
            f"[*{axes}], but got input of size{list(input.shape)}"
        )


@operator(method=False, name="NativeLayerNorm")
def native_layer_norm(
    input: Array, weight: Array | None, bias: Array | None, normalized_shape, eps
):
    """Standardise over the last axes; returns the result, the mean and the scale."""
    check_normalized_shape(input, normalized_shape, weight, bias)
    require_floating(input, "LayerNormKernelImpl")
    return fused.layer_norm(input, weight, bias, len(normalized_shape), float(eps))


@native_layer_norm.vjp
def _(needs, g, out1, out2, input, weight, normalized_shape):
    g_out, g_mean, g_scale = g
    mean, scale = out1, out2
    count = len(normalized_shape)
    grad_input = grad_weight = grad_bias = None
    if g_out is not None:
        grad_input, grad_weight, grad_bias = fused.layer_norm_backward(
            g_out, input, weight, mean, scale, count, needs
        )
    if needs[0] and not (g_mean is None and g_scale is None):
        standardized = (input - mean) * scale
        axes = tuple(range(-count, 0))
        grad_input = _through_statistics(grad_input, g_mean, g_scale, standardized, scale, axes)
    return grad_input, grad_weight, grad_bias


@operator(method=False, name="Mul")
def native_rms_norm(input: Array, weight: Array | None, normalized_shape, eps):
    """x / sqrt(mean(x^2) + eps) over the last axes."""
    check_normalized_shape(input, normalized_shape, weight, None)
    out = fused.rms_norm(input, weight, len(normalized_shape), float(eps))
    # ml_dtypes' bfloat16 becomes float32 in NumPy's means
    return out.astype(input.dtype) if input.dtype.kind == "V" else out


@native_rms_norm.vjp
def _(needs, g, input, weight, normalized_shape, eps):
    return fused.rms_norm_backward(g, input, weight, len(normalized_shape), float(eps), needs)


# ------------------------------------------------------------------------------ batch norm
def _all_but_channels(ndim):
    return (0, *range(2, ndim))


def _channels(shape):
    return (1, shape[1]) + (1,) * (len(shape) - 2)


@operator(method=False, name="NativeBatchNorm")
def batch_norm_training(input: Array, weight: Array | None, bias: Array | None, eps):
    """Standardise each channel by the batch's own statistics; returns the result, the mean and
    the scale."""
    require_floating(input, "batch_norm")
    found = kernels.batch_norm(input, weight, bias, eps)
    if found is not None:
        out, mean, scale = found
        return out, mean.reshape(_channels(input.shape)), scale.reshape(_channels(input.shape))
    out, mean, _, scale = _standardized(input, _all_but_channels(input.ndim), eps)
    return _affine(out, weight, bias, _channels(input.shape)), mean, scale


@batch_norm_training.vjp
def _(needs, g, out1, out2, input, weight):
    g_out, g_mean, g_scale = g
    mean, scale = out1, out2
    if g_mean is None and g_scale is None:
        found = kernels.batch_gradients(g_out, input, weight, mean, scale, needs[0])
        if found is not None:
            return found
    axes = _all_but_channels(len(input.shape))
    standardized = (input - mean) * scale
    grad_input = grad_weight = grad_bias = None
    if g_out is not None:
        if needs[0]:
            inner = g_out if weight is None else g_out * weight.reshape(_channels(input.shape))
            grad_input = _through_standardized(inner, standardized, scale, axes)
        if needs[1]:
            grad_weight = (g_out * standardized).sum(axis=axes)
        if needs[2]:
            grad_bias = g_out.sum(axis=axes)
    if needs[0]:
        grad_input = _through_statistics(grad_input, g_mean, g_scale, standardized, scale, axes)
    return grad_input, grad_weight, grad_bias


@operator(method=False, name="NativeBatchNorm")
def batch_norm_inference(
    input: Array, weight: Array | None, bias: Array | None, mean: Array, variance: Array, eps
):
    """Standardise each channel by given statistics, which are constants."""
    require_floating(input, "batch_norm")
    shape = _channels(input.shape)
    scale = 1 / ns(input).sqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    if bias is not None:
        shift += bias
    out = kernels.affine(input, scale, shift)
    if out is not None:
        return out
    out = input * scale.reshape(shape).astype(input.dtype)
    out += shift.reshape(shape)
    return out


@batch_norm_inference.vjp
def _(needs, g, input, weight, mean, variance, eps):
    shape = _channels(input.shape)
    axes = _all_but_channels(len(input.shape))
    scale = (variance + eps) ** -0.5
    grad_input = grad_weight = grad_bias = None
    if needs[0]:
        grad_input = g * (scale if weight is None else scale * weight).reshape(shape)
    if needs[1]:
        grad_weight = (g * (input - mean.reshape(shape))).sum(axis=axes) * scale
    if needs[2]:
        grad_bias = g.sum(axis=axes)
    return grad_input, grad_weight, grad_bias, None, None


# ------------------------------------------------------------------------------ group norm
@operator(method=False, name="NativeGroupNorm")
def native_group_norm(input: Array, weight: Array | None, bias: Array | None, num_groups, eps):
    """Standardise each group of channels of each sample; returns the result, the mean and the
    scale."""
    require_floating(input, "GroupNormKernelImpl")
    found = kernels.group_norm(input, weight, bias, num_groups, eps)
    if found is not None:
        out, mean, scale = found
        return out, mean[..., None], scale[..., None]
    size = prod(input.shape[1:]) // num_groups
    grouped = input.reshape((input.shape[0], num_groups, size))  # (N, C, *) -> (N, G, C/G *)
    out, mean, _, scale = _standardized(grouped, (2,), eps)
    return _affine(out.reshape(input.shape), weight, bias, _channels(input.shape)), mean, scale


@native_group_norm.vjp
def _(needs, g, out1, out2, input, weight, num_groups):
    g_out, g_mean, g_scale = g
    mean, scale = out1, out2
    if g_mean is None and g_scale is None:
        found = kernels.group_gradients(g_out, input, weight, mean, scale, num_groups, needs[0])
        if found is not None:
            return found
    shape = tuple(input.shape)
    groups = (shape[0], num_groups, prod(shape[1:]) // num_groups)
    standardized = (input.reshape(groups) - mean) * scale
    grad_input = grad_weight = grad_bias = None
    if g_out is not None:
        axes = _all_but_channels(len(shape))
        if needs[0]:
            inner = g_out if weight is None else g_out * weight.reshape(_channels(shape))
            grad_input = _through_standardized(inner.reshape(groups), standardized, scale, (2,))
        if needs[1]:
            grad_weight = (g_out * standardized.reshape(shape)).sum(axis=axes)
        if needs[2]:
            grad_bias = g_out.sum(axis=axes)
    if needs[0]:
        grad_input = _through_statistics(grad_input, g_mean, g_scale, standardized, scale, (2,))
        grad_input = grad_input.reshape(shape)
    return grad_input, grad_weight, grad_bias
