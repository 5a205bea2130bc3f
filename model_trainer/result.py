"""A run's last word: the container's termination message, which the kubelet cuts off after 4,096 bytes."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import msgspec
from keras_operator.api import RunError, RunResult, RunStage

from model_trainer.failure import RunFailure
from model_trainer.progress import FIRST_EPOCHS

log = logging.getLogger(__name__)

LIMIT = 4000
TERMINATION_LOG = Path("/dev/termination-log")


def termination_log() -> Path:
    """Where the result is written."""
    return Path(os.environ.get("KERAS_TERMINATION_LOG", str(TERMINATION_LOG)))


def failed(stage: RunStage, failure: RunFailure, result: RunResult | None = None) -> RunResult:
    """The result of a run that ended with `failure`, with what was known by then."""
    known = result or RunResult(stage=stage, ok=False)
    error = RunError(reason=failure.reason, message=str(failure), next_number=failure.next_number)
    return msgspec.structs.replace(known, ok=False, error=error)


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics that are numbers: JSON has no word for the others."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def encode(result: RunResult, limit: int = LIMIT) -> bytes:
    """The result as JSON of at most `limit` bytes (at least 600).

    What does not fit is left out in this order: times of epochs between the first three and the last, names and
    inputs of signatures, all times, why something was not measured, the end of the error's message.
    """
    data = msgspec.json.encode(result)
    for shorten in (_with_few_epochs, _without_signatures, _without_times, _without_reasons):
        if len(data) <= limit:
            return data
        result = shorten(result)
        data = msgspec.json.encode(result)
    if len(data) <= limit or result.error is None:
        return data
    return _with_short_message(result, limit)


def write(result: RunResult, path: Path) -> None:
    """Write the termination message; the log has it too, for whoever looks there.

    Outside of a pod there may be no such file; the run's outcome does not depend on it.
    """
    data = encode(result)
    log.info("finished", extra={"result": msgspec.json.decode(data)})
    try:
        path.write_bytes(data)
    except OSError as error:
        log.warning("the result cannot be written (%s); set KERAS_TERMINATION_LOG to a writable path", error)


def _with_few_epochs(result: RunResult) -> RunResult:
    epochs = sorted((event for event in result.times if _is_epoch(event)), key=lambda event: int(event[5:]))
    dropped = set(epochs[FIRST_EPOCHS:-1])
    times = {event: time for event, time in result.times.items() if event not in dropped}
    return msgspec.structs.replace(result, times=times)


def _with_short_message(result: RunResult, limit: int) -> bytes:
    """As much of the message as fits; found by bisection, because JSON's escapes make a letter up to six bytes."""
    error = result.error
    assert error is not None

    def cut(length: int) -> bytes:
        short = msgspec.structs.replace(error, message=error.message[:length] + "…")
        return msgspec.json.encode(msgspec.structs.replace(result, error=short))

    fits, too_long = 0, len(error.message)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        fits, too_long = (middle, too_long) if len(cut(middle)) <= limit else (fits, middle)
    return cut(fits)


def _is_epoch(event: str) -> bool:
    return event.startswith("epoch") and event[5:].isdigit()


def _without_signatures(result: RunResult) -> RunResult:
    if result.servable is None:
        return result
    return msgspec.structs.replace(result, servable=msgspec.structs.replace(result.servable, signatures=(), inputs=()))


def _without_times(result: RunResult) -> RunResult:
    return msgspec.structs.replace(result, times={})


def _without_reasons(result: RunResult) -> RunResult:
    return msgspec.structs.replace(result, unmeasured=dict.fromkeys(result.unmeasured, ""))
