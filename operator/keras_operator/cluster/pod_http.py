"""Small JSON pages pulled from pods that this operator owns."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec

from keras_operator.cluster.failure import ServerUnavailable, TimedOut

# Pods answer from memory in a few milliseconds; one that hangs holds a slot for its timeout of about two seconds.
_PULLS_AT_ONCE = 16


class PodHttp:
    """A session of its own: it never carries the operator's credentials, and no proxy comes between."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(_PULLS_AT_ONCE)

    async def json(self, url: str, timeout: float, limit: int) -> dict[str, Any]:  # noqa: ASYNC109
        """GET a JSON object of at most `limit` bytes within `timeout` seconds."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_PULLS_AT_ONCE, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._slots, asyncio.timeout(timeout), self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise ServerUnavailable(
                        response.status, "BadAnswer", f"{url} was answered with HTTP status {response.status}"
                    )
                data = await _read(response, limit)
        except TimeoutError as error:
            raise TimedOut(0, "TimedOut", f"{url} gave no answer within {timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServerUnavailable(0, "Unreachable", f"{url}: {str(error) or type(error).__name__}") from error
        try:
            answer = None if data is None else msgspec.json.decode(data)
        except msgspec.DecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise ServerUnavailable(
                200, "BadAnswer", f"{url} was answered with something else than a JSON object of at most {limit} bytes"
            )
        return answer

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    data = bytearray()
    async for chunk in response.content.iter_chunked(16384):
        data += chunk
        if len(data) > limit:
            return None
    return bytes(data)
