"""The API server's audit log: who asked for what, one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_BLOCK = 64 * 1024
"""Bytes looked at in one go for the end of a line, longer than most of them."""
WRITES = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True)
class Request:
    """One request that the API server has answered."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    dry_run: bool = False
    agent: str = ""
    """The client's name for itself."""
    received: datetime | None = None
    answered: datetime | None = None

    def __str__(self) -> str:
        """As one line: `patch apps/deployments default/dogs -> 200`."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {resource} {self.namespace}/{self.name} -> {self.code}"


class AuditLog:
    """Reads the log from a point on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def end(self) -> int:
        """The end of the last whole line, as a place to read from later.

        The API server may be writing one at this moment: the file then ends in the middle of it.
        """
        with self._path.open("rb") as log:
            place = log.seek(0, os.SEEK_END)
            while place > 0:
                start = max(0, place - _BLOCK)
                log.seek(start)
                newline = log.read(place - start).rfind(b"\n")
                if newline >= 0:
                    return start + newline + 1
                place = start
        return 0

    def since(self, place: int) -> Iterator[Request]:
        """Requests answered after `place`, oldest first.

        Raises:
            RuntimeError: the log was rotated since, so that what a test looks for may be in another file.
        """
        with self._path.open("rb") as log:
            if log.seek(0, os.SEEK_END) < place:
                raise RuntimeError(f"{self._path} was rotated after byte {place}: --audit-log-maxsize is too small")
            log.seek(place)
            for line in log:
                if line.endswith(b"\n"):
                    yield _request(json.loads(line))

    def writes(self, place: int, user: str) -> list[Request]:
        """What a user changed, or tried to, after `place`; a dry run changes nothing."""
        return [
            request
            for request in self.since(place)
            if request.user == user and request.verb in WRITES and not request.dry_run
        ]


def _request(record: dict[str, Any]) -> Request:
    about = record.get("objectRef", {})
    group = about.get("apiGroup", "")
    resource = about.get("resource", "")
    return Request(
        user=record["user"]["username"],
        verb=str(record["verb"]),
        resource=f"{group}/{resource}" if group else resource,
        subresource=about.get("subresource", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=int(record.get("responseStatus", {}).get("code", 0)),
        dry_run="dryRun=" in record["requestURI"],
        agent=str(record.get("userAgent", "")),
        received=datetime.fromisoformat(str(record["requestReceivedTimestamp"])),
        answered=datetime.fromisoformat(str(record["stageTimestamp"])),
    )
