"""The timeline: every step once, in order, with whose work it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.demo.audit import Write
from benchmarks.demo.gaps import OPERATOR, Gap
from benchmarks.demo.timeline import Moment, from_audit, from_gaps, from_pods, from_version, in_order, table

BEGIN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
MINE = f"{OPERATOR}keras-operator"


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def write(seconds: float, user: str, resource: str, name: str, subresource: str = "", namespace: str = "demo") -> Write:
    return Write(user, "patch", resource, subresource, namespace, name, at(seconds), at(seconds + 0.01))


def words(moments: list[Moment]) -> list[str]:
    return [moment.what for moment in moments]


def test_creations_are_the_first_writes_of_their_objects() -> None:
    found = from_audit(
        [
            write(9, MINE, "deployments", "digits"),
            write(8, MINE, "deployments", "digits"),
            write(8.1, "deployment-controller", "deployments", "digits", "status"),
            write(0, "admin", "kerasmodels", "digits"),
            write(0.1, MINE, "kerasmodels", "digits", "status"),
            write(0.2, MINE, "jobs", "digits-1-train"),
            write(0.2, MINE, "jobs", "digits-2-train"),
            write(0.1, MINE, "jobs", "digits-1-train", namespace="other"),
            write(0.1, "somebody", "jobs", "digits-1-train"),
        ],
        namespace="demo",
        model="digits",
        number=1,
    )
    assert found == [
        Moment(at(0), "KerasModel applied", "user"),
        Moment(at(0.2), "train Job created", "operator"),
        Moment(at(8), "Deployment created", "operator"),
    ]


def test_every_epoch_that_was_kept_is_a_step() -> None:
    times = {"started": at(1), "dataReady": at(2), "epoch10": at(12), "epoch2": at(4), "epoch1": at(3), "odd": at(5)}
    moments = from_version(times)
    assert words(moments) == ["trainer started", "data ready", "epoch 1", "epoch 2", "epoch 10"]
    assert {moment.by for moment in moments} == {"trainer"}


def pod(component: str, containers: list[dict[str, Any]], **status: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/component": component}
    return {"metadata": {"labels": labels}, "status": {"containerStatuses": containers, **status}}


def test_pods_tell_when_their_containers_ran_and_when_they_were_ready() -> None:
    terminated = {
        "name": "train",
        "state": {"terminated": {"startedAt": "2026-01-01T12:00:02Z", "finishedAt": "2026-01-01T12:00:07Z"}},
    }
    agent = {"name": "agent", "state": {"running": {"startedAt": "2026-01-01T12:00:09Z"}}}
    runtime = {"name": "runtime", "state": {"running": {"startedAt": "2026-01-01T12:00:10Z"}}}
    waiting = {"name": "export", "state": {"waiting": {"reason": "ContainerCreating"}}}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:11Z"}
    moments = from_pods(
        [
            pod("train", [terminated], conditions=[{**ready, "lastTransitionTime": "2026-01-01T12:00:02Z"}]),
            pod("export", [waiting]),
            pod("serving", [runtime], initContainerStatuses=[agent], conditions=[ready]),
            pod("serving", [], conditions=[{**ready, "status": "False"}]),
        ]
    )
    assert [(moment.what, moment.time) for moment in moments] == [
        ("train pod running", at(2)),
        ("train pod ended", at(7)),
        ("serving pod running", at(9)),
        ("model fetched, runtime started", at(10)),
        ("pod Ready", at(11)),
    ]
    assert not any(moment.exact for moment in moments)


def test_gaps_tell_what_the_operator_was_asked_by() -> None:
    own = [
        Gap("KerasModel applied", "train Job created", at(0), at(1)),
        Gap("train Job complete", "export Job created", at(2), at(3)),
        Gap("Deployment available", "Ready reported", at(4), at(5)),
    ]
    assert from_gaps(own) == [
        Moment(at(2), "train Job complete", "Kubernetes"),
        Moment(at(4), "Deployment available", "Kubernetes"),
        Moment(at(5), "Ready reported", "operator"),
    ]


def test_a_time_that_is_cut_to_its_second_does_not_come_before_its_cause() -> None:
    created = Moment(at(8.7), "Deployment created", "operator")
    running = Moment(at(8), "serving pod running", "Kubernetes", exact=False)
    assert words(in_order([running, created])) == ["Deployment created", "serving pod running"]
    assert in_order([running, created])[1].time == at(8.7)


def test_a_time_from_before_its_cause_s_second_is_not_bent() -> None:
    created = Moment(at(8.7), "Deployment created", "operator")
    running = Moment(at(7), "serving pod running", "Kubernetes", exact=False)
    assert words(in_order([created, running])) == ["serving pod running", "Deployment created"]


def test_a_table_has_a_line_for_each_moment() -> None:
    lines = table(
        [
            Moment(at(0), "KerasModel applied", "user"),
            Moment(at(2), "train pod running", "Kubernetes", exact=False),
            Moment(at(3.456), "data ready", "trainer"),
        ]
    ).splitlines()
    assert lines[1].split() == ["0.00", "s", "+0.00", "s", "KerasModel", "applied", "user"]
    assert lines[2].split() == ["~2.0", "s", "+2.00", "s", "train", "pod", "running", "Kubernetes"]
    assert lines[3].split() == ["3.46", "s", "+1.46", "s", "data", "ready", "trainer"]
    assert len({line.rindex(by) for line, by in zip(lines[1:], ["user", "Kubernetes", "trainer"], strict=True)}) == 1
