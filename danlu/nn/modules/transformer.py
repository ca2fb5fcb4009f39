"""Transformers: stacks of encoder and decoder layers (Vaswani et al. 2017).

Legend: N samples, S source positions, T target positions, E = d_model features. With `batch_first`
inputs are (N, S, E), else (S, N, E)."""

from __future__ import annotations

import copy
import math
import warnings

from danlu.nn import functional as F
from danlu.nn.init import xavier_uniform_
from danlu.nn.modules.container import ModuleList
from danlu.nn.modules.module import Module
from danlu.nn.modules.normalization import LayerNorm
from danlu.nn.modules.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer
from danlu.ops.checks import by_value
from danlu.ops.creation import full

__all__ = ["Transformer", "TransformerDecoder", "TransformerEncoder"]


def _causal_mask(size, device=None, dtype=None):
    """Minus infinity above the diagonal: position i sees the positions up to i."""
    return full((size, size), -math.inf, device=device, dtype=dtype).triu(1)


def _is_causal(mask, is_causal, length):
    """Whether `mask` is the causal one; a given answer is believed."""
    if is_causal is not None or mask is None:
        return is_causal is True
    causal = _causal_mask(length, mask.device, mask.dtype)
    return mask.shape == causal.shape and _equal(mask._array, causal._array)


@by_value(otherwise=False, raises=False)
def _equal(mask, causal) -> bool:
    return bool((mask == causal).all())


def _length(x, batch_first):
    return x.shape[1 if batch_first and x.dim() == 3 else 0]


def _copies(layer, count):
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class TransformerEncoder(Module):
    """Several encoder layers one after another.

    Args:
        encoder_layer: the layer that is copied.
        num_layers: number of copies.
        norm: a last normalisation, or None.
        enable_nested_tensor: accepted and kept; this encoder computes on padded tensors.
            Default True.
        mask_check: accepted and kept; default True.

    Shape:
        (S, N, E) -> (S, N, E)

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        >>> torch.nn.TransformerEncoder(layer, 2)(torch.ones(1, 3, 4)).shape
        torch.Size([1, 3, 4])
    """

    __constants__ = ["norm"]

    def __init__(
        self, encoder_layer, num_layers, norm=None, enable_nested_tensor=True, mask_check=True
    ):
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check
        obstacle = _nesting_obstacle(encoder_layer) if enable_nested_tensor else ""
        self.use_nested_tensor = enable_nested_tensor and not obstacle
        if obstacle:
            warnings.warn(
                "enable_nested_tensor is True, but self.use_nested_tensor is False because "
                f"encoder_layer{obstacle}",
                stacklevel=2,
            )

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        out = src
        batch_first = self.layers[0].self_attn.batch_first
        is_causal = _is_causal(mask, is_causal, _length(src, batch_first))
        for layer in self.layers:
            out = layer(
                out,
                src_mask=mask,
                is_causal=is_causal,
                src_key_padding_mask=src_key_padding_mask,
            )
        return out if self.norm is None else self.norm(out)


def _nesting_obstacle(layer) -> str:
    """Why PyTorch would not use its nested tensors with this layer; users know the warning."""
    if not isinstance(layer, TransformerEncoderLayer):
        return " was not TransformerEncoderLayer"
    attention = layer.self_attn
    if layer.norm_first:
        return ".norm_first was True"
    if not attention.batch_first:
        return (
            ".self_attn.batch_first was not True(use batch_first for better inference performance)"
        )
    if not attention._qkv_same_embed_dim:
        return ".self_attn._qkv_same_embed_dim was not True"
    if attention.in_proj_bias is None:
        return ".self_attn was passed bias=False"
    if not layer.activation_relu_or_gelu:
        return ".activation_relu_or_gelu was not True"
    if layer.norm1.eps != layer.norm2.eps:
        return ".norm1.eps was not equal to encoder_layer.norm2.eps"
    return ".self_attn.num_heads is odd" if attention.num_heads % 2 else ""


class TransformerDecoder(Module):
    """Several decoder layers one after another.

    Args:
        decoder_layer: the layer that is copied.
        num_layers: number of copies.
        norm: a last normalisation, or None.

    Shape:
        (T, N, E), (S, N, E) -> (T, N, E)

    Example:
        >>> import danlu as torch
        >>> decoder = torch.nn.TransformerDecoder(torch.nn.TransformerDecoderLayer(4, 2, 8), 2)
        >>> decoder(torch.ones(3, 1, 4), torch.ones(5, 1, 4)).shape
        torch.Size([3, 1, 4])
    """

    __constants__ = ["norm"]

    def __init__(self, decoder_layer, num_layers, norm=None):
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt,
        memory,
        tgt_mask=None,
        memory_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        tgt_is_causal=None,
        memory_is_causal=False,
    ):
        out = tgt
        batch_first = self.layers[0].self_attn.batch_first
        tgt_is_causal = _is_causal(tgt_mask, tgt_is_causal, _length(tgt, batch_first))
        for layer in self.layers:
            out = layer(
                out,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal,
                memory_is_causal=memory_is_causal,
            )
        return out if self.norm is None else self.norm(out)


class Transformer(Module):
    """An encoder and a decoder (Vaswani et al. 2017).

    Args:
        d_model: features, E; default 512.
        nhead: number of heads; default 8.
        num_encoder_layers: default 6.
        num_decoder_layers: default 6.
        dim_feedforward: width of the feed-forward networks; default 2048.
        dropout: probability of zeroing in training; default 0.1.
        activation: "relu", "gelu" or a function of one tensor; default relu.
        custom_encoder: used instead of a new encoder; default None.
        custom_decoder: used instead of a new decoder; default None.
        layer_norm_eps: default 1e-5.
        batch_first: see the module's legend; default False.
        norm_first: normalise before the blocks rather than after the sums; default False.
        bias: whether there are biases; default True.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (S, N, E), (T, N, E) -> (T, N, E)

    Raises:
        RuntimeError: batches or features that differ.

    Example:
        >>> import danlu as torch
        >>> transformer = torch.nn.Transformer(4, 2, 1, 1, 8)
        >>> transformer(torch.ones(5, 1, 4), torch.ones(3, 1, 4)).shape
        torch.Size([3, 1, 4])
    """

    def __init__(
        self,
        d_model=512,
        nhead=8,
        num_encoder_layers=6,
        num_decoder_layers=6,
        dim_feedforward=2048,
        dropout=0.1,
        activation=F.relu,
        custom_encoder=None,
        custom_decoder=None,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        factory = {"device": device, "dtype": dtype}
        options = (
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
        )
        super().__init__()
        if custom_encoder is None:
            layer = TransformerEncoderLayer(d_model, nhead, *options, **factory)
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **factory)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm)
        self.encoder = custom_encoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(d_model, nhead, *options, **factory)
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **factory)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norm)
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self):
        for parameter in self.parameters():
            if parameter.dim() > 1:
                xavier_uniform_(parameter)

    def forward(
        self,
        src,
        tgt,
        src_mask=None,
        tgt_mask=None,
        memory_mask=None,
        src_key_padding_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        src_is_causal=None,
        tgt_is_causal=None,
        memory_is_causal=False,
    ):
        batch_axis = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[batch_axis] != tgt.shape[batch_axis]:
            raise RuntimeError(
                "the batch number of src and tgt must be equal, but they are "
                f"{src.shape[batch_axis]} and {tgt.shape[batch_axis]}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError(
                "the feature number of src and tgt must be equal to d_model, but they are "
                f"{src.shape[-1]} and {tgt.shape[-1]}, and d_model is {self.d_model}"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz, device=None, dtype=None):
        """A causal mask: minus infinity above the diagonal.

        Example:
            >>> import danlu as torch
            >>> torch.nn.Transformer.generate_square_subsequent_mask(2)
            tensor([[0., -inf],
                    [0., 0.]])
        """
        return _causal_mask(sz, device, dtype)
