"""What a look brings: everything of one model, and what its own pods say, asked at a bounded rate."""

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keras_operator.api import CanaryStatus, KerasModelStatus, ProgressStage
from keras_operator.cluster.failure import ServerUnavailable
from keras_operator.cluster.reference import POD, Ref
from keras_operator.measurements import Measurements
from keras_operator.plan.observed import JobState, Measured, Model, Observed, Traffic

from tests.unit.plan.observations import model, train_result
from tests.unit.plan.test_hot import TWO
from tests.unit.plan.test_hot import pod as hot_pod
from tests.unit.reconcile.operator_run import KEY, SETTINGS, Operator, end_job, play, start_pod

PROGRESS = {"stage": "training", "epoch": 1, "epochs": 10}
URL = "http://10.0.0.7:8080/progress"
RUNNING = [{"name": "train", "state": {"running": {}}}]
AGENT = [{"name": "agent", "state": {"running": {}}}]


@pytest.fixture
async def training(operator: Operator, server: Any) -> Operator:
    """A model whose training Job was created just now."""
    await operator.look()
    await operator.look()
    return operator


def observed(operator: Operator) -> Any:
    return operator.reconcile._observer.look(KEY)


def run_pod(server: Any, **status: Any) -> None:
    job = server.body("Job", "dogs-1-train")
    start_pod(server, Ref(POD, "vision", "dogs-1-train-x"), job, **status)


async def test_a_running_pod_is_asked_how_far_it_is(training, server):
    run_pod(server, podIP="10.0.0.7", containerStatuses=RUNNING)
    server.pods_say[URL] = PROGRESS
    seen = await observed(training)
    assert (seen.progress.stage, seen.progress.epoch) == (ProgressStage.TRAINING, 1)


async def test_an_address_of_ipv6_is_put_in_brackets(training, server):
    run_pod(server, podIP="fd00::7", containerStatuses=RUNNING)
    server.pods_say["http://[fd00::7]:8080/progress"] = PROGRESS
    assert (await observed(training)).progress is not None


@pytest.mark.parametrize(
    "status",
    [
        {"containerStatuses": RUNNING},
        {"podIP": "10.0.0.7"},
        {"podIP": "10.0.0.7", "containerStatuses": [{"name": "train", "state": {"waiting": {}}}]},
    ],
    ids=["no address", "no container", "waiting"],
)
async def test_a_pod_that_does_not_run_is_not_asked(training, server, status):
    run_pod(server, **status)
    assert (await observed(training)).progress is None
    assert not [read for read in server.reads if read.startswith("ask")]


async def test_a_pod_is_asked_about_once_a_second_and_believed_in_between(training, server, clock):
    run_pod(server, podIP="10.0.0.7", containerStatuses=RUNNING)
    server.pods_say[URL] = PROGRESS
    for _ in range(3):
        assert (await observed(training)).progress is not None
    assert server.reads.count(f"ask {URL}") == 1
    clock.advance(0.9)
    await observed(training)
    assert server.reads.count(f"ask {URL}") == 2


@pytest.mark.parametrize("answer", [None, {"stage": "baking"}, {}], ids=["none", "another", "empty"])
async def test_a_pod_that_gives_no_sense_keeps_its_last_word(training, server, clock, answer):
    run_pod(server, podIP="10.0.0.7", containerStatuses=RUNNING)
    server.pods_say[URL] = PROGRESS
    await observed(training)
    clock.advance(1)
    server.pods_say.pop(URL)
    if answer is not None:
        server.pods_say[URL] = answer
    assert (await observed(training)).progress.epoch == 1


async def test_a_run_that_is_over_says_nothing_any_more(training, server):
    run_pod(server, podIP="10.0.0.7", containerStatuses=RUNNING)
    server.pods_say[URL] = PROGRESS
    server.change(server.ref("Job", "dogs-1-train"), status={"conditions": [{"type": "Failed", "status": "True"}]})
    assert (await observed(training)).progress is None


async def test_a_job_without_pods_is_explained_by_its_events_after_a_moment(training, server, clock):
    server.warnings["dogs-1-train"] = "exceeded quota: team"
    assert (await observed(training)).job_warnings == {}
    assert "events dogs-1-train" not in server.reads
    clock.advance(6)
    assert (await observed(training)).job_warnings == {"dogs-1-train": "exceeded quota: team"}
    run_pod(server)
    server.reads.clear()
    assert (await observed(training)).job_warnings == {}
    assert server.reads == []


def worker_pod(server: Any, index: int, **status: Any) -> None:
    job = server.body("Job", "dogs-1-train")
    name = f"dogs-1-train-{index}-x"
    start_pod(server, Ref(POD, "vision", name), job, **status)
    metadata = server.body("Pod", name)["metadata"]
    labels = {**metadata["labels"], "batch.kubernetes.io/job-completion-index": str(index)}
    server.change(Ref(POD, "vision", name), metadata={**metadata, "labels": labels})


async def test_of_two_workers_the_first_is_asked_and_one_that_is_missing_is_explained(training, server, clock):
    job = server.body("Job", "dogs-1-train")
    indexed = {**job["spec"], "completionMode": "Indexed", "completions": 2}
    server.change(server.ref("Job", "dogs-1-train"), spec=indexed)
    server.warnings["dogs-1-train"] = "exceeded quota: team"
    server.pods_say[URL] = PROGRESS
    worker_pod(server, 0, podIP="10.0.0.7", containerStatuses=RUNNING)
    clock.advance(6)
    assert (await observed(training)).job_warnings == {"dogs-1-train": "exceeded quota: team"}
    worker_pod(server, 1, podIP="10.0.0.8", containerStatuses=RUNNING)
    seen = await observed(training)
    assert (seen.job_warnings, seen.progress.epoch) == ({}, 1)
    assert not [read for read in server.reads if "10.0.0.8" in read]


async def test_a_job_with_calm_events_has_no_warning(training, clock):
    clock.advance(6)
    assert (await observed(training)).job_warnings == {}


@pytest.fixture
async def rolling_out(serving: Operator, server: Any) -> Operator:
    """An operator whose model gets a second pod that is not ready."""
    pod(server)
    return serving


def pod(server: Any, name: str = "new", containers: Any = None, **status: Any) -> None:
    deployment = server.body("Deployment")
    told = {"podIP": "10.0.0.8", "containerStatuses": containers or AGENT} | status
    start_pod(server, Ref(POD, "vision", name), deployment, **told)


STATUS = "http://10.0.0.8:8502/status"
FETCHED = datetime(2026, 3, 1, 12, 0, 1, 500_000, tzinfo=UTC)
TROUBLE = {"error": {"reason": "Corrupt", "message": "a file differs"}}


async def test_an_agent_that_is_not_ready_is_asked_why(rolling_out, server):
    server.pods_say[STATUS] = TROUBLE
    (trouble,) = (await observed(rolling_out)).agent_troubles
    assert (trouble.pod, trouble.reason, trouble.message) == ("new", "Corrupt", "a file differs")


@pytest.mark.parametrize("answer", [{}, {"error": None}, {"error": "no"}])
async def test_an_agent_without_trouble_has_none(rolling_out, server, answer):
    server.pods_say[STATUS] = answer
    assert (await observed(rolling_out)).agent_troubles == ()


@pytest.mark.parametrize(
    ("answer", "fetching", "fetched"),
    [
        ({"phase": "Fetching", "times": {"started": "2026-03-01T12:00:00.000Z"}}, True, None),
        ({"phase": "Loading", "times": {"fetched": "2026-03-01T12:00:01.500Z"}}, False, FETCHED),
        ({"phase": 1, "times": 1}, False, None),
        ({"phase": "Fetching", "times": {"fetched": "2026-03-01T12:00:01.500"}}, True, None),
        ({"phase": "Fetching", "times": {"fetched": [1]}}, True, None),
    ],
)
async def test_an_agent_says_whether_it_fetches_and_since_when_there_is_something_to_load(
    rolling_out, server, answer, fetching, fetched
):
    server.pods_say[STATUS] = answer
    report = (await observed(rolling_out)).agent_reports["new"]
    assert (report.fetching, report.fetched) == (fetching, fetched)


async def test_trouble_that_is_over_is_forgotten(rolling_out, server, clock):
    server.pods_say[STATUS] = TROUBLE
    await observed(rolling_out)
    clock.advance(1)
    server.pods_say[STATUS] = {"error": None}
    assert (await observed(rolling_out)).agent_troubles == ()


NOT_ASKED: dict[str, dict[str, Any]] = {
    "ready": {"conditions": [{"type": "Ready", "status": "True"}]},
    "no address": {"podIP": ""},
    "no agent": {"containers": [{"name": "runtime", "state": {"running": {}}}]},
    "an agent that does not run": {"containers": [{"name": "agent", "state": {"waiting": {}}}]},
}


@pytest.mark.parametrize("told", NOT_ASKED.values(), ids=NOT_ASKED.keys())
async def test_other_agents_are_not_asked(serving, server, told):
    pod(server, **told)
    await observed(serving)
    assert server.reads == []


async def test_only_what_belongs_to_this_very_model_is_seen(serving, server, clock):
    foreign = server.body("KerasModelVersion", "dogs-1")
    foreign["spec"]["number"] = 7
    foreign["metadata"]["ownerReferences"][0]["uid"] = "uid-of-a-namesake"
    server.put(server.ref("KerasModelVersion", "dogs-7"), foreign)
    job = server.body("Job", "dogs-1-train")
    job["metadata"]["ownerReferences"][0]["uid"] = "uid-of-its-version"
    server.put(server.ref("Job", "dogs-7-train"), job)
    seen = await observed(serving)
    assert [version.number for version in seen.versions] == [1]
    assert seen.foreign_numbers == {7}
    assert sorted(one.identity.name for one in seen.jobs) == ["dogs-1-export", "dogs-1-train"]
    assert set(seen.children) == {"ServiceAccount", "Service", "NetworkPolicy", "Deployment"}
    service = server.body("Service")
    service["metadata"]["ownerReferences"][0]["uid"] = "uid-of-a-namesake"
    server.put(server.ref("Service", "dogs"), service)
    assert "Service" not in (await observed(serving)).children


async def test_what_shows_trainings_is_seen_apart_from_what_serves(serving, server, clock):
    body = server.body("Service")
    body["metadata"] |= {"name": "dogs-tensorboard", "uid": "uid-of-the-board"}
    server.put(server.ref("Service", "dogs-tensorboard"), body)
    seen = await observed(serving)
    assert {kind: one.identity.name for kind, one in seen.board.items()} == {"Service": "dogs-tensorboard"}
    assert seen.children["Service"].identity.name == "dogs"


async def test_what_workers_find_each_other_by_is_seen_apart(serving, server, clock):
    body = server.body("Service")
    body["metadata"] |= {"name": "dogs-workers"}
    server.put(server.ref("Service", "dogs-workers"), body)
    seen = await observed(serving)
    assert seen.workers_service is not None
    assert seen.workers_service.identity.name == "dogs-workers"
    assert seen.children["Service"].identity.name == "dogs"


async def test_a_model_that_is_not_known_has_nothing(server, clock):
    operator = Operator(server, clock, SETTINGS)
    seen = await operator.reconcile._observer.look(("vision", "cats"))
    assert seen.model is None
    assert seen.versions == ()


async def test_answers_of_many_pods_are_not_kept_forever(training, server, monkeypatch):
    monkeypatch.setattr("keras_operator.pod_answers._REMEMBERED_PODS", 1)
    play(server)
    run_pod(server, podIP="10.0.0.7", containerStatuses=RUNNING)
    server.pods_say[URL] = PROGRESS
    await observed(training)
    answers = training.reconcile._observer._pods._answers
    answers["another"] = (0.0, None)
    answers.move_to_end("another", last=False)
    clock = training.reconcile._clock
    clock.advance(1)
    await observed(training)
    assert len(answers) == 1


async def test_a_result_is_waited_for_on_this_operators_own_clock(training, server, clock):
    """The Job's end has the time of another machine, whose clock is minutes behind, and comes before its pod's end."""
    run_pod(server)
    told, server.watch = server.watch, lambda kind, *event: None if kind == POD else told(kind, *event)
    clock.advance(300)
    end_job(server, "dogs-1-train", train_result())
    await training.look()
    assert server.body("KerasModelVersion", "dogs-1")["status"]["phase"] == "Training"
    assert not [read for read in server.reads if read.startswith("list")]


async def test_a_pod_whose_end_is_not_seen_is_read_before_its_result_counts_as_lost(training, server, clock):
    run_pod(server)
    told, server.watch = server.watch, lambda kind, *event: None if kind == POD else told(kind, *event)
    end_job(server, "dogs-1-train", train_result())
    await training.look()
    clock.advance(10)
    await training.look()
    assert [read for read in server.reads if read.startswith("list")] == [
        f"list Pod of {server.body('Job', 'dogs-1-train')['metadata']['uid']}"
    ]
    assert server.body("KerasModelVersion", "dogs-1")["status"]["metrics"] == {"accuracy": "0.91", "loss": "0.3"}


async def test_a_teams_own_container_is_not_asked_for_progress(training, server):
    own = {"name": "own", "state": {"running": {}}}
    run_pod(server, podIP="10.0.0.7", initContainerStatuses=[own], containerStatuses=[{"name": "train"}])
    server.pods_say[URL] = PROGRESS
    assert (await observed(training)).progress is None


async def test_the_end_of_what_came_before_a_training_is_not_taken_for_its_end(training, server, clock):
    """Ours and the team's have ended well, and of the last container only the Job's end tells that it did."""
    before = [{"name": name, "state": {"terminated": {"exitCode": 0}}} for name in ("prepare", "own")]
    run_pod(server, podIP="10.0.0.7", initContainerStatuses=before, containerStatuses=[{"name": "train"}])
    told, server.watch = server.watch, lambda kind, *event: None if kind == POD else told(kind, *event)
    end_job(server, "dogs-1-train", train_result())
    for _ in range(5):
        clock.advance(3)
        await training.look()
    assert [read for read in server.reads if read.startswith("list")] != []
    assert server.body("KerasModelVersion", "dogs-1")["status"]["metrics"] == {"accuracy": "0.91", "loss": "0.3"}


async def test_while_the_pod_cannot_be_read_its_result_does_not_count_as_lost(training, server, clock):
    run_pod(server)
    told, server.watch = server.watch, lambda kind, *event: None if kind == POD else told(kind, *event)
    end_job(server, "dogs-1-train", train_result())
    await training.look()

    def unwell(request: str) -> None:
        if request.startswith("list"):
            raise ServerUnavailable(503, "Unavailable", "not now")

    server.before = unwell
    for _ in range(40):
        clock.advance(1)
        with contextlib.suppress(ServerUnavailable):
            await training.look()
    assert server.body("KerasModelVersion", "dogs-1")["status"]["phase"] == "Training"


async def test_what_came_while_a_pod_was_asked_is_seen(training, server):
    """An answer may take half a minute; a decision must not be about the world from before it."""
    run_pod(server, podIP="10.0.0.7", containerStatuses=RUNNING)
    server.pods_say[URL] = PROGRESS
    ask = server.http_json

    async def slow(url: str) -> object:
        end_job(server, "dogs-1-train", train_result())
        return await ask(url)

    server.http_json = slow
    seen = await observed(training)
    assert [job.state for job in seen.jobs] == [JobState.COMPLETE]
    assert [one.exit_code for pod in seen.pods for one in pod.containers] == [0]


async def test_a_result_that_is_recorded_is_not_read_again(serving, server, clock):
    server.drop(Ref(POD, "vision", "dogs-1-train-x"))
    for _ in range(3):
        clock.advance(60)
        await serving.look()
    assert server.reads == []


TRAFFIC_URL = "http://10.0.0.1:8502/traffic/60"
TRAFFIC = {"seconds": 60.0, "requests": 9, "errors": 1, "latency": [[10.0, 4], [None, 8]], "classes": {"beagle": 3}}


def watched(clock: Any, **changes: Any) -> Model:
    """A model whose canary's step began a minute ago."""
    canary = CanaryStatus(**({"version": 2, "since": clock.now() - timedelta(minutes=1)} | changes))
    return model(TWO, KerasModelStatus(canary=canary))


async def test_while_a_canary_is_watched_pods_are_asked_what_they_answered_since(operator, server, clock):
    server.pods_say[TRAFFIC_URL] = TRAFFIC
    ask = operator.reconcile._observer._pods.traffic
    pods = (hot_pod("a", 2), hot_pod("b", 1, ready=False))
    found = await ask(watched(clock), pods)
    assert found == {"a": Traffic(9, 1, ((10.0, 4), (float("inf"), 8)), {"beagle": 3})}
    assert await ask(watched(clock), pods) == found
    assert server.reads == [f"ask {TRAFFIC_URL}"], "within some seconds the last answer counts"
    server.pods_say[TRAFFIC_URL] = TRAFFIC | {"requests": 3}
    swapped = await ask(watched(clock), (hot_pod("a", 1), pods[1]))
    assert swapped["a"].requests == 3, "and not what it answered with another version"
    clock.advance(5)
    del server.pods_say[TRAFFIC_URL]
    assert await ask(watched(clock), pods) == {}, "an old answer is of a shorter time"


async def test_an_agent_of_an_older_release_does_not_count_classes(operator, server, clock):
    server.pods_say[TRAFFIC_URL] = {name: value for name, value in TRAFFIC.items() if name != "classes"}
    found = await operator.reconcile._observer._pods.traffic(watched(clock), (hot_pod("a", 2),))
    assert found == {"a": Traffic(9, 1, ((10.0, 4), (float("inf"), 8)))}


@pytest.mark.parametrize("changes", [{"since": None}, {"refused": "it was slow"}], ids=["not begun", "taken back"])
async def test_nobody_is_asked_where_no_canary_is_watched(operator, server, clock, changes):
    assert await operator.reconcile._observer._pods.traffic(watched(clock, **changes), (hot_pod("a", 2),)) == {}
    assert server.reads == []


@pytest.mark.parametrize("url", [None, "http://prometheus:9090"])
async def test_what_prometheus_says_is_seen_and_planning_knows_whether_it_can_be_asked(server, clock, monkeypatch, url):
    async def says(_: Measurements, about: Observed) -> dict[str, Measured]:
        assert about.model is not None
        return {"errors": Measured(0.1)}

    monkeypatch.setattr(Measurements, "of", says)
    operator = Operator(server, clock, dataclasses.replace(SETTINGS, prometheus_url=url))
    assert (await observed(operator)).measured == {"errors": Measured(0.1)}
    assert operator.reconcile._installation.prometheus == (url is not None)
