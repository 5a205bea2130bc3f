"""The arrays `x_test` and `y_test` that a model which is trained already is tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from keras_operator.api import EvaluationData, ProgressStage

from model_store import NotFound, open_store
from model_trainer import machine
from model_trainer.context import Context
from model_trainer.data.cache import MEMORY_SHARE
from model_trainer.data.dataset import Example
from model_trainer.evaluation.rows_way import Found, is_whole, shape_for, way_of_arrays
from model_trainer.evaluation.source_record import RowsWay, Taken
from model_trainer.failure import BadData, OneClass
from model_trainer.npz.arrays import Header, NpzFile, opened
from model_trainer.npz.checks import check_finite, check_lengths, check_one_number, features_of, labels_of, no_array
from model_trainer.signatures import Signature
from model_trainer.tables.columns import LARGEST_WHOLE, MOST_WORDS, Column, Kind
from model_trainer.tables.encoding import NO_ENCODING
from model_trainer.tables.rows import BYTES_OF_A_ROW
from model_trainer.tables.table import Table
from model_trainer.tables.target import target_of_test

X, Y = "x_test", "y_test"
_NAMES = "spec.source.classes"


class LabelledArrays:
    """The numbers of an .npz file, read as a whole, and what of a servable is asked about them.

    Args:
        test: where the file is.
        endpoint: of the store.
        field: what describes it.

    Attributes:
        number: whether `y_test` holds numbers that should be answered, and no classes.
        shape: of a row of `x_test`.

    Raises:
        BadData: nothing can be tested with it.
        StoreError: the store failed.
    """

    def __init__(self, test: EvaluationData, endpoint: str | None, context: Context, field: str) -> None:
        self._address = test.uri
        self._context = context
        folder, _, key = test.uri.rpartition("/")
        path = context.scratch / "test.npz"
        context.board.enter(ProgressStage.FETCHING, f"fetching {test.uri}")
        store = context.cached(open_store(folder, endpoint=endpoint), endpoint)
        try:
            context.patience(f"downloading {test.uri}", lambda: store.download(key, path))
        except NotFound as error:
            raise BadData(f"There is no {test.uri}. Put the arrays there, or correct {field}.uri.") from error
        try:
            with opened(path, test.uri) as file:
                self._x, self._y = self._headers(file)
                y = self._y
                self.number = y.dtype.kind == "f"
                self.shape: tuple[int, ...] | None = self._x.shape[1:]
                self._values = self._true_numbers(file, y) if self.number else np.empty(0)
                self._labels = np.zeros(self._x.shape[0], np.int64) if self.number else labels_of(file, y)
                self._rows = self._read(file)
        finally:
            path.unlink(missing_ok=True)

    def way(self, signatures: Mapping[str, Signature]) -> Found | str:
        """How a servable is asked; else why it cannot be, as the end of a sentence."""
        found = way_of_arrays(signatures, self._x.shape[1:], number=self.number)
        if not isinstance(found, str):
            return found
        classes = f"; of classes, save {Y}.astype('int64')" if self.number else ""
        return f"cannot be asked about {self._x.said} and {self._y.said} in {self._address}: {found}{classes}"

    def misfit(self, way: RowsWay) -> str:
        """Why what is asked in another `way` cannot be asked about these rows; empty where it can."""
        (first, *others) = way.inputs
        if others or shape_for(first.shape, self._x.shape[1:]) is None:
            takes = ", ".join(f"{taken.name} {list(taken.shape)}" for taken in way.inputs[:3])
            return f"it takes {takes}, and rows of {X} have the shape {list(self._x.shape[1:])}"
        return ""

    def read(self, way: RowsWay, names: tuple[str, ...], outputs: int, what: str) -> Table:
        """The rows as `way` takes them, of classes by `names` or, where they are empty, by the outputs of `what`."""
        self._check_whole(way.inputs[0])
        classes = () if self.number else self._classes(names, outputs, what)
        sizes = self._rows.shape[1] * self._rows.dtype.itemsize
        return Table(
            classes=classes,
            columns=(Column(X, Kind.NUMERIC, self._rows.shape[1]),),
            numbers=self._rows,
            codes=np.empty((len(self._rows), 0), np.int32),
            words=(),
            examples=tuple(
                Example(place, f"{X}[{place}]", label, hashlib.sha256(row.data).hexdigest(), sizes)
                for place, (label, row) in enumerate(zip(self._labels.tolist(), self._rows, strict=True))
            ),
            encoding=NO_ENCODING,
            ignored=(),
            files=1,
            target=target_of_test(Y, self._values, self._address) if self.number else None,
            values=self._values,
        )

    def _headers(self, file: NpzFile) -> tuple[Header, Header]:
        for name in (X, Y):
            if name not in file.names:
                raise no_array(file, name, f"Save it by numpy.savez({X}=…, {Y}=…).")
        x, y, where = file.header(X), file.header(Y), f"in {self._address}"
        if not x.shape or 0 in x.shape:
            raise BadData(f"{x.said} {where} has no rows, [rows, …]. Reshape it, and let there be no 0 in its shape.")
        check_one_number(y, where)
        if len(y.shape) not in (1, 2):
            raise BadData(
                f"{y.said} {where} has neither whole numbers, one for each row, which say its class from 0 up, nor "
                "floats that should be answered. Save one of both, [rows]."
            )
        check_lengths(x, y, where)
        self._check_memory(x, y)
        return x, y

    def _check_memory(self, x: Header, y: Header) -> None:
        room = machine.memory_bytes() * MEMORY_SHARE
        numbers = int(np.prod(x.shape)) * np.dtype(np.float32).itemsize
        # Of an array by columns no row is there before the last column is: it is read as a whole, and turned.
        needed = x.shape[0] * BYTES_OF_A_ROW + numbers + 2 * y.bytes + (3 * x.bytes if x.fortran else 0)
        if needed > room:
            raise BadData(
                f"The arrays in {self._address} do not fit into half of the memory: {x.shape[0]:,} rows need "
                f"{needed / 1e9:.3g} GB, and there are {room / 1e9:.3g} GB. Save fewer rows."
            )

    def _read(self, file: NpzFile) -> npt.NDArray[np.float32]:
        x = self._x
        rows = np.empty((x.shape[0], int(np.prod(x.shape[1:], dtype=np.int64))), np.float32)
        for first, block in file.blocks(x):
            self._context.interruption.check()
            self._context.board.say(f"read {first:,} of {x.shape[0]:,} rows of {X}")
            check_finite(x, self._address, first, block)
            rows[first : first + len(block)] = features_of(x, self._address, first, block).reshape(len(block), -1)
        return rows

    def _true_numbers(self, file: NpzFile, y: Header) -> npt.NDArray[np.float64]:
        found = []
        for first, block in file.blocks(y):
            check_finite(y, self._address, first, block)
            found.append(features_of(y, self._address, first, block).reshape(-1).astype(np.float64))
        return np.concatenate(found)

    def check_range(self, pixel_range: tuple[float, float]) -> None:
        """Raises BadData where whole numbers, which are pixels as they stand in files, are outside of the range."""
        low, high = self._rows.min(), self._rows.max()
        if self._x.dtype.kind != "f" and not pixel_range[0] <= low <= high <= pixel_range[1]:
            raise BadData(
                f"{self._x.said} in {self._address} has numbers from {low:g} to {high:g}, and the model takes images "
                f"in {list(pixel_range)}, as spec.source.pixelRange says. Save the numbers that it takes, such as "
                "(x_test / 255.0).astype('float32'), or correct pixelRange."
            )

    def _check_whole(self, taken: Taken) -> None:
        if not is_whole(taken):
            return
        wrong = np.argwhere((self._rows % 1 != 0) | (np.abs(self._rows) > LARGEST_WHOLE))
        if len(wrong):
            row, place = wrong[0].tolist()
            raise BadData(
                f"{X}[{row}] in {self._address} has {self._rows[row, place]:g}, and the model takes whole numbers "
                f"({taken.name} {taken.dtype}), of which at most {LARGEST_WHOLE:,} is tested. Correct it, or leave the "
                "row out."
            )

    def _classes(self, names: tuple[str, ...], outputs: int, what: str) -> tuple[str, ...]:
        labels = self._labels
        if labels.min() == labels.max():
            raise OneClass(
                f"All {len(labels)} rows of {Y} in {self._address} are of the class {labels[0]}; a test of a "
                "classifier needs at least two classes. Add rows of another class; numbers that should be answered "
                "are floats."
            )
        most, place = int(labels.max()), int(labels.argmax())
        # One number is the probability of the second of two classes.
        count = len(names) or {-1: most + 1, 1: 2}.get(outputs, outputs)
        if most >= count:
            of = f"{_NAMES} has {len(names)} names" if names else f"{what} tells {count} classes apart"
            raise BadData(
                f"{Y}[{place}] in {self._address} is {most}, and {of}, of 0 to {count - 1}. Correct it, or leave the "
                f"row out{'; numbers that should be answered are floats' if outputs == 1 else ''}."
            )
        if count > MOST_WORDS:
            raise BadData(
                f"{Y}[{place}] in {self._address} is {most}, and {MOST_WORDS:,} classes are the most. Save the place "
                "of each row's class."
            )
        return names or tuple(map(str, range(count)))
