"""The clients, in Go: vegeta over REST and ghz over gRPC; and what they write down as an outcome."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import CLIENT_CORE, on_core
from devcluster.build import binary
from devcluster.places import here

PINS = ("vegeta", "ghz")
_SECONDS_TO_ANSWER = 30
_SECONDS_TO_END = 60.0


@dataclass(frozen=True)
class Outcome:
    """What clients saw: good answers, what became of others, seconds, and the 99th percentile of all in ms."""

    answered: int
    faults: Mapping[str, int]
    seconds: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.answered / self.seconds

    def all_good(self) -> Outcome:
        """Itself. Raises BenchmarkError when a request failed, or none was answered."""
        if self.faults or not self.answered:
            raise BenchmarkError(f"{self.answered} requests were answered, and others not: {dict(self.faults)}")
        return self


class _Latencies(msgspec.Struct):
    p99: int = msgspec.field(name="99th", default=0)


class _VegetaReport(msgspec.Struct):
    latencies: _Latencies
    duration: int
    wait: int
    status_codes: dict[str, int] = {}
    errors: list[str] | None = None


class _Percentile(msgspec.Struct):
    percentage: float
    latency: int


class _GhzReport(msgspec.Struct):
    total: int
    status: dict[str, int] = msgspec.field(name="statusCodeDistribution", default_factory=dict)
    latencies: list[_Percentile] | None = msgspec.field(name="latencyDistribution", default=None)
    errors: dict[str, int] = msgspec.field(name="errorDistribution", default_factory=dict)


def of_vegeta(report: bytes) -> Outcome:
    """What `vegeta report -type=json` says; status 0 is a request that got no answer."""
    found = msgspec.json.decode(report, type=_VegetaReport)
    why = "; ".join(found.errors or [])[:300]
    faults = {f"HTTP {code} {why}".strip(): count for code, count in found.status_codes.items() if code != "200"}
    seconds = (found.duration + found.wait) / 1e9
    return Outcome(found.status_codes.get("200", 0), faults, seconds, found.latencies.p99 / 1e6)


def of_ghz(report: bytes) -> Outcome:
    """What `ghz --format=json` says."""
    found = msgspec.json.decode(report, type=_GhzReport)
    why = "; ".join(found.errors)[:300]
    faults = {f"{code} {why}".strip(): count for code, count in found.status.items() if code != "OK"}
    p99 = next((one.latency for one in found.latencies or [] if one.percentage == 99), 0)
    return Outcome(found.status.get("OK", 0), faults, found.total / 1e9, p99 / 1e6)


def rest(url: str, body: Path, content_type: str, *, clients: int, seconds: float) -> Outcome:
    """Clients on kept connections, each of which asks again when it is answered. Raises BenchmarkError."""
    closed = ("-rate=0", f"-workers={clients}", f"-max-workers={clients}", f"-connections={clients}")
    return of_vegeta(_report(attack(url, body, content_type, closed, seconds)))


def attack(url: str, body: Path, content_type: str, pace: Sequence[str], seconds: float) -> Path:
    """Have vegeta ask for so long; the file of its results, which the next call overwrites. Raises BenchmarkError."""
    targets, results = body.with_suffix(".targets"), body.with_suffix(".results")
    targets.write_text(f"POST {url}\nContent-Type: {content_type}\n@{body}\n")
    command = [
        *(str(binary(here(), "vegeta")), "attack", f"-targets={targets}", f"-output={results}", *pace),
        *(f"-duration={seconds}s", f"-timeout={_SECONDS_TO_ANSWER}s", "-max-body=0", "-redirects=-1"),
    ]
    _output(command, seconds + _SECONDS_TO_ANSWER + _SECONDS_TO_END)
    return results


def _report(results: Path) -> bytes:
    return _output([str(binary(here(), "vegeta")), "report", "-type=json", str(results)], _SECONDS_TO_END)


def grpc(address: str, call: str, protoset: Path, request: Path, *, clients: int, seconds: float) -> Outcome:
    """Clients with a connection each, which ask again when they are answered. Raises BenchmarkError."""
    report = request.with_suffix(".report")
    command = [
        *(str(binary(here(), "ghz")), "--insecure", f"--protoset={protoset}", f"--call={call}"),
        *(f"--binary-file={request}", f"--concurrency={clients}", f"--connections={clients}", f"--duration={seconds}s"),
        *(
            "--duration-stop=wait",
            f"--timeout={_SECONDS_TO_ANSWER}s",
            "--format=json",
            f"--output={report}",
            address,
        ),
    ]
    _output(command, seconds + _SECONDS_TO_ANSWER + _SECONDS_TO_END)
    return of_ghz(report.read_bytes())


def _output(command: Sequence[str], most_seconds: float) -> bytes:
    words = on_core(CLIENT_CORE, command)
    try:
        done = subprocess.run(words, capture_output=True, timeout=most_seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"`{command[0]} {command[1]}` did not end within {most_seconds:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise BenchmarkError(f"`{command[0]} {command[1]}` ended with status {done.returncode}: {said}")
    return done.stdout
