"""Why a run ends without its result: one tree, each class with its reason, each message a sentence."""

from __future__ import annotations

import errno
from enum import IntEnum

from keras_operator.api import RunReason

from model_store import errors as store_errors


class Exit(IntEnum):
    """Exit codes of a stage; the Job's podFailurePolicy reads them."""

    OK = 0
    UNEXPECTED = 1
    # sysexits.h: EX_DATAERR, the inputs are wrong and stay wrong; EX_TEMPFAIL, the same may work later.
    PERMANENT = 65
    TEMPORARY = 75
    # Another worker has ended first. Its own end is what counts, so the Job ignores this one.
    WORKER_LOST = 76


class RunFailure(Exception):  # noqa: N818 - the API has a RunError
    """A failure that somebody can do something about.

    Attributes:
        reason: CamelCase word for machines, of RunReason where it is one of the known ones.
        exit_code: what the process ends with.
        next_number: a free version number, where the wanted one is taken.
    """

    reason: str = RunReason.UNEXPECTED
    exit_code = Exit.PERMANENT
    next_number: int | None = None


class NoImages(RunFailure):
    """There is not one image in a class folder under the uri."""

    reason: str = RunReason.NO_IMAGES


class OneClass(RunFailure):
    """There is one class folder, and nothing to tell it from."""

    reason: str = RunReason.ONE_CLASS


class TooManyBadFiles(RunFailure):
    """More files cannot be decoded than `data.maxBadFiles` allows, or a whole class cannot."""

    reason: str = RunReason.TOO_MANY_BAD_FILES


class BadData(RunFailure):
    """What describes the data is not right: a table of labels, an archive, a part of the data that is not there."""

    reason: str = RunReason.BAD_DATA


class InvalidArchitecture(RunFailure):
    """The network cannot be built for these images, or cannot learn from them."""

    reason: str = RunReason.INVALID_ARCHITECTURE


class InvalidBuilder(RunFailure):
    """The team's own source cannot be run, or builds no network that can be trained on this data."""

    reason: str = RunReason.INVALID_BUILDER


class BadOutput(RunFailure):
    """What the team's own container left is no model for this data, or cannot be read."""

    reason: str = RunReason.BAD_OUTPUT


class BadSavedModel(RunFailure):
    """What `source.uri` names is no SavedModel that can be served."""

    reason: str = RunReason.BAD_SAVED_MODEL


class BadModelFile(RunFailure):
    """A .h5 or .keras file is damaged, is something else, brings code that is not allowed, or does not fit."""

    reason: str = RunReason.BAD_MODEL_FILE


class WeightsUnreachable(RunFailure):
    """The weights that Keras offers cannot be downloaded; another time they may be."""

    reason: str = RunReason.WEIGHTS_UNREACHABLE
    exit_code = Exit.TEMPORARY


class Diverged(RunFailure):
    """The loss is no longer a number."""

    reason = "Diverged"


class ParityFailed(RunFailure):
    """The exported model answers differently from the trained one."""

    reason: str = RunReason.PARITY_FAILED


class DiskFull(RunFailure):
    """The scratch volume, or the volume under the store, has no space left."""

    reason: str = RunReason.DISK_FULL


class OutOfMemory(RunFailure):
    """An allocation was refused (the kernel's own kill leaves no time to say anything)."""

    reason: str = RunReason.OUT_OF_MEMORY


class NoGpu(RunFailure):
    """GPUs were asked for, and TensorFlow has not so many."""

    reason: str = RunReason.NO_GPU


class NumberTaken(RunFailure):
    """Another model has this version number in this store."""

    reason: str = RunReason.NUMBER_TAKEN

    def __init__(self, message: str, next_number: int) -> None:
        super().__init__(message)
        self.next_number = next_number


class AlreadyPublished(RunFailure):
    """This version is published with other content; a published version never changes."""

    reason: str = RunReason.ALREADY_PUBLISHED


class BucketNotFound(RunFailure):
    """The bucket of a uri is not there."""

    reason: str = RunReason.BUCKET_NOT_FOUND


class AccessDenied(RunFailure):
    """The store refuses the credentials."""

    reason: str = RunReason.ACCESS_DENIED


class StoreUnreachable(RunFailure):
    """The store did not answer for longer than the run waits for it."""

    reason: str = RunReason.STORE_UNREACHABLE
    exit_code = Exit.TEMPORARY


class TakenOver(RunFailure):
    """Another pod goes on with this run: the node of this one was given up, and the pod lives on."""

    reason: str = RunReason.INTERRUPTED
    exit_code = Exit.TEMPORARY


class WorkerLost(RunFailure):
    """Another worker of this run has ended."""

    reason: str = RunReason.INTERRUPTED
    exit_code = Exit.WORKER_LOST


class WorkerUnreachable(RunFailure):
    """Another worker's machine does not answer, or what it sends makes no sense."""

    reason: str = RunReason.INTERRUPTED
    exit_code = Exit.TEMPORARY


class WorkersDiffer(RunFailure):
    """Two workers have read different data."""

    reason: str = RunReason.INTERRUPTED
    exit_code = Exit.TEMPORARY


class BadRun(RunFailure):
    """What the Job was given makes no sense: a mistake of the operator or of whoever runs the trainer by hand."""


class Unexpected(RunFailure):
    """Anything else; the traceback is in the log."""

    exit_code = Exit.UNEXPECTED


class Interrupted(BaseException):
    """SIGTERM came. Not an Exception, so that no library's `except Exception` swallows it."""


_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def failure_of(error: BaseException) -> RunFailure:
    """Name any exception: what the store, the disk, TensorFlow or this package raised."""
    match error:
        case RunFailure():
            return error
        case store_errors.NumberTaken():
            return NumberTaken(str(error), error.next_free)
        case store_errors.AlreadyExists():
            return AlreadyPublished(str(error))
        case store_errors.BucketNotFound():
            return BucketNotFound(str(error))
        case store_errors.AccessDenied():
            return AccessDenied(str(error))
        case store_errors.NoSpace():
            return DiskFull(str(error))
        case store_errors.StoreError(retryable=True):
            return StoreUnreachable(str(error))
        case store_errors.StoreUriError():
            return BadRun(str(error))
        case store_errors.StoreError():
            return Unexpected(str(error))
        case MemoryError():
            return OutOfMemory(_memory_sentence("the machine has no memory left"))
    text = str(error)
    if (isinstance(error, OSError) and error.errno in _DISK_FULL) or "No space left on device" in text:
        where = f" at {error.filename}" if isinstance(error, OSError) and error.filename else ""
        return DiskFull(
            f"The scratch volume is full{where}; train on fewer or smaller images (spec.training.data.imageSize), "
            "or on nodes with more ephemeral storage (spec.training.nodeSelector), where a new version goes on from "
            "this one's last checkpoint."
        )
    if type(error).__name__ == "ResourceExhaustedError":
        return OutOfMemory(_memory_sentence(_last_line(text)))
    return Unexpected(f"{type(error).__name__}: {_last_line(text)}")


def _memory_sentence(found: str) -> str:
    return (
        f"An allocation failed: {found}. Raise spec.training.resources.limits.memory, or lower "
        "spec.training.batchSize or spec.training.data.imageSize."
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
