"""Classes from a table beside the images: a CSV file with a column of files and a column of classes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from keras_operator.api import Labels

from model_store import Entry, NotFound, Store
from model_trainer.data.listing import TRAINING_DATA, BadFile, Found, is_image, kind_of
from model_trainer.failure import BadData, NoImages

# A million lines of 64 letters. The table is read at once.
LARGEST_TABLE = 64 * 1024 * 1024


def in_labels(store: Store, entries: Iterable[Entry], labels: Labels, field: str = TRAINING_DATA) -> Found:
    """Images by the table `labels.file` in `store`, as the field `field` describes them.

    A line names its image by the path below the uri or by the bare name, each with or without the extension. What it
    names and is not there, and images beside named ones that it does not name, are bad files; other images are left out
    and counted.

    Raises:
        BadData: the table is not there, is no table, lacks a column, gives an image two classes or names two images.
        NoImages: it names no image that is there.
    """
    uri = store.uri
    where = f"{uri}/{labels.file}"
    try:
        data = store.read(labels.file, limit=LARGEST_TABLE)
    except NotFound as error:
        raise BadData(
            f"There is no {where}, the table that says of which class each image is. Put it there, or correct "
            f"{field}.labels.file."
        ) from error
    images: dict[str, int] = {}
    ignored: Counter[str] = Counter()
    for entry in entries:
        if is_image(entry.key):
            images[entry.key] = entry.size
        elif entry.key != labels.file:
            ignored[kind_of(entry.key)] += 1
    keys_of = _names(images)
    classes: dict[str, str] = {}
    bad: list[BadFile] = []
    for line, name, label in _lines(data, where, labels, field):
        keys = keys_of.get(name, [])
        if not keys:
            bad.append(BadFile(name, f"named in line {line} of {labels.file}, and not there"))
            continue
        if len(keys) > 1:
            raise BadData(
                f"Line {line} of {where} names {name!r}, which may be {keys[0]} or {keys[1]}. Write the path below "
                f"{uri} in the column {labels.file_column!r}."
            )
        if classes.setdefault(keys[0], label) != label:
            raise BadData(
                f"{where} gives {keys[0]} the class {classes[keys[0]]!r} and, in line {line}, {label!r}. Keep one of "
                "the two lines."
            )
    if not classes:
        raise NoImages(_none_there(where, labels, bad, images, field))
    folders = {PurePosixPath(key).parent for key in classes}
    for key in sorted(images.keys() - classes.keys()):
        if PurePosixPath(key).parent in folders:
            bad.append(BadFile(key, f"not named in {labels.file}"))
        else:
            ignored["images without a label"] += 1
    return Found(
        uri, tuple((key, label, images[key]) for key, label in sorted(classes.items())), tuple(bad), ignored, where
    )


def _names(images: dict[str, int]) -> dict[str, list[str]]:
    """Every way to name an image, with the images that it may mean. A full path comes before a bare name."""
    names: dict[str, list[str]] = {}
    ways: tuple[Callable[[PurePosixPath], str], ...] = (
        str,
        lambda path: str(path.with_suffix("")),
        lambda path: path.name,
        lambda path: path.stem,
    )
    for name_of in ways:
        found: dict[str, list[str]] = {}
        for key in images:
            found.setdefault(name_of(PurePosixPath(key)), []).append(key)
        names = found | names
    return names


def _lines(data: bytes, where: str, labels: Labels, described: str) -> Iterator[tuple[int, str, str]]:
    """(number of the line, file, class) for every line below the header that is not empty."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{where} is not UTF-8 (byte {error.start:,}). Save it as CSV in UTF-8.") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if not header:
            raise BadData(f"{where} is empty. It needs a header line and one line for each image.")
        columns = []
        for field, column in (("fileColumn", labels.file_column), ("classColumn", labels.class_column)):
            if column not in header:
                raise BadData(
                    f"{where} has no column {column!r}; its columns are {', '.join(map(repr, header[:20]))}. Correct "
                    f"{described}.labels.{field}."
                )
            columns.append(header.index(column))
        empty = True
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            empty = False
            name, label = (row[column].strip() if column < len(row) else "" for column in columns)
            if not name or not label:
                missing = labels.class_column if name else labels.file_column
                raise BadData(f"Line {rows.line_num} of {where} has nothing in the column {missing!r}. Fill it in.")
            yield rows.line_num, name.removeprefix("./"), label
        if empty:
            raise BadData(f"{where} has a header line and nothing below it. It needs one line for each image.")
    except csv.Error as error:
        raise BadData(f"Line {rows.line_num} of {where} is no CSV: {error}. Save it as CSV again.") from error


def _none_there(where: str, labels: Labels, bad: list[BadFile], images: dict[str, int], field: str) -> str:
    here = f"the images there are such as {min(images)!r}" if images else "there are no images at all"
    return (
        f"{where} names {len(bad)} images, such as {bad[0].key!r}, and none of them is there; {here}. Correct the "
        f"column {labels.file_column!r}, {field}.labels.fileColumn or {field}.uri."
    )
