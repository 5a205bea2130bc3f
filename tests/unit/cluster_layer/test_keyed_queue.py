"""The work queue, on a clock moved by hand, and against a model that is too simple to be wrong."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.queue import KeyedQueue, QueueClosedError


def take(queue: KeyedQueue[str]) -> str:
    """Next key of a queue that is not empty: no event loop is needed, nothing is waited for."""
    coroutine = queue.get()
    try:
        coroutine.send(None)
    except StopIteration as result:
        key: str = result.value
        return key
    raise AssertionError("a queue with ready keys made its worker wait")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(clock) -> KeyedQueue[str]:
    return KeyedQueue(clock, jitter=lambda: 0.5)


def test_many_adds_of_a_key_are_one_piece_of_work(queue):
    for _ in range(2000):
        queue.add("a")
    assert (len(queue), take(queue), len(queue)) == (1, "a", 0)


def test_a_key_added_while_worked_on_comes_again_only_after_done(queue):
    queue.add("a")
    take(queue)
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert take(queue) == "a"


def test_done_without_a_change_gives_nothing(queue):
    queue.add("a")
    queue.done(take(queue))
    assert len(queue) == 0


def test_the_earliest_of_several_delayed_adds_counts(queue, clock):
    queue.add_after("a", 30)
    queue.add_after("a", 5)
    queue.add_after("a", 60)
    clock.advance(4.9)
    assert len(queue) == 0
    clock.advance(0.1)
    assert take(queue) == "a"
    queue.done("a")
    clock.advance(100)
    assert len(queue) == 0


def test_retries_of_a_key_back_off_up_to_the_bound_and_start_again_after_forget(queue):
    assert [queue.retry("a") for _ in range(4)] == [0.2, 0.4, 0.8, 1.6]
    for _ in range(60):
        queue.retry("a")
    assert queue.retry("a") == 300
    assert queue.retry("b") == 0.2
    queue.forget("a")
    assert queue.retry("a") == 0.2


@pytest.mark.parametrize(("jitter", "delay"), [(0.0, 0.15), (0.5, 0.2), (0.999, 0.24990)])
def test_jitter_spreads_a_retry_by_a_quarter(clock, jitter, delay):
    assert KeyedQueue[str](clock, jitter=lambda: jitter).retry("a") == pytest.approx(delay, abs=1e-4)


def test_a_retry_waits_at_least_as_long_as_the_server_asked(queue, clock):
    assert queue.retry("a", at_least=7) == 7
    clock.advance(6.9)
    assert len(queue) == 0
    clock.advance(0.2)
    assert len(queue) == 1


def test_the_wait_of_a_key_is_measured_from_the_moment_it_became_ready(clock):
    waits: list[float] = []
    queue = KeyedQueue[str](clock, on_wait=waits.append)
    queue.add_after("a", 10)
    clock.advance(13)
    take(queue)
    assert waits == [3]


async def test_a_waiting_worker_is_woken_by_an_add(queue):
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await worker == "a"


async def test_a_cancelled_worker_takes_no_key_with_it(queue):
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


async def test_close_ends_waiting_and_later_workers_and_ignores_adds(queue, clock):
    queue.add_after("b", 1)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(QueueClosedError):
        await waiting
    queue.add("a")
    queue.add_after("a", 1)
    assert queue.delayed == 0
    clock.advance(2)
    with pytest.raises(QueueClosedError):
        await queue.get()


def test_close_lets_work_under_way_end_without_giving_it_out_again(queue):
    queue.add("a")
    take(queue)
    queue.add("a")
    queue.close()
    queue.done("a")
    assert len(queue) == 0


KEYS = st.sampled_from(["a", "b", "c"])


class QueueAgainstModel(RuleBasedStateMachine):
    """Every key is in a few plain sets; what the queue shows must follow from them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.queue: KeyedQueue[str] = KeyedQueue(self.clock, jitter=lambda: 0.5)
        self.ready: list[str] = []
        self.again: list[str] = []
        self.working: set[str] = set()
        self.due: dict[str, float] = {}
        self.failures: dict[str, int] = {}

    def wanted(self, key: str) -> None:
        if key in self.working:
            if key not in self.again:
                self.again.append(key)
        elif key not in self.ready:
            self.ready.append(key)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.wanted(key)

    @rule(key=KEYS, seconds=st.integers(0, 20))
    def add_after(self, key: str, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        self.later(key, seconds)

    def later(self, key: str, seconds: float) -> None:
        if seconds == 0:
            self.wanted(key)
        else:
            due = self.clock.monotonic() + seconds
            self.due[key] = min(due, self.due.get(key, due))

    @rule(key=KEYS)
    def retry(self, key: str) -> None:
        failures = self.failures.get(key, 0)
        self.failures[key] = failures + 1
        expected = min(300.0, 0.2 * 2**failures)
        assert self.queue.retry(key) == expected
        self.later(key, expected)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @rule(seconds=st.integers(1, 30))
    def advance(self, seconds: int) -> None:
        now = self.clock.monotonic() + seconds
        for key in sorted((key for key, due in self.due.items() if due <= now), key=lambda key: self.due[key]):
            del self.due[key]
            self.wanted(key)
        before = set(self.ready)
        self.clock.advance(seconds)
        # Keys due at the same moment may come in either order: take the queue's, after checking that it is one.
        assert set(self.queue._ready) == before
        self.ready = list(self.queue._ready)

    @precondition(lambda self: self.ready)
    @rule()
    def get(self) -> None:
        key = take(self.queue)
        assert key == self.ready.pop(0)
        assert key not in self.working, "a key is with two workers"
        self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(key)
        self.working.remove(key)
        if key in self.again:
            self.again.remove(key)
            self.ready.append(key)

    @invariant()
    def shows_what_the_model_holds(self) -> None:
        assert len(self.queue) == len(self.ready)
        assert self.queue.delayed == len(self.due)
        assert {key: self.queue.failures(key) for key in self.failures} == self.failures


QueueAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueueAgainstModel = QueueAgainstModel.TestCase
