"""Figures of a benchmark as a JSON file: each with its bar, whether it holds, and every value that was measured.

    {"machine": …, "command": …, "figures": [{"name", "value", "unit", "bar", "holds", "runs": […]}]}

`runs` has the values of the last runs on this machine, oldest first; `value` is their median.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

KEPT_RUNS = 5

_COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Measured:
    """A figure of one run. `value` None: not measured. `bar` is `<= NUMBER` or `>= NUMBER`, or None for no bar."""

    name: str
    value: float | None
    unit: str
    bar: str | None = None


class Figure(msgspec.Struct, frozen=True):
    """A figure over several runs."""

    name: str
    value: float | None
    unit: str
    bar: str | None
    holds: bool | None
    runs: list[float]


class Results(msgspec.Struct, frozen=True):
    """What is in the file."""

    machine: str
    command: str
    figures: list[Figure]


def holds(value: float, bar: str) -> bool:
    """Whether `value` meets `bar`. Raises ValueError for a bar that is not `<= NUMBER` or `>= NUMBER`."""
    sign, _, bound = bar.partition(" ")
    if sign not in _COMPARE:
        raise ValueError(f"a bar is '<= NUMBER' or '>= NUMBER', not {bar!r}")
    return _COMPARE[sign](value, float(bound))


def merged(
    before: Results | None, machine: str, command: str, measured: Sequence[Measured], *, keep_others: bool = False
) -> Results:
    """The results after one more run. Runs of another machine or another command are not mixed in.

    Args:
        before: what the file held.
        machine: this one.
        command: what was run.
        measured: the figures of the run.
        keep_others: keep figures that this run did not measure, in their places.
    """
    same = before is not None and (before.machine, before.command) == (machine, command)
    known = {figure.name: figure for figure in before.figures} if same and before else {}
    runs = {name: figure.runs for name, figure in known.items()}
    new = {one.name: _figure(one, runs.get(one.name, [])) for one in measured}
    return Results(machine, command, list((known | new if keep_others else new).values()))


def _figure(measured: Measured, before: Sequence[float]) -> Figure:
    runs = [*before, *([] if measured.value is None else [round(measured.value, 4)])][-KEPT_RUNS:]
    value = statistics.median(runs) if runs else None
    met = None if value is None or measured.bar is None else holds(value, measured.bar)
    return Figure(measured.name, value, measured.unit, measured.bar, met, runs)


def record(
    path: Path, machine: str, command: str, measured: Sequence[Measured], *, keep_others: bool = False
) -> Results:
    """Add a run to the file, which is created where it is missing; returns what it holds now."""
    before = msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else None
    results = merged(before, machine, command, measured, keep_others=keep_others)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    return results
