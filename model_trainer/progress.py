"""What a run is doing now: kept in one place, written to the log, and answered over HTTP."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import msgspec
from keras_operator.api import Progress, ProgressStage

log = logging.getLogger(__name__)

PORT = 8080
PATH = "/progress"

# With more epochs than this, only the first three and the last keep their time: a run may have 100,000.
EPOCHS_TIMED = 30
FIRST_EPOCHS = 3

_BETWEEN_LINES = timedelta(seconds=30)


class ProgressBoard:
    """The present state of a run; safe to read and write from several threads."""

    def __init__(self, stage: ProgressStage, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._logged = clock()
        self._progress = Progress(stage=stage, message=stage.value, times={"started": self._logged})
        log.info("started", extra={"stage": stage.value})

    @property
    def progress(self) -> Progress:
        """The state as it is now."""
        with self._lock:
            return self._progress

    def enter(self, stage: ProgressStage, message: str) -> None:
        """Begin another stage."""
        self._change(stage=stage, message=message, seconds_left=None, examples_per_second=None)
        log.info("%s", message, extra={"stage": stage.value})

    def say(self, message: str) -> None:
        """Change the message within a stage; not logged, so it may be called often."""
        self._change(message=message)

    def waits(self, sentence: str) -> None:
        """Tell what the run waits for; an empty sentence: it goes on."""
        self._change(waiting=sentence)

    def happened(self, event: str) -> None:
        """Keep the time of an event such as `dataReady`."""
        now = self._clock()
        with self._lock:
            self._progress = msgspec.structs.replace(self._progress, times={**self._progress.times, event: now})
        log.info("%s", event, extra={"event": event})

    def remember(self, times: dict[str, datetime]) -> None:
        """An earlier container of this pod has done a part of the run, at these times."""
        with self._lock:
            kept = {**self._progress.times, **times}
            self._progress = msgspec.structs.replace(self._progress, times=kept)

    def resumed(self, epoch: int, times: dict[str, datetime]) -> None:
        """An earlier pod of this run had done `epoch` epochs, at these times."""
        with self._lock:
            kept = {**times, **self._progress.times}
            self._progress = msgspec.structs.replace(self._progress, resumed_from=epoch, times=kept)
        log.info("resumed from epoch %d", epoch, extra={"resumedFrom": epoch})

    def training(
        self,
        *,
        epoch: int,
        epochs: int,
        step: int,
        steps: int,
        metrics: dict[str, float],
        seconds_left: float | None,
        phase: str = "",
        per_second: float | None = None,
    ) -> None:
        """`epoch` epochs of `epochs` are done, and `step` of `steps` of the next one; at 0 an epoch has just ended.

        The log gets a line at each epoch's end, and in longer epochs one about every half minute.
        """
        ended = not step and epoch > 0
        message = f"epoch {epoch}/{epochs} done" if ended else f"epoch {epoch + 1}/{epochs}, step {step}/{steps}"
        message += f", phase {phase}" if phase else ""
        now = self._clock()
        with self._lock:
            times = self._progress.times
            if ended:
                times = with_epoch(times, epoch, now)
            self._progress = msgspec.structs.replace(
                self._progress,
                phase=phase,
                epoch=epoch,
                epochs=epochs,
                step=step,
                steps=steps,
                metrics=metrics,
                seconds_left=seconds_left,
                examples_per_second=per_second,
                message=message,
                times=times,
            )
        if ended or now - self._logged >= _BETWEEN_LINES:
            self._logged = now
            left, rate = (None if number is None else round(number, 1) for number in (seconds_left, per_second))
            told = {
                "epoch": epoch,
                "epochs": epochs,
                "step": step,
                "steps": steps,
                "metrics": metrics,
                "secondsLeft": left,
                "examplesPerSecond": rate,
            }
            log.info("%s", message, extra=told)

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._progress = msgspec.structs.replace(self._progress, **changes)


def with_epoch(times: dict[str, datetime], epoch: int, now: datetime) -> dict[str, datetime]:
    """The times with that of one more epoch, where there are many of them without those in the middle."""
    kept = times
    if epoch > EPOCHS_TIMED:
        first = {f"epoch{number}" for number in range(1, FIRST_EPOCHS + 1)}
        kept = {event: time for event, time in times.items() if not event.startswith("epoch") or event in first}
    return {**kept, f"epoch{epoch}": now}


@contextmanager
def answer_progress(board: ProgressBoard, port: int) -> Iterator[int]:
    """Answer `GET /progress` on `port` (0: any free one, which is what the context gives) until the context ends.

    A port that is taken costs the run its live progress and nothing else.
    """
    handler = type("ProgressHandler", (_Handler,), {"board": board})
    try:
        server = _Server(("::" if _Server.address_family is socket.AF_INET6 else "", port), handler)
    except OSError as error:
        log.warning("progress is not answered: port %d cannot be used (%s)", port, error)
        yield 0
        return
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="progress", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    # A cluster may have IPv4, IPv6 or both; a dual-stack socket answers all of them.
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        # Of the free ports, reuse may choose one that somebody else has bound and does not listen on yet.
        self.allow_reuse_address = self.server_address[1] != 0
        if self.address_family is socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a client of progress went away", extra={"client": str(client_address)}, exc_info=sys.exc_info())


class _Handler(BaseHTTPRequestHandler):
    board: ClassVar[ProgressBoard]
    # Seconds; a client that says nothing must not hold a thread for as long as the training takes.
    timeout = 5

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, explain=f"only {PATH} is answered here")
            return
        body = msgspec.json.encode(self.board.progress)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        log.debug(format, *args)


class JsonLines(logging.Formatter):
    """Log records as one JSON object a line: time, level, message, what was given as `extra`, and a traceback."""

    _STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in self._STANDARD})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_json_lines() -> None:
    """Send this program's log to stdout as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Keras warns of the .h5 format each time it is written, and it is written on purpose.
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
