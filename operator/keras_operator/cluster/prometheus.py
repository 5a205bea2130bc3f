"""Instant queries to one Prometheus, or to whatever speaks its HTTP API.

https://prometheus.io/docs/prometheus/latest/querying/api
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import aiohttp
import msgspec

_TIMEOUT_SECONDS = 5.0
# Prometheus gives up by itself before nobody listens any more, and says so.
_EVALUATION_SECONDS = 4
_LONGEST_ANSWER = 1024 * 1024
# Whoever looks at a model waits for its answers: a Prometheus that hangs holds up so many of them, and no others.
_ASK_AT_ONCE = 8
_WAIT_SECONDS = 1.0
_LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one query: the `samples` of its answer; or `silent`, why there was none, which may pass; or
    `wrong`, why the query gives no numbers. Both are the end of a sentence about Prometheus or about the query.
    """

    samples: tuple[float, ...] = ()
    silent: str = ""
    wrong: str = ""


class _Data(msgspec.Struct, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Page(msgspec.Struct, rename="camel"):
    status: str
    data: _Data | None = None
    error: str = ""


class _Series(msgspec.Struct):
    # One of native histograms has no value.
    value: tuple[float, str] | None = None


class _Silent(Exception):  # noqa: N818 - not an error of the query
    """No answer, for a reason that may pass."""


class Prometheus:
    """Asks one Prometheus.

    Args:
        url: where its API begins, without `/api/v1`.
        token_file: the bearer token, read each time because it may be a new one; None for none.
        ca_file: certificates that may sign that of the server; None for the system's.
    """

    def __init__(self, url: str, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        self._url = url.rstrip("/") + "/api/v1/query"
        self._token_file = token_file
        self._ca_file = ca_file
        self._slots = asyncio.Semaphore(_ASK_AT_ONCE)

    async def ask(self, queries: Sequence[str]) -> list[Answer]:
        """An answer to each query, one after the other, within 5 s for all of them and 1 s of waiting for a turn."""
        answers: list[Answer] = []
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            return [Answer(silent="is being asked much else")] * len(queries)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), self._session() as session:
                for query in queries:
                    # Not by a comprehension: what came before a failure counts.
                    answers.append(await self._answer(session, query))  # noqa: PERF401
        except TimeoutError:
            answers += [Answer(silent=f"gave no answer within {_TIMEOUT_SECONDS:g} s")] * (len(queries) - len(answers))
        except (_Silent, aiohttp.ClientError, OSError, ValueError) as error:
            # What stands in the way of one stands in the way of the others.
            answers += [Answer(silent=_why(error))] * (len(queries) - len(answers))
        finally:
            self._slots.release()
        return answers

    def _session(self) -> aiohttp.ClientSession:
        # One for each time: certificates and tokens are renewed, and canaries are few.
        tls = _tls(self._ca_file, self._ca_file.stat().st_mtime_ns if self._ca_file else 0)
        headers = {"Accept": "application/json"}
        if self._token_file:
            headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}"
        connector = aiohttp.TCPConnector(limit=1, ssl=tls) if self._url.startswith("https:") else None
        return aiohttp.ClientSession(headers=headers, connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def _answer(self, session: aiohttp.ClientSession, query: str) -> Answer:
        # In the body, because a thousand names of pods are too long for an address.
        form = {"query": query, "timeout": f"{_EVALUATION_SECONDS}s"}
        async with session.post(self._url, data=form, allow_redirects=False) as response:
            if response.status not in {200, 400, 422}:
                raise _Silent(_status_words(response.status))
            data = await _read(response)
        if data is None:
            return Answer(wrong="gives more than 1 MiB, and one number is wanted: put sum(…) or max(…) around it")
        try:
            return _understood(response.status, msgspec.json.decode(data, type=_Page))
        except (msgspec.DecodeError, ValueError) as error:
            raise _Silent("answers something else than its HTTP API: see --prometheus-url") from error


def _understood(status: int, page: _Page) -> Answer:
    """Raises ValueError where the page is not one of Prometheus's API."""
    if status != 200:
        return Answer(wrong=f"is refused by Prometheus: {_one_line(page.error) or f'HTTP status {status}'}")
    if page.status != "success" or page.data is None:
        raise ValueError(page.status)
    match page.data.result_type:
        case "scalar":
            return Answer((float(msgspec.json.decode(page.data.result, type=tuple[float, str])[1]),))
        case "vector":
            series = msgspec.json.decode(page.data.result, type=list[_Series])
            values = [one.value for one in series if one.value is not None]
            if len(values) < len(series):
                return Answer(wrong="gives a histogram, and one number is wanted: put histogram_quantile(…) around it")
            return Answer(tuple(float(value) for _, value in values))
        case "matrix":
            return Answer(wrong="gives a stretch of time, and one number is wanted: put rate(…) around it")
        case other:
            return Answer(wrong=f"gives a {_one_line(other)}, and one number is wanted")


def _status_words(status: int) -> str:
    words = {
        401: "does not let the operator in (HTTP status 401): see --prometheus-token-file",
        403: "does not let the operator in (HTTP status 403): see --prometheus-token-file",
        404: "is not where --prometheus-url says (HTTP status 404)",
        503: "could not evaluate the query in time (HTTP status 503)",
    }
    return words.get(status, f"answers with HTTP status {status}")


def _why(error: Exception) -> str:
    if isinstance(error, _Silent):
        return str(error)
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return "has a certificate that the operator does not trust: see --prometheus-ca-file"
    if isinstance(error, aiohttp.ClientError | ConnectionError):
        return "cannot be reached"
    # A file that is gone or holds something else; its content is nobody else's business.
    return f"cannot be asked ({type(error).__name__}): see --prometheus-token-file and --prometheus-ca-file"


def _one_line(words: str) -> str:
    return " ".join(words.split())[:_LONGEST_ERROR]


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    data = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        data += chunk
        if len(data) > _LONGEST_ANSWER:
            return None
    return bytes(data)


@lru_cache(maxsize=2)
def _tls(ca_file: Path | None, _changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
