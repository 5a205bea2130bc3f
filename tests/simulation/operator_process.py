"""One process of the operator: its real parts on a simulated loop, wired as `lifecycle` wires them."""

from __future__ import annotations

import asyncio
import functools
import math
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, cast

from keras_operator.cluster.audit import Audit, Auditor
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.client import Client
from keras_operator.cluster.connection import Connection
from keras_operator.cluster.election import Election, LeadershipLostError
from keras_operator.cluster.failure import ApiFailure
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.outage import Outage
from keras_operator.cluster.queue import KeyedQueue
from keras_operator.cluster.reference import DEPLOYMENT, LEASE, POD, Key, Kind, Ref
from keras_operator.cluster.worker import Workers
from keras_operator.handlers import Handlers
from keras_operator.kinds import CHILDREN, MANAGED_SELECTOR, MODEL, VERSION
from keras_operator.lifecycle import _LONGEST_DELAY
from keras_operator.projection import project
from keras_operator.reconcile import Reconciler
from keras_operator.render import Renderer
from keras_operator.settings import Settings

from tests.simulation.network import SERVER, Network, Session
from tests.simulation.object_table import Body, ObjectTable
from tests.simulation.simulated_loop import LoopClock
from tests.simulation.watch import Watch

SETTINGS = Settings(
    trainer_image="trainer:1",
    server_image="server:1",
    tensorflow_serving_image="tensorflow/serving:1",
    lease_namespace="keras-operator-system",
)
LEASE_REF = Ref(LEASE, SETTINGS.lease_namespace, SETTINGS.lease_name)
_WORKERS = 3
# Longer than any write is on its way after the look that led to it.
_LOOKS_SECONDS = 300.0

PodAnswer = Callable[[str], Mapping[str, Any]]
"""The answer of a pod to a URL; raises ApiFailure where there is none."""


class OperatorProcess:
    """Started by its construction; ends by :meth:`kill`, or when it gives up.

    Args:
        name: which replica and which of its lives; the sender of its requests.
        network: to the API server.
        table: what its watches watch.
        random: decides about delays of its watches.
        elect: whether it takes part in an election, or works at once.
        ask_pod: answers of pods.
        later: calls back after so many seconds.
        step: told of each event that reaches it.
        went_wrong: told of what must never happen: an exception that is no failure of a request.
        ended: told when it ends by itself.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        table: ObjectTable,
        random: Random,
        *,
        elect: bool,
        ask_pod: PodAnswer,
        later: Callable[[float, Callable[[], object]], object],
        step: Callable[[str], object],
        went_wrong: Callable[[str], object],
        ended: Callable[[OperatorProcess], object],
    ) -> None:
        self.name = name
        self.alive = True
        self.leads = not elect
        self._sessions: list[Session] = []
        self._network = network
        self._step = step
        self._went_wrong = went_wrong
        self._ended = ended
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop, skew=random.uniform(-300, 300))
        metrics = Metrics()
        self.cache = Cache()
        self.outage = Outage(clock)
        self.queue: KeyedQueue[Key] = KeyedQueue(clock, longest_delay=_LONGEST_DELAY, jitter=random.random)
        connection = cast("Connection", self)
        aside = Client(connection, (MODEL, VERSION), metrics, concurrency=4, clock=clock)
        self._election = Election(aside, LEASE_REF, name, metrics=metrics, clock=clock) if elect else None
        may_write = self._election.remaining if self._election else lambda: math.inf
        client = Client(connection, (MODEL, VERSION), metrics, instance=name, clock=clock, may_write=may_write)
        client._pods = cast("Any", _Pods(ask_pod))
        self.auditor = Auditor(
            [
                Audit(
                    kind,
                    self.cache,
                    selector=_selector(kind),
                    namespaces=(None,),
                    wake=self.queue.add,
                    api=aside,
                    metrics=metrics,
                    clock=clock,
                )
                for kind in (MODEL, VERSION, *CHILDREN)
            ],
            clock=clock,
        )
        self._now = loop.time
        self._looks: dict[Key, deque[tuple[float, float]]] = defaultdict(deque)
        self._reconciler = Reconciler(self.cache, client, SETTINGS, metrics, clock)
        # Each process compiles its templates once; here hundreds of processes share them.
        self._reconciler._renderer = _renderer()
        self._workers = Workers(self.queue, self._reconcile, metrics)
        self._handlers = Handlers(self.cache, self.queue, self._project, self.auditor.relisted, metrics)
        self.watches = {
            kind: Watch(kind, _selector(kind), table, random, later, loop.time, self._observe)
            for kind in (MODEL, VERSION, *CHILDREN)
        }
        for watch in self.watches.values():
            watch.break_off(random.uniform(0.01, 1.0))
        self._tasks = [
            loop.create_task(coroutine) for coroutine in (self._work(), self._lead(), self.auditor.run(tick=2.0))
        ]

    # What the operator's Client asks of its Connection.

    server = SERVER

    def session(self, **_: Any) -> Session:
        """A session for requests to the API server."""
        session = self._network.session(self.name)
        self._sessions.append(session)
        return session

    # What the world does with it.

    def kill(self) -> None:
        """SIGKILL: nothing of it runs, sends or hears any more; what it sent is on its way."""
        self.alive = self.leads = False
        for session in self._sessions:
            session.closed = True
        for watch in self.watches.values():
            watch.closed = True
        for task in self._tasks:
            task.cancel()

    @property
    def unwell(self) -> bool:
        """What its liveness probe says."""
        return bool(self.auditor.dead)

    def seen_until(self, now: float, *kinds: Kind) -> float:
        """The moment up to which its cache holds everything that happened to objects of these kinds."""
        since = now
        for kind in kinds:
            behind = self.watches[kind].behind_since(lambda uid, kind=kind: self._caches(kind, uid))  # type: ignore[misc]
            since = min(since, now if behind is None else behind)
        return since

    def believed_until(self, key: Key, since: float) -> float:
        """The moment up to which it knew everything that matters to this model when it looked at it since then."""
        return min((knew for looked, knew in self._looks[key] if looked >= since), default=since)

    def decides_by(self, key: Key) -> float:
        """The moment up to which it knew everything that matters to this model when it last began to look at it."""
        return self._looks[key][-1][1]

    def _caches(self, kind: Kind, uid: str) -> bool:
        entries = (self.cache.entry(ref) for ref in self.cache.refs(kind))
        return any(entry is not None and entry.uid == uid for entry in entries)

    async def _work(self) -> None:
        await self.auditor.synced.wait()
        if self._election:
            await self._election.leading.wait()
            self.leads = True
        await self._workers.run(_WORKERS)

    async def _lead(self) -> None:
        if self._election is None:
            return
        try:
            await self._election.run()
        except LeadershipLostError:
            # Lifecycle ends the process at once.
            self.kill()
            self._ended(self)

    async def _reconcile(self, key: Key) -> float | None:
        now = self._now()
        looks = self._looks[key]
        looks.append((now, self.seen_until(now, MODEL, VERSION, DEPLOYMENT, POD)))
        while looks[0][0] < now - _LOOKS_SECONDS:
            looks.popleft()
        try:
            return await self._reconciler(key)
        except ApiFailure:
            raise
        except Exception as error:
            self._went_wrong(f"the reconcile of {key} raised {error!r}")
            raise

    def _observe(self, kind: Kind, kind_of_event: str | None, body: Body) -> None:
        if self.alive:
            metadata = body["metadata"]
            version = metadata["resourceVersion"]
            self._step(f"{self.name} sees {kind} {metadata['name']} {kind_of_event or 'LISTED'} at {version}")
            self._handlers.observe(kind, kind_of_event, body)

    def _project(self, kind: Kind, body: Mapping[str, Any]) -> object:
        try:
            return project(kind, body)
        except Exception as error:
            self._went_wrong(f"the projection of {kind} {body['metadata']['name']} raised {error!r}")
            raise


class _Pods:
    """As `keras_operator.cluster.pod_http.PodHttp`."""

    def __init__(self, answer: PodAnswer) -> None:
        self._answer = answer

    async def json(self, url: str, _timeout: float, _limit: int) -> dict[str, Any]:
        return dict(self._answer(url))


def _selector(kind: Kind) -> str:
    return "" if kind in {MODEL, VERSION} else MANAGED_SELECTOR


@functools.cache
def _renderer() -> Renderer:
    return Renderer()
