"""A reconcile writes what differs, once, and says so."""

import logging

import pytest
from keras_operator.api import Autoscaling, Resources
from keras_operator.cluster.failure import Conflict, Invalid, ServerUnavailable, TimedOut
from keras_operator.cluster.reference import JOB, POD, Ref
from keras_operator.kinds import VERSION

from tests.unit.plan.observations import brought, trained
from tests.unit.reconcile.memory_api_server import MemoryApiServer
from tests.unit.reconcile.operator_run import (
    MODEL_REF,
    Operator,
    condition,
    live,
    put_model,
    roll_out,
    status,
)


async def test_a_new_model_gets_its_address_and_its_first_version(operator, server):
    assert await operator.look() == 0.0
    assert sorted(server.writes[:-1]) == [
        "apply NetworkPolicy dogs",
        "apply Service dogs",
        "apply ServiceAccount dogs",
        "create KerasModelVersion dogs-1",
    ]
    assert server.writes[-1] == "status KerasModel dogs"
    assert status(server)["message"] == "a new version is being created"


async def test_a_model_comes_to_serve_with_one_job_for_each_stage(operator, server, clock):
    await live(operator, server, clock)
    assert status(server)["message"] == "version 1 serves on 1/1 pods"
    assert server.names("Job") == ["dogs-1-export", "dogs-1-train"]
    assert [write for write in server.writes if write.startswith("create")] == [
        "create KerasModelVersion dogs-1",
        "create Job dogs-1-train",
        "create Job dogs-1-export",
    ]
    assert server.writes.count("apply Deployment dogs") == 1


async def test_the_versions_status_is_written_before_the_models(operator, server):
    await operator.look()
    server.writes.clear()
    await operator.look()
    assert server.writes == ["create Job dogs-1-train", "status KerasModelVersion dogs-1", "status KerasModel dogs"]


async def test_a_version_is_said_to_be_published_before_it_serves(operator, server, clock):
    """Should that be lost, a gate that is raised in the same moment would reject a version that serves."""
    phases = []

    def look(request):
        if request == "apply Deployment dogs":
            phases.append(server.body("KerasModelVersion", "dogs-1")["status"]["phase"])

    server.before = look
    await live(operator, server, clock)
    assert phases == ["Published"]


CHILDREN = ("ServiceAccount", "NetworkPolicy", "Deployment", "Service")


def lose_all(server: MemoryApiServer) -> None:
    for kind in CHILDREN:
        server.drop(server.ref(kind, "dogs"))


async def test_pods_are_on_their_way_before_what_leads_to_them(serving, server):
    lose_all(server)
    assert await serving.look() == 0.0, "the model goes to the end of the queue, behind others' pods"
    assert server.writes[0] == "apply ServiceAccount dogs"
    assert sorted(server.writes[1:]) == ["apply Deployment dogs", "apply NetworkPolicy dogs"]
    server.writes.clear()
    await serving.look()
    assert server.writes == ["apply Service dogs", "status KerasModel dogs"]


async def test_what_leads_to_pods_does_not_wait_for_pods_that_are_refused(serving, server):
    lose_all(server)

    def refuse(request):
        if request == "apply Deployment dogs":
            raise Invalid(422, "Invalid", "spec.replicas: no")

    server.before = refuse
    assert await serving.look() != 0.0
    assert "apply Service dogs" in server.writes
    assert "spec.replicas: no" in status(server)["message"]


async def test_at_rest_nothing_is_asked_and_nothing_written(serving, server):
    assert await serving.look() is None
    assert (server.writes, server.reads) == ([], [])


async def test_an_operator_that_is_restarted_at_rest_asks_and_writes_nothing(serving, server, clock):
    assert await Operator(server, clock).look() is None
    assert (server.writes, server.reads) == ([], [])


async def test_a_version_that_is_seen_to_go_before_its_model_is_not_made_anew(serving, server):
    tell, server.watch = server.watch, lambda *_: None
    server.drop(server.ref("KerasModel", "dogs"))
    server.watch = tell
    server.drop(server.ref("KerasModelVersion", "dogs-1"))
    assert await serving.look() != 0.0
    assert [write for write in server.writes if write.startswith("create")] == []


async def test_what_was_written_is_known_before_any_watch_tells_of_it(operator, server):
    server.watch = lambda *_: None
    for _ in range(4):
        await operator.look()
    assert sorted(server.writes[:3]) == ["apply NetworkPolicy dogs", "apply Service dogs", "apply ServiceAccount dogs"]
    assert server.writes[3:] == [
        "create KerasModelVersion dogs-1",
        "status KerasModel dogs",
        "create Job dogs-1-train",
        "status KerasModelVersion dogs-1",
        "status KerasModel dogs",
        "status KerasModelVersion dogs-1",
    ]


async def test_a_serving_change_applies_the_deployment_and_nothing_else(serving, server, clock):
    put_model(server, trained(replicas=2))
    await serving.look()
    assert sorted(server.writes) == [
        "apply Deployment dogs",
        "apply PodDisruptionBudget dogs",
        "status KerasModel dogs",
    ]
    await live(serving, server, clock)
    assert status(server)["message"] == "version 1 serves on 2/2 pods"
    assert server.names("Job") == ["dogs-1-export", "dogs-1-train"]


async def test_a_deployment_that_was_changed_just_now_is_not_called_ready(serving, server):
    """kubectl wait and GitOps tools trust Ready of the newest observedGeneration."""
    put_model(server, trained(serving_resources=Resources(requests={"cpu": "1"})))
    assert await serving.look() == 30.0
    ready = condition(server, "Ready")
    assert ready is not None
    assert (status(server)["observedGeneration"], ready["status"]) == (2, "False")
    assert status(server)["phase"] == "Deploying"
    roll_out(server)
    await serving.look()
    assert status(server)["phase"] == "Serving"


async def test_a_field_that_somebody_changed_is_put_right(serving, server):
    spec = server.body("Deployment")["spec"]
    spec["template"]["spec"]["containers"][0]["image"] = "evil:1"
    server.change(server.ref("Deployment", "dogs"), spec=spec)
    await serving.look()
    assert server.writes[0] == "apply Deployment dogs"
    assert server.body("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"] == "server:1"


async def test_what_others_add_is_left_alone(serving, server, clock):
    body = server.body("Deployment")
    body["spec"]["template"]["spec"]["containers"].append({"name": "proxy", "image": "envoy"})
    body["metadata"]["labels"]["team"] = "vision"
    server.put(server.ref("Deployment", "dogs"), body)
    roll_out(server)
    await live(serving, server, clock)
    assert "apply Deployment dogs" not in server.writes
    put_model(server, trained(replicas=3))
    await serving.look()
    after = server.body("Deployment")
    assert [one["name"] for one in after["spec"]["template"]["spec"]["containers"]] == ["runtime", "proxy"]
    assert after["metadata"]["labels"]["team"] == "vision"


async def test_something_that_changes_manifests_on_their_way_in_is_not_fought(operator, server, clock):
    def rewrite(manifest):
        if manifest["kind"] == "Service":
            manifest["spec"]["type"] = "NodePort"

    server.admit = rewrite
    await live(operator, server, clock)
    assert server.writes.count("apply Service dogs") == 1


async def test_a_child_that_somebody_deletes_is_made_again(serving, server):
    server.drop(server.ref("Service", "dogs"))
    await serving.look()
    assert server.writes == ["apply Service dogs"]


async def test_a_child_that_is_on_its_way_out_is_waited_for(serving, server):
    going = server.body("Service")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    going["spec"]["ports"] = []
    server.put(server.ref("Service", "dogs"), going)
    await serving.look()
    assert server.writes == []


async def test_a_spec_that_cannot_be_used_is_a_sentence_and_nothing_else_happens(serving, server):
    server.change(MODEL_REF, spec={"store": {"uri": "s3://models/dogs"}})
    assert await serving.look() is None
    assert server.writes == ["status KerasModel dogs"]
    assert status(server)["message"].startswith("the spec cannot be used: spec: training or source is missing")
    assert server.told == [("InvalidSpec", status(server)["message"], True)]


async def test_a_model_that_is_gone_is_forgotten(serving, server):
    server.drop(MODEL_REF)
    assert await serving.look() is None
    assert server.writes == []
    server.collect_garbage()
    assert server.objects == {}
    assert await serving.look() is None


async def test_a_model_that_is_on_its_way_out_is_left_alone(serving, server):
    server.change(
        MODEL_REF, metadata=server.objects[MODEL_REF]["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    )
    server.drop(server.ref("Deployment", "dogs"))
    assert await serving.look() is None
    assert server.writes == []


async def test_a_model_that_was_deleted_since_it_was_seen_makes_no_fuss(operator, server):
    server.watch = lambda *_: None
    server.drop(MODEL_REF)
    await operator.look()
    assert server.told == []


async def test_a_namesake_made_since_gets_no_status_of_the_old_one(operator, server):
    server.watch = lambda *_: None
    server.drop(MODEL_REF)
    put_model(server, brought())
    with pytest.raises(Exception, match="uid mismatch"):
        await operator.look()
    assert status(server) == {}


@pytest.mark.parametrize("kind", ["KerasModel", "KerasModelVersion"])
async def test_a_status_is_written_onto_the_state_that_was_seen_only(operator, server, kind):
    """Otherwise a write that was long on its way would undo what was said since: metrics, or that it is published."""
    await operator.look()
    server.watch = lambda *_: None
    ref = server.ref(kind, "dogs" if kind == "KerasModel" else "dogs-1")
    metadata = server.objects[ref]["metadata"]
    server.change(ref, metadata=metadata | {"labels": metadata.get("labels", {}) | {"team": "vision"}})
    before = server.objects[ref]
    with pytest.raises(Conflict):
        await operator.look()
    assert server.objects[ref] == before
    await operator.look()
    assert server.objects[ref]["status"] != before.get("status"), "the watch is silent, and the state found is known"


async def test_what_a_deleted_namesake_left_is_neither_used_nor_counted(serving, server, clock):
    """Deleted and applied again before the garbage collector came by."""
    server.drop(MODEL_REF)
    put_model(server, trained())
    await serving.look()
    assert status(server)["servingVersion"] == 1, "its pods still answer"
    assert status(server)["message"].startswith("Deployment dogs exists in namespace vision") is False
    assert server.names("KerasModelVersion") == ["dogs-1", "dogs-2"]
    server.collect_garbage()
    await live(serving, server, clock)
    assert (status(server)["phase"], status(server)["servingVersion"]) == ("Serving", 2)


async def test_transitions_are_told_as_events(operator, server, clock):
    await live(operator, server, clock)
    assert [reason for reason, _, _ in server.told] == ["Pending", "Training", "Exporting", "Deploying", "Serving"]
    assert server.told[-1] == ("Serving", "version 1 serves on 1/1 pods", False)


async def test_an_event_that_cannot_be_written_is_no_failure(operator, server, caplog):
    def unwell(request):
        if request.startswith("event"):
            raise ServerUnavailable(503, "Unavailable", "not now")

    server.before = unwell
    with caplog.at_level(logging.WARNING):
        assert await operator.look() == 0.0
    assert "Event Pending about KerasModel vision/dogs was not written: not now" in caplog.text


async def test_the_autoscaler_is_removed_by_its_uid(serving, server, clock):
    cpu = Resources(requests={"cpu": "1"})
    put_model(server, trained(autoscaling=Autoscaling(min_replicas=2), serving_resources=cpu))
    await live(serving, server, clock)
    assert server.names("HorizontalPodAutoscaler") == ["dogs"]
    put_model(server, trained(replicas=1, serving_resources=cpu))
    await live(serving, server, clock)
    assert server.names("HorizontalPodAutoscaler") == []
    assert server.names("PodDisruptionBudget") == []
    assert server.body("Deployment")["spec"]["replicas"] == 1


async def test_models_are_counted_by_phase(operator, server, clock):
    def count(phase: str) -> object:
        return operator.metrics.registry.get_sample_value("keras_operator_models", {"phase": phase})

    await operator.look()
    assert count(status(server)["phase"]) == 1
    await live(operator, server, clock)
    assert (count("Serving"), count("Training")) == (1, 0)
    server.drop(MODEL_REF)
    await operator.look()
    assert count("Serving") == 0


async def test_a_job_that_was_created_by_a_lost_answer_is_taken_as_it_is(operator, server):
    await operator.look()
    server.watch = lambda *_: None

    def lose(request):
        if request == "create Job dogs-1-train":
            raise ServerUnavailable(0, "Unreachable", "connection reset")

    server.after = lose
    with pytest.raises(ServerUnavailable):
        await operator.look()
    server.after = lambda _: None
    assert await operator.look() == 2.0
    assert await operator.look() == 1.0
    assert server.writes.count("create Job dogs-1-train") == 1


async def test_a_version_whose_creation_was_not_answered_keeps_its_number(operator, server):
    """Numbers may be free again meanwhile: the version that was perhaps made would be newer than its successor."""
    await operator.look()
    made = server.body("KerasModelVersion", "dogs-1")
    server.drop(server.ref("KerasModelVersion", "dogs-1"))
    owner = made["metadata"]["ownerReferences"][0] | {"uid": "a-deleted-namesake"}
    metadata = {"labels": made["metadata"]["labels"], "ownerReferences": [owner]}
    server.put(Ref(VERSION, "vision", "dogs-3"), {"metadata": metadata, "spec": made["spec"] | {"number": 3}})

    def lose(request):
        if request == "create KerasModelVersion dogs-4":
            raise TimedOut(0, "TimedOut", "no answer")

    told, server.watch = server.watch, lambda *_: None
    server.after = lose
    with pytest.raises(TimedOut):
        await operator.look()
    server.after = lambda _: None
    told(VERSION, "DELETED", server.body("KerasModelVersion", "dogs-3"))
    await operator.look()
    assert [read for read in server.reads if "KerasModelVersion" in read] == ["get KerasModelVersion dogs-4"]
    assert [write for write in server.writes if "create KerasModelVersion" in write] == [
        "create KerasModelVersion dogs-1",
        "create KerasModelVersion dogs-4",
    ]


async def test_a_number_is_not_used_again_although_no_status_tells_of_it(operator, server):

    def refuse(request):
        if request == "status KerasModel dogs":
            raise ServerUnavailable(503, "ServiceUnavailable", "not now")

    server.before = refuse
    for _ in range(2):
        with pytest.raises(ServerUnavailable):
            await operator.look()
    server.drop(server.ref("KerasModelVersion", "dogs-1"))
    with pytest.raises(ServerUnavailable):
        await operator.look()
    assert server.names("KerasModelVersion") == ["dogs-2"]


async def test_a_status_is_not_written_onto_a_state_that_nobody_looked_at(operator, server):
    """Between the look and the write of the status, an older request of this operator arrives."""
    await operator.look()
    version = server.ref("KerasModelVersion", "dogs-1")

    def measured_meanwhile(request):
        if request == "create Job dogs-1-train":
            body = server.body("KerasModelVersion", "dogs-1")
            server.put(version, body | {"status": {"phase": "Exporting", "metrics": {"accuracy": "0.9"}}})

    server.after = measured_meanwhile
    with pytest.raises(Conflict):
        await operator.look()
    assert server.body("KerasModelVersion", "dogs-1")["status"]["metrics"] == {"accuracy": "0.9"}


async def test_a_job_whose_labels_are_gone_does_not_keep_the_operator_busy(operator, server):
    await operator.look()
    await operator.look()
    body = server.body("Job", "dogs-1-train")
    server.watch(JOB, "DELETED", body)
    server.watch = lambda *_: None
    body["metadata"]["labels"] = {}
    server.put(Ref(JOB, "vision", "dogs-1-train"), body)
    assert await operator.look() == 2.0
    assert await operator.look() == 2.0
    assert server.names("Job") == ["dogs-1-train"]


async def test_pods_of_no_job_of_this_model_do_not_matter(serving, server):
    labels = {"keras-operator.dev/model": "dogs", "app.kubernetes.io/component": "train"}
    server.put(Ref(POD, "vision", "stray"), {"metadata": {"labels": labels}, "spec": {}, "status": {}})
    await serving.look()
    assert server.writes == []
