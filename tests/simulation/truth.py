"""What really happened, for as long as somebody may rightly believe it: specs, pods, Deployments, versions, Jobs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec
from keras_operator.api import KerasModelSpec, decode_model, inputs_hash
from keras_operator.cluster.reference import DEPLOYMENT, JOB, POD, Ref
from keras_operator.kinds import CANARY_LABEL, MODEL, MODEL_LABEL, VERSION
from keras_operator.projection import COMPONENT_LABEL, RENEWAL_ANNOTATION, VERSION_LABEL, WISH_ANNOTATION

from tests.simulation.controllers import is_ready
from tests.simulation.kubelet import SERVES
from tests.simulation.object_table import Body, Change, controller_uid, labels

# The steps of people's canaries; then a version goes to all pods.
CANARY_STEPS = 2


@dataclass(slots=True)
class Spell:
    """Something that was so from one moment to another, or still is (`until` is None)."""

    since: float
    what: Any
    until: float | None = None

    def overlaps(self, since: float) -> bool:
        """Whether it was so at that moment or later."""
        return self.until is None or self.until >= since


@dataclass(slots=True)
class VersionFacts:
    """One KerasModelVersion, alive or not."""

    uid: str
    model_uid: str
    number: int
    inputs: str
    gone: float | None = None


@dataclass(slots=True)
class Truth:
    """Listens to every change.

    Attributes:
        specs: of each model (by uid), with the generation.
        deployments: of each model (by uid), the one that serves: number, served name, whether it is rolled out.
        serving: of each model's name: numbers of pods that were ready.
        apart: of each model (by uid), the same of a canary's own pods.
        tried: versions that went through all steps of a canary: uid of the model, number.
        pods: of each pod (by uid), what it served.
        told: of each Deployment (by uid), its pods (by uid) with what they were told to serve while they were not on
            their way out; empty for nothing.
        versions: by uid.
        jobs: uids of the Jobs of each run (uid of the version, stage), oldest first.
        removed: who removed what, by uid.
        spoken: when each model's status (by uid) said which version was its newest.
    """

    specs: dict[str, list[Spell]] = field(default_factory=lambda: defaultdict(list))
    deployments: dict[str, list[Spell]] = field(default_factory=lambda: defaultdict(list))
    apart: dict[str, list[Spell]] = field(default_factory=lambda: defaultdict(list))
    tried: set[tuple[str, int]] = field(default_factory=set)
    serving: dict[tuple[str, str], list[Spell]] = field(default_factory=lambda: defaultdict(list))
    pods: dict[str, list[Spell]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, list[Spell]] = field(default_factory=lambda: defaultdict(list))
    versions: dict[str, VersionFacts] = field(default_factory=dict)
    jobs: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    removed: dict[str, str] = field(default_factory=dict)
    spoken: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    _ready: dict[str, Spell] = field(default_factory=dict)
    _wishes: dict[str, Spell] = field(default_factory=dict)

    def saw(self, change: Change) -> None:
        """Take a change in."""
        if change.after is None:
            self.removed[change.uid] = change.actor
        match change.ref.kind:
            case kind if kind == MODEL:
                self._model(change)
                self._tried(change)
            case kind if kind == VERSION:
                self._version(change)
            case kind if kind == DEPLOYMENT:
                self._deployment(change)
            case kind if kind == POD:
                self._pod(change)
                self._wish(change)
            case kind if kind == JOB and change.before is None:
                self.jobs[controller_uid(change.body) or "", change.ref.name.rpartition("-")[2]].append(change.uid)

    def numbers(self, model_uid: str) -> dict[int, VersionFacts]:
        """The versions ever made of a model."""
        return {one.number: one for one in self.versions.values() if one.model_uid == model_uid}

    def specs_since(self, model_uid: str, since: float) -> list[tuple[int, KerasModelSpec]]:
        """Generation and spec of a model as they were at that moment or later."""
        return [spell.what for spell in self.specs[model_uid] if spell.overlaps(since)]

    def _model(self, change: Change) -> None:
        generation = change.body["metadata"]["generation"]
        spells = self.specs[change.uid]
        if change.after is None or (spells and spells[-1].what[0] != generation):
            spells[-1].until = change.time
        if change.after is not None and (not spells or spells[-1].until is not None):
            spells.append(Spell(change.time, (generation, decode_model(change.body["spec"]))))

    def _version(self, change: Change) -> None:
        spec = change.body["spec"]
        facts = self.versions.setdefault(
            change.uid,
            VersionFacts(change.uid, controller_uid(change.body) or "", spec["number"], spec["inputsHash"]),
        )
        if change.after is None:
            facts.gone = change.time

    def _tried(self, change: Change) -> None:
        canary = (change.body.get("status") or {}).get("canary") or {}
        if canary.get("step", 1) > CANARY_STEPS:
            self.tried.add((change.uid, canary["version"]))

    def _deployment(self, change: Change) -> None:
        kept = self.apart if is_apart(change.body) else self.deployments
        spells = kept[controller_uid(change.body) or ""]
        now = None if change.after is None else deployment_facts(change.after)
        if spells and spells[-1].until is None:
            if spells[-1].what == now:
                return
            spells[-1].until = change.time
        if now is not None:
            spells.append(Spell(change.time, now))

    def _pod(self, change: Change) -> None:
        ready = change.after is not None and is_ready(change.after)
        said = labels(change.body)
        serves = change.body["status"].get(SERVES, 0) if ready else 0
        known = self._ready.get(change.uid)
        if known and known.what != serves:
            known.until = change.time
            del self._ready[change.uid]
        if serves and (known is None or known.what != serves) and said.get(COMPONENT_LABEL) == "serving":
            spell = Spell(change.time, serves)
            self._ready[change.uid] = spell
            self.pods[change.uid].append(spell)
            self.serving[change.ref.namespace, said.get(MODEL_LABEL, "")].append(spell)

    def _wish(self, change: Change) -> None:
        body = change.after
        stays = body is not None and "deletionTimestamp" not in body["metadata"]
        wish = (change.body["metadata"].get("annotations") or {}).get(WISH_ANNOTATION, "") if stays else None
        known = self._wishes.get(change.uid)
        if known and known.what[1] != wish:
            known.until = change.time
            del self._wishes[change.uid]
        if wish is not None and (known is None or known.what[1] != wish):
            self._wishes[change.uid] = Spell(change.time, (change.uid, wish))
            self.told[controller_uid(change.body) or ""].append(self._wishes[change.uid])


def is_apart(deployment: Body) -> bool:
    """Whether a Deployment is one of a canary's own pods."""
    return CANARY_LABEL in deployment["spec"]["selector"]["matchLabels"]


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """What a Deployment serves, how many pods it should have, and whether it has.

    One whose pods swap versions is `hot` and names no version (0).
    """

    number: int
    hot: bool
    served_name: str
    replicas: int
    rolled_out: bool


def deployment_facts(body: Body) -> DeploymentFacts:
    """The facts about a Deployment."""
    spec, status = body["spec"], body.get("status") or {}
    template = spec["template"]
    arguments = template["spec"]["initContainers"][0]["args"]
    name = next(one.partition("=")[2] for one in arguments if one.startswith("--model-name="))
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return DeploymentFacts(
        number=int(template["metadata"]["labels"].get(VERSION_LABEL, "0")),
        hot=RENEWAL_ANNOTATION in (template["metadata"].get("annotations") or {}),
        served_name=name,
        replicas=spec["replicas"],
        rolled_out=status.get("observedGeneration", 0) >= body["metadata"]["generation"]
        and counts == [spec["replicas"]] * 3,
    )


def wants(spec: KerasModelSpec, version: VersionFacts) -> bool:
    """Whether a spec asks for a version: by its number, or by its inputs."""
    pin = spec.serving.version
    return pin == version.number or version.inputs == inputs_hash(spec)


def written(value: Any) -> Body:
    """A struct as JSON."""
    body: Body = msgspec.to_builtins(value)
    return body


def model_of(ref: Ref) -> tuple[str, str]:
    """Namespace and name."""
    return ref.namespace, ref.name
