"""``Vocabulary``: the numbers of the tokens."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

__all__ = ["Vocabulary"]

UNKNOWN = "<unk>"
PADDING = "<pad>"


class Vocabulary:
    """Numbers for tokens: the position in the list of `tokens`.

    Args:
        tokens: all tokens, each once.
        unknown: the token whose number stands for tokens that are not listed; None for none.
            Default: ``"<unk>"``
        padding: the token that fills up short texts; None for none. Default: ``"<pad>"``

    Attributes:
        tokens: the list.
        unknown_index, padding_index: the numbers of these tokens, or None.

    Raises:
        ValueError: a token comes twice, or `unknown` or `padding` is not listed.

    Example:
        >>> from danlu.text import Vocabulary
        >>> vocabulary = Vocabulary(["<unk>", "<pad>", "good", "film"])
        >>> vocabulary.encode(["good", "old", "film"])
        [2, 0, 3]
        >>> vocabulary.decode([2, 3])
        ['good', 'film']
    """

    def __init__(
        self, tokens: Iterable[str], unknown: str | None = UNKNOWN, padding: str | None = PADDING
    ):
        self.tokens = list(tokens)
        self._index = {token: i for i, token in enumerate(self.tokens)}
        if len(self._index) != len(self.tokens):
            twice = Counter(self.tokens).most_common(1)[0][0]
            raise ValueError(f"Vocabulary: every token is listed once, but {twice!r} comes again")
        for role, token in (("unknown", unknown), ("padding", padding)):
            if token is not None and token not in self._index:
                raise ValueError(
                    f"Vocabulary: {role}={token!r} is not among the tokens: add it, or pass "
                    f"{role}=None"
                )
        self.unknown, self.padding = unknown, padding
        self.unknown_index = None if unknown is None else self._index[unknown]
        self.padding_index = None if padding is None else self._index[padding]

    @classmethod
    def build(
        cls,
        texts: Iterable[Iterable[str]],
        min_freq: int = 1,
        max_size: int | None = None,
        specials: Iterable[str] = (UNKNOWN, PADDING),
        unknown: str | None = UNKNOWN,
        padding: str | None = PADDING,
    ) -> Vocabulary:
        """The vocabulary of texts: the special tokens, then the others, most frequent first.

        Tokens that are equally frequent stand in alphabetical order.

        Args:
            texts: one list of tokens per text.
            min_freq: rarer tokens are left out. Default: 1, none
            max_size: at most this many tokens, the special ones included. Default: None, all
            specials: tokens that come first whether they occur or not.
            unknown, padding: see the class.

        Raises:
            TypeError: a text that is a str instead of a list of tokens.

        Example:
            >>> from danlu.text import Vocabulary
            >>> Vocabulary.build([["b", "a"], ["c", "b"]], max_size=4).tokens
            ['<unk>', '<pad>', 'b', 'a']
        """
        counts: Counter = Counter()
        for tokens in texts:
            counts.update(_checked_tokens(tokens, "Vocabulary.build"))
        specials = list(specials)
        for token in specials:
            counts.pop(token, None)
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        room = len(ranked) if max_size is None else max(0, max_size - len(specials))
        kept = [token for token in ranked[:room] if counts[token] >= min_freq]
        return cls(specials + kept, unknown, padding)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """The numbers of the tokens.

        Raises:
            KeyError: a token that is not listed, where the vocabulary has no `unknown`.
            TypeError: a str instead of a list of tokens.
        """
        tokens = _checked_tokens(tokens, "Vocabulary.encode")
        find, other = self._index.get, self.unknown_index
        if other is not None:
            return [find(token, other) for token in tokens]
        try:
            return [self._index[token] for token in tokens]
        except KeyError as error:
            raise KeyError(
                f"Vocabulary.encode: {error.args[0]!r} is not in the vocabulary, which has no "
                "token for the unknown: build it with unknown='<unk>'"
            ) from None

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The tokens of a list, array or tensor (L,) of numbers.

        Raises:
            IndexError: a number that no token has.
        """
        numbers = [int(number) for number in numbers]
        for number in numbers:
            if not 0 <= number < len(self.tokens):
                raise IndexError(
                    f"Vocabulary.decode: {number} is the number of no token; they run from 0 to "
                    f"{len(self.tokens) - 1}"
                )
        return [self.tokens[number] for number in numbers]

    def save(self, path) -> None:
        """Write a text file: a line of JSON about `unknown` and `padding`, then a token per line.

        Backslashes and line ends inside tokens are written as in Python.
        """
        lines = [json.dumps({"unknown": self.unknown, "padding": self.padding}, ensure_ascii=False)]
        lines += [token.translate(_ESCAPES) for token in self.tokens]
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write("\n".join(lines) + "\n")

    @classmethod
    def load(cls, path) -> Vocabulary:
        """Read a file that `save` has written.

        Raises:
            ValueError: the file is none of them.
        """
        with open(path, encoding="utf-8", newline="") as file:
            first, *tokens = file.read().removesuffix("\n").split("\n")
        try:
            roles = json.loads(first)
            unknown, padding = roles["unknown"], roles["padding"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"Vocabulary.load: {path} is no vocabulary: its first line must say what unknown "
                f"and padding are, as Vocabulary.save writes it, but is {first[:60]!r}"
            ) from None
        return cls([_unescape(token) for token in tokens], unknown, padding)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token) -> bool:
        return token in self._index

    def __getitem__(self, token: str) -> int:
        return self.encode([token])[0]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, unknown={self.unknown!r}, padding={self.padding!r})"


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def _unescape(line: str) -> str:
    parts = line.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\r", "\r") for part in parts)


def _checked_tokens(tokens, where):
    if isinstance(tokens, str):
        raise TypeError(
            f"{where}: expected the list of a text's tokens, got the str {tokens[:40]!r}: apply a "
            "tokenizer such as danlu.text.words first"
        )
    return tokens
