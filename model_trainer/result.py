"""A run's last word: the container's termination message, which the kubelet cuts off after 4,096 bytes."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import msgspec
from keras_operator.api import RunError, RunResult, RunStage

from model_trainer.failure import RunFailure
from model_trainer.progress import FIRST_EPOCHS

log = logging.getLogger(__name__)

LIMIT = 4000
TERMINATION_LOG = Path("/dev/termination-log")


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

    What does not fit is left out in this order: times of epochs between the first three and the last, names of
    signatures, the end of the error's message.
    """
    for shorten in (lambda kept: kept, _with_few_epochs, _without_signatures):
        result = shorten(result)
        data = msgspec.json.encode(result)
        if len(data) <= limit:
            return data
    while result.error is not None and len(data) > limit and result.error.message:
        # JSON escapes make a letter up to six bytes, so a few rounds may be needed.
        excess = len(data) - limit + len("…".encode())
        message = result.error.message[: -max(1, excess // 6 + 1)] + "…"
        message = message if len(message) < len(result.error.message) else ""
        result = msgspec.structs.replace(result, error=msgspec.structs.replace(result.error, message=message))
        data = msgspec.json.encode(result)
    return data


def write(result: RunResult, path: Path) -> None:
    """Write the termination message; the log has it too, for whoever looks there."""
    data = encode(result)
    log.info("finished", extra={"result": msgspec.json.decode(data)})
    path.write_bytes(data)


def _with_few_epochs(result: RunResult) -> RunResult:
    epochs = sorted((event for event in result.times if _is_epoch(event)), key=lambda event: int(event[5:]))
    dropped = set(epochs[FIRST_EPOCHS:-1])
    times = {event: time for event, time in result.times.items() if event not in dropped}
    return msgspec.structs.replace(result, times=times)


def _is_epoch(event: str) -> bool:
    return event.startswith("epoch") and event[5:].isdigit()


def _without_signatures(result: RunResult) -> RunResult:
    if result.servable is None:
        return result
    return msgspec.structs.replace(result, servable=msgspec.structs.replace(result.servable, signatures=()))
