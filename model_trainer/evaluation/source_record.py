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


class SourceRecord(msgspec.Struct, frozen=True, rename="camel"):
    """A source on its test images.

    Attributes:
        way: how it was asked.
        classes: names in the order of its outputs.
        metrics: see EvaluationRecord.metrics.
        images: how many images were asked about.
        bad_files: how many could not be used.
        data_hash: see DataCard.sha256, with its `sha256:`.
        comparison: the version that served, on the same images; None where none did.
    """

    way: Way
    classes: tuple[str, ...]
    metrics: dict[str, float]
    images: int
    bad_files: int
    data_hash: str
    comparison: Comparison | None = None
