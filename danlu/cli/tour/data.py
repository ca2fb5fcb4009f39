"""Loading and splitting: what several lessons share."""

from __future__ import annotations

import danlu as torch
from danlu import Tensor


def split(X: Tensor, Y: Tensor, held_out: float = 0.3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shuffled rows in two parts: features and labels to train on, and to test with."""
    order = torch.randperm(len(X))
    test, train = order.split([round(held_out * len(X)), len(X) - round(held_out * len(X))])
    return X[train], Y[train], X[test], Y[test]


def standardize(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Columns of mean 0 and deviation 1, by what the training rows tell."""
    mean, deviation = train.mean(dim=0), train.std(dim=0)
    return tuple((rows - mean) / deviation for rows in (train, *others))


def table(loader: str) -> tuple[Tensor, Tensor, list[str], list[str]]:
    """One of scikit-learn's own tables: features, labels, names of features and of classes."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{loader}")()
    features = torch.tensor(found.data, dtype=torch.float32)
    classes = [str(name) for name in getattr(found, "target_names", ())]
    names = [str(name).removesuffix(" (cm)") for name in found.feature_names]
    kind = torch.int64 if classes else torch.float32
    return features, torch.tensor(found.target, dtype=kind), names, classes
