"""Datasets of labelled texts: one file with a text per line, or one file per text."""

from __future__ import annotations

import csv
import os

from danlu.utils.data import Dataset

__all__ = ["TextFileDataset", "TextFolderDataset"]


class _TextDataset(Dataset):
    """Pairs of a text and its label, both through a function of the user."""

    def __init__(self, transform, target_transform):
        self.transform = transform
        self.target_transform = target_transform

    def _sample(self, text, label, where):
        try:
            if self.transform is not None:
                text = self.transform(text)
            if self.target_transform is not None:
                label = self.target_transform(label)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        return text, label


class TextFileDataset(_TextDataset):
    """The lines of a TSV or CSV file, as pairs of a text and its label.

    Args:
        path: the file.
        transform: from a text to what the sample holds. Default: None, the text
        target_transform: from a label, a str, to what the sample holds. Default: None, the str
        delimiter: between the columns. Default: a comma for ``.csv``, else a tab. Double quotes
            have their meaning in CSV only where it is a comma.
        label_column: position of the labels. Default: 0
        text_column: position of the texts. Default: 1
        header: whether the first line names the columns. Default: False
        encoding: Default: ``"utf-8"``

    Attributes:
        texts: all texts, as they stand in the file.
        labels: all labels, likewise.

    Raises:
        ValueError: a line with too few columns, or not in this encoding; or, when a sample is
            taken, a label or text that a transform refuses. All name file and line.

    Example:
        >>> import os, tempfile
        >>> from danlu.text import TextFileDataset, words
        >>> path = os.path.join(tempfile.mkdtemp(), "train.tsv")
        >>> with open(path, "w") as file:
        ...     _ = file.write("1\\tA good film.\\n0\\tNo.\\n")
        >>> TextFileDataset(path, transform=words, target_transform=float)[0]
        (['a', 'good', 'film'], 1.0)
    """

    def __init__(
        self,
        path,
        transform=None,
        target_transform=None,
        delimiter=None,
        label_column=0,
        text_column=1,
        header=False,
        encoding="utf-8",
    ):
        super().__init__(transform, target_transform)
        self.path = os.fspath(path)
        if delimiter is None:
            delimiter = "," if self.path.lower().endswith(".csv") else "\t"
        self.texts: list[str] = []
        self.labels: list[str] = []
        self._lines: list[int] = []
        last = max(label_column, text_column)
        for line, row in _rows(self.path, delimiter, encoding):
            if not row or (header and line == 1):
                continue
            if len(row) <= last:
                raise ValueError(
                    f"{self.path}, line {line}: expected at least {last + 1} columns between "
                    f"{delimiter!r}, got {len(row)}: {delimiter.join(row)[:60]!r}"
                )
            self.labels.append(row[label_column])
            self.texts.append(row[text_column])
            self._lines.append(line)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index):
        where = f"{self.path}, line {self._lines[index]}"
        return self._sample(self.texts[index], self.labels[index], where)


def _rows(path, delimiter, encoding):
    """The number of the last line and the columns of every record."""
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    with open(path, encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting)
        try:
            for row in reader:
                yield reader.line_num, row
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path}, after line {reader.line_num}: {error}") from error


class TextFolderDataset(_TextDataset):
    """The files of a folder, each a sample, as pairs of a text and its label.

    Where the folder has folders in it, their names are the classes and a file is a text; the label
    is the number of the class. Otherwise a file holds a label, the delimiter and the text.

    Args:
        root: the folder.
        transform: from a text to what the sample holds. Default: None, the text
        target_transform: from a label to what the sample holds. Default: None, the label
        delimiter: between label and text. Default: a tab
        encoding: Default: ``"utf-8"``

    Attributes:
        paths: of the files, in alphabetical order.
        classes: the names of the folders, in alphabetical order; empty if there are none.
        class_to_idx: class -> number.

    Raises:
        FileNotFoundError: no files in the folder, or in that of a class.
        ValueError: when a sample is taken: a file without the delimiter or in another encoding, or
            what a transform refuses. All name the file.

    Example:
        >>> import os, tempfile
        >>> from danlu.text import TextFolderDataset
        >>> root = tempfile.mkdtemp()
        >>> for name, text in (("neg", "Bad."), ("pos", "Good.")):
        ...     os.mkdir(os.path.join(root, name))
        ...     with open(os.path.join(root, name, "0.txt"), "w") as file:
        ...         _ = file.write(text)
        >>> dataset = TextFolderDataset(root)
        >>> dataset.classes, dataset[1]
        (['neg', 'pos'], ('Good.', 1))
    """

    def __init__(
        self, root, transform=None, target_transform=None, delimiter="\t", encoding="utf-8"
    ):
        super().__init__(transform, target_transform)
        self.root, self.delimiter, self.encoding = os.fspath(root), delimiter, encoding
        entries = sorted(os.listdir(root))
        self.classes = [name for name in entries if os.path.isdir(os.path.join(root, name))]
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.paths: list[str] = []
        self._labels: list[int] = []
        for name in self.classes or [""]:
            files = _files_in(os.path.join(self.root, name))
            self.paths += files
            self._labels += [self.class_to_idx.get(name, -1)] * len(files)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        try:
            with open(path, encoding=self.encoding) as file:
                text = file.read()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {error}") from error
        if self.classes:
            return self._sample(text, self._labels[index], path)
        label, found, text = text.rstrip("\n").partition(self.delimiter)
        if not found:
            raise ValueError(
                f"{path}: expected a label, {self.delimiter!r} and a text, got {label[:60]!r}; for "
                "files without labels, make one folder per class"
            )
        return self._sample(text, label, path)


def _files_in(folder) -> list[str]:
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    files = [path for path in paths if os.path.isfile(path)]
    if not files:
        raise FileNotFoundError(f"TextFolderDataset: there are no files in {folder}")
    return files
