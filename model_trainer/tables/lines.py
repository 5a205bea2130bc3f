"""CSV files, line by line: every line is checked, and whatever is wrong is said with file and line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from keras_operator.api import is_table_file

from model_trainer.context import Context
from model_trainer.data.files import DataFile, FileKind, fetched
from model_trainer.failure import BadData

# Of a line in bytes; a table of 1,000 columns has lines of some 10 kB.
LONGEST_LINE = 1024 * 1024
# Names of files or columns in a sentence.
_NAMED = 5


TABLES = FileKind(is_table_file, "table", ".csv or .csv.gz")


def rows_of(file: DataFile, path: Path, context: Context) -> Generator[tuple[int, list[str]], None, None]:
    """(number of its last line, cells without blanks around them) of each row, the header line first.

    The file is kept at `path` while it is read. Lines without a letter are passed over.

    Raises:
        BadData: it is not there, or is no CSV in UTF-8 whose rows have as many cells as its header.
        StoreError: the store failed.
    """
    try:
        with fetched(file, TABLES, path, context), path.open("rb") as opened:
            unpacked = gzip.GzipFile(fileobj=opened) if file.key.endswith(".gz") else opened
            yield from _rows(unpacked, file.address)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadData(f"{file.address} is damaged or no gzip file ({error}). Upload it again.") from error


def _rows(opened: gzip.GzipFile | BinaryIO, address: str) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(_lines(opened, address), strict=True)
    header: list[str] = []
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not header:
                header = cells
                _check_header(header, address, rows.line_num)
            elif len(cells) != len(header):
                raise BadData(
                    f"Line {rows.line_num} of {address} has {len(cells)} cells, and the header line has "
                    f"{len(header)}. Correct the line; a cell with a comma in it is written in double quotes."
                )
            yield rows.line_num, cells
    except csv.Error as error:
        if "field limit" in str(error):
            raise BadData(
                f"Line {rows.line_num} of {address} has a cell of more than {csv.field_size_limit():,} letters. "
                "Shorten it, or end the double quotes that it begins with."
            ) from error
        raise BadData(f"Line {rows.line_num} of {address} is no CSV: {error}. Save it as CSV again.") from error
    if not header:
        raise BadData(f"{address} is empty. A table needs a header line with the columns' names, and rows below it.")


def _lines(opened: gzip.GzipFile | BinaryIO, address: str) -> Iterator[str]:
    number = 0
    while line := opened.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise BadData(
                f"Line {number} of {address} has more than {LONGEST_LINE:,} bytes. Is it a table, and its lines are "
                "ended by line feeds? Save it as CSV again."
            )
        if b"\0" in line:
            raise BadData(f"Line {number} of {address} has a zero byte, so it is no text. Save it as CSV in UTF-8.")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise BadData(f"Line {number} of {address} is not UTF-8. Save it as CSV in UTF-8.") from error


def _check_header(header: list[str], address: str, line: int) -> None:
    where = f"The header in line {line} of {address}"
    if len(header) == 1 and any(other in header[0] for other in ";\t|"):
        raise BadData(f"{where} has one column, {header[0][:80]!r}. Save the table with commas between the columns.")
    for place, name in enumerate(header, 1):
        if not name:
            raise BadData(f"{where} has no name for column {place}. Give it one, or remove the column.")
        if header.index(name) != place - 1:
            raise BadData(f"{where} names two columns {name!r}. Give one of them another name.")


def named(names: Sequence[str]) -> str:
    """A few of the names, for a sentence."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more
