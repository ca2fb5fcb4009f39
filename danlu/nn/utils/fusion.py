"""Folding a batch norm in evaluation mode into the layer before it."""

from __future__ import annotations

import copy

from danlu.nn.parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]


def _check_fusible(layer, bn):
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!: call .eval() on both modules first")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")


def _scale_and_shift(mean, variance, eps, weight, bias):
    """y = scale x + shift, which is what the batch norm computes."""
    scale = (variance + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias


def _fused(weight, bias, mean, variance, eps, bn_weight, bn_bias, shape):
    scale, shift = _scale_and_shift(mean, variance, eps, bn_weight, bn_bias)
    fused_weight = (weight * scale.reshape(shape)).to(weight.dtype)
    fused_bias = shift if bias is None else bias * scale + shift
    return (
        Parameter(fused_weight, weight.requires_grad),
        Parameter(
            fused_bias.to((weight if bias is None else bias).dtype),
            bias is not None and bias.requires_grad,
        ),
    )


def fuse_conv_bn_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose: bool = False):
    """Weight and bias of the convolution that does the work of a convolution and a batch norm.

    Args:
        conv_w, conv_b: of the convolution; the bias may be None.
        bn_rm, bn_rv, bn_eps: running mean and variance of the batch norm, and its epsilon.
        bn_w, bn_b: its weight and bias, or None.
        transpose: whether the convolution is a transposed one. Default: False.
    """
    shape = [1] * conv_w.dim()
    shape[1 if transpose else 0] = -1
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, shape)


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """Weight and bias of the linear layer that does the work of one and a batch norm."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, [-1, 1])


def fuse_conv_bn_eval(conv, bn, transpose: bool = False):
    """A convolution that computes ``bn(conv(x))``, both in evaluation mode."""
    _check_fusible(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias,
        transpose,
    )  # fmt: skip
    return fused


def fuse_linear_bn_eval(linear, bn):
    """A linear layer that computes ``bn(linear(x))``, both in evaluation mode."""
    _check_fusible(linear, bn)
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused
