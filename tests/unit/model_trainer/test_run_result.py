from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_operator.api import Images, RunError, RunResult, RunStage, Servable

from model_trainer.failure import BadRun, NumberTaken
from model_trainer.result import encode, failed, finite, write

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def decode(data: bytes) -> RunResult:
    return msgspec.json.decode(data, type=RunResult)


def test_a_small_result_is_kept_as_it_is():
    result = RunResult(
        stage=RunStage.TRAIN,
        ok=True,
        metrics={"accuracy": 0.5},
        classes=2,
        images=Images(train=3, validation=2, test=1),
        times={"started": NOW, "epoch1": NOW},
    )
    assert decode(encode(result)) == result


def test_ten_thousand_epochs_fit_with_the_first_three_and_the_last():
    times = {"started": NOW, **{f"epoch{n}": NOW for n in range(1, 10_001)}, "trained": NOW}
    data = encode(RunResult(stage=RunStage.TRAIN, ok=True, times=times))
    assert len(data) <= 4000
    assert list(decode(data).times) == ["started", "epoch1", "epoch2", "epoch3", "epoch10000", "trained"]


def test_many_signatures_are_left_out_before_the_message_is_cut():
    servable = Servable(
        uri="s3://b/1", digest="sha256:0", bytes=1, signatures=tuple(f"signature_{n}" for n in range(500))
    )
    result = decode(encode(RunResult(stage=RunStage.EXPORT, ok=True, servable=servable)))
    assert result.servable == msgspec.structs.replace(servable, signatures=())


@pytest.mark.parametrize("letter", ["x", "犬", "🐕"], ids=["1 byte", "3 bytes", "4 bytes"])
def test_what_eight_gates_ask_of_classes_with_long_names_fits(letter: str):
    asked = [f"precision of {letter * 63}{number}" for number in range(8)]
    servable = Servable(uri="s3://" + "b" * 1030, digest="sha256:" + "0" * 64, bytes=1, signatures=("serving_default",))
    times = {"started": NOW, "loaded": NOW, "exported": NOW, "verified": NOW, "published": NOW}
    published = RunResult(
        stage=RunStage.EXPORT,
        ok=True,
        metrics={"size_mb": 12.3456789, "latency_ms": 1.23456789, **dict.fromkeys(asked, 0.123456789)},
        servable=servable,
        parity=1e-7,
        times=times,
    )
    unmeasured = dict.fromkeys(asked, f"there is no such class; the nearest is {letter * 63}n")
    withheld = RunResult(stage=RunStage.EXPORT, ok=True, metrics={"size_mb": 12.3}, unmeasured=unmeasured, times=times)
    for result in (published, withheld):
        kept = decode(encode(result))
        assert len(encode(result)) <= 4000
        assert (kept.metrics, kept.servable and kept.servable.uri) == (
            result.metrics,
            result.servable and result.servable.uri,
        )
        assert kept.unmeasured.keys() == result.unmeasured.keys()


@given(st.text(min_size=1, max_size=20), st.integers(0, 4000), st.integers(600, 4000))
def test_any_message_fits_and_begins_as_it_was(text: str, times: int, limit: int):
    message = text * times
    result = RunResult(stage=RunStage.TRAIN, ok=False, error=RunError(reason="NoImages", message=message))
    data = encode(result, limit)
    assert len(data) <= limit
    kept = decode(data).error
    assert kept is not None
    assert kept.message == message or (kept.message.endswith("…") and message.startswith(kept.message[:-1]))


def test_a_cut_message_keeps_most_of_the_room():
    error = RunError(reason="NoImages", message="x" * 9000)
    assert len(encode(RunResult(stage=RunStage.TRAIN, ok=False, error=error))) == 4000


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (
            NumberTaken("Version 3 is taken.", 5),
            RunError(reason="NumberTaken", message="Version 3 is taken.", next_number=5),
        ),
        (BadRun("No."), RunError(reason="Unexpected", message="No.")),
    ],
    ids=["number taken", "bad run"],
)
def test_a_failure_becomes_a_result_that_keeps_what_was_known(failure: BadRun | NumberTaken, expected: RunError):
    known = RunResult(stage=RunStage.TRAIN, ok=True, times={"started": NOW})
    result = failed(RunStage.TRAIN, failure, known)
    assert (result.ok, result.error, result.times) == (False, expected, {"started": NOW})


def test_metrics_that_are_no_numbers_are_left_out():
    assert finite({"a": 0.5, "b": float("nan"), "c": float("inf")}) == {"a": 0.5}


def test_without_a_termination_log_the_result_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO"):
        write(RunResult(stage=RunStage.TRAIN, ok=True, classes=7), tmp_path / "no such folder" / "log")
    assert "set KERAS_TERMINATION_LOG to a writable path" in caplog.text
    assert vars(caplog.records[0])["result"] == {"stage": "train", "ok": True, "classes": 7}
