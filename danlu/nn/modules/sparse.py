"""Tables of vectors that are looked up by index."""

from __future__ import annotations

from danlu.autograd.grad_mode import no_grad
from danlu.nn import functional as F
from danlu.nn import init
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter
from danlu.ops.creation import empty

__all__ = ["Embedding", "EmbeddingBag"]


def _padding_row(padding_idx, num_embeddings, name):
    """`padding_idx` counted from the start of the table."""
    if padding_idx is None:
        return None
    if not -num_embeddings <= padding_idx < num_embeddings:
        raise AssertionError(
            f"{name} must be within num_embeddings: it is {padding_idx}, the table has "
            f"{num_embeddings} rows"
        )
    return padding_idx % num_embeddings


def _check_table(weight, num_embeddings, embedding_dim):
    if tuple(weight.shape) != (num_embeddings, embedding_dim):
        raise AssertionError(
            "Shape of weight does not match num_embeddings and embedding_dim: "
            f"{tuple(weight.shape)} is not {(num_embeddings, embedding_dim)}"
        )
    return weight


def _require_matrix(embeddings):
    if embeddings.dim() != 2:
        raise AssertionError(
            "Embeddings parameter is expected to be 2-dimensional, got shape "
            f"{tuple(embeddings.shape)}"
        )


def _draw(module):
    init.normal_(module.weight)
    if module.padding_idx is not None:
        with no_grad():
            module.weight[module.padding_idx].fill_(0)


class Embedding(Module):
    """A learnt vector for each of a fixed number of indices.

    Args:
        num_embeddings: number of rows, V.
        embedding_dim: size of each vector, D.
        padding_idx: a row of zeros that learns nothing, or None.
        max_norm: shorten longer rows to this norm when they are looked up; default None.
        norm_type: order of that norm; default 2.
        scale_grad_by_freq: divide each row's gradient by how often it is looked up; default False.
        sparse: accepted; gradients are dense here.
        device: of the table.
        dtype: of the table; default the default dtype.

    Attributes:
        weight: (V, D), initially standard normal.

    Shape:
        (*) of integers -> (*, D)

    Raises:
        AssertionError: `padding_idx` names no row.

    Example:
        >>> import danlu as torch
        >>> torch.nn.Embedding(10, 3)(torch.tensor([[1, 2], [4, 9]])).shape
        torch.Size([2, 2, 3])
    """

    __constants__ = [
        "num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type",
        "scale_grad_by_freq", "sparse",
    ]  # fmt: skip

    def __init__(
        self,
        num_embeddings,
        embedding_dim,
        padding_idx=None,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        sparse=False,
        _weight=None,
        _freeze=False,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = _padding_row(padding_idx, num_embeddings, "Padding_idx")
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        if _weight is None:
            table = empty((num_embeddings, embedding_dim), device=device, dtype=dtype)
            self.weight = Parameter(table, requires_grad=not _freeze)
            self.reset_parameters()
        else:
            table = _check_table(_weight, num_embeddings, embedding_dim)
            self.weight = Parameter(table, requires_grad=not _freeze)
        self.sparse = sparse

    def reset_parameters(self):
        """Draw a new table."""
        _draw(self)

    def forward(self, input):
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self):
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq is not False:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        return text + ", sparse=True" if self.sparse is not False else text

    def _expected(self):
        return f"integers from 0 to {self.num_embeddings - 1} of any shape (*)"

    @classmethod
    def from_pretrained(
        cls,
        embeddings,
        freeze=True,
        padding_idx=None,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        sparse=False,
    ):
        """An Embedding around an existing table.

        Args:
            embeddings: the table (V, D), whose memory is shared.
            freeze: do not train it; default True.
            padding_idx: a row that learns nothing, or None.
            max_norm: shorten longer rows to this norm when they are looked up; default None.
            norm_type: order of that norm; default 2.
            scale_grad_by_freq: divide each row's gradient by how often it is looked up; default
                False.
            sparse: accepted; gradients are dense here.

        Example:
            >>> import danlu as torch
            >>> table = torch.nn.Embedding.from_pretrained(torch.tensor([[1.0, 2.0]]))
            >>> table(torch.tensor([0]))
            tensor([[1., 2.]])
        """
        _require_matrix(embeddings)
        return cls(
            *embeddings.shape,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
            _weight=embeddings,
            _freeze=freeze,
        )


class EmbeddingBag(Module):
    """The sum, mean or maximum of the vectors of each bag of indices.

    Args:
        num_embeddings: number of rows, V.
        embedding_dim: size of each vector, D.
        max_norm: shorten longer rows to this norm when they are looked up; default None.
        norm_type: order of that norm; default 2.
        scale_grad_by_freq: divide each row's gradient by how often it is looked up; default False.
        mode: "sum", "mean" or "max"; default "mean".
        sparse: accepted; gradients are dense here.
        include_last_offset: whether the last offset is the end of the last bag; default False.
        padding_idx: indices of this row do not count; or None.
        device: of the table.
        dtype: of the table; default the default dtype.

    Attributes:
        weight: (V, D), initially standard normal.

    Shape:
        (B, L) of integers -> (B, D), or (L) and offsets (B) -> (B, D)

    Raises:
        AssertionError: `padding_idx` names no row.

    Example:
        >>> import danlu as torch
        >>> torch.nn.EmbeddingBag(10, 3)(torch.tensor([[1, 2], [4, 9]])).shape
        torch.Size([2, 3])
    """

    __constants__ = [
        "num_embeddings", "embedding_dim", "max_norm", "norm_type", "scale_grad_by_freq", "mode",
        "sparse", "include_last_offset", "padding_idx",
    ]  # fmt: skip

    def __init__(
        self,
        num_embeddings,
        embedding_dim,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        mode="mean",
        sparse=False,
        _weight=None,
        include_last_offset=False,
        padding_idx=None,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.padding_idx = _padding_row(padding_idx, num_embeddings, "padding_idx")
        if _weight is None:
            self.weight = Parameter(
                empty((num_embeddings, embedding_dim), device=device, dtype=dtype)
            )
            self.reset_parameters()
        else:
            self.weight = Parameter(_check_table(_weight, num_embeddings, embedding_dim))
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset

    def reset_parameters(self):
        """Draw a new table."""
        _draw(self)

    def forward(self, input, offsets=None, per_sample_weights=None):
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self):
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq is not False:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        text += f", mode={self.mode!r}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"

    @classmethod
    def from_pretrained(
        cls,
        embeddings,
        freeze=True,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        mode="mean",
        sparse=False,
        include_last_offset=False,
        padding_idx=None,
    ):
        """An EmbeddingBag around an existing table.

        Args:
            embeddings: the table (V, D), whose memory is shared.
            freeze: do not train it; default True.
            max_norm: shorten longer rows to this norm when they are looked up; default None.
            norm_type: order of that norm; default 2.
            scale_grad_by_freq: divide each row's gradient by how often it is looked up; default
                False.
            mode: "sum", "mean" or "max"; default "mean".
            sparse: accepted; gradients are dense here.
            include_last_offset: whether the last offset is the end of the last bag; default False.
            padding_idx: indices of this row do not count; or None.

        Example:
            >>> import danlu as torch
            >>> table = torch.nn.EmbeddingBag.from_pretrained(torch.tensor([[1.0], [3.0]]))
            >>> table(torch.tensor([[0, 1]]))
            tensor([[2.]])
        """
        _require_matrix(embeddings)
        made = cls(
            *embeddings.shape,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            mode=mode,
            sparse=sparse,
            _weight=embeddings,
            include_last_offset=include_last_offset,
            padding_idx=padding_idx,
        )
        made.weight.requires_grad = not freeze
        return made
