"""What the export of a source keeps of its evaluation: how it was asked, and what came of it."""

from __future__ import annotations

import msgspec
from keras_operator.api import Comparison


class Way(msgspec.Struct, frozen=True, rename="camel"):
    """How a servable is asked about images.

    Attributes:
        signature: which one.
        input: the name of its one input: float images [batch, height, width, channels], or strings [batch].
        output: the name of its one output, a probability for each class [batch, classes].
        size: height and width of the images; None where it takes the bytes of files of any size.
        channels: 1 or 3.
        pixel_range: what it takes for black and for white; files need none.
    """

    signature: str
    input: str
    output: str
    size: tuple[int, int] | None
    channels: int = 3
    pixel_range: tuple[float, float] = (0.0, 1.0)


class Taken(msgspec.Struct, frozen=True):
    """An input of a servable: its name, TensorFlow's name of its type, and an example's shape, -1 for any size."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class RowsWay(msgspec.Struct, frozen=True, rename="camel"):
    """How a servable is asked about rows of numbers or of a table.

    Attributes:
        signature: which one.
        inputs: one, which takes whole rows, or one for each column.
        output: the name of its one output: a probability for each class [batch, classes], the probability of the
            second of two [batch, 1], or a number [batch] or [batch, 1].
        columns: of a table, those that the only input takes, in their order, or those of each input; empty: it is given
            arrays.
        number: whether it answers a number.
    """

    signature: str
    inputs: tuple[Taken, ...]
    output: str
    columns: tuple[str, ...]
    number: bool


class SourceRecord(msgspec.Struct, frozen=True, rename="camel"):
    """A source on its test images or rows.

    Attributes:
        way: how it was asked about images; None of rows.
        classes: names in the order of its outputs; empty where it answers a number.
        metrics: see EvaluationRecord.metrics.
        images: how many images or rows were asked about.
        bad_files: how many could not be used.
        data_hash: see DataCard.sha256, with its `sha256:`.
        comparison: the version that served, on the same images or rows; None where none did.
        rows: how it was asked about rows; None of images.
    """

    way: Way | None
    classes: tuple[str, ...]
    metrics: dict[str, float]
    images: int
    bad_files: int
    data_hash: str
    comparison: Comparison | None = None
    rows: RowsWay | None = None
