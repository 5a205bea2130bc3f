"""What a maintainer asks a running process: /debug/state, on the loopback address alone.

`kubectl port-forward` reaches it, and nobody else who has no right to that pod does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec
from aiohttp import web

from keras_operator.cluster.queue import KeyedQueue
from keras_operator.cluster.reference import Key

Explain = Callable[[Key], Mapping[str, object] | None]
"""What is held of a key's object and what follows from it, or None where there is none."""


class DebugServer:
    """An HTTP server on 127.0.0.1.

    `GET /debug/state?model=NAMESPACE/NAME` answers with the cached view of a model and the plan that follows from it
    now (the same function of the same view as the last reconcile's), and where its key is in the queue;
    without `model`, with the keys of the queue.

    Args:
        port: to listen on; 0 for any free one.
        queue: of keys.
        explain: what is known of a key.
    """

    def __init__(self, port: int, queue: KeyedQueue[Key], explain: Explain) -> None:
        self._port = port
        self._queue = queue
        self._explain = explain
        application = web.Application()
        application.router.add_get("/debug/state", self._state)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> int:
        """Listen.

        Returns:
            The port.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        return int(self.addresses[0][1])

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [(address[0], address[1]) for address in self._runner.addresses]

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _state(self, request: web.Request) -> web.Response:
        name = request.query.get("model")
        if name is None:
            return _json(
                {"queue": {state: ["/".join(key) for key in keys] for state, keys in self._queue.keys.items()}}
            )
        namespace, _, name = name.partition("/")
        found = self._explain((namespace, name))
        if found is None:
            return web.Response(
                status=404, text=f"no KerasModel {namespace}/{name} is known: write model=NAMESPACE/NAME\n"
            )
        where = [state for state, keys in self._queue.keys.items() if (namespace, name) in keys]
        return _json({"queue": {"in": where, "failures": self._queue.failures((namespace, name))}, **found})


def _json(content: Mapping[str, object]) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(readable(content)), indent=2)
    return web.Response(body=body, content_type="application/json")


def readable(value: object) -> Any:
    """A value of planning as plain JSON types: an object's canonical JSON, which is held as bytes, as that object."""
    if isinstance(value, bytes):
        return msgspec.json.decode(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, msgspec.Struct | datetime):
        return msgspec.to_builtins(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: readable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): readable(one) for name, one in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [readable(one) for one in value]
    return value
