"""Workers: one broken key is logged once, backs off alone, and slows nobody."""

from __future__ import annotations

import asyncio
import logging

import pytest
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.failure import AlreadyExists, Forbidden, TooManyRequests
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.queue import KeyedQueue
from keras_operator.cluster.worker import Workers, current_work

GOOD, BAD = ("vision", "good"), ("vision", "bad")


class Script:
    """A reconcile function that does what it was told for each key, and remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], float | Exception | None] = {}

    async def __call__(self, key):
        self.calls.append(key)
        await asyncio.sleep(0)
        answer = self.answers.get(key)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(clock) -> KeyedQueue[tuple[str, str]]:
    return KeyedQueue(clock, jitter=lambda: 0.5)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def workers(queue, script) -> Workers:
    return Workers(queue, script, Metrics())


async def settle() -> None:
    """Let every task come to its next wait for something that does not happen by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def running(workers, queue):
    task = asyncio.create_task(workers.run(2))
    await settle()
    yield task
    queue.close()
    await asyncio.wait_for(task, 5)


async def test_a_key_is_reconciled_and_looked_at_again_when_asked(running, queue, script, clock):
    script.answers[GOOD] = 30.0
    queue.add(GOOD)
    await settle()
    assert script.calls == [GOOD]
    clock.advance(30)
    await settle()
    assert script.calls == [GOOD, GOOD]


async def test_without_a_wish_to_look_again_nothing_happens(running, queue, script, clock):
    queue.add(GOOD)
    await settle()
    clock.advance(1e6)
    await settle()
    assert script.calls == [GOOD]


async def test_a_failing_key_backs_off_while_others_go_on(running, queue, script, clock):
    script.answers[BAD] = RuntimeError("boom")
    for _ in range(5):
        queue.add(BAD)
        queue.add(GOOD)
        await settle()
        clock.advance(0.01)
    assert script.calls.count(GOOD) == 5
    assert queue.delayed == 1
    clock.advance(300)
    await settle()
    assert script.calls.count(BAD) == 6


async def test_the_same_failure_is_logged_once_and_a_change_or_recovery_again(running, queue, script, clock, caplog):
    caplog.set_level(logging.INFO, logger="keras_operator.cluster.worker")
    queue.add(GOOD)
    await settle()
    for answer in (RuntimeError("boom"), RuntimeError("boom"), RuntimeError("bang"), None, None):
        script.answers[BAD] = answer
        queue.add(BAD)
        await settle()
    said = [(record.levelname, record.getMessage().split(": ", 1)[-1]) for record in caplog.records]
    assert said == [
        ("ERROR", "RuntimeError: boom"),
        ("ERROR", "RuntimeError: bang"),
        ("INFO", "vision/bad is reconciled again"),
    ]


async def test_a_conflict_is_tried_again_without_a_word_until_it_does_not_end(running, queue, script, clock, caplog):
    script.answers[BAD] = AlreadyExists(409, "AlreadyExists", "there is another")
    for _ in range(5):
        queue.add(BAD)
        await settle()
    assert caplog.records == []
    queue.add(BAD)
    await settle()
    assert "there is another" in caplog.text


async def test_what_is_worked_on_is_known_to_whoever_logs_meanwhile(queue):
    seen = []

    async def reconcile(key):
        seen.append((key, current_work.get()))

    queue.add(GOOD)
    queue.add(BAD)
    task = asyncio.create_task(Workers(queue, reconcile, Metrics()).run(1))
    await settle()
    queue.close()
    await asyncio.wait_for(task, 5)
    assert [(key, work and work.key) for key, work in seen] == [(GOOD, GOOD), (BAD, BAD)]
    assert len({work and work.id for _, work in seen}) == 2
    assert current_work.get() is None


async def test_retries_are_counted(queue, script):
    metrics = Metrics()
    script.answers[BAD] = RuntimeError("boom")
    task = asyncio.create_task(Workers(queue, script, metrics).run(1))
    for key in (GOOD, BAD, BAD):
        queue.add(key)
        await settle()
    queue.close()
    await asyncio.wait_for(task, 5)
    assert metrics.registry.get_sample_value("keras_operator_reconcile_retries_total") == 2


async def test_a_retry_waits_as_long_as_the_server_asked(running, queue, script, clock):
    script.answers[BAD] = TooManyRequests(429, "TooManyRequests", "busy", retry_after=9)
    queue.add(BAD)
    await settle()
    clock.advance(8.9)
    await settle()
    assert script.calls == [BAD]
    clock.advance(0.2)
    await settle()
    assert script.calls == [BAD, BAD]


async def test_success_starts_the_backoff_anew(running, queue, script):
    script.answers[BAD] = Forbidden(403, "Forbidden", "exceeded quota")
    for _ in range(4):
        queue.add(BAD)
        await settle()
    assert queue.failures(BAD) == 4
    script.answers[BAD] = None
    queue.add(BAD)
    await settle()
    assert queue.failures(BAD) == 0


async def test_a_reconcile_that_never_ends_is_given_up_and_named(clock, caplog):
    given_up = asyncio.Event()

    class Queue(KeyedQueue[tuple[str, str]]):
        def done(self, key):
            given_up.set()
            super().done(key)

    queue = Queue(clock)

    async def hang(key):
        await asyncio.Event().wait()

    task = asyncio.create_task(Workers(queue, hang, Metrics(), deadline=0.05).run(1))
    queue.add(BAD)
    await asyncio.wait_for(given_up.wait(), 5)
    assert "vision/bad could not be reconciled" in caplog.text
    assert "no end within 0.05 s" in caplog.text
    queue.close()
    await task


async def test_close_lets_the_key_under_way_finish(queue):
    entered, leave, finished = asyncio.Event(), asyncio.Event(), []

    async def slow(key):
        entered.set()
        await leave.wait()
        finished.append(key)

    task = asyncio.create_task(Workers(queue, slow, Metrics()).run(3))
    queue.add(GOOD)
    await entered.wait()
    queue.close()
    await settle()
    assert not task.done()
    leave.set()
    await asyncio.wait_for(task, 5)
    assert finished == [GOOD]


async def test_a_refusal_of_the_api_server_is_logged_with_its_reason_and_without_a_traceback(
    running, queue, script, caplog
):
    script.answers[BAD] = Forbidden(403, "Forbidden", "exceeded quota")
    queue.add(BAD)
    await settle()
    (record,) = caplog.records
    assert record.getMessage().endswith("Forbidden: exceeded quota")
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (None, "ok"),
        (5.0, "ok"),
        (RuntimeError("boom"), "error"),
        (Forbidden(403, "Forbidden", "exceeded quota"), "error"),
        (AlreadyExists(409, "AlreadyExists", "there is another"), "conflict"),
    ],
    ids=str,
)
async def test_each_result_is_counted_as_what_it_was(queue, script, answer, result):
    metrics = Metrics()
    task = asyncio.create_task(Workers(queue, script, metrics).run(1))
    script.answers[GOOD] = answer
    queue.add(GOOD)
    await settle()
    counted = {
        name: metrics.registry.get_sample_value("keras_operator_reconcile_seconds_count", {"result": name})
        for name in ("ok", "error", "conflict")
    }
    assert counted == {"ok": None, "error": None, "conflict": None} | {result: 1}
    queue.close()
    await task


async def test_the_queue_is_shown(queue, script):
    metrics = Metrics()
    workers = Workers(queue, script, metrics)
    count = metrics.registry.get_sample_value
    script.answers[BAD] = RuntimeError("boom")
    queue.add(BAD)
    assert count("keras_operator_queue_depth") == 1
    task = asyncio.create_task(workers.run(1))
    await settle()
    assert count("keras_operator_queue_depth") == 0
    assert count("keras_operator_queue_delayed") == 1
    assert count("keras_operator_reconcile_failing") == 1
    queue.close()
    await task


async def test_what_is_worked_on_is_shown(queue):
    metrics, begun, may_end = Metrics(), asyncio.Event(), asyncio.Event()

    async def reconcile(_key: tuple[str, str]) -> None:
        begun.set()
        await may_end.wait()

    task = asyncio.create_task(Workers(queue, reconcile, metrics).run(2))
    queue.add(GOOD)
    await begun.wait()
    shown = metrics.registry.get_sample_value
    assert (shown("keras_operator_queue_depth"), shown("keras_operator_queue_processing")) == (0, 1)
    may_end.set()
    await settle()
    assert shown("keras_operator_queue_processing") == 0
    queue.close()
    await task
