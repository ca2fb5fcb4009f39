"""Functions from a text to the list of its tokens."""

from __future__ import annotations

import string

__all__ = ["basic_english", "characters", "words"]

_LINE_BREAK = "<br />"
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MARKS_APART = str.maketrans(
    {**{mark: f" {mark} " for mark in "'.,()!?"}, '"': "", ";": " ", ":": " "}
)


def words(text: str) -> list[str]:
    """The words in lower case, with ASCII punctuation and HTML line breaks taken out.

    Example:
        >>> from danlu.text import words
        >>> words("It's good.<br />Very good!")
        ['its', 'good', 'very', 'good']
    """
    return text.lower().replace(_LINE_BREAK, " ").translate(_WITHOUT_PUNCTUATION).split()


def basic_english(text: str) -> list[str]:
    """The words in lower case and the punctuation marks ``' . , ( ) ! ?``, each a token.

    Double quotes vanish; colons, semicolons and HTML line breaks separate. The same tokens as the
    tokenizer "basic_english" of torchtext gives.

    Example:
        >>> from danlu.text import basic_english
        >>> basic_english("It's good: very good!")
        ['it', "'", 's', 'good', 'very', 'good', '!']
    """
    return text.lower().replace(_LINE_BREAK, " ").translate(_MARKS_APART).split()


def characters(text: str) -> list[str]:
    """The characters, spaces and line ends included; also the way to take Chinese apart.

    Example:
        >>> from danlu.text import characters
        >>> characters("炼丹 ok")
        ['炼', '丹', ' ', 'o', 'k']
    """
    return list(text)
