"""A cluster that exists only here: it carries out plans write by write, and plays Jobs, Deployments and the store.

One file, because all of them act on one state. Time stands still unless a step moves it. Everything random comes from
one seeded generator, so a failure repeats.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from random import Random
from typing import TypeVar

import msgspec
from keras_operator.api import (
    KerasModelSpec,
    KerasModelStatus,
    KerasModelVersionSpec,
    KerasModelVersionStatus,
    RunResult,
    RunStage,
    VersionPhase,
)
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.desired import Desired, Removal, Template
from keras_operator.plan.observed import Child, Deployment, Job, JobState, Model, Pod, Version

from tests.unit.plan.observations import (
    INSTALLATION,
    NOW,
    answer,
    export_result,
    failed_result,
    identity,
    run_pod,
    serving_pod,
    train_result,
)

_KINDS = {
    Template.SERVICE_ACCOUNT: "ServiceAccount",
    Template.SERVICE: "Service",
    Template.NETWORK_POLICY: "NetworkPolicy",
    Template.AUTOSCALER: "HorizontalPodAutoscaler",
    Template.DISRUPTION_BUDGET: "PodDisruptionBudget",
}
_SLOW = timedelta(seconds=31)

Status = TypeVar("Status", KerasModelStatus, KerasModelVersionStatus)
Write = Callable[[], None]
Play = Callable[[Version, RunStage], RunResult]


def succeed(version: Version, stage: RunStage) -> RunResult:
    """Every run goes well."""
    return train_result() if stage is RunStage.TRAIN else export_result(version.number)


class SimulatedCluster:
    """One model, and everything that becomes of it.

    Args:
        spec: of the model.
        random: decides who is next, and when the operator crashes.
        play: what a run answers; consulted once the store has let it claim its number.
    """

    def __init__(self, spec: KerasModelSpec, random: Random, play: Play = succeed) -> None:
        self.spec: KerasModelSpec | None = spec
        self.status = KerasModelStatus()
        self.versions: dict[str, Version] = {}
        self.jobs: dict[str, Job] = {}
        self.pods: dict[str, Pod] = {}
        self.children: dict[str, Child] = {}
        self.deployment: Deployment | None = None
        self.now = NOW
        self.play = play
        self.claims: dict[int, str] = {}
        self.jobs_started: list[str] = []
        self.numbers_given: list[int] = []
        self.served: list[int] = []
        self._random = random
        self._generation = 1
        self._uids = 0
        self._deleted: set[int] = set()
        self._pods_before: tuple[Pod, ...] = ()

    # What people do.

    def change(self, spec: KerasModelSpec) -> None:
        self.spec = spec
        self._generation += 1

    def delete_model(self) -> None:
        """Delete the model: the garbage collector takes what it owns, one thing after the other, in any order."""
        self.spec = None

    def delete_version(self, name: str) -> None:
        version = self.versions.pop(name, None)
        if version:
            self._deleted.add(version.number)
            for job in [job for job in self.jobs.values() if job.identity.owner_uid == version.identity.uid]:
                self.delete_job(job.identity.name)

    def delete_job(self, name: str) -> None:
        job = self.jobs.pop(name, None)
        if job:
            self.pods = {n: pod for n, pod in self.pods.items() if pod.job_uid != job.identity.uid}

    # What the operator sees and does.

    def observed(self, *, lagging: bool = False) -> Observed:
        """What the caches hold; `lagging`: pods come a moment later than everything else."""
        pods = self._pods_before if lagging else tuple(self.pods.values())
        self._pods_before = tuple(self.pods.values())
        model = None
        if self.spec is not None:
            model = Model(identity("dogs", generation=self._generation), self.spec, self.status)
        children: dict[str, Child | Deployment] = dict(self.children)
        if self.deployment:
            children["Deployment"] = self.deployment
        return Observed(
            model, tuple(self.versions.values()), tuple(self.jobs.values()), pods, self.deployment, children=children
        )

    def decide(self, *, lagging: bool = False) -> Plan:
        return plan(self.observed(lagging=lagging), INSTALLATION, self.now)

    def writes(self, todo: Plan) -> Iterator[tuple[str, Write]]:
        """What is to be written because it differs, in the order in which the reconciler writes."""
        for desired in todo.keep:
            if self._differs(desired):
                yield desired.template.value, lambda desired=desired: self._apply(desired)  # type: ignore[misc]
        for desired in todo.create:
            yield desired.name, lambda desired=desired: self._create(desired)  # type: ignore[misc]
        for removal in todo.remove:
            yield f"remove {removal.name}", lambda removal=removal: self._remove(removal)  # type: ignore[misc]
        for name, status in todo.version_statuses.items():
            if self.versions[name].status != status:
                yield f"status of {name}", lambda name=name, status=status: self._say(name, status)  # type: ignore[misc]
        if todo.status is not None and todo.status != self.status:
            yield "status", lambda: self._say_of_model(todo.status)

    def operate(self, *, fault: bool = False, lagging: bool = False) -> bool:
        """Look, plan and write. A fault is a crash before one of the writes, or one write that fails by itself.

        Returns:
            Whether there was anything to write.
        """
        writes = [write for _, write in self.writes(self.decide(lagging=lagging))]
        if fault and writes:
            at = self._random.randrange(len(writes))
            writes = writes[:at] + (writes[at + 1 :] if self._random.random() < 0.5 else [])
        for write in writes:
            write()
        return fault or bool(writes)

    # What others do.

    def tick(self) -> bool:
        """One controller takes one step, if there is one to take."""
        steps = [*self._collections(), *self._job_steps(), *self._rollout_steps()]
        if steps:
            self._random.choice(steps)()
        return bool(steps)

    def live(self, steps: int = 400, faults: float = 0.0, lag: float = 0.0) -> None:
        """Let everybody act in any order until nobody has anything to do.

        Raises:
            AssertionError: after so many steps there is still something to do.
        """
        for _ in range(steps):
            self.now += timedelta(seconds=1)
            if self._random.random() < 0.6 and self.tick():
                continue
            fault, lagging = self._random.random() < faults, self._random.random() < lag
            if not self.operate(fault=fault, lagging=lagging) and not self.tick() and not self._late():
                return
        raise AssertionError(f"still not at rest: {[name for name, _ in self.writes(self.decide())]}")

    def _late(self) -> bool:
        """Whether something is only waited for; then it is later now."""
        waits = self.decide().requeue_after is not None or any(True for _ in self.writes(self.decide()))
        if waits:
            self.now += _SLOW
        return waits and any(True for _ in self.writes(self.decide()))

    def _uid(self) -> str:
        self._uids += 1
        return f"uid-{self._uids}"

    def _differs(self, desired: Desired) -> bool:
        live = (
            self.deployment if desired.template is Template.DEPLOYMENT else self.children.get(_KINDS[desired.template])
        )
        return live is None or live.content != _content(desired.values)

    def _apply(self, desired: Desired) -> None:
        content = _content(desired.values)
        if desired.template is not Template.DEPLOYMENT:
            kind = _KINDS[desired.template]
            self.children[kind] = Child(identity("dogs", self._uid(), owner_uid="uid-dogs"), content)
            return
        number, replicas = int(str(desired.values["number"])), desired.values["replicas"]
        before = self.deployment
        self.served.append(number)
        assert number in self.published(), f"version {number} is to serve and was not published"
        count = int(str(replicas)) if replicas is not None else before.replicas if before else 1
        self.deployment = Deployment(
            identity("dogs", "uid-deployment", generation=before.identity.generation + 1 if before else 1),
            content,
            number,
            count,
            owns_replicas=replicas is not None,
            observed_generation=before.observed_generation if before else 0,
            updated=before.updated if before else 0,
            available=before.available if before else 0,
            total=before.total if before else 0,
        )

    def _create(self, desired: Desired) -> None:
        assert self.spec is not None
        if desired.template is Template.VERSION:
            if desired.name in self.versions:
                return
            spec = msgspec.convert(desired.values["spec"], KerasModelVersionSpec)
            # A version that a person deleted before the status spoke of it is forgotten: the store's claim stands.
            known = set(self.numbers_given) - self._deleted | {self.status.latest_version or 0}
            assert spec.number > max(known), f"number {spec.number} was given before"
            self.numbers_given.append(spec.number)
            who = identity(desired.name, self._uid(), owner_uid="uid-dogs", generation=1, created=self.now)
            self.versions[desired.name] = Version(who, spec, KerasModelVersionStatus())
            return
        if desired.name in self.jobs:
            return
        stage = RunStage.TRAIN if desired.template is Template.TRAIN_JOB else RunStage.EXPORT
        self.jobs_started.append(desired.name)
        owner = str(desired.values["owner_uid"])
        who = identity(desired.name, self._uid(), owner_uid=owner, created=self.now)
        self.jobs[desired.name] = Job(who, int(str(desired.values["number"])), stage, JobState.ACTIVE)

    def _remove(self, removal: Removal) -> None:
        if removal.kind == "Job":
            assert self.jobs[removal.name].identity.uid == removal.uid
            self.delete_job(removal.name)
        else:
            assert self.children[removal.kind].identity.uid == removal.uid
            del self.children[removal.kind]

    def _say(self, name: str, status: KerasModelVersionStatus) -> None:
        version = self.versions[name]
        if version.status.phase is VersionPhase.PUBLISHED:
            assert status.phase is VersionPhase.PUBLISHED, f"{name} was published"
        self.versions[name] = dataclasses.replace(version, status=_through_json(status, KerasModelVersionStatus))

    def _say_of_model(self, status: KerasModelStatus | None) -> None:
        assert status is not None
        self.status = _through_json(status, KerasModelStatus)

    def published(self) -> set[int]:
        """Numbers whose export wrote its manifest; what the operator knows of it may lag behind."""
        return {int(number) for number, owner in self.claims.items() if owner.endswith("published")}

    def _collections(self) -> Iterator[Write]:
        if self.spec is not None:
            return
        for name in self.versions:
            yield lambda name=name: self.delete_version(name)  # type: ignore[misc]
        if self.deployment or self.children:
            yield self._collect_serving

    def _collect_serving(self) -> None:
        self.deployment = None
        self.children.clear()
        self.pods = {name: pod for name, pod in self.pods.items() if pod.component != "serving"}

    def _job_steps(self) -> Iterator[Write]:
        for job in self.jobs.values():
            if job.state is not JobState.ACTIVE:
                continue
            pods = [pod for pod in self.pods.values() if pod.job_uid == job.identity.uid]
            if not pods:
                yield lambda job=job: self._start(job)  # type: ignore[misc]
            elif pods[0].phase == "Running":
                if not self._waited_for(job):
                    continue
                yield lambda job=job, pod=pods[0]: self._finish(job, pod)  # type: ignore[misc]
            else:
                yield lambda job=job, pod=pods[0]: self._report(job, pod)  # type: ignore[misc]

    def _waited_for(self, job: Job) -> bool:
        """A run whose model asks for something else by now never ends: only the operator can stop it."""
        version = next((v for v in self.versions.values() if v.identity.uid == job.identity.owner_uid), None)
        wanted = self.spec and (self.spec.training, self.spec.source)
        return version is not None and (version.spec.training, version.spec.source) == wanted

    def _start(self, job: Job) -> None:
        pod = run_pod(job, name=f"{job.identity.name}-{self._uid()}", created=self.now)
        self.pods[pod.identity.name] = pod

    def _finish(self, job: Job, pod: Pod) -> None:
        version = next(v for v in self.versions.values() if v.identity.uid == job.identity.owner_uid)
        owner = self.claims.setdefault(version.number, version.identity.uid)
        if owner.split()[0] == version.identity.uid:
            result = self.play(version, job.stage)
        else:
            free = 1 + max(self.claims)
            result = failed_result(job.stage, "NumberTaken", f"number {version.number} is taken", free)
        if result.ok and job.stage is RunStage.EXPORT:
            self.claims[version.number] = f"{version.identity.uid} published"
        ended = answer(result, 0 if result.ok else 65)
        self.pods[pod.identity.name] = dataclasses.replace(
            pod, phase="Succeeded" if result.ok else "Failed", containers=(ended,)
        )

    def _report(self, job: Job, pod: Pod) -> None:
        state = JobState.COMPLETE if pod.phase == "Succeeded" else JobState.FAILED
        self.jobs[job.identity.name] = dataclasses.replace(job, state=state, finished=self.now)

    def _rollout_steps(self) -> Iterator[Write]:
        live = self.deployment
        if live is None:
            return
        mine = {n: pod for n, pod in self.pods.items() if pod.component == "serving"}
        new = {n: pod for n, pod in mine.items() if pod.number == live.number}
        old = [n for n, pod in mine.items() if pod.number != live.number]
        ready = [n for n, pod in new.items() if pod.ready]
        if live.observed_generation < live.identity.generation:
            yield lambda: self._count(observed=live.identity.generation)
        elif len(new) < live.replicas:
            yield lambda: self._add_pod(live.number)
        elif len(ready) < len(new):
            yield lambda: self._get_ready(next(n for n, pod in new.items() if not pod.ready))
        elif old or len(new) > live.replicas:
            yield lambda: self._retire((old or ready)[0])
        elif (live.total, live.updated, live.available) != (len(mine), len(new), len(ready)):
            yield self._count

    def _count(self, observed: int | None = None) -> None:
        assert self.deployment is not None
        mine = [pod for pod in self.pods.values() if pod.component == "serving"]
        new = [pod for pod in mine if pod.number == self.deployment.number]
        self.deployment = dataclasses.replace(
            self.deployment,
            observed_generation=observed or self.deployment.observed_generation,
            total=len(mine),
            updated=len(new),
            available=len([pod for pod in mine if pod.ready]),
        )

    def _add_pod(self, number: int) -> None:
        pod = serving_pod(number, ready=False, name=f"dogs-{self._uid()}")
        self.pods[pod.identity.name] = pod
        self._count()

    def _get_ready(self, name: str) -> None:
        self.pods[name] = dataclasses.replace(self.pods[name], ready=True)
        self._count()

    def _retire(self, name: str) -> None:
        del self.pods[name]
        assert any(pod.ready for pod in self.pods.values()), "no pod answers any more"
        self._count()


def _content(values: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(dict(values), order="deterministic")


def _through_json(status: Status, kind: type[Status]) -> Status:
    """What comes back from the API server."""
    return msgspec.json.decode(msgspec.json.encode(status), type=kind)
