"""The object store goes away in the middle of an upload, and comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, PATIENCE, ApiServer
from tests.e2e.conftest import Served
from tests.e2e.models import conditions, is_ready, is_stalled, message, model_url, phase, quick_model, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.tcp_proxy import TcpProxy


@pytest.fixture
def wire(s3: ObjectStore) -> Iterator[TcpProxy]:
    """A way to MinIO for pods that leads through this process."""
    with TcpProxy.before(s3.endpoint) as proxy:
        yield proxy


def test_an_upload_goes_on_when_the_store_is_back(
    api: ApiServer, s3: ObjectStore, neighbour: Served, victim: str, wire: TcpProxy
) -> None:
    namespace = neighbour.namespace
    endpoint, prefix = wire.url, store_prefix(namespace, victim)
    wire.cut_at(f"PUT /models/{prefix}/1/".encode())

    api.apply(quick_model(namespace, victim, {"store": {"endpoint": endpoint}}))
    assert wire.was_cut.wait(PATIENCE), "nothing was ever uploaded"
    model = api.wait_for(MODEL, namespace, victim, is_stalled, "a word about the store")
    assert (phase(model), conditions(model)["Stalled"]["reason"]) == ("Exporting", "StoreUnreachable")
    assert "version 1 cannot be exported: uploading: the store does not answer, trying for another " in message(model)
    assert f"{endpoint} cannot be reached for s3://models/{prefix}" in message(model)
    assert "check spec.store.endpoint, that the store is up" in message(model)
    assert f"{prefix}/.runs/1/manifest.json" not in s3.listing("models", prefix), "half a servable was published"

    wire.mend()
    api.wait_for(MODEL, namespace, victim, is_ready, "a version that serves")
    digits = image_sets.quick_digits(image_sets.known_and_held_out()[1])
    found = predictions.by_files(model_url(api, namespace, victim), digits)
    assert predictions.accuracy(found, digits) > 0.5
