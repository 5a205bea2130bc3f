"""The workers of a run, connected: the first one with each of the others.

Everything is in step: what a worker sends or waits for follows from where the training is. The first worker, the chief,
adds up what each has, in the order of their numbers, and sends the sum to all: so all have the same bits, and the same
run gives the same sum another time.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from model_trainer.checkpoints import State
from model_trainer.failure import WorkerLost, WorkersDiffer, WorkerUnreachable
from model_trainer.workers.link import Kind, Link
from model_trainer.workers.place import Place

log = logging.getLogger(__name__)

Vector = npt.NDArray[np.float32]

# Seconds: for one try to connect, between two of them, and for what a stranger at the port may say.
_CONNECT, _AGAIN, _HELLO = 5.0, 0.5, 5.0
_LARGEST_HELLO = 4096


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Who a worker is: its index, the uid of its version, and the fingerprint of all that it learns from."""

    index: int
    run: str
    fingerprint: str


class Epoch(msgspec.Struct, frozen=True, array_like=True):
    """What follows from an epoch, as the chief judged: where the training is, and the learning rate, if it set one."""

    state: State
    learning_rate: float | None = None


class World:
    """This worker and those that it is connected with.

    Attributes:
        place: this worker's.
        share: how many examples of this step's batch are its own, and how many the batch has.
        late: whether the chief's time was over in the last step.
        lost: why the world has ended, once it has; TensorFlow makes another error of what is raised within a step.
    """

    def __init__(self, place: Place, links: list[Link]) -> None:
        self.place = place
        self.share = (0, 0)
        self.late = False
        self.lost: WorkerLost | WorkerUnreachable | None = None
        self._links = links

    def begins(self, batch: int) -> None:
        """The next step is of a batch of this size."""
        first, end = self.place.shard.of(batch)
        self.share = end - first, batch

    def weighted(self, values: Vector) -> Vector:
        """The mean of all workers' values, each by its share of the batch."""
        own, whole = self.share
        # What is computed where there is no share may be no number, and no number of those makes nothing.
        return self.sum(values * np.float32(own / whole) if own else np.zeros_like(values))

    def after_step(self, counted: Vector, averaged: Vector, is_late: bool) -> tuple[Vector, Vector]:
        """The sum of what each has counted and the mean of the rest; and whether the chief is late."""
        own, whole = self.share
        late = np.array([is_late], np.float32)
        if own:
            summed = self.sum(np.concatenate([counted, averaged * np.float32(own / whole), late]))
        else:
            summed = self.sum(np.concatenate([np.zeros_like(counted), np.zeros_like(averaged), late]))
        self.late = bool(summed[-1])
        return summed[: len(counted)], summed[len(counted) : -1]

    def sum(self, values: Vector) -> Vector:
        """The sum of all workers' values, the same bits for each of them."""
        try:
            return self._sum(np.ascontiguousarray(values, np.float32))
        except (WorkerLost, WorkerUnreachable) as error:
            self.lost = error
            raise

    def _sum(self, values: Vector) -> Vector:
        if not self.place.is_chief:
            (chief,) = self._links
            chief.send(Kind.VALUES, values.data.cast("B"))
            return _vector(chief.receive(Kind.VALUES), chief, len(values))
        total = values.copy()
        for link in self._links:
            total += _vector(link.receive(Kind.VALUES), link, len(values))
        for link in self._links:
            link.send(Kind.VALUES, total.data.cast("B"))
        return total

    def check(self) -> None:
        """Raise if one of the others has ended."""
        for link in self._links:
            link.check()

    def start(self, state: State | None, variables: Path) -> None:
        """Of the chief: let all begin here. None: at the first step, with the weights of a new network."""
        for link in self._links:
            link.send(Kind.START, msgspec.json.encode(state))
            link.send_file(variables)

    def started(self, variables: Path, wanted: Callable[[], None]) -> State | None:
        """Of the others: where the chief begins, with the variables in this file."""
        (chief,) = self._links
        state = msgspec.json.decode(chief.receive(Kind.START, wanted), type=State | None)
        chief.receive_file(variables)
        return state

    def tell(self, epoch: Epoch) -> None:
        """Of the chief: an epoch is done."""
        for link in self._links:
            link.send(Kind.EPOCH, msgspec.json.encode(epoch))

    def told(self, wanted: Callable[[], None]) -> Epoch:
        """Of the others: what follows from the epoch that was just trained."""
        (chief,) = self._links
        return msgspec.json.decode(chief.receive(Kind.EPOCH, wanted), type=Epoch)

    def end(self) -> None:
        """Of the chief: the run has its result. Who has ended already need not be told."""
        for link in self._links:
            try:
                link.send(Kind.END, b"")
            except (WorkerLost, WorkerUnreachable) as error:
                log.info("%s", error)
            link.close()

    def ended(self, wanted: Callable[[], None]) -> None:
        """Of the others: wait until the run has its result, or raise that the chief has ended without one."""
        (chief,) = self._links
        chief.receive(Kind.END, wanted)


def meet(place: Place, run: str, fingerprint: str, wanted: Callable[[], None]) -> World:
    """Wait for the others, however long they need for their data or a node, and be connected with them.

    Args:
        place: this worker's.
        run: uid of the version; who comes from another run is not let in.
        fingerprint: of all that is learned from.
        wanted: called now and then; may end the wait by raising.

    Raises:
        WorkersDiffer: another worker sees other data.
        WorkerLost, WorkerUnreachable: one of them ended.
    """
    hello = Hello(place.shard.index, run, fingerprint)
    return World(place, _gather(place, hello, wanted) if place.is_chief else [_join(place, hello, wanted)])


def name(index: int, workers: int) -> str:
    """How a worker is called, with its completion index in the Job."""
    return f"worker {index} of {workers}"


def _gather(place: Place, hello: Hello, wanted: Callable[[], None]) -> list[Link]:
    workers = place.shard.workers
    links: dict[int, Link] = {}
    # A cluster may have IPv4, IPv6 or both.
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server(("", place.port), family=family, backlog=workers, dualstack_ipv6=dual) as server:
        server.settimeout(_AGAIN)
        while len(links) < workers - 1:
            wanted()
            try:
                connection, address = server.accept()
            except TimeoutError:
                continue
            try:
                theirs = _hello_of(connection)
            except (OSError, msgspec.DecodeError, WorkerLost, WorkerUnreachable) as error:
                log.info("somebody who is no worker was at the port", extra={"address": str(address), "cause": error})
                connection.close()
                continue
            if theirs.run != hello.run or not 0 < theirs.index < workers:
                log.warning("a worker of another run was at the port", extra={"address": str(address)})
                connection.close()
                continue
            # A worker that was restarted meanwhile comes a second time.
            if (before := links.pop(theirs.index, None)) is not None:
                before.close()
            links[theirs.index] = Link(connection, name(theirs.index, workers))
            log.info("%s is there", name(theirs.index, workers), extra={"workersThere": len(links) + 1})
            if theirs.fingerprint != hello.fingerprint:
                raise WorkersDiffer(
                    f"{name(theirs.index, workers)} sees other data than {name(0, workers)}: it was changed while they "
                    "read it. All of them start again."
                )
    return [links[index] for index in sorted(links)]


def _hello_of(connection: socket.socket) -> Hello:
    connection.settimeout(_HELLO)
    size = int.from_bytes(_exactly(connection, 2), "big")
    return msgspec.json.decode(_exactly(connection, min(size, _LARGEST_HELLO)), type=Hello)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("it said nothing")
        data += part
    return data


def _join(place: Place, hello: Hello, wanted: Callable[[], None]) -> Link:
    chief = name(0, place.shard.workers)
    said = ""
    while True:
        wanted()
        try:
            connection = socket.create_connection((place.host, place.port), timeout=_CONNECT)
            data = msgspec.json.encode(hello)
            connection.sendall(len(data).to_bytes(2, "big") + data)
            return Link(connection, chief)
        except OSError as error:
            # It reads its data still, or has no node yet, or its name is not known yet: that is no failure.
            if str(error) != said:
                said = str(error)
                log.info("waiting for %s at %s:%d", chief, place.host, place.port, extra={"cause": said})
            time.sleep(_AGAIN)


def _vector(data: bytearray, link: Link, size: int) -> Vector:
    values: Vector = np.frombuffer(data, np.float32)
    if len(values) != size:
        raise WorkerUnreachable(f"{link.peer} sent {len(values)} numbers where {size} were its turn; all start again.")
    return values
