"""Text that every machine with the tour has: sentences of NumPy's and scikit-learn's reference.

They are read from the docstrings of installed source files. Files are held out whole, so that a
sentence of the test set never stands beside one of the training set.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import danlu as torch
from danlu import Tensor

SOURCES = {
    "numpy": ("lib", "ma", "linalg", "polynomial", "_core"),
    "sklearn": ("cluster", "decomposition", "ensemble", "linear_model", "preprocessing", "svm"),
}
NAMES = ("NumPy", "scikit-learn")
GIVEAWAYS = frozenset({"numpy", "np", "scikit", "sklearn", "learn"})
LENGTH, MAX_WORDS = 24, 4000
PAD, UNKNOWN = 0, 1

_SENTENCE = re.compile(r"(?<![\w`.])[A-Z][a-z]+(?: [\w,'()`*-]+){4,23}\.(?=\s|$)")
_DEFAULT = re.compile(r"^(?:True|False|None) ")  # runs into the sentence from the line above it
_WORD = re.compile(r"[a-z]+")


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a source file, which is read and not run."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield ast.get_docstring(node) or ""


def sentences(path: Path) -> Iterator[str]:
    """The sentences of plain prose in a file's docstrings."""
    for docstring in docstrings(path):
        for paragraph in docstring.split("\n\n"):
            if ">>>" not in paragraph and "::" not in paragraph:
                for sentence in _SENTENCE.findall(" ".join(paragraph.split())):
                    if "--" not in sentence:  # the rule under a heading
                        yield _DEFAULT.sub("", sentence)


def words(sentence: str) -> list[str]:
    """The words of a sentence, without those that would give its source away."""
    return [word for word in _WORD.findall(sentence.lower()) if word not in GIVEAWAYS]


def folder_of(package: str) -> Path:
    """Where an installed package lies; it is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    return Path(spec.origin).parent


def read() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Sentences to train on and to test with, each with its class."""
    train: dict[str, int] = {}
    test: dict[str, int] = {}
    for label, (package, folders) in enumerate(SOURCES.items()):
        root = folder_of(package)
        files = [path for folder in folders for path in sorted((root / folder).glob("*.py"))]
        for number, path in enumerate(files):
            part = test if number % 4 == 3 else train
            part.update(dict.fromkeys(sentences(path), label))
    return list(train.items()), [pair for pair in test.items() if pair[0] not in train]


def vocabulary(texts: list[tuple[str, int]]) -> dict[str, int]:
    """The most frequent words, numbered from 2 on."""
    counts = Counter(word for sentence, _ in texts for word in words(sentence))
    return {word: i + 2 for i, (word, _) in enumerate(counts.most_common(MAX_WORDS - 2))}


def encode(texts: list[tuple[str, int]], numbers: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Sentences as word numbers (N, LENGTH), and their labels (N, 1)."""
    rows = []
    for sentence, _ in texts:
        row = [numbers.get(word, UNKNOWN) for word in words(sentence)][:LENGTH]
        rows.append(row + [PAD] * (LENGTH - len(row)))
    return torch.tensor(rows), torch.tensor([[float(label)] for _, label in texts])
