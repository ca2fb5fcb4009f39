"""`summary`: the layers of a network with output shapes and parameter counts."""

from __future__ import annotations

import math

import danlu
from danlu import nn
from danlu.keras.checks import RandomStates
from danlu.keras.utils import evaluating, say
from danlu.tensor import Tensor

_MEGABYTE = 2**20
#: Row format and width of the rules, for `summary` and for the older `Model.summary`.
_LAYOUTS = {
    "wide": ("{:<30}  {:>20} {:>20}", 74),
    "narrow": ("{:>20}  {:>25} {:>15}", 64),
}


def summary(
    model,
    input_data=None,
    input_data_args=None,
    input_shape=None,
    input_dtype=None,
    batch_size=-1,
    *args,
    layout="wide",
    quiet=False,
    **kwargs,
):
    """Prints, and returns as text, one line for every layer that a forward pass calls, and totals.

    The pass runs in eval mode without gradients and changes neither buffers nor random state.
    Parameters are counted once, by identity, wherever they are used; a layer's second call is
    marked ``(recursive)``. Parameters that belong to no listed layer follow after the layers.

    Args:
        model: the network.
        input_data: what to call it with: a tensor, a tuple or list (positional arguments) or a dict
            (keyword arguments).
        input_data_args: further positional arguments.
        input_shape: instead of `input_data`, the shape of one sample, or a list of shapes for
            several inputs.
        input_dtype: of such inputs, a dtype or a legacy type such as ``danlu.LongTensor``; one, or
            one for each.
            Default: the default dtype
        batch_size: shown as the first dimension. Default: -1
        *args, **kwargs: for the network.
        layout: ``"wide"`` (default) or ``"narrow"``.
        quiet: return the text without printing it. Default: False

    Raises:
        ValueError: unless exactly one of `input_data` and `input_shape` is given.

    Example::

        >>> import danlu as torch
        >>> from danlu.keras import summary
        >>> text = summary(torch.nn.Linear(2, 1), input_shape=(2,))
        --------------------------------------------------------------------------
        Layer (type)                            Output Shape              Param #
        ==========================================================================
        Linear-1                                     [-1, 1]                    3
        ==========================================================================
        Total params: 3
        Trainable params: 3
        Non-trainable params: 0
        --------------------------------------------------------------------------
        Input size (MB): 0.000008
        Forward/backward pass size (MB): 0.000008
        Params size (MB): 0.000011
        Estimated Total Size (MB): 0.000027
        --------------------------------------------------------------------------
    """
    if (input_data is None) == (input_shape is None):
        raise ValueError(
            "summary needs either input_data, such as a batch of features, or input_shape, the "
            "shape of one sample without the batch dimension"
        )
    random_states = RandomStates()
    if input_shape is not None:
        inputs, named = _made_inputs(model, input_shape, input_dtype), {}
        input_bytes = abs(batch_size) * sum(_sample_bytes(tensor) for tensor in inputs)
    else:
        inputs, named = _given_inputs(input_data)
        inputs = (*inputs, *(input_data_args or ()))
        given = _tensors((inputs, named))
        input_bytes = sum(tensor.numel() * tensor.element_size() for tensor in given)
    try:
        calls = _record_calls(model, (*inputs, *args), {**named, **kwargs})
    finally:
        random_states.restore()
    text = _render(model, calls, input_bytes, batch_size, layout)
    say(text, quiet=quiet)
    return text


def _given_inputs(data):
    """Positional and keyword arguments from `input_data`."""
    if isinstance(data, dict):
        return (), data
    return (tuple(data) if isinstance(data, (tuple, list)) else (data,)), {}


def _made_inputs(model, input_shape, input_dtype):
    """Two samples for every input: random where floating, zeros (a valid index) where integer."""
    shapes = input_shape if isinstance(input_shape[0], (tuple, list)) else [input_shape]
    dtypes = input_dtype if isinstance(input_dtype, (tuple, list)) else [input_dtype] * len(shapes)
    parameter = next(model.parameters(), None)
    device = "cpu" if parameter is None else parameter.device
    inputs = []
    for shape, dtype in zip(shapes, dtypes, strict=True):
        dtype = danlu.get_default_dtype() if dtype is None else getattr(dtype, "dtype", dtype)
        make = danlu.rand if dtype.is_floating_point else danlu.zeros
        inputs.append(make(2, *shape, dtype=dtype, device=device))
    return tuple(inputs)


def _sample_bytes(tensor):
    return math.prod(tensor.shape[1:]) * tensor.element_size()


def _tensors(value):
    """The tensors in nested tuples, lists, dicts and objects with fields, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif hasattr(value, "__dataclass_fields__"):
        value = vars(value).values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [tensor for item in value for tensor in _tensors(item)]


def _record_calls(model, args, kwargs):
    """The layers that a forward pass calls, each with the first tensor of its output."""
    calls, handles = [], []

    def note_call(module, inputs, output):
        first = _tensors(output)[:1]
        calls.append((module, first[0] if first else None))

    try:
        layers = filter(_is_layer, model.modules())
        handles.extend(layer.register_forward_hook(note_call) for layer in layers)
        with evaluating(model):
            model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _is_layer(module):
    """Whether a module is one row: a leaf, or attention, which uses its child's weights itself."""
    is_leaf = next(module.children(), None) is None
    return is_leaf or isinstance(module, nn.MultiheadAttention)


def _render(model, calls, input_bytes, batch_size, layout):
    row, width = _LAYOUTS[layout]
    thin, thick = "-" * width, "=" * width
    lines = [thin, row.format("Layer (type)", "Output Shape", "Param #"), thick]
    counted, activation_bytes = set(), 0
    seen = set()
    for number, (module, output) in enumerate(calls, 1):
        shape = "-"
        if output is not None:
            shape = str([batch_size, *output.shape[1:]])
            activation_bytes += abs(batch_size) * _sample_bytes(output)
        own = {id(p): p.numel() for p in module.parameters() if id(p) not in counted}
        again = module in seen and next(module.parameters(), None) is not None
        seen.add(module)
        counted.update(own)
        count = "(recursive)" if again else f"{sum(own.values()):,}"
        lines.append(row.format(f"{type(module).__name__}-{number}", shape, count))
    for name, parameter in model.named_parameters():
        if id(parameter) not in counted:
            lines.append(row.format(name, str(list(parameter.shape)), f"{parameter.numel():,}"))
    parameters = list(model.parameters())
    total = sum(p.numel() for p in parameters)
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    parameter_bytes = sum(p.numel() * p.element_size() for p in parameters)
    # Each activation is held once for the forward pass and once as a gradient.
    sizes = [
        ("Input size", input_bytes),
        ("Forward/backward pass size", 2 * activation_bytes),
        ("Params size", parameter_bytes),
        ("Estimated Total Size", input_bytes + 2 * activation_bytes + parameter_bytes),
    ]
    lines += [
        thick,
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {total - trainable:,}",
        thin,
        *(f"{name} (MB): {size / _MEGABYTE:0.6f}" for name, size in sizes),
        thin,
    ]
    return "\n".join(lines)
