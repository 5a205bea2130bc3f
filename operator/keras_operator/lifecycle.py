"""The life of the process: what is started in which order, what ends it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

from keras_operator.cluster.audit import Audit, Auditor
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.client import Client
from keras_operator.cluster.clock import Clock, ServerClock
from keras_operator.cluster.connection import Connection
from keras_operator.cluster.debug import DebugServer
from keras_operator.cluster.election import Election, LeadershipLostError
from keras_operator.cluster.failure import ApiFailure
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.probes import Probes
from keras_operator.cluster.queue import KeyedQueue
from keras_operator.cluster.reference import LEASE, Key, Ref
from keras_operator.cluster.worker import Workers
from keras_operator.handlers import Handlers, Project
from keras_operator.kinds import CHILDREN, MANAGED_SELECTOR, MODEL, VERSION
from keras_operator.settings import Settings
from keras_operator.watches import Watches

logger = logging.getLogger(__name__)

# A model that failed while the API server was in trouble is tried again within a minute of its recovery, however long
# the trouble lasted. What a person has to mend is not tried by these delays: it is no failure, but a refusal.
_LONGEST_DELAY = 45.0


class Reconciles(Protocol):
    """What the workers call with the key of a model, and what a maintainer asks about it."""

    def __call__(self, key: Key) -> Awaitable[float | None]:
        """Reconcile; seconds after which to look again, or None."""

    def explain(self, key: Key) -> Mapping[str, object] | None:
        """What is known of a model, and what follows from it; None for no model."""


class MakeReconciler(Protocol):
    """How a reconciler is made."""

    def __call__(self, cache: Cache, client: Client, settings: Settings, metrics: Metrics, clock: Clock) -> Reconciles:
        """Make it."""


class Lifecycle:
    """One operator process.

    The order matters at both ends. At start: probes, CRDs, watches and audits on every replica; then, once the cache is
    complete and this replica leads, the workers. At the end: the workers finish what they are at, the Lease is given
    away, and only then do the watches stop.

    Args:
        settings: what it was started with.
        connection: the API server.
        make_reconciler: makes what the workers call.
        project: makes projections for the cache.
        give_up: ends the process at once when leadership is lost, so that no write of it can follow.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        make_reconciler: MakeReconciler,
        project: Project,
        give_up: Callable[[], object] = lambda: os._exit(1),
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._project = project
        self._give_up = give_up
        clock = ServerClock()
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self.metrics = Metrics()
        self.cache = Cache()
        self.queue: KeyedQueue[Key] = KeyedQueue(
            clock, longest_delay=_LONGEST_DELAY, on_wait=self.metrics.queue_wait_seconds.observe
        )
        # Renewals and audits must not queue behind the workers' requests.
        self._aside = Client(
            connection, (MODEL, VERSION), self.metrics, concurrency=4, timeout=settings.request_timeout, clock=clock
        )
        lease = Ref(LEASE, settings.lease_namespace, settings.lease_name)
        self._election = Election(self._aside, lease, identity, metrics=self.metrics)
        self.client = Client(
            connection,
            (MODEL, VERSION),
            self.metrics,
            concurrency=settings.concurrency,
            service_concurrency=settings.service_concurrency,
            timeout=settings.request_timeout,
            instance=identity,
            clock=clock,
            may_write=self._election.remaining if settings.leader_elect else lambda: math.inf,
        )
        self._auditor = Auditor(
            [
                Audit(
                    kind,
                    self.cache,
                    selector="" if kind in {MODEL, VERSION} else MANAGED_SELECTOR,
                    namespaces=settings.namespaces or (None,),
                    wake=self.queue.add,
                    api=self._aside,
                    metrics=self.metrics,
                )
                for kind in (MODEL, VERSION, *CHILDREN)
            ],
            interval=settings.audit_interval,
        )
        self._reconciler = make_reconciler(self.cache, self.client, settings, self.metrics, clock)
        self._workers = Workers(self.queue, self._reconciler, self.metrics)
        self._stopping = asyncio.Event()
        self._trouble: str | None = "not asked yet"
        self._working = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until a signal comes.

        Raises:
            Exception: something ended that must not end; the process is to be started anew.
        """
        self._listen_to_signals()
        probes = Probes(
            self._settings.probe_port,
            live={"watches": self._watches_alive},
            ready={"kinds": lambda: self._trouble, "cache": self._cache_complete},
            registry=self.metrics.registry,
        )
        port = await probes.start()
        logger.info("probes and metrics are on port %d, the API server is %s", port, self._connection.server)
        debug = await self._debug()
        try:
            if version := await self._wait_for_kinds():
                await self._operate(version)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await probes.stop()
            if debug:
                await debug.stop()
            await self.client.close()
            await self._aside.close()

    async def _debug(self) -> DebugServer | None:
        if self._settings.debug_port is None:
            return None
        server = DebugServer(self._settings.debug_port, self.queue, self._reconciler.explain)
        logger.info("what is known of a model is at http://127.0.0.1:%d/debug/state", await server.start())
        return server

    def stop(self) -> None:
        """End in good order, as on SIGTERM."""
        self._stopping.set()

    async def _operate(self, server_version: tuple[int, int]) -> None:
        handlers = Handlers(self.cache, self.queue, self._project, self._auditor.relisted, self.metrics)
        watches = Watches(
            self._connection,
            handlers.register,
            self._settings.namespaces,
            server_version,
            self.metrics,
            self._auditor.relisted,
        )
        work = self._start("workers", self._work())
        if self._settings.leader_elect:
            self._start("election", self._lead())
        self._start("audits", self._auditor.run())
        stopping = self._start("stop", self._stopped())
        watching = self._start("watches", watches.run(self._listen_to_signals))

        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if stopping not in ended:
            task = ended.pop()
            raise task.exception() or RuntimeError(f"the {task.get_name()} ended, and nobody had asked for it")
        logger.info("asked to stop: finishing %d models' work", len(self.queue))
        await self._drain(work)
        if self._settings.leader_elect:
            await self._resign()
        watches.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await watching
        logger.info("stopped")

    async def _work(self) -> None:
        await self._auditor.synced.wait()
        # What was loaded until now stays for good: the collector need not walk over it ever again.
        gc.freeze()
        if self._settings.leader_elect:
            await self._election.leading.wait()
        else:
            self.metrics.leader.set(1)
        self._working = True
        await self._workers.run(self._settings.workers)

    async def _lead(self) -> None:
        try:
            await self._election.run()
        except LeadershipLostError as lost:
            logger.critical("leadership is lost, ending at once: %s", lost)
            logging.shutdown()
            self._give_up()
            raise

    async def _resign(self) -> None:
        for task in self._tasks:
            if task.get_name() == "election":
                task.cancel()
                await asyncio.wait([task])
        await self._election.release()

    async def _drain(self, work: asyncio.Task[None]) -> None:
        self.queue.close()
        if not self._working:
            work.cancel()
        await asyncio.wait([work], timeout=self._settings.drain)
        if not work.done():
            logger.warning("work under way took longer than %g s and is cut off", self._settings.drain)
            work.cancel()
            await asyncio.wait([work])

    async def _wait_for_kinds(self) -> tuple[int, int] | None:
        """Wait until the API server answers and knows the kinds; its version, or None where stop() came first."""
        said = ""
        while not self._stopping.is_set():
            try:
                version = await self.client.server_version()
                missing = [str(kind) for kind in (MODEL, VERSION) if not await self.client.serves(kind)]
                trouble = f"the CRDs of {' and '.join(missing)} are not installed: kubectl apply -k crds"
            except ApiFailure as failure:
                trouble = f"the API server does not answer: {failure.message}"
            else:
                if not missing:
                    self._trouble = None
                    return version
            self._trouble = trouble
            if trouble != said:
                logger.error("%s; waiting", trouble)
            said = trouble
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self._stopping.wait()
        return None

    def _start(self, name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        return task

    async def _stopped(self) -> None:
        await self._stopping.wait()

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            # Only the main thread may; in a test it is another one, and the test calls stop().
            with contextlib.suppress(ValueError, RuntimeError):
                asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)

    def _watches_alive(self) -> str | None:
        dead = self._auditor.dead
        return f"the watches of {', '.join(map(str, dead))} bring nothing any more" if dead else None

    def _cache_complete(self) -> str | None:
        unsynced = self._auditor.unsynced
        return f"not complete: {', '.join(map(str, unsynced))}" if unsynced else None
