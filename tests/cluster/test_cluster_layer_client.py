"""The client on a real API server: apply, preconditions, conflicts, lists, events, logs, refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from keras_operator.cluster.client import Client
from keras_operator.cluster.connection import connect
from keras_operator.cluster.failure import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import CONFIG_MAP, LEASE, Kind, Ref
from keras_operator.kinds import MODEL, VERSION


@pytest.fixture
async def client(cluster_env: dict[str, str], crds: Any) -> AsyncIterator[Client]:
    connection = await connect(cluster_env["KUBECONFIG"])
    client = Client(connection, (MODEL, VERSION), Metrics(), instance="test")
    yield client
    await client.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for what one test makes: its own."""
    words: str = request.node.name.split("[")[0].removeprefix("test_").replace("_", "-")
    return words[:40].strip("-")


def settings_of(namespace: str, name: str, data: dict[str, str], **metadata: Any) -> dict[str, Any]:
    """A ConfigMap: the simplest object there is."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, **metadata},
        "data": data,
    }


def model_of(namespace: str, name: str) -> dict[str, Any]:
    spec = {"source": {"uri": "s3://models/uploads/dogs"}, "store": {"uri": "s3://models/dogs"}}
    return {
        "apiVersion": MODEL.api_version,
        "kind": MODEL.kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }


async def test_apply_creates_then_changes_then_removes_what_is_not_named_any_more(client, namespace, name):
    made = await client.apply(settings_of(namespace, name, {"a": "1", "b": "2"}))
    changed = await client.apply(settings_of(namespace, name, {"b": "3"}))
    assert made["metadata"]["uid"] == changed["metadata"]["uid"]
    assert changed["data"] == {"b": "3"}
    managers = {(entry["manager"], entry["operation"]) for entry in changed["metadata"]["managedFields"]}
    assert managers == {("keras-operator", "Apply")}


async def test_a_new_object_is_applied_only_where_there_is_none(client, namespace, name):
    made = await client.apply_new(settings_of(namespace, name, {"a": "1", "b": "2"}))
    with pytest.raises(AlreadyExists, match=f"ConfigMap {namespace}/{name} already exists"):
        await client.apply_new(settings_of(namespace, name, {"a": "3"}))
    # It is this manager's as if it had been applied: what a later apply leaves out goes.
    changed = await client.apply(settings_of(namespace, name, {"b": "2"}))
    assert (changed["metadata"]["uid"], changed["data"]) == (made["metadata"]["uid"], {"b": "2"})
    managers = {(entry["manager"], entry["operation"]) for entry in made["metadata"]["managedFields"]}
    assert managers == {("keras-operator", "Apply")}


async def test_applying_the_same_again_changes_nothing(client, namespace, name):
    made = await client.apply(settings_of(namespace, name, {"a": "1"}))
    again = await client.apply(settings_of(namespace, name, {"a": "1"}))
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_what_others_wrote_survives_and_what_is_ours_is_taken_back(client, namespace, name, api):
    ref = Ref(CONFIG_MAP, namespace, name)
    await client.apply(settings_of(namespace, name, {"ours": "1"}))
    body = settings_of(namespace, name, {"ours": "2", "theirs": "3"}, labels={"team": "x"})
    api.request("PATCH", ref.path, body, content_type="application/merge-patch+json")
    with pytest.raises(Conflict, match="conflict"):
        await client.apply(settings_of(namespace, name, {"ours": "1"}), force=False)
    after = await client.apply(settings_of(namespace, name, {"ours": "1"}))
    assert after["data"] == {"ours": "1", "theirs": "3"}
    assert after["metadata"]["labels"] == {"team": "x"}


async def test_a_second_create_is_told_apart_and_changes_nothing(client, namespace, name):
    await client.create(settings_of(namespace, name, {"a": "1"}))
    with pytest.raises(AlreadyExists, match=f'"{name}" already exists'):
        await client.create(settings_of(namespace, name, {"a": "2"}))
    assert (await client.get(Ref(CONFIG_MAP, namespace, name)))["data"] == {"a": "1"}


async def test_status_is_applied_to_the_object_that_was_seen_and_no_other(client, namespace, name):
    ref = Ref(MODEL, namespace, name)
    made = await client.create(model_of(namespace, name))
    uid = made["metadata"]["uid"]
    after = await client.apply_status(ref, uid, {"phase": "Pending", "message": "one"})
    assert after["status"]["message"] == "one"
    assert after["spec"] == made["spec"]
    assert after["metadata"]["generation"] == 1
    with pytest.raises(Conflict):
        await client.apply_status(ref, "00000000-0000-0000-0000-000000000000", {"phase": "Pending"})
    unchanged = await client.get(ref)
    assert unchanged is not None
    assert unchanged["status"]["message"] == "one"


async def test_status_fields_that_are_not_named_any_more_are_removed(client, namespace, name):
    ref = Ref(MODEL, namespace, name)
    uid = (await client.create(model_of(namespace, name)))["metadata"]["uid"]
    await client.apply_status(ref, uid, {"phase": "Pending", "message": "one"})
    after = await client.apply_status(ref, uid, {"phase": "Pending"})
    assert "message" not in after["status"]


async def test_the_same_status_again_changes_nothing(client, namespace, name):
    ref = Ref(MODEL, namespace, name)
    uid = (await client.create(model_of(namespace, name)))["metadata"]["uid"]
    first = await client.apply_status(ref, uid, {"phase": "Pending"})
    again = await client.apply_status(ref, uid, {"phase": "Pending"})
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_status_that_the_schema_refuses_is_invalid_and_names_the_field(client, namespace, name):
    ref = Ref(MODEL, namespace, name)
    uid = (await client.create(model_of(namespace, name)))["metadata"]["uid"]
    with pytest.raises(Invalid, match=r"status\.phase"):
        await client.apply_status(ref, uid, {"phase": "Dancing"})


async def test_status_can_ask_for_the_very_state_that_was_seen(client, namespace, name):
    ref = Ref(MODEL, namespace, name)
    made = (await client.create(model_of(namespace, name)))["metadata"]
    after = await client.apply_status(ref, made["uid"], {"phase": "Pending"}, made["resourceVersion"])
    assert after["status"]["phase"] == "Pending"
    with pytest.raises(Conflict):
        await client.apply_status(ref, made["uid"], {"phase": "Failed"}, made["resourceVersion"])


async def test_status_of_an_object_that_is_gone_is_not_found(client, namespace, name):
    with pytest.raises(NotFound):
        await client.apply_status(Ref(MODEL, namespace, name), "u", {"phase": "Pending"})


async def test_delete_spares_a_later_object_of_the_same_name(client, namespace, name):
    ref = Ref(CONFIG_MAP, namespace, name)
    first = await client.create(settings_of(namespace, name, {}))
    assert await client.delete(ref, first["metadata"]["uid"])
    await client.create(settings_of(namespace, name, {"second": "1"}))
    assert not await client.delete(ref, first["metadata"]["uid"])
    assert await client.get(ref) is not None
    assert not await client.delete(Ref(CONFIG_MAP, namespace, "nothing-there"), first["metadata"]["uid"])


async def test_replace_notices_that_somebody_was_quicker(client, namespace, name):
    manifest = {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"holderIdentity": "a"},
    }
    made = await client.create(manifest)
    await client.replace({**made, "spec": {"holderIdentity": "b"}})
    with pytest.raises(Conflict):
        await client.replace({**made, "spec": {"holderIdentity": "c"}})


async def test_metadata_lists_select_by_label_in_one_namespace_or_in_all(client, namespace, name):
    for number, color in enumerate(("red", "red", "blue")):
        await client.create(settings_of(namespace, f"{name}-{number}", {}, labels={"color": color, "test": namespace}))
    red = await client.list_metadata(CONFIG_MAP, f"color=red,test={namespace}")
    assert [item.name for item in red] == [f"{name}-0", f"{name}-1"]
    assert red[0].labels["color"] == "red"
    assert int(red[0].resource_version) > 0
    assert red[0].uid
    here = await client.list_metadata(CONFIG_MAP, "color", namespace=namespace)
    assert len(here) == 3


async def test_lists_longer_than_a_page_are_read_to_the_end(client, namespace, name, monkeypatch):
    monkeypatch.setattr("keras_operator.cluster.client._PAGE", "2")
    for number in range(5):
        await client.create(settings_of(namespace, f"{name}-{number}", {"n": str(number)}, labels={"pages": "yes"}))
    listed = await client.list_metadata(CONFIG_MAP, "pages=yes", namespace=namespace)
    assert [item.name for item in listed] == [f"{name}-{number}" for number in range(5)]


async def test_events_are_one_object_with_a_count_and_read_back_as_people_see_them(client, namespace, name):
    ref = Ref(MODEL, namespace, name)
    uid = (await client.create(model_of(namespace, name)))["metadata"]["uid"]
    for _ in range(3):
        await client.event(ref, uid, reason="TrainingFailed", note="no images", action="Train", warning=True)
    await client.event(ref, uid, reason="Published", note="version 2", action="Publish")
    records = await client.events_for(ref, uid)
    assert [(record.reason, record.message, record.type) for record in records] == [
        ("Published", "version 2", "Normal"),
        ("TrainingFailed", "no images", "Warning"),
    ]
    assert all(record.last_seen is not None for record in records)


async def test_an_object_that_is_refused_names_the_field(client, namespace, name):
    with pytest.raises(Invalid, match=r"data.*must consist of alphanumeric"):
        await client.apply(settings_of(namespace, name, {"not a key": "1"}))


async def test_a_quota_is_a_refusal_that_says_what_is_exceeded(client, namespace, name, api):
    quota = {"metadata": {"name": name}, "spec": {"hard": {"count/leases.coordination.k8s.io": "0"}}}
    api.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    manifest = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "spec": {}}

    async def fill_up() -> None:
        # The API server's admission hears of a new quota by a watch: it may admit a few objects before.
        for number in range(500):
            await client.create(manifest | {"metadata": {"namespace": namespace, "name": f"{name}-{number}"}})

    try:
        with pytest.raises(Forbidden, match=r"exceeded quota|status unknown for quota") as refused:
            await fill_up()
    finally:
        api.request("DELETE", f"/api/v1/namespaces/{namespace}/resourcequotas/{name}")
    assert refused.value.permanent


async def test_a_namespace_that_is_not_there_is_not_found(client, name):
    with pytest.raises(NotFound, match="namespaces"):
        await client.apply(settings_of("no-such-namespace", name, {}))


async def test_the_server_says_which_kinds_it_serves_and_how_old_it_is(client):
    assert await client.serves(MODEL)
    assert await client.serves(CONFIG_MAP)
    assert not await client.serves(Kind("keras-operator.dev", "v9", "kerasmodels", "KerasModel"))
    assert not await client.serves(Kind("keras-operator.dev", "v1alpha1", "gadgets", "Gadget"))
    assert await client.server_version() >= (1, 30)
