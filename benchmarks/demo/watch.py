"""The model's way to `Serving`, live: what `kubectl get kerasmodel --watch` says, in one line a change."""

from __future__ import annotations

import codecs
import json
import os
import selectors
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, TextIO

import msgspec
from keras_operator.api import KERAS_MODEL, ConditionStatus, ConditionType, KerasModelStatus, Phase

from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl

TICK = 1.0
ENDED = (Phase.FAILED, Phase.REJECTED)


@dataclass(frozen=True)
class Report:
    """A model's status as it was seen at `seen`."""

    status: KerasModelStatus
    seen: datetime

    @property
    def ready(self) -> bool:
        """Whether predictions are answered as the spec asks for."""
        return self.status.phase is Phase.SERVING and any(
            one.type == ConditionType.READY and one.status == ConditionStatus.TRUE for one in self.status.conditions
        )

    def words(self) -> str:
        """Phase and message, in one line."""
        phase = self.status.phase or Phase.PENDING
        return f"{phase:<10} {' '.join((self.status.message or '').split())}".rstrip()


class LiveLine:
    """Shows what is going on: on a terminal one line that is rewritten each second, elsewhere one line a change."""

    def __init__(self, out: TextIO, begun: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._begun, self._clock = out, begun, clock
        self._live = out.isatty()
        self._shown = ""
        self._phase: str | None = None

    def show(self, report: Report) -> None:
        """Show a report; a new phase begins a new line."""
        words, phase = report.words(), report.status.phase
        if self._live:
            end = "\n" if self._phase is not None and phase != self._phase else ""
            self._out.write(f"{end}\r\033[K{self._elapsed()} {words}")
        elif words != self._shown:
            self._out.write(f"{self._elapsed()} {words}\n")
        self._out.flush()
        self._shown, self._phase = words, phase

    def tick(self) -> None:
        """Let the seconds go on while nothing else does."""
        if self._live and self._shown:
            self._out.write(f"\r\033[K{self._elapsed()} {self._shown}")
            self._out.flush()

    def end(self) -> None:
        """Leave the last line as it is."""
        if self._live and self._shown:
            self._out.write("\n")

    def _elapsed(self) -> str:
        return f"{self._clock() - self._begun:6.0f} s "


def watch_until_serving(kubectl: Kubectl, namespace: str, name: str, line: LiveLine, *, within: float) -> Report:
    """Show the model's reports until it is ready; returns the report that says so.

    Raises DemoError, with the model's own sentence, if it fails or takes longer than `within` seconds.
    """
    last: Report | None = None
    deadline = time.monotonic() + within
    try:
        for report in _reports(kubectl, namespace, name, deadline):
            if report is None:
                line.tick()
                continue
            last = report
            line.show(report)
            if report.ready:
                return report
            if report.status.phase in ENDED:
                raise DemoError(f"{name} ended as {report.words()}\nLook at {_describe(namespace, name)}.")
    finally:
        line.end()
    word = last.words() if last else "nothing: the operator has not looked at it"
    raise DemoError(
        f"{name} does not serve after {within:.0f} s; its last word was: {word}\n{_describe(namespace, name)}"
    )


def _describe(namespace: str, name: str) -> str:
    return f"`kubectl -n {namespace} describe kerasmodel {name}`"


def _reports(kubectl: Kubectl, namespace: str, name: str, deadline: float) -> Iterator[Report | None]:
    """Reports as they come, and None each second without one.

    A watch that the API server ends is begun again, unless the model or the API server is gone.
    """
    model = (f"kerasmodel/{name}", "-n", namespace)
    while time.monotonic() < deadline:
        yield _report(kubectl.get(*model))
        with kubectl.watching(*model) as output:
            for found in _documents(output, deadline):
                # A watch ends with an object of the kind Status where the API server has something to say about it.
                if found is not None and found.get("kind") != KERAS_MODEL.name:
                    break
                yield None if found is None else _report(found)


def _report(model: dict[str, Any]) -> Report:
    return Report(msgspec.convert(model.get("status", {}), KerasModelStatus), datetime.now(UTC))


def _documents(output: IO[bytes], deadline: float) -> Iterator[dict[str, Any] | None]:
    """The JSON objects that follow each other in `output`, and None after each TICK in which none was complete."""
    decoder, text = json.JSONDecoder(), ""
    # A message may hold letters of several bytes, and a read may end between two of them.
    letters = codecs.getincrementaldecoder("utf-8")()
    with selectors.DefaultSelector() as ready:
        ready.register(output, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if not ready.select(TICK):
                yield None
                continue
            if not (data := os.read(output.fileno(), 65536)):
                return
            text += letters.decode(data)
            documents, text = split_documents(text, decoder)
            yield from documents


def split_documents(text: str, decoder: json.JSONDecoder) -> tuple[list[dict[str, Any]], str]:
    """The complete JSON objects at the beginning of `text`, and the rest."""
    documents = []
    while text := text.lstrip():
        try:
            document, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            break
        documents.append(document)
        text = text[end:]
    return documents, text
