"""When what happened to a model, from `kubectl apply` to the first prediction, and at whom everybody waited.

Sources: the audit log (to the microsecond), the version's `status.times` (the trainer's own clock, to the millisecond
or so), and the times of pods and conditions, which Kubernetes keeps to the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from benchmarks.demo.audit import Write
from benchmarks.demo.gaps import APPLIED, Gap, is_operator

ONE_SECOND = timedelta(seconds=1)
READY = "Ready reported"


@dataclass(frozen=True)
class Moment:
    """Something that happened at `time`, after the work of `by`. `exact` is False for a time cut to its second."""

    time: datetime
    what: str
    by: str
    exact: bool = True


# What the trainer reports in the version's `status.times`, in the words of the timeline.
TRAINER_WORDS = {
    "started": "trainer started",
    "dataReady": "data ready",
    "trained": "trained",
    "evaluated": "evaluated",
    "saved": "run saved in the store",
    "exportStarted": "exporter started",
    "loaded": "trained model loaded",
    "exported": "exported",
    "verified": "verified against the trained model",
    "published": "published",
}

# The first start of each container; the runtime starts only when the agent has the servable on disk and verified.
CONTAINER_WORDS = {
    "train": ("train pod running", "Kubernetes"),
    "export": ("export pod running", "Kubernetes"),
    "agent": ("serving pod running", "Kubernetes"),
    "runtime": ("model fetched, runtime started", "agent"),
}


def from_audit(writes: Sequence[Write], *, namespace: str, model: str, number: int) -> list[Moment]:
    """Creations: the first successful write of each object. The user's is the KerasModel's."""
    wanted = {
        ("kerasmodels", model): (APPLIED, "user"),
        ("kerasmodelversions", f"{model}-{number}"): ("version created", "operator"),
        ("jobs", f"{model}-{number}-train"): ("train Job created", "operator"),
        ("jobs", f"{model}-{number}-export"): ("export Job created", "operator"),
        ("deployments", model): ("Deployment created", "operator"),
    }
    found: dict[tuple[str, str], Moment] = {}
    for write in sorted(writes, key=lambda write: write.received):
        key = (write.resource, write.name)
        if write.namespace == namespace and not write.subresource and key in wanted and key not in found:
            what, by = wanted[key]
            if by == "user" or is_operator(write):
                found[key] = Moment(write.received, what, by)
    return list(found.values())


def from_version(times: Mapping[str, datetime]) -> list[Moment]:
    """What the trainer reported, each epoch included."""
    moments = [Moment(times[key], words, "trainer") for key, words in TRAINER_WORDS.items() if key in times]
    epochs = [(int(key.removeprefix("epoch")), time) for key, time in times.items() if key.startswith("epoch")]
    return [*moments, *(Moment(time, f"epoch {epoch}", "trainer") for epoch, time in sorted(epochs))]


def from_pods(pods: Iterable[Mapping[str, Any]]) -> list[Moment]:
    """When each pod's main container ran, and when a serving pod was Ready. `pods` are the objects' JSON."""
    moments = []
    for pod in pods:
        component = pod["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")
        if component not in ("train", "export", "serving"):
            continue
        status = pod["status"]
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            state = container["state"].get("running") or container["state"].get("terminated") or {}
            if (started := state.get("startedAt")) and container["name"] in CONTAINER_WORDS:
                what, by = CONTAINER_WORDS[container["name"]]
                moments.append(Moment(_time(started), what, by, exact=False))
            if component != "serving" and (finished := state.get("finishedAt")):
                moments.append(Moment(_time(finished), f"{component} pod ended", "trainer", exact=False))
        moments.extend(
            Moment(_time(condition["lastTransitionTime"]), "pod Ready", "runtime", exact=False)
            for condition in status.get("conditions", [])
            if component == "serving" and condition["type"] == "Ready" and condition["status"] == "True"
        )
    return moments


def from_gaps(own: Iterable[Gap]) -> list[Moment]:
    """What the operator was asked by, where `from_audit` has it not: a Job that is complete, the Deployment, Ready."""
    asked = [Moment(gap.asked, gap.asking, "Kubernetes") for gap in own if gap.asking != APPLIED]
    return [*asked, *(Moment(gap.answered, gap.step, "operator") for gap in own if gap.step == READY)]


def in_order(moments: Iterable[Moment]) -> list[Moment]:
    """By time. One that is cut to its second and would so come before its cause is moved up within that second."""
    exact = sorted((moment for moment in moments if moment.exact), key=lambda moment: moment.time)
    placed = [*exact, *(_not_before_its_cause(m, exact) for m in moments if not m.exact)]
    return sorted(placed, key=lambda moment: (moment.time, not moment.exact))


def _not_before_its_cause(moment: Moment, exact: Sequence[Moment]) -> Moment:
    causes = CAUSES.get(moment.what, ())
    latest = max((one.time for one in exact if one.what in causes), default=moment.time)
    return replace(moment, time=latest) if moment.time < latest < moment.time + ONE_SECOND else moment


CAUSES = {
    "train pod running": ("train Job created",),
    "train pod ended": (TRAINER_WORDS["saved"],),
    "export pod running": ("export Job created",),
    "export pod ended": (TRAINER_WORDS["published"],),
    "serving pod running": ("Deployment created",),
    "model fetched, runtime started": ("Deployment created",),
    "pod Ready": ("Deployment created",),
}


def table(moments: Sequence[Moment]) -> str:
    """A text table of moments in order: seconds since the first one, seconds since the one before, what, by whom."""
    rows, begin, before = [], moments[0].time, moments[0].time
    for moment in moments:
        since, step = (moment.time - begin).total_seconds(), (moment.time - before).total_seconds()
        # What is known to the second only is up to 1 s later than it says.
        at = f"{since:.2f}" if moment.exact else f"~{since:.1f} "
        rows.append(f"{at:>11} s {step:+9.2f} s   {moment.what:<36} {moment.by}")
        before = moment.time
    return "\n".join([f"{'since apply':>13} {'step':>11}   {'what':<36} by", *rows])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
