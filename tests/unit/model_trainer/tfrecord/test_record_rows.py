"""Rows in records: which features are columns, and of which kind."""

from pathlib import Path
from typing import Any

import numpy as np
from keras_operator.api import Table, TargetKind

from model_trainer.tables.columns import Column, Kind
from tests.unit.model_trainer.tfrecord.conftest import numbers, write

COLUMNS = (Column("age", Kind.NUMERIC), Column("town", Kind.CATEGORICAL), Column("x", Kind.NUMERIC, 3))


def test_the_first_record_says_what_columns_there_are(tmp_path: Path, read_rows: Any):
    table, split = read_rows(write(tmp_path / "a.tfrecord", numbers()))
    assert table.columns == COLUMNS
    assert table.classes == ("0", "1")
    assert table.labels(np.arange(4)).tolist() == [0, 1, 0, 1]
    assert np.allclose(table.numbers[7], [7, 1.0, 7 / 3, -1.0])
    age, town, x = table.raw(np.array([7, 8]))
    assert (age.tolist(), town.tolist(), x.shape) == ([7.0, 8.0], [b"town 1", b"town 2"], (2, 3))
    assert table.examples[7].key == "a.tfrecord:7"
    assert len(split.train) + len(split.validation) + len(split.test) == 40
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_table_says_what_a_feature_is(tmp_path: Path, read_rows: Any):
    path = write(tmp_path / "a.tfrecord", numbers())
    table, _ = read_rows(path, table=Table(target="y", categorical=("age",), ignored=("x",)))
    assert table.columns == (Column("age", Kind.CATEGORICAL), Column("town", Kind.CATEGORICAL))
    assert table.words[0][:3] == ("0", "1", "2")
    table, _ = read_rows(path, table=Table(target="town"))
    assert table.classes == ("town 0", "town 1", "town 2")


def test_a_text_is_read_word_by_word(tmp_path: Path, read_rows: Any):
    path = write(tmp_path / "a.tfrecord", [{**row, "town": f"Town, {row['town']}!"} for row in numbers()])
    table, split = read_rows(path, table=Table(target="y", text=("town",), categorical=("age",)))
    assert table.columns[:2] == (Column("age", Kind.CATEGORICAL), Column("town", Kind.TEXT))
    assert table.encoding.texts[0].words[0] == "town"
    assert set(table.encoding.texts[0].words) == {"town", "0", "1", "2"}
    assert table.raw(np.array([7]))[1].tolist() == [b"Town, town 1!"]
    (tokens,) = table.padded(split.test)
    assert (tokens[:, :2] == 2).all()


def test_a_number_is_learned_too(tmp_path: Path, read_rows: Any):
    path = write(tmp_path / "a.tfrecord", numbers())
    table, _ = read_rows(path, table=Table(target="age", target_kind=TargetKind.NUMERIC))
    assert table.classes == ()
    assert table.values.tolist() == list(range(40))
    assert table.target is not None
    assert table.target.name == "age"


def test_a_row_is_known_by_its_features_alone(tmp_path: Path, read_rows: Any):
    rows = numbers()
    one, _ = read_rows(write(tmp_path / "a.tfrecord", rows))
    more = [{**row, "y": 1 - int(row["y"])} for row in reversed(rows)]
    other, _ = read_rows(write(tmp_path / "b.tfrecord", more))
    assert {each.sha256 for each in one.examples} == {each.sha256 for each in other.examples}
    assert len({each.sha256 for each in one.examples}) == 40
