"""Between the operator and the API server: time passes, requests and answers get lost, the server is unwell.

It takes the place of an `aiohttp.ClientSession`: everything above that is the operator's own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import msgspec

from tests.simulation.api_server import ApiServer, decoded

Later = Callable[[float, Callable[[], object]], object]


@dataclass(frozen=True, slots=True)
class Weather:
    """How well the network and the API server are: probabilities for one request, and seconds."""

    lost: float = 0.0
    unanswered: float = 0.0
    refused: float = 0.0
    late: float = 0.0
    delay: float = 0.02


CALM = Weather()
WINDY = Weather(lost=0.02, unanswered=0.04, refused=0.05, late=0.01, delay=0.3)
STORM = Weather(lost=0.15, unanswered=0.15, refused=0.25, late=0.05, delay=2.0)
PARTITION = Weather(lost=1.0)

_REFUSALS: tuple[tuple[int, str, dict[str, str]], ...] = (
    (429, "TooManyRequests", {"Retry-After": "1"}),
    (500, "InternalError", {}),
    (503, "ServiceUnavailable", {}),
    (504, "Timeout", {}),
    (409, "Conflict", {}),
    (403, "Forbidden", {}),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request on its way."""

    sender: str
    method: str
    path: str
    query: Mapping[str, str]
    data: bytes | None
    content_type: str
    metadata_only: bool = False

    @property
    def writes(self) -> bool:
        """Whether it may change an object (Events are news, Leases are the election's)."""
        return self.method != "GET" and not self.about("events") and not self.about("leases")

    def about(self, plural: str) -> bool:
        """Whether it is about objects of a kind."""
        return f"/{plural}" in self.path


class Network:
    """Carries requests.

    Args:
        server: who answers.
        random: decides about each request.
        later: calls back after so many seconds.
        date: the API server's wall clock, as a `Date` header.

    Attributes:
        weather: of each sender; calm where none is named.
        sent: told of each request when it is sent.
        arrived: told of each request when it was carried out, with the answer's status.
    """

    def __init__(self, server: ApiServer, random: Random, later: Later, date: Callable[[], str]) -> None:
        self.weather: dict[str, Weather] = {}
        self.sent: Callable[[Request], object] = lambda _request: None
        self.arrived: Callable[[Request, int], object] = lambda _request, _status: None
        self._server = server
        self._random = random
        self._later = later
        self._date = date

    def session(self, sender: str) -> Session:
        """A session of one process."""
        return Session(self, sender)

    async def exchange(self, request: Request) -> Answer:
        """Send a request and wait for its answer, for ever if none comes.

        Raises:
            aiohttp.ClientConnectionError: the connection broke, before or after the request was carried out.
        """
        self.sent(request)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        weather = self.weather.get(request.sender, CALM)
        delay = self._delay(weather)
        if self._random.random() < weather.lost:
            self._break(answered, delay)
        elif self._random.random() < weather.refused:
            status, reason, headers = self._random.choice(_REFUSALS)
            body = {"kind": "Status", "reason": reason, "message": f"{reason}, says the weather"}
            self._answer(answered, delay, self._made(status, body, headers))
        else:
            if self._random.random() < weather.late:
                delay += self._random.uniform(5, 60)
            self._later(delay, lambda: self._carry_out(request, answered))
        return await answered

    def _carry_out(self, request: Request, answered: asyncio.Future[Answer]) -> None:
        status, body = self._server.answer(
            request.sender, request.method, request.path, request.query, decoded(request.data), request.content_type
        )
        if request.metadata_only and status == 200:
            body = body | {"items": [{"metadata": item["metadata"]} for item in body["items"]]}
        self.arrived(request, status)
        weather = self.weather.get(request.sender, CALM)
        if self._random.random() < max(weather.unanswered, weather.lost):
            self._break(answered, self._delay(weather))
            return
        self._answer(answered, self._delay(weather), self._made(status, body, {}))

    def _made(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        return Answer(status, msgspec.json.encode(body), Headers({**headers, "Date": self._date()}))

    def _break(self, answered: asyncio.Future[Answer], delay: float) -> None:
        """The connection is reset, or goes silent: then nothing ever comes."""
        if self._random.random() < 0.5:
            self._later(delay, lambda: _fail(answered))

    def _answer(self, answered: asyncio.Future[Answer], delay: float, answer: Answer) -> None:
        self._later(delay, lambda: _succeed(answered, answer))

    def _delay(self, weather: Weather) -> float:
        return self._random.uniform(0.001, weather.delay)


def _fail(answered: asyncio.Future[Answer]) -> None:
    if not answered.done():
        answered.set_exception(aiohttp.ClientConnectionError("connection reset"))


def _succeed(answered: asyncio.Future[Answer], answer: Answer) -> None:
    if not answered.done():
        answered.set_result(answer)


class Headers(dict[str, str]):
    """An answer's headers."""

    def getall(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """All values of one."""
        return (self[name],) if name in self else default


@dataclass(frozen=True, slots=True)
class Answer:
    """As `aiohttp.ClientResponse`."""

    status: int
    data: bytes
    headers: Headers

    async def read(self) -> bytes:
        """The whole body."""
        return self.data


class Session:
    """As `aiohttp.ClientSession`. Once it is closed, as at the end of a process, nothing is sent or heard any more."""

    def __init__(self, network: Network, sender: str) -> None:
        self._network = network
        self._sender = sender
        self.closed = False

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None,
        data: aiohttp.BytesPayload | None,
        headers: Mapping[str, str],
        allow_redirects: bool,
    ) -> _Exchange:
        """Prepare a request; entering what is returned sends it."""
        assert not allow_redirects
        path = url.removeprefix(SERVER)
        content_type = headers.get("Content-Type", "")
        metadata_only = "PartialObjectMetadataList" in headers["Accept"]
        body = None if data is None else data.decode().encode()
        request = Request(self._sender, method, path, dict(params or {}), body, content_type, metadata_only)
        return _Exchange(self, request)

    async def send(self, request: Request) -> Answer:
        """Send a request and wait for its answer."""
        if self.closed:
            await asyncio.get_running_loop().create_future()
        return await self._network.exchange(request)

    async def close(self) -> None:
        """End it."""
        self.closed = True


class _Exchange:
    def __init__(self, session: Session, request: Request) -> None:
        self._session = session
        self._request = request

    async def __aenter__(self) -> Answer:
        return await self._session.send(self._request)

    async def __aexit__(self, *_: Any) -> None:
        return None


SERVER = "https://kubernetes.default.svc"
