"""Logs: one JSON object a line for machines, or short lines for people."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

from keras_operator.cluster.worker import current_work

# What the logging module itself puts on a record; anything else was given with `extra=` and belongs in the line.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), level, logger, message, what `extra` holds, and the traceback.

    Lines of a reconcile bear its model (`namespace/name`) and its own id, by which they are told from all others.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if work := current_work.get():
            line |= {"model": "/".join(work.key), "reconcile": work.id}
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class ConsoleFormatter(logging.Formatter):
    """Time, level and message; lines of a reconcile begin with their model."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(model)s%(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, with a traceback below it where it has one."""
        work = current_work.get()
        named = work is None or record.getMessage().startswith("/".join(work.key))
        record.model = "" if named or work is None else f"{'/'.join(work.key)}: "
        return super().format(record)


def _is_no_retry(record: logging.LogRecord) -> bool:
    """False for kopf's line about a watch that it opens again: of an outage there is one line, not one a watch."""
    return "; will retry: " not in record.getMessage()


def configure_logging(log_format: str, level: str) -> None:
    """Log to standard error.

    Args:
        log_format: `json` or `console`.
        level: `debug`, `info`, `warning` or `error`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # kopf writes a line for each event that it hands over, and one for each task that it starts.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("kopf._core").setLevel(logging.WARNING)
    logging.getLogger("kopf._cogs.clients.watching").addFilter(_is_no_retry)
    logging.getLogger("kopf._cogs.clients.fetching").addFilter(_is_no_retry)
