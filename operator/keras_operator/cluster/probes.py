"""What the kubelet and Prometheus ask: /healthz, /readyz and /metrics on one port."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]
"""Returns None while well, else a sentence that says what is wrong."""


class Probes:
    """A small HTTP server.

    Args:
        port: to listen on, on all addresses; 0 for any free one.
        live: checks by name; one that fails makes the kubelet start the process anew.
        ready: checks by name.
        registry: what `/metrics` shows.
    """

    def __init__(
        self, port: int, *, live: Mapping[str, Check], ready: Mapping[str, Check], registry: CollectorRegistry
    ) -> None:
        self._wanted_port = port
        self._registry = registry
        application = web.Application()
        application.router.add_get("/healthz", _handler(live))
        application.router.add_get("/readyz", _handler(ready))
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> int:
        """Listen.

        Returns:
            The port.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        listening = _listen(self._wanted_port)
        await web.SockSite(self._runner, listening).start()
        return int(listening.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        """All metrics, or with `?name[]=…` those of these names, as Prometheus' own client libraries have it."""
        names = request.query.getall("name[]", [])
        registry = self._registry.restricted_registry(names) if names else self._registry
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _listen(port: int) -> socket.socket:
    """One socket for both families: two with port 0 would be two ports."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _handler(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        lines = []
        well = True
        for name, check in checks.items():
            trouble = check()
            well = well and trouble is None
            lines.append(f"{name}: {trouble or 'ok'}")
        return web.Response(text="\n".join(lines) + "\n", status=200 if well else 503)

    return answer
