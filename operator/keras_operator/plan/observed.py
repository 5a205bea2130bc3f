"""What planning knows of the cluster: one model, its versions and its children, as small immutable values.

`keras_operator.projection` makes these from Kubernetes objects. Times are aware datetimes in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from keras_operator.api import (
    KerasModelSpec,
    KerasModelStatus,
    KerasModelVersionSpec,
    KerasModelVersionStatus,
    Progress,
    RunStage,
    VersionPhase,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """The part of an object's metadata that every decision may need."""

    namespace: str
    name: str
    uid: str
    created: datetime
    generation: int = 0
    deleting: bool = False
    owner_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A `KerasModel`. `spec` is None, and `spec_error` says why, where the API server admitted what cannot be used."""

    identity: Identity
    spec: KerasModelSpec | None
    status: KerasModelStatus
    spec_error: str | None = None
    promote: int = 0
    """The version that somebody lets go to all pods, by an annotation; 0 for none."""
    abort: int = 0
    """The version that somebody takes back."""

    @property
    def mark(self) -> tuple[str, str] | None:
        """Where its versions are published, endpoint and folder: by this the models are found that share a store."""
        if self.spec is None:
            return None
        store = self.spec.store
        return (store.endpoint or "").rstrip("/"), store.uri.rstrip("/")


@dataclass(frozen=True, slots=True)
class Version:
    """A `KerasModelVersion`."""

    identity: Identity
    spec: KerasModelVersionSpec
    status: KerasModelVersionStatus

    @property
    def number(self) -> int:
        """The version's number, 1 and up."""
        return self.spec.number


class JobState(Enum):
    """How a Job ended, or that it has not."""

    ACTIVE = "active"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """A Job of a run. `finished` is when this operator first saw it ended: another machine's clock may be wrong.

    `queue` is the LocalQueue of Kueue that starts it; empty: none. `workers` is how many pods it has at a time.
    `store` is the digest of how it reaches the store; empty where it does not say.
    """

    identity: Identity
    number: int
    stage: RunStage
    state: JobState
    failure_reason: str = ""
    failure_message: str = ""
    finished: datetime | None = None
    suspended: bool = False
    queue: str = ""
    workers: int = 1
    store: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One container's state in a pod; `waiting_*` and `exit_*` are empty or None where they do not apply.

    Of a team's own container alone `image` is what the node pulled, with its digest, and `started` when it began.
    """

    name: str
    ready: bool = False
    running: bool = False
    restarts: int = 0
    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    exit_reason: str = ""
    exit_message: str = ""
    finished: datetime | None = None
    image: str = ""
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a run or of the Deployment.

    `gates` are the scheduling gates that hold it back; `unready` is what Kubernetes says of a pod that is not ready.
    `lost_with` is the node that it is on, where Kubernetes no longer hears of that one.
    Of a pod whose versions are swapped in place, `number` is the version that it was last seen to serve (0: none yet),
    `wish` the one that it was told to serve (0: it was told nothing yet), `swaps` how often its version was changed,
    `memory` the bytes that its runtime had after the last change, and `renewal` that of the template it was made from;
    of all others `renewal` is None. Of a Job with several workers `index` is which one it is; of all others 0.
    `canary` is whether it is one that a canary has for its own.
    """

    identity: Identity
    number: int
    component: str
    phase: str
    ip: str = ""
    ready: bool = False
    reason: str = ""
    message: str = ""
    unschedulable: str = ""
    gates: tuple[str, ...] = ()
    unready: str = ""
    lost_with: str = ""
    containers: tuple[Container, ...] = ()
    job_uid: str = ""
    index: int = 0
    wish: int = 0
    swaps: int = 0
    memory: int = 0
    renewal: int | None = None
    canary: bool = False

    @property
    def hot(self) -> bool:
        """Whether its versions are swapped in place."""
        return self.renewal is not None

    @property
    def settled(self) -> bool:
        """Whether it was seen to serve what it was told to."""
        return not self.hot or 0 < self.number == self.wish

    @property
    def over(self) -> bool:
        """Whether it will never run again: it succeeded, or failed, or was evicted."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def knows_what_it_waits_for(self) -> bool:
        """Whether it is a serving pod that is on its way to what it should serve, and has an agent to ask about it."""
        if self.component != "serving" or (self.ready and self.settled) or self.identity.deleting or not self.ip:
            return False
        return any(container.name == "agent" and container.running for container in self.containers)


@dataclass(frozen=True, slots=True)
class Child:
    """A child that is kept by server-side apply: `content` is its canonical JSON without status and managedFields."""

    identity: Identity
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The Deployment that serves.

    `number` is the version that its pod template names. One whose pods swap versions names none (0), and `renewal`
    counts how often all its pods were replaced because one was worn by its swaps; None where pods do not swap.
    """

    identity: Identity
    content: bytes = field(repr=False)
    number: int
    replicas: int
    owns_replicas: bool
    observed_generation: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    total: int = 0
    failure: str = ""
    stuck: bool = False
    renewal: int | None = None

    @property
    def reported(self) -> bool:
        """Whether what is said here is about the spec as it is now."""
        return self.observed_generation >= self.identity.generation

    @property
    def rolled_out(self) -> bool:
        """Whether every wanted replica is an available one of the current template."""
        return self.reported and self.updated == self.total == self.available == self.replicas


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """The HorizontalPodAutoscaler: `trouble` is why it cannot scale (empty where it can), since `trouble_since`."""

    identity: Identity
    content: bytes = field(repr=False)
    trouble: str = ""
    trouble_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """The ConfigMap that says with which version new pods start, where versions are swapped in place."""

    identity: Identity
    content: bytes = field(repr=False)
    number: int


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What the agent of one serving pod says of itself; None and 0 where it says nothing of it.

    `memory`: bytes that the runtime has. `fetching`: it is bringing a servable now. `fetched`: since when the last one
    that it brought is there.
    """

    wanted: int | None
    serving: int | None
    swaps: int
    memory: int = 0
    fetching: bool = False
    fetched: datetime | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one pod answered since its canary's step began.

    `latency` has pairs of an upper limit in microseconds (infinite at last) and how many requests stayed within it,
    `classes` how often each class was predicted; empty where the runtime does not count that.
    """

    requests: int
    errors: int
    latency: tuple[tuple[float, int], ...]
    classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """What Prometheus says to one query about a canary.

    At most one of: `value` (None: it has no data for it), `silent`, why it gives no answer now, and `wrong`, why what
    it answers is not one number, which stays so until somebody changes something.
    """

    value: float | None = None
    silent: str = ""
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class AgentTrouble:
    """What the agent of one serving pod says stands between it and being ready."""

    pod: str
    reason: str
    message: str


AppliedChild = Child | Deployment | Autoscaler | Start


@dataclass(frozen=True, slots=True)
class Observed:
    """One model and everything of it that was seen at one moment.

    `children` are all children named like the model and kept by server-side apply, keyed by kind name; `board` are
    those that show its trainings (plan/tensorboard.py), `workers_service` is what its workers find each other by
    (plan/workers.py), `canary` the Deployment of a canary's own pods (plan/rollout/apart.py). `progress`,
    `agent_troubles` and `agent_reports` (by pod name, of pods that are not settled) were asked of the pods themselves;
    `job_warnings` holds the newest warning Event of each Job (by Job name) without pods. `traffic` (by pod name) and
    `measured` (by the query's name) are asked for while a canary is watched.
    `refusals` are the objects that the API server would not take, each with its sentence; `behind` says that some write
    failed just now, so what is there is not yet what is wanted. `foreign_numbers` are version
    numbers in use by objects that bear this model's name and are not its own, such as those of a deleted namesake.
    `least_number` is the least one that a next version may have, by what was asked for: such a version may be there and
    not seen yet, or have been there and be deleted, which a status that is seen late does not say (0: none was).
    `store_holder` is the model, as `namespace/name`, that publishes in the same store and has the older right to it.
    `states` are the resourceVersions of the model (by kind name) and its versions (by name) as they were seen.
    """

    model: Model | None
    versions: tuple[Version, ...] = ()
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()
    deployment: Deployment | None = None
    autoscaler: Autoscaler | None = None
    start: Start | None = None
    children: Mapping[str, AppliedChild] = field(default_factory=dict)
    board: Mapping[str, AppliedChild] = field(default_factory=dict)
    workers_service: AppliedChild | None = None
    canary: Deployment | None = None
    progress: Progress | None = None
    agent_troubles: tuple[AgentTrouble, ...] = ()
    agent_reports: Mapping[str, AgentReport] = field(default_factory=dict)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    measured: Mapping[str, Measured] = field(default_factory=dict)
    job_warnings: Mapping[str, str] = field(default_factory=dict)
    refusals: tuple[str, ...] = ()
    behind: bool = False
    foreign_numbers: frozenset[int] = frozenset()
    least_number: int = 0
    store_holder: str = ""
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> int | None:
        """The version that a pod starts with which is made now: None without a Deployment, 0 where nothing says."""
        if self.deployment is None:
            return None
        if self.deployment.renewal is None:
            return self.deployment.number
        if self.start:
            return self.start.number
        # Somebody deleted the ConfigMap: it comes back with what serves.
        return self.remembered or self.answered

    @property
    def remembered(self) -> int:
        """The version of which the status says that it serves; 0 for none, and where it may be a deleted namesake's.

        A namesake's pods answered while this model had none, and they had numbers of their own. It is this model's if
        it is published, or, should somebody have deleted that version since, if a pod of this Deployment has it.
        """
        number = (self.model.status.serving_version if self.model else None) or 0
        published = any(v.number == number and v.status.phase is VersionPhase.PUBLISHED for v in self.versions)
        return number if published or any(self.owns(pod) and pod.number == number for pod in self.pods) else 0

    @property
    def answered(self) -> int:
        """The version that this Deployment's oldest ready pod has, by its agent's word or its label; 0 for none."""
        ready = [pod for pod in self.serving_pods() if pod.ready and self.owns(pod)]
        ready.sort(key=lambda pod: (pod.identity.created, pod.identity.name))
        said = ((self.agent_reports.get(pod.identity.name), pod.number) for pod in ready)
        return next((number for report, label in said if (number := (report and report.serving) or label)), 0)

    def owns(self, pod: Pod) -> bool:
        """Whether a pod may be one of the Deployment, rather than of that of a deleted namesake: it is no older."""
        return self.deployment is not None and pod.identity.created >= self.deployment.identity.created

    def job(self, number: int, stage: RunStage) -> Job | None:
        """The Job of a version's stage, or None."""
        return next((job for job in self.jobs if job.number == number and job.stage is stage), None)

    def job_pods(self, job: Job) -> tuple[Pod, ...]:
        """The pods of a Job, oldest first."""
        pods = [pod for pod in self.pods if pod.job_uid == job.identity.uid]
        return tuple(sorted(pods, key=lambda pod: (pod.identity.created, pod.identity.name)))

    def serving_pods(self) -> tuple[Pod, ...]:
        """The pods of the Deployment, those that are going away left out."""
        return tuple(pod for pod in self.answering_pods() if not pod.canary)

    def canary_pods(self) -> tuple[Pod, ...]:
        """The pods that a canary has for its own, those that are going away left out."""
        return tuple(pod for pod in self.answering_pods() if pod.canary)

    def answering_pods(self) -> tuple[Pod, ...]:
        """All pods that are behind the model's Service, or about to be."""
        return tuple(pod for pod in self.pods if pod.component == "serving" and not pod.identity.deleting)
