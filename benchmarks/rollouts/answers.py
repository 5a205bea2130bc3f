"""What became of each request, and what that says of a change: pure arithmetic over what the load generators wrote."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from benchmarks.rollouts.errors import RolloutsError


class Answer(msgspec.Struct, frozen=True):
    """One request, sent at `sent` (seconds since the epoch) and over after `seconds`.

    `fault` says what is wrong with its answer, nothing: empty. `version` is the one that answered, 0 where the load
    generator keeps no answers (ghz).
    """

    sent: float
    seconds: float
    fault: str
    version: int = 0

    @property
    def over(self) -> float:
        """When it was over."""
        return self.sent + self.seconds


class Spell(msgspec.Struct, frozen=True):
    """From `since` to `until` (seconds since the epoch) any of these versions may answer."""

    since: float
    until: float
    versions: frozenset[int]


class _VegetaResult(msgspec.Struct):
    """A line of `vegeta encode -to json`."""

    timestamp: datetime
    latency: int
    code: int
    error: str = ""
    body: str | None = None


class _GhzDetail(msgspec.Struct):
    """One entry of `details` of `ghz --format json`; latency in nanoseconds."""

    timestamp: datetime
    latency: int
    error: str
    status: str


# What grpc-go says of attempts that no server has taken; all others count.
_MADE_AGAIN = ("transport is closing", "the connection is draining")


class _GhzReport(msgspec.Struct):
    details: list[_GhzDetail] | None = None


class _Predictions(msgspec.Struct):
    predictions: list[list[float]]


def of_vegeta(lines: Iterable[bytes]) -> list[Answer]:
    """The answers in `vegeta encode -to json`'s lines; the last number of a prediction is its version, below 0."""
    decoder = msgspec.json.Decoder(_VegetaResult)
    return [_of_vegeta(decoder.decode(line)) for line in lines if line.strip()]


def _of_vegeta(result: _VegetaResult) -> Answer:
    sent, seconds = result.timestamp.timestamp(), result.latency / 1e9
    try:
        body = base64.b64decode(result.body or "", validate=True)
    except binascii.Error as error:
        return Answer(sent, seconds, f"no base64: {error}")
    if result.code != 200:
        words = body.decode(errors="replace")[:300] or result.error
        return Answer(sent, seconds, f"HTTP {result.code}: {words}")
    try:
        (row,) = msgspec.json.decode(body, type=_Predictions).predictions
        version = round(-row[-1])
    except (msgspec.DecodeError, ValueError, IndexError) as error:
        return Answer(sent, seconds, f"not one prediction: {error}")
    return Answer(sent, seconds, "", version)


def of_ghz(report: bytes, calls: int) -> list[Answer]:
    """The answers in a report of `ghz --format json` on so many calls.

    ghz counts attempts. One that met a connection on which the server takes no more, and that grpc-go has made again on
    another one, as if nothing had been (https://github.com/grpc/proposal/blob/master/A6-client-retries.md,
    "transparent retries"), stands there twice, and its caller has seen the second only. Raises RolloutsError when there
    are not as many answers as calls without the first ones.
    """
    details = msgspec.json.decode(report, type=_GhzReport).details or []
    again = len(details) - calls
    found = []
    for one in details:
        if again > 0 and one.status == "Unavailable" and one.error.endswith(_MADE_AGAIN):
            again -= 1
            continue
        fault = "" if one.status == "OK" else f"{one.status}: {one.error}"
        found.append(Answer(one.timestamp.timestamp(), one.latency / 1e9, fault))
    if again:
        raise RolloutsError(f"ghz made {calls} calls and reports {len(details)} attempts, which does not add up")
    return found


def not_wanted(answers: Iterable[Answer], spells: Sequence[Spell]) -> list[Answer]:
    """Good answers of versions that were not wanted at any moment between their request and them."""
    return [
        one
        for one in answers
        if one.version
        and not any(
            one.version in spell.versions and spell.since <= one.over and one.sent <= spell.until for spell in spells
        )
    ]


def percentile(answers: Iterable[Answer], share: float) -> float | None:
    """The latency in seconds that this share (0 to 1) of the answers do not exceed; None for no answers."""
    seconds = sorted(one.seconds for one in answers)
    return seconds[min(len(seconds) - 1, math.ceil(share * len(seconds)) - 1)] if seconds else None


def between(answers: Iterable[Answer], since: float, until: float) -> list[Answer]:
    """Those whose request was sent then."""
    return [one for one in answers if since <= one.sent <= until]
