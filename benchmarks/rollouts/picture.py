"""A canary as a picture: the share of answers by version, the share of errors, and the latency of each second."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from benchmarks.rollouts.answers import Answer, percentile
from benchmarks.rollouts.rows import Row

_TEMPLATE = Path(__file__).with_name("canary.svg.j2")
_BEFORE, _AFTER = 10, 10
"""Seconds that are shown before and after the change."""
_LEFT, _WIDTH, _HEIGHT, _GAP, _TOP = 56, 640, 110, 44, 58
# Told apart with every common kind of colour blindness: Okabe and Ito, https://jfly.uni-koeln.de/color/.
_OLD, _NEW, _ERRORS, _MEDIAN = "#0072b2", "#d55e00", "#cc79a7", "#009e73"


@dataclass(frozen=True)
class Curve:
    """One value for each second that has one, as the points of a polyline, and its name's place."""

    name: str
    colour: str
    points: str
    at: int


@dataclass(frozen=True)
class Panel:
    """One of the charts; `marks` are (y, words) of its axis."""

    title: str
    top: int
    curves: tuple[Curve, ...]
    marks: tuple[tuple[float, str], ...]


def picture(row: Row) -> str:
    """The SVG of a row whose clients over REST kept their connections; ghz does not say which version answered."""
    answers = [one for name in ("kept", "fresh") for one in row.answers[name]]
    seconds = list(range(-_BEFORE, math.ceil(row.ended - row.began) + _AFTER))
    by_second: dict[int, list[Answer]] = {second: [] for second in seconds}
    for one in answers:
        by_second.get(math.floor(one.sent - row.began), []).append(one)
    old = row.scenario.before
    new = next(iter(row.scenario.passing), row.scenario.after)

    def x(second: float) -> float:
        return _LEFT + _WIDTH * (second - seconds[0]) / max(1, seconds[-1] - seconds[0])

    def panel(
        number: int, title: str, unit: str, lines: Sequence[tuple[str, str, Callable[[list[Answer]], float | None]]]
    ) -> Panel:
        top = _TOP + number * (_HEIGHT + _GAP)
        found = [
            (name, colour, [(second, value) for second in seconds if (value := of(by_second[second])) is not None])
            for name, colour, of in lines
        ]
        most = max((value for _, _, values in found for _, value in values), default=0.0)
        limit = _round_up(most)

        def y(value: float) -> float:
            return top + _HEIGHT * (1 - value / limit)

        curves = tuple(
            Curve(name, colour, " ".join(f"{x(second + 0.5):.1f},{y(value):.1f}" for second, value in values), at)
            for at, (name, colour, values) in enumerate(found)
        )
        return Panel(
            title, top, curves, tuple((y(limit * part / 2), f"{limit * part / 2:g}{unit}") for part in range(3))
        )

    def share(version: int) -> Callable[[list[Answer]], float | None]:
        def of(sent: list[Answer]) -> float | None:
            good = [one for one in sent if one.version]
            return 100 * sum(one.version == version for one in good) / len(good) if good else None

        return of

    def errors(sent: list[Answer]) -> float | None:
        return 100 * sum(bool(one.fault) for one in sent) / len(sent) if sent else None

    def latency(part: float) -> Callable[[list[Answer]], float | None]:
        def of(sent: list[Answer]) -> float | None:
            found = percentile(sent, part)
            return None if found is None else 1e3 * found

        return of

    panels = [
        panel(
            0,
            "answers by version",
            " %",
            [(f"version {old}", _OLD, share(old)), (f"version {new}", _NEW, share(new))],
        ),
        panel(1, "answers with an error", " %", [("all clients over REST", _ERRORS, errors)]),
        panel(2, "latency", " ms", [("median", _MEDIAN, latency(0.5)), ("99th percentile", _ERRORS, latency(0.99))]),
    ]
    step = 10 * max(1, len(seconds) // 80)
    template = jinja2.Template(_TEMPLATE.read_text(), autoescape=True, undefined=jinja2.StrictUndefined)
    drawn: str = template.render(
        title=row.scenario.name,
        panels=panels,
        left=_LEFT,
        right=_LEFT + _WIDTH,
        height=_HEIGHT,
        bottom=_TOP + 3 * (_HEIGHT + _GAP),
        began=x(0),
        ended=x(row.ended - row.began),
        ticks=[(x(second), f"{second} s") for second in seconds if second % step == 0],
    )
    return drawn


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, … that is not below it; 1 for nothing."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= value * (1 - 1e-9))
