"""What was found as figures, each with its bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.control_plane.lifecycles import Lived
from benchmarks.control_plane.scale import REST_SECONDS, Found
from benchmarks.figures import Measured, holds


@dataclass(frozen=True)
class Bars:
    """The bars of one number of models: seconds, and MiB."""

    deployments: float
    ready: float
    restart: float
    resident: float
    deleted: float


BARS = {
    500: Bars(deployments=12, ready=32, restart=5, resident=150, deleted=15),
    1000: Bars(deployments=25, ready=62, restart=8, resident=200, deleted=35),
    5000: Bars(deployments=150, ready=390, restart=30, resident=500, deleted=180),
}
_WORTH_SAYING = 0.5
REQUESTS_A_MODEL, CHANGE_MEDIAN_MS, CHANGE_P99_MS, TIMES_THE_LIMIT = 11, 25, 70, 1.3


def of_scale(found: Found) -> list[Measured]:
    """The figures of one run with N models."""
    bars = BARS.get(found.count)

    def bar(name: str) -> str | None:
        return f"<= {getattr(bars, name):g}" if bars else None

    figures = [
        ("all Deployments exist", found.deployments, "s", bar("deployments")),
        ("all Ready in status", found.ready, "s", bar("ready")),
        ("API requests a model, apply to Ready", found.requests_a_model, "requests", f"<= {REQUESTS_A_MODEL}"),
        ("reads among them, all models together", found.reads, "requests", "<= 0"),
        ("restart at rest to idle", found.restart, "s", bar("restart")),
        ("writes of a restart at rest", sum(found.restart_writes.values()), "requests", "<= 0"),
        ("resident memory", found.resident, "MiB", bar("resident")),
        ("delete all", found.deleted, "s", bar("deleted")),
        ("one change to its child, median", found.change_median, "ms", f"<= {CHANGE_MEDIAN_MS}"),
        ("one change to its child, p99", found.change(0.99), "ms", f"<= {CHANGE_P99_MS}"),
        (f"requests at rest in {REST_SECONDS:g} s", sum(found.at_rest.values()), "requests", "<= 0"),
        ("peak memory", found.peak, "MiB", None),
        ("operator CPU a model, apply to Ready", 1000 * found.cpu / found.count, "ms", None),
        ("models applied by 20 clients", found.applied, "s", None),
    ]
    figures += [
        (f"CPU of {name}, apply to Ready", seconds, "s", None)
        for name, seconds in sorted(found.cpu_of_others.items())
        if seconds >= _WORTH_SAYING
    ]
    if found.limit:
        figures += [
            ("bare loop: all Deployments exist", found.limit.deployments, "s", None),
            ("bare loop: everything written", found.limit.written, "s", None),
            ("bare loop: all pods ready", found.limit.ready, "s", None),
            ("bare loop: delete all", found.limit_deleted, "s", None),
            (
                "operator's time to Ready against the bare loop's",
                found.ready / found.limit.ready,
                "times",
                f"<= {TIMES_THE_LIMIT}",
            ),
        ]
    return [Measured(f"{found.count} models: {name}", value, unit, limit) for name, value, unit, limit in figures]


def of_lifecycles(lived: Lived) -> list[Measured]:
    """The figures of one run of whole life cycles."""
    figures = [
        ("apply to serving, all", lived.seconds, "s"),
        ("API requests a model", sum(lived.requests.values()) / lived.count, "requests"),
        ("reads among them, all models together", lived.reads, "requests"),
        ("operator CPU a model", 1000 * lived.cpu / lived.count, "ms"),
    ]
    return [Measured(f"{lived.count} life cycles: {name}", value, unit) for name, value, unit in figures]


def table(figures: Sequence[Measured]) -> str:
    """Lines for people, with what became of each bar."""
    width = max(len(figure.name) for figure in figures)
    return "\n".join(f"{figure.name:<{width}} {_value(figure)}".rstrip() for figure in figures)


def _value(figure: Measured) -> str:
    if figure.value is None:
        return f"{'-':>10}"
    verdict = "" if figure.bar is None else "holds" if holds(figure.value, figure.bar) else "MISSED"
    return f"{figure.value:10.3f} {figure.unit:<9}{figure.bar or '':<9} {verdict}"
