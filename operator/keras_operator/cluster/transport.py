"""One request to the API server: slots, timeouts, metrics and the failure tree around a raw JSON exchange."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from keras_operator.cluster.connection import Connection
from keras_operator.cluster.failure import ApiFailure, ServerUnavailable, TimedOut, failure_of
from keras_operator.cluster.fenced_body import FencedBody
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import SERVICE, Kind

# Beyond 20 at once an API server answers hardly more per second, and it creates about 25 Services a second for the
# whole cluster however many ask: their requests get slots of their own, so that nothing else waits behind them.
DEFAULT_CONCURRENCY = 20
SERVICE_CONCURRENCY = 5

_JSON = "application/json"
# The same warning comes with every request like the first; beyond so many different ones they are noise.
_WARNINGS = 200

logger = logging.getLogger(__name__)


class Transport:
    """Sends requests over one session.

    Args:
        connection: the API server.
        metrics: what is counted.
        concurrency: requests at once, without those for Services.
        service_concurrency: requests for Services at once.
        timeout: seconds for one request, from a free slot to the last byte of its answer.
        heard: told the `Date` header of every answer.
        may_write: seconds for which this replica surely still leads; what is not known to be written by then is given
            up. By default it may write for ever.
    """

    def __init__(
        self,
        connection: Connection,
        metrics: Metrics,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        service_concurrency: int = SERVICE_CONCURRENCY,
        timeout: float = 30.0,
        heard: Callable[[str], object] = lambda _: None,
        may_write: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._heard = heard
        self._may_write = may_write
        self._outage = connection.outage
        self._server = connection.server
        self._session = connection.session(connections=concurrency + service_concurrency)
        self._metrics = metrics
        self._slots = asyncio.Semaphore(concurrency)
        self._service_slots = asyncio.Semaphore(service_concurrency)
        self._timeout = timeout
        self._warned: set[str] = set()

    async def close(self) -> None:
        """End the session; requests under way fail."""
        await self._session.close()

    async def json(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        method: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        timeout: float | None = None,  # noqa: ASYNC109 - a default for one request, enforced with asyncio.timeout below
    ) -> dict[str, Any]:
        """Send a request and read its JSON answer.

        Raises:
            ApiFailure: as the class of the failure says.
        """
        data = await self.bytes(
            verb,
            kind,
            path,
            method=method,
            query=query,
            body=body,
            content_type=content_type,
            accept=accept,
            timeout=timeout,
        )
        try:
            answer = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise ServerUnavailable(
                0, "BadAnswer", f"{method} {path} was answered with something else than JSON"
            ) from error
        if not isinstance(answer, dict):
            raise ServerUnavailable(0, "BadAnswer", f"{method} {path} was answered with JSON that is not an object")
        return answer

    async def bytes(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        method: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> bytes:
        """Send a request and read its whole answer.

        Args:
            verb: what is done, for metrics: `apply`, `create`, `list` …
            kind: of what, for metrics and for the choice of slots.
            path: URL path on the server.
            method: HTTP method.
            query: URL parameters.
            body: to be sent as JSON, or None.
            content_type: of the body.
            accept: what the answer may be.
            timeout: seconds, in place of the transport's own.

        Raises:
            ApiFailure: as the class of the failure says.
        """
        seconds = timeout or self._timeout
        data: FencedBody | None = None
        headers = {"Accept": accept}
        if method != "GET":
            # Every write has a body, for it is there that it is stopped.
            data = FencedBody(msgspec.json.encode(body), self._may_write, f"{method} {path}")
            headers["Content-Type"] = content_type
        async with self._slot(kind):
            started = time.perf_counter()
            code = "none"
            if data is not None:
                seconds = min(seconds, data.time_left())
            try:
                async with (
                    asyncio.timeout(seconds),
                    self._session.request(
                        method, self._server + path, params=query, data=data, headers=headers, allow_redirects=False
                    ) as response,
                ):
                    answer = await response.read()
                    code = str(response.status)
                    self._heard(response.headers.get("Date", ""))
                    self._pass_on_warnings(response, f"{method} {path}")
                    if response.status >= 300:
                        raise _failure(response, answer, f"{method} {path}")
                    return answer
            except TimeoutError as error:
                self._outage.failed(f"{method} {path} got no answer within {seconds:g} s")
                raise TimedOut(0, "TimedOut", f"{method} {path} got no answer within {seconds:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                if data is not None and data.refused is not None:
                    raise data.refused from None
                raise ServerUnavailable(
                    0, "Unreachable", f"{method} {path}: {str(error) or type(error).__name__}"
                ) from error
            finally:
                self._metrics.api_requests.labels(verb, kind.kind, code).inc()
                self._metrics.api_seconds.labels(verb, kind.kind).observe(time.perf_counter() - started)

    def _pass_on_warnings(self, response: aiohttp.ClientResponse, request: str) -> None:
        """Log what the API server warns of, e.g. a field that it does not know or a pod that a policy would refuse."""
        for warning in response.headers.getall("Warning", ()):
            if warning not in self._warned and len(self._warned) < _WARNINGS:
                self._warned.add(warning)
                logger.warning("the API server warns about %s: %s", request, warning.removeprefix("299 - "))

    @contextlib.asynccontextmanager
    async def _slot(self, kind: Kind) -> AsyncIterator[None]:
        self._metrics.api_waiting.inc()
        try:
            slots = self._service_slots if kind == SERVICE else self._slots
            await slots.acquire()
        finally:
            self._metrics.api_waiting.dec()
        try:
            yield
        finally:
            slots.release()


def _failure(response: aiohttp.ClientResponse, answer: bytes, request: str) -> ApiFailure:
    try:
        body = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        body = {}
    header = response.headers.get("Retry-After", "")
    retry_after = float(header) if header.isdecimal() else None
    return failure_of(response.status, body if isinstance(body, dict) else {}, retry_after, request)
