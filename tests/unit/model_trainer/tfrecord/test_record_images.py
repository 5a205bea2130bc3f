"""Images in records: every form of file, and what is known of each image."""

import gzip
import hashlib
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_operator.api import Records

from model_trainer.data.split import Part
from model_trainer.failure import TooManyBadFiles
from model_trainer.tfrecord import framing
from tests.unit.model_trainer.conftest import encode
from tests.unit.model_trainer.tfrecord.conftest import image, images, write


@pytest.mark.parametrize(
    ("name", "packed"),
    [("a.tfrecord", ""), ("a.tfrecords.gz", "GZIP"), ("a.tfrec", "ZLIB"), ("a-00000-of-00001", "GZIP")],
    ids=str,
)
def test_the_content_of_a_file_says_how_it_is_packed(tmp_path: Path, read_images: Any, name: str, packed: str):
    path = write(tmp_path / "data" / name, images(), packed)
    for uri in (path, path.parent):
        dataset, split, places = read_images(uri)
        assert dataset.classes == ("0", "1")
        assert [example.key for example in dataset.examples][:2] == [f"{name}:0", f"{name}:1"]
        assert [int(pixels[0, 0, 0]) for pixels in dataset.pixels] == list(range(40))
        assert len(split.train) + len(split.validation) + len(split.test) == 40
        data = places.of(None).read(f"{name}:7", limit=10_000)
        assert data == image(7)
        assert dataset.examples[7].sha256 == hashlib.sha256(data).hexdigest()
        for left in (tmp_path / "scratch").iterdir():
            left.unlink()


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "zlib"])
def test_what_is_packed_comes_out_whole_in_whatever_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Any):
    monkeypatch.setattr(framing, "CHUNK", 7)
    for size in (0, 1, 7, 8, 300):
        for data in (bytes(size), random.Random(size).randbytes(size)):
            # One file after the other, as `cat` makes it.
            (tmp_path / "packed").write_bytes(pack(data) + pack(data))
            framing.unpack(tmp_path / "packed", tmp_path / "plain", "s3://datasets/a.tfrecord")
            assert (tmp_path / "plain").read_bytes() == 2 * data


def test_a_plain_file_may_begin_as_a_packed_one(tmp_path: Path, read_images: Any):
    """A length whose lowest bytes are those of gzip: the record is filled up to it."""
    rows = images()
    rows[0] |= {"filling": b"\0" * (0x8B1F - 300)}
    for missing in range(400):
        rows[0]["filling"] = b"\0" * (0x8B1F - 300 + missing)
        path = write(tmp_path / "data.tfrecord", rows[:1])
        if path.read_bytes().startswith(b"\x1f\x8b"):
            break
    else:
        pytest.fail("no record of that length")
    dataset, _, _ = read_images(write(tmp_path / "data.tfrecord", rows))
    assert len(dataset.examples) == 40


def test_one_file_is_split_as_many_are(tmp_path: Path, read_images: Any):
    rows = images()
    write(tmp_path / "one" / "a.tfrecord", rows)
    for part in range(4):
        write(tmp_path / "many" / "more" / f"b-{part:05}-of-00004", rows[part::4])
    write(tmp_path / "many" / "empty.tfrecord", [])
    parts = []
    for name in ("one", "many"):
        dataset, split, _ = read_images(tmp_path / name)
        parts.append(
            [{dataset.examples[i].sha256 for i in part} for part in (split.train, split.validation, split.test)]
        )
    assert parts[0] == parts[1]


def test_numbers_are_classes_in_their_order_and_names_in_the_one_that_is_written(tmp_path: Path, read_images: Any):
    rows = [{"image/encoded": image(i), "image/class/label": (2, 10, 1)[i % 3]} for i in range(40)]
    path = write(tmp_path / "a.tfrecord", rows)
    dataset, _, _ = read_images(path)
    assert dataset.classes == ("1", "2", "10")
    names = ("background", "cat", "dog", *"xyzuvwt", "ape")
    dataset, _, _ = read_images(path, records=Records(classes=names))
    assert dataset.classes == ("cat", "dog", "ape")
    assert dataset.labels(np.arange(3)).tolist() == [1, 2, 0]
    texts = [{"pic": image(i), "kind": "dog" if i % 2 else "cat"} for i in range(40)]
    path = write(tmp_path / "b.tfrecord", texts)
    assert read_images(path, records=Records(image="pic", label="kind"))[0].classes == ("cat", "dog")
    named = Records(image="pic", label="kind", classes=("dog", "ape", "cat"))
    assert read_images(path, records=named)[0].classes == ("dog", "cat")


def test_parts_of_one_s_own_stay_as_they_are(tmp_path: Path, read_images: Any):
    rows = images(60)
    for part, chosen in (("data", [*rows[:40], rows[55]]), ("validation", rows[40:50]), ("test", rows[50:])):
        write(tmp_path / part / "same-name.tfrecord", chosen)
    dataset, split, places = read_images(
        tmp_path / "data",
        validation_uri=(tmp_path / "validation").as_uri(),
        test_uri=(tmp_path / "test" / "same-name.tfrecord").as_uri(),
    )
    assert (len(split.train), len(split.validation), len(split.test)) == (40, 10, 10), (
        "a copy of a test image is unused"
    )
    assert places.of(Part.TEST).read("same-name.tfrecord:3", limit=10_000) == image(53)
    assert {dataset.examples[i].part for i in split.validation} == {Part.VALIDATION}


def test_a_few_bad_images_are_left_out_and_named(tmp_path: Path, read_images: Any):
    rows = images()
    huge = bytearray(encode(np.zeros((1, 1), np.uint8)))
    huge[16:24] = (30_000).to_bytes(4, "big") * 2
    for place, data in ((3, b""), (4, b"no image"), (5, image(5)[:-20]), (6, bytes(huge))):
        rows[place]["image/encoded"] = data
    path = write(tmp_path / "a.tfrecord", rows)
    dataset, _, _ = read_images(path)
    assert {bad.key: bad.fault for bad in dataset.bad} == {
        "a.tfrecord:3": "zero bytes",
        "a.tfrecord:4": "not a PNG, JPEG, GIF, BMP or WebP image (it begins with b'no image')",
        "a.tfrecord:5": "a truncated or damaged PNG",
        "a.tfrecord:6": "a PNG of 30000 x 30000 pixels, more than 50 million",
    }
    with pytest.raises(TooManyBadFiles, match=r"a\.tfrecord:3 \(zero bytes\)\. Repair or remove them"):
        read_images(path, max_bad_files=0)
