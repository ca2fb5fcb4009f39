"""Sets of labelled images: folders of files, and the small ones that everybody knows."""

from danlu.vision.datasets.cifar import CIFAR10, CIFAR100
from danlu.vision.datasets.fakedata import FakeData
from danlu.vision.datasets.folder import DatasetFolder, ImageFolder
from danlu.vision.datasets.mnist import KMNIST, MNIST, FashionMNIST
from danlu.vision.datasets.vision import VisionDataset

__all__ = [
    "CIFAR10", "CIFAR100", "DatasetFolder", "FakeData", "FashionMNIST", "ImageFolder", "KMNIST",
    "MNIST", "VisionDataset",
]  # fmt: skip
