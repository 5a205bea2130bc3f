"""Thousands of requests to the API server: JSON over a few kept connections, with the rights of an administrator."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from kubernetes import config

_AT_ONCE = 24


@dataclass(frozen=True)
class Answer:
    """What the API server said to one request."""

    status: int
    body: dict[str, Any]

    @property
    def admitted(self) -> bool:
        """Whether the object would have been taken."""
        return self.status in {200, 201}

    @property
    def message(self) -> str:
        """Why not."""
        return str(self.body.get("message", ""))


class RawRequests:
    """Creates objects as dry runs."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def try_to_create(self, path: str, body: Any) -> Answer:
        """Ask for an object without keeping it; a field that is not known is an error, as with kubectl."""
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        headers = {"Content-Type": "application/json"}
        async with (
            self._turn,
            self._session.post(path, params=query, data=msgspec.json.encode(body), headers=headers) as answer,
        ):
            return Answer(answer.status, msgspec.json.decode(await answer.read()))

    async def try_to_create_all(self, path: str, bodies: Iterable[Any]) -> list[Answer]:
        """The answers in the order of the objects."""
        return list(await asyncio.gather(*(self.try_to_create(path, body) for body in bodies)))


@asynccontextmanager
async def raw_requests(kubeconfig: str) -> AsyncIterator[RawRequests]:
    """Connections to the API server of a kubeconfig with a client certificate or a token."""
    wanted = config.new_client_from_config(kubeconfig).configuration
    trust = ssl.create_default_context(cafile=wanted.ssl_ca_cert)
    if wanted.cert_file:
        trust.load_cert_chain(wanted.cert_file, wanted.key_file)
    token = wanted.get_api_key_with_prefix("authorization")
    async with aiohttp.ClientSession(
        base_url=wanted.host,
        connector=aiohttp.TCPConnector(ssl=trust, limit=_AT_ONCE),
        headers={"Authorization": token} if token else {},
    ) as session:
        yield RawRequests(session)
