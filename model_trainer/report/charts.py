"""The geometry of the page's charts, in SVG's units, y downwards; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_trainer.evaluation.calibration import Bin

# Up to this many classes a matrix is read cell by cell; beyond it is looked at as a picture.
READABLE_CLASSES = 16

# Letters of a name beside the matrix, letters that fit above a column without being turned, and units of a letter.
_LABEL = 18
_UPRIGHT = 3
_LETTER = 8

# Told apart with every common kind of colour blindness: Okabe and Ito, https://jfly.uni-koeln.de/color/.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


@dataclass(frozen=True)
class Tick:
    """A mark of an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One curve: the points of a polyline, its last point, and its last value in words."""

    name: str
    colour: str
    points: str
    end: tuple[float, float]
    last: str


@dataclass(frozen=True)
class LineChart:
    """Curves over epochs; the plot is the box from (left, top) to (right, bottom)."""

    title: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    width: int = 460
    height: int = 260
    left: int = 48
    right: int = 448
    top: int = 12
    bottom: int = 226


def line_chart(title: str, curves: Mapping[str, Sequence[float]]) -> LineChart:
    """Curves of one value for each epoch, the first of which is epoch 1."""
    chart = LineChart(title, (), (), ())
    epochs = max(len(values) for values in curves.values())
    low = min(min(values) for values in curves.values())
    high = max(max(values) for values in curves.values())
    marks = round_marks(low, high)
    low, high = min(low, marks[0]), max(high, marks[-1])

    def x(epoch: float) -> float:
        return between(chart.left, chart.right, (epoch - 1) / (epochs - 1) if epochs > 1 else 0.5)

    def y(value: float) -> float:
        return between(chart.bottom, chart.top, (value - low) / (high - low))

    lines = []
    for colour, (name, values) in zip(_COLOURS, curves.items(), strict=False):
        places = [(x(epoch), y(value)) for epoch, value in enumerate(values, 1)]
        points = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
        lines.append(Line(name, colour, points, places[-1], f"{values[-1]:.4g}"))
    steps = sorted({1, epochs, *(round(1 + (epochs - 1) * part / 4) for part in (1, 2, 3))})
    across = tuple(Tick(x(epoch), str(epoch)) for epoch in steps)
    return LineChart(title, tuple(lines), across, tuple(Tick(y(mark), f"{mark:g}") for mark in marks))


@dataclass(frozen=True)
class Cell:
    """A field of the matrix: how dark it is (0 to 1), and what it says of how many images."""

    row: int
    column: int
    count: int
    darkness: float
    words: str


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: the fields that are not empty; a row is a true class."""

    names: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def readable(self) -> bool:
        """Whether it has few enough classes to print numbers and names."""
        return len(self.names) <= READABLE_CLASSES

    @property
    def short_names(self) -> tuple[str, ...]:
        """The names as far as there is room for them."""
        return tuple(name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…" for name in self.names)

    @property
    def upright(self) -> bool:
        """Whether the names fit above the columns as they are."""
        return all(len(name) <= _UPRIGHT for name in self.names)

    @property
    def label_width(self) -> int:
        """Room for the names beside the rows, and above the columns."""
        return 24 + _LETTER * max(len(name) for name in self.short_names)


def matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Matrix:
    """Each row's fields are as dark as their part of the row."""
    cells = []
    for row, of_row in enumerate(counts):
        total = sum(of_row)
        for column, count in enumerate(of_row):
            if count:
                taken = "" if row == column else f" taken for {names[column]}"
                words = f"{count} of {total} images of {names[row]}{taken or ' recognised'}"
                cells.append(Cell(row, column, count, count / total, words))
    return Matrix(tuple(names), tuple(cells))


@dataclass(frozen=True)
class Bar:
    """A bin of the reliability diagram: confidence from `left` to `right`, part that was right, both from 0 to 1."""

    left: float
    right: float
    accuracy: float
    words: str


def reliability(bins: Sequence[Bin]) -> tuple[Bar, ...]:
    """The bars of a reliability diagram: they end on the diagonal where the model is calibrated."""
    return tuple(
        Bar(
            each.low,
            each.high,
            each.accuracy,
            f"{each.images} images with a mean confidence of {each.confidence:.2f}: {each.accuracy:.0%} were right",
        )
        for each in bins
    )


def between(start: float, end: float, part: float) -> float:
    """The place at `part`, from 0 to 1, of the way."""
    return start + (end - start) * part


def round_marks(low: float, high: float) -> list[float]:
    """Three to seven round numbers that enclose low and high."""
    width = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(width))
    step = next(power * factor for factor in (0.2, 0.5, 1.0, 2.0) if width / (power * factor) <= 5)
    first = math.floor(low / step)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [round(step * number, 10) for number in range(first, last + 1)]
