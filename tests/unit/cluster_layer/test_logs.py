"""Log lines for machines and for people."""

from __future__ import annotations

import json
import logging
from datetime import datetime

import pytest
from keras_operator.cluster.worker import Work, current_work
from keras_operator.logs import ConsoleFormatter, JsonFormatter, configure_logging


def line(record: logging.LogRecord) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(JsonFormatter().format(record))
    return parsed


def record(message: str, *arguments: object, **more: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "keras_operator.x", "levelname": "WARNING", "msg": message, "args": arguments}
    )
    vars(made).update(more)
    return made


def test_a_line_is_one_object_with_time_level_logger_and_message():
    got = line(record("%s of %d", "epoch", 3))
    assert (got["level"], got["logger"], got["message"]) == ("warning", "keras_operator.x", "epoch of 3")
    assert datetime.fromisoformat(str(got["time"])).tzinfo is not None


def test_what_was_given_as_extra_is_in_the_line_whatever_it_is():
    got = line(record("m", model="vision/dogs", thing=object))
    assert got["model"] == "vision/dogs"
    assert "object" in str(got["thing"])


def test_a_line_stays_one_line_with_a_traceback_and_line_breaks_in_the_message():
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        text = JsonFormatter().format(record("a\nb", exc_info=(ValueError, error, error.__traceback__)))
    assert "\n" not in text
    assert "ValueError: two" in json.loads(text)["traceback"]


@pytest.fixture
def work():
    before = current_work.set(Work(("vision", "dogs"), "1a2b3c4d"))
    yield
    current_work.reset(before)


def test_a_line_of_a_reconcile_bears_its_model_and_its_id(work):
    got = line(record("wrote Job dogs-1-train"))
    assert (got["model"], got["reconcile"]) == ("vision/dogs", "1a2b3c4d")


def test_a_line_outside_of_a_reconcile_bears_neither():
    assert not {"model", "reconcile"} & line(record("m")).keys()


def test_on_the_console_a_line_of_a_reconcile_begins_with_its_model_once(work):
    console = ConsoleFormatter()
    assert console.format(record("wrote it")).endswith("WARNING vision/dogs: wrote it")
    assert console.format(record("vision/dogs could not be")).endswith("WARNING vision/dogs could not be")


@pytest.fixture
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_kopfs_line_for_each_event_is_not_written(logging_as_before, capsys):
    configure_logging("json", "info")
    logging.getLogger("kopf.objects").info("Handler succeeded")
    logging.getLogger("keras_operator").info("hello")
    written = capsys.readouterr().err.splitlines()
    assert [json.loads(text)["message"] for text in written] == ["hello"]


def test_the_console_is_short(logging_as_before, capsys):
    configure_logging("console", "info")
    logging.getLogger("keras_operator").info("hello")
    assert capsys.readouterr().err.rstrip().endswith("INFO    hello")


def test_of_kopfs_retries_there_is_no_line_and_of_its_failures_there_is(logging_as_before, capsys):
    configure_logging("json", "info")
    kopfs = logging.getLogger("kopf._cogs.clients.watching")
    kopfs.error("Request attempt #3 failed; will retry: GET https://x -> TimeoutError()")
    kopfs.error("Request attempt #3 failed; escalating: GET https://x -> TimeoutError()")
    [written] = capsys.readouterr().err.splitlines()
    assert "escalating" in written
