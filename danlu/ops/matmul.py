"""Products of vectors, matrices and batches of them."""

from __future__ import annotations

import numpy as np

from danlu.kernels.matmul import LEAST
from danlu.kernels.matmul import matmul as product
from danlu.ops.pointwise import _conj
from danlu.ops.registry import Array, composite, operator, scalar_name, write_out
from danlu.tensor import Tensor, publish_method

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "chain_matmul", "dot", "einsum",
    "ger", "inner", "kron", "matmul", "mm", "mv", "outer", "tensordot", "vdot",
]  # fmt: skip


def _check_kinds(name, a, b):
    if a.dtype is not b.dtype and a.dtype != b.dtype:
        from danlu.backend.dtypes import of_array

        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {_c_name(of_array(a))} != "
            f"{_c_name(of_array(b))}. Convert one of them, for example with .to(other.dtype)"
        )


def _c_name(kind) -> str:
    return {"float32": "float", "float64": "double", "int64": "long long", "int32": "int"}.get(
        kind.name, scalar_name(kind)
    )


def _shown(shape) -> str:
    return "x".join(map(str, shape))


def product_error(a, b) -> RuntimeError:
    """PyTorch's words for matrices that do not fit together."""
    if (a.ndim == 2 and b.ndim == 2) or (a.ndim > 2 and b.ndim == 2):
        left = a.reshape(-1, a.shape[-1]) if a.ndim > 2 else a
        return RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({_shown(left.shape)} and "
            f"{_shown(b.shape)})"
        )
    if a.ndim == 1 and b.ndim == 1:
        return RuntimeError(
            f"inconsistent tensor size, expected tensor [{_shown(a.shape)}] and src "
            f"[{_shown(b.shape)}] to have the same number of elements"
        )
    if b.ndim == 1:
        return RuntimeError(
            f"size mismatch, got input ({a.shape[0]}), mat ({_shown(a.shape)}), vec ({b.shape[0]})"
        )
    if a.shape[-1] != b.shape[-2]:
        return RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{a.shape[0]}, {a.shape[-1]}] but got: [{b.shape[0]}, {b.shape[-2]}]."
        )
    for back in range(3, min(a.ndim, b.ndim) + 1):
        m, n = a.shape[-back], b.shape[-back]
        if m != n and 1 not in (m, n):
            return RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                "non-singleton dimension "
                f"{max(a.ndim, b.ndim) - back}"
            )
    return RuntimeError(f"cannot multiply shapes {list(a.shape)} and {list(b.shape)}")


def multiply(a, b):
    """The matrix product of two arrays: generated code for large ones of floats, else BLAS for the
    types that it has."""
    if a.dtype.kind == "b":
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Bool'")
    try:
        if a.size * b.shape[-1] >= LEAST and a.ndim >= 2 <= b.ndim:
            return product(a, b)
        if a.ndim == 2 == b.ndim:
            return a.dot(b)  # half the call overhead of matmul on small matrices
        return np.matmul(a, b)
    except (TypeError, ValueError):
        if a.dtype.kind == "V":
            return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
        raise product_error(a, b) from None


@operator(method=False, name="Mm")
def _product(input: Array, other: Array):
    if input.ndim == 0 or other.ndim == 0:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are "
            f"{input.ndim}D and {other.ndim}D"
        )
    _check_kinds("matmul", input, other)
    if input.dtype.kind == "V":
        return multiply(input.astype(np.float32), other.astype(np.float32)).astype(input.dtype)
    return multiply(input, other)


@_product.vjp
def _(needs, g, input, other):
    """Vectors count as matrices of one row (left) or one column (right)."""
    from danlu.ops.rules import sum_to

    a_shape, b_shape = tuple(input.shape), tuple(other.shape)
    if len(a_shape) == 2 == len(b_shape):
        return (
            multiply_on(g, _conj(other.T)) if needs[0] else None,
            multiply_on(_conj(input.T), g) if needs[1] else None,
        )
    a = input.reshape(1, -1) if len(a_shape) == 1 else input
    b = other.reshape(-1, 1) if len(b_shape) == 1 else other
    batch = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    full = g.reshape((*batch, a.shape[-2], b.shape[-1]))
    ga = gb = None
    if needs[0]:
        ga = sum_to(multiply_on(full, _conj(b.swapaxes(-1, -2))), tuple(a.shape)).reshape(a_shape)
    if needs[1]:
        if len(b_shape) == 2 and len(a_shape) > 2:
            # one large product instead of a batch of them whose results are summed
            flat = a.reshape(-1, a.shape[-1])
            gb = multiply_on(_conj(flat.T), full.reshape(-1, full.shape[-1]))
        else:
            gb = sum_to(multiply_on(_conj(a.swapaxes(-1, -2)), full), tuple(b.shape)).reshape(
                b_shape
            )
    return ga, gb


def multiply_on(a, b):
    return _product(a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else multiply(a, b)


def _named(name, ranks, node, words):
    """matmul's relatives, which insist on the number of dimensions."""

    def body(input: Array, other: Array):
        if ranks is not None and (input.ndim, other.ndim) != ranks:
            raise RuntimeError(words.format(input.ndim, other.ndim))
        if name == "bmm" and (input.shape[0] != other.shape[0] or input.shape[2] != other.shape[1]):
            raise product_error(input, other)
        if name in ("dot", "vdot") and input.shape != other.shape:
            raise product_error(input, other)
        return _product.op.fn(input, other)

    body.__name__ = name
    body.__doc__ = f"The matrix product; {words.split(',')[0].split(':')[0]}." if words else None
    op = operator(method=(name, "__matmul__") if name == "matmul" else name, name=node)(body)
    op.vjp(_product.op.joint)
    return op


matmul = _named("matmul", None, "Mm", "")
matmul.__doc__ = """The matrix product, batched over leading dimensions, with NumPy's rules for
vectors.

    Raises:
        RuntimeError: a scalar operand, sizes that do not fit, or different dtypes.
    """
mm = _named("mm", (2, 2), "Mm", "mat1 and mat2 must be a matrix, got {0}-D and {1}-D tensors")
mv = _named("mv", (2, 1), "Mv", "vector + matrix @ vector expected, got 1, {0}, {1}")
bmm = _named("bmm", (3, 3), "Bmm", "batch1 and batch2 must be a 3D tensor, got {0}D and {1}D")
dot = _named("dot", (1, 1), "Dot", "1D tensors expected, but got {0}D and {1}D tensors")


def _rmatmul(self, other):
    return matmul(other, self)


publish_method("__rmatmul__", _rmatmul)


@composite(method=True)
def vdot(input, other, *, out=None):
    """The dot product of two vectors, the first conjugated."""
    return dot(input.conj() if input.is_complex() else input, other, out=out)


@composite(method=("outer", "ger"))
def outer(input, vec2, *, out=None):
    """The outer product of two vectors."""
    if input._array.ndim != 1 or vec2._array.ndim != 1:
        raise RuntimeError(
            f"outer: Expected 1-D arguments, but got {input._array.ndim}-D and {vec2._array.ndim}-D"
        )
    made = input[:, None] * vec2[None, :]
    return made if out is None else write_out(out, made)


ger = outer


@composite(method=True)
def inner(input, other, *, out=None):
    """The dot products over the last dimension of both."""
    if input._array.ndim == 0 or other._array.ndim == 0:
        made = input * other
        return made if out is None else write_out(out, made)
    if input._array.shape[-1] != other._array.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input._array.shape)} and {list(other._array.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]), out=out)


def tensordot(a, b, dims=2, out=None):
    """The sum of products over several dimensions: the last and first `dims` ones, or two lists of
    them.
    """
    if isinstance(dims, Tensor):
        dims = dims.item() if dims.numel() == 1 else dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        left = list(range(a._array.ndim - dims, a._array.ndim))
        right = list(range(dims))
    else:
        left, right = ([each] if isinstance(each, int) else list(each) for each in dims)
    left = [i % a._array.ndim for i in left]
    right = [i % b._array.ndim for i in right]
    for i, j in zip(left, right):
        m, n = a._array.shape[i], b._array.shape[j]
        if m != n and 1 not in (m, n):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {m} in dim {i} and "
                f"second has size {n} "
                f"in dim {j}"
            )
        if m != n:
            a = a.sum(i, keepdim=True) if n == 1 else a
            b = b.sum(j, keepdim=True) if m == 1 else b
    keep_a = [i for i in range(a._array.ndim) if i not in left]
    keep_b = [j for j in range(b._array.ndim) if j not in right]
    shape = [a._array.shape[i] for i in keep_a] + [b._array.shape[j] for j in keep_b]
    size = int(np.prod([a._array.shape[i] for i in left]))
    rows = a.permute(keep_a + left).reshape(
        -1 if size else int(np.prod(shape[: len(keep_a)])), size
    )
    columns = b.permute(right + keep_b).reshape(
        size, -1 if size else int(np.prod(shape[len(keep_a) :]))
    )
    made = mm(rows, columns).reshape(shape)
    return made if out is None else write_out(out, made)


def _plus(name, product):
    """beta * input + alpha * (a product)."""

    def public(input, a, b, *, beta=1, alpha=1, out=None):
        made = product(a, b)
        if made._array.dtype.kind in "iub":
            kind = bool if made._array.dtype.kind == "b" else int
            beta, alpha = kind(beta), kind(alpha)
        if made.dtype is not input.dtype:
            raise RuntimeError(
                f"self and mat2 must have the same dtype, but got {scalar_name(input.dtype)} and "
                f"{scalar_name(made.dtype)}"
            )
        if alpha != 1:
            made = made * alpha
        if beta != 0:
            made = (input if beta == 1 else input * beta) + made
        return made if out is None else write_out(out, made)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"beta * input + alpha * {product.__name__}(a, b)."
    composite(method=True)(public)

    def in_place(self, *args, **kwargs):
        from danlu.ops.inplace import replace

        return replace(self, public, args, kwargs)

    publish_method(name + "_", in_place)
    return public


def _summed_bmm(a, b):
    return bmm(a, b).sum(0)


_summed_bmm.__name__ = "bmm"
addmm = _plus("addmm", mm)
addmv = _plus("addmv", mv)
addr = _plus("addr", outer)
baddbmm = _plus("baddbmm", bmm)
addbmm = _plus("addbmm", _summed_bmm)


@composite(method=True)
def kron(input, other, *, out=None):
    """The Kronecker product: every element of input times the whole of other."""
    n = max(input._array.ndim, other._array.ndim)
    a = (1,) * (n - input._array.ndim) + input._array.shape
    b = (1,) * (n - other._array.ndim) + other._array.shape
    left = input.reshape([each for size in a for each in (size, 1)])
    right = other.reshape([each for size in b for each in (1, size)])
    made = (left * right).reshape([m * k for m, k in zip(a, b)])
    return made if out is None else write_out(out, made)


def chain_matmul(*matrices, out=None):
    """The product of several matrices, from left to right in the cheapest order."""
    from danlu import linalg

    return linalg.multi_dot(matrices, out=out)


# ---------------------------------------------------------------- einsum
def einsum(equation, *operands):
    """A sum of products by index letters (Einstein's convention), with `...` for dimensions left as
    they are.

    The operands are contracted pairwise from left to right, each pair as one batched matrix
    product.

    Example:
        >>> import danlu as torch
        >>> torch.einsum("ij,jk->ik", torch.ones(2, 3), torch.ones(3, 2))
        tensor([[3., 3.],
                [3., 3.]])

    Raises:
        RuntimeError: letters and dimensions do not match.
    """
    if not isinstance(equation, str):
        equation, operands = _from_sublists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    terms, output, operands = _parse_einsum(equation, operands)
    terms, operands = list(terms), list(operands)
    for i, (term, x) in enumerate(zip(terms, operands)):
        terms[i], operands[i] = _diagonals(term, x)
    sizes: dict = {}
    for term, x in zip(terms, operands):
        for letter, size in zip(term, x.shape):
            if sizes.get(letter, 1) != 1 and size not in (1, sizes[letter]):
                raise RuntimeError(
                    f"einsum(): subscript {letter} has size {size} for operand, which does not "
                    "broadcast with "
                    f"previously seen size {sizes[letter]}"
                )
            sizes[letter] = (
                max(size, sizes.get(letter, 1)) if 0 not in (size, sizes.get(letter, 1)) else 0
            )
    result, done = operands[0], terms[0]
    for i in range(1, len(operands)):
        later = set(output).union(*terms[i + 1 :])
        result, done = _contract(result, done, operands[i], terms[i], later)
    gone = [j for j, letter in enumerate(done) if letter not in output]
    if gone:
        result = result.sum(gone)
        done = [letter for letter in done if letter in output]
    return result.permute([done.index(letter) for letter in output])


def _from_sublists(args):
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

    def spelled(sublist):
        return "".join("..." if each is Ellipsis else letters[each] for each in sublist)

    operands, terms = args[0 : len(args) // 2 * 2 : 2], args[1::2]
    equation = ",".join(map(spelled, terms))
    if len(args) % 2:
        equation += "->" + spelled(args[-1])
    return equation, operands


def _parse_einsum(equation, operands):
    """Per operand the list of its index labels (letters, and numbers for what `...` covers), and
    the output's.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(operands):
        raise RuntimeError(
            f"einsum(): {'more' if len(texts) < len(operands) else 'fewer'} operands were provided "
            "than specified "
            "in the equation"
        )
    most = 0
    for text, x in zip(texts, operands):
        letters = text.replace("...", "")
        if "..." in text:
            most = max(most, x._array.ndim - len(letters))
        if len(letters) > x._array.ndim or ("..." not in text and len(letters) != x._array.ndim):
            raise RuntimeError(
                "einsum(): the number of subscripts in the equation "
                f"({len(letters)}) does not match the number of dimensions ({x._array.ndim}) for "
                "operand "
                f"'{text}' and no ellipsis was given"
            )
    terms = []
    for text, x in zip(texts, operands):
        before, dots, after = text.partition("...")
        covered = x._array.ndim - len(before) - len(after)
        middle = list(range(most - covered, most)) if dots else []
        terms.append([*before, *middle, *after])
    if arrow:
        before, dots, after = right.partition("...")
        output = [*before, *(range(most) if dots else []), *after]
        for letter in output:
            if not any(letter in term for term in terms) and not isinstance(letter, int):
                raise RuntimeError(
                    f"einsum(): output subscript {letter} does not appear in the equation for any "
                    "input operand"
                )
    else:
        every = [letter for term in terms for letter in term if isinstance(letter, str)]
        output = [
            *range(most),
            *sorted(letter for letter in set(every) if every.count(letter) == 1),
        ]
    return terms, output, operands


def _diagonals(term, x):
    """A letter that stands twice in a term means the diagonal of these dimensions."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            x = x.diagonal(0, i, j)
            term = [each for k, each in enumerate(term) if k not in (i, j)] + [letter]
    return term, x


def _contract(a, a_term, b, b_term, later):
    """One pair of operands: sum what neither the output nor a later operand has, the rest by a
    batched product.
    """

    def summed(x, term, other):
        gone = [i for i, each in enumerate(term) if each not in other and each not in later]
        return (
            (x.sum(gone), [t for i, t in enumerate(term) if i not in gone]) if gone else (x, term)
        )

    a, a_term = summed(a, a_term, b_term)
    b, b_term = summed(b, b_term, a_term)
    batch = [each for each in a_term if each in b_term and each in later]
    joined = [each for each in a_term if each in b_term and each not in later]
    a_only = [each for each in a_term if each not in b_term]
    b_only = [each for each in b_term if each not in a_term]
    a_size = dict(zip(a_term, a.shape))
    b_size = dict(zip(b_term, b.shape))
    common = {each: b_size[each] if a_size[each] == 1 else a_size[each] for each in batch + joined}

    def arranged(x, term, sizes, order):
        x = x.permute([term.index(each) for each in order])
        return x.expand([common.get(each, sizes[each]) for each in order])

    def total(sizes, order):
        found = 1
        for each in order:
            found *= sizes[each]
        return found

    a_sizes, b_sizes = {**a_size, **common}, {**b_size, **common}
    left = arranged(a, a_term, a_size, batch + a_only + joined).reshape(
        total(common, batch), total(a_sizes, a_only), total(common, joined)
    )
    right = arranged(b, b_term, b_size, batch + joined + b_only).reshape(
        total(common, batch), total(common, joined), total(b_sizes, b_only)
    )
    product = bmm(left, right)
    shape = [common[e] for e in batch] + [a_sizes[e] for e in a_only] + [b_sizes[e] for e in b_only]
    return product.reshape(shape), batch + a_only + b_only
