"""TFRecord files of a run: found under an address, fetched, unpacked, and looked through one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from keras_operator.api import RECORD_FILES, Data, ProgressStage

from model_trainer.context import Context
from model_trainer.data.files import FileKind, fetched, files_at
from model_trainer.data.listing import TRAINING_DATA
from model_trainer.data.split import Part
from model_trainer.failure import BadData
from model_trainer.tfrecord.examples import Example
from model_trainer.tfrecord.framing import framing_of, is_packed, unpack

# One of several files, as TensorFlow's libraries call them: dogs-train.tfrecord-00000-of-00010.
_SHARD = re.compile(r"-\d{5}-of-\d{5}([.]gz)?")


def is_record_file(key: str) -> bool:
    """Whether the name calls it a file of records."""
    return key.endswith(RECORD_FILES) or (_SHARD.fullmatch(key[key.rfind("-of-") - 6 :]) is not None)


RECORDS = FileKind(is_record_file, "TFRecord file", ".tfrecord or …-00000-of-00010")


@dataclass(frozen=True)
class Record:
    """One record: the `file` it is in, its key as people know it, how many there are in the file, and the part."""

    file: str
    key: str
    example: Example
    of: int
    part: Part | None


def records_of(data: Data, endpoint: str | None, context: Context) -> Iterator[Record]:
    """Every record of the data, then those of the parts that have their own uri. One file at a time is here.

    Raises:
        BadData: there are no records, or they cannot be read.
        StoreError: the store failed for longer than the context's patience, or for good.
    """
    for part, uri in ((None, data.uri), (Part.VALIDATION, data.validation_uri), (Part.TEST, data.test_uri)):
        if uri is not None:
            yield from records_at(uri, part, endpoint, context, "data" if part is None else part.name.lower())


def records_at(
    uri: str, part: Part | None, endpoint: str | None, context: Context, name: str, field: str = TRAINING_DATA
) -> Iterator[Record]:
    """Every record at `uri`, which stands in `field`; what is an archive is unpacked as `name`.

    Raises:
        BadData, StoreError: see `records_of`.
    """
    context.board.enter(ProgressStage.FETCHING, f"looking for TFRecord files under {uri}")
    files = files_at(uri, RECORDS, endpoint, context, name, field)
    found = 0
    for place, file in enumerate(files, 1):
        with fetched(file, RECORDS, context.scratch / "records.fetched", context) as path:
            plain = path
            if is_packed(path):
                plain = context.scratch / "records.plain"
                unpack(path, plain, file.address)
            framing = framing_of(plain, file.address)
            count = len(framing.offsets)
            for index, record in enumerate(framing.records()):
                if not index % 1000:
                    context.interruption.check()
                    context.board.say(f"read {index:,} of {count:,} records of file {place} of {len(files)}")
                example = Example(record, framing.where(index))
                yield Record(file.address, f"{file.key}:{index}", example, count, part)
            found += count
            if plain is not path:
                plain.unlink()
    if not found:
        what = (
            f"{files[0].address} has no record"
            if len(files) == 1
            else f"The {len(files)} files under {uri} have no record"
        )
        raise BadData(f"{what}: zero bytes. Write examples into it, or correct {field}.uri.")
