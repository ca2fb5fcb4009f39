"""Datasets whose classes are folders."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from typing import Any

from danlu.vision._pillow import pillow
from danlu.vision.datasets.vision import VisionDataset

__all__ = [
    "IMG_EXTENSIONS", "DatasetFolder", "ImageFolder", "default_loader", "find_classes",
    "has_file_allowed_extension", "is_image_file", "make_dataset", "pil_loader",
]  # fmt: skip

IMG_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip


def has_file_allowed_extension(filename: str, extensions: str | tuple[str, ...]) -> bool:
    """Whether the name ends with one of the extensions, in upper or lower case."""
    return filename.lower().endswith(
        extensions if isinstance(extensions, str) else tuple(extensions)
    )


def is_image_file(filename: str) -> bool:
    """Whether the name is that of an image file."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
    """The names of the folders in `directory`, sorted, and the number of each.

    Raises:
        FileNotFoundError: there are none.
    """
    with os.scandir(directory) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise FileNotFoundError(
            f"Couldn't find any class folder in {directory}. Put the images of every class into a "
            "folder of its own: root/cat/1.png, root/dog/2.png"
        )
    return classes, {name: number for number, name in enumerate(classes)}


def make_dataset(
    directory: str | os.PathLike[str],
    class_to_idx: dict[str, int] | None = None,
    extensions: str | tuple[str, ...] | None = None,
    is_valid_file: Callable[[str], bool] | None = None,
    allow_empty: bool = False,
) -> list[tuple[str, int]]:
    """The (path, class number) of every sample below `directory`, in the order of their names.

    Args:
        directory: the folder of the class folders.
        class_to_idx: the number of each class. Default: as `find_classes` numbers them.
        extensions: of the files that count, or
        is_valid_file: a function of the path that says whether a file counts.
        allow_empty: whether a class may be without files. Default: False.

    Raises:
        ValueError: both or neither of extensions and is_valid_file were given, or no classes.
        FileNotFoundError: a class has no file that counts.
    """
    directory = os.path.expanduser(directory)
    if class_to_idx is None:
        _, class_to_idx = find_classes(directory)
    elif not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError(
            "Both extensions and is_valid_file cannot be None or not None at the same time"
        )
    if is_valid_file is None:
        allowed = extensions

        def is_valid_file(path: str) -> bool:
            return has_file_allowed_extension(path, allowed)  # type: ignore[arg-type]

    samples: list[tuple[str, int]] = []
    empty = []
    for name in sorted(class_to_idx):
        before = len(samples)
        for folder, _, files in sorted(os.walk(os.path.join(directory, name), followlinks=True)):
            paths = (os.path.join(folder, file) for file in sorted(files))
            samples += [(path, class_to_idx[name]) for path in paths if is_valid_file(path)]
        if len(samples) == before:
            empty.append(name)
    if empty and not allow_empty:
        message = (
            f"Found no valid file for the classes {', '.join(empty)} in {directory}: the folder "
            f"{os.path.join(directory, empty[0])} has none."
        )
        if extensions is not None:
            listed = extensions if isinstance(extensions, str) else ", ".join(extensions)
            message += f" Supported extensions are: {listed}."
        raise FileNotFoundError(message + " Remove the folder, or pass allow_empty=True")
    return samples


class DatasetFolder(VisionDataset):
    """Samples in files, a folder for each class: ``root/class_x/1.ext``, ``root/class_y/a/2.ext``.

    Args:
        root: the folder of the class folders.
        loader: a function that reads a sample from its path.
        extensions: of the files that count, or
        is_valid_file: a function of the path that says whether a file counts.
        transform: what is done to a sample.
        target_transform: what is done to a class number.
        allow_empty: whether a class may be without files. Default: False.

    Attributes:
        classes: the names, sorted; class_to_idx: name -> number; samples: (path, number) pairs;
        targets: the number of every sample.

    Raises:
        ValueError: both or neither of extensions and is_valid_file were given.
        FileNotFoundError: no class folders, or one without files that count.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.loader = loader
        self.extensions = extensions
        self.samples = self.make_dataset(
            self.root, self.class_to_idx, extensions, is_valid_file, allow_empty
        )
        self.targets = [number for _, number in self.samples]

    @staticmethod
    def make_dataset(
        directory, class_to_idx, extensions=None, is_valid_file=None, allow_empty=False
    ):
        """The samples below `directory`; a subclass may find them otherwise."""
        if class_to_idx is None:
            raise ValueError("The class_to_idx parameter cannot be None.")
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory):
        """The classes in `directory`; a subclass may name or number them otherwise."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self._transformed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def pil_loader(path: str | os.PathLike[str]):
    """Read the image file `path` with Pillow, as RGB.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file is no image, or a broken one; the message names it.
    """
    images = pillow()
    with open(path, "rb") as file:
        try:
            return images.open(file).convert("RGB")
        except _BROKEN as error:
            # Pillow knows the open file alone, and for a truncated one not even that
            kind = type(error) if isinstance(error, images.UnidentifiedImageError) else OSError
            raise kind(f"cannot read the image {os.fspath(path)!r}: {error}") from error


def default_loader(path: str | os.PathLike[str]):
    """Read the image file `path`, as RGB."""
    return pil_loader(path)


class ImageFolder(DatasetFolder):
    """Images in files, a folder for each class: ``root/dog/1.png``, ``root/cat/2.png``.

    Args:
        root: the folder of the class folders.
        transform: what is done to an image, e.g. ``transforms.ToTensor()``.
        target_transform: what is done to a class number.
        loader: a function that reads an image from its path. Default: Pillow, as RGB.
        is_valid_file: a function of the path that says whether a file counts. Default: its
            extension is that of an image.
        allow_empty: whether a class may be without images. Default: False.

    Attributes:
        classes: the names, sorted; class_to_idx: name -> number; imgs: (path, number) pairs;
        targets: the number of every image.

    Raises:
        FileNotFoundError: no class folders, or one without images.
        OSError: when a corrupt image is read; the message names the file.

    Example:
        >>> import os, tempfile
        >>> from PIL import Image
        >>> from danlu.vision import datasets
        >>> root = tempfile.mkdtemp()
        >>> for name in ("cat", "dog"):
        ...     os.mkdir(os.path.join(root, name))
        ...     Image.new("RGB", (4, 4)).save(os.path.join(root, name, "1.png"))
        >>> dataset = datasets.ImageFolder(root)
        >>> dataset.class_to_idx, len(dataset), dataset[1][1]
        ({'cat': 0, 'dog': 1}, 2, 1)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ):
        super().__init__(
            root,
            loader,
            IMG_EXTENSIONS if is_valid_file is None else None,
            transform=transform,
            target_transform=target_transform,
            is_valid_file=is_valid_file,
            allow_empty=allow_empty,
        )
        self.imgs = self.samples
