import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.control_plane import bars, models
from benchmarks.control_plane.limit import Limit
from benchmarks.control_plane.requests import AuditLog, Request, counted
from benchmarks.control_plane.scale import Found
from benchmarks.figures import Measured, record

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def line(user: str, verb: str = "patch", resource: str = "deployments", uri: str = "/x", **of: str) -> bytes:
    event = {
        "requestReceivedTimestamp": NOW.isoformat(),
        "stageTimestamp": (NOW + timedelta(milliseconds=20)).isoformat(),
        "verb": verb,
        "requestURI": uri,
        "user": {"username": user},
        "objectRef": {"resource": resource, **of},
        "responseStatus": {"code": 200},
    }
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def test_only_the_users_new_requests_are_read(tmp_path):
    path = tmp_path / "audit.log"
    path.write_bytes(line("me", resource="services"))
    log = AuditLog(path, "me")
    with path.open("ab") as file:
        file.write(line("somebody") + line("me", name="a", subresource="status") + line("me")[:-20])
    (request,) = log.new()
    assert (request.resource, request.name, request.code) == ("deployments/status", "a", 200)
    with path.open("ab") as file:
        file.write(line("me")[-20:])
    assert [one.resource for one in log.new()] == ["deployments"]
    assert log.new() == []


def test_a_log_that_was_rotated_is_read_to_its_end(tmp_path):
    path = tmp_path / "audit.log"
    path.write_bytes(b"")
    log = AuditLog(path, "me")
    path.write_bytes(line("me", name="old"))
    path.rename(tmp_path / "audit-2026-01-02T03-04-05.000.log")
    path.write_bytes(line("me", name="new"))
    assert [request.name for request in log.new()] == ["old", "new"]


@pytest.mark.parametrize(
    ("verb", "resource", "uri", "upkeep"),
    [
        ("watch", "pods", "/api/v1/pods?watch=true", True),
        ("update", "leases", "/x", True),
        ("list", "pods", "/api/v1/pods?limit=500", True),
        ("list", "events", "/api/v1/events?fieldSelector=involvedObject.uid%3Du", False),
        ("get", "pods", "/x", False),
        ("patch", "deployments", "/x", False),
    ],
)
def test_upkeep_is_what_an_operator_at_rest_may_ask_for(verb, resource, uri, upkeep):
    request = Request("me", verb, resource, "", "", uri, 200, NOW, NOW)
    assert request.upkeep is upkeep
    assert counted([request]) == {f"{verb} {resource}": 1}


def test_models_beyond_a_thousand_are_spread_over_namespaces_of_a_hundred():
    assert set(models.namespaces("bench", 1000)) == {"bench"}
    spread = Counter(models.namespaces("bench", 5000))
    assert (len(spread), set(spread.values())) == (50, {100})


def test_the_bare_loop_writes_what_the_operator_plans():
    model = models.manifest("bench", "one")
    model["metadata"] |= {"uid": "u1", "creationTimestamp": "2026-01-02T03:04:05Z", "generation": 1}
    version = models.published_version(model)
    version["metadata"] |= {"uid": "u2", "creationTimestamp": "2026-01-02T03:04:05Z"}
    writes = models.Author().writes(model, version)
    assert sorted(child["kind"] for child in writes.children) == [
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "Service",
        "ServiceAccount",
    ]
    assert [status["phase"] for status in writes.statuses] == ["Deploying", "Serving"]


def found(count: int) -> Found:
    return Found(
        count,
        deployments=10.0,
        ready=26.0,
        requests=Counter({"patch deployments": count, "patch kerasmodels/status": 2 * count}),
        changes=[0.001 * number for number in range(1, 101)],
        limit=Limit(5.0, 18.0, 20.0),
    )


def test_each_bar_is_a_figure_with_its_verdict():
    figures = {figure.name: figure for figure in bars.of_scale(found(500))}
    assert figures["500 models: all Deployments exist"].bar == "<= 12"
    assert figures["500 models: API requests a model, apply to Ready"].value == 3.0
    assert figures["500 models: one change to its child, median"].value == pytest.approx(50.5)
    assert figures["500 models: one change to its child, p99"].value == pytest.approx(100.0)
    ratio = figures["500 models: operator's time to Ready against the bare loop's"]
    assert (ratio.value, ratio.bar) == (1.3, "<= 1.3")
    shown = bars.table(list(figures.values()))
    assert next(row for row in shown.splitlines() if "median" in row).endswith("MISSED")
    assert next(row for row in shown.splitlines() if "all Ready" in row).endswith("holds")


def test_figures_of_other_numbers_of_models_stay_in_the_file(tmp_path):
    path = tmp_path / "results.json"
    record(path, "here", "it", bars.of_scale(found(100)), keep_others=True)
    record(path, "here", "it", bars.of_scale(found(500)), keep_others=True)
    after = record(
        path, "here", "it", [Measured("500 models: all Deployments exist", 8.0, "s", "<= 12")], keep_others=True
    )
    figures = {figure.name: figure for figure in after.figures}
    assert figures["500 models: all Deployments exist"].runs == [10.0, 8.0]
    assert figures["100 models: all Deployments exist"].runs == [10.0]
