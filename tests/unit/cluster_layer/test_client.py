"""The client against an HTTP server: what it sends, and what it makes of each answer."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from keras_operator.cluster.client import Client
from keras_operator.cluster.failure import (
    AlreadyExists,
    ApiFailure,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    NotLeading,
    ServerUnavailable,
    TimedOut,
    TooManyRequests,
    Unauthorized,
)
from keras_operator.cluster.reference import JOB, SERVICE, Kind, Ref, UnknownKindError

WIDGET = Kind("example.com", "v1", "widgets", "Widget")
WHEEL = Ref(WIDGET, "shop", "wheel")


def manifest(name: str = "wheel", **more: object) -> dict[str, object]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"namespace": "shop", "name": name},
        **more,
    }


def status(code: int, reason: str, message: str, **details: object) -> dict[str, object]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


async def test_apply_is_a_server_side_apply_under_one_field_manager(client, server):
    server.always({"metadata": {"uid": "u1"}})
    assert await client.apply(manifest(spec={"size": 3})) == {"metadata": {"uid": "u1"}}
    (request,) = server.received
    assert (request.method, request.path) == ("PATCH", "/apis/example.com/v1/namespaces/shop/widgets/wheel")
    assert request.query == {"fieldManager": "keras-operator", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(request.body)["spec"] == {"size": 3}


async def test_a_new_object_is_applied_with_a_resource_version_that_none_has(client, server):
    server.always({"metadata": {"uid": "u1"}})
    assert await client.apply_new(manifest(spec={"size": 3})) == {"metadata": {"uid": "u1"}}
    (request,) = server.received
    assert (request.method, request.headers["Content-Type"]) == ("PATCH", "application/apply-patch+yaml")
    assert json.loads(request.body)["metadata"]["resourceVersion"] == "1"


async def test_status_is_written_with_a_test_of_the_uid_and_if_asked_of_the_resource_version(client, server):
    server.always({})
    await client.apply_status(WHEEL, "u1", {"phase": "Ready"})
    await client.apply_status(WHEEL, "u1", {"phase": "Ready"}, resource_version="7")
    assert server.received[0].path.endswith("/widgets/wheel/status")
    uid = {"op": "test", "path": "/metadata/uid", "value": "u1"}
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    change = {"op": "add", "path": "/status", "value": {"phase": "Ready"}}
    assert [json.loads(request.body) for request in server.received] == [[uid, change], [uid, version, change]]


async def test_a_status_that_is_refused_for_its_state_says_which_one_is_there(client, server):
    there = {"metadata": {"uid": "u1", "resourceVersion": "8"}}

    async def answer(request):
        if request.method == "GET":
            return web.json_response(there)
        return web.json_response(status(422, "Invalid", "the server rejected our request"), status=422)

    server.answer = answer
    with pytest.raises(Conflict, match="has changed since it was read") as raised:
        await client.apply_status(WHEEL, "u1", {"phase": "Ready"}, resource_version="7")
    assert raised.value.found == there


async def test_create_is_a_post_to_the_collection(client, server):
    server.always({}, status=201)
    await client.create(manifest())
    assert (server.received[0].method, server.received[0].path) == (
        "POST",
        "/apis/example.com/v1/namespaces/shop/widgets",
    )


async def test_a_manifest_of_a_kind_nobody_named_is_refused_before_any_request(client, server):
    with pytest.raises(UnknownKindError, match=r"manifest is a example\.com/v1 Gadget"):
        await client.apply({**manifest(), "kind": "Gadget"})
    assert server.received == []


@pytest.mark.parametrize(
    ("code", "reason", "failure"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", TooManyRequests),
        (500, "InternalError", ServerUnavailable),
        (503, "ServiceUnavailable", ServerUnavailable),
        (504, "Timeout", TimedOut),
        (405, "MethodNotAllowed", ApiFailure),
    ],
)
async def test_an_error_answer_is_the_failure_of_its_class(client, server, code, reason, failure):
    server.always(status(code, reason, "because"), status=code)
    with pytest.raises(failure) as caught:
        await client.create(manifest())
    assert type(caught.value) is failure
    assert (caught.value.status, caught.value.reason, caught.value.message) == (code, reason, "because")


async def test_only_what_a_person_must_change_is_permanent(client, server):
    permanent = {}
    for code in (403, 404, 409, 422, 429, 500):
        server.always(status(code, "", ""), status=code)
        with pytest.raises(ApiFailure) as caught:
            await client.create(manifest())
        permanent[code] = caught.value.permanent
    assert permanent == {403: True, 404: False, 409: False, 422: True, 429: False, 500: False}


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [({"Retry-After": "7"}, {}, 7.0), ({}, {"retryAfterSeconds": 3}, 3.0), ({}, {}, None)],
    ids=["header", "details", "neither"],
)
async def test_the_wait_that_the_server_asks_for_is_kept(client, server, headers, details, seconds):
    server.always(status(429, "TooManyRequests", "busy", **details), status=429, headers=headers)
    with pytest.raises(TooManyRequests) as caught:
        await client.get(WHEEL)
    assert caught.value.retry_after == seconds


async def test_an_error_page_of_a_proxy_says_what_was_asked(client, server):
    async def page(_):
        return web.Response(text="<html>bad gateway</html>", status=502)

    server.answer = page
    with pytest.raises(ServerUnavailable, match=r"PATCH /apis/example\.com/v1/.* HTTP status 502"):
        await client.apply(manifest())


async def test_an_answer_that_is_no_json_is_a_failure(client, server):
    async def page(_):
        return web.Response(text="<html>welcome</html>")

    server.answer = page
    with pytest.raises(ServerUnavailable, match="something else than JSON"):
        await client.get(WHEEL)


async def test_an_answer_that_is_no_object_is_a_failure(client, server):
    server.always([1, 2])
    with pytest.raises(ServerUnavailable, match="JSON that is not an object"):
        await client.get(WHEEL)


async def test_a_server_that_is_not_there_is_unavailable(client, server, connection):
    connection.server = "http://127.0.0.1:1"
    client = Client(connection, [WIDGET], client._transport._metrics)
    with pytest.raises(ServerUnavailable, match="Cannot connect"):
        await client.get(WHEEL)
    await client.close()


async def test_a_server_that_does_not_answer_times_out(connection, server, metrics):
    async def hang(_):
        await asyncio.Event().wait()

    server.answer = hang
    client = Client(connection, [WIDGET], metrics, timeout=0.05)
    with pytest.raises(TimedOut, match=r"within 0\.05 s"):
        await client.get(WHEEL)
    await client.close()


async def test_what_the_server_warns_of_is_said_once(client, server, caplog):
    server.always({}, headers={"Warning": '299 - "unknown field \\"spec.sizes\\""'})
    for _ in range(3):
        await client.apply(manifest())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "unknown field" in caplog.text


async def test_get_of_nothing_is_none(client, server):
    server.always(status(404, "NotFound", "not found"), status=404)
    assert await client.get(WHEEL) is None


async def test_delete_names_the_uid_and_says_whether_that_object_was_there(client, server):
    server.always({})
    assert await client.delete(WHEEL, "u1")
    body = json.loads(server.received[0].body)
    assert body["preconditions"] == {"uid": "u1"}
    assert body["propagationPolicy"] == "Background"
    for code, reason in ((404, "NotFound"), (409, "Conflict")):
        server.always(status(code, reason, ""), status=code)
        assert not await client.delete(WHEEL, "u1")


async def test_lists_are_read_page_by_page(client, server):
    async def pages(request):
        page = {"": (["a", "b"], "next"), "next": (["c"], "")}[request.query.get("continue", "")]
        items = [
            {"metadata": {"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1"}} for name in page[0]
        ]
        return web.json_response({"metadata": {"continue": page[1]}, "items": items})

    server.answer = pages
    listed = await client.list_metadata(WIDGET, "app=x")
    assert [item.name for item in listed] == ["a", "b", "c"]
    assert server.received[0].path == "/apis/example.com/v1/widgets"
    assert server.received[0].query == {"limit": "500", "labelSelector": "app=x"}
    assert "PartialObjectMetadataList" in server.received[0].headers["Accept"]


async def test_objects_are_listed_whole_in_one_namespace(client, server):
    async def page(_request):
        return web.json_response({"metadata": {}, "items": [{"metadata": {"name": "a"}, "spec": 1}]})

    server.answer = page
    assert await client.list_objects(WIDGET, namespace="shop", selector="app=x") == [
        {"metadata": {"name": "a"}, "spec": 1}
    ]
    assert server.received[0].path == "/apis/example.com/v1/namespaces/shop/widgets"
    assert server.received[0].query == {"limit": "500", "labelSelector": "app=x"}
    assert "Partial" not in server.received[0].headers["Accept"]


async def test_events_are_written_once_and_counted_when_repeated(client, server):
    async def remember(request):
        return web.json_response({}, status=201 if request.method == "POST" else 200)

    server.answer = remember
    for _ in range(3):
        await client.event(WHEEL, "u1", reason="Trained", note="accuracy 0.97", action="Train")
    await client.event(WHEEL, "u1", reason="Trained", note="accuracy 0.98", action="Train")
    assert [request.method for request in server.received] == ["POST", "PATCH", "PATCH", "POST"]
    first = json.loads(server.received[0].body)
    assert first["regarding"] == {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "namespace": "shop",
        "name": "wheel",
        "uid": "u1",
    }
    assert (first["type"], first["reason"], first["note"]) == ("Normal", "Trained", "accuracy 0.97")
    assert json.loads(server.received[2].body)["series"]["count"] == 3


async def test_an_event_from_before_a_restart_is_counted_on(client, server):
    async def there_already(request):
        if request.method == "POST":
            return web.json_response(status(409, "AlreadyExists", ""), status=409)
        return web.json_response({})

    server.answer = there_already
    await client.event(WHEEL, "u1", reason="Trained", note="well", action="Train")
    assert json.loads(server.received[1].body)["series"]["count"] == 2


async def test_an_event_that_expired_is_written_anew(client, server):
    async def expired(request):
        code = 201 if request.method == "POST" else 404
        return web.json_response(status(404, "NotFound", ""), status=code)

    server.answer = expired
    for _ in range(2):
        await client.event(WHEEL, "u1", reason="Trained", note="well", action="Train")
    assert [request.method for request in server.received] == ["POST", "PATCH", "POST"]


async def test_a_note_is_cut_at_the_limit_between_two_characters(client, server):
    server.always({}, status=201)
    await client.event(WHEEL, "u1", reason="R", note="ü" * 2000, action="A", warning=True)
    event = json.loads(server.received[0].body)
    assert event["note"] == "ü" * 512
    assert event["type"] == "Warning"


async def test_events_about_an_object_come_newest_first_whoever_wrote_them(client, server):
    server.always(
        {
            "metadata": {},
            "items": [
                {"reason": "Old", "message": "1", "type": "Warning", "lastTimestamp": "2026-01-01T00:00:00Z"},
                {"reason": "New", "message": "2", "eventTime": "2026-01-03T00:00:00.000001Z", "lastTimestamp": None},
                {"reason": "Never", "message": "3"},
                {
                    "reason": "Series",
                    "message": "4",
                    "eventTime": "2025-01-01T00:00:00.000000Z",
                    "series": {"count": 3, "lastObservedTime": "2026-01-02T00:00:00.000000Z"},
                },
            ],
        }
    )
    records = await client.events_for(WHEEL, "u1")
    assert [record.reason for record in records] == ["New", "Series", "Old", "Never"]
    assert server.received[0].query["fieldSelector"] == "involvedObject.uid=u1"
    assert server.received[0].path == "/api/v1/namespaces/shop/events"


async def test_requests_at_once_are_bounded(client, server):
    release = asyncio.Event()

    async def wait(_):
        await release.wait()
        return web.json_response({})

    server.answer = wait
    requests = [asyncio.create_task(client.get(WHEEL)) for _ in range(10)]
    while server.busy < 3:  # noqa: ASYNC110 - the server is another party
        await asyncio.sleep(0.01)
    release.set()
    await asyncio.gather(*requests)
    assert server.most_busy == 3


async def test_services_do_not_hold_back_anything_else(client, server):
    release = asyncio.Event()

    async def slow_services(request):
        if "/services/" in request.path:
            await release.wait()
        return web.json_response({})

    server.answer = slow_services
    services = [asyncio.create_task(client.get(Ref(SERVICE, "shop", f"s{n}"))) for n in range(10)]
    await asyncio.wait_for(asyncio.gather(*(client.get(WHEEL) for _ in range(10))), 5)
    assert sum("/services/" in request.path for request in server.received) == 1
    release.set()
    await asyncio.gather(*services)


async def test_each_request_carries_the_token_of_its_moment(client, server, connection):
    server.always({})
    await client.get(WHEEL)
    connection._configuration.api_key["BearerToken"] = "Bearer secret-2"
    await client.get(WHEEL)
    assert [request.headers["Authorization"] for request in server.received] == ["Bearer secret-1", "Bearer secret-2"]


async def test_a_pod_never_sees_the_operators_credentials(client, server):
    server.always({"epoch": 3})
    assert await client.http_json(f"{server.url}/progress") == {"epoch": 3}
    assert "Authorization" not in server.received[0].headers


async def test_a_pod_cannot_send_the_operator_elsewhere(client, server):
    server.always({}, status=302, headers={"Location": f"{server.url}/elsewhere"})
    with pytest.raises(ServerUnavailable, match="HTTP status 302"):
        await client.http_json(f"{server.url}/progress")
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "body", [b'{"a": "' + b"x" * 70_000 + b'"}', b"[1, 2]", b"no json"], ids=["too long", "a list", "no json"]
)
async def test_what_a_pod_says_must_be_a_small_json_object(client, server, body):
    async def answer(_):
        return web.Response(body=body)

    server.answer = answer
    with pytest.raises(ServerUnavailable, match="something else than a JSON object"):
        await client.http_json(f"{server.url}/progress")


async def test_a_pod_that_is_not_there_is_unavailable(client):
    with pytest.raises(ServerUnavailable, match=r"http://127\.0\.0\.1:1/progress: Cannot connect"):
        await client.http_json("http://127.0.0.1:1/progress")


async def test_a_pod_that_drips_is_left_alone_after_the_timeout(client, server):
    async def drip(_):
        await asyncio.sleep(10)

    server.answer = drip
    with pytest.raises(TimedOut, match=r"within 0\.1 s"):
        await client.http_json(f"{server.url}/progress", timeout=0.1)


async def test_a_kind_is_served_when_discovery_names_it(client, server):
    server.always({"resources": [{"name": "widgets"}, {"name": "widgets/status"}]})
    assert await client.serves(WIDGET)
    server.always({"resources": [{"name": "gadgets"}]})
    assert not await client.serves(WIDGET)
    server.always(status(404, "NotFound", ""), status=404)
    assert not await client.serves(WIDGET)


async def test_requests_are_counted_by_verb_kind_and_code(client, server, metrics):
    server.always({})
    await client.apply(manifest())
    server.always(status(404, "NotFound", ""), status=404)
    await client.get(Ref(JOB, "shop", "j"))
    count = metrics.registry.get_sample_value
    name = "keras_operator_api_requests_total"
    assert count(name, {"verb": "apply", "kind": "Widget", "code": "200"}) == 1
    assert count(name, {"verb": "get", "kind": "Job", "code": "404"}) == 1
    assert count("keras_operator_api_requests_waiting") == 0


EVERY_WRITE = pytest.mark.parametrize(
    "write",
    [
        lambda client: client.apply(manifest()),
        lambda client: client.create(manifest()),
        lambda client: client.replace(manifest()),
        lambda client: client.delete(WHEEL, "u1"),
        lambda client: client.apply_status(WHEEL, "u1", {}),
        lambda client: client.event(WHEEL, "u1", reason="Made", note="made", action="Make"),
    ],
)


@EVERY_WRITE
async def test_who_does_not_lead_any_more_sends_no_write(connection, metrics, server, write):
    server.always({"metadata": {"uid": "u1"}})
    left = 5.0
    client = Client(connection, [WIDGET], metrics, may_write=lambda: left)
    await write(client)
    assert len(server.received) == 1
    left = 0.0
    with pytest.raises(NotLeading, match="was not sent"):
        await write(client)
    await client.get(WHEEL)
    assert [request.method for request in server.received[1:]] == ["GET"]
    await client.close()


@EVERY_WRITE
async def test_who_is_frozen_between_the_decision_and_the_bytes_sends_no_write(connection, metrics, server, write):
    server.always({"metadata": {"uid": "u1"}})
    asked = 0

    def may_write() -> float:
        # The first question is that before the request; then comes the freeze, of which only the clock tells.
        nonlocal asked
        asked += 1
        return 5.0 if asked % 2 else -3.0

    client = Client(connection, [WIDGET], metrics, may_write=may_write)
    for _ in range(2):
        with pytest.raises(NotLeading, match="was not sent"):
            await write(client)
    assert asked == 4
    assert server.received == []
    await client.get(WHEEL)
    assert [request.method for request in server.received] == ["GET"]
    await client.close()


async def test_a_write_is_given_up_when_the_time_of_the_leader_ends(connection, metrics, server):
    async def hang(_: object) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("the request is ended before")

    server.answer = hang
    client = Client(connection, [WIDGET], metrics, timeout=30, may_write=lambda: 0.1)
    with pytest.raises(TimedOut, match=r"within 0\.1 s"):
        await client.apply(manifest())
    await client.close()
