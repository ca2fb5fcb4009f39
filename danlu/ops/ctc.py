"""Connectionist temporal classification: the likelihood of a label sequence over all alignments
(Graves et al. 2006).

Legend: T steps, N samples, C classes, S labels, L = 2 S + 1 states: the labels with blanks around
them. Everything is
in logarithms; minus infinity is impossible."""

from __future__ import annotations

from danlu.ops.checks import require_floating
from danlu.ops.registry import Array, ns, operator


def _states(targets, blank):
    """The class of each state, and whether a path may jump to it over the blank before: both (N,
    L)."""
    xp = ns(targets)
    samples, labels = targets.shape
    classes = xp.full((samples, 2 * labels + 1), blank, dtype=targets.dtype)
    classes[:, 1::2] = targets
    can_skip = xp.zeros(classes.shape, dtype=bool)
    can_skip[:, 2:] = (classes[:, 2:] != blank) & (classes[:, 2:] != classes[:, :-2])
    return classes, can_skip


def _emissions(log_probs, classes):
    """The log-probability of each state's class at each step: (T, N, L)."""
    return ns(log_probs).take_along_axis(log_probs, classes[None], axis=2)


def _shifted(x, steps):
    """States moved by `steps` to the right (left if negative); what comes in is impossible."""
    out = ns(x).full_like(x, -float("inf"))
    if steps > 0:
        out[:, steps:] = x[:, :-steps]
    else:
        out[:, :steps] = x[:, -steps:]
    return out


def _forward(emissions, can_skip, target_lengths):
    """alpha: the log-probability of all paths that reach a state at a step, (T, N, L)."""
    xp = ns(emissions)
    impossible = -float("inf")
    alpha = xp.full_like(emissions, impossible)
    alpha[0, :, 0] = emissions[0, :, 0]
    if emissions.shape[2] > 1:
        alpha[0, :, 1] = xp.where(target_lengths > 0, emissions[0, :, 1], impossible)
    for step in range(1, len(alpha)):
        before = alpha[step - 1]
        reached = xp.logaddexp(before, _shifted(before, 1))
        jumped = xp.where(can_skip, _shifted(before, 2), impossible)
        alpha[step] = xp.logaddexp(reached, jumped) + emissions[step]
    return alpha


def _log_likelihood(alpha, input_lengths, target_lengths):
    """The log-probability of the paths that end in the last label or the blank after it: (N,)."""
    xp = ns(alpha)
    impossible = -float("inf")
    samples = xp.arange(alpha.shape[1])
    last_step = xp.maximum(input_lengths - 1, 0)
    in_blank = alpha[last_step, samples, 2 * target_lengths]
    in_label = alpha[last_step, samples, xp.maximum(2 * target_lengths - 1, 0)]
    total = xp.logaddexp(in_blank, xp.where(target_lengths > 0, in_label, impossible))
    nothing_said = xp.where(target_lengths > 0, impossible, 0.0)
    return xp.where(input_lengths > 0, total, nothing_said).astype(alpha.dtype)


def _backward(emissions, can_skip, input_lengths, target_lengths):
    """beta: the log-probability of all paths from a state at a step to the end, (T, N, L)."""
    xp = ns(emissions)
    impossible = -float("inf")
    beta = xp.full_like(emissions, impossible)
    samples = xp.arange(emissions.shape[1])
    state = xp.arange(emissions.shape[2])
    ends = (state == 2 * target_lengths[:, None]) | (state == 2 * target_lengths[:, None] - 1)
    can_leave = xp.zeros_like(can_skip)
    can_leave[:, :-2] = can_skip[:, 2:]
    for step in range(len(beta) - 1, -1, -1):
        if step + 1 < len(beta):
            after = beta[step + 1]
            reached = xp.logaddexp(after, _shifted(after, -1))
            jumped = xp.where(can_leave, _shifted(after, -2), impossible)
            beta[step] = xp.logaddexp(reached, jumped) + emissions[step]
        is_last = samples[input_lengths == step + 1]
        beta[step, is_last] = xp.where(ends[is_last], emissions[step, is_last], impossible)
    return beta


@operator(method=False, name="CtcLoss")
def ctc_negative_log_likelihood(
    log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank
):
    """Minus the log-likelihood of each sample's labels."""
    require_floating(log_probs, "ctc_loss_cpu")
    classes, can_skip = _states(targets, blank)
    alpha = _forward(_emissions(log_probs, classes), can_skip, target_lengths)
    return -_log_likelihood(alpha, input_lengths, target_lengths)


@operator(method=False, name="CtcLossBackward")
def ctc_residual(
    log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank
):
    """Probabilities minus the expected use of each class: the slope for logits under a
    log_softmax, as PyTorch has it."""
    xp = ns(log_probs)
    classes, can_skip = _states(targets, blank)
    emissions = _emissions(log_probs, classes)
    alpha = _forward(emissions, can_skip, target_lengths)
    beta = _backward(emissions, can_skip, input_lengths, target_lengths)
    total = _log_likelihood(alpha, input_lengths, target_lengths)
    # an impossible state is 0; an impossible sample, whose total is minus infinity, is NaN as in
    # PyTorch
    use = xp.exp(
        xp.where(alpha + beta > -float("inf"), alpha + beta - emissions, -float("inf"))
        - total[:, None]
    )
    residual = xp.exp(log_probs)
    steps, samples = xp.arange(len(alpha))[:, None, None], xp.arange(alpha.shape[1])[None, :, None]
    xp.subtract.at(residual, (steps, samples, classes[None]), use)
    residual[steps[:, :, 0] >= input_lengths] = 0
    return residual


@ctc_negative_log_likelihood.vjp
def _(g, log_probs, targets, input_lengths, target_lengths, blank):
    residual = ctc_residual.on(log_probs, targets, input_lengths, target_lengths, blank)
    g = g.reshape((1, -1, 1))
    # a sample that does not count has no slope, even where its residual is NaN
    return ns(g).where(g == 0, 0.0, residual * g), None, None, None, None
