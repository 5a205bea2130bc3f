"""kopf as the transport of watches: nothing of it ever writes to the cluster."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf
from kopf._cogs.clients import watching
from kopf._cogs.clients.errors import APIError

from keras_operator.cluster.connection import Connection
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import Kind
from keras_operator.kinds import CHILDREN, MANAGED_SELECTOR, MODEL, VERSION
from keras_operator.streams import StraightRegistry

logger = logging.getLogger(__name__)

# kopf takes its own finalizer off every object that it watches and that no handler of it needs, so this must be a name
# that no object can carry: the API server refuses finalizers with spaces.
_NO_FINALIZER = "none, this operator has no finalizer"

# Streaming the first list instead of reading it in pages needs WatchList, which is on by default from here on.
_INITIAL_STREAMING_SINCE = (1, 34)


# A watch is answered before anything happens, so this is only the time in which a connection counts as dead.
_ANSWER_SECONDS = 10.0
# Between two beginnings of a watch that the API server answers with an error.
_AGAIN_SECONDS = 2.0
# The HTTP status of a watch that cannot go on from where it was.
_GONE = 410


class _NoDiffBase(kopf.DiffBaseStorage):
    """Stores nothing, and copies no body: that is half of what kopf spends on an event."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Stores nothing: event handlers have no progress."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class _Patience(Iterable[float]):
    """Seconds between attempts of a watch: it outlives any outage, where kopf's default ends the process after 54 s."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1, 2, 5, 10), itertools.repeat(15.0))


class _NotOfKopf(Collection[asyncio.Task[Any]]):
    """All tasks whose coroutine is not kopf's own.

    At its exit kopf waits 5 s for every task of the loop that is not in a given collection, and then cancels it: the
    probes' connections, a reconcile's requests. A list of what ran before its start would not hold those.
    """

    _FOLDER = str(Path(kopf.__file__).parent)

    def __contains__(self, task: object) -> bool:
        code = getattr(task.get_coro(), "cr_code", None) if isinstance(task, asyncio.Task) else None
        return code is None or not code.co_filename.startswith(self._FOLDER)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return (task for task in asyncio.all_tasks() if task in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def watch_settings(server_version: tuple[int, int]) -> kopf.OperatorSettings:
    """kopf's settings for watching only.

    Args:
        server_version: major and minor version of the API server.
    """
    settings = kopf.OperatorSettings()
    settings.persistence.finalizer = _NO_FINALIZER
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    if server_version >= _INITIAL_STREAMING_SINCE:
        settings.watching.initial_streaming = True
    else:
        settings.watching.chunk_size = 500
    # A watch that went silent, as when a firewall forgot its connection, is known by that the server did not end it in
    # time. Two seconds before that the server sends a bookmark, so a quiet watch goes on from there and lists nothing.
    settings.watching.server_timeout = 40
    settings.watching.inactivity_timeout = 45
    settings.watching.client_timeout = 50
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.enforce_retry_after = True
    settings.networking.error_backoffs = _Patience()
    settings.queueing.idle_timeout = 0.5
    settings.queueing.exit_timeout = 1.0
    settings.process.ultimate_exiting_timeout = 60
    for kind in CHILDREN:
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = MANAGED_SELECTOR
    return settings


def _unbroken(watch_objs: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """kopf's watch, which begins again where kopf 1.45 would go wrong.

    * After a first streamed list that broke off kopf goes on from the last object that it was sent, and so never sees
      those that were still to come.
    * Any error but a 410, in a stream or in its place (the kind is gone for a while), ends kopf's watch for good; its
      way out then waits for the other watches, and takes a minute.
    """
    troubles: dict[object, str] = {}

    async def watch(
        *, settings: kopf.OperatorSettings, resource: object, since: str | None = None, **rest: Any
    ) -> AsyncIterator[Any]:
        whole = since is not None or not settings.watching.initial_streaming
        trouble = ""
        try:
            async for event in watch_objs(settings=settings, resource=resource, since=since, **rest):
                if event["type"] == "ERROR" and event["object"].get("code") != _GONE:
                    trouble = str(event["object"].get("message") or event["object"])
                    break
                whole = whole or event["type"] == "BOOKMARK"
                troubles.pop(resource, None)
                yield event
        except APIError as error:
            trouble = str(error)
        if trouble:
            if trouble != troubles.get(resource):
                logger.warning("the watch of %s broke off, and begins anew until it does not: %s", resource, trouble)
            troubles[resource] = trouble
            await asyncio.sleep(_AGAIN_SECONDS)
        if trouble or not whole:
            # What the API server says when a watch has to list anew.
            yield {"type": "ERROR", "object": {"code": _GONE, "message": "begin anew"}}

    return watch


watching.watch_objs = _unbroken(watching.watch_objs)


def _hearing(metrics: Metrics, relisted: Callable[[Kind], object]) -> aiohttp.TraceConfig:
    """Counts the watches that a session opens, and tells of those that list anew: kopf does neither.

    What was deleted before such a list is in no event, and a list that has become empty brings no event at all.
    """
    kinds = {kind.plural: kind for kind in (MODEL, VERSION, *CHILDREN)}

    async def hear(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, request: aiohttp.TraceRequestStartParams
    ) -> None:
        kind = kinds.get(request.url.name)
        if "watch" in request.url.query:
            metrics.watch_requests.labels(request.url.name).inc()
        if kind is not None and "resourceVersion" not in request.url.query:
            relisted(kind)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(hear)
    return trace


class Watches:
    """The watch streams of one operator.

    Args:
        connection: the API server.
        register: subscribes handlers with a registry.
        namespaces: where to watch; none for everywhere.
        server_version: major and minor version of the API server.
        metrics: where watches are counted as they are opened.
        relisted: told the kind of each watch that lists anew.
    """

    def __init__(
        self,
        connection: Connection,
        register: Callable[[kopf.OperatorRegistry], object],
        namespaces: Iterable[str],
        server_version: tuple[int, int],
        metrics: Metrics,
        relisted: Callable[[Kind], object] = lambda _kind: None,
    ) -> None:
        self._namespaces = tuple(namespaces)
        self._settings = watch_settings(server_version)
        self._registry = StraightRegistry()
        self._stop = asyncio.Event()
        register(self._registry)

        async def login(**_: Any) -> kopf.AiohttpSession:
            session = connection.session(traces=[_hearing(metrics, relisted)], answer_within=_ANSWER_SECONDS)
            return kopf.AiohttpSession(aiohttp_session=session, server=connection.server)

        kopf.on.login(id="login", registry=self._registry, errors=kopf.ErrorsMode.TEMPORARY, backoff=5)(login)

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Watch until :meth:`stop`.

        Args:
            started: called when kopf has set its signal handlers, and before it does anything else.

        Raises:
            Exception: a watch failed in a way that only a new process heals.
        """
        tasks = await kopf.spawn_tasks(
            registry=self._registry,
            settings=self._settings,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
        )
        started()
        await kopf.run_tasks(tasks, ignored=_NotOfKopf())

    def stop(self) -> None:
        """End all streams; :meth:`run` returns soon."""
        self._stop.set()
