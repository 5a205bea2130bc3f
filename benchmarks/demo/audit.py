"""The API server's audit log as a list of writes: who wrote what, when it came in, and when it was answered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from benchmarks.audit_event import WRITES, audit_event


class Write(msgspec.Struct, frozen=True):
    """A write that succeeded. `name` is empty where the API server made it up (`generateName`)."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    received: datetime
    answered: datetime


def writes(lines: Iterable[bytes]) -> list[Write]:
    """The successful writes among audit events, in the order in which they were answered.

    A line that is no event, such as a last line that is still being written, is left out.
    """
    found = [write for line in lines if (write := _write(line))]
    return sorted(found, key=lambda write: write.answered)


def read_writes(path: Path, begin: int) -> list[Write]:
    """The writes that were logged after the first `begin` bytes; all of them if the log was rotated since."""
    with path.open("rb") as file:
        if path.stat().st_size >= begin:
            file.seek(begin)
        return writes(file)


def _write(line: bytes) -> Write | None:
    event = audit_event(line)
    if event is None or event.verb not in WRITES or event.object_ref is None:
        return None
    if event.stage != "ResponseComplete" or event.code // 100 != 2:
        return None
    of = event.object_ref
    return Write(
        event.user.username,
        event.verb,
        of.resource,
        of.subresource,
        of.namespace,
        of.name,
        event.request_received_timestamp,
        event.stage_timestamp,
    )
