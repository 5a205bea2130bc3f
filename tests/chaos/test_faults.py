"""What may happen between the operator and the API server: afterwards every model arrives, and nobody has to help."""

from __future__ import annotations

import itertools
import os
import threading
import time

from tests.chaos.call import Call
from tests.chaos.faults import Answer
from tests.chaos.life import NAME, Life, model
from tests.chaos.together import together
from tests.chaos.world import World
from tests.e2e.api_server import MODEL
from tests.e2e.models import is_ready, serves

HEALING_SECONDS = 60.0
"""A model arrives within this time after the fault has ended."""
PARTITION_SECONDS = float(os.environ.get("CHAOS_PARTITION_SECONDS", "75"))
"""`make partition` sets ten minutes."""


@together
def test_latency_of_two_seconds(world: World) -> None:
    """Every request takes two seconds longer: a life takes longer, too, and goes the same way."""
    namespace, proxy, replica = world.served()
    proxy.faults.latency = 2.0
    Life(world.api, namespace).first_version()
    assert set(replica.ends) <= {1}, "it may give its Lease up, and nothing else"


@together
def test_connections_that_are_reset(world: World) -> None:
    """One request in five is reset, before or after it was carried out, and every few seconds all connections are."""
    namespace, proxy, replica = world.served()
    proxy.faults.resets = 0.2
    life = Life(world.api, namespace)
    ended = threading.Event()

    def cut() -> None:
        while not ended.wait(3):
            proxy.cut()

    cutter = threading.Thread(target=cut, name="cutter")
    cutter.start()
    try:
        life.first_version()
        life.change_training()
    finally:
        ended.set()
        cutter.join()
    assert replica.ends == []


@together
def test_watches_that_go_silent(world: World) -> None:
    """Every watch stays open and brings nothing ever again, as when a firewall forgot it; requests go through."""
    namespace, proxy, replica = world.served()
    life = Life(world.api, namespace)
    life.first_version()
    proxy.mute_watches()
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "a silent watch that is replaced", HEALING_SECONDS)
    assert replica.ends == []


@together
def test_storms_of_429_and_503(world: World) -> None:
    """The API server sheds load, with and without saying for how long: 9 requests of 10 are refused, watches too."""
    namespace, proxy, replica = world.served()
    life = Life(world.api, namespace)
    life.first_version()
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    proxy.faults.refused_share = 0.9
    for refusal in (Answer(429, "TooManyRequests", 1), Answer(503, "ServiceUnavailable", 1), Answer(503, "Unknown")):
        proxy.faults.refusal = refusal
        proxy.cut()
        time.sleep(5)
    proxy.faults.refusal = None
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 after the storm", HEALING_SECONDS)
    assert set(replica.ends) <= {1}, "it may give its Lease up, and nothing else"


@together
def test_watches_that_must_list_anew(world: World) -> None:
    """Every second all watches are told that what they go on from is forgotten (410), for a whole life."""
    namespace, proxy, replica = world.served()
    ended = threading.Event()

    def expire() -> None:
        while not ended.wait(1):
            proxy.expire_watches()

    expirer = threading.Thread(target=expire, name="expirer")
    expirer.start()
    try:
        life = Life(world.api, namespace)
        life.first_version()
        life.change_training()
    finally:
        ended.set()
        expirer.join()
    assert replica.ends == []


@together
def test_a_partition(world: World) -> None:
    """The network is cut, silently; meanwhile somebody changes the training, and somebody deletes a child."""
    namespace, proxy, replica = world.served()
    Life(world.api, namespace).first_version()
    proxy.part()
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    before = world.api.get("Service", namespace, NAME)
    world.api.delete("Service", namespace, NAME)
    time.sleep(PARTITION_SECONDS)
    proxy.heal()
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 after the partition", HEALING_SECONDS)
    world.api.wait_for(
        "Service",
        namespace,
        NAME,
        lambda now: before is not None and now["metadata"]["uid"] != before["metadata"]["uid"],
        "the Service, made anew",
        HEALING_SECONDS,
    )
    assert set(replica.ends) == {1}, "it had to give its Lease up"


@together
def test_a_partition_of_an_operator_without_a_lease(world: World) -> None:
    """The same for a process that stays: its watches outlive the outage, and its log tells of it in a few lines."""
    namespace, proxy, replica = world.served("--no-leader-elect")
    Life(world.api, namespace).first_version()
    before = len(replica.log.read_text().splitlines())
    proxy.part()
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    time.sleep(PARTITION_SECONDS)
    proxy.heal()
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 after the partition", HEALING_SECONDS)
    assert replica.ends == []
    _tells_of_one_outage(replica.log.read_text().splitlines()[before:])


@together
def test_an_api_server_that_is_down(world: World) -> None:
    """Connections are refused for a while, as when the API server restarts."""
    namespace, proxy, replica = world.served("--no-leader-elect")
    Life(world.api, namespace).first_version()
    before = len(replica.log.read_text().splitlines())
    proxy.close()
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    time.sleep(20)
    proxy.open()
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 after the restart", HEALING_SECONDS)
    assert replica.ends == []
    _tells_of_one_outage(replica.log.read_text().splitlines()[before:])


@together
def test_one_model_that_is_refused_holds_up_no_other(world: World) -> None:
    """Whatever is written for one model is refused; the models beside it go through their lives."""
    namespace, proxy, _ = world.served()

    def about_cats(call: Call) -> bool:
        return call.writes and ("cats" in call.path or "cats" in str(call.body))

    proxy.faults.refuses = about_cats
    for refusal, number in zip((Answer(500, "InternalError"), Answer(429, "TooManyRequests", 1)), itertools.count()):
        proxy.faults.refusal = refusal
        world.api.apply(model(namespace, f"cats-{number}"))
    Life(world.api, namespace).first_version()
    proxy.faults.refusal = None
    for number in range(2):
        world.api.wait_for(
            MODEL, namespace, f"cats-{number}", is_ready, "the refused model, in the end", HEALING_SECONDS
        )


@together
def test_credentials_that_are_refused_for_a_while(world: World) -> None:
    """The API server answers 401 to everything, as while a token is replaced, and then knows the operator again."""
    namespace, proxy, _ = world.served()
    Life(world.api, namespace).first_version()
    proxy.faults.refusal = Answer(401, "Unauthorized")
    proxy.cut()
    world.api.patch(MODEL, namespace, NAME, {"spec": {"training": {"epochs": 2}}})
    time.sleep(20)
    proxy.faults.refusal = None
    world.api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 with credentials again", HEALING_SECONDS)


def _tells_of_one_outage(lines: list[str]) -> None:
    """One line when the API server was lost, one when it was back, and no repetitions in between."""
    lost = [line for line in lines if "the API server does not answer" in line]
    back = [line for line in lines if "the API server answers again" in line]
    assert len(lost) == len(back) == 1, "\n".join(lines)
    between = lines[lines.index(lost[0]) + 1 : lines.index(back[0])]
    assert between == [], "\n".join(lines)
