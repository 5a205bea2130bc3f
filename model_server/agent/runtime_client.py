"""Asking the runtime which versions it has, over TensorFlow Serving's status page."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import msgspec

from model_server.agent.runtime_config import METRICS_PATH

_TIMEOUT_SECONDS = 2.0
_RESIDENT = re.compile(r"^process_resident_memory_bytes (\d+)$", re.MULTILINE)


class _Status(msgspec.Struct):
    error_code: str = "OK"
    error_message: str = ""


class RuntimeVersion(msgspec.Struct):
    """A version as the runtime reports it; `state` is one of START, LOADING, AVAILABLE, UNLOADING, END."""

    version: str
    state: str
    status: _Status = msgspec.field(default_factory=_Status)


class _Page(msgspec.Struct):
    model_version_status: list[RuntimeVersion] = []


def ask_metrics(url: str) -> str | None:
    """The runtime's Prometheus page, or None where it does not answer. Blocks for at most a few seconds."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", METRICS_PATH, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.read(4 * 1024 * 1024).decode(errors="replace") if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def resident_memory(page: str) -> int | None:
    """The bytes that the runtime has in memory, from its Prometheus page; None where it does not say."""
    found = _RESIDENT.search(page)
    return int(found[1]) if found else None


def ask_runtime(url: str, model: str) -> Mapping[int, RuntimeVersion] | None:
    """The versions of `model` by number, empty when the runtime does not know the model yet, or does not run.

    None when the runtime does not answer, or not as TensorFlow Serving would. Blocks for at most a few seconds.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"/v1/models/{quote(model, safe='')}", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(1024 * 1024)
        if response.status == 404:
            return {}
        if response.status != 200:
            return None
        page = msgspec.json.decode(body, type=_Page)
        return {int(entry.version): entry for entry in page.model_version_status}
    except ConnectionRefusedError:
        # Nobody listens: unlike one that is too busy to answer, a runtime that is gone has nothing loaded.
        return {}
    except (OSError, http.client.HTTPException, msgspec.DecodeError, ValueError):
        return None
    finally:
        connection.close()
