"""The API server's audit log as a list of writes: who wrote what, when it came in, and when it was answered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

WRITES = {"create", "update", "patch", "delete", "deletecollection"}


class _User(msgspec.Struct, frozen=True):
    username: str = ""


class _ObjectRef(msgspec.Struct, frozen=True, rename="camel"):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class _Status(msgspec.Struct, frozen=True):
    code: int = 0


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    """What is used here of an Event of audit.k8s.io/v1 (kubernetes.io/docs/reference/config-api/apiserver-audit.v1)."""

    request_received_timestamp: datetime
    stage_timestamp: datetime
    verb: str
    stage: str = ""
    user: _User = _User()
    object_ref: _ObjectRef | None = None
    response_status: _Status | None = None


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


_decoder = msgspec.json.Decoder(_Event)


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
    try:
        event = _decoder.decode(line)
    except msgspec.DecodeError:
        return None
    code = event.response_status.code if event.response_status else 0
    if event.verb not in WRITES or event.object_ref is None or event.stage != "ResponseComplete" or code // 100 != 2:
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
