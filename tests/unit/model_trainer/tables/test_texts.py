"""Free text: which words it has, which of them a network knows, and what it sees of them."""

import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_operator.api import Architecture, ArchitectureName, Augmentation, Loss, Table

from model_trainer.data.pipeline import Shuffling
from model_trainer.failure import BadData
from model_trainer.tables.batches import RowBatches, encoded_inputs
from model_trainer.tables.card import table_card
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.encoding import Encoding
from model_trainer.tables.mlp import build_mlp, text_input
from model_trainer.tables.samples import RowSamples
from model_trainer.tables.texts import read_words
from model_trainer.tables.vocabulary import UNKNOWN, Vocabulary, learn_vocabulary
from model_trainer.workers.place import Shard

STRANGE = [
    "Good, BAD! good oslo (bad)  bad",
    "",
    "...!?",
    "KÖLN köln Kö-ln",
    "line\nfeed\ttab\r\nend",
    "non\u00a0breaking \u2003 space",
    'it\'s `quoted` "twice" [UNK] <b>bold</b>',
    "日本語 テキスト、句読点。",
    "a " * 40,
]


def texts_of(cells: list[str]) -> Any:
    return np.array([cell.encode() for cell in cells], dtype=object)


def test_texts_are_taken_apart_as_keras_does_it():
    letters = "aBcÄß12 \t\n.,'-_\"\\[]{}~`|^日"
    chance = random.Random(5)
    cells = STRANGE + ["".join(chance.choices(letters, k=chance.randrange(60))) for _ in range(300)]
    words = read_words(texts_of(cells), 7)
    every = np.arange(len(cells))
    vocabulary = learn_vocabulary("review", words, every, 50, 7)
    by_keras = keras.layers.TextVectorization(vocabulary=list(vocabulary.words), output_sequence_length=7)
    ours = vocabulary.padded(words, vocabulary.numbers(words), every)
    assert ours.shape == (len(cells), 7)
    assert np.array_equal(ours, np.asarray(by_keras(texts_of(cells))))
    assert (ours == UNKNOWN).any()
    assert words.lengths[8] == 40


def test_texts_of_many_megabytes_are_read_in_parts(monkeypatch: pytest.MonkeyPatch):
    cells = texts_of([f"word{place % 7} " * (place % 5) for place in range(100)])
    whole = read_words(cells, 3)
    monkeypatch.setattr("model_trainer.tables.texts._BYTES_AT_ONCE", 64)
    parts = read_words(cells, 3)
    assert (whole.spelled, whole.codes.tolist()) == (parts.spelled, parts.codes.tolist())
    assert np.array_equal(whole.starts, parts.starts)
    assert np.array_equal(whole.lengths, np.arange(100) % 5)


def test_the_commonest_words_are_known_whatever_the_order_of_rows():
    cells = ["b a a a", "c b d", "c", "z" * 101, "e e e e e"]
    train = np.arange(4)

    def known(order: list[str], most: int) -> tuple[str, ...]:
        return learn_vocabulary("review", read_words(texts_of(order), 9), train, most, 9).words

    assert known(cells, 3) == known([*reversed(cells[:4]), cells[4]], 3) == ("a", "b", "c")
    assert known(cells, 99) == ("a", "b", "c", "d"), "neither another part's word nor one of 101 bytes"


def test_words_that_are_not_read_are_not_known():
    words = read_words(texts_of(["a b c c c", "a b"]), 2)
    assert learn_vocabulary("review", words, np.arange(2), 9, 2).words == ("a", "b")


def test_punctuation_is_no_text():
    words = read_words(texts_of(["...", " ! ", "word"]), 9)
    with pytest.raises(BadData, match=r"^No row that is learned from has a word in the text column 'review'"):
        learn_vocabulary("review", words, np.arange(2), 9, 9)


def test_a_batch_is_as_wide_as_its_texts_need():
    words = read_words(texts_of(["a b", "", "a " * 5, "a " * 300]), 64)
    vocabulary = learn_vocabulary("review", words, np.arange(4), 9, 64)
    numbers = vocabulary.numbers(words)
    assert vocabulary.padded(words, numbers, np.array([1, 0])).tolist() == [[0, 0, 0, 0], [2, 3, 0, 0]]
    assert vocabulary.padded(words, numbers, np.array([2, 0])).shape == (2, 16)
    assert vocabulary.padded(words, numbers, np.array([3])).tolist() == [[2] * 64]


REVIEWED = Table(target="liked", text=("review", "reply"), max_tokens=5, sequence_length=4)


@pytest.fixture
def reviewed(tmp_path: Path, read: Any, write_table: Any) -> Any:
    """Forty reviews, of which some are empty; those of the test part have a word that no other has."""
    header = ["review", "price", "reply", "liked"]
    rows = [
        [["Good one!", "bad one, bad", "", "so so so so so bad"][place % 4], place, f"Dear {place % 3}", place % 2]
        for place in range(40)
    ]
    own = [["good novel", 1, "", 0], ["", 2, "dear novel", 1]]
    return read(
        write_table(tmp_path / "train.csv", [header, *rows]),
        REVIEWED,
        test_uri=write_table(tmp_path / "test.csv", [header, *own]).as_uri(),
    )


def test_the_vocabulary_is_of_the_train_part_alone(reviewed: Any):
    table, split = reviewed
    assert table.columns == (
        Column("review", Kind.TEXT),
        Column("price", Kind.NUMERIC),
        Column("reply", Kind.TEXT),
    )
    review, reply = table.encoding.texts
    assert set(review.words) == {"good", "one", "bad", "so"}
    assert set(reply.words) == {"dear", "0", "1", "2"}
    inputs = encoded_inputs(table, split.test)
    good, dear = review.words.index("good") + 2, reply.words.index("dear") + 2
    assert inputs["text_0"].tolist() == [[good, UNKNOWN, 0, 0], [0, 0, 0, 0]]
    assert inputs["text_1"][1, :2].tolist() == [dear, UNKNOWN]
    assert [cell.tolist() for cell in table.raw(split.test)[::2]] == [[b"good novel", b""], [b"", b"dear novel"]]


def test_the_data_card_says_what_the_texts_are_like(reviewed: Any):
    table, split = reviewed
    review = table_card(table, split).columns[0]
    cells = [str(cell, "utf-8") for cell in table.raw(split.train)[0]]
    of_train = [cell.replace("!", "").replace(",", "").lower().split() for cell in cells]
    assert review.words == 4
    assert review.common["so"] == sum(words[:4].count("so") for words in of_train)
    assert list(review.common.values()) == sorted(review.common.values(), reverse=True)
    assert review.text is not None
    assert (review.text.lengths[0], review.text.lengths[-1]) == (0, 6)
    assert review.text.empty == sum(not words for words in of_train)
    assert review.text.cut == sum(len(words) > 4 for words in of_train)
    assert review.text.unknown == 0
    elsewhere = [str(cell, "utf-8").split() for part in (split.validation, split.test) for cell in table.raw(part)[0]]
    assert review.text.unknown_elsewhere == pytest.approx(1 / sum(len(words[:4]) for words in elsewhere))


def test_batches_go_on_in_the_middle_of_an_epoch_and_are_the_same_texts_raw(reviewed: Any):
    table, split = reviewed

    def epoch(step: int, *, raw: bool = False) -> list[Any]:
        batches = RowBatches(table, split.train, batch_size=8, shuffling=Shuffling(7, Augmentation()), raw=raw)
        batches.begin_at(3, step)
        return [inputs for inputs, _ in batches.dataset(2, Loss.CATEGORICAL_CROSSENTROPY).as_numpy_iterator()]

    whole, rest, raw = epoch(0), epoch(2), epoch(0, raw=True)
    by_keras = keras.layers.TextVectorization(vocabulary=list(table.encoding.texts[0].words), output_sequence_length=4)
    for one, other in zip(whole[2:], rest, strict=True):
        assert np.array_equal(one["text_0"], other["text_0"])
    for one, (review, _, _) in zip(whole, raw, strict=True):
        assert np.array_equal(one["text_0"], np.asarray(by_keras(review)))


def test_workers_get_together_the_texts_that_one_alone_would_get(reviewed: Any):
    table, split = reviewed

    def epoch(shard: Shard | None) -> list[list[list[int]]]:
        shuffling = Shuffling(7, Augmentation())
        batches = RowBatches(table, split.train, batch_size=8, shuffling=shuffling, shard=shard)
        rows = batches.dataset(2, Loss.CATEGORICAL_CROSSENTROPY).as_numpy_iterator()
        return [[row[row > 0].tolist() for row in inputs["text_0"]] for inputs, _ in rows]

    alone, first, second = epoch(None), epoch(Shard(0, 2)), epoch(Shard(1, 2))
    assert alone == [one + other for one, other in zip(first, second, strict=True)]


def test_the_network_sees_the_mean_of_the_words_without_padding_and_nothing_as_something():
    encoding = Encoding((), (), (), (Vocabulary(("good", "bad"), 9),))
    model = build_mlp(Architecture(name=ArchitectureName.MLP, hidden_units=()), encoding, 3)
    vectors = model.get_layer("words_of_text_0").get_weights()[0]
    kernel, bias = model.get_layer("probabilities").get_weights()

    def answers(*rows: list[int]) -> Any:
        return np.asarray(model.predict_on_batch({text_input(0): np.array(rows, np.int32)}))

    def wanted(row: list[int]) -> Any:
        scores = np.exp(vectors[row].mean(axis=0) @ kernel + bias)
        return scores / scores.sum()

    assert answers([2, 3, 2, 1, 0, 0, 0]) == pytest.approx(wanted([2, 3, 2, 1])[None], abs=1e-6)
    assert answers([3, 0, 0], [0, 0, 0]) == pytest.approx(np.array([wanted([3]), wanted([0])]), abs=1e-6)
    assert answers([3] * 2000) == pytest.approx(wanted([3])[None], abs=1e-6)


def test_samples_keep_every_byte_of_a_text(tmp_path: Path):
    columns = (Column("review", Kind.TEXT), Column("price", Kind.NUMERIC), Column("shop", Kind.CATEGORICAL))
    texts = np.array([b"", "日本 ".encode(), b"ends in zero\0"], dtype=object)
    shops = np.array([b"", b"a", b""], dtype=object)
    samples = RowSamples(columns, (texts, np.arange(3, dtype=np.float32), shops), np.zeros((3, 2), np.float32))
    samples.save(tmp_path / "samples.npz")
    loaded = RowSamples.load(tmp_path / "samples.npz", columns)
    assert [cells.tolist() for cells in loaded.cells] == [texts.tolist(), [0, 1, 2], shops.tolist()]
