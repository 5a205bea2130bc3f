"""The rows in which others stand beside the runtime: start, memory, REST and gRPC of the small network, batch 1."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.serving.load import Outcome
from benchmarks.serving.served import Network, Server, bare_loop, made, up
from benchmarks.serving.servers import FLASK_SIGNATURE, OTHERS, OWN

START, MEMORY, REST, GRPC = ROWS = ("start", "memory", "rest", "grpc")
_WARM_SECONDS = 1.0


@dataclass(frozen=True)
class Seen:
    """What was seen of one server; None for what was not asked, or does not exist."""

    started: float
    memory: float | None
    rest: Outcome | None
    grpc: Outcome | None


def measure(wanted: Collection[str], folder: Path, seconds: float) -> list[Measured]:
    """Start one server after the other, ask it for `seconds` over each protocol, and end it. Raises BenchmarkError."""
    network = made("small", folder)
    seen = {server.name: _see(server, network, wanted, seconds) for server in (OWN, *OTHERS)}
    figures: list[Measured] = []
    if START in wanted:
        figures += _starts(seen)
    if MEMORY in wanted:
        figures += _memories(seen)
    if REST in wanted:
        figures += _rest(seen, bare_loop(network, seconds / 2))
    if GRPC in wanted:
        figures += _grpc(seen)
    return figures


def _see(server: Server, network: Network, wanted: Collection[str], seconds: float) -> Seen:
    with up(server, network) as found:
        rest = grpc = memory = None
        # Memory is that after load over all that the server speaks: a server at rest has not grown yet.
        if wanted != {START}:
            found.rest(_WARM_SECONDS).all_good()
        if REST in wanted:
            rest = found.rest(seconds).all_good()
        if server.grpc is not None and {MEMORY, GRPC} & set(wanted):
            found.grpc(_WARM_SECONDS).all_good()
        if server.grpc is not None and GRPC in wanted:
            grpc = found.grpc(seconds).all_good()
        if MEMORY in wanted:
            memory = found.running.memory()
        return Seen(found.started, memory, rest, grpc)


def _starts(seen: dict[str, Seen]) -> list[Measured]:
    soonest = min(seen[server.name].started for server in OTHERS)
    own = seen[OWN.name].started
    return [
        Measured(f"start to first answer: {OWN.name}", own, "s", "<= 1.0"),
        *(Measured(f"start to first answer: {one.name}", seen[one.name].started, "s") for one in OTHERS),
        Measured("start to first answer: the soonest other vs ours", soonest / own, "times", ">= 7"),
    ]


def _memories(seen: dict[str, Seen]) -> list[Measured]:
    memories = {name: one.memory for name, one in seen.items() if one.memory is not None}
    own = memories.pop(OWN.name)
    return [
        Measured(f"resident memory: {OWN.name}, REST and gRPC on", own, "MB", "<= 400"),
        *(Measured(f"resident memory: {name}", memory, "MB") for name, memory in memories.items()),
        Measured("resident memory: ours vs the leanest other", own / min(memories.values()), "times", "<= 0.66"),
    ]


def _rest(seen: dict[str, Seen], bare: float) -> list[Measured]:
    outcomes = {name: one.rest for name, one in seen.items() if one.rest is not None}
    own, flask = outcomes[OWN.name], outcomes[FLASK_SIGNATURE.name]
    best = max(outcome.rate for name, outcome in outcomes.items() if name != OWN.name)
    return [
        *_rates("REST 28x28", outcomes),
        Measured("TF_SessionRun 28x28, bare loop", bare, "1/s"),
        Measured("REST 28x28: ours vs the best other", own.rate / best, "times", ">= 4"),
        Measured("REST 28x28: ours vs Flask with the signature", own.rate / flask.rate, "times", ">= 6"),
        Measured("REST 28x28: ours, share of the bare loop", own.rate / bare, "of 1", ">= 0.4"),
    ]


def _grpc(seen: dict[str, Seen]) -> list[Measured]:
    outcomes = {name: one.grpc for name, one in seen.items() if one.grpc is not None}
    best = max(outcome.rate for name, outcome in outcomes.items() if name != OWN.name)
    return [
        *_rates("gRPC 28x28", outcomes),
        Measured("gRPC 28x28: ours vs the best other", outcomes[OWN.name].rate / best, "times", ">= 2"),
    ]


def _rates(what: str, outcomes: dict[str, Outcome]) -> list[Measured]:
    figures = []
    for name, outcome in outcomes.items():
        bar = "<= 20" if name == OWN.name and what.startswith("REST") else None
        figures += [
            Measured(f"{what}: {name}", outcome.rate, "1/s"),
            Measured(f"{what}: {name}, p99", outcome.p99_ms, "ms", bar),
        ]
    return figures
