"""From text to tensors: tokens, a vocabulary, padding, and datasets of files.

>>> from danlu.text import PadCollate, Vocabulary, words
>>> reviews = ["A great film!", "Great, great cast; a poor plot."]
>>> vocabulary = Vocabulary.build(map(words, reviews))
>>> samples = [(vocabulary.encode(words(text)), label) for text, label in zip(reviews, [1.0, 0.0])]
>>> tokens, labels = PadCollate(vocabulary.padding_index)(samples)
>>> tokens
tensor([[1, 1, 1, 3, 2, 5],
        [2, 2, 4, 3, 7, 6]])
>>> labels
tensor([1., 0.])
"""

from danlu.text.datasets import TextFileDataset, TextFolderDataset
from danlu.text.padding import PadCollate, pad_sequences
from danlu.text.tokenizers import basic_english, characters, words
from danlu.text.vocabulary import Vocabulary

__all__ = [
    "PadCollate", "TextFileDataset", "TextFolderDataset", "Vocabulary", "basic_english",
    "characters", "pad_sequences", "words",
]  # fmt: skip
