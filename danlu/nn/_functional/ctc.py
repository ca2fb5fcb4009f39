"""The CTC loss."""

from __future__ import annotations

from danlu.nn._functional.reduction import reduce_losses
from danlu.ops.checks import by_value
from danlu.ops.creation import tensor
from danlu.ops.ctc import ctc_negative_log_likelihood
from danlu.tensor import Tensor, wrap

__all__ = ["ctc_loss"]


def _lengths(given, name, samples, limit):
    """Lengths as an int64 tensor of one number per sample."""
    lengths = given if isinstance(given, Tensor) else tensor(list(given))
    lengths = lengths.reshape(-1).long()
    if lengths.numel() != samples:
        raise RuntimeError(f"{name} must be of size batch_size: {lengths.numel()} is not {samples}")
    if samples:
        _require_lengths(lengths._array, name, limit)
    return lengths


@by_value()
def _require_lengths(lengths, name, limit):
    longest = int(lengths.max())
    if limit is not None and longest > limit:
        raise RuntimeError(
            f"Expected {name} to have value at most {limit}, but got value {longest}"
        )
    if int(lengths.min()) < 0:
        raise RuntimeError(
            f"Expected {name} to have value at least 0, but got value {int(lengths.min())}"
        )


def _padded(targets, lengths, blank):
    """Targets as (N, S) whatever their form; what is beyond a sample's length is blank."""
    if targets.dim() != 1:
        return targets.long()
    array, counts = targets._array, lengths._array.tolist()
    if sum(counts) > array.size:
        raise RuntimeError(
            f"Expected concatenated targets of at least {sum(counts)} elements, but got "
            f"{array.size}"
        )
    out = lengths.new_full((len(counts), max(counts, default=0)), blank)._array
    start = 0
    for row, count in zip(out, counts):
        row[:count] = array[start : start + count]
        start += count
    return wrap(out)


def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Minus the log-probability of a label sequence over all its alignments (Graves et al. 2006).

    Args:
        log_probs: logarithms of class probabilities, as from `log_softmax`.
        targets: labels, padded to a matrix or one after another in a vector.
        input_lengths: number of steps of each sample.
        target_lengths: number of labels of each sample.
        blank: the class that stands for no label; default 0.
        reduction: "mean" (each divided by its target's length), "sum" or "none"; default "mean".
        zero_infinity: count samples without an alignment as 0; default False.

    Shape:
        (T, N, C), (N, S) or (sum of lengths), (N), (N) -> () or, without reduction, (N);
        (T, C), (S), (), () -> ()

    Raises:
        RuntimeError: lengths that do not fit, or a blank that is no class.

    Example:
        >>> import danlu as torch
        >>> x = torch.zeros(2, 1, 2).log_softmax(2)
        >>> torch.nn.functional.ctc_loss(x, torch.tensor([[1]]), (2,), (1,))
        tensor(0.2877)
    """
    is_batched = log_probs.dim() == 3
    if not is_batched:
        log_probs = log_probs.unsqueeze(1)
    steps, samples, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"blank must be in label range: 0 to {classes - 1}, got {blank}")
    input_lengths = _lengths(input_lengths, "input_lengths", samples, steps)
    target_lengths = _lengths(target_lengths, "target_lengths", samples, None)
    padded = _padded(targets, target_lengths, blank)
    target_lengths = _lengths(target_lengths, "target_lengths", samples, padded.shape[1])
    losses = ctc_negative_log_likelihood(log_probs, padded, input_lengths, target_lengths, blank)
    if zero_infinity:
        losses = losses.masked_fill(losses == float("inf"), 0.0)
    if reduction == "mean":
        return (losses / target_lengths.clamp(min=1).to(losses.dtype)).mean()
    losses = losses if is_batched else losses.squeeze(0)
    return reduce_losses(losses, reduction)
