"""Why a pod does not do what it should, as a reason and one sentence with the remedy.

Kubernetes tells it in many places: the pod's scheduling condition, a container's waiting state, an exit code. Each row
of the tables below is one of them.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from keras_operator.api import Reason, RunReason
from keras_operator.plan.observed import AgentReport, Autoscaler, Container, Deployment, Job, JobState, Observed, Pod
from keras_operator.plan.own_container import OWN, PREPARE


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason (CamelCase, for machines) and a sentence (for people)."""

    reason: str
    message: str


# A container's waiting reasons that do not pass by themselves, with what to do about each.
_CHECK_IMAGE = "check the image's name in the operator's flags and the node's access to its registry"
_WAITING = {
    "ErrImagePull": (Reason.IMAGE_PULL_FAILED, _CHECK_IMAGE),
    "ImagePullBackOff": (Reason.IMAGE_PULL_FAILED, _CHECK_IMAGE),
    "InvalidImageName": (Reason.IMAGE_PULL_FAILED, "correct the image's name in the operator's flags"),
    "ErrImageNeverPull": (Reason.IMAGE_PULL_FAILED, "load the image into the node or allow it to be pulled"),
    "CreateContainerConfigError": (Reason.CONTAINER_CONFIG_INVALID, "create what is missing in the namespace"),
    "CreateContainerError": (Reason.CONTAINER_CONFIG_INVALID, "see kubectl describe pod"),
    "RunContainerError": (Reason.CONTAINER_CONFIG_INVALID, "see kubectl describe pod"),
}
# Of a team's own image, which no flag names, and whose program may not be there.
_CHECK_OWN_IMAGE = (
    "check spec.training.container.image, and add what its registry asks for to imagePullSecrets of the model's "
    "ServiceAccount"
)
_OWN_REMEDIES = {
    "ErrImagePull": _CHECK_OWN_IMAGE,
    "ImagePullBackOff": _CHECK_OWN_IMAGE,
    "InvalidImageName": "correct spec.training.container.image",
}
# Where the container's resources are written; of others they are in a template.
_RESOURCES = {
    "train": "spec.training.resources",
    "export": "spec.training.resources",
    PREPARE: "spec.training.resources",
    OWN: "spec.training.resources",
    "runtime": "spec.serving.resources",
}
# What a container's memory goes by, where its user decides that.
_NEEDED = {"train": ", such as spec.training.batchSize or data.imageSize"}
# Where the one claim is named that pods of a component mount.
_CACHES = {"serving": "spec.serving.cache", "train": "spec.training.data.cache"}
# The kubelet says first that it waits, and only then what for.
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*": (?:ErrImagePull: )?')
# The scheduler says what keeps each node from taking the pod, and then what it tried besides.
_TRIED_BESIDES = re.compile(r"\.? (?:no new claims to deallocate|preemption:).*$", re.DOTALL)
_TOO_LITTLE = re.compile(r"Insufficient (\S+?)(?=[.,]?(?:\s|$))")
# The scheduler's words (pkg/scheduler/framework/plugins/volumebinding) for a claim that keeps a pod from every node.
_CLAIM_MISSING = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_CLAIM_UNBOUND = re.compile(
    r"unbound immediate PersistentVolumeClaims|find available persistent volumes to bind"
    r'|persistentvolumeclaim "[^"]+" (?:is being deleted|bound to non-existent persistentvolume)'
)
_VOLUME_ELSEWHERE = re.compile(r"volume node affinity conflict|PersistentVolume's node affinity")
_ERROR_CREATING = re.compile(r"^Error creating: ")
_QUOTA = re.compile(r"exceeded quota: ([^,]+)(?:, (.*))?$")
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request: (.*)$")
# metrics-server needs a minute or so for a new pod; whoever has no metrics for longer than this lacks something.
_METRICS_GRACE = 180.0
_NO_METRICS_YET = ("no metrics returned", "did not receive metrics")
# The first whose words are in what the autoscaler says. An adapter, such as prometheus-adapter or KEDA, serves the two
# APIs that Kubernetes leaves to others.
_METRICS_REMEDIES = (
    ("custom metrics API", "see that an adapter has this metric: kubectl get apiservices | grep custom.metrics"),
    ("external metrics API", "see that an adapter has this metric: kubectl get apiservices | grep external.metrics"),
    ("metrics API", "see that metrics-server runs: kubectl get apiservice v1beta1.metrics.k8s.io"),
    ("did not receive metrics", "see that its pods are ready, and that a container named in metrics is one of theirs"),
)
# As long as a Deployment gives its pods (progressDeadlineSeconds), from when there is something to load.
_LOADS_WITHIN = timedelta(minutes=10)
# The kubelet forgets its back-off for a container that ran for ten minutes: until then its last end is still news.
_CRASH_IS_NEWS = timedelta(minutes=10)
# The Job's podFailurePolicy ends it at these: see templates/_run-job.j2.
WRONG_INPUTS_EXIT_CODE = 65
FINAL_EXIT_CODES = (WRONG_INPUTS_EXIT_CODE, 137)
# Of a worker that ended because another one did.
FOLLOWING_EXIT_CODE = 76
# In the last words of a run that was stopped: a Job that fails stops the workers that are left.
_STOPPED = f'"reason":"{RunReason.INTERRUPTED}"'
NAMESPACE_ENDS = "its namespace is being deleted; nothing is to be done"
# https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown: pods of a node with this taint are given up.
_SWITCHED_OFF = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
_TERMINATING = "because it is being terminated"
_POD_SECURITY = re.compile(r'violates PodSecurity "([^":]+)[^"]*": (.*)$')

_MISSING_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) (?:\S+/)?(\S+)$")
_MISSING_KINDS = {
    "secret": (Reason.SECRET_NOT_FOUND, "Secret"),
    "configmap": (Reason.CONFIG_MAP_NOT_FOUND, "ConfigMap"),
}
# What the kubelet says of a pod that went beyond its own limit of disk space (pkg/kubelet/eviction/helpers.go); of a
# node that runs out of something it says other words.
_OWN_DISK = re.compile(
    "ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit|Usage of EmptyDir volume"
)
_MISSING_OBJECT = re.compile(r'(secret|configmap) "([^"]+)" not found')


def pod_cause(pod: Pod) -> Cause | None:
    """What keeps a pod from running or being ready, or None where nothing is wrong (yet)."""
    if pod.reason == "Evicted":
        return _eviction_cause(pod)
    if pod.gates:
        return Cause(
            Reason.UNSCHEDULABLE,
            f"pod {pod.identity.name} is held back by its scheduling gate {pod.gates[0]}: "
            "whoever put it there has to take it away.",
        )
    if pod.unschedulable:
        return _scheduling_cause(pod)
    for container in pod.containers:
        if cause := _waiting_cause(pod, container):
            return cause
    return None


def _scheduling_cause(pod: Pod) -> Cause:
    said = _one_line(_TRIED_BESIDES.sub("", pod.unschedulable)).rstrip(".")
    where = f"namespace {pod.identity.namespace}"
    cache = _CACHES.get(pod.component, "its volumes in the operator's templates")
    if missing := _CLAIM_MISSING.search(said):
        words = f"PersistentVolumeClaim {missing[1]} is not in {where}: create it there or correct {cache}."
        return Cause(Reason.VOLUME_CLAIM_NOT_FOUND, words)
    if _CLAIM_UNBOUND.search(said):
        # Kubernetes 1.36.3 ends the sentence so, and names nothing that a reader could find.
        said = said.removesuffix(". not found")
        remedy = f"see kubectl get pvc -n {pod.identity.namespace}, and give the claim a volume or correct {cache}"
        words = f"the PersistentVolumeClaim of pod {pod.identity.name} has no volume: {said}; {remedy}."
        return Cause(Reason.VOLUME_CLAIM_NOT_BOUND, words)
    lacking = _TOO_LITTLE.findall(said)
    resources = "spec.serving.resources" if pod.component == "serving" else "spec.training.resources"
    if any("/" in resource for resource in lacking):
        device = next(resource for resource in lacking if "/" in resource)
        remedy = f"add a node with {device}, or ask for fewer under {resources}"
    elif lacking:
        remedy = f"lower {' and '.join(lacking)} under {resources}, or add a larger node"
    elif _VOLUME_ELSEWHERE.search(said):
        remedy = f"its volume is on another node: use a ReadWriteMany claim, or correct {cache}"
    elif "untolerated taint" in said:
        remedy = "remove the taint, or add a node without it"
    else:
        remedy = f"change {resources}, or add a node that fits"
    return Cause(Reason.UNSCHEDULABLE, f"no node can take pod {pod.identity.name}: {said}; {remedy}.")


def _eviction_cause(pod: Pod) -> Cause:
    where, said = f"pod {pod.identity.name}", _one_line(pod.message).rstrip(".")
    resources = "spec.serving.resources" if pod.component == "serving" else "spec.training.resources"
    if _OWN_DISK.search(said):
        remedy = f"raise {resources}.limits.ephemeral-storage, or lower what it needs"
        return Cause(RunReason.DISK_FULL, f"{where} used more disk than it may: {said}; {remedy}.")
    remedy = f"request what it needs under {resources}.requests, and it is not the first to go"
    return Cause(Reason.EVICTED, f"{where} was evicted from its node: {said}; {remedy}.")


def container_exit_cause(pod: Pod, container: Container) -> Cause | None:
    """How a container ended, where it ended badly; its last words are the termination message."""
    if container.exit_code in (None, 0):
        return None
    if pod.reason == "Evicted":
        # Its containers were killed too, and their exit code 137 would be taken for a lack of memory.
        return _eviction_cause(pod)
    where = f"container {container.name} of pod {pod.identity.name}"
    if container.name == "runtime" and (container.exit_code, container.exit_reason) == (137, "Error"):
        killed = "was killed: it did not answer its liveness probe any more, or its node ran out of memory"
        return Cause(Reason.CONTAINER_FAILED, f"{where} {killed}")
    if container.exit_reason == "OOMKilled" or container.exit_code == 137:
        limit = f"{_RESOURCES[container.name]}.limits.memory" if container.name in _RESOURCES else "its limits.memory"
        lower = f"lower what it needs{_NEEDED.get(container.name, '')}"
        return Cause(RunReason.OUT_OF_MEMORY, f"{where} was killed for memory: raise {limit}, or {lower}.")
    words = _one_line(container.exit_message)
    said = f": {words}" if words else ""
    return Cause(Reason.CONTAINER_FAILED, f"{where} ended with exit code {container.exit_code}{said}")


def job_cause(observed: Observed, job: Job) -> Cause | None:
    """What keeps a Job that is not finished from getting on: its workers' newest pods; the others had their turn."""
    if job.suspended and job.queue:
        # Kueue starts it, and stops it for a Job that is more urgent: nobody has to do anything.
        return None
    if job.suspended:
        return Cause(
            Reason.JOB_SUSPENDED,
            f"somebody suspended Job {job.identity.name}: set its spec.suspend to false for it to go on.",
        )
    lost = [pod for pod in observed.job_pods(job) if pod.lost_with and not pod.over]
    if lost:
        return _lost_cause(job, lost[0])
    newest = {pod.index: pod for pod in observed.job_pods(job) if not pod.identity.deleting}
    if cause := _workers_cause(job, [newest[index] for index in sorted(newest)]):
        return cause
    if len(newest) < job.workers and (warning := observed.job_warnings.get(job.identity.name)):
        return _creation_cause(f"Job {job.identity.name}", warning)
    return _waiting_for_store(observed) if newest else None


def _lost_cause(job: Job, pod: Pod) -> Cause:
    """A Job makes no other pod before it is known that this one has ended, and a node that is off says nothing."""
    sentence = (
        f"node {pod.lost_with} does not answer, and pod {pod.identity.name} is on it: the run goes on when the node is "
        "back. If it is switched off, delete the node, or tell Kubernetes with kubectl taint node "
        f"{pod.lost_with} {_SWITCHED_OFF}, and the run goes on elsewhere."
    )
    return Cause(Reason.NODE_UNREACHABLE, of_worker(job, pod, sentence))


def _workers_cause(job: Job, pods: list[Pod]) -> Cause | None:
    causes = [(pod, cause) for pod in pods if (cause := pod_cause(pod))]
    if not causes:
        return None
    pod, cause = causes[0]
    if job.workers > 1 and cause.reason == Reason.UNSCHEDULABLE:
        count = sum(other.reason == cause.reason for _, other in causes)
        return Cause(cause.reason, f"{count} of {job.workers} workers cannot be scheduled: {cause.message}")
    return Cause(cause.reason, of_worker(job, pod, cause.message))


def of_worker(job: Job, pod: Pod, sentence: str) -> str:
    """What is said of a pod, with the worker that it is where there are several."""
    return sentence if job.workers == 1 else f"worker {pod.index} of {job.workers}: {sentence}"


def telling_pods(observed: Observed, job: Job) -> tuple[Pod, ...]:
    """The pods of an ended Job, those first that tell why it ended so: the newest; of several workers, the right one.

    The result is the first worker's. When one fails the others end because of it, or are stopped with their Job.
    """
    pods = tuple(reversed(observed.job_pods(job)))
    if job.workers == 1:
        return pods
    if job.state is JobState.COMPLETE:
        return tuple(pod for pod in pods if pod.index == 0)
    return tuple(sorted(pods, key=_told_rank))


def _told_rank(pod: Pod) -> tuple[int, int]:
    codes = {container.exit_code for container in pod.containers}
    if codes & set(FINAL_EXIT_CODES) and pod.reason != "Evicted":
        return 0, pod.index
    followed = FOLLOWING_EXIT_CODE in codes or any(_STOPPED in one.exit_message for one in pod.containers)
    return (1 if codes - {None} and not followed else 2), pod.index


def _waiting_for_store(observed: Observed) -> Cause | None:
    """A run waits some minutes for a store that is away: whoever looks must not take that for slow work."""
    if observed.progress is None or not observed.progress.waiting:
        return None
    return Cause(RunReason.STORE_UNREACHABLE, observed.progress.waiting)


def serving_cause(observed: Observed, number: int, now: datetime) -> Cause | None:
    """What keeps the pods that should serve a version from being ready."""
    waiting = _waiting_pods(observed, number)
    names = {pod.identity.name for pod in waiting}
    for trouble in observed.agent_troubles:
        if trouble.pod in names:
            return Cause(trouble.reason or Reason.POD_NOT_READY, f"pod {trouble.pod}: {_one_line(trouble.message)}")
    # Evicted pods lie about long after others took their place.
    for pod in [pod for pod in waiting if not pod.over] or waiting:
        if cause := pod_cause(pod) or _crash_cause(pod, now):
            return cause
    for live in _deployments(observed, number):
        if live.failure:
            return _creation_cause(f"Deployment {live.identity.name}", live.failure)
    return None


def _deployments(observed: Observed, number: int) -> list[Deployment]:
    """The Deployments whose pods are to serve a version; the main one names none where those swap versions."""
    return [one for one in (observed.canary, observed.deployment) if one and one.number in (0, number)]


def _waiting_pods(observed: Observed, number: int) -> list[Pod]:
    """Pods that are not ready and are to serve a version; of those that swap versions also such as served none yet."""
    return [
        pod
        for pod in observed.answering_pods()
        if not pod.ready and (pod.number == number or (pod.hot and not pod.number))
    ]


def stuck_cause(observed: Observed, number: int, now: datetime) -> Cause | None:
    """Pods that are not ready when a Deployment's time for them is over, and nobody says why; None: none is late.

    The time that a store was away, or took for a large servable, is in the Deployment's, and no pod's fault.
    """
    if not any(one.stuck and one.reported and not one.rolled_out for one in _deployments(observed, number)):
        return None
    waiting = _waiting_pods(observed, number)
    late = [pod for pod in waiting if not _gets_on(observed.agent_reports.get(pod.identity.name), now)]
    if waiting and not late:
        return None
    if not late:
        return Cause(Reason.ROLLOUT_STUCK, "its pods are not created in time; see kubectl describe deployment")
    who, said = late[0].identity, _one_line(late[0].unready).rstrip(".") or "nobody says why"
    look = f"kubectl describe pod -n {who.namespace} {who.name}"
    return Cause(Reason.ROLLOUT_STUCK, f"pod {who.name} is still not ready: {said}; see {look}")


def _gets_on(report: AgentReport | None, now: datetime) -> bool:
    """Whether an agent brings a servable, or the runtime has not had it for long."""
    if report is None or report.serving:
        return False
    return report.fetching or (report.fetched is not None and now - report.fetched < _LOADS_WITHIN)


def autoscaler_trouble(autoscaler: Autoscaler, now: datetime) -> str:
    """Why the autoscaler cannot scale, with the remedy; empty where it can, or where it only waits for a new pod."""
    if not autoscaler.trouble or autoscaler_patience(autoscaler, now):
        return ""
    said = _one_line(autoscaler.trouble).removeprefix("the HPA was unable to compute the replica count: ")
    remedy = next((remedy for words, remedy in _METRICS_REMEDIES if words in said), "see kubectl describe hpa")
    return f"the autoscaler cannot scale: {said.rstrip('.')}; {remedy}"


def autoscaler_patience(autoscaler: Autoscaler, now: datetime) -> float | None:
    """Seconds for which it is too early to speak of the autoscaler's trouble, or None."""
    if not any(words in autoscaler.trouble for words in _NO_METRICS_YET):
        return None
    left = _METRICS_GRACE - (now - (autoscaler.trouble_since or now)).total_seconds()
    return left if left > 0 else None


def _waiting_cause(pod: Pod, container: Container) -> Cause | None:
    row = _WAITING.get(container.waiting_reason)
    if row is None:
        return None
    reason, remedy = row
    said = _one_line(container.waiting_message)
    if key := _MISSING_KEY.search(said):
        reason = Reason.SECRET_KEY_NOT_FOUND if key[2] == "Secret" else Reason.CONFIG_MAP_KEY_NOT_FOUND
        return Cause(reason, f"{key[2]} {key[3]} has no key {key[1]}: add it to the {key[2]}.")
    if missing := _MISSING_OBJECT.search(said):
        reason, kind = _MISSING_KINDS[missing[1]]
        where = f"namespace {pod.identity.namespace}"
        return Cause(
            reason, f"{kind} {missing[2]} is not in {where}: create it there or correct its name in the model."
        )
    if reason is Reason.IMAGE_PULL_FAILED:
        said = _BACK_OFF.sub("", said)
    if container.name == OWN:
        remedy = _OWN_REMEDIES.get(container.waiting_reason, remedy)
    said = said.rstrip(".")
    return Cause(reason, f"container {container.name} of pod {pod.identity.name} cannot start: {said}; {remedy}.")


def _crash_cause(pod: Pod, now: datetime) -> Cause | None:
    # Without a readiness probe Kubernetes takes a container for ready whenever it runs, between two crashes too.
    for container in [c for c in pod.containers if c.restarts and (not c.ready or _ended_lately(c, now))]:
        if cause := container_exit_cause(pod, container):
            often = "once" if container.restarts == 1 else f"{container.restarts} times"
            if cause.reason != Reason.CONTAINER_FAILED:
                return Cause(cause.reason, f"{cause.message.rstrip('.')}; it was restarted {often}.")
            look = f"kubectl logs -n {pod.identity.namespace} {pod.identity.name} -c {container.name} --previous"
            return Cause(Reason.CRASH_LOOPING, f"{cause.message}; it was restarted {often}; see {look}.")
    return None


def _ended_lately(container: Container, now: datetime) -> bool:
    return container.finished is not None and now - container.finished < _CRASH_IS_NEWS


def _creation_cause(what: str, said: str) -> Cause:
    """Why the controller of a Job or a Deployment may not create its pods."""
    sentence = _ERROR_CREATING.sub("", _one_line(said))
    if "serviceaccount" in sentence.lower() and "not found" in sentence:
        return Cause(
            Reason.SERVICE_ACCOUNT_NOT_FOUND, f"{what} cannot create its pod: {sentence}. It is made again by itself."
        )
    reason, words = _refusal(sentence)
    return Cause(reason or Reason.POD_REFUSED, f"{what} cannot create its pod: {words}.")


def refusal_sentence(what: str, said: str) -> str:
    """Why the API server does not take an object of the operator's own, and what to do about it."""
    return f"{what} was refused by the API server: {_refusal(_one_line(said))[1]}"


def namespace_ends(said: str) -> bool:
    """Whether the API server refuses something because its namespace is being deleted."""
    return _TERMINATING in said


def _refusal(said: str) -> tuple[Reason | None, str]:
    """Who refuses an object, in words with the remedy; the reason where it is one of its own."""
    if quota := _QUOTA.search(said):
        figures = f" ({quota[2]})" if quota[2] else ""
        return Reason.QUOTA_EXCEEDED, f"it would exceed ResourceQuota {quota[1]}{figures}; raise it, or ask for less"
    if "failed quota: " in said:
        words = f"{said.rpartition('failed quota: ')[2]}; the ResourceQuota wants it under resources"
        return Reason.QUOTA_EXCEEDED, words
    if policy := _POLICY.search(said):
        return None, f"ValidatingAdmissionPolicy {policy[1]} refuses it: {policy[2]}; ask who owns the policy"
    if level := _POD_SECURITY.search(said):
        return None, (
            f"the namespace's Pod Security level {level[1]} refuses it: {level[2]}; "
            "ask who changes pods on their way, or who owns the namespace"
        )
    if namespace_ends(said):
        return None, NAMESPACE_ENDS
    if said.startswith("User ") or ": User " in said:
        return None, f"{said}; give the operator the rights of manifests/base/cluster-role.yaml"
    return None, f"{said}; ask who owns the namespace's policies"


def _one_line(words: str) -> str:
    """The last non-empty lines of what was said, as one bounded line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()][-3:]
    text = " | ".join(lines)
    if len(text) <= 400:
        return text
    # A log has the cause at its end, a sentence at its beginning.
    return text[:399] + "…" if len(lines) == 1 else "…" + text[-399:]
