"""Multi-head attention as a layer."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.init import constant_, xavier_normal_, xavier_uniform_
from danlu.nn.modules.linear import NonDynamicallyQuantizableLinear
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter
from danlu.ops.creation import empty

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention by several heads on projections of the inputs, projected back (Vaswani et al.
    2017).

    Args:
        embed_dim: E, the features of the query and the output.
        num_heads: H, a divisor of E.
        dropout: probability of zeroing an attention weight in training; default 0.
        bias: whether the projections have biases; default True.
        add_bias_kv: learn a further key and value; default False.
        add_zero_attn: add a source position of zeros; default False.
        kdim: features of the key; default E.
        vdim: features of the value; default E.
        batch_first: inputs are (N, L, E) rather than (L, N, E); default False.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (L, N, E), (S, N, kdim), (S, N, vdim) -> (L, N, E) and (N, L, S); or all without N

    Raises:
        ValueError: sizes that are not positive.
        AssertionError: E is no multiple of H.

    Example:
        >>> import danlu as torch
        >>> attention = torch.nn.MultiheadAttention(4, 2, batch_first=True)
        >>> x = torch.zeros(1, 3, 4)
        >>> output, weights = attention(x, x, x)
        >>> output.shape, weights.shape
        (torch.Size([1, 3, 4]), torch.Size([1, 3, 3]))
    """

    __constants__ = ["batch_first"]

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        add_bias_kv=False,
        add_zero_attn=False,
        kdim=None,
        vdim=None,
        batch_first=False,
        device=None,
        dtype=None,
    ):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                f"num_heads={num_heads} instead"
            )
        factory = {"device": device, "dtype": dtype}
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(
                f"embed_dim must be divisible by num_heads, but {embed_dim} is no multiple of "
                f"{num_heads}"
            )
        separate = {
            "q_proj_weight": embed_dim,
            "k_proj_weight": self.kdim,
            "v_proj_weight": self.vdim,
        }
        if self._qkv_same_embed_dim:
            self.in_proj_weight = Parameter(empty((3 * embed_dim, embed_dim), **factory))
            for name in separate:
                self.register_parameter(name, None)
        else:
            for name, size in separate.items():
                self.register_parameter(name, Parameter(empty((embed_dim, size), **factory)))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter(
            "in_proj_bias", Parameter(empty(3 * embed_dim, **factory)) if bias else None
        )
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **factory)
        if add_bias_kv:
            self.bias_k = Parameter(empty((1, 1, embed_dim), **factory))
            self.bias_v = Parameter(empty((1, 1, embed_dim), **factory))
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self):
        if self._qkv_same_embed_dim:
            xavier_uniform_(self.in_proj_weight)
        else:
            xavier_uniform_(self.q_proj_weight)
            xavier_uniform_(self.k_proj_weight)
            xavier_uniform_(self.v_proj_weight)
        if self.in_proj_bias is not None:
            constant_(self.in_proj_bias, 0.0)
            constant_(self.out_proj.bias, 0.0)
        if self.bias_k is not None:
            xavier_normal_(self.bias_k)
        if self.bias_v is not None:
            xavier_normal_(self.bias_v)

    def __setstate__(self, state):
        state.setdefault("_qkv_same_embed_dim", True)  # attentions pickled before kdim existed
        super().__setstate__(state)

    def forward(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        is_flipped = self.batch_first and query.dim() == 3
        if is_flipped:  # (N, L, E) -> (L, N, E); inputs that are one tensor stay one tensor
            flipped = {id(each): each.transpose(0, 1) for each in (query, key, value)}
            query, key, value = (flipped[id(each)] for each in (query, key, value))
        out, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (out.transpose(0, 1) if is_flipped else out), weights
