"""Dropout: zeroing at random while training."""

from __future__ import annotations

import warnings

from danlu.ops.dropout import alpha_dropped, dropped

__all__ = [
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
]  # fmt: skip


def _check_probability(p):
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _result(input, result, inplace):
    """The result, written into the input if so wished."""
    return input.copy_(result) if inplace else result


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero each element with probability p and divide the others by 1 - p (Hinton et al. 2012).

    Args:
        input: a floating-point tensor.
        p: probability of zeroing, 0 to 1; default 0.5.
        training: False returns the input as it is; default True.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.dropout(torch.ones(3), 0.5, training=False)
        tensor([1., 1., 1.])
    """
    if not 0.0 <= p <= 1.0:
        _check_probability(p)
    if p == 0 or not training or not input._array.size:
        return input
    return _scaled(input, p, inplace)


def _scaled(input, p, inplace, by_feature=False):
    if inplace and p < 1:
        return input.mul_(dropped(input.new_ones(input.shape), p, by_feature))
    return _result(input, dropped(input, p, by_feature), inplace)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout for SELU networks: keeps mean 0 and variance 1 (Klambauer et al. 2017).

    Args:
        input: a floating-point tensor.
        p: probability of replacing, 0 to 1; default 0.5.
        training: False returns the input as it is; default False.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.alpha_dropout(torch.ones(3), 0.5, training=False)
        tensor([1., 1., 1.])
    """
    _check_probability(p)
    if p == 0 or not training or not input._array.size:
        return input
    return _result(input, alpha_dropped(input, p), inplace)


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """`alpha_dropout` of whole channels.

    Args:
        input: a floating-point tensor of two axes or more.
        p: probability of replacing a channel, 0 to 1; default 0.5.
        training: False returns the input as it is; default False.
        inplace: write into the input; default False.

    Shape:
        (N, C, *) -> (N, C, *)

    Raises:
        ValueError: `p` is outside [0, 1].
        RuntimeError: fewer than two axes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.feature_alpha_dropout(torch.ones(1, 2, 3), 0.5).shape
        torch.Size([1, 2, 3])
    """
    _check_probability(p)
    if p == 0 or not training or not input._array.size:
        return input
    _check_features(input)
    return _result(input, alpha_dropped(input, p, by_feature=True), inplace)


def _check_features(input):
    if input.dim() < 2:
        raise RuntimeError(
            "Feature dropout requires at least 2 dimensions in the input, "
            f"but it has shape {tuple(input.shape)}"
        )


def _feature_dropout(input, p, training, inplace):
    _check_probability(p)
    if p == 0 or not training or not input._array.size:
        return input
    _check_features(input)
    return _scaled(input, p, inplace, by_feature=True)


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of a sequence with probability p and divide the others by 1 - p.

    Args:
        input: a batch of sequences, or one.
        p: probability of zeroing a channel, 0 to 1; default 0.5.
        training: False returns the input as it is; default True.
        inplace: write into the input; default False.

    Shape:
        (N, C, L) -> (N, C, L), or (C, L) -> (C, L)

    Raises:
        ValueError: `p` is outside [0, 1].
        RuntimeError: neither two nor three axes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.dropout1d(torch.ones(1, 2, 3), training=False).sum()
        tensor(6.)
    """
    _check_probability(p)
    ndim = input.dim()
    if ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {ndim}D input. "
            "Note that dropout1d exists to provide channel-wise dropout on inputs with 1 spatial "
            "dimension, a channel dimension, and an optional batch dimension (i.e. 2D or 3D "
            "inputs)."
        )
    if ndim == 3:
        return _feature_dropout(input, p, training, inplace)
    batch = input.unsqueeze_(0) if inplace else input.unsqueeze(0)
    result = _feature_dropout(batch, p, training, inplace)
    return result.squeeze_(0) if inplace else result.squeeze(0)


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of images with probability p and divide the others by 1 - p.

    Args:
        input: a batch of images.
        p: probability of zeroing a channel, 0 to 1; default 0.5.
        training: False returns the input as it is; default True.
        inplace: write into the input; default False.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.dropout2d(torch.ones(1, 2, 2, 2), training=False).sum()
        tensor(8.)
    """
    _check_probability(p)
    ndim = input.dim()
    if ndim not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {ndim}-D input to dropout2d, which is deprecated and will "
            "result in an error in a future release. To retain the behavior and silence this "
            "warning, please use dropout instead. Note that dropout2d exists to provide "
            "channel-wise dropout on inputs with 2 spatial dimensions, a channel dimension, and "
            "an optional batch dimension (i.e. 3D or 4D inputs).",
            stacklevel=2,
        )
    if ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D "
            "dropout behavior is desired - input is interpreted as shape (N, C, L), where C is "
            "the channel dim. This behavior will change in a future release to interpret the "
            "input as one without a batch dimension, i.e. shape (C, H, W). To maintain the 1D "
            "channel-wise dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _feature_dropout(input, p, training, inplace)


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of volumes with probability p and divide the others by 1 - p.

    Args:
        input: a batch of volumes.
        p: probability of zeroing a channel, 0 to 1; default 0.5.
        training: False returns the input as it is; default True.
        inplace: write into the input; default False.

    Shape:
        (N, C, D, H, W) -> (N, C, D, H, W)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.dropout3d(torch.ones(1, 1, 2, 2, 2), training=False).sum()
        tensor(8.)
    """
    _check_probability(p)
    ndim = input.dim()
    if ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {ndim}-D input to dropout3d, which is deprecated and will "
            "result in an error in a future release. To retain the behavior and silence this "
            "warning, please use dropout instead. Note that dropout3d exists to provide "
            "channel-wise dropout on inputs with 3 spatial dimensions, a channel dimension, and "
            "an optional batch dimension (i.e. 4D or 5D inputs).",
            stacklevel=2,
        )
    is_batched = ndim == 5
    batch = input if is_batched else (input.unsqueeze_(0) if inplace else input.unsqueeze(0))
    result = _feature_dropout(batch, p, training, inplace)
    return result if is_batched else (result.squeeze_(0) if inplace else result.squeeze(0))
