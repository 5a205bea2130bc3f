"""A client that never stops asking: it shows whether a change of a model costs anybody a prediction."""

from __future__ import annotations

import http.client
import itertools
import json
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

CONNECTIONS = 5
PER_SECOND = 50.0
SECONDS_TO_ANSWER = 5.0


@dataclass(frozen=True)
class Question:
    """One image as the model's float signature takes it, and its class's index."""

    instance: Any
    label: int


@dataclass
class Score:
    """What became of the requests so far."""

    asked: int = 0
    right: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


class SteadyClient:
    """Asks a model's `:predict` about 50 times a second until the context ends.

    Four workers keep their connections, as clients with pools do, and meet pods that go away. The fifth opens one for
    every request, and so meets addresses that lead nowhere yet, or no longer. Nothing is ever asked a second time: what
    fails has failed.

    Args:
        url: `http://host:port/v1/models/NAME`.
        questions: images to go through again and again.
        classes: how many probabilities each answer must have.
    """

    def __init__(self, url: str, questions: Sequence[Question], classes: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = f"{parts.path}:predict"
        self._questions = questions
        self._classes = classes
        self._next = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._begun = 0.0
        self._threads: list[threading.Thread] = []
        self.score = Score()

    def __enter__(self) -> SteadyClient:
        self._begun = time.monotonic()
        for number in range(CONNECTIONS):
            keeps = number > 0
            thread = threading.Thread(target=self._work, args=(number, keeps), name=f"client {number}")
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> Score:
        """The score of a client that was as steady as it should be and was never let down. Raises AssertionError."""
        seconds = time.monotonic() - self._begun
        with self._lock:
            score = self.score
            some = "\n".join(score.failures[:10])
            assert not score.failures, f"{len(score.failures)} of {score.asked} requests failed:\n{some}"
            assert score.asked > seconds * PER_SECOND / 2, f"only {score.asked} requests in {seconds:.0f} s"
            assert score.right > score.asked / 2, f"only {score.right} of {score.asked} answers were right"
            return score

    def _work(self, number: int, keeps: bool) -> None:
        connection = self._connect()
        pause = CONNECTIONS / PER_SECOND
        due = time.monotonic() + pause * number / CONNECTIONS
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + pause, time.monotonic())
            question = self._questions[next(self._next) % len(self._questions)]
            begun = time.monotonic()
            try:
                fault, right = self._ask(connection, question)
            except (OSError, http.client.HTTPException) as error:
                fault, right = f"{type(error).__name__}: {error}", False
                connection.close()
            self._note(fault, right, time.monotonic() - begun, keeps)
            if not keeps:
                connection.close()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=SECONDS_TO_ANSWER)

    def _ask(self, connection: http.client.HTTPConnection, question: Question) -> tuple[str, bool]:
        """What is wrong with the answer (nothing: empty), and whether it names the right class."""
        body = json.dumps({"instances": [question.instance]})
        connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            return f"HTTP {answer.status}: {text[:300]!r}", False
        rows = json.loads(text).get("predictions")
        if not isinstance(rows, list) or len(rows) != 1 or len(rows[0]) != self._classes:
            return f"not one row of {self._classes} probabilities: {text[:300]!r}", False
        if not math.isclose(sum(rows[0]), 1.0, abs_tol=1e-3):
            return f"probabilities do not add up to 1: {text[:300]!r}", False
        return "", max(range(self._classes), key=rows[0].__getitem__) == question.label

    def _note(self, fault: str, right: bool, seconds: float, keeps: bool) -> None:
        with self._lock:
            self.score.asked += 1
            self.score.right += right
            self.score.slowest = max(self.score.slowest, seconds)
            if fault:
                at = time.monotonic() - self._begun
                kind = "kept" if keeps else "new"
                self.score.failures.append(f"after {at:.1f} s, on a {kind} connection, in {seconds:.2f} s: {fault}")
