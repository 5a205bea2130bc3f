"""Figures: every run is kept for a while, the median is told, and a bar holds or does not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.figures import Figure, Measured, Results, holds, merged, record


def test_a_run_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "results" / "demo.json"
    record(path, "2 × CPU", "make demo", [Measured("gaps", 0.51234, "s", "<= 2"), Measured("time", 12.0, "s")])
    assert msgspec.json.decode(path.read_bytes()) == {
        "machine": "2 × CPU",
        "command": "make demo",
        "figures": [
            {"name": "gaps", "value": 0.5123, "unit": "s", "bar": "<= 2", "holds": True, "runs": [0.5123]},
            {"name": "time", "value": 12.0, "unit": "s", "bar": None, "holds": None, "runs": [12.0]},
        ],
    }


def figure_after(*values: float | None) -> Figure:
    results: Results | None = None
    for value in values:
        results = merged(results, "m", "c", [Measured("x", value, "s", "<= 2")])
    assert results is not None
    return results.figures[0]


def test_the_value_is_the_median_of_the_last_runs() -> None:
    assert figure_after(1.0, 9.0, 2.0).value == 2.0
    assert figure_after(99, 1, 2, 3, 4, 5).runs == [1, 2, 3, 4, 5]


def test_a_run_that_did_not_measure_keeps_what_was_known() -> None:
    assert figure_after(1.0, None) == Figure("x", 1.0, "s", "<= 2", True, [1.0])
    assert figure_after(None) == Figure("x", None, "s", "<= 2", None, [])


def test_a_bar_that_is_missed_is_told() -> None:
    assert figure_after(2.1).holds is False


@pytest.mark.parametrize(("machine", "command"), [("other", "c"), ("m", "other")])
def test_runs_of_other_machines_and_commands_are_not_mixed_in(machine: str, command: str) -> None:
    before = merged(None, "m", "c", [Measured("x", 1.0, "s")])
    assert merged(before, machine, command, [Measured("x", 3.0, "s")]).figures[0].runs == [3.0]


@pytest.mark.parametrize(
    ("value", "bar", "expected"),
    [(2.0, "<= 2", True), (2.01, "<= 2", False), (0.95, ">= 0.95", True), (0.949, ">= 0.95", False)],
)
def test_bars(value: float, bar: str, expected: bool) -> None:
    assert holds(value, bar) is expected


def test_a_bar_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="< 2"):
        holds(1.0, "< 2")
