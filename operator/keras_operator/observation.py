"""Seeing one model: what the cache holds of it, and what its own pods say when asked.

The only reads of a reconcile are here. Pods and Prometheus are asked at a bounded rate, and if they do not answer that
is no error: what Kubernetes knows is enough to go on.
"""

import asyncio
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from keras_operator.cluster import reference
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.client import Client
from keras_operator.cluster.clock import Clock
from keras_operator.cluster.reference import Key, Kind, Ref
from keras_operator.kinds import MODEL, VERSION
from keras_operator.measurements import Measurements
from keras_operator.plan.causes import FOLLOWING_EXIT_CODE
from keras_operator.plan.observed import (
    AppliedChild,
    Autoscaler,
    Deployment,
    Job,
    JobState,
    Model,
    Observed,
    Pod,
    Start,
    Version,
)
from keras_operator.plan.own_container import OWN, PREPARE
from keras_operator.plan.rollout import canary_name
from keras_operator.plan.tensorboard import board_name
from keras_operator.plan.workers import workers_name
from keras_operator.pod_answers import PodAnswers

APPLIED_KINDS = (
    reference.SERVICE_ACCOUNT,
    reference.SERVICE,
    reference.NETWORK_POLICY,
    reference.CONFIG_MAP,
    reference.DEPLOYMENT,
    reference.HORIZONTAL_POD_AUTOSCALER,
    reference.POD_DISRUPTION_BUDGET,
)
_BOARD_KINDS = (reference.DEPLOYMENT, reference.SERVICE)
_REMEMBERED_PODS = 10_000
# The end of a Job and that of its pod come on two watches, one of which may be late. What the pod said decides for good
# what becomes of the version, so after this long it is read.
_LATE = timedelta(seconds=10)
# A Job that has no pod this long after its creation is being refused one; its Events say by whom.
_PODLESS = timedelta(seconds=5)


class Observer:
    """Looks at models.

    Args:
        cache: what was watched.
        client: asks pods and Events.
        clock: when.
        project: makes of a body what planning needs of it.
        measurements: asks Prometheus about canaries.
    """

    def __init__(
        self,
        cache: Cache,
        client: Client,
        clock: Clock,
        project: Callable[[Kind, Mapping[str, Any]], object],
        measurements: Measurements,
    ) -> None:
        self._cache = cache
        self._client = client
        self._clock = clock
        self._pods = PodAnswers(client, clock)
        self._measurements = measurements
        self._project = project
        self._ended: OrderedDict[str, datetime] = OrderedDict()
        self._read: OrderedDict[str, datetime] = OrderedDict()
        self._requests = 0

    async def look(self, key: Key) -> Observed:
        """Everything of one model that is known now, and what its pods say."""
        before = self.seen(key)
        if await self._finds_deployments(key, before):
            before = self.seen(key)
        if before.model is None:
            return before
        jobs, pods, requests = before.jobs, before.pods, self._asked()
        progress, agents, traffic, measured, warnings = await asyncio.gather(
            self._pods.progress(jobs, pods),
            self._pods.agents(pods),
            self._pods.traffic(before.model, pods),
            self._measurements.of(before),
            self._job_warnings(jobs, pods),
        )
        now = before
        if self._asked() != requests or jobs:
            # Asking may have taken half a minute: what the watches brought meanwhile decides, not what was before.
            await self._read_late_pods(key, self.seen(key))
            now = self.seen(key)
        if now.model is None:
            return now
        asked, served = ({pod.identity.uid: pod.number for pod in looked.pods} for looked in (before, now))
        changed = {pod.identity.name for pod in now.pods if asked.get(pod.identity.uid) != served[pod.identity.uid]}
        return dataclasses.replace(
            now,
            progress=progress,
            agent_troubles=tuple(trouble for _, trouble in agents.values() if trouble),
            agent_reports={name: report for name, (report, _) in agents.items()},
            traffic={name: one for name, one in traffic.items() if name not in changed},
            measured={} if changed else measured,
            job_warnings=warnings,
        )

    def _asked(self) -> int:
        """How many requests were sent for looks."""
        return self._requests + self._pods.requests + self._measurements.requests

    def seen(self, key: Key) -> Observed:
        """What the cache holds of one model, without asking anybody.

        Objects that bear the model's label and belong to a namesake of it (deleted, not yet collected) are left out.
        """
        namespace, name = key
        model = self._cache.get(Ref(MODEL, namespace, name))
        if not isinstance(model, Model):
            return Observed(model=None)
        uid = model.identity.uid
        labelled = [v for v in self._cache.owned(key, VERSION) if isinstance(v, Version)]
        versions = tuple(version for version in labelled if version.identity.owner_uid == uid)
        version_uids = {version.identity.uid for version in versions}
        jobs = tuple(
            self._as_seen(job)
            for job in self._cache.owned(key, reference.JOB)
            if isinstance(job, Job) and job.identity.owner_uid in version_uids
        )
        pods = tuple(pod for pod in self._cache.owned(key, reference.POD) if isinstance(pod, Pod))
        refs = {MODEL.kind: Ref(MODEL, namespace, name)}
        refs |= {version.identity.name: Ref(VERSION, namespace, version.identity.name) for version in versions}
        observed = Observed(
            model=model,
            versions=versions,
            jobs=jobs,
            pods=pods,
            foreign_numbers=frozenset(v.number for v in labelled if v.identity.owner_uid != uid),
            store_holder=self._store_holder(model),
            states={said: entry.resource_version for said, ref in refs.items() if (entry := self._cache.entry(ref))},
        )
        return self.with_children(observed, model)

    def with_children(self, observed: Observed, model: Model) -> Observed:
        """What was observed, with the model's children as they are known now."""
        identity = model.identity
        key = (identity.namespace, identity.name)
        children = {kind.kind: child for kind in APPLIED_KINDS if (child := self._own_child(kind, key, identity.uid))}
        board_key = (identity.namespace, board_name(identity.name))
        board = {kind.kind: one for kind in _BOARD_KINDS if (one := self._own_child(kind, board_key, identity.uid))}
        deployment = children.get(reference.DEPLOYMENT.kind)
        autoscaler = children.get(reference.HORIZONTAL_POD_AUTOSCALER.kind)
        start = children.get(reference.CONFIG_MAP.kind)
        canary = self._own_child(reference.DEPLOYMENT, (key[0], canary_name(key[1])), identity.uid)
        return dataclasses.replace(
            observed,
            deployment=deployment if isinstance(deployment, Deployment) else None,
            autoscaler=autoscaler if isinstance(autoscaler, Autoscaler) else None,
            start=start if isinstance(start, Start) else None,
            children=children,
            board=board,
            workers_service=self._own_child(reference.SERVICE, (key[0], workers_name(key[1])), identity.uid),
            canary=canary if isinstance(canary, Deployment) else None,
        )

    def _store_holder(self, model: Model) -> str:
        """Who has the older right to the model's store: whoever has versions before whoever has none, then by age."""
        sharing = [
            other
            for other in (self._cache.marked(MODEL, model.mark) if model.mark else ())
            if isinstance(other, Model) and not other.identity.deleting
        ]
        first = min(
            (model, *sharing),
            key=lambda one: (one.status.latest_version is None, one.identity.created, one.identity.uid),
        )
        same = first.identity.uid == model.identity.uid
        return "" if same else f"{first.identity.namespace}/{first.identity.name}"

    def _own_child(self, kind: Kind, key: Key, uid: str) -> AppliedChild | None:
        child = self._cache.get(Ref(kind, *key))
        if isinstance(child, AppliedChild) and child.identity.owner_uid == uid:
            return child
        return None

    def _as_seen(self, job: Job) -> Job:
        """The Job with the time at which it was first seen to have ended, if it has."""
        if job.state is JobState.ACTIVE:
            return job
        seen = _remembered(self._ended, job.identity.uid, self._clock.now())
        return dataclasses.replace(job, finished=seen)

    async def _finds_deployments(self, key: Key, observed: Observed) -> bool:
        """Read a Deployment where pods of one are seen and it is not, and say whether one is this model's.

        Somebody took a label off it, and its watch tells that as if it had been deleted. It names the version that
        serves, which nothing else may say any more: versions can be deleted. A model for which nothing names one counts
        as a model that serves nothing, and neither its Deployment nor what is around it would be kept. That of a
        canary's own pods would go on with a version that was taken back.
        """
        model = observed.model
        if model is None or model.identity.deleting:
            return False
        namespace, name = key
        found = False
        if not observed.deployment and observed.serving_pods():
            found = await self._finds(key, Ref(reference.DEPLOYMENT, namespace, name), model)
        if not observed.canary and observed.canary_pods():
            found |= await self._finds(key, Ref(reference.DEPLOYMENT, namespace, canary_name(name)), model)
        return found

    async def _finds(self, key: Key, ref: Ref, model: Model) -> bool:
        body = await self._client.get(ref)
        found = None if body is None else self._project(ref.kind, body)
        if body is None or not isinstance(found, Deployment) or found.identity.owner_uid != model.identity.uid:
            return False
        metadata = body["metadata"]
        self._cache.put(ref, key, found, uid=metadata["uid"], resource_version=metadata["resourceVersion"])
        return True

    async def _read_late_pods(self, key: Key, observed: Observed) -> None:
        """Bring pods into the cache that ended a Job whose result is still to be recorded, and were not seen to end."""
        running = {version.number for version in observed.versions if version.status.finished_at is None}
        # Of a Job that went well the pods of its earlier tries tell nothing.
        codes = {
            (pod.job_uid, pod.index, one.exit_code)
            for pod in observed.pods
            for one in pod.containers
            if one.exit_code or one.name not in (PREPARE, OWN)
        }
        now = self._clock.now()
        late = [
            job.identity.uid
            for job in observed.jobs
            if job.finished is not None
            and job.number in running
            and not _told(job, codes)
            and now - _remembered(self._read, job.identity.uid, job.finished) >= _LATE
        ]
        for uid in late:
            selector = f"batch.kubernetes.io/controller-uid={uid}"
            bodies = await self._client.list_objects(reference.POD, namespace=key[0], selector=selector)
            # Not before: while it cannot be read nothing is decided.
            self._read[uid] = now
            for body in bodies:
                metadata = body["metadata"]
                ref = Ref(reference.POD, key[0], metadata["name"])
                pod = self._project(reference.POD, body)
                self._cache.put(ref, key, pod, uid=metadata["uid"], resource_version=metadata["resourceVersion"])

    async def _job_warnings(self, jobs: tuple[Job, ...], pods: tuple[Pod, ...]) -> dict[str, str]:
        # A worker that has no pod has all others wait.
        with_pods = {(pod.job_uid, pod.index) for pod in pods}
        now = self._clock.now()
        warnings = {}
        for job in jobs:
            missing = any((job.identity.uid, index) not in with_pods for index in range(job.workers))
            podless = job.state is JobState.ACTIVE and not job.suspended and missing
            if podless and now - job.identity.created > _PODLESS:
                ref = Ref(reference.JOB, job.identity.namespace, job.identity.name)
                self._requests += 1
                events = await self._client.events_for(ref, job.identity.uid)
                if words := next((event.message for event in events if event.type == "Warning"), ""):
                    warnings[job.identity.name] = words
        return warnings


def _told(job: Job, codes: set[tuple[str, int, int | None]]) -> bool:
    """Whether a pod was seen that ended as its Job did; `codes`: a Job's uid, a worker and a container's exit code.

    What a Job of several workers has to say, the first one says.
    """
    if job.state is JobState.COMPLETE:
        return (job.identity.uid, 0, 0) in codes
    return any(uid == job.identity.uid and code not in (None, FOLLOWING_EXIT_CODE) for uid, _, code in codes)


def _remembered(times: OrderedDict[str, datetime], uid: str, otherwise: datetime) -> datetime:
    """The time that is known of an object; a bounded number of them is."""
    known = times.setdefault(uid, otherwise)
    if len(times) > _REMEMBERED_PODS:
        times.popitem(last=False)
    return known
