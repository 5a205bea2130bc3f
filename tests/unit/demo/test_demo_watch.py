"""What a person sees while the model is on its way."""

from __future__ import annotations

import io
import itertools
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_operator.api import KerasModelStatus

from benchmarks.demo.watch import LiveLine, Report, split_documents

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def report(phase: str | None, message: str = "", ready: str = "False") -> Report:
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": "R",
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    status: dict[str, Any] = {"message": message, "conditions": [condition]}
    return Report(msgspec.convert(status if phase is None else {"phase": phase, **status}, KerasModelStatus), NOW)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_elsewhere_each_change_is_one_line() -> None:
    out, clock = io.StringIO(), Clock()
    line = LiveLine(out, 100.0, clock)
    line.show(report("Training", "epoch 1/3"))
    line.show(report("Training", "epoch 1/3"))
    line.tick()
    clock.now = 107.4
    line.show(report("Training", "epoch 2/3"))
    line.end()
    assert out.getvalue() == "     0 s  Training   epoch 1/3\n     7 s  Training   epoch 2/3\n"


def test_on_a_terminal_a_line_is_rewritten_until_the_phase_changes() -> None:
    out, clock = Terminal(), Clock()
    line = LiveLine(out, 100.0, clock)
    line.show(report("Training", "epoch 1/3"))
    clock.now = 101.0
    line.tick()
    line.show(report("Training", "epoch 2/3"))
    line.show(report("Serving", "version 1 serves"))
    line.end()
    lines = out.getvalue().split("\n")
    assert [part.count("\r") for part in lines] == [3, 1, 0]
    assert lines[0].endswith("     1 s  Training   epoch 2/3")
    assert lines[1].endswith("     1 s  Serving    version 1 serves")


def test_a_message_of_several_lines_stays_on_one() -> None:
    assert report("Failed", "it broke:\n  the log").words() == "Failed     it broke: the log"


def test_a_model_that_nobody_has_looked_at_is_pending() -> None:
    assert report(None).words() == "Pending"


@pytest.mark.parametrize(
    ("phase", "ready", "expected"),
    [("Serving", "True", True), ("Serving", "False", False), ("Training", "True", False)],
)
def test_ready_needs_both_the_phase_and_the_condition(phase: str, ready: str, expected: bool) -> None:
    assert report(phase, ready=ready).ready is expected


@given(documents=st.lists(st.dictionaries(st.text(), st.text())), cuts=st.lists(st.integers(0, 500)))
def test_documents_are_found_however_the_stream_is_cut(documents: list[dict[str, str]], cuts: list[int]) -> None:
    stream = "\n".join(json.dumps(document, indent=4) for document in documents)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found, rest = [], ""
    for begin, end in itertools.pairwise(edges):
        complete, rest = split_documents(rest + stream[begin:end], json.JSONDecoder())
        found.extend(complete)
    assert found == documents
    assert rest == ""
