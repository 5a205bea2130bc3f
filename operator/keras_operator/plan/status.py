"""What a model's status says: a phase, a sentence, conditions."""

from dataclasses import dataclass
from datetime import datetime

from keras_operator.api import (
    ConditionType,
    KerasModelSpec,
    KerasModelStatus,
    KerasModelVersionStatus,
    Phase,
    Reason,
    VersionPhase,
)
from keras_operator.plan.causes import NAMESPACE_ENDS, Cause, autoscaler_trouble, serving_cause, stuck_cause
from keras_operator.plan.conditions import Statement, conditions
from keras_operator.plan.observed import JobState, Model, Observed, Version
from keras_operator.plan.progress import epoch_progress, run_words
from keras_operator.plan.rollout import Course
from keras_operator.plan.serving import Wanted


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where a model stands: its phase, one sentence, and whether somebody has to do something (`problem`)."""

    phase: Phase
    message: str
    reason: str
    problem: Cause | None = None

    @property
    def arrived(self) -> bool:
        """Whether the spec is fully carried out."""
        return self.phase is Phase.SERVING and self.problem is None


def model_status(
    observed: Observed,
    model: Model,
    spec: KerasModelSpec,
    *,
    current: Version | None,
    latest: int,
    wanted: Wanted,
    way: Course | None,
    hold_up: Cause | None,
    now: datetime,
) -> KerasModelStatus:
    """The whole status.

    `current` carries the status that this plan gives it; `way` is how the wanted version gets into the pods; `hold_up`
    is what its Job waits for.
    """
    serving = serving_number(observed, model)
    outlook = _outlook(observed, spec, current, wanted, way, hold_up, serving, now)
    deployment = observed.deployment
    name = spec.serving.model_name or model.identity.name
    return KerasModelStatus(
        observed_generation=model.identity.generation,
        phase=outlook.phase,
        message=outlook.message,
        conditions=conditions(
            _statements(outlook, spec, current, serving), model.status.conditions, model.identity.generation, now
        ),
        latest_version=latest or None,
        serving_version=serving,
        accuracy=_measured(observed, current, serving, "accuracy", ".3f"),
        mae=_measured(observed, current, serving, "mae", ".4g"),
        replicas=deployment.total if deployment else 0,
        selector=f"keras-operator.dev/model={model.identity.name},app.kubernetes.io/component=serving",
        url=f"http://{model.identity.name}.{model.identity.namespace}.svc:8501/v1/models/{name}",
        canary=way.canary if way else None,
        progress=epoch_progress(observed.progress)
        if current and current.status.phase is VersionPhase.TRAINING
        else None,
    )


def invalid_status(model: Model, now: datetime) -> KerasModelStatus:
    """The status of a model whose spec cannot be used: everything else stays as it was."""
    sentence = f"the spec cannot be used: {model.spec_error}"
    before = model.status
    statements = [
        Statement(ConditionType.READY, False, Reason.INVALID_SPEC, sentence),
        Statement(ConditionType.STALLED, True, Reason.INVALID_SPEC, sentence),
    ]
    return KerasModelStatus(
        observed_generation=model.identity.generation,
        phase=Phase.FAILED,
        message=sentence,
        conditions=conditions(statements, before.conditions, model.identity.generation, now),
        latest_version=before.latest_version,
        serving_version=before.serving_version,
        accuracy=before.accuracy,
        mae=before.mae,
        replicas=before.replicas,
        selector=before.selector,
        url=before.url,
    )


def serving_number(observed: Observed, model: Model) -> int | None:
    """The version that answers predictions: of the ready pods' versions, the rolled-out one, else the one as before."""
    ready = {pod.number for pod in observed.serving_pods() if pod.ready and pod.number}
    deployment = observed.deployment
    if deployment and deployment.number in ready and (deployment.rolled_out or len(ready) == 1):
        return deployment.number
    if model.status.serving_version in ready:
        return model.status.serving_version
    return max(ready, default=None)


def _outlook(
    observed: Observed,
    spec: KerasModelSpec,
    current: Version | None,
    wanted: Wanted,
    way: Course | None,
    hold_up: Cause | None,
    serving: int | None,
    now: datetime,
) -> Outlook:
    course = _course(observed, spec, current, wanted, way, hold_up, serving, now)
    if not observed.refusals:
        return course
    # How far it is stays so; what is refused stands in the way of the next step.
    message = _join(observed.refusals[0], _serves(observed, serving))
    if observed.refusals[0].endswith(NAMESPACE_ENDS):
        return Outlook(course.phase, message, Reason.NAMESPACE_TERMINATING)
    return Outlook(course.phase, message, Reason.CHILD_REFUSED, Cause(Reason.CHILD_REFUSED, message))


def _course(
    observed: Observed,
    spec: KerasModelSpec,
    current: Version | None,
    wanted: Wanted,
    way: Course | None,
    hold_up: Cause | None,
    serving: int | None,
    now: datetime,
) -> Outlook:
    serves = _serves(observed, serving)
    if observed.store_holder:
        message = _join(
            f"KerasModel {observed.store_holder} publishes in {spec.store.uri} too, and was there first: "
            "make this model anew with another store.uri, or delete that one",
            serves,
        )
        phase = Phase.SERVING if serves else Phase.PENDING
        return Outlook(phase, message, Reason.STORE_CONFLICT, Cause(Reason.STORE_CONFLICT, message))
    if current is None:
        if spec.suspend:
            words = _join("suspended: no version is made", _runs_on(observed), serves)
            return Outlook(Phase.SUSPENDED, words, Reason.SUSPENDED)
        return Outlook(Phase.PENDING, _join("a new version is being created", serves), Reason.PENDING)
    made = _run_outlook(observed, spec, current, hold_up, serves)
    if wanted.problem:
        return Outlook(
            made.phase if made else Phase.SERVING if serves else Phase.DEPLOYING,
            _join(wanted.problem.message, serves),
            wanted.problem.reason,
            wanted.problem,
        )
    pinned = spec.serving.version is not None
    if made is not None and not pinned:
        return made
    return _rollout_outlook(observed, way, serving, now)


def _run_outlook(
    observed: Observed, spec: KerasModelSpec, current: Version, hold_up: Cause | None, serves: str
) -> Outlook | None:
    """What is to be said while, or because, the current version is not published; None once it is."""
    status, number = current.status, current.number
    again = f"To try again, delete kerasmodelversion {current.identity.name}"
    inputs = f"spec.{'training' if spec.training else 'source'}"
    retry = f"{again}, or change {inputs}"
    match status.phase:
        case VersionPhase.PUBLISHED:
            return None
        case VersionPhase.REJECTED:
            message = _join(f"version {number} was rejected: {status.message}", serves)
            message += f". Ease the gate to serve it as it is, or change {inputs} for another version"
            return Outlook(Phase.REJECTED, message, Reason.GATES_NOT_MET, Cause(Reason.GATES_NOT_MET, message))
        case VersionPhase.FAILED:
            reason = _version_reason(status)
            why = (status.message or "nobody says why").rstrip(".")
            message = _join(f"version {number} failed: {why}", serves) + f". {retry}"
            return Outlook(Phase.FAILED, message, reason, Cause(reason, message))
        case VersionPhase.PENDING if spec.suspend:
            message = _join(f"suspended: version {number} waits", serves)
            return Outlook(Phase.SUSPENDED, message, Reason.SUSPENDED)
    exporting = status.phase is VersionPhase.EXPORTING
    phase, reason = (Phase.EXPORTING, Reason.EXPORTING) if exporting else (Phase.TRAINING, Reason.TRAINING)
    if hold_up:
        verb = "exported" if exporting else "trained"
        message = _join(f"version {number} cannot be {verb}: {hold_up.message}", serves)
        return Outlook(phase, message, hold_up.reason, Cause(hold_up.reason, message))
    words = run_words(observed, spec, number, exporting=exporting)
    return Outlook(phase, _join(f"version {number}{words}", serves), reason)


def _rollout_outlook(observed: Observed, way: Course | None, serving: int | None, now: datetime) -> Outlook:
    if way is None:
        return Outlook(Phase.DEPLOYING, "nothing is published yet", Reason.ROLLING_OUT)
    number, deployment = way.number, observed.deployment
    hot = way.hot and deployment is not None and deployment.renewal is not None
    if deployment is not None and deployment.number != number and not hot:
        # What is there is of another version; what its controller says of it is no news about this one.
        deployment = None
    # Its controller may know of ready pods before their own watch has brought them: then nothing says who answers.
    if (
        deployment is not None
        and deployment.rolled_out
        and way.hot == hot
        and way.arrived(observed)
        and serving == number
        and not observed.behind
    ):
        message = f"version {number} serves on {deployment.available}/{deployment.replicas} pods"
        if observed.autoscaler and (trouble := autoscaler_trouble(observed.autoscaler, now)):
            message += f"; {trouble}"
        return Outlook(Phase.SERVING, _join(message, way.note), Reason.SERVING)
    other = _serves(observed, serving) if serving != number else ""
    cause = way.cause or serving_cause(observed, number, now) or stuck_cause(observed, number, now)
    if cause:
        message = _join(f"version {number} cannot serve: {cause.message}", other)
        return Outlook(Phase.DEPLOYING, message, cause.reason, Cause(cause.reason, message))
    pods = observed.serving_pods()
    ready = len([pod for pod in pods if pod.number == number and pod.ready])
    # Who scales down may leave a canary alone for a moment: it serves, and is a canary still.
    if hot and (serving != number or way.canary) and any(pod.ready for pod in pods):
        words = way.words or f"version {number} is being loaded into the pods: it serves on {ready}/{len(pods)}"
        return Outlook(Phase.DEPLOYING, words, Reason.ROLLING_OUT)
    if way.words and way.beside is not None:
        return Outlook(Phase.DEPLOYING, way.words, Reason.ROLLING_OUT)
    progress = f": {ready}/{deployment.replicas} pods are ready" if deployment and deployment.updated else ""
    words = _join(f"version {number} is being rolled out{progress}", other, way.note)
    return Outlook(Phase.DEPLOYING, words, Reason.ROLLING_OUT)


def _statements(
    outlook: Outlook, spec: KerasModelSpec, current: Version | None, serving: int | None
) -> list[Statement]:
    reason, message = outlook.reason, outlook.message
    made = [Statement(ConditionType.READY, outlook.arrived, reason, message)]
    if outlook.problem:
        made.append(Statement(ConditionType.STALLED, True, outlook.problem.reason, outlook.problem.message))
    elif not outlook.arrived and outlook.phase is not Phase.SUSPENDED:
        made.append(Statement(ConditionType.RECONCILING, True, reason, message))
    if current is not None:
        made.extend(_version_statements(spec, current))
    if serving is None:
        made.append(Statement(ConditionType.AVAILABLE, False, Reason.NOTHING_SERVES, "no pod answers predictions yet"))
    else:
        made.append(Statement(ConditionType.AVAILABLE, True, Reason.SERVING, f"version {serving} answers predictions"))
    return made


def _version_statements(spec: KerasModelSpec, current: Version) -> list[Statement]:
    """What became of the version that stands for the spec, one condition for each step."""
    status, which = current.status, f"version {current.number}"
    made = []
    if current.spec.source is not None:
        words = f"{which} was trained elsewhere"
        made.append(Statement(ConditionType.TRAINED, True, Reason.NOT_TRAINED_HERE, words))
    elif status.metrics:
        made.append(Statement(ConditionType.TRAINED, True, Reason.TRAINED, f"{which} was trained and evaluated"))
    else:
        reason = _version_reason(status)
        made.append(Statement(ConditionType.TRAINED, False, reason, f"{which}: {status.message or 'not started'}"))
    judged = bool(status.metrics or status.gates)
    waits = status.phase is VersionPhase.EXPORTING and any(gate.known_after_export for gate in spec.evaluation.gates)
    if judged and waits:
        words = f"{which} met every gate that can be judged before it is exported"
        made.append(Statement(ConditionType.GATES_MET, None, Reason.EXPORTING, words))
    elif judged and not status.gates:
        made.append(Statement(ConditionType.GATES_MET, True, Reason.NO_GATES, "no gates are set"))
    elif judged:
        met = all(result.met for result in status.gates)
        words = f"{which} met every gate" if met else f"{which}: {status.message}"
        made.append(Statement(ConditionType.GATES_MET, met, Reason.GATES_MET if met else Reason.GATES_NOT_MET, words))
    published = status.phase is VersionPhase.PUBLISHED
    reason = Reason.PUBLISHED if published else _version_reason(status)
    made.append(Statement(ConditionType.PUBLISHED, published, reason, f"{which}: {status.message or 'not started'}"))
    return made


def _version_reason(status: KerasModelVersionStatus) -> str:
    ready = next((one for one in status.conditions if one.type == ConditionType.READY), None)
    return ready.reason if ready else Reason.PENDING


def _serves(observed: Observed, serving: int | None) -> str:
    if serving is None:
        return ""
    pods = [pod for pod in observed.serving_pods() if pod.number == serving and not pod.over]
    return f"version {serving} serves on {len([pod for pod in pods if pod.ready])}/{len(pods)} pods"


def _runs_on(observed: Observed) -> str:
    """The Job of an earlier spec that a suspended model lets finish."""
    names = [job.identity.name for job in observed.jobs if job.state is JobState.ACTIVE and not job.identity.deleting]
    return f"Job {names[-1]} of the spec before runs on" if names else ""


def _join(*parts: str) -> str:
    return "; ".join(part.rstrip(".;") for part in parts if part)


def _measured(observed: Observed, current: Version | None, serving: int | None, metric: str, form: str) -> str | None:
    """A metric of the version that serves, or of the newest; of whichever is measured first, by accuracy or by mae."""
    serves = next((version for version in observed.versions if version.number == serving), None)
    for version in (serves, current):
        if version is not None and version.status.metrics.keys() & {"accuracy", "mae"}:
            measured = version.status.metrics.get(metric)
            return None if measured is None else f"{float(measured):{form}}"
    return None
