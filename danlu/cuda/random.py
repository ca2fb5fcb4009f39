"""The random streams of CUDA devices, of which there are none.

Seeding does nothing, as in PyTorch: a program may seed before it knows where it will run.
`danlu.manual_seed` seeds the CPU's stream.
"""

from __future__ import annotations

from danlu.cuda.devices import refuse

__all__ = [
    "default_generators", "get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed",
    "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_rng_state_all",
]  # fmt: skip

default_generators = ()


def manual_seed(seed: int) -> None:
    """Seed the selected CUDA device; there is none."""
    int(seed)


def manual_seed_all(seed: int) -> None:
    """Seed every CUDA device; there is none."""
    int(seed)


def seed() -> None:
    """Seed the selected CUDA device from the operating system's entropy; there is none."""


def seed_all() -> None:
    """Seed every CUDA device from the operating system's entropy; there is none."""


def initial_seed() -> int:
    """The seed of the selected CUDA device.

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def get_rng_state(device="cuda"):
    """The state of a CUDA device's stream.

    Raises:
        AssertionError: there is no CUDA device.
    """
    return refuse()


def get_rng_state_all() -> list:
    """The states of the streams of all CUDA devices: none."""
    return []


def set_rng_state(new_state, device="cuda") -> None:
    """Set the state of a CUDA device's stream; there is none."""


def set_rng_state_all(new_states) -> None:
    """Set the states of the streams of all CUDA devices.

    Raises:
        AssertionError: `new_states` holds a state, and there is no CUDA device to set it on.
    """
    if len(new_states) > 0:
        refuse()
