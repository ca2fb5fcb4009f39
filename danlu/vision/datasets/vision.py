"""What all image datasets share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from danlu.utils.data import Dataset

__all__ = ["ImagesInMemory", "StandardTransform", "VisionDataset"]


class VisionDataset(Dataset):
    """The base of image datasets: a root folder and what is done to samples and labels.

    Args:
        root: the folder of the data; "~" is the home folder.
        transforms: a function of (image, label) that returns both, or
        transform: a function of the image, and
        target_transform: a function of the label.

    Raises:
        ValueError: `transforms` was given together with one of the other two.
    """

    _repr_indent = 4

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transforms: Callable | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ):
        self.root = os.path.expanduser(root) if isinstance(root, str) else root
        apart = transform is not None or target_transform is not None
        if transforms is not None and apart:
            raise ValueError(
                "Only transforms or transform/target_transform can be passed as argument"
            )
        self.transform = transform
        self.target_transform = target_transform
        self.transforms = StandardTransform(transform, target_transform) if apart else transforms

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            body.append(f"Root location: {self.root}")
        body += self.extra_repr().splitlines()
        if self.transforms is not None:
            body.append(repr(self.transforms))
        indent = " " * self._repr_indent
        return "\n".join([f"Dataset {type(self).__name__}"] + [indent + line for line in body])

    def extra_repr(self) -> str:
        """Further lines of the dataset's representation."""
        return ""

    def _transformed(self, sample, target):
        """What `__getitem__` returns for a raw sample and its label."""
        if self.transform is not None:
            sample = self.transform(sample)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return sample, target


class StandardTransform:
    """A transform of the image and one of the label, as one function of both."""

    def __init__(self, transform: Callable | None = None, target_transform: Callable | None = None):
        self.transform = transform
        self.target_transform = target_transform

    def __call__(self, input, target):
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self) -> str:
        body = [type(self).__name__]
        parts = {"Transform": self.transform, "Target transform": self.target_transform}
        for title, transform in parts.items():
            if transform is not None:
                first, *rest = repr(transform).splitlines()
                indent = " " * len(f"{title}: ")
                body += [f"{title}: {first}"] + [indent + line for line in rest]
        return "\n".join(body)


class ImagesInMemory(VisionDataset):
    """Images that lie in memory as one array `data`, with `targets`.

    A DataLoader gets a batch whole where the transform does the same to every image.
    """

    root: str | os.PathLike[str]
    data: Any
    targets: Any

    def __len__(self) -> int:
        return len(self.data)

    def _pixels(self, index):
        """The bytes of one image, or with several indices of several, as an array."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from danlu.vision._pillow import pillow

        return self._transformed(pillow().fromarray(self._pixels(index)), int(self.targets[index]))

    def __getitems__(self, indices) -> list[tuple[Any, Any]]:
        from danlu.vision.transforms._batches import batch_transform

        own = type(self).__getitem__ is ImagesInMemory.__getitem__
        on_batch = batch_transform(self.transform) if own else None
        if on_batch is None:
            return [self[index] for index in indices]
        labels = [int(self.targets[index]) for index in indices]
        if self.target_transform is not None:
            labels = [self.target_transform(label) for label in labels]
        return list(zip(on_batch(self._pixels(indices)).unbind(0), labels))
