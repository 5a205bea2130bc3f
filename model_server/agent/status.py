"""What the agent says of itself on `/status`."""

from __future__ import annotations

import enum

import msgspec


class Phase(enum.StrEnum):
    """Where the agent is on the way to serving the wanted version."""

    FETCHING = "Fetching"
    LOADING = "Loading"
    SERVING = "Serving"
    STOPPING = "Stopping"


class VersionState(enum.StrEnum):
    """States of a version before the runtime knows it; from then on the runtime's own words are used."""

    FETCHING = "FETCHING"
    FETCHED = "FETCHED"


class Trouble(msgspec.Struct, frozen=True):
    """What keeps the wanted version from being served: one CamelCase word, and a sentence with the remedy."""

    reason: str
    message: str


class VersionStatus(msgspec.Struct, frozen=True, rename="camel"):
    """One version in this pod.

    `cached_bytes` is how many of its `bytes` came from the cache volume, 0 without one. `load_seconds` runs from the
    config file's writing to AVAILABLE.
    """

    number: int
    state: str
    bytes: int | None = None
    cached_bytes: int | None = None
    fetch_seconds: float | None = None
    load_seconds: float | None = None


class AgentStatus(msgspec.Struct, frozen=True):
    """The body of `/status`.

    `serving` is the version that answers every request; None while none does. `swaps` counts how often another took
    its place in this pod. `memory` is what the runtime has in memory, in bytes; None where it does not say. `times`
    has RFC 3339 times of: started, fetched, configured, available.
    """

    model: str
    wanted: int | None
    serving: int | None
    swaps: int
    memory: int | None
    phase: Phase
    versions: list[VersionStatus]
    error: Trouble | None
    times: dict[str, str]
