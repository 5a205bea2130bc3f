"""What every other test here builds upon: who asks a Service is led to what serves it, however early he asks."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from benchmarks.demo.surroundings import Surroundings
from tests.e2e.api_server import ApiServer

_PORT = 8501


def test_a_connection_that_begins_before_its_service_is_known_is_made(
    api: ApiServer, cluster: Surroundings, namespace: str
) -> None:
    store = urlsplit(cluster.s3_endpoint)
    for number in range(5):
        name = f"early-{number}"
        ports = [{"name": "http", "port": _PORT}]
        api.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"ports": ports},
            }
        )
        api.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": store.port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [store.hostname], "conditions": {"ready": True}}],
            }
        )
        service = api.get("Service", namespace, name)
        assert service is not None
        with socket.create_connection((service["spec"]["clusterIP"], _PORT), timeout=20):
            pass
