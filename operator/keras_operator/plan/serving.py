"""Which version should serve, and the children that serve it."""

from dataclasses import dataclass

import msgspec

from keras_operator.api import (
    DEFAULT_CPU_UTILIZATION,
    USUAL_TIMEOUT_SECONDS,
    Autoscaling,
    KerasModelSpec,
    Reason,
    Runtime,
    SignatureChange,
    VersionPhase,
)
from keras_operator.plan.causes import Cause
from keras_operator.plan.desired import Desired, Removal, Seed, Template, values_of
from keras_operator.plan.images import Installation
from keras_operator.plan.observed import Model, Observed, Version
from keras_operator.plan.rollout import Course, canary_name
from keras_operator.plan.rollout.signatures import changed_input
from keras_operator.plan.workers import train_together

# Beside the time that requests have: the pause before the runtime is told to end, its last words, and a margin.
_ENDING_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Wanted:
    """The number that should serve, None where there is none yet; `problem` is why it is not the one asked for."""

    number: int | None
    problem: Cause | None = None


def wanted_number(observed: Observed, spec: KerasModelSpec, current: Version | None) -> Wanted:
    """Which version should serve.

    Only a published version may start to serve, and one that serves is never taken away for one that may not: whatever
    is wrong with the version asked for, what serves goes on.
    """
    published = {version.number for version in observed.versions if version.status.phase is VersionPhase.PUBLISHED}
    named = observed.named
    # Somebody may have deleted the Deployment, or taken the label off its pod template: then it names nothing, and what
    # served last comes back. That is not always the newest: the spec may have been changed back.
    last = observed.model.status.serving_version if observed.model else None
    serves = named or (last if last in published else max(published, default=None))
    pin = spec.serving.version
    if pin is not None:
        if pin in published:
            return Wanted(pin)
        return Wanted(serves, _cannot_pin(observed, pin))
    if current is not None and current.number in published:
        if serves is not None and (problem := _other_inputs(observed, spec, serves, current)):
            return Wanted(serves, problem)
        return Wanted(current.number)
    return Wanted(serves)


def _other_inputs(observed: Observed, spec: KerasModelSpec, serves: int, current: Version) -> Cause | None:
    """Why the current version may not take the place of the one that serves: its clients would get errors."""
    before = next((version.status.servable for version in observed.versions if version.number == serves), None)
    after = current.status.servable
    if spec.serving.rollout.signature_change is SignatureChange.ALLOW or before is None or after is None:
        return None
    how = changed_input(before, after)
    if not how:
        return None
    return Cause(
        Reason.SIGNATURE_CHANGED,
        f"version {current.number} takes something else than version {serves}: {how}; write "
        f"serving.rollout.signatureChange: Allow to roll it out all the same, or change what it is made from",
    )


def _cannot_pin(observed: Observed, pin: int) -> Cause:
    remedy = "name a published version in serving.version, or remove it to serve the newest"
    version = next((version for version in observed.versions if version.number == pin), None)
    if version is None:
        return Cause(Reason.VERSION_NOT_FOUND, f"serving.version is {pin}, and there is no version {pin}: {remedy}")
    phase = (version.status.phase or VersionPhase.PENDING).lower()
    return Cause(
        Reason.VERSION_NOT_PUBLISHED, f"serving.version is {pin}, and version {pin} is {phase}, not published: {remedy}"
    )


@dataclass(frozen=True, slots=True)
class ServingChildren:
    """The children of the serving side, those that are wanted and those that are no longer."""

    keep: tuple[Desired, ...]
    remove: tuple[Removal, ...]
    seed: Seed | None


def serving_children(
    observed: Observed, model: Model, spec: KerasModelSpec, way: Course | None, installation: Installation
) -> ServingChildren:
    """The children for serving a version in this way; without one, those that do not depend on it.

    The Service is made at once: it is slow to create, and its address is the model's from the first moment.
    """
    name = model.identity.name
    shared = _shared_values(model, installation)
    keep = [Desired(t, name, shared) for t in (Template.SERVICE_ACCOUNT, Template.SERVICE)]
    open_ports = {"tensorboard": spec.shows_trainings, "workers": train_together(observed, spec)}
    keep.append(Desired(Template.NETWORK_POLICY, name, shared | open_ports))
    if way is None:
        return ServingChildren(tuple(keep), (), None)
    keep.append(Desired(Template.DEPLOYMENT, name, shared | _deployment_values(spec, way, installation, name)))
    if way.hot:
        # Where versions are not swapped any more it is left: old pods may still start with it.
        keep.append(Desired(Template.START, name, shared | {"start": way.start}))
    remove: list[Removal] = []
    if way.beside is not None:
        values = _deployment_values(spec, way, installation, name) | _canary_values(name, way)
        keep.append(Desired(Template.DEPLOYMENT, canary_name(name), shared | values))
    elif observed.canary and not observed.canary.identity.deleting:
        remove.append(Removal("Deployment", canary_name(name), observed.canary.identity.uid))
    autoscaling = spec.serving.autoscaling
    if autoscaling:
        keep.append(Desired(Template.AUTOSCALER, name, shared | _autoscaler_values(autoscaling)))
    else:
        remove += _removal(observed, "HorizontalPodAutoscaler", name)
    if least_replicas(spec) >= 2:
        keep.append(Desired(Template.DISRUPTION_BUDGET, name, shared))
    else:
        remove += _removal(observed, "PodDisruptionBudget", name)
    return ServingChildren(tuple(keep), tuple(remove), _seed(observed, spec))


def _autoscaler_values(autoscaling: Autoscaling) -> dict[str, object]:
    return {
        "min_replicas": autoscaling.min_replicas,
        "max_replicas": max(autoscaling.min_replicas, autoscaling.max_replicas),
        "target_cpu_utilization": autoscaling.target_cpu_utilization or DEFAULT_CPU_UTILIZATION,
        "metrics": [msgspec.to_builtins(entry) for entry in autoscaling.metrics],
        "behavior": msgspec.to_builtins(autoscaling.behavior) or None,
    }


def _removal(observed: Observed, kind: str, name: str) -> list[Removal]:
    child = observed.children.get(kind)
    return [Removal(kind, name, child.identity.uid)] if child and not child.identity.deleting else []


def least_replicas(spec: KerasModelSpec) -> int:
    """Pods that serve at any time: the fixed number, or the autoscaler's minimum."""
    return spec.serving.autoscaling.min_replicas if spec.serving.autoscaling else spec.serving.replicas


def _seed(observed: Observed, spec: KerasModelSpec) -> Seed | None:
    """The replica count to hand over to the autoscaler, where it does not have it yet.

    An applied manifest that no longer holds `replicas` would let the API server fall back to one pod; so another field
    manager keeps the count until the autoscaler first changes it.
    """
    if spec.serving.autoscaling is None:
        return None
    if observed.deployment is None:
        least = spec.serving.autoscaling.min_replicas
        return Seed(least) if least > 1 else None
    return Seed(observed.deployment.replicas) if observed.deployment.owns_replicas else None


def _shared_values(model: Model, installation: Installation) -> dict[str, object]:
    return values_of(model, model.identity.name) | {"operator_namespace": installation.namespace}


def _deployment_values(spec: KerasModelSpec, way: Course, installation: Installation, name: str) -> dict[str, object]:
    serving, images = spec.serving, installation.images
    keras_server = serving.runtime is Runtime.KERAS_SERVER
    return {
        "canary": False,
        "number": None if way.hot else way.start,
        "renewal": way.renewal if way.hot else None,
        "replicas": None if serving.autoscaling else serving.replicas,
        "service_account": name,
        "agent_image": images.server,
        "runtime_image": images.server if keras_server else images.tensorflow_serving,
        "keras_server": keras_server,
        "request_ms": serving.max_request_seconds * 1000,
        "timeout_ms": max(serving.max_request_seconds, USUAL_TIMEOUT_SECONDS) * 1000,
        "grace_seconds": serving.max_request_seconds + _ENDING_SECONDS,
        "served_name": serving.model_name or name,
        "store_uri": spec.store.uri,
        "store_endpoint": spec.store.endpoint,
        "secret_name": spec.store.credentials.secret_name if spec.store.credentials else None,
        "batching_parameters": _batching_parameters(spec),
        "cache_claim": serving.cache.claim_name if serving.cache else None,
        "cache_gigabytes": serving.cache.max_gigabytes if serving.cache else None,
        "resources": msgspec.to_builtins(serving.resources),
    }


def _canary_values(name: str, way: Course) -> dict[str, object]:
    """What of its Deployment is other than of the main one."""
    return {"name": canary_name(name), "canary": True, "number": way.number, "renewal": None, "replicas": way.beside}


def _batching_parameters(spec: KerasModelSpec) -> str:
    """TensorFlow Serving's BatchingParameters as a text proto, empty where requests are not batched."""
    batching = spec.serving.batching
    if batching is None:
        return ""
    return (
        f"max_batch_size {{ value: {batching.max_batch_size} }}\n"
        f"batch_timeout_micros {{ value: {batching.timeout_micros} }}\n"
    )
