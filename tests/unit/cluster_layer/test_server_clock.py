"""The API server's time, learned from what it answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from keras_operator.cluster.client import Client
from keras_operator.cluster.clock import ServerClock
from keras_operator.cluster.reference import Ref

from tests.unit.cluster_layer.conftest import WIDGET

OWN = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
HTTP = "%a, %d %b %Y %H:%M:%S GMT"


def told(*heard: str) -> datetime:
    clock = ServerClock(lambda: OWN)
    for date in heard:
        clock.heard(date)
    return clock.now()


def at(**ahead: float) -> str:
    return (OWN - timedelta(**ahead)).strftime(HTTP)


@pytest.mark.parametrize("minutes", [5, -5, 60 * 24])
def test_a_clock_that_is_wrong_is_made_right(minutes):
    assert told(at(minutes=minutes)) == OWN - timedelta(minutes=minutes)


def test_what_the_network_explains_is_no_difference():
    assert told(at(seconds=5)) == OWN
    assert told(at(minutes=5), at(minutes=5, seconds=4)) == OWN - timedelta(minutes=5)


def test_a_clock_that_was_set_right_counts_again():
    assert told(at(minutes=5), at(seconds=1)) == OWN


@pytest.mark.parametrize("date", ["", "soon", "Sun, 99 Foo 2026 12:00:00 GMT"])
def test_what_is_no_date_changes_nothing(date):
    assert told(at(minutes=5), date) == OWN - timedelta(minutes=5)


async def test_every_answer_tells_the_time(server, connection, metrics):
    clock = ServerClock(lambda: OWN)
    server.always({"metadata": {}}, headers={"Date": at(minutes=7)})
    client = Client(connection, [WIDGET], metrics, clock=clock)
    await client.get(Ref(WIDGET, "shop", "one"))
    assert clock.now() == OWN - timedelta(minutes=7)
    await client.event(Ref(WIDGET, "shop", "one"), "u", reason="Seen", note="it is", action="Look")
    assert b"2026-03-01T11:58:00" in server.received[-1].body
    await client.close()
