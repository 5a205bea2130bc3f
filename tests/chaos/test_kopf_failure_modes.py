"""What is known to go wrong in operators that are built on kopf, each with the way in which it does not go wrong here.

Its streams bring everything that this operator learns, so their failures are tried on the real API server. Failures of
what is not used (persisted handlers, indexes, daemons, peering) are tried by showing that it is not.
"""

from __future__ import annotations

import json
import signal

from tests.chaos.faults import Answer
from tests.chaos.life import KEPT, NAME, SELECTOR, Life, model
from tests.chaos.test_faults import HEALING_SECONDS
from tests.chaos.together import together
from tests.chaos.world import World
from tests.e2e.api_server import MODEL, VERSION, Object
from tests.e2e.models import is_seen, serves

# 60 s until a watch counts as dead, 30 s of failed liveness probes, and the start of another process.
RESTART_SECONDS = 240.0
OWN_REQUESTS = 20 + 5 + 4
"""What the operator itself sends at once: workers, workers for Services, and its Lease and audits beside them."""


@together
def test_a_deletion_in_the_gap_of_a_relist(world: World) -> None:
    """kopf lists anew after a 410 and never tells of what was deleted meanwhile; the audit finds it."""
    namespace, proxy, replica = world.served()
    Life(world.api, namespace).first_version()
    before = world.api.get("Service", namespace, NAME)
    assert before is not None
    proxy.faults.refuses = lambda call: call.watches and call.plural == "services"
    proxy.faults.refusal = Answer(503, "ServiceUnavailable")
    proxy.expire_watches()
    world.api.delete("Service", namespace, NAME)
    world.api.wait_gone("Service", namespace, NAME, seconds=30)
    proxy.faults.refusal = None
    _wait_made_anew(world, namespace, before)
    assert replica.ends == []


@together
def test_a_first_list_that_is_cut_off(world: World) -> None:
    """kopf goes on after a first streamed list that was cut as if it had seen all of it; here it begins again."""
    namespace = world.namespace()
    for number in range(30):
        world.api.apply(_suspended(namespace, f"model-{number}"))
    proxy = world.proxy(f"operator-of-{namespace}")
    proxy.cut_stream_after("kerasmodels", 10)
    replica = world.operator(proxy, namespace, "--no-leader-elect")
    for number in range(30):
        world.api.wait_for(MODEL, namespace, f"model-{number}", is_seen, "a status", HEALING_SECONDS)
    assert replica.ends == []


@together
def test_a_watch_that_lives_and_brings_nothing(world: World) -> None:
    """A watcher of kopf can end or starve unnoticed while the process goes on; the audit sees it, liveness ends it."""
    namespace, proxy, replica = world.served("--audit-interval=5")
    Life(world.api, namespace).first_version()
    proxy.faults.swallows = lambda call: call.plural == "kerasmodels"
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    world.until(lambda: replica.ends, "an operator that was started anew", RESTART_SECONDS)
    proxy.faults.swallows = lambda _call: False
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 after the restart", HEALING_SECONDS)


@together
def test_an_error_in_a_stream(world: World) -> None:
    """Any error event but a 410 ends kopf, and its way out waits a minute; here the stream begins anew."""
    namespace, proxy, replica = world.served()
    Life(world.api, namespace).first_version()
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "InternalError", "code": 500}
    for _ in range(3):
        proxy.send_to_watches({"type": "ERROR", "object": status})
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 by streams that began anew", HEALING_SECONDS)
    assert replica.ends == []


@together
def test_a_kind_that_is_gone_for_a_while(world: World) -> None:
    """A watch that is answered with 404 ends kopf's stream for good; here it is opened until it is answered."""
    namespace, proxy, replica = world.served()
    Life(world.api, namespace).first_version()
    proxy.faults.refuses = lambda call: call.plural == "kerasmodels" and call.watches
    proxy.faults.refusal = Answer(404, "NotFound")
    proxy.cut()
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    world.until(lambda: "the watch of kerasmodels" in replica.said(), "a line about the watch")
    proxy.faults.refusal = None
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 with its kind again", HEALING_SECONDS)
    assert replica.ends == []


@together
def test_a_start_with_many_objects_asks_for_few_things_at_once(world: World) -> None:
    """kopf has no throttle, and its indexes take quadratic time to start: here requests are bounded, and few."""
    namespace = world.namespace()
    names = [f"model-{number}" for number in range(100)]
    for name in names:
        world.api.apply(_suspended(namespace, name))
    proxy = world.proxy(f"operator-of-{namespace}")
    proxy.faults.latency = 0.2
    replica = world.operator(proxy, namespace, "--no-leader-elect")
    for name in names:
        world.api.wait_for(MODEL, namespace, name, is_seen, "a status", HEALING_SECONDS)
    discovery = 12
    assert proxy.most_at_once <= OWN_REQUESTS + discovery
    # A status can be seen while its writer still waits for the answer.
    world.until(lambda: replica.at_rest, "an operator at rest")
    before = len(proxy.answered)
    replica.kill()
    world.until(lambda: replica.ends, "a process that ended")
    replica.wait_ready()
    world.until(lambda: replica.at_rest, "an operator at rest")
    again = [one.call.signature for one in proxy.answered[before:]]
    assert [one for one in again if one.split()[0] not in {"GET", "WATCH"}] == []
    assert [one for one in again if "model-" in one] == []


@together
def test_nothing_of_kopf_is_left_on_any_object(world: World) -> None:
    """No annotation, no finalizer, no field of kopf's, no patch of a model: a life at rest, and at rest no write."""
    namespace, proxy, replica = world.served()
    life = Life(world.api, namespace)
    life.first_version()
    life.change_training()
    life.change_serving()
    world.until(lambda: replica.at_rest, "an operator at rest")
    for kind in (MODEL, VERSION, "Job", "Pod", *KEPT):
        for content in world.api.objects(kind, namespace, SELECTOR if kind != MODEL else ""):
            assert "kopf" not in json.dumps(content)
    paths = {one.call.path for one in proxy.answered if one.call.method in {"PATCH", "PUT"}}
    assert not [path for path in paths if "/kerasmodels/" in path and not path.endswith("/status")]
    finalized = world.api.get(MODEL, namespace, NAME)
    assert finalized is not None
    assert "finalizers" not in finalized["metadata"]


@together
def test_a_deletion_while_no_operator_runs(world: World) -> None:
    """Finalizers of kopf hold objects for ever when the operator is gone; here nothing waits for it."""
    namespace, _, replica = world.served()
    life = Life(world.api, namespace)
    life.first_version()
    replica.hold()
    replica.signal(signal.SIGTERM)
    world.until(lambda: replica.ends, "an operator that ended")
    life.end()
    assert replica.ends == [0]


@together
def test_a_namespace_that_is_deleted(world: World) -> None:
    """A stream of kopf can stop before its namespace is empty, and finalizers then hold it: here it goes."""
    namespace, _, _ = world.served()
    Life(world.api, namespace).first_version()
    world.api.delete("Namespace", None, namespace)
    world.api.wait_gone("Namespace", "", namespace, seconds=120)


def _wait_made_anew(world: World, namespace: str, before: Object) -> None:
    world.api.wait_for(
        before.get("kind", "Service"),
        namespace,
        NAME,
        lambda now: bool(now["metadata"]["uid"] != before["metadata"]["uid"]),
        "a child that is made anew",
        HEALING_SECONDS,
    )


def _suspended(namespace: str, name: str) -> Object:
    """A model of which nothing is made but its status."""
    content = model(namespace, name)
    content["spec"]["suspend"] = True
    return content
