"""The version that a training starts from, where its spec names one."""

from keras_operator.api import Reason, VersionPhase
from keras_operator.plan.causes import Cause
from keras_operator.plan.observed import Observed, Version


def parent_cause(observed: Observed, version: Version) -> Cause | None:
    """Why a training cannot start from the version that it names: nothing is trained on a mistake in a number."""
    initial = version.spec.training.initial_weights if version.spec.training else None
    if initial is None or initial.version is None:
        return None
    said = f"training.initialWeights.version is {initial.version}, and"
    remedy = "name a published version that was trained"
    parent = next((other for other in observed.versions if other.number == initial.version), None)
    if parent is None or parent.number >= version.number:
        before = sorted(
            other.number
            for other in observed.versions
            if other.number < version.number
            and other.status.phase is VersionPhase.PUBLISHED
            and other.spec.training is not None
        )
        there = f" ({', '.join(map(str, before[-5:]))})" if before else ""
        return Cause(
            Reason.VERSION_NOT_FOUND,
            f"{said} there is no such version before version {version.number}: {remedy}{there}",
        )
    if parent.status.phase is not VersionPhase.PUBLISHED:
        phase = (parent.status.phase or VersionPhase.PENDING).lower()
        return Cause(
            Reason.VERSION_NOT_PUBLISHED, f"{said} version {parent.number} is {phase}, not published: {remedy}"
        )
    if parent.spec.source is not None:
        words = (
            f"{said} version {parent.number} was trained elsewhere: write initialWeights.uri: {parent.spec.source.uri}"
        )
        return Cause(Reason.VERSION_NOT_FOUND, words)
    return None
