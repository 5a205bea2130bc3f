"""Carrying out a plan: render what is wanted, write what differs, say how it went.

Nothing is written that is already so. Every write is safe to repeat, and a crash between any two of them leaves a state
from which the next look goes on.
"""

import asyncio
import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from keras_operator.cluster import reference
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.client import Client
from keras_operator.cluster.clock import Clock
from keras_operator.cluster.failure import AlreadyExists, ApiFailure, Conflict, Forbidden, Invalid, NotFound
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.prometheus import Prometheus
from keras_operator.cluster.reference import Key, Ref
from keras_operator.kinds import CHILDREN, MODEL, VERSION
from keras_operator.measurements import Measurements
from keras_operator.observation import Observer
from keras_operator.phases import PhaseCounter
from keras_operator.plan import Plan, plan
from keras_operator.plan.causes import refusal_sentence
from keras_operator.plan.desired import Desired, Mark, Removal, Seed, Template
from keras_operator.plan.drift import drifted
from keras_operator.plan.images import Images, Installation
from keras_operator.plan.observed import AppliedChild, Model, Observed
from keras_operator.plan.rollout import canary_name
from keras_operator.plan.tensorboard import board_name
from keras_operator.plan.workers import workers_name
from keras_operator.projection import (
    MEMORY_ANNOTATION,
    SWAPS_ANNOTATION,
    VERSION_LABEL,
    WISH_ANNOTATION,
    identity,
    project,
)
from keras_operator.render import Renderer, TemplateError
from keras_operator.settings import Settings
from keras_operator.statuses import StatusWriter, remember

logger = logging.getLogger(__name__)

SEED_MANAGER = "keras-operator-seed"
_KINDS = {kind.kind: kind for kind in (*CHILDREN, VERSION)}
_RUN_PODS = {Template.DEPLOYMENT, Template.TRAIN_JOB, Template.EXPORT_JOB, Template.BOARD}
# What leads to pods and counts them: of no use before there are any.
_AROUND_PODS = {Template.SERVICE, Template.AUTOSCALER, Template.DISRUPTION_BUDGET}
# Nothing wakes a model when the namesake's object in its way is gone, or when a quota is raised.
_IN_THE_WAY_SECONDS = 2.0
_REFUSED_SECONDS = 15.0


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How writing one object went: at most one of a sentence why it was refused, and a failure that may pass."""

    refusal: str = ""
    failure: ApiFailure | None = None
    again: float | None = None
    applied: bool = False
    wrote: str = ""

    @property
    def done(self) -> bool:
        """Whether the object is as it should be."""
        return not self.refusal and self.failure is None


class Reconciler:
    """Brings one model to where its spec wants it; called with its key, returns seconds until it must look again.

    Args:
        cache: what is known of the cluster; answers to own writes are put into it at once.
        client: the API server.
        settings: images, own namespace, a team's own templates, where Prometheus is.
        metrics: where the models' phases are counted.
        clock: when.
    """

    def __init__(self, cache: Cache, client: Client, settings: Settings, metrics: Metrics, clock: Clock) -> None:
        self._cache = cache
        self._client = client
        self._installation = Installation(
            Images(
                settings.trainer_image,
                settings.server_image,
                settings.tensorflow_serving_image,
                settings.trainer_gpu_image,
            ),
            settings.lease_namespace,
            prometheus=settings.prometheus_url is not None,
        )
        self._renderer = Renderer(settings.templates)
        self._clock = clock
        self._phases = PhaseCounter(metrics, clock)
        prometheus = (
            Prometheus(settings.prometheus_url, settings.prometheus_token_file, settings.prometheus_ca_file)
            if settings.prometheus_url
            else None
        )
        self._observer = Observer(cache, client, clock, project, Measurements(prometheus, clock, metrics))
        self._statuses = StatusWriter(cache, client, self._phases)
        # What the API server made of a manifest: if something changes it on the way in (a mutating webhook), it is
        # not applied again and again.
        self._accepted: dict[Ref, tuple[str, bytes]] = {}
        # The least number that a model's next version may have: the model's uid and the number of the newest version
        # that was asked for, which may be there and not seen yet; once it was there, the number after it.
        self._asked: dict[Key, tuple[str, int]] = {}

    async def __call__(self, key: Key) -> float | None:
        """One look and what follows from it.

        Raises:
            ApiFailure: a write failed in a way that passes by itself; the caller tries again later.
        """
        observed = await self._observer.look(key)
        model = observed.model
        if model is None:
            self._forget(key)
            return None
        if model.status.phase:
            self._phases.saw(key, model.status.phase)
        observed = dataclasses.replace(observed, least_number=self._least_number(key, observed, model))
        # One moment for both plans: a later one would judge what was seen by a clock that it knows nothing of.
        now = self._clock.now()
        todo = self._plan(observed, now)
        observed = await self._statuses.publications(key, observed, todo)
        outcomes, halfway = await self._write_objects(model, observed, todo)
        if wrote := [outcome.wrote for outcome in outcomes if outcome.wrote]:
            logger.info("wrote %s", ", ".join(wrote))
        if halfway:
            return 0.0
        refusals = tuple(outcome.refusal for outcome in outcomes if outcome.refusal)
        behind = any(outcome.failure for outcome in outcomes)
        if behind or refusals or any(outcome.applied for outcome in outcomes):
            # The status is about what is there after these writes: a Deployment that changed is not rolled out yet.
            observed = dataclasses.replace(observed, refusals=refusals, behind=behind)
            observed = self._observer.with_children(observed, model)
            todo = self._plan(observed, now)
        await self._statuses.write(model, observed, todo)
        if failure := next((outcome.failure for outcome in outcomes if outcome.failure), None):
            raise failure
        waits = [outcome.again for outcome in outcomes if outcome.again is not None]
        return min((*waits, *(() if todo.requeue_after is None else (todo.requeue_after,))), default=None)

    def explain(self, key: Key) -> dict[str, object] | None:
        """What is held of a model, and what follows from it, without asking or writing anything; None for no model."""
        observed = self._observer.seen(key)
        if observed.model is None:
            return None
        return {"observed": observed, "plan": self._plan(observed, self._clock.now())}

    def _plan(self, observed: Observed, now: datetime) -> Plan:
        return plan(observed, self._installation, now.replace(microsecond=0))

    def _least_number(self, key: Key, observed: Observed, model: Model) -> int:
        owner, number = self._asked.get(key, ("", 0))
        if owner != model.identity.uid:
            return 0
        if any(version.number == number for version in observed.versions):
            number += 1
            self._asked[key] = (owner, number)
        return number

    def _forget(self, key: Key) -> None:
        self._phases.forget(key)
        self._asked.pop(key, None)
        namespace, name = key
        for kind in CHILDREN:
            for child in (name, board_name(name), workers_name(name), canary_name(name)):
                self._accepted.pop(Ref(kind, namespace, child), None)

    async def _write_objects(self, model: Model, observed: Observed, todo: Plan) -> tuple[list[Outcome], bool]:
        """Everything at once: no child waits behind another. And whether this went well and is half of the way only.

        A new Deployment comes first and by itself, and the model goes to the end of the queue: of many models all pods
        are on their way before the first Service, of which an API server creates few in a second, and before statuses.

        But pods run in the name of a ServiceAccount. Until it is known to be the model's own, nothing may run pods: a
        model called like somebody's account would get that one's rights and pull secrets.
        """
        keep, outcomes = todo.keep, []
        if todo.seed and observed.deployment:
            outcomes.append(await self._hand_over_replicas(model, todo.seed, observed.deployment.identity.uid))
            if not outcomes[0].done:
                # Applied without a count and without the hand-over, it would fall to one pod: it waits.
                keep = tuple(desired for desired in keep if desired.template is not Template.DEPLOYMENT)
        create = todo.create
        account = next((desired for desired in keep if desired.template is Template.SERVICE_ACCOUNT), None)
        if account and reference.SERVICE_ACCOUNT.kind not in observed.children:
            outcomes.append(await self._keep(model, observed, account))
            keep = tuple(desired for desired in keep if desired is not account)
            if not outcomes[-1].done:
                keep = tuple(desired for desired in keep if desired.template not in _RUN_PODS)
                create = tuple(desired for desired in create if desired.template not in _RUN_PODS)
        later: tuple[Desired, ...] = ()
        if observed.deployment is None and any(desired.template is Template.DEPLOYMENT for desired in keep):
            later = tuple(desired for desired in keep if desired.template in _AROUND_PODS)
            keep = tuple(desired for desired in keep if desired.template not in _AROUND_PODS)
        outcomes += await asyncio.gather(
            *(self._keep(model, observed, desired) for desired in keep),
            *(self._create(model, desired) for desired in create),
            *(self._remove(model, removal) for removal in todo.remove),
            *(self._mark(model, mark) for mark in todo.marks),
        )
        if todo.seed and not observed.deployment and all(outcome.done for outcome in outcomes):
            outcomes.append(await self._hand_over_replicas(model, todo.seed))
        if not later:
            return outcomes, False
        if all(outcome.done for outcome in outcomes):
            return outcomes, True
        return [*outcomes, *await asyncio.gather(*(self._keep(model, observed, desired) for desired in later))], False

    async def _keep(self, model: Model, observed: Observed, desired: Desired) -> Outcome:
        try:
            manifest = self._renderer.render(desired)
        except TemplateError as error:
            return Outcome(refusal=str(error), again=_REFUSED_SECONDS)
        ref = self._client.kinds.ref(manifest)
        wanted = msgspec.json.encode(manifest, order="deterministic")
        child = _known(observed, model.identity.name, ref)
        if child is not None and (child.identity.deleting or self._in_sync(ref, manifest, wanted, child)):
            return Outcome()
        try:
            try:
                body = await (
                    self._client.apply_new(manifest)
                    if child is None
                    else self._client.apply(_only(manifest, child.identity.uid))
                )
            except AlreadyExists:
                found = await self._client.get(ref)
                if found is None:
                    raise
                if _is_somebody_elses(found, model.identity.uid):
                    return Outcome(refusal=_in_the_way_sentence(ref), again=_IN_THE_WAY_SECONDS)
                body = await self._client.apply(_only(manifest, found["metadata"]["uid"]))
        except ApiFailure as failure:
            return _outcome(f"{ref.kind.kind} {ref.name}", failure)
        made = remember(self._cache, ref, (ref.namespace, model.identity.name), body)
        if isinstance(made, AppliedChild):
            self._accepted[ref] = (_digest(wanted), made.content)
        return Outcome(applied=True, wrote=f"{ref.kind.kind} {ref.name}")

    def _in_sync(self, ref: Ref, manifest: Mapping[str, Any], wanted: bytes, child: AppliedChild) -> bool:
        if self._accepted.get(ref) == (_digest(wanted), child.content):
            return True
        if drifted(manifest, child.content):
            return False
        self._accepted[ref] = (_digest(wanted), child.content)
        return True

    async def _create(self, model: Model, desired: Desired) -> Outcome:
        try:
            manifest = self._renderer.render(desired)
        except TemplateError as error:
            return Outcome(refusal=str(error), again=_REFUSED_SECONDS)
        ref = self._client.kinds.ref(manifest)
        owner = str(desired.values["owner_uid"])
        key = (ref.namespace, str(desired.values["model"]))
        try:
            if desired.template is Template.VERSION:
                # That a version is missing may be the first that is heard of its model's end: streams of different
                # kinds keep no order.
                if not await self._is_there(model):
                    return Outcome(again=_IN_THE_WAY_SECONDS)
                self._asked[key] = (owner, int(desired.values["number"]))
            try:
                body = await self._client.create(manifest)
            except AlreadyExists:
                return await self._made_before(ref, key, owner)
        except ApiFailure as failure:
            return _outcome(f"{ref.kind.kind} {ref.name}", failure)
        remember(self._cache, ref, key, body)
        return Outcome(again=0.0, wrote=f"{ref.kind.kind} {ref.name}")

    async def _is_there(self, model: Model) -> bool:
        """Whether the API server has this very model, and it is to stay."""
        body = await self._client.get(Ref(MODEL, model.identity.namespace, model.identity.name))
        if body is None:
            return False
        found = identity(body)
        return found.uid == model.identity.uid and not found.deleting

    async def _made_before(self, ref: Ref, key: Key, owner: str) -> Outcome:
        """An object of this name is there already: by a write whose answer was lost, or it is somebody else's."""
        body = await self._client.get(ref)
        if body is not None and identity(body).owner_uid != owner:
            return Outcome(refusal=_in_the_way_sentence(ref), again=_IN_THE_WAY_SECONDS)
        if body is not None:
            remember(self._cache, ref, key, body)
        # Not at once: should it stay invisible (somebody took its labels off), this must not become a busy loop.
        return Outcome(again=_IN_THE_WAY_SECONDS)

    async def _remove(self, model: Model, removal: Removal) -> Outcome:
        ref = Ref(_KINDS[removal.kind], model.identity.namespace, removal.name)
        try:
            await self._client.delete(ref, removal.uid)
        except ApiFailure as failure:
            return _outcome(f"{removal.kind} {removal.name}", failure)
        logger.info("deleted %s %s, which is wanted no longer", removal.kind, removal.name)
        return Outcome()

    async def _mark(self, model: Model, mark: Mark) -> Outcome:
        """Tell a pod what it is to serve, and everybody what it serves."""
        namespace = model.identity.namespace
        ref = Ref(reference.POD, namespace, mark.pod)
        entry = self._cache.entry(ref)
        if entry is None or entry.uid != mark.uid:
            return Outcome()
        # Only onto the state that was seen: what another replica has seen the pod serve since must not be taken back.
        metadata = {
            "namespace": namespace,
            "name": mark.pod,
            "uid": mark.uid,
            "resourceVersion": entry.resource_version,
            "labels": {VERSION_LABEL: str(mark.serves)} if mark.serves else {},
            "annotations": {
                WISH_ANNOTATION: str(mark.wanted),
                SWAPS_ANNOTATION: str(mark.swaps),
                MEMORY_ANNOTATION: str(mark.memory),
            },
        }
        try:
            body = await self._client.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
        except (NotFound, Conflict):
            # Gone or changed: its own event comes, and this is for the case that it does not.
            return Outcome(again=_IN_THE_WAY_SECONDS)
        except ApiFailure as failure:
            return _outcome(f"marking Pod {mark.pod}", failure)
        remember(self._cache, ref, (namespace, model.identity.name), body)
        logger.info("told pod %s to serve version %d", mark.pod, mark.wanted)
        return Outcome(again=0.0)

    async def _hand_over_replicas(self, model: Model, seed: Seed, uid: str | None = None) -> Outcome:
        """With the uid of the Deployment that was seen, only that one is changed, and none is made in its place."""
        metadata = {"namespace": model.identity.namespace, "name": model.identity.name}
        manifest = {
            "apiVersion": reference.DEPLOYMENT.api_version,
            "kind": reference.DEPLOYMENT.kind,
            "metadata": metadata | ({"uid": uid} if uid else {}),
            "spec": {"replicas": seed.replicas},
        }
        try:
            await self._client.apply(manifest, manager=SEED_MANAGER)
        except ApiFailure as failure:
            return _outcome(f"handing the replicas of Deployment {model.identity.name} to its autoscaler", failure)
        return Outcome()


def _known(observed: Observed, model: str, ref: Ref) -> AppliedChild | None:
    """What was seen of a model's child."""
    if ref.name == workers_name(model):
        return observed.workers_service
    if ref.name == canary_name(model):
        return observed.canary
    return (observed.board if ref.name == board_name(model) else observed.children).get(ref.kind.kind)


def _outcome(what: str, failure: ApiFailure) -> Outcome:
    if isinstance(failure, Invalid | Forbidden):
        return Outcome(refusal=refusal_sentence(what, failure.message), again=_REFUSED_SECONDS)
    return Outcome(failure=failure)


def _only(manifest: Mapping[str, Any], uid: str) -> dict[str, Any]:
    """The manifest for the object with this uid, and for no other that has its name by the time it is applied."""
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}


def _is_somebody_elses(body: Mapping[str, Any], owner_uid: str) -> bool:
    owner = identity(body).owner_uid
    ours = (body["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "keras-operator"
    return owner != owner_uid and not (owner is None and ours)


def _in_the_way_sentence(ref: Ref) -> str:
    return (
        f"{ref.kind.kind} {ref.name} exists in namespace {ref.namespace} and does not belong to this model: "
        "delete or rename it, or give the model another name"
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
