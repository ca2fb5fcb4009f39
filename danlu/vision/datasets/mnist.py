"""MNIST and the sets that were made in its likeness."""

from __future__ import annotations

import gzip
import math
import os
import warnings
from collections.abc import Callable
from typing import Any
from urllib.error import URLError

import numpy as np

import danlu
from danlu.tensor import Tensor
from danlu.vision.datasets.utils import check_integrity, download_and_extract_archive
from danlu.vision.datasets.vision import ImagesInMemory

__all__ = ["KMNIST", "MNIST", "FashionMNIST", "read_image_file", "read_label_file"]

# The third byte of an idx file names the type of its elements, which lie in big-endian order.
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_sn3_pascalvincent_tensor(path: str | os.PathLike[str], strict: bool = True) -> Tensor:
    """Read a file of MNIST's format ("idx": a type, the sizes, the elements), also compressed.

    Args:
        path: the file; one that ends with ".gz" is unpacked while it is read.
        strict: whether bytes after the last element are an error. Default: True.

    Raises:
        ValueError: the file is not of this format, or truncated; the message names it.
    """
    path = os.fspath(path)
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        content = file.read()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise ValueError(f"{path} is no idx file: it begins with the bytes {content[:4].hex(' ')}")
    kind = np.dtype(_IDX_TYPES[content[2]])
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"{path} is truncated: it ends within its header")
    shape = tuple(np.frombuffer(content[4:start], ">i4").tolist())
    wanted = math.prod(shape) * kind.itemsize
    if len(content) - start < wanted or (strict and len(content) - start > wanted):
        raise ValueError(
            f"{path} is damaged: for the size {shape} it needs {wanted} bytes of data and has "
            f"{len(content) - start}"
        )
    elements = np.frombuffer(content, kind, math.prod(shape), start)
    return danlu.from_numpy(elements.astype(kind.newbyteorder("=")).reshape(shape))


def read_label_file(path: str | os.PathLike[str]) -> Tensor:
    """The labels of an idx file, as int64.

    Raises:
        ValueError: the file is damaged, or not one of labels.
    """
    labels = read_sn3_pascalvincent_tensor(path, strict=False)
    if labels.dtype != danlu.uint8 or labels.ndim != 1:
        raise ValueError(f"{path} has no labels: {labels.dtype}, size {tuple(labels.shape)}")
    return labels.long()


def read_image_file(path: str | os.PathLike[str]) -> Tensor:
    """The images of an idx file, (N, H, W) of uint8.

    Raises:
        ValueError: the file is damaged, or not one of images.
    """
    images = read_sn3_pascalvincent_tensor(path, strict=False)
    if images.dtype != danlu.uint8 or images.ndim != 3:
        raise ValueError(f"{path} has no images: {images.dtype}, size {tuple(images.shape)}")
    return images


def _old_name(name: str, new: str) -> property:
    def get(self):
        warnings.warn(f"{name} has been renamed {new}", UserWarning, stacklevel=2)
        return getattr(self, new)

    return property(get, doc=f"The old name of `{new}`.")


class MNIST(ImagesInMemory):
    """The handwritten digits: 60,000 images for training and 10,000 for tests, 28 by 28, gray.

    LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/. The files lie in
    ``root/MNIST/raw``, as torchvision leaves them, compressed or not.

    Args:
        root: the folder above.
        train: the training set (default), or the test set.
        transform: what is done to an image, e.g. ``transforms.ToTensor()``.
        target_transform: what is done to a label.
        download: fetch the files that are missing. Default: False.

    Attributes:
        data: (N, 28, 28) of uint8; targets: (N) of int64; classes: the names; mirrors: addresses
        to fetch from, one after the other; resources: file names with their MD5 sums.

    Raises:
        RuntimeError: the files are not there, or cannot be downloaded.
        ValueError: a file is damaged; the message names it.
    """

    mirrors = [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ]
    resources = [
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ]
    classes = [
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four",
        "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine",
    ]  # fmt: skip

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
        if not self._check_exists():
            raise RuntimeError(
                f"Dataset not found in {self.raw_folder}. You can use download=True to download it"
            )
        self.data, self.targets = self._load_data()

    train_labels = _old_name("train_labels", "targets")
    test_labels = _old_name("test_labels", "targets")
    train_data = _old_name("train_data", "data")
    test_data = _old_name("test_data", "data")

    def _load_data(self) -> tuple[Any, Any]:
        part = "train" if self.train else "t10k"
        images = read_image_file(self._path(f"{part}-images-idx3-ubyte"))
        labels = read_label_file(self._path(f"{part}-labels-idx1-ubyte"))
        if len(images) != len(labels):
            raise ValueError(
                f"{self.raw_folder} has {len(images)} {part} images and {len(labels)} labels"
            )
        return images, labels

    def _path(self, name: str) -> str:
        """The file of this name, or the compressed one where there is that alone."""
        path = os.path.join(self.raw_folder, name)
        return path if os.path.isfile(path) or not os.path.isfile(path + ".gz") else path + ".gz"

    def _pixels(self, index):
        return self.data[index].numpy()

    @property
    def raw_folder(self) -> str:
        """Where the files lie."""
        return os.path.join(self.root, type(self).__name__, "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    def _check_exists(self) -> bool:
        return all(
            check_integrity(self._path(os.path.splitext(name)[0])) for name, _ in self.resources
        )

    def download(self) -> None:
        """Fetch the files that are missing, from the first of `mirrors` that has them.

        Raises:
            RuntimeError: none gave a file, or what came has another checksum.
        """
        if self._check_exists():
            return
        os.makedirs(self.raw_folder, exist_ok=True)
        for name, md5 in self.resources:
            if check_integrity(self._path(os.path.splitext(name)[0])):
                continue
            failures = []
            for mirror in self.mirrors:
                try:
                    download_and_extract_archive(
                        mirror + name, self.raw_folder, filename=name, md5=md5
                    )
                    break
                except (URLError, RuntimeError) as error:
                    failures.append(str(getattr(error, "reason", error)))
            else:
                raise RuntimeError(f"Error downloading {name}:\n  " + "\n  ".join(failures))

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class FashionMNIST(MNIST):
    """Articles of clothing, in MNIST's format: 60,000 and 10,000 gray images, 28 by 28.

    Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747. Arguments and errors are `MNIST`'s; the files
    lie in ``root/FashionMNIST/raw``.
    """

    mirrors = ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ]
    classes = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ]  # fmt: skip


class KMNIST(MNIST):
    """Handwritten Hiragana, in MNIST's format: 60,000 and 10,000 gray images, 28 by 28.

    Clanuwat et al. 2018, arXiv:1812.01718. Arguments and errors are `MNIST`'s; the files lie in
    ``root/KMNIST/raw``.
    """

    mirrors = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    ]
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
