"""The operator's own gaps, from audit events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from benchmarks.demo.audit import Write, writes
from benchmarks.demo.errors import DemoError
from benchmarks.demo.gaps import OPERATOR, own_gaps

BEGIN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
JOBS = "system:serviceaccount:kube-system:job-controller"
DEPLOYMENTS = "system:serviceaccount:kube-system:deployment-controller"
KUBELET = "system:node:keras-node"
MINE = f"{OPERATOR}keras-operator"


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def write(
    seconds: float, user: str, what: str, name: str, *, verb: str = "patch", took: float = 0.01, namespace: str = "demo"
) -> Write:
    """A write that came in at `seconds` and was answered `took` later; `what` is `resource[/subresource]`."""
    resource, _, subresource = what.partition("/")
    return Write(user, verb, resource, subresource, namespace, name, at(seconds), at(seconds + took))


LIFE = [
    write(0.0, "admin", "kerasmodels", "digits"),
    write(0.1, MINE, "kerasmodelversions", "digits-1", verb="create"),
    write(0.2, MINE, "jobs", "digits-1-train", verb="create"),
    write(0.25, MINE, "kerasmodels/status", "digits"),
    write(0.3, JOBS, "jobs/status", "digits-1-train"),
    write(3.0, KUBELET, "pods/status", "digits-1-train-x"),
    write(9.0, MINE, "kerasmodels/status", "digits"),
    write(20.0, JOBS, "jobs/status", "digits-1-train"),
    write(21.0, JOBS, "jobs/status", "digits-1-train"),
    write(21.2, MINE, "kerasmodelversions/status", "digits-1"),
    write(21.31, MINE, "jobs", "digits-1-export", verb="create"),
    write(21.4, JOBS, "jobs/status", "digits-1-export"),
    write(30.0, JOBS, "jobs/status", "digits-1-export"),
    write(30.21, MINE, "deployments", "digits"),
    write(30.3, MINE, "services", "digits"),
    write(30.4, DEPLOYMENTS, "deployments/status", "digits"),
    write(35.0, DEPLOYMENTS, "deployments/status", "digits"),
    write(35.11, MINE, "kerasmodels/status", "digits"),
]


def gaps_of(events: list[Write], ready_seen: float = 35.2) -> dict[str, float]:
    found = own_gaps(events, namespace="demo", model="digits", number=1, ready_seen=at(ready_seen))
    return {gap.step: round(gap.seconds, 3) for gap in found}


def test_each_hand_over_is_measured_from_what_asked_to_the_answer() -> None:
    assert gaps_of(LIFE) == {
        "train Job created": 0.19,
        "export Job created": 0.3,
        "Deployment created": 0.2,
        "Ready reported": 0.1,
    }


def test_the_order_of_the_log_does_not_matter() -> None:
    assert gaps_of(list(reversed(LIFE))) == gaps_of(LIFE)


def test_a_slow_answer_is_seen_although_the_operator_wrote_something_else_meanwhile() -> None:
    slow = [
        *(one for one in LIFE if (one.resource, one.name, one.subresource) != ("jobs", "digits-1-export", "")),
        write(22.0, MINE, "kerasmodels/status", "digits"),
        write(26.01, MINE, "jobs", "digits-1-export", verb="create"),
    ]
    assert gaps_of(slow)["export Job created"] == 5.0


def test_a_slow_ready_is_measured_to_its_last_status() -> None:
    slow = [*LIFE, write(38.01, MINE, "kerasmodels/status", "digits")]
    assert gaps_of(slow, ready_seen=38.1)["Ready reported"] == 3.0


def test_writes_of_other_models_and_after_ready_do_not_count() -> None:
    others = [
        write(21.1, JOBS, "jobs/status", "digits-1-train", namespace="other"),
        write(21.1, JOBS, "jobs/status", "another-1-train"),
        write(40.0, DEPLOYMENTS, "deployments/status", "digits"),
        write(60.0, MINE, "kerasmodels/status", "digits"),
    ]
    assert gaps_of([*LIFE, *others]) == gaps_of(LIFE)


def test_an_answer_before_the_question_was_answered_is_no_negative_gap() -> None:
    early = [*LIFE, write(30.2, JOBS, "jobs/status", "digits-1-export", took=0.5)]
    assert gaps_of(early)["Deployment created"] == 0.0


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [
        (("jobs", "digits-1-export", ""), "no write of the operator for 'export Job created'"),
        (("kerasmodels", "digits", ""), "has no 'KerasModel applied' before 'train Job created'"),
        (("deployments", "digits", "status"), "has no 'Deployment available' before 'Ready reported'"),
    ],
)
def test_a_log_that_lacks_a_write_is_an_error_and_not_a_small_gap(lost: tuple[str, str, str], sentence: str) -> None:
    kept = [one for one in LIFE if (one.resource, one.name, one.subresource) != lost]
    with pytest.raises(DemoError, match=sentence):
        gaps_of(kept)


def test_a_recorded_life_of_a_model() -> None:
    """The audit log of a whole demo on a busy machine; the API server refused one of the writes in it."""
    recorded = Path(__file__).with_name("recorded-audit.jsonl").read_bytes().splitlines()
    events = writes(recorded)
    assert len(recorded) - len(events) == 1
    seen = datetime(2026, 11, 24, 0, 7, 19, 40_000, tzinfo=UTC)
    found = own_gaps(events, namespace="demo", model="digits", number=1, ready_seen=seen)
    assert [(gap.asking, gap.step, round(gap.seconds, 3)) for gap in found] == [
        ("KerasModel applied", "train Job created", 0.692),
        ("train Job complete", "export Job created", 0.025),
        ("export Job complete", "Deployment created", 0.321),
        ("Deployment available", "Ready reported", 0.049),
    ]


def event(**changes: object) -> bytes:
    return msgspec.json.encode({**RECORDED, **changes})


# One line of a dev cluster's audit log.
RECORDED: dict[str, object] = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "level": "Metadata",
    "auditID": "5f7d2f4f-93a6-4f5e-9f0a-3f0d6d6a6f10",
    "stage": "ResponseComplete",
    "requestURI": "/apis/batch/v1/namespaces/demo/jobs?fieldManager=keras-operator",
    "verb": "create",
    "user": {"username": MINE, "groups": ["system:serviceaccounts", "system:authenticated"]},
    "sourceIPs": ["198.18.64.3"],
    "userAgent": "keras-operator/0.1.0",
    "objectRef": {
        "resource": "jobs",
        "namespace": "demo",
        "name": "digits-1-train",
        "apiGroup": "batch",
        "apiVersion": "v1",
    },
    "responseStatus": {"metadata": {}, "code": 201},
    "requestReceivedTimestamp": "2026-01-01T12:00:00.200000Z",
    "stageTimestamp": "2026-01-01T12:00:00.210000Z",
    "annotations": {"authorization.k8s.io/decision": "allow"},
}


def test_an_audit_event_is_read() -> None:
    assert writes([event()]) == [write(0.2, MINE, "jobs", "digits-1-train", verb="create")]


@pytest.mark.parametrize(
    "line",
    [
        event(verb="get"),
        event(verb="watch"),
        event(responseStatus={"code": 409}),
        event(stage="RequestReceived", responseStatus=None),
        event(objectRef=None),
        event()[:-20],
        b"",
    ],
    ids=["get", "watch", "refused", "not answered yet", "no object", "half a line", "no line"],
)
def test_what_is_no_successful_write_is_left_out(line: bytes) -> None:
    assert writes([line]) == []
