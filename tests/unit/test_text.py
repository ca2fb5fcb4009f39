"""`danlu.text`: tokens, vocabulary, padding, datasets of files."""

from __future__ import annotations

import pickle
import re
import string

import numpy as np
import pytest

import danlu
from danlu.text import (
    PadCollate,
    TextFileDataset,
    TextFolderDataset,
    Vocabulary,
    basic_english,
    characters,
    pad_sequences,
    words,
)
from danlu.utils.data import DataLoader

REVIEWS = [
    '1\tA "great" film, isn\'t it?<br />Great!\n',
    "0\tNot good; not bad.\n",
    "1\tGood film\n",
]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- tokens
def test_words_clean_as_the_tutorial_does():
    for line in REVIEWS:
        lowered = re.sub("<br />", " ", line.lower().replace("\n", " "))
        cleaned = re.sub(f"[{re.escape(string.punctuation)}]", "", lowered)
        assert words(line) == cleaned.split()


def test_basic_english():
    text = "He said: \"It's (very) good,<br />isn't it?!\"; no."
    expected = "he said it ' s ( very ) good , isn ' t it ? ! no ."
    assert basic_english(text) == expected.split()


def test_characters():
    assert characters("a 丹\n") == ["a", " ", "丹", "\n"]


# ---------------------------------------------------------------- vocabulary
def test_vocabulary_ranks_by_frequency_then_alphabet():
    texts = [["b", "a", "c"], ["b", "a"], ["b", "d", "<pad>"]]
    assert Vocabulary.build(texts).tokens == ["<unk>", "<pad>", "b", "a", "c", "d"]
    assert Vocabulary.build(texts, max_size=4).tokens == ["<unk>", "<pad>", "b", "a"]
    assert Vocabulary.build(texts, min_freq=2).tokens == ["<unk>", "<pad>", "b", "a"]
    assert Vocabulary.build(texts, max_size=1).tokens == ["<unk>", "<pad>"]
    ends = Vocabulary.build(texts, specials=["<s>", "</s>"], unknown=None, padding=None)
    assert ends.tokens[:3] == ["<s>", "</s>", "b"]
    assert ends.unknown_index is None and ends.padding_index is None


def test_encode_and_decode():
    vocabulary = Vocabulary.build([["a", "b"]], padding="<pad>")
    assert vocabulary.encode(["b", "zzz", "a"]) == [3, 0, 2]
    assert vocabulary["a"] == 2 and "a" in vocabulary and "zzz" not in vocabulary
    assert vocabulary.decode(danlu.tensor([3, 0, 1])) == ["b", "<unk>", "<pad>"]
    assert len(vocabulary) == 4
    assert repr(vocabulary) == "Vocabulary(4 tokens, unknown='<unk>', padding='<pad>')"
    assert pickle.loads(pickle.dumps(vocabulary)).encode(["b"]) == [3]


def test_vocabulary_file(tmp_path):
    tokens = ["<unk>", "<pad>", "丹", "\n", "\\n", "\\", "a\tb", "\r", "", "\u2028"]
    vocabulary = Vocabulary(tokens, padding=None)
    vocabulary.save(tmp_path / "vocabulary.txt")
    again = Vocabulary.load(tmp_path / "vocabulary.txt")
    assert again.tokens == tokens
    assert (again.unknown, again.padding) == ("<unk>", None)
    assert "丹\n" in (tmp_path / "vocabulary.txt").read_text(encoding="utf-8")


def test_vocabulary_errors(tmp_path):
    with pytest.raises(TypeError, match="apply a tokenizer such as danlu.text.words first"):
        Vocabulary.build(["a text"])
    closed = Vocabulary(["a"], unknown=None, padding=None)
    with pytest.raises(TypeError, match="got the str 'a'"):
        closed.encode("a")
    with pytest.raises(KeyError, match="'b' is not in the vocabulary"):
        closed.encode(["a", "b"])
    with pytest.raises(IndexError, match="7 is the number of no token; they run from 0 to 0"):
        closed.decode([7])
    with pytest.raises(ValueError, match="'a' comes again"):
        Vocabulary(["a", "b", "a"], None, None)
    with pytest.raises(ValueError, match="padding='<pad>' is not among the tokens"):
        Vocabulary(["<unk>"])
    with pytest.raises(ValueError, match=r"words.txt is no vocabulary.*'the'"):
        Vocabulary.load(write(tmp_path / "words.txt", "the\na\n"))


# ---------------------------------------------------------------- padding
def test_pad_sequences_as_the_tutorial_does():
    def pad(values, length):
        kept = values[-length:]
        return [1] * (length - len(kept)) + kept

    sequences = [list(range(n)) for n in (0, 2, 5, 8)]
    padded = pad_sequences(sequences, 5, value=1)
    assert padded.dtype == danlu.int64
    assert padded.tolist() == [pad(each, 5) for each in sequences]


def test_pad_sequences_on_the_right_and_types():
    right = {"padding_side": "right", "truncation_side": "right"}
    assert pad_sequences([[1, 2, 3], [4]], 2, **right).tolist() == [[1, 2], [4, 0]]
    mixed = pad_sequences([danlu.tensor([1, 2]), np.array([3]), [4, 5, 6]], **right)
    assert mixed.tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    assert pad_sequences([[0.5], []]).dtype == danlu.float32
    assert pad_sequences([[], []], length=1).tolist() == [[0], [0]]


def test_pad_sequences_errors():
    with pytest.raises(ValueError, match="padding_side must be 'left' or 'right', got 'post'"):
        pad_sequences([[1]], padding_side="post")
    with pytest.raises(ValueError, match="sequence 1 .* got .*'b'.*: encode tokens"):
        pad_sequences([[1], ["b"]])
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        pad_sequences([[1]], 0)
    with pytest.raises(ValueError, match="there are no sequences"):
        pad_sequences([])


def test_pad_collate():
    samples = [([1, 2, 3], danlu.tensor([1.0])), ([4], danlu.tensor([0.0]))]
    tokens, labels = PadCollate(value=9)(samples)
    assert tokens.tolist() == [[1, 2, 3], [9, 9, 4]] and labels.shape == (2, 1)
    tokens, lengths, labels = PadCollate(length=2, lengths=True)([([1, 2, 3], 0), ([4], 1)])
    assert lengths.tolist() == [2, 1] and labels.dtype == danlu.int64


# ---------------------------------------------------------------- datasets
def test_a_model_trains_on_a_file_in_under_ten_lines(tmp_path):
    path = write(tmp_path / "train.tsv", "".join(REVIEWS))
    vocabulary = Vocabulary.build(map(words, TextFileDataset(path).texts), max_size=20)
    dataset = TextFileDataset(path, lambda text: vocabulary.encode(words(text)), float)
    collate = PadCollate(vocabulary.padding_index, length=6)
    for tokens, labels in DataLoader(dataset, batch_size=2, collate_fn=collate):
        assert tokens.shape == (len(labels), 6) and labels.dtype == danlu.float32
    embedding = danlu.nn.Embedding(len(vocabulary), 3, padding_idx=vocabulary.padding_index)
    assert embedding(tokens).shape == (1, 6, 3)


def test_text_file_with_tabs_keeps_quotes(tmp_path):
    dataset = TextFileDataset(write(tmp_path / "a.tsv", "".join(REVIEWS)))
    assert len(dataset) == 3
    assert dataset.texts == [line.rstrip("\n").split("\t")[1] for line in REVIEWS]
    assert dataset[1] == ("Not good; not bad.", "0")


def test_csv_file_with_header_and_columns(tmp_path):
    text = 'text,stars,label\n"Good, but long",4,pos\n"Two\nlines",1,neg\n'
    dataset = TextFileDataset(
        write(tmp_path / "a.csv", text), text_column=0, label_column=2, header=True
    )
    assert [dataset[i] for i in range(2)] == [("Good, but long", "pos"), ("Two\nlines", "neg")]


def test_text_file_errors_name_file_and_line(tmp_path):
    path = write(tmp_path / "a.tsv", "1\tgood\n\nno label\n")
    with pytest.raises(
        ValueError, match=r"a.tsv, line 3: expected at least 2 columns .* got 1: 'no label'"
    ):
        TextFileDataset(path)
    dataset = TextFileDataset(
        write(tmp_path / "b.tsv", "1\tgood\nx\tbad\n"), target_transform=float
    )
    with pytest.raises(ValueError, match=r"b.tsv, line 2: could not convert string to float: 'x'"):
        dataset[1]
    (tmp_path / "c.tsv").write_bytes("1\t好\n".encode("gbk"))
    with pytest.raises(ValueError, match=r"c.tsv, after line 0: 'utf-8' codec"):
        TextFileDataset(tmp_path / "c.tsv")
    assert TextFileDataset(tmp_path / "c.tsv", encoding="gbk")[0] == ("好", "1")


def test_folder_of_files_with_label_and_text(tmp_path):
    for i, line in enumerate(REVIEWS):
        write(tmp_path / f"{i}.txt", line)
    dataset = TextFolderDataset(tmp_path, transform=words, target_transform=int)
    assert len(dataset) == 3 and dataset.classes == []
    assert dataset[2] == (["good", "film"], 1)
    write(tmp_path / "3.txt", "nothing")
    with pytest.raises(
        ValueError, match=r"3.txt: expected a label, '\\t' and a text, got 'nothing'"
    ):
        TextFolderDataset(tmp_path)[3]


def test_folder_of_classes(tmp_path):
    for name, texts in (("pos", ["good", "great"]), ("neg", ["bad"])):
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            write(tmp_path / name / f"{i}.txt", text)
    dataset = TextFolderDataset(tmp_path)
    assert dataset.class_to_idx == {"neg": 0, "pos": 1}
    assert [dataset[i] for i in range(3)] == [("bad", 0), ("good", 1), ("great", 1)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no files in .*empty"):
        TextFolderDataset(tmp_path)
