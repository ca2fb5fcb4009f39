"""Sample calls of every operator: arrays stand for tensors, everything else for itself.

No PyTorch and no danlu here: the parity tests run each sample on both, the unit tests run them on
danlu alone. To add an operator, add its entry to the family that it belongs to."""

from __future__ import annotations

from tests.parity import (  # noqa: F401 - each adds its entries
    samples_elementwise,
    samples_linalg,
    samples_positions,
    samples_shape,
)
from tests.parity.sample_arrays import ENTRIES, Entry

__all__ = ["ENTRIES", "Entry"]
