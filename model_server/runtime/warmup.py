"""Warm-up records: requests stored beside a model, replayed before it counts as available.

The file is a TFRecord (https://www.tensorflow.org/tutorials/load_data/tfrecord): for each record a little-endian
length (8 bytes), a masked CRC-32C of it (4), the data, and a masked CRC-32C of the data (4).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from model_server.runtime.errors import invalid
from model_server.runtime.protobufs import prediction_log_pb2

MAX_RECORDS = 1000
_HEADER = 12
_FOOTER = 4


def warmup_path(directory: Path) -> Path:
    """Where TensorFlow Serving looks for a servable's warm-up records."""
    return directory / "assets.extra" / "tf_serving_warmup_requests"


def read_warmup(directory: Path) -> Iterator[Any]:
    """The `PredictionLog` messages of the servable in `directory`; none when it has no such file.

    The checksums are not read again: the agent has verified every byte of a published file, and CRC-32C has no fast
    implementation in the standard library. Raises ServingError for a damaged file or for more than 1,000 records.
    """
    path = warmup_path(directory)
    if not path.exists():
        return
    data = memoryview(path.read_bytes())
    position, count = 0, 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 8], "little")
        end = position + _HEADER + size
        if end + _FOOTER > len(data):
            raise invalid(f"{path} ends in the middle of record {count}: write the warm-up records again")
        count += 1
        if count > MAX_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
        try:
            yield prediction_log_pb2.PredictionLog.FromString(bytes(data[position + _HEADER : end]))
        except DecodeError as error:
            raise invalid(f"Failed to parse warmup record: {count - 1} from {path}") from error
        position = end + _FOOTER
