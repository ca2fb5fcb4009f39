"""What the tests and the examples in docstrings share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _small_arrays_as_in_training():
    """The first backward pass of a program gives it other functions for small arrays, whose last digits
    may differ (danlu/ops/quick.py): what a test sees must not depend on the tests before it."""
    from danlu.ops import quick

    quick.before_backward()
