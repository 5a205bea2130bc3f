"""Where a test begins to read the audit log, while the API server writes it."""

import json

import pytest

from tests.e2e.audit_log import AuditLog

_TIME = "2026-01-02T03:04:05.678901Z"


def line(name: str, padding: int = 0) -> bytes:
    event = {
        "user": {"username": "me"},
        "verb": "create",
        "objectRef": {"resource": "services", "namespace": "team", "name": name},
        "responseStatus": {"code": 201},
        "requestURI": "/api/v1/namespaces/team/services" + "x" * padding,
        "requestReceivedTimestamp": _TIME,
        "stageTimestamp": _TIME,
    }
    return json.dumps(event).encode() + b"\n"


@pytest.mark.parametrize("padding", [0, 1_000_000], ids=["short lines", "lines longer than a block"])
@pytest.mark.parametrize("written", [1, 100, -1], ids=["begun", "half written", "without its end"])
def test_a_line_that_is_being_written_is_read_whole(tmp_path, written: int, padding: int):
    path = tmp_path / "audit.log"
    begun = line("begun", padding)
    path.write_bytes(line("old", padding) + begun[:written])
    log = AuditLog(path)
    place = log.end()
    assert list(log.since(place)) == []
    with path.open("ab") as file:
        file.write(begun[written:] + line("new"))
    assert [request.name for request in log.since(place)] == ["begun", "new"]


def test_the_first_line_of_a_log_may_be_half_written_too(tmp_path):
    path = tmp_path / "audit.log"
    path.write_bytes(line("first")[:30])
    assert AuditLog(path).end() == 0


def test_a_rotated_log_is_no_quiet_one(tmp_path):
    path = tmp_path / "audit.log"
    path.write_bytes(line("one") * 10)
    log = AuditLog(path)
    place = log.end()
    path.write_bytes(line("one"))
    with pytest.raises(RuntimeError, match="was rotated after byte"):
        list(log.since(place))
