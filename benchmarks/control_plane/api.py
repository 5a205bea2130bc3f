"""Raw requests to the API server: what a benchmark needs of it, with as little of its own as can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from keras_operator.cluster.connection import Connection, connect
from keras_operator.cluster.reference import Kind

from benchmarks.control_plane.errors import BenchmarkError

APPLY, JSON_PATCH, MERGE_PATCH = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
)
CONNECTIONS = 32
T = TypeVar("T")


class Api:
    """One session with the API server."""

    def __init__(self, connection: Connection) -> None:
        self._server = connection.server
        self._session = connection.session(connections=CONNECTIONS)

    async def close(self) -> None:
        """End the session."""
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send a request and read its whole answer. Raises BenchmarkError where it is no success."""
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        async with self._session.request(
            method, self._server + path, data=body, headers=headers, params=query
        ) as response:
            answer = await response.read()
            if response.status >= 300:
                raise BenchmarkError(f"{method} {path} was answered {response.status}: {answer[:500].decode()}")
            return answer

    async def json(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """Send and receive JSON."""
        data = None if body is None else msgspec.json.encode(body)
        answer: dict[str, Any] = msgspec.json.decode(await self.send(method, path, data, **more))
        return answer

    async def items(self, kind: Kind, selector: str = "") -> list[dict[str, Any]]:
        """Every object of a kind, page by page."""
        query = {"limit": "500", **({"labelSelector": selector} if selector else {})}
        found: list[dict[str, Any]] = []
        while True:
            page = await self.json("GET", kind.path(), query=query)
            found += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return found
            query["continue"] = token

    async def any_left(self, kind: Kind, selector: str = "") -> bool:
        """Whether there is an object of a kind, asked for as cheaply as can be."""
        query = {"limit": "1", **({"labelSelector": selector} if selector else {})}
        return bool((await self.json("GET", kind.path(), query=query))["items"])

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The events of a watch, one JSON document each."""
        async with self._session.get(self._server + path, params=query, timeout=None) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line


@asynccontextmanager
async def opened(kubeconfig: Path) -> AsyncIterator[Api]:
    """A session for as long as the context lasts."""
    api = Api(await connect(str(kubeconfig)))
    try:
        yield api
    finally:
        await api.close()


async def at_once(work: Iterable[Callable[[], Awaitable[T]]], limit: int) -> list[T]:
    """Do everything, at most so much at the same time; the results in the order of the work."""
    slots = asyncio.Semaphore(limit)

    async def one(job: Callable[[], Awaitable[T]]) -> T:
        async with slots:
            return await job()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(job)) for job in work]
    return [task.result() for task in tasks]


async def until(true: Callable[[], Awaitable[bool]], what: str, seconds: float, pause: float = 0.5) -> None:
    """Ask again and again until it is so. Raises BenchmarkError after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            while not await true():  # noqa: ASYNC110 - what is waited for happens in other processes
                await asyncio.sleep(pause)
    except TimeoutError as error:
        raise BenchmarkError(f"{what}: not so after {seconds:.0f} s") from error
