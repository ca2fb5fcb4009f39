"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.vision.datasets.utils import check_integrity, download_and_extract_archive
from danlu.vision.datasets.vision import ImagesInMemory

__all__ = ["CIFAR10", "CIFAR100"]

_ALLOWED = {
    ("numpy", "dtype"), ("numpy", "ndarray"), ("_codecs", "encode"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
}  # fmt: skip


class _BatchUnpickler(pickle.Unpickler):
    """Reads dictionaries of arrays, texts and numbers, and nothing that runs code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _read_batch(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        try:
            return _BatchUnpickler(file, encoding="latin1").load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise RuntimeError(f"{path} is no batch of CIFAR: {error}") from error


class CIFAR10(ImagesInMemory):
    """Small photographs of ten kinds of things: 50,000 and 10,000 images, 32 by 32, in colour.

    Krizhevsky 2009, "Learning multiple layers of features from tiny images". The files lie in
    ``root/cifar-10-batches-py``, as torchvision leaves them.

    Args:
        root: the folder above.
        train: the training set (default), or the test set.
        transform: what is done to an image, e.g. ``transforms.ToTensor()``.
        target_transform: what is done to a label.
        download: fetch the archive from `url` if the files are missing. Default: False.

    Attributes:
        data: (N, 32, 32, 3) of uint8, a NumPy array; targets: a list of N numbers; classes: the
        names; class_to_idx: name -> number.

    Raises:
        RuntimeError: the files are not there, or have other MD5 sums.
        URLError: they cannot be downloaded.
    """

    base_folder = "cifar-10-batches-py"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    train_list = [
        ["data_batch_1", "c99cafc152244af753f735de768cd75f"],
        ["data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"],
        ["data_batch_3", "54ebc095f3ab1f0389bbae665268c751"],
        ["data_batch_4", "634d18415352ddfa80567beed471001a"],
        ["data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"],
    ]
    test_list = [["test_batch", "40351d587109b95175f43aff81a1287e"]]
    meta = {
        "filename": "batches.meta",
        "key": "label_names",
        "md5": "5ff9c542aee3614f3951f8cda6e48888",
    }

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        if not self._check_integrity():
            raise RuntimeError(
                f"Dataset not found or corrupted in {self._path()}. You can use download=True to "
                "download it"
            )
        batches = [
            _read_batch(self._path(name))
            for name, _ in (self.train_list if train else self.test_list)
        ]
        self.targets = [
            label
            for batch in batches
            for label in batch["labels" if "labels" in batch else "fine_labels"]
        ]
        pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        self.data = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        self.classes = _read_batch(self._path(self.meta["filename"]))[self.meta["key"]]
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}

    def _path(self, name: str = "") -> str:
        return os.path.join(self.root, self.base_folder, name)

    def _pixels(self, index):
        return self.data[index]

    def _check_integrity(self) -> bool:
        files = [*self.train_list, *self.test_list, [self.meta["filename"], self.meta["md5"]]]
        return all(check_integrity(self._path(name), md5) for name, md5 in files)

    def download(self) -> None:
        """Fetch and unpack the archive, unless the files are there already.

        Raises:
            URLError: the server cannot be reached, or has no such file.
            RuntimeError: what came has another checksum.
        """
        if not self._check_integrity():
            download_and_extract_archive(
                self.url, self.root, filename=self.filename, md5=self.tgz_md5
            )

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class CIFAR100(CIFAR10):
    """Small photographs of a hundred kinds of things: 50,000 and 10,000 images, 32 by 32.

    Arguments, attributes and errors are `CIFAR10`'s; the files lie in ``root/cifar-100-python``.
    """

    base_folder = "cifar-100-python"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list = [["train", "16019d7e3df5f24257cddd939b257f8d"]]
    test_list = [["test", "f0ef6b0ae62326f3e7ffdfab6717acfc"]]
    meta = {
        "filename": "meta",
        "key": "fine_label_names",
        "md5": "7973b15100ade9c7d40fb424638fde48",
    }
