"""Activation functions, each one node with a derivative of its own.

Derivatives at a kink take the side that PyTorch takes."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from danlu.kernels.fused import activation as kernels
from danlu.kernels.fused import updates
from danlu.ops.checks import require_floating
from danlu.ops.error_function import normal_cdf
from danlu.ops.pointwise import sigmoid
from danlu.ops.registry import Array, ns, operator

SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017, section 2
SELU_SCALE = 1.0507009873554804934193349852946
_NORMAL_DENSITY_AT_0 = 1 / sqrt(2 * pi)


# ------------------------------------------------------------------------------ piecewise linear
@operator(inplace=True, update=updates.relu)
def relu(input: Array):
    """max(0, x), elementwise.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.relu(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    return kernels.relu(input)


@relu.vjp
def _(g, out):
    return relu_gradient.on(g, out)


@operator(method=False, name="ThresholdBackward")
def relu_gradient(input: Array, activated: Array):
    """The gradient where relu was positive, 0 elsewhere, also where the gradient is infinite."""
    return kernels.relu_backward(input, activated)


relu_gradient.vjps(
    input=lambda g, activated: relu_gradient.on(g, activated), activated=lambda g: g * 0
)


@operator(inplace=True, method=False)
def leaky_relu(input: Array, negative_slope=0.01):
    """x where x > 0, negative_slope * x elsewhere (Maas et al. 2013)."""
    require_floating(input, "leaky_relu_cpu")
    return ns(input).where(input > 0, input, input * negative_slope)


@leaky_relu.vjp
def _(g, input, negative_slope):
    return ns(g).where(input > 0, g, g * negative_slope)


@operator(inplace=True, method=False)
def hardtanh(input: Array, min_val=-1.0, max_val=1.0):
    """x limited to [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val, but {min_val} > {max_val}")
    if input.dtype.kind in "iu":
        min_val, max_val = int(min_val), int(max_val)
    xp = ns(input)
    return xp.minimum(xp.maximum(input, min_val), max_val)


@hardtanh.vjp
def _(g, input, min_val, max_val):
    return ns(g).where((input > min_val) & (input < max_val), g, 0.0)


@operator(inplace=True, method=False)
def hardsigmoid(input: Array):
    """min(max(x + 3, 0), 6) / 6, the sigmoid in three straight pieces (Howard et al. 2019)."""
    require_floating(input, "hardsigmoid_cpu")
    xp = ns(input)
    return xp.minimum(xp.maximum(input + 3.0, 0.0), 6.0) / 6.0


@hardsigmoid.vjp
def _(g, input):
    return ns(g).where((input > -3) & (input < 3), g / 6.0, 0.0)


@operator(inplace=True, method=False)
def hardswish(input: Array):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    require_floating(input, "hardswish_cpu")
    xp = ns(input)
    return input * xp.minimum(xp.maximum(input + 3.0, 0.0), 6.0) / 6.0


@hardswish.vjp
def _(g, input):
    xp = ns(g)
    inner = xp.where(input < 3, g * (input / 3.0 + 0.5), g)
    return xp.where(input <= -3, 0.0, inner)


@operator(space="nn.functional", method=False)
def softshrink(input: Array, lambd=0.5):
    """x moved towards zero by lambd, and zero where |x| <= lambd.

    Args:
        input: a floating-point tensor.
        lambd: half width of the dead zone, 0 or more; default 0.5.

    Shape:
        (*) -> (*)

    Raises:
        RuntimeError: `lambd` is negative.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.softshrink(torch.tensor([-1.0, 0.2, 2.0]))
        tensor([-0.5000,  0.0000,  1.5000])
    """
    require_floating(input, "softshrink_cpu")
    if not lambd >= 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}")
    xp = ns(input)
    return input - xp.minimum(xp.maximum(input, -lambd), lambd)


@softshrink.vjp
def _(g, input, lambd):
    return ns(g).where(abs(input) <= lambd, 0.0, g)


@operator(method=True)
def hardshrink(input: Array, lambd=0.5):
    """x where |x| > lambd, zero elsewhere.

    Args:
        input: a floating-point tensor.
        lambd: half width of the dead zone; default 0.5.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.hardshrink(torch.tensor([-1.0, 0.2, 2.0]))
        tensor([-1.,  0.,  2.])
    """
    require_floating(input, "hardshrink_cpu")
    return ns(input).where(abs(input) <= lambd, 0.0, input)


@hardshrink.vjp
def _(g, input, lambd):
    return ns(g).where(abs(input) <= lambd, 0.0, g)


@operator(inplace=True, method=False)
def threshold(input: Array, threshold, value):
    """x where x > threshold, value elsewhere."""
    return ns(input).where(input <= threshold, input.dtype.type(value), input)


@threshold.vjp
def _(g, input, threshold):
    return ns(g).where(input <= threshold, 0.0, g)


@operator(method=True, name="PreluKernel")
def prelu(input: Array, weight: Array):
    """x where x >= 0, weight * x elsewhere, one weight for all or one a channel (He et al. 2015).

    Args:
        input: a floating-point tensor; axis 1 holds the channels (axis 0 of a 1-d tensor).
        weight: one learnt slope, or one per channel.

    Shape:
        (N, C, *), (1,) or (C,) -> (N, C, *)

    Raises:
        RuntimeError: the number of weights is neither 1 nor the number of channels.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.prelu(torch.tensor([[-1.0, 2.0]]), torch.tensor([0.25]))
        tensor([[-0.2500,  2.0000]])
    """
    require_floating(input, "prelu_cpu")
    if input.dtype != weight.dtype:
        raise RuntimeError(
            "prelu: Type promoting not supported. Got "
            f"{input.dtype.name} and {weight.dtype.name}: give input and weight one dtype (.to)"
        )
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.size != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor with more than one weight.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if channels != weight.size:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.size} and channel size = {channels}."
            )
    slope = weight.reshape(_channel_shape(input.ndim, weight.size))
    return ns(input).where(input > 0, input, slope * input)


def _channel_shape(ndim: int, size: int) -> tuple:
    """The shape in which `size` channel weights broadcast against an input of `ndim` axes."""
    return (1,) * ndim if size == 1 else (1, size) + (1,) * (ndim - 2)


@prelu.vjp
def _(needs, g, input, weight):
    xp = ns(g)
    size = 1
    for length in weight.shape:
        size *= length
    ndim = input.ndim
    slope = weight.reshape(_channel_shape(ndim, size))
    grad_input = xp.where(input > 0, g, g * slope) if needs[0] else None
    if not needs[1]:
        return grad_input, None
    kept = None if size == 1 else 1
    grad_slope = xp.where(input > 0, 0.0, g * input)
    if ndim:
        grad_slope = grad_slope.sum(axis=tuple(axis for axis in range(ndim) if axis != kept))
    return grad_input, grad_slope.reshape(tuple(weight.shape))


@operator(inplace=True, method=False, name="RreluWithNoise")
def scale_by_noise(input: Array, noise: Array):
    """x times the slopes that `rrelu` drew."""
    return input * noise


@scale_by_noise.vjp
def _(g, noise):
    return g * noise, None


# ------------------------------------------------------------------------------ exponential
@operator(inplace=True, method=False)
def elu(input: Array, alpha=1.0, scale=1.0, input_scale=1.0):
    """x where x > 0, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2015)."""
    require_floating(input, "elu_cpu")
    xp = ns(input)
    # the exponent is limited to the side that is used, so that the other cannot overflow
    below = xp.expm1(xp.minimum(input, 0) * input_scale) * (alpha * scale)
    return xp.where(input > 0, input if scale == 1 else input * scale, below)


@elu.vjp
def _(g, input, alpha, scale, input_scale):
    xp = ns(g)
    slope = xp.exp(xp.where(input > 0, 0.0, input) * input_scale) * (alpha * scale * input_scale)
    return xp.where(input > 0, g if scale == 1 else g * scale, g * slope)


@operator(method=False, inplace=True)
def celu(input: Array, alpha=1.0):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)) (Barron 2017)."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    require_floating(input, "elu_cpu")
    xp = ns(input)
    return xp.where(input > 0, input, xp.expm1(xp.minimum(input, 0) / alpha) * alpha)


@celu.vjp
def _(g, input, alpha):
    xp = ns(g)
    return xp.where(input > 0, g, g * xp.exp(xp.where(input > 0, 0.0, input) / alpha))


@operator(method=False, space="nn.functional")
def softplus(input: Array, beta=1.0, threshold=20.0):
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold.

    Args:
        input: a floating-point tensor.
        beta: sharpness; default 1.
        threshold: where the function becomes the identity; default 20.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.softplus(torch.tensor([0.0, 30.0]))
        tensor([ 0.6931, 30.0000])
    """
    require_floating(input, "softplus_cpu")
    xp = ns(input)
    scaled = input if beta == 1 else input * beta
    soft = xp.log1p(xp.exp(xp.minimum(scaled, threshold)))
    return xp.where(scaled > threshold, input, soft if beta == 1 else soft / beta)


@softplus.vjp
def _(g, input, beta, threshold):
    scaled = input if beta == 1 else input * beta
    return ns(g).where(scaled > threshold, g, g * sigmoid.on(scaled))


@operator(method=False, space="nn.functional", name="LogSigmoid")
def logsigmoid(input: Array):
    """log(1 / (1 + exp(-x))).

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.logsigmoid(torch.tensor([0.0]))
        tensor([-0.6931])
    """
    require_floating(input, "log_sigmoid_cpu")
    xp = ns(input)
    return xp.minimum(input, 0) - xp.log1p(xp.exp(-abs(input)))


@logsigmoid.vjp
def _(g, input):
    return g * sigmoid.on(-input)


@operator(method=False, space="nn.functional")
def gelu(input: Array, approximate="none"):
    """x * P(X <= x) for a standard normal X (Hendrycks and Gimpel 2016).

    Args:
        input: a floating-point tensor.
        approximate: "none" for the error function, "tanh" for the authors' approximation
            0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); default "none".

    Shape:
        (*) -> (*)

    Raises:
        RuntimeError: `approximate` is another word.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.gelu(torch.tensor([-1.0, 2.0]))
        tensor([-0.1587,  1.9545])
    """
    require_floating(input, "GeluKernelImpl")
    if approximate == "none":
        return kernels.gelu(input)
    if approximate != "tanh":
        raise RuntimeError("approximate argument must be either none or tanh.")
    return kernels.gelu_tanh(input)


@gelu.vjp
def _(g, input, approximate):
    if approximate == "tanh":
        return kernels.gelu_tanh_backward(g, input)
    if g.__class__ is np.ndarray:
        return kernels.gelu_backward(g, input)
    density = ns(g).exp(input * input * -0.5) * _NORMAL_DENSITY_AT_0
    return g * (normal_cdf.on(input) + input * density)


@operator(inplace=True, method=False)
def silu(input: Array):
    """x * sigmoid(x), also called swish (Hendrycks and Gimpel 2016; Ramachandran et al. 2017)."""
    require_floating(input, "silu_cpu")
    return kernels.silu(input)


@silu.vjp
def _(g, input):
    if g.__class__ is np.ndarray:
        return kernels.silu_backward(g, input)
    gate = sigmoid.on(input)
    return g * (gate * (1.0 + input * (1.0 - gate)))


@operator(inplace=True, method=False)
def mish(input: Array):
    """x * tanh(softplus(x)) (Misra 2019)."""
    require_floating(input, "mish_cpu")
    xp = ns(input)
    return input * xp.tanh(xp.logaddexp(input, input.dtype.type(0)))


@mish.vjp
def _(g, input):
    tanh = ns(g).tanh(softplus.on(input))
    return g * (tanh + input * sigmoid.on(input) * (1.0 - tanh * tanh))


@operator(promote="float", method=False, space="nn.functional", name="Div")
def softsign(input: Array):
    """x / (1 + |x|).

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.softsign(torch.tensor([-1.0, 3.0]))
        tensor([-0.5000,  0.7500])
    """
    return input / (abs(input) + 1)


@softsign.vjp
def _(g, input):
    reach = abs(input) + 1
    return g / (reach * reach)


@operator(promote="float", method=False, space="nn.functional", name="Sub")
def tanhshrink(input: Array):
    """x - tanh(x).

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.tanhshrink(torch.tensor([0.0, 2.0]))
        tensor([0.0000, 1.0360])
    """
    return input - ns(input).tanh(input)


@tanhshrink.vjp
def _(g, input):
    tanh = ns(g).tanh(input)
    return g * (tanh * tanh)


@operator(method=False, space="nn.functional")
def glu(input: Array, dim=-1):
    """a * sigmoid(b), where a and b are the halves of the input (Dauphin et al. 2016).

    Args:
        input: a floating-point tensor whose size along `dim` is even.
        dim: the axis to halve; default -1.

    Shape:
        (*, 2n, *) -> (*, n, *)

    Raises:
        RuntimeError: the size along `dim` is odd, or the input has no axis.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.glu(torch.tensor([3.0, 0.0]))
        tensor([1.5000])
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    if not -input.ndim <= dim < input.ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-input.ndim}, {input.ndim - 1}],"
            f" but got {dim})"
        )
    size = input.shape[dim]
    if size % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim % input.ndim} is size {size}"
        )
    first, second = _halves(input, dim)
    return first * sigmoid.on(second)


def _halves(x, dim: int):
    half = x.shape[dim] // 2
    front = (slice(None),) * (dim % x.ndim)
    return x[front + (slice(None, half),)], x[front + (slice(half, None),)]


@glu.vjp
def _(g, input, dim):
    first, second = _halves(input, dim)
    gate = sigmoid.on(second)
    gated = g * gate
    return ns(g).concat((gated, gated * first * (1.0 - gate)), axis=dim)
