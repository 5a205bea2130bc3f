"""A real Prometheus, on a loopback port by default, and what it may read: the runtime's own page of metrics."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from devcluster.debian import debian_program
from model_server.runtime.monitoring import DEFAULT_PATH, Metrics

_DEADLINE_SECONDS = 60.0


def until(holds: Callable[[], Any], what: str) -> None:
    """Wait until `holds`; fails with `what` when it does not in time."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {_DEADLINE_SECONDS:g} s: {what}")
        time.sleep(0.05)


@contextlib.contextmanager
def exporters(pages: Mapping[str, Metrics]) -> Iterator[dict[str, int]]:
    """Ports at which these metrics can be read, by the pod that they are of."""
    servers = {pod: ThreadingHTTPServer(("127.0.0.1", 0), _page_of(metrics)) for pod, metrics in pages.items()}
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers.values()]
    for thread in threads:
        thread.start()
    yield {pod: server.server_port for pod, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


def _page_of(metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(metrics.page())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Page


def of_exporters(exporters: Mapping[str, int]) -> dict[str, Any]:
    """What Prometheus reads: these exporters, by the pod that they stand for."""
    targets = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "vision", "pod": pod}}
        for pod, port in exporters.items()
    ]
    return {"job_name": "models", "metrics_path": DEFAULT_PATH, "static_configs": targets}


@contextlib.contextmanager
def prometheus(folder: Path, scraped: Mapping[str, Any], address: str = "127.0.0.1") -> Iterator[str]:
    """The URL, at an address of this machine, of one that reads what an entry of its `scrape_configs` names."""
    config = {"global": {"scrape_interval": "3s", "scrape_timeout": "3s"}, "scrape_configs": [scraped]}
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = _free_port(address)
    command = [
        str(debian_program("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}:{port}",
        "--query.max-samples=20000",
    ]
    url = f"http://{address}:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None or _answers(f"{url}/-/ready"), "a Prometheus that is ready")
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return int(response.status) == 200
    except OSError:
        return False


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
