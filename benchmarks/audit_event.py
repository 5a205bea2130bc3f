"""What benchmarks read of one line of the API server's audit log."""

from __future__ import annotations

from datetime import datetime

import msgspec

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class User(msgspec.Struct, frozen=True):
    """Who asked."""

    username: str = ""


class ObjectRef(msgspec.Struct, frozen=True, rename="camel"):
    """What was asked about; `name` is empty where the API server made it up (`generateName`)."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Status(msgspec.Struct, frozen=True):
    """How it was answered."""

    code: int = 0


class AuditEvent(msgspec.Struct, frozen=True, rename="camel"):
    """What is used of an Event of audit.k8s.io/v1 (kubernetes.io/docs/reference/config-api/apiserver-audit.v1)."""

    request_received_timestamp: datetime
    stage_timestamp: datetime
    verb: str
    stage: str = ""
    user: User = User()
    object_ref: ObjectRef | None = None
    response_status: Status | None = None
    request_uri: str = msgspec.field(name="requestURI", default="")

    @property
    def code(self) -> int:
        """The HTTP status, 0 before there is one."""
        return self.response_status.code if self.response_status else 0


_decoder = msgspec.json.Decoder(AuditEvent)


def audit_event(line: bytes) -> AuditEvent | None:
    """A line as an event; None for one that is none, such as a last line that is still being written."""
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        return None
