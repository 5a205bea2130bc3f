"""The operator's own part of a model's way from `kubectl apply` to its first prediction.

On that way somebody else works most of the time: the scheduler, the kubelet, the trainer, the agent. Between two of
them it is the operator's turn, at four hand-overs:

    asked by                                                 answered by the operator's
    -------------------------------------------------------  -----------------------------------------
    the user's write of the KerasModel                       creation of Job <model>-<n>-train
    the Job controller's last status of <model>-<n>-train    creation of Job <model>-<n>-export
    the Job controller's last status of <model>-<n>-export   first write of Deployment <model>
    the Deployment controller's status of <model>            last status of the KerasModel before it was seen Ready

A gap is the time from the moment the API server had answered the asking write (`stageTimestamp`: from then on a watcher
can know) until it received the operator's answer (`requestReceivedTimestamp`). "Last" is before the answer: the Job
controller writes a Job's status several times, and the operator can go on only when it says Complete. Whatever the
operator writes in between, such as the version object or a status, is part of the gap and not a reason to end it.
Everything is read from the audit log, on the API server's clock. What the operator writes of its own accord, such as
the progress of a training that it asks its pod for, answers nothing and is no gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from benchmarks.demo.audit import Write
from benchmarks.demo.errors import DemoError

# Of any service account in the namespace that the operator is installed in.
APPLIED = "KerasModel applied"
OPERATOR = "system:serviceaccount:keras-operator-system:"


@dataclass(frozen=True)
class Gap:
    """One hand-over: what asked, the answer, and when each was."""

    asking: str
    step: str
    asked: datetime
    answered: datetime

    @property
    def seconds(self) -> float:
        """From question to answer; never below 0, as an answer may be on its way when the question is repeated."""
        return max(0.0, (self.answered - self.asked).total_seconds())


def own_gaps(writes: Sequence[Write], *, namespace: str, model: str, number: int, ready_seen: datetime) -> list[Gap]:
    """The four hand-overs of version `number` of `model`, which was seen Ready at `ready_seen`.

    Raises DemoError if the log lacks a write that must have happened.
    """
    here = [write for write in writes if write.namespace == namespace and write.received <= ready_seen]
    train, export = f"{model}-{number}-train", f"{model}-{number}-export"

    def by_operator(resource: str, name: str, subresource: str = "") -> list[Write]:
        return [write for write in here if is_operator(write) and _is(write, resource, name, subresource)]

    def by_others(resource: str, name: str, subresource: str = "") -> list[Write]:
        return [write for write in here if not is_operator(write) and _is(write, resource, name, subresource)]

    status = by_operator("kerasmodels", model, "status")
    return [
        _gap(APPLIED, by_others("kerasmodels", model), "train Job created", by_operator("jobs", train), first),
        _gap(
            "train Job complete",
            by_others("jobs", train, "status"),
            "export Job created",
            by_operator("jobs", export),
            first,
        ),
        _gap(
            "export Job complete",
            by_others("jobs", export, "status"),
            "Deployment created",
            by_operator("deployments", model),
            first,
        ),
        _gap("Deployment available", by_others("deployments", model, "status"), "Ready reported", status, last),
    ]


Pick = Callable[[Sequence[Write]], Write]


def first(found: Sequence[Write]) -> Write:
    """The write that came in first."""
    return min(found, key=lambda write: write.received)


def last(found: Sequence[Write]) -> Write:
    """The write that came in last."""
    return max(found, key=lambda write: write.received)


def is_operator(write: Write) -> bool:
    """Whether the operator wrote it."""
    return write.user.startswith(OPERATOR)


def _is(write: Write, resource: str, name: str, subresource: str) -> bool:
    return (write.resource, write.name, write.subresource) == (resource, name, subresource)


def _gap(asking: str, questions: Sequence[Write], step: str, answers: Sequence[Write], pick: Pick) -> Gap:
    if not answers:
        raise DemoError(f"The audit log has no write of the operator for '{step}', so its gaps cannot be measured.")
    answer = pick(answers)
    asked = [write for write in questions if write.received < answer.received]
    if not asked:
        raise DemoError(f"The audit log has no {asking!r} before '{step}', so the operator's gaps cannot be measured.")
    return Gap(asking, step, max(write.answered for write in asked), answer.received)
