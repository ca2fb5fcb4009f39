"""The default generator, and the states of generators as Tensors."""

from __future__ import annotations

from contextlib import contextmanager

from danlu.backend import dtypes
from danlu.backend.random import Generator, default_generator
from danlu.tensor import Tensor, wrap

__all__ = [
    "Generator", "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed",
    "seed", "set_rng_state",
]  # fmt: skip


def _get_state(self) -> Tensor:
    """The whole state as a uint8 tensor of 5056 elements; PyTorch's CPU generator reads it too."""
    return wrap(self.state_bytes())


def _set_state(self, new_state) -> None:
    """Continue from a state that `get_state`, danlu's or PyTorch's, returned.

    Raises:
        TypeError: not a uint8 tensor.
        RuntimeError: not the state of a generator.
    """
    if not isinstance(new_state, Tensor):
        raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
    if new_state.dtype is not dtypes.uint8:
        raise TypeError(f"RNG state must be a torch.ByteTensor, got dtype {new_state.dtype!r}")
    self.set_state_bytes(new_state._array)


# the backend knows no Tensors: the public face of the states is added here, as operators add
# methods to Tensor
setattr(Generator, "get_state", _get_state)  # noqa: B010
setattr(Generator, "set_state", _set_state)  # noqa: B010


def manual_seed(seed) -> Generator:
    """Restart the default generator at a seed and return it; all draws after it can be repeated.

    Args:
        seed: an integer in [-2**63, 2**64); negative ones count from 2**64.

    Raises:
        ValueError: the seed is out of range, or is no number.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.rand(2)
        tensor([0.4963, 0.7682])
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Restart the default generator at a seed from the operating system's entropy, and return that
    seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator's last restart.

    Example:
        >>> import danlu as torch
        >>> torch.manual_seed(3).initial_seed(), torch.initial_seed()
        (3, 3)
    """
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, as a uint8 tensor that PyTorch's `set_rng_state` reads as
    well.

    Example:
        >>> import danlu as torch
        >>> before = torch.get_rng_state()
        >>> a = torch.rand(3)
        >>> torch.set_rng_state(before)
        >>> torch.equal(a, torch.rand(3))
        True
    """
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continue the default generator's stream from a state that `get_rng_state` returned.

    Raises:
        TypeError: not a uint8 tensor.
        RuntimeError: not the state of a generator.
    """
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices=None, enabled=True, device_type=None):
    """Give the default generator back its state on leaving the `with` block.

    Args:
        devices: accepted for PyTorch's sake; the CPU's state is always kept.
        enabled: False makes this do nothing. Default: True.
        device_type: accepted for PyTorch's sake.

    Example:
        >>> import danlu as torch
        >>> _ = torch.manual_seed(0)
        >>> with torch.random.fork_rng():
        ...     inside = torch.rand(2)
        >>> torch.equal(inside, torch.rand(2))
        True
    """
    if not enabled:
        yield
        return
    before = default_generator.state_bytes()
    try:
        yield
    finally:
        default_generator.set_state_bytes(before)
