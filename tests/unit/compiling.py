"""What the tests of `danlu.compile` share."""

from __future__ import annotations

import warnings

import numpy as np

import danlu as torch


def recorded(function, *calls):
    """What the calls return, and the texts of all CompileWarnings."""
    from danlu.compiler import CompileWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        returned = [copied(function(*call)) for call in calls]
    return returned, [str(w.message) for w in caught if issubclass(w.category, CompileWarning)]


def inputs(count=4):
    """Different data of one shape, the same in every run, and a stream at the same place."""
    torch.manual_seed(3)
    return [(torch.randn(4, 3),) for _ in range(count)]


def outcome(factory, transform, calls=6):
    """What a case makes, a tuple of (step, what happens before each call, what there is to see),
    gives in some calls of its transformed step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(2)
        step, before, look = factory()
        data = inputs(calls)
        step = transform(step)
        returned = []
        for i, arguments in enumerate(data):
            before(i)
            returned.append(copied(step(*arguments)))
        return [returned, copied(look()), copied(torch.get_rng_state())]


def copied(value):
    """Tensors as arrays of their own, in lists and dicts of their own."""
    if hasattr(value, "detach"):
        value = value.detach()
        return np.array(value.float() if value.dtype.itemsize == 2 else value)
    if isinstance(value, dict):
        return {str(key): copied(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(part) for part in value]
    return value


RELATIVE = {"float64": 1e-9, "float32": 2e-4, "bfloat16": 3e-2}
ABSOLUTE = {"float64": 1e-9, "float32": 5e-5, "bfloat16": 3e-2}


def differences(found, expected, precision: str, path: str = "") -> list[str]:
    """Where two copies differ by more than the rounding of a precision, and how."""
    if isinstance(expected, np.ndarray):
        if not isinstance(found, np.ndarray) or found.shape != expected.shape:
            return [f"{path}: {found!r}, not {expected!r}"]
        if found.dtype != expected.dtype:
            return [f"{path}: {found.dtype}, not {expected.dtype}"]
        if expected.dtype.kind != "f":
            return [] if np.array_equal(found, expected) else [f"{path}: {found}, not {expected}"]
        # of a sum that cancels, the size of its parts says how it was rounded
        scale = np.abs(expected).max(initial=1, where=np.isfinite(expected))
        if np.allclose(
            found, expected, RELATIVE[precision], ABSOLUTE[precision] * scale, equal_nan=True
        ):
            return []
        apart = np.nanmax(np.abs(found.astype(np.float64) - expected))
        return [f"{path}: {apart:.3g} apart of {np.nanmax(np.abs(expected)):.3g}"]
    if isinstance(expected, dict):
        if not isinstance(found, dict) or found.keys() != expected.keys():
            return [f"{path}: {found!r}, not {expected!r}"]
        parts = [(found[key], expected[key], f"{path}.{key}") for key in expected]
    elif isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return [f"{path}: {found!r}, not {expected!r}"]
        parts = [(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(found, expected))]
    elif isinstance(expected, float) and isinstance(found, float):
        same = np.isclose(found, expected, RELATIVE[precision], 0, equal_nan=True)
        return [] if same else [f"{path}: {found!r}, not {expected!r}"]
    elif callable(expected):  # a schedule's own function
        return []
    else:
        return [] if found == expected else [f"{path}: {found!r}, not {expected!r}"]
    return [line for a, b, where in parts for line in differences(a, b, precision, where)]
