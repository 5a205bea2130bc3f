"""Sets of real images, right ones and spoilt ones: UCI's handwritten digits as PNG files in class folders."""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from benchmarks.demo.digits import Digit, held_out, load

Files = dict[str, bytes]
QUICK_CLASSES, QUICK_IMAGES = 3, 40
WORDS = b"This is a sentence and not an image.\n" * 20
AWKWARD_CLASSES = ("grüne Äpfel & Birnen", "日本の 数字", "100% +null")
"""Names of class folders with spaces, letters beyond ASCII, and what means something else in a URL."""


def known_and_held_out() -> tuple[list[Digit], list[Digit]]:
    """All digits in two parts: 80 % to learn from, and 20 % that no trainer ever sees."""
    digits = load()
    hidden = held_out([digit.label for digit in digits])
    return (
        [digit for index, digit in enumerate(digits) if index not in hidden],
        [digit for index, digit in enumerate(digits) if index in hidden],
    )


def full() -> Files:
    """Every digit that may be learned from, ten classes."""
    return in_folders(known_and_held_out()[0])


def quick(name_of: Callable[[int], str] = str) -> Files:
    """Three classes of 40 images: enough to learn something from in a second."""
    return in_folders(quick_digits(), name_of)


def quick_digits(digits: Iterable[Digit] | None = None) -> list[Digit]:
    """The first 40 images of each of the first three classes."""
    every = list(known_and_held_out()[0] if digits is None else digits)
    return [
        digit
        for label in range(QUICK_CLASSES)
        for digit in islice((digit for digit in every if digit.label == label), QUICK_IMAGES)
    ]


def in_folders(digits: Iterable[Digit], name_of: Callable[[int], str] = str) -> Files:
    """PNG files, each in the folder of its class."""
    return {f"{name_of(digit.label)}/{digit.name}.png": digit.png() for digit in digits}


def zipped(files: Files) -> bytes:
    """One archive of a set."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    """One tar archive of a set, packed; the same files give the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0)


def beside_a_table(digits: Iterable[Digit], name_of: Callable[[int], str]) -> Files:
    """PNG files in one folder, and the table `labels.csv` that says of which breed each is, as Kaggle's dogs lie."""
    table = io.StringIO(newline="")
    lines = csv.writer(table)
    lines.writerow(["id", "breed"])
    files: Files = {}
    for digit in digits:
        files[f"images/{digit.name}.png"] = digit.png()
        lines.writerow([digit.name, name_of(digit.label)])
    return {**files, "labels.csv": table.getvalue().encode()}


def spoilt() -> Files:
    """The quick set with three files that no decoder takes: cut off in the middle, empty, and words named .png."""
    files = quick()
    some = next(iter(files.values()))
    return {**files, "0/truncated.png": some[: len(some) // 2], "1/empty.png": b"", "2/words.png": WORDS}


def one_class() -> Files:
    """Images of one class only."""
    return {name: data for name, data in quick().items() if name.startswith("0/")}


def no_images() -> Files:
    """Files, and not one image among them."""
    return {"README.txt": WORDS, "0/labels.csv": b"a,b\n"}


def awkward_names() -> Files:
    """The quick set with class names that must not be taken for anything but names."""
    return quick(AWKWARD_CLASSES.__getitem__)


SETS: dict[str, Callable[[], Files]] = {
    "digits": full,
    "quick": quick,
    "spoilt": spoilt,
    "one-class": one_class,
    "no-images": no_images,
    "awkward-names": awkward_names,
}
"""Where each set lies below s3://datasets."""
