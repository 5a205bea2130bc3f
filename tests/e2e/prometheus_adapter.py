"""Prometheus and prometheus-adapter as processes beside the cluster, which asks the adapter for metrics of pods.

Debian builds Prometheus without its discovery of pods. So the pods are listed here, with the labels that it would give
them (https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod), and read by it from a file.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from devcluster.build import binary, build_all
from devcluster.places import here, write_atomically
from devcluster.processes import until
from tests.e2e.api_server import ApiServer, Object
from tests.unit.cluster_layer.prometheus_process import prometheus

NAME = "prometheus-adapter"
NAMESPACE = "kube-system"
GROUP_VERSION = "custom.metrics.k8s.io/v1beta1"
READY_SECONDS = 60.0
_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "autoscaling.md"
_LOOK_SECONDS = 2.0


@contextlib.contextmanager
def metrics_of_pods(
    api: ApiServer, kubeconfig: Path, folder: Path, scraped: Mapping[str, Any], rules: Mapping[str, Any]
) -> Iterator[None]:
    """The group custom.metrics.k8s.io, for as long as the context.

    Args:
        api: the cluster.
        kubeconfig: an administrator's.
        folder: where configurations, data and logs go.
        scraped: an entry of Prometheus' `scrape_configs` that finds pods.
        rules: the adapter's configuration.
    """
    build_all(here(), [NAME])
    address = machine_address(kubeconfig)
    with (
        prometheus_of_pods(api, folder, scraped) as url,
        _adapter(kubeconfig, folder, rules, url, address) as port,
    ):
        objects = _service(address, port)
        for content in objects:
            api.apply(content)
        try:
            name = ".".join(reversed(GROUP_VERSION.split("/")))
            api.wait_for("APIService", "", name, _available, f"{GROUP_VERSION} that answers")
            yield
        finally:
            for content in reversed(objects):
                metadata = content["metadata"]
                api.delete(content["kind"], metadata.get("namespace"), metadata["name"])


def documented(word: str) -> Any:
    """The YAML in docs/autoscaling.md that begins with this key."""
    (text,) = re.findall(rf"```yaml\n({word}:\n?.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    return yaml.safe_load(text)


@contextlib.contextmanager
def prometheus_of_pods(
    api: ApiServer, folder: Path, scraped: Mapping[str, Any], address: str = "127.0.0.1"
) -> Iterator[str]:
    """The URL, at an address of this machine, of a Prometheus that reads pods as an entry of `scrape_configs` says."""
    assert scraped["kubernetes_sd_configs"] == [{"role": "pod"}]
    scraped = {name: value for name, value in scraped.items() if name != "kubernetes_sd_configs"}
    with (
        _discovered(api, folder / "pods.json"),
        prometheus(folder, {**scraped, "file_sd_configs": [{"files": [str(folder / "pods.json")]}]}, address) as url,
    ):
        yield url


@contextlib.contextmanager
def _discovered(api: ApiServer, path: Path) -> Iterator[None]:
    """A file that names the cluster's pods for Prometheus, which looks at it whenever it changes."""
    stop = threading.Event()

    def keep() -> None:
        while not stop.wait(_LOOK_SECONDS):
            targets = [target for pod in api.objects("Pod", None) for target in _targets(pod)]
            write_atomically(path, json.dumps(targets))

    thread = threading.Thread(target=keep, name="discovery of pods")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _targets(pod: Object) -> Iterator[Object]:
    """A target for each port of a running pod."""
    metadata = pod["metadata"]
    labels = {
        "__meta_kubernetes_namespace": metadata["namespace"],
        "__meta_kubernetes_pod_name": metadata["name"],
        **{
            f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value
            for name, value in metadata.get("labels", {}).items()
        },
    }
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", ()):
            if address := pod["status"].get("podIP"):
                yield {
                    "targets": [f"{address}:{port['containerPort']}"],
                    "labels": {**labels, "__meta_kubernetes_pod_container_port_name": port.get("name", "")},
                }


@contextlib.contextmanager
def _adapter(kubeconfig: Path, folder: Path, rules: Mapping[str, Any], url: str, address: str) -> Iterator[int]:
    configuration, log_path = folder / "adapter.yaml", folder / "adapter.log"
    configuration.write_text(yaml.safe_dump(dict(rules)))
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    command = [
        str(binary(here(), NAME)),
        f"--config={configuration}",
        f"--prometheus-url={url}",
        "--metrics-relist-interval=5s",
        f"--lister-kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={address}",
        f"--secure-port={port}",
        # It makes itself a certificate there.
        f"--cert-dir={folder / 'certificates'}",
    ]
    with log_path.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: _listens(address, port) or process.poll() is not None, READY_SECONDS)
            assert _listens(address, port), f"{NAME} is not ready:\n{log_path.read_text()}"
            yield port
        finally:
            process.terminate()
            process.wait(timeout=30)


def _listens(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def _service(address: str, port: int) -> list[Object]:
    """What leads the API server to the adapter."""
    metadata = {"name": NAME, "namespace": NAMESPACE}
    group, version = GROUP_VERSION.split("/")
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": NAME}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": port}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{group}"},
            "spec": {
                "group": group,
                "version": version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": metadata,
            },
        },
    ]


def _available(service: Object) -> bool:
    conditions = service.get("status", {}).get("conditions", [])
    return any(one["type"] == "Available" and one["status"] == "True" for one in conditions)


def machine_address(kubeconfig: Path) -> str:
    """The address of this machine that the cluster's node reaches."""
    (cluster,) = yaml.safe_load(kubeconfig.read_text())["clusters"]
    server = urllib.parse.urlsplit(cluster["cluster"]["server"])
    with socket.create_connection((server.hostname or "", server.port or 443), timeout=10) as connection:
        address: str = connection.getsockname()[0]
        return address
