import errno

import pytest
import tensorflow as tf

import model_store
from model_trainer.failure import Exit, NoImages, failure_of


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (NoImages("none"), "NoImages", Exit.PERMANENT),
        (model_store.BucketNotFound("no bucket"), "BucketNotFound", Exit.PERMANENT),
        (model_store.AccessDenied("denied"), "AccessDenied", Exit.PERMANENT),
        (model_store.AlreadyExists("there"), "AlreadyPublished", Exit.PERMANENT),
        (model_store.NumberTaken("taken", next_free=4), "NumberTaken", Exit.PERMANENT),
        (model_store.Unreachable("away"), "StoreUnreachable", Exit.TEMPORARY),
        (model_store.NoSpace("full"), "DiskFull", Exit.PERMANENT),
        (model_store.StoreUriError("bad uri"), "Unexpected", Exit.PERMANENT),
        (model_store.Corrupt("damaged"), "Unexpected", Exit.UNEXPECTED),
        (OSError(errno.ENOSPC, "No space left on device", "/scratch/x"), "DiskFull", Exit.PERMANENT),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "DiskFull", Exit.PERMANENT),
        (
            OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
            "DiskFull",
            Exit.PERMANENT,
        ),
        (tf.errors.UnknownError(None, None, "x; No space left on device"), "DiskFull", Exit.PERMANENT),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), "OutOfMemory", Exit.PERMANENT),
        (MemoryError(), "OutOfMemory", Exit.PERMANENT),
        (PermissionError(errno.EACCES, "Permission denied"), "Unexpected", Exit.UNEXPECTED),
        (KeyError("x"), "Unexpected", Exit.UNEXPECTED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_error_has_a_reason_and_an_exit_code(error: Exception, reason: str, code: Exit):
    failure = failure_of(error)
    assert (failure.reason, failure.exit_code) == (reason, code)
    assert str(failure)


def test_the_next_free_number_is_passed_on():
    assert failure_of(model_store.NumberTaken("taken", next_free=4)).next_number == 4


def test_what_is_not_known_is_told_by_its_type_and_last_line():
    assert str(failure_of(ValueError("long story\n  the point  \n\n"))) == "ValueError: the point"
    assert str(failure_of(ValueError())) == "ValueError: no message"


def test_a_full_disk_says_where_and_what_to_do():
    sentence = str(failure_of(OSError(errno.ENOSPC, "No space left on device", "/scratch/model.keras")))
    assert "full at /scratch/model.keras; train on fewer or smaller images" in sentence


@pytest.mark.parametrize(
    "error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")], ids=type
)
def test_too_little_memory_says_what_to_raise_and_what_to_lower(error: Exception):
    sentence = str(failure_of(error))
    assert sentence.startswith("An allocation failed: ")
    assert sentence.endswith(
        ". Raise spec.training.resources.limits.memory, or lower spec.training.batchSize or "
        "spec.training.data.imageSize."
    )
