"""Whether every model is where its spec wants it: said from the outside, without the operator's own plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keras_operator.api import KerasModelSpec, Reason, decode_model, inputs_hash
from keras_operator.cluster.reference import (
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    JOB,
    NETWORK_POLICY,
    POD,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    Ref,
)
from keras_operator.kinds import CHILDREN, MODEL, MODEL_LABEL, VERSION
from keras_operator.plan.serving import least_replicas
from keras_operator.projection import VERSION_LABEL

from tests.simulation.kubelet import SERVES, answers_errors
from tests.simulation.memory_store import ObjectStorage
from tests.simulation.object_table import Body, ObjectTable, controller_uid, labels
from tests.simulation.truth import Truth, deployment_facts, is_apart

_ENDED = ("Published", "Rejected", "Failed")


def unfinished(table: ObjectTable, truth: Truth, storage: ObjectStorage, models: Iterable[Ref]) -> list[str]:
    """Sentences about what is not as it should be; none where everything is."""
    found = [words for ref in models if (body := table.get(ref)) for words in _of_model(table, storage, ref, body)]
    for kind in (VERSION, *CHILDREN):
        for ref, body in table.of_kind(kind):
            owners = body["metadata"].get("ownerReferences") or ()
            if owners and not any(table.named(owner["uid"]) for owner in owners):
                found.append(f"{ref} outlives its owner")
    return found


def _of_model(table: ObjectTable, storage: ObjectStorage, ref: Ref, model: Body) -> Iterator[str]:
    uid, spec, status = model["metadata"]["uid"], decode_model(model["spec"]), model.get("status") or {}
    if "deletionTimestamp" in model["metadata"]:
        yield f"{ref} is not gone yet"
        return
    if status.get("observedGeneration") != model["metadata"]["generation"]:
        yield f"{ref} says nothing about generation {model['metadata']['generation']}"
        return
    # One whose label people took off is theirs: nobody sees it any more.
    seen = [body for _, body in table.owned(uid, VERSION) if labels(body).get(MODEL_LABEL) == ref.name]
    versions = sorted(seen, key=lambda body: int(body["spec"]["number"]))
    yield from _jobs(table, versions)
    said = {one["type"]: one["reason"] for one in status["conditions"]}
    if said.get("Stalled") == Reason.STORE_CONFLICT:
        if not _shares_its_store(table, ref, spec):
            yield f"{ref} says that its store is taken, and nobody else has it"
        return
    yield from _children(table, ref, uid, spec)
    current = [v for v in versions if v["spec"]["inputsHash"] == inputs_hash(spec) and not _no_verdict(v)]
    yield from _phase(table, ref, spec, status, versions, current[-1] if current else None)


def _shares_its_store(table: ObjectTable, ref: Ref, spec: KerasModelSpec) -> bool:
    others = [body for other, body in table.of_kind(MODEL) if other != ref]
    return any(body["spec"]["store"]["uri"] == spec.store.uri for body in others)


def _no_verdict(version: Body) -> bool:
    status = version.get("status") or {}
    ready = next((c["reason"] for c in status.get("conditions") or () if c["type"] == "Ready"), "")
    return status.get("phase") == "Failed" and ready in {"Superseded", "NumberTaken"}


def _jobs(table: ObjectTable, versions: list[Body]) -> Iterator[str]:
    for version in versions:
        for job, body in table.owned(version["metadata"]["uid"], JOB):
            if not (body.get("status") or {}).get("conditions"):
                yield f"{job} runs"


def _children(table: ObjectTable, ref: Ref, uid: str, spec: KerasModelSpec) -> Iterator[str]:
    wanted: dict[Kind, bool] = {SERVICE: True, SERVICE_ACCOUNT: True, NETWORK_POLICY: True}
    if table.owned(uid, DEPLOYMENT):
        wanted[HORIZONTAL_POD_AUTOSCALER] = spec.serving.autoscaling is not None
        wanted[POD_DISRUPTION_BUDGET] = least_replicas(spec) >= 2
    if any(is_apart(body) for _, body in table.owned(uid, DEPLOYMENT)):
        yield f"a canary of {ref} has pods of its own yet"
    for kind, is_wanted in wanted.items():
        found = [body for child, body in table.owned(uid, kind) if child.name == ref.name]
        if bool(found) != is_wanted:
            yield f"{ref} has {'no' if is_wanted else 'a'} {kind}"
        elif found and found[0]["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") != "keras-operator":
            yield f"{kind} of {ref} lost its label"
        elif found and kind == SERVICE and found[0]["spec"]["ports"][0]["port"] != 8501:
            yield f"{kind} of {ref} says what people wrote"


def _phase(
    table: ObjectTable, ref: Ref, spec: KerasModelSpec, status: Body, versions: list[Body], current: Body | None
) -> Iterator[str]:
    phase, said = status["phase"], {one["type"]: one["status"] for one in status["conditions"]}
    published = {v["spec"]["number"] for v in versions if (v.get("status") or {}).get("phase") == "Published"}
    pin = spec.serving.version
    fate = ((current or {}).get("status") or {}).get("phase")
    if spec.suspend and fate not in _ENDED:
        if phase != "Suspended" and pin is None:
            yield f"{ref} is suspended and {phase}"
    elif fate not in _ENDED:
        yield f"{ref} has no version that ended: {fate}"
        return
    elif pin is None and fate not in ("Published", phase):
        yield f"{ref} is {phase}, its version {fate}"
    if pin is not None and pin not in published:
        if "Stalled" not in said and not spec.suspend:
            yield f"{ref} asks for version {pin} and does not say that it cannot"
    elif (pin or fate == "Published") and current is not None:
        yield from _served(table, ref, spec, status, pin or int(current["spec"]["number"]))


def _served(table: ObjectTable, ref: Ref, spec: KerasModelSpec, status: Body, number: int) -> Iterator[str]:
    body = table.get(Ref(DEPLOYMENT, ref.namespace, ref.name))
    if body is None or controller_uid(body) != (table.get(ref) or {"metadata": {"uid": ""}})["metadata"]["uid"]:
        yield f"{ref} has no Deployment"
        return
    facts = deployment_facts(body)
    count = spec.serving.replicas if spec.serving.autoscaling is None else facts.replicas
    hot = not spec.serving.rollout.own_pods
    canary = status.get("canary") or {}
    if canary.get("refused") and canary["version"] == number and answers_errors(number):
        yield from (_taken_back if hot else _taken_back_apart)(table, ref, status, body)
        return
    named = 0 if hot else number
    if (facts.number, facts.served_name, facts.replicas) != (named, spec.serving.model_name, count):
        yield f"{ref} serves {facts}, and should serve version {number} on {count} pods as {spec.serving.model_name}"
    elif body["spec"]["template"]["spec"]["containers"][0]["image"] != "server:1":
        yield f"{ref} serves with an image that people wrote"
    elif hot and (odd := _pods_with_another_version(table, ref, body, number)):
        yield odd
    elif not facts.rolled_out:
        yield f"{ref} is not rolled out: {facts}"
    elif (status["phase"], status.get("servingVersion")) != ("Serving", number):
        yield f"{ref} serves version {number} and says {status['phase']}, {status.get('servingVersion')}"
    elif next(one["status"] for one in status["conditions"] if one["type"] == "Ready") != "True":
        yield f"{ref} serves and is not ready"


def _pods_with_another_version(table: ObjectTable, ref: Ref, deployment: Body, number: int) -> str:
    """What of the pods that swap versions, or of what new ones start with, is of another version."""
    start = table.get(Ref(CONFIG_MAP, ref.namespace, ref.name))
    if start is None or start["data"] != {"version": str(number)}:
        return f"new pods of {ref} start with {start and start['data']}, and should with version {number}"
    pods = [
        body
        for _, body in table.owned(deployment["metadata"]["uid"], POD)
        if "deletionTimestamp" not in body["metadata"]
    ]
    for pod in pods:
        found = (labels(pod).get(VERSION_LABEL), pod["status"].get(SERVES))
        if found != (str(number), number):
            return f"pod {pod['metadata']['name']} of {ref} has label and version {found}, and should have {number}"
    return ""


def _taken_back_apart(table: ObjectTable, ref: Ref, status: Body, deployment: Body) -> Iterator[str]:
    """A canary that answers errors had pods of its own: the main Deployment has the version before."""
    facts = deployment_facts(deployment)
    if facts.number == status["canary"]["version"] or not facts.rolled_out:
        yield f"{ref} serves {facts}, and version {status['canary']['version']} was taken back"
    elif "CanaryWorse" not in {one["reason"] for one in status["conditions"]}:
        yield f"{ref} took a canary back and does not say so"


def _taken_back(table: ObjectTable, ref: Ref, status: Body, deployment: Body) -> Iterator[str]:
    """A canary that answers errors: all pods have the version before, and the model says so."""
    start = table.get(Ref(CONFIG_MAP, ref.namespace, ref.name))
    old = int(start["data"]["version"]) if start else 0
    if old == status["canary"]["version"]:
        yield f"new pods of {ref} start with version {old}, which was taken back"
    elif odd := _pods_with_another_version(table, ref, deployment, old):
        yield odd
    elif "CanaryWorse" not in {one["reason"] for one in status["conditions"]}:
        yield f"{ref} took a canary back and does not say so"
