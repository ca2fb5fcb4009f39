"""Softmax over many classes of unequal frequency."""

from __future__ import annotations

from collections import namedtuple

from danlu.nn import functional as F
from danlu.nn.modules.container import ModuleList, Sequential
from danlu.nn.modules.linear import Linear
from danlu.nn.modules.module import Module
from danlu.ops.joining import cat

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """log_softmax by clusters of classes, the frequent ones first (Grave et al. 2016).

    Args:
        in_features: features of the input.
        n_classes: number of classes, sorted by falling frequency.
        cutoffs: where the clusters begin, rising, between 1 and n_classes - 1.
        div_value: each cluster has this many times fewer features than the one before; default 4.
        head_bias: whether the head has a bias; default False.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (N, in_features), (N) -> output (N), the log-probabilities of the targets, and loss ()

    Raises:
        ValueError: `cutoffs` that are not as described.
        RuntimeError: shapes or targets that do not fit.

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 10, [4])
        >>> layer(torch.ones(2, 8), torch.tensor([1, 9])).output.shape
        torch.Size([2])
    """

    def __init__(
        self,
        in_features,
        n_classes,
        cutoffs,
        div_value=4.0,
        head_bias=False,
        device=None,
        dtype=None,
    ):
        factory = {"device": device, "dtype": dtype}
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = cutoffs == sorted(set(cutoffs))
        whole = all(int(each) == each for each in cutoffs)
        if not (rising and whole and cutoffs[0] > 0 and cutoffs[-1] < n_classes):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an "
                "increasing order, where each value is between 1 and n_classes-1 = "
                f"{n_classes - 1}, but got {cutoffs}"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **factory)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            hidden = int(in_features // (div_value ** (i + 1)))
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, **factory),
                    Linear(hidden, high - low, bias=False, **factory),
                )
            )

    def reset_parameters(self):
        """Draw new parameters."""
        self.head.reset_parameters()
        for reduce, expand in self.tail:
            reduce.reset_parameters()
            expand.reset_parameters()

    def forward(self, input_, target_):
        _check_shapes(input_, target_)
        is_batched = target_.dim() == 1
        input = input_ if is_batched else input_.unsqueeze(0)
        target = target_ if is_batched else target_.unsqueeze(0)
        low, high = (int(target.min()), int(target.max())) if target.numel() else (0, 0)
        if low < 0 or high >= self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{low}, {high}] were found. "
            )
        head_class = target.clone()
        within_cluster = input.new_zeros(target.shape[0])
        for i, tail in enumerate(self.tail):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if rows.numel() == 0:
                continue
            head_class[rows] = self.shortlist_size + i
            log_probs = F.log_softmax(tail(input[rows]), dim=1)
            chosen = log_probs.gather(1, (target[rows] - low).unsqueeze(1)).squeeze(1)
            within_cluster = within_cluster.index_add(0, rows, chosen)
        head = F.log_softmax(self.head(input), dim=1)
        output = within_cluster + head.gather(1, head_class.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if is_batched else output.squeeze(0), loss)

    def log_prob(self, input):
        """The log-probabilities of all classes: (N, in_features) -> (N, n_classes)."""
        return self._all_log_probs(input, self.head(input))

    def _all_log_probs(self, input, head_output):
        head = F.log_softmax(head_output, dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            cluster = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(tail(input), dim=1) + cluster)
        return cat(parts, 1)

    def predict(self, input):
        """The most probable class of each sample: (N, in_features) -> (N)."""
        head_output = self.head(input)
        output = head_output.argmax(dim=1)
        beyond = output >= self.shortlist_size
        if beyond.any():
            log_probs = self._all_log_probs(input[beyond], head_output[beyond])
            output[beyond] = log_probs.argmax(dim=1)
        return output


def _check_shapes(input, target):
    if target.dim() > 1:
        raise RuntimeError(
            "0D or 1D target tensor expected, multi-target not supported: "
            f"the target has shape {tuple(target.shape)}"
        )
    if input.dim() != target.dim() + 1:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found "
            f"inputs with size {input.shape}"
        )
    if target.dim() == 1 and input.shape[0] != target.shape[0]:
        raise RuntimeError(
            "Input and target should have the same size in the batch dimension, but they have "
            f"{input.shape[0]} and {target.shape[0]}."
        )
