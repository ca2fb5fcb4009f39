"""Transforms of transforms."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import danlu
from danlu import nn

__all__ = ["Compose", "Lambda", "RandomApply", "RandomChoice", "RandomOrder"]


def _listed(name: str, lines) -> str:
    return "\n".join([f"{name}("] + [f"    {line}" for line in lines] + [")"])


class Compose:
    """Several transforms, one after the other.

    Args:
        transforms: a list of functions of an image.

    Example:
        >>> from danlu.vision import transforms
        >>> from PIL import Image
        >>> steps = transforms.Compose([transforms.CenterCrop(4), transforms.ToTensor()])
        >>> steps(Image.new("L", (9, 9))).shape
        torch.Size([1, 4, 4])
    """

    def __init__(self, transforms: Sequence[Callable]):
        self.transforms = transforms

    def __call__(self, img):
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self.transforms)


class Lambda:
    """A function of the user as a transform.

    Args:
        lambd: the function.

    Raises:
        TypeError: it cannot be called.
    """

    def __init__(self, lambd: Callable):
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img):
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class RandomApply(nn.Module):
    """Several transforms, all of them or none.

    Args:
        transforms: a list of functions of an image, or an `nn.ModuleList`.
        p: the probability of all. Default: 0.5.

    Raises:
        TypeError: `transforms` is no sequence.
    """

    def __init__(self, transforms, p: float = 0.5):
        super().__init__()
        if not hasattr(transforms, "__iter__"):
            raise TypeError(
                f"Argument transforms should be a sequence, got {type(transforms).__name__}: "
                "write RandomApply([transform])"
            )
        self.transforms = transforms
        self.p = p

    def forward(self, img):
        if self.p < danlu.rand(1):
            return img
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return _listed(type(self).__name__, [f"p={self.p}", *self.transforms])


class _RandomTransforms:
    def __init__(self, transforms: Sequence[Callable]):
        if not isinstance(transforms, Sequence):
            raise TypeError(
                f"Argument transforms should be a sequence, got {type(transforms).__name__}"
            )
        self.transforms = transforms

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self.transforms)


class RandomChoice(_RandomTransforms):
    """One of several transforms, chosen by Python's `random`.

    Args:
        transforms: a list of functions of an image.
        p: their weights. Default: equal ones.

    Raises:
        TypeError: `transforms` or `p` is no sequence.
    """

    def __init__(self, transforms: Sequence[Callable], p: Sequence[float] | None = None):
        super().__init__(transforms)
        if p is not None and not isinstance(p, Sequence):
            raise TypeError(f"Argument p should be a sequence, got {type(p).__name__}")
        self.p = p

    def __call__(self, img):
        return random.choices(self.transforms, weights=self.p)[0](img)

    def __repr__(self) -> str:
        return f"{super().__repr__()}(p={self.p})"


class RandomOrder(_RandomTransforms):
    """Several transforms in an order that Python's `random` shuffles.

    Args:
        transforms: a list of functions of an image.

    Raises:
        TypeError: it is no sequence.
    """

    def __call__(self, img):
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for number in order:
            img = self.transforms[number](img)
        return img
