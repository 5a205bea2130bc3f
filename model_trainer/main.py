"""`keras-trainer train|export`: one stage of a run, as the container of its Job; `guard.py` starts it.

Reads from the environment: KERAS_RUN (a RunSpec in JSON), KERAS_SCRATCH (a writable folder), and, with defaults that
fit a Job, KERAS_TERMINATION_LOG, KERAS_PROGRESS_PORT and KERAS_STORE_PATIENCE_SECONDS; and what `cached_reads.py` does.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from keras_operator.api import DataFormat, ProgressStage, RunError, RunReason, RunResult, RunSpec, RunStage

from model_trainer import result as results
from model_trainer.context import Context
from model_trainer.data.archive import is_archive
from model_trainer.data.cached_reads import cache_of
from model_trainer.data.read_ahead import reading_ahead
from model_trainer.failure import BadRun, Exit, Interrupted, failure_of
from model_trainer.interruption import Interruption
from model_trainer.patience import Patience
from model_trainer.progress import PORT, ProgressBoard, answer_progress, log_json_lines

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run one stage and return the process's exit code: 0, 65 (will fail again), 75 (may work later) or 1."""
    parser = argparse.ArgumentParser(prog="keras-trainer", description="Run one stage of a KerasModel's run.")
    parser.add_argument("stage", choices=[stage.value for stage in RunStage], help="what to do with KERAS_RUN")
    parser.add_argument("--prepare", action="store_true", help="only hand the data to the image that trains")
    given = parser.parse_args(arguments)
    stage = RunStage(given.stage)
    # PID 1 of a container has no default action for SIGTERM: without this the kubelet's grace period is lost.
    interruption = Interruption()
    signal.signal(signal.SIGTERM, interruption.arrive)
    log_json_lines()
    board = ProgressBoard(ProgressStage.FETCHING)
    patience = Patience(float(os.environ.get("KERAS_STORE_PATIENCE_SECONDS", "300")), say=board.waits)
    with answer_progress(board, int(os.environ.get("KERAS_PROGRESS_PORT", str(PORT)))):
        outcome, code = _outcome(stage, given.prepare, board, patience, interruption)
        # From here on there is a result, and writing it takes no time: a SIGTERM must not cut it in two.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        patience.stop()
        results.write(outcome, results.termination_log())
    return code


def _outcome(
    stage: RunStage, prepare: bool, board: ProgressBoard, patience: Patience, interruption: Interruption
) -> tuple[RunResult, Exit]:
    try:
        spec = _spec()
        scratch = Path(os.environ.get("KERAS_SCRATCH", tempfile.gettempdir()))
        with (
            tempfile.TemporaryDirectory(prefix=f"{stage.value}-", dir=scratch) as folder,
            reading_ahead(
                readable_ahead(stage, spec, prepare=prepare), spec.store.endpoint, Path(folder) / "ahead"
            ) as ahead,
        ):
            return _stage(stage, prepare=prepare)(
                spec, Context(board, patience, Path(folder), interruption, ahead, cache_of())
            ), Exit.OK
    except Interrupted:
        log.warning("interrupted by SIGTERM")
        message = f"The {stage.value} stage was stopped by SIGTERM while {board.progress.message}; it can be run again."
        error = RunError(reason=RunReason.INTERRUPTED, message=message)
        return RunResult(stage=stage, ok=False, error=error, times=board.progress.times), Exit.TEMPORARY
    except Exception as error:
        failure = failure_of(error)
        log.exception("%s: %s", failure.reason, failure)
        known = RunResult(stage=stage, ok=False, times=board.progress.times)
        return results.failed(stage, failure, known), failure.exit_code


def _spec() -> RunSpec:
    text = os.environ.get("KERAS_RUN")
    if text is None:
        raise BadRun("The environment variable KERAS_RUN is not set; it must hold the run as JSON.")
    try:
        return msgspec.json.decode(text, type=RunSpec)
    except msgspec.DecodeError as error:
        raise BadRun(f"KERAS_RUN cannot be read: {error}.") from error


def readable_ahead(stage: RunStage, spec: RunSpec, *, prepare: bool = False) -> str | None:
    """The address whose images can be read while TensorFlow is imported; None where there are none in a store."""
    if spec.training is not None and spec.training.container is not None and not prepare:
        return None
    data = spec.training.data if stage is RunStage.TRAIN and spec.training else None
    uri = data.uri if data is not None and data.format is DataFormat.IMAGE_FOLDER else ""
    return uri if uri.startswith("s3://") and not is_archive(uri) else None


def _stage(stage: RunStage, *, prepare: bool) -> Callable[[RunSpec, Context], RunResult]:
    """The stage's function. TensorFlow is imported here, after progress is answered: it takes several seconds."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from model_trainer.machine import configure_tensorflow  # noqa: PLC0415

    configure_tensorflow()
    if prepare:
        from model_trainer.own_image.stages import run_prepare  # noqa: PLC0415

        return run_prepare
    match stage:
        case RunStage.TRAIN:
            from model_trainer.train_stage import run_train  # noqa: PLC0415

            return run_train
        case RunStage.EXPORT:
            from model_trainer.export_stage import run_export  # noqa: PLC0415

            return run_export


if __name__ == "__main__":
    sys.exit(main())
