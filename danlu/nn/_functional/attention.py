"""Scaled dot-product attention, and multi-head attention with its projections.

Legend: N samples, L target positions, S source positions, E features, H heads."""

from __future__ import annotations

import math

from danlu.kernels import attention as kernels
from danlu.nn._functional.dropout import dropout
from danlu.ops.checks import by_value
from danlu.ops.joining import cat
from danlu.ops.linear import linear
from danlu.ops.registry import Array, operator
from danlu.ops.softmax import softmax
from danlu.tensor import Tensor

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def _float_mask(mask, like):
    """A boolean mask of what may be attended to (True) as numbers to add."""
    if mask.dtype.name != "bool":
        return mask
    return like.new_zeros(mask.shape).masked_fill(~mask, -math.inf)


def _causal_mask(query, key):
    """Position i may see the positions up to i."""
    rows, columns = query.shape[-2], key.shape[-2]
    return query.new_ones((rows, columns), dtype=bool).tril()


def _attention(query, key, value, mask, dropout_p, scale, blind_is_zero):
    """The attended values and the weights; `mask` is added to the scores.

    A position that sees nothing has weights 0 / 0; with `blind_is_zero` they become 0."""
    scores = (query * scale) @ key.transpose(-2, -1)  # (*, L, E) x (*, E, S) -> (*, L, S)
    if mask is not None:
        scores = scores + mask
    is_blind = None
    if blind_is_zero and mask is not None:
        is_blind = (mask == -math.inf).all(-1, keepdim=True)
        is_blind = is_blind if _some(is_blind._array) else None
    if is_blind is None:
        weights = softmax(scores, -1)
    else:  # filled before as well as after, so that no gradient is 0 / 0
        weights = softmax(scores.masked_fill(is_blind, 0.0), -1).masked_fill(is_blind, 0.0)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    return weights @ value, weights


@by_value(otherwise=True, raises=False)
def _some(mask) -> bool:
    return bool(mask.any())


@operator(method=False, name="ScaledDotProductFlashAttentionForCpu")
def _blocked_attention(
    query: Array, key: Array, value: Array, mask: Array | None, scale, is_causal
):
    """Attention without its weights: the attended values, and what the gradients need."""
    return kernels.attention(query, key, value, mask, scale, is_causal)


@_blocked_attention.vjp
def _(needs, g, query, key, value, mask, out0, out1, scale, is_causal):
    grad = g[0]
    if isinstance(grad, Tensor):  # differentiable once more
        if is_causal:
            mask = _float_mask(_causal_mask(query, key), query)
        weights = _attention(query, key, value, mask, 0.0, scale, blind_is_zero=True)[1]
        by_weight = grad @ value.transpose(-2, -1)
        by_score = weights * (by_weight - (by_weight * weights).sum(-1, keepdim=True)) * scale
        return (
            by_score @ key, by_score.transpose(-2, -1) @ query,
            weights.transpose(-2, -1) @ grad, None,
        )  # fmt: skip
    return (
        *kernels.attention_backward(grad, query, key, value, mask, out0, out1, scale, is_causal),
        None,
    )


def _attended(query, key, value, mask, dropout_p, scale, is_causal=False):
    """The attended values alone, where a position that sees nothing gets 0."""
    if not dropout_p and (mask is None or not mask.requires_grad):
        arrays = [None if x is None else x._array for x in (query, key, value, mask)]
        if kernels.fits(*arrays):
            return _blocked_attention(query, key, value, mask, float(scale), is_causal)[0]
    if is_causal:
        mask = _float_mask(_causal_mask(query, key), query)
    return _attention(query, key, value, mask, dropout_p, scale, blind_is_zero=True)[0]


def scaled_dot_product_attention(
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    enable_gqa=False,
):
    """softmax(Q K^T * scale + mask) V (Vaswani et al. 2017).

    Args:
        query: Q.
        key: K.
        value: V.
        attn_mask: booleans, True where attention is allowed, or numbers to add to the scores;
            or None.
        dropout_p: probability of zeroing a weight; default 0.
        is_causal: let position i see positions up to i alone; default False.
        scale: default 1 / sqrt(E).
        enable_gqa: repeat the key's and value's heads to match the query's; default False.

    Shape:
        (N, ..., L, E), (N, ..., S, E), (N, ..., S, Ev) -> (N, ..., L, Ev)

    Raises:
        RuntimeError: both `attn_mask` and `is_causal`.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(1, 2, 4)
        >>> torch.nn.functional.scaled_dot_product_attention(x, x, x).shape
        torch.Size([1, 2, 4])
    """
    for name, given in (("query", query), ("key", key), ("value", value)):
        if given.dim() < 2:
            raise RuntimeError(
                f"scaled_dot_product_attention: Expected {name} to be at least 2 dimensional, "
                f"but got {given.dim()} dimensions"
            )
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError(
                "scaled_dot_product_attention: Explicit attn_mask should not be set when "
                "is_causal=True"
            )
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    mask = None if attn_mask is None else _float_mask(attn_mask, query)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return _attended(query, key, value, mask, dropout_p, scale, is_causal)


# ------------------------------------------------------------ multi-head attention
def _projected(query, key, value, weights, biases):
    """The three inputs through their projections; one product where they are one tensor."""
    if len(weights) == 1:
        weight, bias = weights[0], biases
        size = weight.shape[0] // 3
        if query is key and key is value:
            return linear(query, weight, bias).chunk(3, -1)
        weights = weight.split(size)
        biases = (None,) * 3 if bias is None else bias.split(size)
    else:
        biases = (None,) * 3 if biases is None else biases.chunk(3)
    return [linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases)]


def _check_inputs(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Whether there is a batch axis, after the shapes have been found to fit."""
    dims = query.dim()
    if dims not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {dims}-D query tensor"
        )
    if key.dim() != dims or value.dim() != dims:
        raise AssertionError(
            f"For {'batched (3-D)' if dims == 3 else 'unbatched (2-D)'} `query`, expected `key` "
            f"and `value` to be {dims}-D but found {key.dim()}-D and {value.dim()}-D tensors "
            "respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != dims - 1:
        raise AssertionError(
            f"expected `key_padding_mask` to be None or {dims - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"expected `attn_mask` to be None, 2-D or 3-D but found {attn_mask.dim()}-D tensor "
            "instead"
        )
    return dims == 3


def _added_mask(mask, name, like):
    """A mask as numbers to add: True, which forbids here, becomes minus infinity."""
    if mask is None:
        return None
    if mask.dtype.name == "bool":
        return like.new_zeros(mask.shape).masked_fill(mask, -math.inf)
    if not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return mask.to(like.dtype)


def _with_zero_column(x, length=1):
    """A further source position of zeros, at the end of axis -2."""
    return cat((x, x.new_zeros((*x.shape[:-2], length, x.shape[-1]))), -2)


def _widened(mask):
    """A mask with one more allowed source position."""
    return None if mask is None else cat((mask, mask.new_zeros((*mask.shape[:-1], 1))), -1)


def multi_head_attention_forward(
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
):
    """Attention by H heads on projections of the inputs, projected back (Vaswani et al. 2017).

    Args:
        query: target sequence.
        key: source sequence that is compared.
        value: source sequence that is averaged.
        embed_dim_to_check: E, which the query must have.
        num_heads: H, a divisor of E.
        in_proj_weight: the three projections stacked, or None with separate ones.
        in_proj_bias: their biases stacked, or None.
        bias_k: a further key, or None.
        bias_v: a further value, or None.
        add_zero_attn: add a source position of zeros.
        dropout_p: probability of zeroing a weight while training.
        out_proj_weight: projection of the result.
        out_proj_bias: its bias, or None.
        training: whether dropout is active; default True.
        key_padding_mask: True (or minus infinity) at source positions to ignore; or None.
        need_weights: return the weights as well; default True.
        attn_mask: True (or minus infinity) where attention is forbidden; or None.
        use_separate_proj_weight: use the next three weights; default False.
        q_proj_weight: projection of the query, or None.
        k_proj_weight: projection of the key, or None.
        v_proj_weight: projection of the value, or None.
        static_k: projected keys (N H, S, E/H) to use instead, or None.
        static_v: projected values likewise, or None.
        average_attn_weights: return the weights averaged over heads; default True.
        is_causal: a promise that `attn_mask` is causal; default False.

    Shape:
        (L, N, E), (S, N, E), (S, N, E) -> (L, N, E) and (N, L, S); or all without N

    Raises:
        AssertionError: shapes that do not fit.

    Example:
        >>> import danlu as torch
        >>> attention = torch.nn.MultiheadAttention(4, 2)
        >>> attention(*[torch.zeros(3, 1, 4)] * 3)[0].shape
        torch.Size([3, 1, 4])
    """
    is_batched = _check_inputs(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not is_batched:
        shared = query is key, key is value
        query = query.unsqueeze(1)
        key = query if shared[0] else key.unsqueeze(1)
        value = key if shared[1] else value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, batch, features = query.shape
    head_size = features // num_heads
    if features != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {features}"
        )
    if head_size * num_heads != features:
        raise AssertionError(f"embed_dim {features} not divisible by num_heads {num_heads}")
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint: "
            "nn.Transformer.generate_square_subsequent_mask(size) makes one"
        )
    if not use_separate_proj_weight and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    if use_separate_proj_weight and key.shape[:2] != value.shape[:2]:
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        )
    weights = [in_proj_weight]
    if use_separate_proj_weight:
        weights = [q_proj_weight, k_proj_weight, v_proj_weight]
    q, k, v = _projected(query, key, value, weights, in_proj_bias)
    mask = _added_mask(attn_mask, "attn_mask", q)
    padding = _added_mask(key_padding_mask, "key_padding_mask", q)
    if mask is not None and mask.dim() == 2:
        mask = _check_mask(mask, (length, key.shape[0]), "2D").unsqueeze(0)
    elif mask is not None:
        _check_mask(mask, (batch * num_heads, length, key.shape[0]), "3D")
    if bias_k is not None and bias_v is not None:
        k = cat((k, bias_k.repeat(1, batch, 1)))
        v = cat((v, bias_v.repeat(1, batch, 1)))
        mask, padding = _widened(mask), _widened(padding)

    def heads(x, static=None):  # (T, N, E) -> (N H, T, E/H)
        if static is not None:
            return static
        return x.reshape(x.shape[0], batch * num_heads, head_size).transpose(0, 1)

    q, k, v = heads(q), heads(k, static_k), heads(v, static_v)
    if add_zero_attn:
        k, v = _with_zero_column(k), _with_zero_column(v)
        mask, padding = _widened(mask), _widened(padding)
    source = k.shape[1]
    if padding is not None:
        if tuple(padding.shape) != (batch, source):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(batch, source)}, but got "
                f"{tuple(padding.shape)}"
            )
        padding = padding.reshape(batch, 1, 1, source).expand(-1, num_heads, -1, -1)
        padding = padding.reshape(batch * num_heads, 1, source)
        mask = padding if mask is None else mask + padding
    dropout_p, scale = dropout_p if training else 0.0, 1 / math.sqrt(head_size)
    if need_weights:
        out, attention = _attention(q, k, v, mask, dropout_p, scale, blind_is_zero=False)
    else:
        out = _attended(q, k, v, mask, dropout_p, scale)
    out = out.transpose(0, 1).reshape(length * batch, features)  # (N H, L, E/H) -> (L N, E)
    out = linear(out, out_proj_weight, out_proj_bias).reshape(length, batch, -1)
    if not is_batched:
        out = out.squeeze(1)
    if not need_weights:
        return out, None
    attention = attention.reshape(batch, num_heads, length, source)
    if average_attn_weights:
        attention = attention.mean(1)
    return out, attention if is_batched else attention.squeeze(0)


def _check_mask(mask, expected, kind):
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {kind} attn_mask is {mask.shape}, but should be {expected}."
        )
    return mask
