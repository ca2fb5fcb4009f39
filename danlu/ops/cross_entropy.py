"""Losses over classes: negative log likelihood, and cross entropy as one node.

Legend: M samples (all axes but the classes'), C classes. The operators see matrices of M rows;
`class_rows` moves the
class axis, which is axis 1 (axis 0 of a single sample), to the end and back."""

from __future__ import annotations

from danlu.backend import conversions
from danlu.kernels.fused import cross_entropy as kernels
from danlu.ops.checks import by_value, require_classes, require_floating, require_reduction
from danlu.ops.registry import Array, ns, operator
from danlu.tensor import Tensor


def class_rows(x):
    """(N, C, d1, ...) -> (M, C)."""
    ndim = len(x.shape)
    if ndim == 2:
        return x
    if ndim > 2:
        x = ns(x).permute_dims(x, (0, *range(2, ndim), 1))
    return x.reshape((-1, x.shape[-1]))


def from_class_rows(rows, shape):
    """(M, C) -> `shape`, the inverse of `class_rows`."""
    ndim = len(shape)
    if ndim == 2:
        return rows
    if ndim == 1:
        return rows.reshape(tuple(shape))
    rows = rows.reshape((shape[0], *shape[2:], shape[1]))
    return ns(rows).permute_dims(rows, (0, ndim - 1, *range(1, ndim - 1)))


# ------------------------------------------------------------------------------ input checks
def _check(input, target, weight, ignore_index):
    """Refuse targets and weights that do not fit the input; whether some targets may be ignored."""
    shape = input.shape
    require_classes(target)
    if target.shape != shape[:1] + shape[2:] if len(shape) > 1 else target.size != 1:
        _refuse_shape(shape, target.shape)
    classes = shape[1] if len(shape) > 1 else shape[0]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(weight.shape)}"
        )
    return _some_may_be_ignored(target, classes, ignore_index)


@by_value(otherwise=True)
def _some_may_be_ignored(target, classes, ignore_index):
    # negative classes are huge as unsigned numbers: one reduction finds both ends
    unsigned = target if target.dtype.kind == "u" else target.view("u8")
    if unsigned.size and int(unsigned.max()) >= classes:
        _refuse_out_of_range(target, classes, ignore_index)
        return True
    return 0 <= ignore_index < classes


def _refuse_shape(shape, target_shape):
    if len(target_shape) and len(shape) > 1 and shape[0] != target_shape[0]:
        raise ValueError(
            f"Expected input batch_size ({shape[0]}) to match target batch_size "
            f"({target_shape[0]})."
        )
    if len(shape) <= 2:
        repair = ""
        if len(target_shape) == 2 and target_shape[1] == 1:
            repair = f": the target has shape {list(target_shape)}, write target.squeeze(1)"
        elif len(target_shape) == 2:
            repair = (
                f": the target has shape {list(target_shape)}; for one-hot rows write "
                "target.argmax(1), for class probabilities target.float()"
            )
        raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported{repair}")
    expected = [shape[0], *shape[2:]]
    raise RuntimeError(f"Expected target size {expected}, got {list(target_shape)}")


def _refuse_out_of_range(target, classes, ignore_index):
    xp = ns(target)
    wrong = (target != ignore_index) & ((target < 0) | (target >= classes))
    if not wrong.any():
        return
    position = tuple(int(each[0]) for each in xp.nonzero(wrong.reshape(target.shape or (1,))))
    value = int(target.reshape(target.shape or (1,))[position])
    where = position[0] if len(position) == 1 else position
    raise IndexError(
        f"Target {value} is out of bounds. It is at position {where} of the targets; with "
        f"{classes} classes they lie between 0 and {classes - 1}"
    )


# ------------------------------------------------------------------------------ matrices of samples
@operator(method=False)
def pick_class(rows: Array, target: Array):
    """The element of each row that its target names; targets of ignored rows wrap around."""
    return rows[ns(rows).arange(rows.shape[0]), target % rows.shape[1]]


@pick_class.vjp
def _(g, rows_shape, target):
    return place_class.on(g, target, rows_shape[1]), None


@operator(method=False)
def place_class(values: Array, target: Array, classes):
    """Rows of zeros with one value each, where its target says."""
    xp = ns(values)
    rows = xp.zeros((values.shape[0], classes), dtype=values.dtype)
    rows[xp.arange(values.shape[0]), target % classes] = values
    return rows


@place_class.vjp
def _(g, target):
    return pick_class.on(g, target), None


@operator(method=False)
def softmax_residual(log_probabilities: Array, target: Array):
    """Probabilities minus the one-hot targets: the slope of the cross entropy."""
    xp = ns(log_probabilities)
    rows = xp.exp(log_probabilities)
    rows[xp.arange(rows.shape[0]), target % rows.shape[1]] -= 1
    return rows


@softmax_residual.vjp
def _(g, log_probabilities):
    return g * ns(g).exp(log_probabilities), None


@by_value(otherwise=True, raises=False)
def _some(mask) -> bool:
    return bool(mask.any())


@operator(method=False, differentiable=False)
def sample_shares(like: Array, target: Array, weight: Array | None, ignore_index, reduction):
    """The share of each sample in the loss: its class's weight, 0 if ignored, over their sum for a
    mean.

    One number where all shares are equal."""
    ignored = target == ignore_index
    if weight is None and not _some(ignored):
        one = like.dtype.type(1)
        return one / like.dtype.type(target.size) if reduction == "mean" else one
    xp = ns(like)
    if weight is None:
        shares = (~ignored).astype(like.dtype)
    else:
        shares = xp.where(ignored, like.dtype.type(0), weight[target % weight.shape[0]])
    return shares / shares.sum() if reduction == "mean" else shares


def _reduced(losses, rows, target, weight, ignore_index, reduction, may_ignore):
    """The loss of all samples from that of each."""
    require_reduction(reduction)
    if weight is None and not may_ignore and reduction != "none":
        total = losses.sum()
        return total / rows.dtype.type(target.size) if reduction == "mean" else total
    shares = sample_shares.on(rows, target, weight, ignore_index, reduction)
    losses = ns(rows).where(target == ignore_index, rows.dtype.type(0), losses) * shares
    return losses if reduction == "none" else losses.sum()


def _per_sample(g, rows, target, weight, ignore_index, reduction):
    """The gradient that reaches each sample's loss, as a column or one number."""
    shares = sample_shares.on(rows, target, weight, ignore_index, reduction)
    if reduction == "none":
        g = g.reshape((-1,))
    return g * shares


# ------------------------------------------------------------------------------ the two losses
@operator(method=False, name="NllLoss")
def class_nll(
    input: Array, target: Array, weight: Array | None, ignore_index=-100, reduction="mean"
):
    """-input[n, target[n]], weighted by class."""
    require_floating(input, "nll_loss_out_frame")
    may_ignore = _check(input, target, weight, ignore_index)
    rows, flat = class_rows(input), target.reshape(-1)
    losses = -rows[ns(rows).arange(rows.shape[0]), flat % rows.shape[1]]
    loss = _reduced(losses, rows, flat, weight, ignore_index, reduction, may_ignore)
    return loss.reshape(target.shape) if reduction == "none" else loss


@class_nll.vjp
def _(g, input, target, weight, ignore_index, reduction):
    flat = target.reshape((-1,))
    rows = class_rows(input)
    each = _per_sample(g, rows, flat, weight, ignore_index, reduction)
    each = ns(g).broadcast_to(each, (rows.shape[0],))
    return from_class_rows(place_class.on(-each, flat, rows.shape[1]), input.shape), None, None


@operator(method=False, name="NllLoss")
def class_cross_entropy(
    input: Array, target: Array, weight: Array | None, ignore_index=-100, reduction="mean"
):
    """-log_softmax(input)[n, target[n]], weighted by class; also each row's maximum and the
    logarithm of its sum of exponentials, for the gradient."""
    require_floating(input, "log_softmax_lastdim_kernel_impl")
    may_ignore = _check(input, target, weight, ignore_index)
    rows, flat = class_rows(input), target.reshape(-1)
    if rows.size:
        losses, largest, log_total = kernels.cross_entropy(rows, flat)
    else:
        losses, largest, log_total = rows.sum(axis=1), rows.sum(axis=1), rows.sum(axis=1)
    loss = _reduced(losses, rows, flat, weight, ignore_index, reduction, may_ignore)
    return (loss.reshape(target.shape) if reduction == "none" else loss), largest, log_total


@class_cross_entropy.vjp
def _(g, out1, out2, input, target, weight, ignore_index, reduction):
    # The maxima are constants here: log-probabilities do not change with them, so that second
    # derivatives may leave out this way through the shift if they leave it out everywhere.
    g_loss, _, g_log_total = g
    rows, flat, largest, log_total = class_rows(input), target.reshape((-1,)), out1, out2
    grad = None
    if g_loss is not None:
        each = _per_sample(g_loss, rows, flat, weight, ignore_index, reduction)
        if not isinstance(each, Tensor):
            each = conversions.as_array(each)
            grad = kernels.cross_entropy_backward(rows, flat, largest, log_total, each)
        else:
            if len(each.shape):
                each = each.reshape((-1, 1))
            grad = softmax_residual.on(rows - largest - log_total, flat) * each
    if g_log_total is not None:  # reached by second derivatives alone
        through = ns(g_log_total).exp(rows - largest - log_total) * g_log_total
        grad = through if grad is None else grad + through
    return from_class_rows(grad, input.shape), None, None
