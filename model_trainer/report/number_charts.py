"""The geometry of the charts of a number, in SVG's units, y downwards; the template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_trainer.report.charts import Tick, between, round_marks

Floats = npt.NDArray[np.float64]

# More points lie on top of each other, and are a megabyte of page for a hundred thousand rows.
MOST_POINTS = 1000
# An odd number, so that what is right lies in the middle of one.
_BINS = 21


@dataclass(frozen=True)
class Scatter:
    """True numbers from left to right, answers upwards, both on one scale: what is right lies on the diagonal."""

    points: tuple[tuple[float, float], ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    width: int = 420
    height: int = 400
    left: int = 72
    right: int = 408
    top: int = 12
    bottom: int = 348


def scatter(true: Floats, answered: Floats) -> Scatter:
    """Up to a thousand points, evenly chosen in the order of the true numbers."""
    frame = Scatter((), (), ())
    low, high, marks = _scale(float(min(true.min(), answered.min())), float(max(true.max(), answered.max())))
    order = np.argsort(true, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, MOST_POINTS, dtype=np.int64))]

    def x(value: float) -> float:
        return between(frame.left, frame.right, (value - low) / (high - low))

    def y(value: float) -> float:
        return between(frame.bottom, frame.top, (value - low) / (high - low))

    return Scatter(
        tuple((x(one), y(other)) for one, other in zip(true[chosen].tolist(), answered[chosen].tolist(), strict=True)),
        tuple(Tick(x(mark), f"{mark:g}") for mark in marks),
        tuple(Tick(y(mark), f"{mark:g}") for mark in marks),
    )


@dataclass(frozen=True)
class Column:
    """One bin of a histogram: where it begins, its width and height, and what it says."""

    left: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class Histogram:
    """How many rows are in each bin; the plot is the box from (left, top) to (right, bottom)."""

    columns: tuple[Column, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    width: int = 460
    height: int = 260
    left: int = 48
    right: int = 448
    top: int = 12
    bottom: int = 226


def histogram(edges: Sequence[float], counts: Sequence[int], words: Sequence[str]) -> Histogram:
    """Bins between `edges`, one more than `counts`, which are not all zero; `words` says of each what it is."""
    frame = Histogram((), (), ())
    low, high, marks = _scale(edges[0], edges[-1])
    steps = round_marks(0.0, float(max(counts)))

    def x(value: float) -> float:
        return between(frame.left, frame.right, (value - low) / (high - low))

    def y(count: float) -> float:
        return between(frame.bottom, frame.top, count / steps[-1])

    columns = tuple(
        Column(x(start), x(end) - x(start), frame.bottom - y(count), said)
        for start, end, count, said in zip(edges[:-1], edges[1:], counts, words, strict=True)
        if count
    )
    whole = tuple(step for step in steps if step == round(step))
    return Histogram(
        columns,
        tuple(Tick(x(mark), f"{mark:g}") for mark in marks),
        tuple(Tick(y(step), f"{step:g}") for step in whole),
    )


def residuals(true: Floats, answered: Floats) -> Histogram:
    """How far answers are above (to the right) and below the true numbers."""
    errors = answered - true
    widest = float(np.abs(errors).max()) or 1.0
    counts, edges = np.histogram(errors, _BINS, (-widest, widest))
    bounds = edges.tolist()
    words = [
        f"{count} rows: {start:.4g} to {end:.4g} from the truth"
        for start, end, count in zip(bounds[:-1], bounds[1:], counts.tolist(), strict=True)
    ]
    return histogram(bounds, counts.tolist(), words)


def _scale(low: float, high: float) -> tuple[float, float, list[float]]:
    marks = round_marks(low, high)
    return min(low, marks[0]), max(high, marks[-1]), marks
