"""What can be wrong with an .npz file, each with its one sentence."""

import io
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_trainer import machine
from model_trainer.failure import BadData, OneClass, RunFailure
from model_trainer.npz import arrays as of_arrays
from model_trainer.npz.reading import read_npz
from tests.unit.model_trainer.npz.conftest import MLP

IMAGES = np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8)
ROWS = np.arange(40 * 5, dtype=np.float32).reshape(40, 5)
LABELS = np.arange(40) % 2


def damaged(array: Any, place: Any, value: Any) -> Any:
    copy = np.array(array)
    copy[place] = value
    return copy


# {0} stands for the file's address. The flag says that an MLP learns.
BAD: dict[str, tuple[dict[str, Any], bool, str]] = {
    "no arrays": (
        {},
        False,
        (
            "{0} has no array 'x_train'; it has none. Save it by numpy.savez(x_train=…, y_train=…), and x_val, y_val, "
            "x_test and y_test where those parts are split off already."
        ),
    ),
    "arrays of other names": (
        {"arr_0": IMAGES, "arr_1": LABELS},
        False,
        (
            "{0} has no array 'x_train'; it has 'arr_0', 'arr_1'. Save it by numpy.savez(x_train=…, y_train=…), and "
            "x_val, y_val, x_test and y_test where those parts are split off already."
        ),
    ),
    "a test part without classes": (
        {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES},
        False,
        (
            "{0} has no array 'y_test'; it has 'x_train', 'y_train', 'x_test'. Save it by numpy.savez(x_train=…, "
            "y_train=…), and x_val, y_val, x_test and y_test where those parts are split off already."
        ),
    ),
    "objects": (
        {"x_train": np.array([IMAGES[0], IMAGES[1, :3]] * 20, dtype=object), "y_train": LABELS},
        False,
        (
            "x_train in {0} holds Python objects (dtype object), which only pickle could read, and a pickle can run "
            "any program. Save plain numbers: rows of one shape, as by numpy.stack, and astype('uint8') or 'float32'."
        ),
    ),
    "objects among classes": (
        {"x_train": IMAGES, "y_train": LABELS.astype(object)},
        False,
        (
            "y_train in {0} holds Python objects (dtype object), which only pickle could read, and a pickle can run "
            "any program. Save plain numbers: rows of one shape, as by numpy.stack, and astype('uint8') or 'float32'."
        ),
    ),
    "words": (
        {"x_train": IMAGES, "y_train": LABELS.astype(str)},
        False,
        "y_train in {0} holds <U21, and numbers are learned: uint8, another integer, or float32.",
    ),
    "complex numbers": (
        {"x_train": ROWS.astype(complex), "y_train": LABELS},
        True,
        "x_train in {0} holds complex128, and numbers are learned: uint8, another integer, or float32.",
    ),
    "different lengths": (
        {"x_train": IMAGES, "y_train": LABELS[:-1]},
        False,
        (
            "x_train (uint8 [40, 8, 8]) and y_train (int64 [39]) in {0} have different lengths: 40 and 39. Each row "
            "needs its class."
        ),
    ),
    "one number a row": (
        {"x_train": ROWS[:, 0], "y_train": LABELS},
        True,
        (
            "x_train (float32 [40]) in {0} has neither images, [images, height, width] or [images, height, width, "
            "channels], nor rows, [rows, features]. Reshape it, and let there be no 0 in its shape."
        ),
    ),
    "nothing": (
        {"x_train": IMAGES[:0], "y_train": LABELS[:0]},
        False,
        (
            "x_train (uint8 [0, 8, 8]) in {0} has neither images, [images, height, width] or [images, height, width, "
            "channels], nor rows, [rows, features]. Reshape it, and let there be no 0 in its shape."
        ),
    ),
    "rows for a network of images": (
        {"x_train": ROWS, "y_train": LABELS},
        False,
        (
            "x_train (float32 [40, 5]) in {0} has rows of features, and the network takes images. Write architecture: "
            "{name: MLP}, or save images, [images, height, width]."
        ),
    ),
    "images for an MLP": (
        {"x_train": IMAGES, "y_train": LABELS},
        True,
        (
            "x_train (uint8 [40, 8, 8]) in {0} has images, and MLP takes rows. Write another architecture.name, such "
            "as SmallCNN, or save rows, [rows, features]."
        ),
    ),
    "channels first": (
        {"x_train": np.stack([IMAGES] * 3, axis=1), "y_train": LABELS},
        False,
        (
            "x_train (uint8 [40, 3, 8, 8]) in {0} has 8 channels in its last dimension, and images have 1 or 3. Save "
            "them with those, as [images, height, width, channels]."
        ),
    ),
    "images that are too small": (
        {"x_train": IMAGES[:, :7], "y_train": LABELS},
        False,
        (
            "x_train (uint8 [40, 7, 8]) in {0} has images that are too small for SmallCNN, which needs 8 by 8 pixels. "
            "Save larger ones, or write another architecture.name, such as SmallCNN."
        ),
    ),
    "one-hot classes": (
        {"x_train": IMAGES, "y_train": np.eye(2)[LABELS]},
        False,
        (
            "y_train (float64 [40, 2]) in {0} has 2 numbers a row, and a class is one whole number. Of one-hot labels, "
            "save y.argmax(axis=1)."
        ),
    ),
    "classes as floats": (
        {"x_train": IMAGES, "y_train": LABELS.astype(float)},
        False,
        (
            "y_train (float64 [40]) in {0} has no whole numbers, one for each row, which say its class from 0 up. Save "
            "y.astype('int64')."
        ),
    ),
    "a class below 0": (
        {"x_train": IMAGES, "y_train": damaged(LABELS, 7, -1)},
        False,
        ("y_train[7] in {0} is -1, and a class is a whole number from 0 up. Correct it, or leave the row out."),
    ),
    "one class": (
        {"x_train": IMAGES, "y_train": LABELS * 0 + 3},
        False,
        (
            "All 40 rows of y_train in {0} are of the class 3; a classifier needs at least two classes. Add rows of "
            "another class."
        ),
    ),
    "a hundred thousand classes": (
        {"x_train": np.zeros((100_000, 1), np.float32), "y_train": np.arange(100_000)},
        True,
        (
            "y_train in {0} has 100,000 different values, and 10,000 classes are the most. Save the number of each "
            "row's class."
        ),
    ),
    "a class that only the test part has": (
        {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": np.array([0, 9])},
        False,
        (
            "The class 9 in y_val or y_test of {0} is not in y_train, so no model could ever get it right. Add rows of "
            "it to x_train, or remove it."
        ),
    ),
    "a test part of another shape": (
        {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES.repeat(2, 1), "y_test": LABELS},
        False,
        (
            "x_test (uint8 [40, 16, 8]) in {0} has rows of another shape than x_train (uint8 [40, 8, 8]). Save them "
            "alike."
        ),
    ),
    "no number": (
        {"x_train": damaged(ROWS, (31, 2), np.nan), "y_train": LABELS},
        True,
        "x_train[31, 2] in {0} is nan. Write a number there, or leave the row out.",
    ),
    "an infinite pixel": (
        {"x_train": damaged(IMAGES / 255.0, (3, 1, 2), np.inf), "y_train": LABELS},
        False,
        "x_train[3, 1, 2] in {0} is inf. Write a number there, or leave the row out.",
    ),
    "what no float32 holds": (
        {"x_train": damaged(ROWS.astype(float), (9, 4), 1e300), "y_train": LABELS},
        True,
        "x_train[9, 4] in {0} is 1e+300, which no float32 holds. Scale it, or leave the row out.",
    ),
    "pixels around 0": (
        {"x_train": damaged(IMAGES / 255.0, 5, -1.0), "y_train": LABELS},
        False,
        (
            "x_train[5] in {0} has numbers from -1 to 1, and images are integers from 0 to 255 or floats from 0 to 1. "
            "Scale them, such as by (255 * x).astype('uint8')."
        ),
    ),
    "pixels of 16 bits": (
        {"x_train": damaged(IMAGES.astype(np.uint16), (0, 0, 0), 4000), "y_train": LABELS},
        False,
        (
            "x_train[0] in {0} has numbers from 0 to 4000, and images are integers from 0 to 255 or floats from 0 to "
            "1. Scale them, such as by (255 * x).astype('uint8')."
        ),
    ),
    "too few rows": (
        {"x_train": IMAGES[:2], "y_train": LABELS[:2]},
        False,
        (
            "{0} has 2 different rows, too few for a train, a validation and a test part. Add rows: each class needs "
            "one, and two more are needed in all."
        ),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_arrays_is_said_with_their_names(name: str, tmp_path: Path, read: Any):
    arrays, mlp, sentence = BAD[name]
    with pytest.raises(RunFailure) as caught:
        read(tmp_path, arrays, mlp=mlp)
    assert str(caught.value) == sentence.replace("{0}", (tmp_path / "data.npz").as_uri())
    assert type(caught.value) is (OneClass if name == "one class" else BadData)


def npy(descr: str, shape: str, data: bytes, *, header: str | None = None) -> bytes:
    text = (header or f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def written(folder: Path, **members: bytes) -> Path:
    path = folder / "made.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def read_made(path: Path, npz_spec: Any, context: Any, *, mlp: bool = False) -> str:
    training = npz_spec(path, path.parent, network=MLP if mlp else {}).training
    with pytest.raises(BadData) as caught:
        read_npz(training, None, context)
    return str(caught.value)


def labels(count: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(count) % 2)
    return file.getvalue()


def test_a_header_that_promises_more_than_there_is_allocates_nothing(
    tmp_path: Path, npz_spec: Any, context: Any, monkeypatch: pytest.MonkeyPatch
):
    """A terabyte in 30 bytes."""
    path = written(tmp_path, x_train=npy("<f8", "(40, 4000000000)", b"\0" * 30), y_train=labels(40))
    monkeypatch.setattr(np, "empty", lambda *shape, **more: pytest.fail(f"allocated {shape}"))
    said = read_made(path, npz_spec, context, mlp=True)
    assert re.fullmatch(
        r"x_train \(float64 \[40, 4000000000\]\) in .*made\.npz should have 1,280,000,000,\d{3} bytes, and has \d\d\d: "
        r"it is damaged\. Save it again by numpy\.savez\.",
        said,
    )


def test_what_would_not_fit_into_memory_is_refused_before_it_is_unpacked(
    tmp_path: Path, npz_spec: Any, context: Any, monkeypatch: pytest.MonkeyPatch
):
    """Zeros are packed to a thousandth of their size: a bomb that is what it says."""
    monkeypatch.setattr(machine, "memory_bytes", lambda: 4_000_000)
    monkeypatch.setattr(of_arrays.NpzFile, "blocks", lambda *_: pytest.fail("unpacked"))
    np.savez_compressed(tmp_path / "made.npz", x_train=np.zeros((40, 100_000)), y_train=LABELS)
    assert (tmp_path / "made.npz").stat().st_size < 100_000
    said = read_made(tmp_path / "made.npz", npz_spec, context, mlp=True)
    assert re.fullmatch(
        r"The arrays in .*made\.npz do not fit into half of the memory: 40 rows need 0\.016 GB, and there are 0\.002 "
        r"GB\. Raise spec\.training\.resources\.limits\.memory, or save fewer rows\.",
        said,
    )


MADE = {
    "no array": (b"PK\x03\x04 is no array", r"x_train in .* is no array of NumPy\. Save it again by numpy\.savez\."),
    "a short file": (b"\x93NUM", r"x_train in .* is no array of NumPy\. Save it again by numpy\.savez\."),
    "a header of four gigabytes": (
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1),
        r"x_train in .* has a header of 4,294,967,295 bytes, so it is no array\. .*",
    ),
    "a header that is a program": (
        npy("", "", b"", header="__import__('os').system('true')"),
        r"x_train in .* has a header that cannot be read \(.*\)\. Save it again by numpy\.savez\.",
    ),
    "a negative shape": (
        npy("|u1", "(-40, 8, 8)", b""),
        r"x_train in .* has the shape \[-40, 8, 8\]\. Save it again .*",
    ),
    "fields with names": (
        b"\x93NUMPY\x03\x00" + b"\0" * 40,
        r"x_train in .* has fields with names \(version 3 of the format\)\. Save plain numbers\.",
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_files_that_numpy_did_not_write(name: str, tmp_path: Path, npz_spec: Any, context: Any):
    data, sentence = MADE[name]
    said = read_made(written(tmp_path, x_train=data, y_train=labels(2)), npz_spec, context)
    assert re.fullmatch(sentence, said), said


def test_a_row_that_is_larger_than_any_image(
    tmp_path: Path, npz_spec: Any, context: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(of_arrays, "_LARGEST_ROW", 1000)
    np.savez(tmp_path / "made.npz", x_train=np.zeros((4, 40, 40), np.uint8), y_train=LABELS[:4])
    said = read_made(tmp_path / "made.npz", npz_spec, context)
    assert re.fullmatch(
        r"x_train \(uint8 \[4, 40, 40\]\) in .* has 1,600 bytes a row, and 1,000 are the most\. Make its images "
        r"smaller\.",
        said,
    )


@pytest.mark.parametrize("part", [0, 0.02, 0.5, 0.99], ids=["zero bytes", "its beginning", "half of it", "cut off"])
def test_a_file_that_is_cut_off_or_empty(part: float, tmp_path: Path, npz_spec: Any, context: Any):
    path = tmp_path / "made.npz"
    np.savez(path, x_train=IMAGES, y_train=LABELS)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    said = read_made(path, npz_spec, context)
    assert re.fullmatch(r".*made\.npz is damaged or no \.npz file \(.*\)\. Save it .*", said), said


def test_a_file_that_is_no_archive_or_is_not_there(tmp_path: Path, npz_spec: Any, context: Any):
    path = tmp_path / "made.npz"
    path.write_bytes(b"\x93NUMPY")
    assert re.fullmatch(
        r".*made\.npz is damaged or no \.npz file \(.*\)\. Save it .*", read_made(path, npz_spec, context)
    )
    path.unlink()
    said = read_made(path, npz_spec, context)
    assert said == f"There is no {path.as_uri()}. Put the arrays there, or correct spec.training.data.uri."


def test_a_file_that_was_damaged_on_its_way(tmp_path: Path, npz_spec: Any, context: Any):
    np.savez(tmp_path / "made.npz", x_train=IMAGES, y_train=LABELS)
    data = bytearray((tmp_path / "made.npz").read_bytes())
    place = data.index(IMAGES[3].tobytes())
    data[place] ^= 255
    (tmp_path / "made.npz").write_bytes(data)
    said = read_made(tmp_path / "made.npz", npz_spec, context)
    assert re.fullmatch(r"x_train in .* cannot be read \(Bad CRC-32.*\)\. Save it again by numpy\.savez or .*", said), (
        said
    )


def test_a_user_s_mistake_is_not_tried_again(tmp_path: Path, stage: Any, npz_spec: Any):
    np.savez(tmp_path / "made.npz", x_train=IMAGES, y_train=LABELS[:3])
    ended = stage("train", npz_spec(tmp_path / "made.npz", tmp_path / "store"))
    assert (ended.code, ended.reason) == (65, "BadData")
    assert ended.sentence.endswith("have different lengths: 40 and 3. Each row needs its class.")
    assert not (tmp_path / "store" / ".runs" / "1" / "model.keras").exists()
