"""A cluster in memory, an operator in it, and a model."""

import pytest
from keras_operator.cluster.clock import ManualClock

from tests.unit.plan.observations import trained
from tests.unit.reconcile.memory_api_server import MemoryApiServer
from tests.unit.reconcile.operator_run import Operator, live, put_model, status


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> MemoryApiServer:
    """A cluster with a model that was just applied."""
    made = MemoryApiServer(clock)
    put_model(made, trained())
    return made


@pytest.fixture
def operator(server: MemoryApiServer, clock: ManualClock) -> Operator:
    return Operator(server, clock)


@pytest.fixture
async def serving(operator: Operator, server: MemoryApiServer, clock: ManualClock) -> Operator:
    """An operator whose model serves; its writes so far are forgotten."""
    await live(operator, server, clock)
    assert status(server)["phase"] == "Serving"
    server.writes.clear()
    server.reads.clear()
    server.told.clear()
    return operator
