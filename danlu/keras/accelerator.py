"""Where a model is trained: the device, and what a step may ask of it."""

from __future__ import annotations

import contextlib

import danlu
from danlu import nn
from danlu.tensor import Tensor


class Accelerator:
    """The device of a training run, with the methods that a custom step expects of Hugging Face's
    class of that name.

    Args:
        mixed_precision: ``"no"`` (default) or ``"bf16"``.
        cpu: stay on the CPU even where a GPU is available. Default: False
        gradient_accumulation_steps: batches to each optimizer step, at least 1. Default: 1

    Attributes:
        device: the `danlu.device` that batches and network are moved to.
        sync_gradients: whether the optimizer steps on this batch; False inside an accumulation.

    Raises:
        ValueError: for values outside these.

    Example::

        >>> from danlu.keras.accelerator import Accelerator
        >>> Accelerator(cpu=True).device
        device(type='cpu')
    """

    def __init__(self, mixed_precision="no", cpu=False, gradient_accumulation_steps=1):
        if mixed_precision == "fp16":
            raise ValueError("mixed_precision='fp16' needs loss scaling; use 'bf16', or 'no'")
        if mixed_precision not in ("no", "bf16", None):
            raise ValueError(f"mixed_precision must be 'no' or 'bf16', got {mixed_precision!r}")
        if gradient_accumulation_steps < 1:
            raise ValueError(
                f"gradient_accumulation_steps must be at least 1, got {gradient_accumulation_steps}"
            )
        self.mixed_precision = mixed_precision or "no"
        self.gradient_accumulation_steps = int(gradient_accumulation_steps)
        self.device = danlu.device("cuda" if not cpu and danlu.cuda.is_available() else "cpu")
        self.sync_gradients = True
        self.is_main_process = self.is_local_main_process = True

    def autocast(self):
        """A context in which the forward pass runs in the chosen precision."""
        if self.mixed_precision == "no":
            return contextlib.nullcontext()
        return danlu.autocast(self.device.type, dtype=danlu.bfloat16)

    def backward(self, loss):
        """Backpropagates the loss, divided by the number of batches that are accumulated."""
        if self.gradient_accumulation_steps > 1:
            loss = loss / self.gradient_accumulation_steps
        loss.backward()

    def clip_grad_norm_(self, parameters, max_norm, norm_type=2.0):
        """Scales the gradients down to a total norm of at most `max_norm`; returns the norm."""
        return nn.utils.clip_grad_norm_(parameters, max_norm, norm_type=norm_type)

    def gather(self, value):
        """`value` itself: there is one process."""
        return value

    gather_for_metrics = gather

    def prepare(self, *objects):
        """Moves modules to the device; other objects come back unchanged."""
        moved = tuple(o.to(self.device) if isinstance(o, nn.Module) else o for o in objects)
        return moved[0] if len(moved) == 1 else moved

    def unwrap_model(self, model):
        """`model` itself: nothing wraps it."""
        return model

    def print(self, *values, **options):
        """Prints, on the main process."""
        print(*values, **options)

    def wait_for_everyone(self):
        """Returns at once: there is one process."""


def to_device(batch, device):
    """`batch` with every tensor in its tuples, lists and dicts moved to `device`."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
