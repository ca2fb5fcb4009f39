"""Result dtypes and broadcasting of operators, for all pairs of dtypes, against PyTorch."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import danlu

torch = pytest.importorskip("torch")

KINDS = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "uint16",
    "uint32",
    "uint64",
]
OPERATORS = {
    "add": operator.add,
    "mul": operator.mul,
    "div": operator.truediv,
    "lt": operator.lt,
    "eq": operator.eq,
    "pow": operator.pow,
}
NUMBERS = (True, 2, 2.5, 1 + 2j)


def outcome(function, *args):
    """The dtype of a result, or the type of the exception."""
    try:
        return str(function(*args).dtype)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        return type(error)


def operand(module, kind, dimensions):
    return module.ones((2,) * dimensions).to(getattr(module, kind))


@pytest.mark.parametrize("name", OPERATORS)
def test_pairs_of_dtypes(name):
    apply = OPERATORS[name]
    wrong = []
    for left, right in itertools.product(KINDS, KINDS):
        for dims in ((1, 1), (1, 0), (0, 1), (0, 0)):
            results = [
                outcome(apply, operand(m, left, dims[0]), operand(m, right, dims[1]))
                for m in (torch, danlu)
            ]
            if {left, right} & {"float16"} and {left, right} & {"complex64", "complex128"}:
                continue  # complex32 has no array type
            if isinstance(results[0], str) and results[0] != results[1]:
                wrong.append((left, right, dims, *results))
    assert not wrong, wrong[:20]


@pytest.mark.parametrize("name", OPERATORS)
def test_dtypes_with_numbers(name):
    apply = OPERATORS[name]
    wrong = []
    for kind, number, dims in itertools.product(KINDS, NUMBERS, (0, 1)):
        if kind == "float16" and isinstance(number, complex):
            continue  # complex32 has no array type
        for flipped in (False, True):
            results = []
            for m in (torch, danlu):
                pair = (operand(m, kind, dims), number)
                results.append(outcome(apply, *(pair[::-1] if flipped else pair)))
            if isinstance(results[0], str) and results[0] != results[1]:
                wrong.append((kind, number, dims, flipped, *results))
    assert not wrong, wrong[:20]


@pytest.mark.parametrize("kind", KINDS)
def test_promote_types_and_can_cast(kind):
    for other in KINDS:
        results = []
        for m in (torch, danlu):
            a, b = getattr(m, kind), getattr(m, other)
            try:
                found = str(m.promote_types(a, b))
            except RuntimeError:
                found = RuntimeError
            results.append((found, m.can_cast(a, b)))
        if results[0][0] is not RuntimeError:  # danlu promotes more of the wide unsigned types
            assert results[0] == results[1], (kind, other)


@pytest.mark.parametrize(
    "scalar", ["float32", "float64", "float16", "int64", "int8", "complex64", "bool_"]
)
@pytest.mark.parametrize("kind", ["float32", "int64", "complex64", "bool"])
def test_numpy_scalars_on_both_sides(scalar, kind):
    value = getattr(np, scalar)(2)
    for apply in (operator.add, operator.mul, operator.truediv, operator.lt, operator.eq):
        for flipped in (False, True):
            number, t = (
                value.item(),
                operand(torch, kind, 1),
            )  # PyTorch drops imaginary parts of NumPy's scalars
            try:
                expected = apply(number, t) if flipped else apply(t, number)
            except (RuntimeError, TypeError, NotImplementedError):
                continue
            t = operand(danlu, kind, 1)
            got = apply(value, t) if flipped else apply(t, value)
            assert type(got) is danlu.Tensor, got
            assert str(got.dtype) == str(expected.dtype)
            np.testing.assert_allclose(got.numpy(), expected.numpy())


@pytest.mark.parametrize(
    "name", ["sum", "mean", "prod", "cumsum", "exp", "sqrt", "sigmoid", "floor", "abs", "square"]
)
def test_dtypes_of_one(name):
    for kind in KINDS[:12]:
        arguments = (0,) if name == "cumsum" else ()
        results = [
            outcome(getattr(m.Tensor, name), operand(m, kind, 1), *arguments)
            for m in (torch, danlu)
        ]
        if isinstance(results[0], str):
            assert results[0] == results[1], kind


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "bool", "float16"])
def test_in_place_results_that_do_not_fit_are_refused(kind):
    for other in ("int64", "float32", "complex64"):
        results = []
        for m in (torch, danlu):
            try:
                results.append(str(operand(m, kind, 1).add_(operand(m, other, 1)).dtype))
            except RuntimeError:
                results.append(RuntimeError)
        assert results[0] == results[1], (kind, other)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([0, 1, 1, 2, 3]), max_size=3).map(tuple),
    st.lists(st.sampled_from([0, 1, 1, 2, 3]), max_size=3).map(tuple),
)
def test_broadcasting(left, right):
    results = []
    for m in (torch, danlu):
        a = m.ones(left, dtype=m.float64).requires_grad_()
        b = m.full(right, 2.0, dtype=m.float64).requires_grad_()
        try:
            made = a * b + a
            made.sum().backward()
        except RuntimeError as error:
            results.append(error)
            continue
        results.append([each.detach().numpy() for each in (made, a.grad, b.grad)])
    expected, got = results
    if isinstance(expected, Exception):
        assert isinstance(got, RuntimeError)
        assert "must match the size of tensor" in str(got)
        return
    for x, y in zip(expected, got):
        assert x.shape == y.shape
        np.testing.assert_array_equal(x, y)
