"""Which column is of which kind, and which row is in which part."""

import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from keras_operator.api import Augmentation, Loss, Table

from model_trainer.data.pipeline import Shuffling
from model_trainer.tables.batches import RowBatches
from model_trainer.tables.columns import Kind
from model_trainer.tables.mlp import IDS, NUMBERS
from model_trainer.workers.place import Shard

PEOPLE = Table(target="at home", ignored=("number",))


def kinds(table: Any) -> dict[str, Kind]:
    return {column.name: column.kind for column in table.columns}


def parts(read: tuple[Any, Any]) -> dict[str, str]:
    """In which part each row is, by its hash."""
    table, split = read
    named = {"train": split.train, "validation": split.validation, "test": split.test}
    found: dict[str, str] = {}
    for name, indices in named.items():
        for index in indices:
            assert found.setdefault(table.examples[index].sha256, name) == name, "copies straddle"
    return found


def test_kinds_are_found_where_they_are_not_named(tmp_path: Path, read: Any, write_table: Any, of_people: Any):
    path = write_table(tmp_path / "people.csv", of_people(100))
    found, _ = read(path, PEOPLE)
    assert kinds(found) == {"age": Kind.NUMERIC, "town": Kind.CATEGORICAL, "shoe size (EU)": Kind.NUMERIC}
    asked, _ = read(path, Table(target="at home", categorical=("age",), numeric=("number",)))
    assert kinds(asked)["age"] is Kind.CATEGORICAL
    assert kinds(asked)["number"] is Kind.NUMERIC
    assert found.classes == ("Aare", "Danube", "Rhine", "nowhere")


def test_cells_are_what_stands_in_the_file(tmp_path: Path, read: Any):
    (tmp_path / "table.csv").write_bytes(
        '\ufeffage, town ,home\r\n 30 ,"Bern, BE",yes\r\n\r\n4e1,"two\nlines",no\r\n50,,yes\r\n60,Ulm,no\r\n'.encode()
    )
    table, _ = read(tmp_path / "table.csv", Table(target="home"))
    age, town = table.raw(np.arange(4))
    assert age.tolist() == [30, 40, 50, 60]
    assert [cell.decode() for cell in town] == ["Bern, BE", "two\nlines", "", "Ulm"]
    assert [example.key for example in table.examples] == ["table.csv:2", "table.csv:5", "table.csv:6", "table.csv:7"]


def test_more_rows_move_no_row_to_another_part(tmp_path: Path, read: Any, write_table: Any, of_people: Any):
    few, more = of_people(300, seed=1), of_people(200, seed=2)
    before = parts(read(write_table(tmp_path / "a" / "people.csv", few), PEOPLE))
    shuffled = [few[0], *more[1:], *reversed(few[1:])]
    after = parts(read(write_table(tmp_path / "b" / "people.csv", shuffled), PEOPLE))
    assert len(after) > len(before) > 290
    assert {row: after[row] for row in before} == before
    assert {before[row] for row in before} == {"train", "validation", "test"}


def test_neither_the_order_of_columns_nor_the_spelling_of_numbers_makes_another_row(
    tmp_path: Path, read: Any, write_table: Any, of_people: Any
):
    rows = of_people(60)
    turned = [rows[0][::-1], *([row[4], row[3], row[2], f"{row[1]}.0", row[0]] for row in rows[1:])]
    one = read(write_table(tmp_path / "a.csv", rows), PEOPLE)
    other = read(write_table(tmp_path / "b.csv", turned), PEOPLE)
    assert parts(one) == parts(other)


def test_copies_stay_together_also_where_they_are_called_differently(
    tmp_path: Path, read: Any, write_table: Any, of_people: Any
):
    rows = of_people(80)
    copies = [[number + 1000, *row[1:4], "elsewhere"] for number, row in enumerate(rows[1:])]
    table, split = read(write_table(tmp_path / "people.csv", [*rows, *copies]), PEOPLE)
    assert len(parts((table, split))) == 80


def test_files_of_a_folder_and_of_an_archive_are_one_table(tmp_path: Path, read: Any, write_table: Any, of_people: Any):
    rows = of_people(90)
    whole = read(write_table(tmp_path / "people.csv", rows), PEOPLE)
    write_table(tmp_path / "folder" / "people" / "1.csv", rows[:50])
    write_table(tmp_path / "folder" / "people" / "2.csv", [rows[0][::-1], *(row[::-1] for row in rows[50:])])
    (tmp_path / "folder" / "people" / "notes.txt").write_text("no table")
    folder = read(tmp_path / "folder", PEOPLE)
    with tarfile.open(tmp_path / "people.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "folder" / "people", "people")
    packed = read(tmp_path / "people.tar.gz", PEOPLE)
    assert parts(whole) == parts(folder) == parts(packed)
    assert (whole[0].files, folder[0].files, packed[0].files) == (1, 2, 2)


def test_a_part_of_one_s_own_stays_as_it_is(tmp_path: Path, read: Any, write_table: Any, of_people: Any):
    rows, own = of_people(100, seed=3), of_people(40, seed=4)
    copied = [*rows, own[1]]
    write_table(tmp_path / "train.csv", copied)
    write_table(tmp_path / "test.csv", own)
    table, split = read(tmp_path / "train.csv", PEOPLE, test_uri=(tmp_path / "test.csv").as_uri())
    assert len(split.test) == 40
    assert {table.examples[index].key.partition(":")[0] for index in split.test} == {"test.csv"}
    assert len(split.train) + len(split.validation) == 100


def test_the_encoding_knows_the_train_part_alone(tmp_path: Path, read: Any, write_table: Any):
    rows = [["age", "town", "home"], *([30 + place % 7, "Ulm", ["yes", "no"][place % 2]] for place in range(14))]
    own = [["age", "town", "home"], [1000, "Oslo", "yes"]]
    table, split = read(
        write_table(tmp_path / "train.csv", rows),
        Table(target="home"),
        test_uri=write_table(tmp_path / "test.csv", own).as_uri(),
    )
    assert table.encoding.vocabularies == (("Ulm",),)
    assert 30 <= table.encoding.means[0] <= 36
    assert table.ids[split.train].tolist() == [[1]] * len(split.train)
    assert table.ids[split.test].tolist() == [[0]]


def test_a_column_that_never_changes_is_not_blown_up(tmp_path: Path, read: Any, write_table: Any):
    rows = [["one", "age", "home"], *([1, place, ["yes", "no"][place % 2]] for place in range(20))]
    table, _ = read(write_table(tmp_path / "table.csv", rows), Table(target="home"))
    assert table.encoding.variances[0] == 1


def test_batches_go_on_in_the_middle_of_an_epoch_and_are_the_same_rows_raw(
    tmp_path: Path, read: Any, write_table: Any, of_people: Any
):
    table, split = read(write_table(tmp_path / "people.csv", of_people(60)), PEOPLE)
    shuffling = Shuffling(7, Augmentation())

    def epoch(step: int, *, raw: bool = False) -> list[Any]:
        batches = RowBatches(table, split.train, batch_size=8, shuffling=shuffling, raw=raw)
        batches.begin_at(3, step)
        return [inputs for inputs, _ in batches.dataset(4, Loss.CATEGORICAL_CROSSENTROPY).as_numpy_iterator()]

    whole, rest, raw = epoch(0), epoch(2), epoch(0, raw=True)
    assert len(rest) == len(whole) - 2
    for one, other in zip(whole[2:], rest, strict=True):
        assert np.array_equal(one[NUMBERS], other[NUMBERS])
        assert np.array_equal(one[IDS], other[IDS])
    for one, (age, town, _) in zip(whole, raw, strict=True):
        assert np.array_equal(one[NUMBERS][:, 0], age)
        numbers = {word.encode(): number for number, word in enumerate(table.encoding.vocabularies[0], 1)}
        assert [numbers[word] for word in town] == one[IDS][:, 0].tolist()


def test_workers_get_together_the_rows_that_one_alone_would_get(
    tmp_path: Path, read: Any, write_table: Any, of_people: Any
):
    table, split = read(write_table(tmp_path / "people.csv", of_people(60)), PEOPLE)

    def epoch(shard: Shard | None) -> list[Any]:
        shuffling = Shuffling(7, Augmentation())
        batches = RowBatches(table, split.train, batch_size=8, shuffling=shuffling, shard=shard)
        return [inputs for inputs, _ in batches.dataset(4, Loss.CATEGORICAL_CROSSENTROPY).as_numpy_iterator()]

    alone, first, second = epoch(None), epoch(Shard(0, 2)), epoch(Shard(1, 2))
    for whole, one, other in zip(alone, first, second, strict=True):
        assert np.array_equal(np.concatenate([one[NUMBERS], other[NUMBERS]]), whole[NUMBERS])
        assert np.array_equal(np.concatenate([one[IDS], other[IDS]]), whole[IDS])


def test_nothing_of_a_table_stays_on_the_scratch_volume(iris: Path, read: Any, context: Any):
    read(iris, Table(target="species"))
    assert list(context.scratch.iterdir()) == []
    assert shutil.disk_usage(context.scratch).free
