"""Which version stands for the spec as it is now, and whether a new one is due."""

from dataclasses import dataclass
from typing import Any

import msgspec

from keras_operator.api import (
    ConditionType,
    KerasModelSpec,
    KerasModelVersionSpec,
    Reason,
    RunReason,
    Training,
    VersionPhase,
    inputs_hash,
)
from keras_operator.plan.conditions import condition
from keras_operator.plan.desired import Desired, Template, values_of
from keras_operator.plan.observed import Model, Observed, Version

# A version that ended for one of these reasons says nothing about its inputs: they may be tried again.
_NO_VERDICT = (Reason.SUPERSEDED, RunReason.NUMBER_TAKEN)
_ENDED = (VersionPhase.PUBLISHED, VersionPhase.REJECTED, VersionPhase.FAILED)


@dataclass(frozen=True, slots=True)
class Lineage:
    """The versions of a model, sorted by what is to become of them.

    `current` has the inputs that the spec asks for; None while it is still to be created. `obsolete` are still running
    and no longer asked for: they are to be stopped, unless the model is suspended, for then what runs is finished.
    `latest` is the highest number ever given, 0 before the first.
    """

    current: Version | None
    obsolete: tuple[Version, ...]
    latest: int
    due: Desired | None


def lineage(observed: Observed, model: Model, spec: KerasModelSpec) -> Lineage:
    """Sort the versions of a model.

    The newest version with the spec's inputs is current, so a spec that is changed back (a `git revert`) goes back to
    the version it had instead of training again.
    """
    wanted = inputs_hash(spec)
    staying = [v for v in observed.versions if not v.identity.deleting]
    candidates = [v for v in staying if v.spec.inputs_hash == wanted and not says_nothing_of_its_inputs(v)]
    current = max(candidates, key=lambda version: version.number, default=None)
    latest = max((model.status.latest_version or 0, *(version.number for version in observed.versions)))
    if spec.suspend:
        return Lineage(current, obsolete=(), latest=latest, due=None)
    return Lineage(
        current=current,
        obsolete=tuple(v for v in staying if v is not current and v.status.phase not in _ENDED),
        latest=latest,
        due=_new_version(observed, model, spec, wanted, latest) if current is None else None,
    )


def ended_for(version: Version) -> str | None:
    """The reason for which a version failed, or None where it did not."""
    if version.status.phase is not VersionPhase.FAILED:
        return None
    ready = condition(version.status.conditions, ConditionType.READY)
    return ready.reason if ready else None


def says_nothing_of_its_inputs(version: Version) -> bool:
    """Whether it failed for a reason that another version with the same inputs may not meet."""
    return ended_for(version) in _NO_VERDICT


def _new_version(observed: Observed, model: Model, spec: KerasModelSpec, wanted: str, latest: int) -> Desired:
    free = [version.status.next_number or 0 for version in observed.versions]
    # An older number than one that was asked for would come after it, should that version be there; and a number that
    # was used stays used, even if its version is gone and the status that tells of it has not been seen.
    number = max(latest + 1, *free, *(taken + 1 for taken in observed.foreign_numbers), observed.least_number, 1)
    name = f"{model.identity.name}-{number}"
    frozen = KerasModelVersionSpec(
        model_name=model.identity.name,
        number=number,
        inputs_hash=wanted,
        reason=_reason(observed, spec, latest),
        training=_frozen(spec.training),
        source=spec.source,
        store=spec.store,
    )
    values = values_of(model, name) | {
        "number": number,
        "spec": msgspec.to_builtins(frozen),
    }
    return Desired(Template.VERSION, name, values)


def _reason(observed: Observed, spec: KerasModelSpec, latest: int) -> str:
    staying = [version for version in observed.versions if not version.identity.deleting]
    newest = max(staying, key=lambda version: version.number, default=None)
    if newest is None:
        return "the first version" if latest == 0 else f"version {latest} was deleted"
    if ended_for(newest) == RunReason.NUMBER_TAKEN:
        return f"number {newest.number} was taken in the store"
    before, after = (
        {"training": _fields(_frozen(s.training)), "source": _fields(s.source)} for s in (newest.spec, spec)
    )
    changes = list(_changes(before, after, ""))
    if not changes:
        return f"version {newest.number} did not finish"
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    return ", ".join(changes[:3])[:900] + more


def _frozen(training: Training | None) -> Training | None:
    """What a version keeps of how it is trained: all but the cache, which is the model's as it is now."""
    if training is None or training.data.cache is None:
        return training
    return msgspec.structs.replace(training, data=msgspec.structs.replace(training.data, cache=None))


def _fields(part: Any) -> Any:
    """Every field of a part of a spec under the name it has in YAML, those with their defaults too."""
    if isinstance(part, msgspec.Struct):
        return {field.encode_name: _fields(getattr(part, field.name)) for field in msgspec.structs.fields(part)}
    return list(part) if isinstance(part, tuple) else part


def _changes(before: Any, after: Any, path: str) -> list[str]:
    """The fields that differ, each as a few words: `training.epochs changed from 5 to 10`."""
    if isinstance(before, dict) and isinstance(after, dict):
        within = f"{path}." if path else ""
        # Maps that people write, such as requests, need not have the same keys.
        keys = sorted({*before, *after})
        return [change for key in keys for change in _changes(before.get(key), after.get(key), within + key)]
    if before == after:
        return []
    if before is None or after is None:
        return [f"{path} was {'added' if before is None else 'removed'}"]
    return [f"{path} changed from {before} to {after}"]
