"""The API server's audit log as a list of requests: who asked for what, when it came in, and when it was answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from benchmarks.audit_event import WRITES, ObjectRef, audit_event

READS = frozenset({"get", "list"})


class Request(msgspec.Struct, frozen=True):
    """One request that was answered; `resource` is `kerasmodels/status` for a subresource."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    uri: str
    code: int
    received: datetime
    answered: datetime

    @property
    def write(self) -> bool:
        """Whether it was to change something."""
        return self.verb in WRITES

    @property
    def upkeep(self) -> bool:
        """Whether it is one that an operator at rest may send: a watch, its Lease, the audit's list of metadata."""
        audit = self.verb == "list" and not self.namespace and "fieldSelector" not in self.uri
        return audit or self.verb == "watch" or self.resource == "leases"


class AuditLog:
    """Requests of one user from a log file that grows, and may be rotated.

    Args:
        path: the log.
        user: whose requests.
    """

    def __init__(self, path: Path, user: str) -> None:
        self._path = path
        self._user = user
        # Most lines are other people's: they are not worth decoding.
        self._mark = f'"username":"{user}"'.encode()
        self._position = path.stat().st_size
        self._inode = path.stat().st_ino
        self._rest = b""

    def new(self) -> list[Request]:
        """The user's requests that were logged since the last call, in the order of their answers."""
        data = self._rest + self._read()
        lines, _, self._rest = data.rpartition(b"\n")
        found = [request for line in lines.split(b"\n") if self._mark in line and (request := self._request(line))]
        return sorted(found, key=lambda request: request.answered)

    def _read(self) -> bytes:
        data = b""
        if self._path.stat().st_ino != self._inode:
            for old in sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}")):
                if old.stat().st_ino == self._inode:
                    data += _from(old, self._position)
            self._position, self._inode = 0, self._path.stat().st_ino
        more = _from(self._path, self._position)
        self._position += len(more)
        return data + more

    def _request(self, line: bytes) -> Request | None:
        event = audit_event(line)
        if event is None or event.user.username != self._user:
            return None
        of = event.object_ref or ObjectRef()
        return Request(
            user=event.user.username,
            verb=event.verb,
            resource=f"{of.resource}/{of.subresource}" if of.subresource else of.resource,
            namespace=of.namespace,
            name=of.name,
            uri=event.request_uri,
            code=event.code,
            received=event.request_received_timestamp,
            answered=event.stage_timestamp,
        )


def _from(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        return file.read()


def counted(requests: Iterable[Request]) -> Counter[str]:
    """Requests by verb and resource, e.g. `patch deployments`."""
    return Counter(f"{request.verb} {request.resource}" for request in requests)
