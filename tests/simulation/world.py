"""One simulated world: a cluster, people, weather, and the operator in it; everything follows from a seed.

First everything may go wrong. Then nothing does any more, and every model has to arrive where its spec wants it. Then
nothing happens at all, and the operator must not write. Then it is restarted, and must not write either.
"""

from __future__ import annotations

import asyncio
import hashlib
import random as global_random
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

from keras_operator.cluster.reference import Key, Kind, Ref
from keras_operator.kinds import MODEL

from tests.simulation.api_server import ApiServer, Refusal
from tests.simulation.arrival import unfinished
from tests.simulation.controllers import Controllers
from tests.simulation.invariants import InvariantError, Invariants
from tests.simulation.kubelet import Kubelet
from tests.simulation.memory_store import ObjectStorage
from tests.simulation.network import CALM, PARTITION, STORM, WINDY, Network, Request
from tests.simulation.object_table import Change, ObjectTable
from tests.simulation.operator_process import OperatorProcess
from tests.simulation.people import People
from tests.simulation.simulated_loop import START, SimulatedLoop
from tests.simulation.truth import Truth

_ARRIVAL_SECONDS = 3_000.0
_REST_SECONDS = 700.0
_RESTART_SECONDS = 60.0
_LAST_STEPS = 60


class World:
    """Made and lived by :func:`tests.simulation.run.simulate`.

    Args:
        loop: whose time it is.
        seed: from which everything follows.
        chaos_steps: for how many steps things go wrong.
    """

    def __init__(self, loop: SimulatedLoop, seed: int, chaos_steps: int) -> None:
        # Backoff and audits take theirs from the global generator.
        global_random.seed(seed)
        self.steps = 0
        self.writes: list[str] = []
        self._loop = loop
        self._chaos_steps = chaos_steps
        self._random = Random(seed)
        self._over: asyncio.Future[None] = loop.create_future()
        self._chaos_is_over = asyncio.Event()
        self._trace: deque[str] = deque(maxlen=_LAST_STEPS)
        self._digest = hashlib.sha256()
        self._chaotic = True
        self.table = ObjectTable(loop.time, self._timestamp)
        self.server = ApiServer(self.table)
        self.server.admit = self._admit
        self.storage = ObjectStorage(Random(self._random.random()))
        self.truth = Truth()
        self.network = Network(self.server, self._branch(), self.later, self._date)
        self.controllers = Controllers(self.server, self.table, self._branch(), self.later, self.step, self._timestamp)
        self.kubelet = Kubelet(self.table, self.storage, self._branch(), self.later, self.step)
        names = ("dogs", "cats", "birds", "fish")
        self.models = {Ref(MODEL, f"team-{n % 2}", name): f"s3://models/{name}" for n, name in enumerate(names)}
        if self._random.random() < 0.2:
            # Two models that want the same place.
            self.models = dict.fromkeys(list(self.models)[:2], "s3://models/shared") | dict(
                list(self.models.items())[2:]
            )
        self.people = People(self.server, self.table, self._branch(), self.models, self.step, self.later)
        self.invariants = Invariants(
            self.table,
            self.truth,
            self.storage,
            self.people,
            self._seen_until,
            self._believed_until,
            self._decides_by,
        )
        self.table.listeners += [self._changed, self.truth.saw, self.invariants.saw]
        self.network.sent = self.invariants.sent
        self.network.arrived = self._arrived
        self.replicas = 2 if self._random.random() < 0.35 else 1
        self.processes: list[OperatorProcess] = []
        self._lives = 0

    @property
    def digest(self) -> str:
        """Of every step so far: the same in every run of the same seed."""
        return self._digest.hexdigest()

    @property
    def trace(self) -> list[str]:
        """The last steps."""
        return list(self._trace)

    def step(self, what: str) -> None:
        """One thing happened."""
        self.steps += 1
        line = f"{self.steps:>6} {self._loop.time():>9.3f} s  {what}"
        self._trace.append(line)
        self._digest.update(line.encode())
        if self.steps >= self._chaos_steps:
            self._chaos_is_over.set()

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something so many seconds later; what goes wrong in it ends the world."""
        self._loop.call_later(seconds, self._guarded, action)

    def wrong(self, what: str) -> None:
        """End the world."""
        if not self._over.done():
            self._over.set_exception(InvariantError(what))

    async def live(self) -> None:
        """The whole life of it.

        Raises:
            InvariantError: something happened that must never happen, or something did not that must.
        """
        for replica in range(self.replicas):
            self._start(replica)
        self._people_act()
        self._weather_changes()
        await self._until(self._chaos_is_over)
        self._calm_down()
        await self._arrive()
        await self._rest(_REST_SECONDS, "at rest nothing is written")
        for process in list(self.processes):
            process.kill()
            self._ended(process)
        await self._rest(_RESTART_SECONDS, "a restart at rest writes nothing")
        for process in self.processes:
            process.kill()

    # Chaos.

    def _people_act(self) -> None:
        if self._chaotic:
            self.people.act()
            self.later(self._random.choice((0.5, 5, 30, 60)) * self._random.random(), self._people_act)

    def _weather_changes(self) -> None:
        if not self._chaotic:
            return
        for process in self.processes:
            self._trouble(process)
        self.controllers.refuses_pods = 'exceeded quota: "pods"' if self._random.random() < 0.1 else ""
        self.later(self._random.uniform(1, 40), self._weather_changes)

    def _trouble(self, process: OperatorProcess) -> None:
        weather = self._random.choices((CALM, WINDY, STORM, PARTITION), (40, 40, 12, 8))[0]
        self.network.weather[process.name] = weather
        chance = self._random.random()
        if chance < 0.1:
            self.step(f"{process.name} is killed")
            process.kill()
            self._ended(process)
            return
        for watch in process.watches.values():
            watch.lag = self._random.choice((0.05, 0.5, 5.0))
            chance = self._random.random()
            if chance < 0.06:
                watch.break_off(self._random.uniform(0.1, 30))
            elif chance < 0.1:
                watch.fall_silent(self._random.choice((10, 60, 400)) * self._random.random())

    def _admit(self, verb: str, ref: Ref) -> Refusal | None:
        if self._chaotic and ref.kind != MODEL and self._random.random() < 0.01:
            return 403, "Forbidden", f"{ref.kind} {ref.name} is forbidden: exceeded quota"
        return None

    def _start(self, replica: int) -> None:
        self._lives += 1
        process = OperatorProcess(
            f"operator-{replica}-{self._lives}",
            self.network,
            self.table,
            self._branch(),
            elect=self.replicas > 1,
            ask_pod=self.kubelet.answer,
            later=self.later,
            step=self.step,
            went_wrong=self.wrong,
            ended=self._ended,
        )
        self.step(f"{process.name} starts")
        self.processes.append(process)
        self._probe(process, replica)

    def _ended(self, process: OperatorProcess) -> None:
        """The kubelet starts a container anew."""
        if process in self.processes:
            self.processes.remove(process)
            replica = int(process.name.split("-")[1])
            self.later(self._random.uniform(0.5, 10), lambda: self._start(replica))

    def _probe(self, process: OperatorProcess, replica: int) -> None:
        if process.alive and process.unwell:
            self.step(f"{process.name} fails its liveness probe")
            process.kill()
            self._ended(process)
        elif process.alive:
            self.later(10.0, lambda: self._probe(process, replica))

    # Peace.

    def _calm_down(self) -> None:
        self.step("nothing goes wrong any more")
        self._chaotic = False
        self.controllers.restless = False
        self.controllers.refuses_pods = ""
        self.kubelet.calm = True
        self.network.weather.clear()
        for process in self.processes:
            for watch in process.watches.values():
                watch.heal()
        self.people.settle()

    async def _arrive(self) -> None:
        deadline = self._loop.time() + _ARRIVAL_SECONDS
        while found := unfinished(self.table, self.truth, self.storage, self.models):
            if self._loop.time() > deadline:
                raise InvariantError(f"every model arrives: {_ARRIVAL_SECONDS:.0f} s after the last fault {found}")
            await self._sleep(5.0)
        self.step("every model has arrived")
        # Statuses and backoffs of the last fault may still be on their way.
        await self._sleep(400.0)
        if found := unfinished(self.table, self.truth, self.storage, self.models):
            raise InvariantError(f"every model stays where it arrived: {found}")

    async def _rest(self, seconds: float, rule: str) -> None:
        self.writes.clear()
        await self._sleep(seconds)
        if self.writes:
            raise InvariantError(f"{rule}: {self.writes[:5]}")

    async def _sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.later(seconds, woken.set)
        await self._until(woken)

    async def _until(self, event: asyncio.Event) -> None:
        waiting: asyncio.Future[Any] = asyncio.ensure_future(event.wait())
        over: asyncio.Future[Any] = self._over
        await asyncio.wait([waiting, over], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._over.done():
            self._over.result()

    # What happens.

    def _changed(self, change: Change) -> None:
        for process in self.processes:
            watch = process.watches.get(change.ref.kind)
            if watch is not None:
                watch.saw(change)

    def _arrived(self, request: Request, status: int) -> None:
        if request.about("leases"):
            return
        self.step(f"{request.sender} {request.method} {request.path.split('/', 3)[-1]} is answered with {status}")
        if request.writes:
            self.writes.append(f"{request.sender} {request.method} {request.path}")

    def _seen_until(self, name: str, *kinds: Kind) -> float:
        """A process that is gone knew what it knew when it ended; what it sent is at most a minute old."""
        process = next((one for one in self.processes if one.name == name), None)
        return self._loop.time() if process is None else process.seen_until(self._loop.time(), *kinds)

    def _believed_until(self, name: str, key: Key, since: float) -> float:
        process = next((one for one in self.processes if one.name == name), None)
        return since if process is None else process.believed_until(key, since)

    def _decides_by(self, name: str, key: Key) -> float:
        return next(one for one in self.processes if one.name == name).decides_by(key)

    def _guarded(self, action: Callable[[], object]) -> None:
        if self._over.done():
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever is wrong ends the world, with its story
            self._over.set_exception(error)

    def _branch(self) -> Random:
        """A generator of its own for each part, so that a change in one does not shift all others."""
        return Random(self._random.random())

    def _now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time())

    def _timestamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _date(self) -> str:
        return format_datetime(self._now(), usegmt=True)
