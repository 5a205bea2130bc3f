"""What can be wrong with TFRecord files, each with its one sentence."""

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import Records, Table, TargetKind

from model_trainer import machine
from model_trainer.failure import OneClass, RunFailure
from model_trainer.tfrecord import framing
from model_trainer.tfrecord.framing import masked_crc
from tests.unit.model_trainer.tfrecord.conftest import example, image, images, numbers, write


def changed(rows: list[dict[str, Any]], place: int, **features: Any) -> list[dict[str, Any]]:
    """`rows` with other features in one of them; `...` takes one away."""
    copy = [dict(row) for row in rows]
    copy[place] |= features
    copy[place] = {name: value for name, value in copy[place].items() if value is not ...}
    return copy


LABEL = "image/class/label"
NUMBERS = Table(target="age", target_kind=TargetKind.NUMERIC)
# What is written, fields of data, and the sentence; {0} is the file, {at} the beginning of record 3.
BAD: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "no image in a record": (
        changed(images(), 3, **{"image/encoded": ...}),
        {},
        (
            "Record 3 (at byte {at}) of {0} has no feature 'image/encoded'; it has 'image/class/label'. Correct "
            "spec.training.data.records.image."
        ),
    ),
    "features of other names": (
        [{"image": image(0), "label": 0}],
        {},
        (
            "Record 0 (at byte 0) of {0} has no feature 'image/encoded'; it has 'image', 'label'. Correct "
            "spec.training.data.records.image."
        ),
    ),
    "a name that is nearly right": (
        images(),
        {"records": Records(label="image/class/labels")},
        (
            "Record 0 (at byte 0) of {0} has no feature 'image/class/labels'; it has 'image/class/label', "
            "'image/encoded'; the nearest is 'image/class/label'. Correct spec.training.data.records.label."
        ),
    ),
    "pixels as numbers": (
        changed(images(), 3, **{"image/encoded": [1, 2, 3]}),
        {},
        (
            "Record 3 (at byte {at}) of {0} has 3 whole numbers in 'image/encoded', and an image is the bytes of one "
            "file. Write those, such as tf.io.encode_png(…), or correct spec.training.data.records.image; of numbers, "
            "write spec.training.data.table."
        ),
    ),
    "two images": (
        changed(images(), 3, **{"image/encoded": [image(1), image(2)]}),
        {},
        (
            "Record 3 (at byte {at}) of {0} has 2 byte strings in 'image/encoded', and an image is the bytes of one "
            "file. Write those, such as tf.io.encode_png(…), or correct spec.training.data.records.image; of numbers, "
            "write spec.training.data.table."
        ),
    ),
    "several classes": (
        changed(images(), 3, **{LABEL: [1, 0]}),
        {},
        (
            "Record 3 (at byte {at}) of {0} has 2 whole numbers in the label 'image/class/label', and a class is one "
            "whole number or one name. Write that, or correct spec.training.data.records.label."
        ),
    ),
    "a label that holds nothing": (
        changed(images(), 3, **{LABEL: None}),
        {},
        (
            "Record 3 (at byte {at}) of {0} has nothing in the label 'image/class/label', and a class is one "
            "whole number or one name. Write that, or correct spec.training.data.records.label."
        ),
    ),
    "a class that is a float": (
        changed(images(), 3, **{LABEL: 1.0}),
        {},
        (
            "Record 3 (at byte {at}) of {0} has a float in the label 'image/class/label', and a class is one "
            "whole number or one name. Write that, or correct spec.training.data.records.label."
        ),
    ),
    "a negative class": (
        changed(images(), 3, **{LABEL: -1}),
        {},
        (
            "Record 3 (at byte {at}) of {0} has -1 in the label 'image/class/label', and a class is a whole number "
            "from 0 up. Correct it, or leave the record out."
        ),
    ),
    "a number without a name": (
        changed(images(), 3, **{LABEL: 2}),
        {"records": Records(classes=("cat", "dog"))},
        (
            "Record 3 (at byte {at}) of {0} has 2 in the label 'image/class/label', and "
            "spec.training.data.records.classes has 2 names, of 0 to 1. Name that one too, or correct the record."
        ),
    ),
    "a name that is not among the names": (
        changed(images(), 3, **{LABEL: "ape"}),
        {"records": Records(classes=("cat", "dog"))},
        (
            "Record 3 (at byte {at}) of {0} has the class 'ape' in the label 'image/class/label', which "
            "spec.training.data.records.classes does not name. Name it there, or correct the record."
        ),
    ),
    "an empty name": (
        changed(images(), 3, **{LABEL: ""}),
        {},
        ("Record 3 (at byte {at}) of {0} has an empty name in the label 'image/class/label'. Write the class's name."),
    ),
    "a name that is no text": (
        changed(images(), 3, **{LABEL: b"\xff\xfe"}),
        {},
        (
            "Record 3 (at byte {at}) of {0} has bytes in the label 'image/class/label' that are no UTF-8. Write the "
            "class's name."
        ),
    ),
    "one class": (
        [{**row, LABEL: 7} for row in images()],
        {},
        (
            "All 40 records under {0} have '7' in the label 'image/class/label'; a classifier needs at least two "
            "classes. Add records of another class, or correct spec.training.data.records.label."
        ),
    ),
    "one record": (
        images(1),
        {},
        (
            "All 1 records under {0} have '0' in the label 'image/class/label'; a classifier needs at least two "
            "classes. Add records of another class, or correct spec.training.data.records.label."
        ),
    ),
    "two records": (
        images(2),
        {},
        (
            "{0} has 2 different images that can be used, too few for a train, a validation and a test part. Add "
            "images: each class needs one, and two more are needed in all."
        ),
    ),
    "no examples": (
        [b"\xff\xff\xff", *images()],
        {},
        (
            "Record 0 (at byte 0) of {0} is no tf.train.Example (*). Write the bytes of "
            "tf.train.Example(…).SerializeToString()."
        ),
    ),
    "an example without features": (
        [b"", *images()],
        {},
        (
            "Record 0 (at byte 0) of {0} has no feature 'image/encoded'; it has none at all. Correct "
            "spec.training.data.records.image."
        ),
    ),
    "no target": (
        numbers(),
        {"table": Table(target="yy")},
        (
            "Record 0 (at byte 0) of {0} has no column 'yy'; its columns are 'age', 'town', 'x', 'y'; the nearest is "
            "'y'. Correct spec.training.data.table.target."
        ),
    ),
    "a column that is not there": (
        numbers(),
        {"table": Table(target="y", numeric=("income",))},
        (
            "Record 0 (at byte 0) of {0} has no column 'income'; its columns are 'age', 'town', 'x', 'y'. Correct "
            "spec.training.data.table.numeric."
        ),
    ),
    "nothing but the target": (
        [{"y": 1}, {"y": 0}],
        {"table": Table(target="y")},
        (
            "Record 0 (at byte 0) of {0} has no feature to learn from beside the target 'y'. Add one, or take one out "
            "of spec.training.data.table.ignored."
        ),
    ),
    "a feature missing": (
        changed(numbers(), 3, age=...),
        {"table": Table(target="y")},
        (
            "Record 3 (at byte {at}) of {0} lacks 'age', unlike record 0 (at byte 0) of {0}. All records need the same "
            "features."
        ),
    ),
    "a feature too many": (
        changed(numbers(), 3, other=1),
        {"table": Table(target="y")},
        (
            "Record 3 (at byte {at}) of {0} has 'other' too, unlike record 0 (at byte 0) of {0}. All records need the "
            "same features."
        ),
    ),
    "an array of another length": (
        changed(numbers(), 3, x=[1.0, 2.0]),
        {"table": Table(target="y")},
        (
            "Record 3 (at byte {at}) of {0} has 2 floats in the numeric column 'x', and record 0 (at byte 0) of {0} "
            "has 3 numbers. Write as many, or name the column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "nothing in a column": (
        changed(numbers(), 3, age=None),
        {"table": Table(target="y")},
        (
            "Record 3 (at byte {at}) of {0} has nothing in the numeric column 'age', and record 0 (at byte 0) of {0} "
            "has one number. Write as many, or name the column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "words in a numeric column": (
        numbers(),
        {"table": Table(target="y", numeric=("town",))},
        (
            "Record 0 (at byte 0) of {0} has a byte string in the numeric column 'town'. Write numbers, or name the "
            "column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "floats in a categorical column": (
        changed(numbers(), 3, town=1.5),
        {"table": Table(target="y")},
        (
            "Record 3 (at byte {at}) of {0} has a float in the categorical column 'town', and it takes one word or "
            "one whole number. Write that, or name the column in spec.training.data.table.numeric or ignored."
        ),
    ),
    "bytes of no text": (
        changed(numbers(), 3, town=b"\x89PNG"),
        {"table": Table(target="y")},
        (
            "Record 3 (at byte {at}) of {0} has bytes in the categorical column 'town' that are no UTF-8. Write a "
            "word, or name the column in spec.training.data.table.ignored; of images, remove the table."
        ),
    ),
    "a number in a text column": (
        changed(numbers(), 3, town=7),
        {"table": Table(target="y", text=("town",))},
        (
            "Record 3 (at byte {at}) of {0} has a whole number in the text column 'town', and it takes one text. Write "
            "that, or name the column in spec.training.data.table.numeric or ignored."
        ),
    ),
    "bytes of no text in a text column": (
        changed(numbers(), 3, town=b"\x89PNG"),
        {"table": Table(target="y", text=("town",))},
        (
            "Record 3 (at byte {at}) of {0} has bytes in the text column 'town' that are no UTF-8. Write a text, or "
            "name the column in spec.training.data.table.ignored; of images, remove the table."
        ),
    ),
    "a text column that is not there": (
        numbers(),
        {"table": Table(target="y", text=("city",))},
        (
            "Record 0 (at byte 0) of {0} has no column 'city'; its columns are 'age', 'town', 'x', 'y'. Correct "
            "spec.training.data.table.text."
        ),
    ),
    "NaN": (
        changed(numbers(), 3, x=[1.0, float("nan"), 2.0]),
        {"table": Table(target="y")},
        ("Record 3 (at byte {at}) of {0} has nan in 'x'[1]. Write a number there, or leave the record out."),
    ),
    "infinity as a target": (
        changed(numbers(), 3, age=float("inf")),
        {"table": NUMBERS},
        "Record 3 (at byte {at}) of {0} has inf in 'age'[0]. Write a number there, or leave the record out.",
    ),
    "words as a target": (
        numbers(),
        {"table": Table(target="town", target_kind=TargetKind.NUMERIC)},
        (
            "Record 0 (at byte 0) of {0} has a byte string in the target 'town', which is numeric. Write one number; "
            "to learn classes, remove spec.training.data.table.targetKind."
        ),
    ),
    "a float as a class": (
        [{**row, "y": 0.5} for row in numbers()],
        {"table": Table(target="y")},
        (
            "Record 0 (at byte 0) of {0} has a float in the label 'y', and a class is one whole number or one name. "
            "Write that, or correct spec.training.data.table.target."
        ),
    ),
    "one class of rows": (
        [{**row, "y": 1} for row in numbers()],
        {"table": Table(target="y")},
        (
            "All 40 rows have '1' in the target 'y'; a classifier needs at least two classes. Add rows of another "
            "class, or correct spec.training.data.table.target."
        ),
    ),
}


def starts_of(path: Path) -> list[int]:
    """Of the records of a plain file, in bytes."""
    data = path.read_bytes()
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        at += 16 + struct.unpack_from("<Q", data, at)[0]
    return starts


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_a_record_is_said_with_its_place(
    name: str, tmp_path: Path, read_images: Any, read_rows: Any
):
    rows, data, sentence = BAD[name]
    path = write(tmp_path / "a.tfrecord", rows)
    with pytest.raises(RunFailure) as caught:
        (read_rows if data.get("table") else read_images)(path, **data)
    starts = starts_of(path)
    place = f"{starts[3]:,}" if len(starts) > 3 else ""
    wanted = re.escape(sentence.replace("{0}", path.as_uri()).replace("{at}", place)).replace(r"\(\*\)", r"\(.+\)")
    assert re.fullmatch(wanted, str(caught.value)), str(caught.value)
    assert ("one class" in name or name == "one record") is isinstance(caught.value, OneClass)


def refused(read: Any, path: Path, **data: Any) -> str:
    with pytest.raises(RunFailure) as caught:
        read(path, **data)
    return str(caught.value)


def test_there_must_be_files_of_records(tmp_path: Path, read_images: Any):
    (tmp_path / "data").mkdir()
    uri = (tmp_path / "data").as_uri()
    put = "Put .tfrecord or …-00000-of-00010 files there, or correct spec.training.data.uri."
    assert refused(read_images, tmp_path / "data") == f"There is no TFRecord file under {uri}: nothing at all. {put}"
    write(tmp_path / "data" / "train.bin", images())
    said = refused(read_images, tmp_path / "data")
    assert said == f"There is no TFRecord file under {uri}: 1 other files, such as 'train.bin'. {put}"
    said = refused(read_images, tmp_path / "data" / "a.tfrecord")
    assert said == f"There is no {uri}/a.tfrecord. Put the TFRecord file there, or correct spec.training.data."


def test_files_of_zero_bytes_have_no_record(tmp_path: Path, read_images: Any):
    path = write(tmp_path / "data" / "a.tfrecord", [])
    rest = "zero bytes. Write examples into it, or correct spec.training.data.uri."
    assert refused(read_images, path) == f"{path.as_uri()} has no record: {rest}"
    write(tmp_path / "data" / "b.tfrecord", [])
    assert refused(read_images, path.parent) == f"The 2 files under {path.parent.as_uri()} have no record: {rest}"


def spoiled(tmp_path: Path, place: int, data: bytes) -> Path:
    """Records, with other bytes at a place that is counted from the beginning of record 3."""
    path = write(tmp_path / "a.tfrecord", images())
    written = bytearray(path.read_bytes())
    start = starts_of(path)[3] + place
    written[start : start + len(data)] = data
    path.write_bytes(written)
    return path


def test_a_damaged_record_is_said_with_its_place(tmp_path: Path, read_images: Any):
    path = spoiled(tmp_path, 40, b"\x00\x01\x02")
    at = f"{starts_of(path)[3]:,}"
    said = refused(read_images, path)
    assert said == (
        f"Record 3 (at byte {at}) of {path.as_uri()} is damaged: its bytes have another checksum. Write the file "
        "again, or upload it again."
    )


def test_a_damaged_length_is_not_believed(tmp_path: Path, read_images: Any):
    whole = write(tmp_path / "whole.tfrecord", images())
    path = spoiled(tmp_path, 0, struct.pack("<Q", 2**60))
    assert refused(read_images, path) == (
        f"{path.as_uri()} is damaged from record 3 (at byte {starts_of(whole)[3]:,}) on: the record's length has "
        "another checksum. Write the file again, or upload it again."
    )


def test_a_record_that_says_it_is_an_exabyte_is_refused_without_reading_it(
    tmp_path: Path, read_images: Any, monkeypatch: pytest.MonkeyPatch
):
    whole = write(tmp_path / "whole.tfrecord", images())
    length = struct.pack("<Q", 2**60)
    path = spoiled(tmp_path, 0, length + struct.pack("<I", masked_crc(length)))
    monkeypatch.setattr(tf.data, "TFRecordDataset", lambda *_: pytest.fail("read"))
    assert refused(read_images, path) == (
        f"Record 3 (at byte {starts_of(whole)[3]:,}) of {path.as_uri()} says that it has 1,152,921,504,606,846,976 "
        "bytes, and 150,994,944 are the most. Write smaller records."
    )


@pytest.mark.parametrize("left", [5, 12, 30], ids=["its length", "its bytes", "its checksum"])
def test_a_file_that_is_cut_off(tmp_path: Path, read_images: Any, left: int):
    path = write(tmp_path / "a.tfrecord", images())
    starts = starts_of(path)
    path.write_bytes(path.read_bytes()[: starts[3] + left])
    assert refused(read_images, path) == (
        f"{path.as_uri()} ends within record 3 (at byte {starts[3]:,}), after {starts[3] + left:,} bytes: it is cut "
        "off. Write it again, or upload it again."
    )


@pytest.mark.parametrize("data", [b"age,town\n7,x\n", b"\x89PNG", b"PK\x03\x04 and so on"], ids=["CSV", "PNG", "ZIP"])
def test_a_file_of_another_kind(tmp_path: Path, read_images: Any, data: bytes):
    (tmp_path / "a.tfrecord").write_bytes(data)
    assert refused(read_images, tmp_path / "a.tfrecord") == (
        f"{(tmp_path / 'a.tfrecord').as_uri()} is no TFRecord file (it begins with {data[:8]!r}). Write it by "
        "tf.io.TFRecordWriter, or name another file."
    )


def test_a_packed_file_that_is_cut_off_or_damaged(tmp_path: Path, read_images: Any):
    path = write(tmp_path / "a.tfrecord.gz", images(), "GZIP")
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    assert refused(read_images, path) == (
        f"{path.as_uri()} ends before what is packed in it does: it is cut off. Upload it again."
    )
    path.write_bytes(data[:30] + b"\xff\xff\xff\xff" + data[34:])
    said = refused(read_images, path)
    assert re.fullmatch(rf"{re.escape(path.as_uri())} is damaged or no packed file \(.+\)\. Upload it again\.", said)


def test_a_packed_file_that_is_made_to_fill_disks(tmp_path: Path, read_images: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(framing, "RATIO_COUNTS_FROM", 2_000_000)
    path = write(tmp_path / "a.tfrecord.gz", [{"image/encoded": b"\0" * 8_000_000, LABEL: 1}], "GZIP")
    assert path.stat().st_size < 20_000
    assert "unpacks to more than 100 times its size" in refused(read_images, path)
    assert (tmp_path / "scratch" / "records.plain").stat().st_size < 4_000_000


def test_a_class_that_only_a_part_of_its_own_has(tmp_path: Path, read_images: Any):
    path = write(tmp_path / "data" / "a.tfrecord", images())
    strange = write(tmp_path / "test" / "a.tfrecord", [{"image/encoded": image(99), LABEL: 2}])
    said = refused(read_images, path, test_uri=strange.as_uri())
    assert said == (
        f"{strange.as_uri()} has the class '2', which {path.as_uri()} does not have, so no model could ever get them "
        "right. Name the classes alike in both, or remove them."
    )


def test_more_classes_than_can_be_told_apart(tmp_path: Path, read_images: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("model_trainer.tfrecord.images.MOST_WORDS", 30)
    rows = [{**row, LABEL: place} for place, row in enumerate(images())]
    assert refused(read_images, write(tmp_path / "a.tfrecord", rows)) == (
        "The label 'image/class/label' has 40 different values, and 30 classes are the most. Correct "
        "spec.training.data.records.label."
    )


def test_rows_that_do_not_fit_into_memory(tmp_path: Path, read_rows: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1_000_000)
    rows = [{"x": [float(i)], "y": i % 2} for i in range(1000)]
    assert refused(read_rows, write(tmp_path / "a.tfrecord", rows)) == (
        "The records do not fit into memory: the first 412 take half of it. Raise "
        "spec.training.resources.limits.memory, or learn from fewer records or features."
    )


def test_a_longest_record_decides_how_many_are_in_memory_at_a_time(
    tmp_path: Path, read_rows: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(framing, "_BATCH_BYTES", 2 * len(example(numbers()[39])))
    sizes: list[int] = []
    batch = tf.data.TFRecordDataset.batch

    def counted(records: Any, size: int) -> Any:
        sizes.append(size)
        return batch(records, size)

    monkeypatch.setattr(tf.data.TFRecordDataset, "batch", counted)
    table, _ = read_rows(write(tmp_path / "a.tfrecord", numbers()))
    assert sizes == [2]
    assert np.array_equal(table.numbers[:, 0], np.arange(40))
