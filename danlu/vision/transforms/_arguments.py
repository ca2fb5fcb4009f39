"""What the constructors of transforms accept, and the numbers that they draw."""

from __future__ import annotations

import danlu
from danlu.vision.transforms.functional import size_pair

__all__ = ["angle_range", "randint", "sequence_of", "size_tuple", "uniform"]


def size_tuple(size, message: str = "Please provide only two dimensions (h, w) for size.") -> tuple:
    """(height, width) from a number, one number in a sequence, or two.

    Raises:
        ValueError: a sequence of another length; the text is `message`.
    """
    return tuple(size_pair(size, message))


def sequence_of(values, name: str, lengths: tuple[int, ...] = (2,)) -> None:
    """Check for a sequence of one of these lengths.

    Raises:
        TypeError: it is none.
        ValueError: it has another length.
    """
    wanted = " or ".join(str(length) for length in lengths)
    if not hasattr(values, "__len__"):
        raise TypeError(f"{name} should be a sequence of length {wanted}.")
    if len(values) not in lengths:
        raise ValueError(f"{name} should be a sequence of length {wanted}.")


def angle_range(value, name: str, lengths: tuple[int, ...] = (2,)) -> list[float]:
    """[-x, x] from a number x, and a sequence as floats.

    Raises:
        TypeError: neither a number nor a sequence.
        ValueError: a negative number, or a sequence of another length.
    """
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be positive.")
        return [float(-value), float(value)]
    sequence_of(value, name, lengths)
    return [float(each) for each in value]


def uniform(low: float, high: float) -> float:
    """A number between the two, as float32 has them."""
    return danlu.empty(1).uniform_(low, high).item()


def randint(low: int, high: int) -> int:
    """A whole number from `low` to `high` - 1."""
    return danlu.randint(low, high, (1,)).item()
