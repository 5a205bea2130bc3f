"""Workers that take keys from the queue and reconcile them, each key at its own pace."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass

from keras_operator.cluster.failure import ApiFailure, Conflict
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.queue import KeyedQueue, QueueClosedError
from keras_operator.cluster.reference import Key

logger = logging.getLogger(__name__)

_CONFLICTS_IN_A_ROW = 5

Reconcile = Callable[[Key], Awaitable[float | None]]


@dataclass(frozen=True, slots=True)
class Work:
    """One reconcile: of which key, and a name that tells its log lines from those of all others."""

    key: Key
    id: str


current_work: ContextVar[Work | None] = ContextVar("current_work", default=None)
"""What the running task works on, for its log lines; None outside of a reconcile."""


class Workers:
    """Runs a reconcile function over a queue.

    A key that fails waits longer after each failure while all others go on. A failure is logged when it is new for its
    key or differs from the last one, so that an object broken for a week is one line, not ten thousand.

    Args:
        queue: where keys come from.
        reconcile: brings one key's objects to the wanted state; returns the seconds after which to look again, or None.
        metrics: what is counted.
        deadline: seconds after which one reconcile is given up, so that a lost answer never holds a key for ever.
    """

    def __init__(
        self,
        queue: KeyedQueue[Key],
        reconcile: Reconcile,
        metrics: Metrics,
        *,
        deadline: float = 120.0,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._metrics = metrics
        self._deadline = deadline
        self._failing: dict[Key, str] = {}
        metrics.queue_depth.set_function(lambda: len(queue))
        metrics.queue_processing.set_function(lambda: queue.processing)
        metrics.queue_delayed.set_function(lambda: queue.delayed)
        metrics.reconcile_failing.set_function(lambda: len(self._failing))

    async def run(self, count: int) -> None:
        """Work with so many workers until the queue is closed; keys under way are finished first."""
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._work(), name=f"worker-{number}")

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosedError:
                return
            before = current_work.set(Work(key, secrets.token_hex(4)))
            try:
                await self._one(key)
            finally:
                current_work.reset(before)
                self._queue.done(key)

    async def _one(self, key: Key) -> None:
        started = time.perf_counter()
        result = "ok"
        try:
            async with asyncio.timeout(self._deadline):
                again = await self._reconcile(key)
        except Conflict as conflict:
            # The world moved on between reading and writing: no failure, unless it happens again and again.
            result = "conflict"
            delay = self._retry(key)
            if self._queue.failures(key) > _CONFLICTS_IN_A_ROW:
                self._report(key, f"{conflict.reason}: {conflict.message}", delay, None)
        except ApiFailure as failure:
            result = "error"
            delay = self._retry(key, failure.retry_after or 0.0)
            if not failure.unanswered:
                self._report(key, f"{failure.reason}: {failure.message}", delay, None)
        except TimeoutError:
            result = "error"
            delay = self._retry(key)
            self._report(key, f"no end within {self._deadline:g} s", delay, None)
        except Exception as error:  # noqa: BLE001 - whatever breaks one key must not stop the others
            result = "error"
            delay = self._retry(key)
            self._report(key, f"{type(error).__name__}: {error}", delay, error)
        else:
            self._queue.forget(key)
            if self._failing.pop(key, None) is not None:
                logger.info("%s/%s is reconciled again", *key)
            if again is not None:
                self._queue.add_after(key, again)
        finally:
            self._metrics.reconcile_seconds.labels(result).observe(time.perf_counter() - started)

    def _retry(self, key: Key, at_least: float = 0.0) -> float:
        self._metrics.reconcile_retries.inc()
        return self._queue.retry(key, at_least)

    def _report(self, key: Key, what: str, delay: float, error: Exception | None) -> None:
        if self._failing.get(key) == what:
            logger.debug("%s/%s still fails, next try in %.1f s", *key, delay)
            return
        self._failing[key] = what
        logger.error("%s/%s could not be reconciled, next try in %.1f s: %s", *key, delay, what, exc_info=error)
