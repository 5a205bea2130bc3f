import threading
import time

import pytest

from model_store import NotFound, Unreachable
from model_trainer.patience import Patience


class Away:
    """Fails `failures` times, then answers 7."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise Unreachable("away")
        return 7


def test_a_call_is_repeated_until_the_store_is_back():
    said: list[str] = []
    away = Away(3)
    assert Patience(20, longest_pause=0.01, say=said.append)("reading x", away) == 7
    assert away.calls == 4
    assert said[0].startswith("reading x: the store does not answer, trying for another ")
    assert said[0].endswith(" s: away")
    assert said[-1] == "", "nobody is told that the wait is over"


def test_it_ends_within_its_time_with_the_store_s_own_error():
    away = Away(10_000)
    started = time.monotonic()
    with pytest.raises(Unreachable, match="away"):
        Patience(0.1, longest_pause=0.02)("reading x", away)
    assert time.monotonic() - started < 5
    assert away.calls > 1


def test_what_waiting_cannot_mend_is_raised_at_once():
    calls = 0

    def missing() -> None:
        nonlocal calls
        calls += 1
        raise NotFound("not there")

    with pytest.raises(NotFound):
        Patience(60)("reading x", missing)
    assert calls == 1


def test_stopping_ends_a_wait_at_once():
    patience = Patience(600, longest_pause=600)
    away = Away(10_000)
    raised = threading.Event()

    def call() -> None:
        with pytest.raises(Unreachable):
            patience("reading x", away)
        raised.set()

    thread = threading.Thread(target=call)
    thread.start()
    patience.stop()
    assert raised.wait(10)
    thread.join(10)
    assert away.calls <= 2
