import json
import logging
import socket
import urllib.error
import urllib.request
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler

import msgspec
import pytest
from keras_operator.api import Progress, ProgressStage

from model_trainer.progress import JsonLines, ProgressBoard, _Server, answer_progress

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def board() -> ProgressBoard:
    """A board whose clock goes on by a second with each look."""
    seconds = iter(range(1_000_000))
    return ProgressBoard(ProgressStage.FETCHING, clock=lambda: START + timedelta(seconds=next(seconds)))


def end_epochs(board: ProgressBoard, epochs: int) -> None:
    for epoch in range(1, epochs + 1):
        board.training(epoch=epoch, epochs=epochs, step=0, steps=4, metrics={"loss": 1 / epoch}, seconds_left=2.5)


def test_progress_is_answered_over_http_while_it_changes(board: ProgressBoard):
    with answer_progress(board, 0) as port:

        def ask(host: str = "127.0.0.1", path: str = "/progress") -> Progress:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
                assert answer.headers["Content-Type"] == "application/json"
                return msgspec.json.decode(answer.read(), type=Progress)

        assert ask() == Progress(stage=ProgressStage.FETCHING, message="fetching", times={"started": START})
        board.enter(ProgressStage.TRAINING, "training on 7 images")
        assert ask().message == "training on 7 images"
        board.waits("the store is away")
        assert ask().waiting == "the store is away"
        board.waits("")
        assert ask().waiting == ""
        end_epochs(board, 2)
        now = ask()
        assert (now.epoch, now.epochs, now.metrics, now.seconds_left) == (2, 2, {"loss": 0.5}, 2.5)
        assert list(now.times) == ["started", "epoch1", "epoch2"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(path="/other")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.parametrize("free", [True, False])
def test_only_a_port_that_was_asked_for_may_be_one_that_was_in_use(free: bool):
    with socket.socket() as probe:
        probe.bind(("", 0))
        asked = 0 if free else probe.getsockname()[1]
    with _Server(("::", asked), BaseHTTPRequestHandler, bind_and_activate=False) as server:
        server.server_bind()
        with socket.socket(socket.AF_INET) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use") if free else nullcontext():
                other.bind(("127.0.0.1", server.socket.getsockname()[1]))


def test_a_client_that_sends_nothing_does_not_keep_others_waiting(board: ProgressBoard):
    with (
        answer_progress(board, 0) as port,
        socket.create_connection(("127.0.0.1", port), timeout=5),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=5) as answer,
    ):
        assert answer.status == 200


def test_a_port_that_is_taken_costs_progress_and_nothing_else(board: ProgressBoard, caplog: pytest.LogCaptureFixture):
    with answer_progress(board, 0) as taken, answer_progress(board, taken) as port:
        assert port == 0
    assert f"port {taken} cannot be used" in caplog.text


def test_within_an_epoch_the_step_is_told_and_no_time_is_kept(board: ProgressBoard):
    board.training(epoch=0, epochs=10, step=1, steps=4, metrics={}, seconds_left=None)
    assert board.progress.message == "epoch 1/10, step 1/4"
    board.training(epoch=1, epochs=10, step=0, steps=4, metrics={}, seconds_left=9.0)
    assert board.progress.message == "epoch 1/10 done"
    board.training(epoch=1, epochs=10, step=2, steps=4, metrics={}, seconds_left=8.5)
    assert board.progress.message == "epoch 2/10, step 2/4"
    assert list(board.progress.times) == ["started", "epoch1"]


def test_a_long_epoch_has_a_line_in_the_log_each_half_minute(board: ProgressBoard, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        for step in range(1, 91):
            board.training(epoch=0, epochs=10, step=step, steps=90, metrics={}, seconds_left=None)
    assert [record.message for record in caplog.records] == [f"epoch 1/10, step {step}/90" for step in (30, 60, 90)]


def test_how_many_examples_a_second_is_told_and_logged(board: ProgressBoard, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        board.training(epoch=1, epochs=2, step=0, steps=4, metrics={}, seconds_left=3.0, per_second=512.34)
    assert board.progress.examples_per_second == 512.34
    assert caplog.records[-1].__dict__["examplesPerSecond"] == 512.3
    board.enter(ProgressStage.EVALUATING, "evaluating")
    assert board.progress.examples_per_second is None


def test_a_phase_is_told(board: ProgressBoard):
    board.training(epoch=1, epochs=10, step=0, steps=4, metrics={}, seconds_left=9.0, phase="head")
    assert (board.progress.message, board.progress.phase) == ("epoch 1/10 done, phase head", "head")


def test_another_stage_forgets_the_seconds_left(board: ProgressBoard):
    end_epochs(board, 1)
    board.enter(ProgressStage.EVALUATING, "evaluating")
    assert board.progress.seconds_left is None


def test_many_epochs_keep_the_first_three_times_and_the_last(board: ProgressBoard):
    end_epochs(board, 10_000)
    board.happened("trained")
    assert list(board.progress.times) == ["started", "epoch1", "epoch2", "epoch3", "epoch10000", "trained"]


def test_log_records_are_one_line_of_json_each():
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        caught = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, "über %d", (3,), caught)
    record.metrics = {"loss": 0.5}
    line = JsonLines().format(record)
    assert "\n" not in line
    said = json.loads(line)
    assert (said["level"], said["message"], said["metrics"]) == ("warning", "über 3", {"loss": 0.5})
    assert said["traceback"].endswith("ValueError: first\nsecond")
    assert set(said) == {"time", "level", "message", "metrics", "traceback"}
