"""Workers that are connected: what each has is added up, and each sees at once when another one has ended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_operator.api import Data, Training

from model_trainer.checkpoints import State
from model_trainer.failure import BadRun, WorkerLost, WorkersDiffer, WorkerUnreachable
from model_trainer.workers.link import Kind, Link
from model_trainer.workers.place import Place, Shard, place_of
from model_trainer.workers.world import Epoch, Vector, World, meet
from tests.unit.model_trainer.conftest import free_port

TOGETHER = Training(data=Data(uri="s3://datasets/dogs"), workers=3)


def still_wanted() -> None:
    """Nobody ends the wait."""


def all_of(
    workers: int, run: str = "uid-1", fingerprint: Callable[[int], str] = lambda index: "same"
) -> list[Future[World]]:
    """The worlds of so many workers on this machine, on their way to meet."""
    port = free_port()
    pool = ThreadPoolExecutor(workers)
    places = [Place(Shard(index, workers), "127.0.0.1", port) for index in range(workers)]
    met = [pool.submit(meet, place, run, fingerprint(place.shard.index), still_wanted) for place in places]
    pool.shutdown(wait=False)
    return met


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
        server.accept()[0] as theirs,
    ):
        yield ours, theirs


def numbers(value: float) -> Vector:
    return np.array([value], np.float32)


def together(worlds: list[World], act: Callable[[World], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(worlds)) as pool:
        return [one.result(timeout=60) for one in [pool.submit(act, world) for world in worlds]]


@pytest.fixture
def worlds() -> list[World]:
    return [one.result(timeout=60) for one in all_of(3)]


@given(st.integers(1, 200), st.integers(1, 16))
def test_the_parts_of_a_batch_are_the_batch(batch: int, workers: int):
    parts = [Shard(index, workers).of(batch) for index in range(workers)]
    assert [place for first, end in parts for place in range(first, end)] == list(range(batch))
    assert max(end - first for first, end in parts) - min(end - first for first, end in parts) <= 1
    for index, (first, end) in enumerate(parts):
        computed = np.arange(batch)[Shard(index, workers).computed(batch)]
        assert len(computed) == max(1, end - first)


def test_the_job_says_which_worker_it_is():
    said = {"JOB_COMPLETION_INDEX": "2", "KERAS_CHIEF": "dogs-1-train-0.dogs-workers:8503"}
    assert place_of(TOGETHER, said) == Place(Shard(2, 3), "dogs-1-train-0.dogs-workers", 8503)
    assert place_of(Training(data=Data(uri="s3://datasets/dogs")), said) is None


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"JOB_COMPLETION_INDEX": "3", "KERAS_CHIEF": "dogs:8503"},
        {"JOB_COMPLETION_INDEX": "1", "KERAS_CHIEF": "dogs"},
    ],
    ids=["by hand", "one too many", "no port"],
)
def test_workers_by_hand_are_told_what_is_missing(said: dict[str, str]):
    with pytest.raises(BadRun, match=r"spec.training.workers is 3, and JOB_COMPLETION_INDEX .* or with workers: 1"):
        place_of(TOGETHER, said)


def test_all_have_the_same_sum_bit_for_bit(worlds: list[World]):
    rng = np.random.default_rng(3)
    values = [rng.normal(size=1000).astype(np.float32) for _ in worlds]
    sums = together(worlds, lambda world: world.sum(values[world.place.shard.index]))
    assert sums[0].tobytes() == sums[1].tobytes() == sums[2].tobytes()
    np.testing.assert_allclose(sums[0], np.sum(values, axis=0), rtol=1e-5)


def test_a_mean_is_by_what_each_has_of_the_batch(worlds: list[World]):
    for world in worlds:
        world.begins(4)
    assert [world.share for world in worlds] == [(1, 4), (1, 4), (2, 4)]
    means = together(worlds, lambda world: world.weighted(numbers(world.place.shard.index)))
    assert [float(mean[0]) for mean in means] == [1.25] * 3


def test_who_has_nothing_of_a_batch_counts_for_nothing_whatever_came_of_it(worlds: list[World]):
    for world in worlds:
        world.begins(1)
    none = numbers(np.nan)

    def step(world: World) -> Any:
        value = numbers(7) if world.share[0] else none
        return world.weighted(value), *world.after_step(value, value, world.place.is_chief)

    for mean, counted, averaged in together(worlds, step):
        assert (float(mean[0]), float(counted[0]), float(averaged[0])) == (7, 7, 7)
    assert [world.late for world in worlds] == [True] * 3


def test_all_begin_where_the_first_one_begins_and_go_on_as_it_judged(worlds: list[World], tmp_path: Path):
    (tmp_path / "variables").write_bytes(bytes(range(256)) * 9000)
    state = State(epoch=3, step=2, history={"loss": [0.5, 0.4, 0.3]})

    def begin(world: World) -> Any:
        if world.place.is_chief:
            world.start(state, tmp_path / "variables")
            world.tell(Epoch(state, 0.01))
            return world.end()
        path = tmp_path / str(world.place.shard.index)
        told = world.started(path, still_wanted), path.read_bytes(), world.told(still_wanted)
        world.ended(still_wanted)
        return told

    wanted = state, (tmp_path / "variables").read_bytes(), Epoch(state, 0.01)
    assert together(worlds, begin) == [None, wanted, wanted]


@pytest.mark.parametrize("gone", [0, 1])
def test_the_end_of_one_is_seen_by_all_that_wait(worlds: list[World], gone: int):
    left = [world for world in worlds if world.place.shard.index != gone]
    for link in worlds[gone]._links:
        link.close()

    def step(world: World) -> str:
        with pytest.raises(WorkerLost) as lost:
            world.sum(np.zeros(3, np.float32))
        assert world.lost is lost.value
        # The process ends: whoever waits for it sees that in turn.
        for link in world._links:
            link.close()
        return str(lost.value)

    said = together(left, step)
    assert said[0] == f"worker {gone} of 3 has ended, so all of them go on together from the last checkpoint."


def test_the_first_one_looks_whether_the_others_are_there(worlds: list[World]):
    worlds[0].check()
    worlds[2]._links[0].close()
    with pytest.raises(WorkerLost, match="worker 2 of 3"):
        _look_again_and_again(worlds[0])


def _look_again_and_again(world: World) -> None:
    # The kernel tells the other end of a connection, and nobody knows when it has.
    while True:
        world.check()


def test_a_wait_can_be_ended(worlds: list[World]):
    class UnwantedError(Exception):
        pass

    def unwanted() -> None:
        raise UnwantedError

    with pytest.raises(UnwantedError):
        worlds[1].told(unwanted)


def test_a_machine_that_is_silent_is_given_up_after_twenty_seconds():
    with connected() as (client, _):
        Link(client, "worker 1 of 2")
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [client.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [5, 5, 3, 20_000]


def test_what_is_not_its_turn_ends_the_world():
    with connected() as (ours, theirs):
        Link(theirs, "worker 0 of 2").send(Kind.EPOCH, b"{}")
        with pytest.raises(WorkerUnreachable, match="worker 1 of 2 sent something else"):
            Link(ours, "worker 1 of 2").receive(Kind.VALUES)


def test_whoever_is_no_worker_of_this_run_is_not_let_in_and_a_restarted_one_is():
    port = free_port()
    place = Place(Shard(0, 2), "127.0.0.1", port)
    with ThreadPoolExecutor(3) as pool:
        chief = pool.submit(meet, place, "uid-1", "same", still_wanted)
        other = Place(Shard(1, 2), "127.0.0.1", port)
        stranger = meet(other, "uid-of-another", "same", still_wanted)
        with pytest.raises(WorkerLost):
            stranger.told(still_wanted)
        with socket.create_connection(("127.0.0.1", port)) as scanner:
            scanner.sendall(b"\x00\x04GET ")
            assert scanner.recv(1) == b""
        second = pool.submit(meet, other, "uid-1", "same", still_wanted)
        worlds = [chief.result(timeout=60), second.result(timeout=60)]
    assert [float(one[0]) for one in together(worlds, lambda world: world.sum(numbers(1)))] == [2, 2]


def test_workers_that_read_other_data_do_not_begin():
    chief, other = all_of(2, fingerprint=str)
    with pytest.raises(WorkersDiffer, match="worker 1 of 2 sees other data than worker 0 of 2"):
        chief.result(timeout=60)
    other.result(timeout=60)


def test_a_wait_for_workers_that_never_come_can_be_ended():
    came = threading.Event()

    class StoppedError(Exception):
        pass

    def wanted() -> None:
        if came.is_set():
            raise StoppedError
        came.set()

    with pytest.raises(StoppedError):
        meet(Place(Shard(0, 2), "127.0.0.1", free_port()), "uid-1", "same", wanted)
