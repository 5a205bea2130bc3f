"""What the API server will not take becomes a sentence and is tried again; what is somebody else's is never touched."""

import dataclasses
from collections.abc import Callable

import pytest
from keras_operator.cluster.failure import (
    ApiFailure,
    Conflict,
    Forbidden,
    Invalid,
    ServerUnavailable,
    TimedOut,
    TooManyRequests,
)
from keras_operator.cluster.reference import JOB, Ref
from keras_operator.kinds import VERSION

from tests.unit.plan.observations import trained
from tests.unit.reconcile.memory_api_server import MemoryApiServer
from tests.unit.reconcile.operator_run import SETTINGS, Operator, condition, live, put_model, status


def refusing(what: str, failure: ApiFailure) -> Callable[[str], None]:
    def before(request: str) -> None:
        if request == what:
            raise failure

    return before


REFUSALS = {
    "a quota": (
        "apply Service dogs",
        Forbidden(403, "Forbidden", "exceeded quota: team, limited: services=1"),
        (
            "Service dogs was refused by the API server: it would exceed ResourceQuota team (limited: services=1); "
            "raise it, or ask for less"
        ),
    ),
    "a policy": (
        "create KerasModelVersion dogs-1",
        Invalid(422, "Invalid", "no versions here"),
        (
            "KerasModelVersion dogs-1 was refused by the API server: no versions here; ask who owns the namespace's "
            "policies"
        ),
    ),
    "no right to look whose it is": (
        "get ServiceAccount dogs",
        Forbidden(403, "Forbidden", 'User "operator" cannot get serviceaccounts'),
        (
            'ServiceAccount dogs was refused by the API server: User "operator" cannot get serviceaccounts; give the '
            "operator the rights of manifests/base/cluster-role.yaml"
        ),
    ),
}


def put_what_is_asked_about(server: MemoryApiServer, what: str) -> None:
    """The operator looks whose an object is only where one is in its way."""
    verb, kind, name = what.split()
    if verb == "get":
        server.put(server.ref(kind, name), {"spec": {"ports": []}})


@pytest.mark.parametrize(("what", "failure", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_refusal_is_a_sentence_and_everything_else_goes_on(operator, server, what, failure, sentence):
    put_what_is_asked_about(server, what)
    server.before = refusing(what, failure)
    for _ in range(3):
        again = await operator.look()
    assert 0 < again <= 15.0
    stalled = condition(server, "Stalled")
    assert stalled is not None
    assert (stalled["reason"], stalled["message"]) == ("ChildRefused", sentence)
    assert [told for told in server.told if told[2]] == [("ChildRefused", sentence, True)]
    others = {"apply NetworkPolicy dogs", "apply Service dogs", "apply ServiceAccount dogs"} - {
        what.replace("get", "apply")
    }
    assert others <= set(server.writes)


async def test_a_refusal_is_over_when_it_is_taken_back(operator, server, clock):
    server.before = refusing("apply Service dogs", Forbidden(403, "Forbidden", "no"))
    await operator.look()
    server.before = lambda _: None
    await live(operator, server, clock)
    assert status(server)["phase"] == "Serving"
    assert condition(server, "Stalled") is None


async def test_a_refused_version_is_asked_for_with_the_same_number(operator, server, clock):
    server.before = refusing("create KerasModelVersion dogs-1", Forbidden(403, "Forbidden", "no"))
    for _ in range(3):
        await operator.look()
    server.before = lambda _: None
    await live(operator, server, clock)
    assert server.names("KerasModelVersion") == ["dogs-1"]


async def test_a_refusal_that_stays_is_written_once(operator, server):
    server.before = refusing("apply Service dogs", Forbidden(403, "Forbidden", "no"))
    await operator.look()
    await operator.look()
    await operator.look()
    server.writes.clear()
    await operator.look()
    assert server.writes == []


FOREIGN = {
    "nobody's": {},
    "another controller's": {"metadata": {"ownerReferences": [{"uid": "u", "controller": True}]}},
    "another model's": {
        "metadata": {
            "labels": {"app.kubernetes.io/managed-by": "keras-operator"},
            "ownerReferences": [{"uid": "u", "controller": True}],
        }
    },
    "another tool's": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}},
}


@pytest.mark.parametrize("theirs", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_is_somebody_elses_is_never_taken_over(operator, server, clock, theirs):
    ref = server.ref("Service", "dogs")
    before = server.put(ref, theirs | {"spec": {"ports": []}})
    assert await operator.look() == 0.0
    await operator.look()
    assert 0 < await operator.look() <= 2.0
    assert server.objects[ref] == before
    stalled = condition(server, "Stalled")
    assert stalled is not None
    assert stalled["message"] == (
        "Service dogs exists in namespace vision and does not belong to this model: delete or rename it, or give the "
        "model another name"
    )
    server.drop(ref)
    await live(operator, server, clock)
    assert status(server)["phase"] == "Serving"


@pytest.mark.parametrize("theirs", FOREIGN.values(), ids=FOREIGN.keys())
async def test_nothing_runs_in_the_name_of_somebody_elses_account(operator, server, clock, theirs):
    """A model that is called like a ServiceAccount must not get at what that one may do."""
    ref = server.ref("ServiceAccount", "dogs")
    server.put(ref, theirs)
    for _ in range(4):
        await operator.look()
    assert server.names("Job") == []
    assert "apply Service dogs" in server.writes
    server.drop(ref)
    await live(operator, server, clock)
    assert status(server)["phase"] == "Serving"
    server.put(ref, theirs)
    put_model(server, trained(replicas=2, epochs=20))
    server.writes.clear()
    for _ in range(4):
        await operator.look()
    assert [write for write in server.writes if "Deployment" in write or "Job" in write] == []


async def test_no_event_is_missed_in_a_namespace_that_is_being_deleted(operator, server, caplog):
    ending = Forbidden(
        403, "Forbidden", "unable to create new content in namespace vision because it is being terminated"
    )

    def refuse(request: str) -> None:
        if request.startswith(("apply", "create", "event")):
            raise ending

    server.before = refuse
    for _ in range(3):
        await operator.look()
    assert condition(server, "Stalled") is None
    ready = condition(server, "Ready")
    assert ready is not None
    assert ready["reason"] == "NamespaceTerminating"
    assert ready["message"].endswith("its namespace is being deleted; nothing is to be done")
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


async def test_what_this_operator_once_made_and_nobody_owns_is_taken_back(operator, server, clock):
    """As a backup restores it: labels are kept, owner references are not."""
    labels = {"app.kubernetes.io/managed-by": "keras-operator"}
    server.put(server.ref("Service", "dogs"), {"metadata": {"labels": labels}, "spec": {"ports": []}})
    await live(operator, server, clock)
    assert status(server)["phase"] == "Serving"
    assert server.body("Service")["metadata"]["ownerReferences"][0]["name"] == "dogs"


async def test_what_takes_the_place_of_a_child_is_not_changed_in_its_stead(serving, server):
    """Deleted and made by somebody else since it was seen."""
    put_model(server, trained(model_name="Dogs"))
    server.watch = lambda *_: None
    ref = server.ref("Deployment", "dogs")
    spec = server.body("Deployment")["spec"]
    server.drop(ref)
    theirs = server.put(ref, {"spec": spec})
    with pytest.raises(Conflict, match="uid mismatch"):
        await serving.look()
    assert server.objects[ref] == theirs


async def test_somebody_elses_job_of_the_same_name_is_never_taken_over(operator, server):
    ref = Ref(JOB, "vision", "dogs-1-train")
    before = server.put(ref, {"spec": {"mine": True}})
    await operator.look()
    assert await operator.look() == 2.0
    assert server.objects[ref] == before
    stalled = condition(server, "Stalled")
    assert stalled is not None
    assert stalled["message"].startswith("Job dogs-1-train exists in namespace vision")


async def test_somebody_elses_version_of_the_same_name_is_never_taken_over(operator, server):
    """Without this operator's label it is not watched: only the attempt finds it."""
    ref = Ref(VERSION, "vision", "dogs-1")
    before = server.put(ref, {"spec": {"mine": True}})
    assert await operator.look() == 2.0
    assert server.objects[ref] == before


TRANSIENT = {
    "no connection": ServerUnavailable(0, "Unreachable", "connection refused"),
    "no answer": TimedOut(0, "TimedOut", "no answer"),
    "too many requests": TooManyRequests(429, "TooManyRequests", "slow down", 3.0),
    "a conflict": Conflict(409, "Conflict", "changed"),
}


@pytest.mark.parametrize("failure", TRANSIENT.values(), ids=TRANSIENT.keys())
@pytest.mark.parametrize("what", ["apply Service dogs", "get Service dogs", "create KerasModelVersion dogs-1"])
async def test_what_passes_by_itself_is_raised_after_the_status_was_written(operator, server, what, failure):
    put_what_is_asked_about(server, what)
    server.before = refusing(what, failure)
    with pytest.raises(type(failure)) as raised:
        await operator.look()
    assert raised.value is failure
    assert server.writes[-1] == "status KerasModel dogs"
    assert condition(server, "Stalled") is None


async def test_a_deployment_that_could_not_be_written_is_not_called_ready(serving, server):
    put_model(server, trained(replicas=2))
    server.before = refusing("apply Deployment dogs", TRANSIENT["no connection"])
    with pytest.raises(ServerUnavailable):
        await serving.look()
    ready = condition(server, "Ready")
    assert ready is not None
    assert (ready["status"], ready["observedGeneration"]) == ("False", 2)


async def test_a_removal_that_fails_is_tried_again(serving, server, clock):
    put_model(server, trained(epochs=20))
    for _ in range(3):
        await serving.look()
    put_model(server, trained(epochs=30))
    server.before = refusing("delete Job dogs-2-train", TRANSIENT["no connection"])
    with pytest.raises(ServerUnavailable):
        await serving.look()
    server.before = lambda _: None
    await live(serving, server, clock)
    assert "dogs-2-train" not in server.names("Job")
    assert status(server)["servingVersion"] == 3


async def test_a_template_that_cannot_be_printed_is_a_sentence(server, clock, tmp_path):
    (tmp_path / "service.yaml.j2").write_text("kind: {{ nonsense | tojson }}\n")
    (tmp_path / "kerasmodelversion.yaml.j2").write_text("just words\n")
    operator = Operator(server, clock, dataclasses.replace(SETTINGS, templates=tmp_path))
    assert await operator.look() == 15.0
    stalled = condition(server, "Stalled")
    assert stalled is not None
    assert stalled["message"] == "template service.yaml.j2 cannot be printed: 'nonsense' is undefined"
    assert "apply NetworkPolicy dogs" in server.writes


async def test_one_status_that_cannot_be_written_is_raised(operator, server):
    server.before = refusing("status KerasModel dogs", TRANSIENT["no connection"])
    with pytest.raises(ServerUnavailable):
        await operator.look()
    assert server.told == []
