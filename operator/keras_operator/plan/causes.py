"""Why a pod does not do what it should, as a reason and one sentence with the remedy.

Kubernetes tells it in many places: the pod's scheduling condition, a container's waiting state, an exit code. Each row
of the tables below is one of them.
"""

import re
from dataclasses import dataclass

from keras_operator.api import Reason, RunReason
from keras_operator.plan.observed import Container, Job, Observed, Pod


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason (CamelCase, for machines) and a sentence (for people)."""

    reason: str
    message: str


# A container's waiting reasons that do not pass by themselves, with what to do about each.
_WAITING = {
    "ErrImagePull": (Reason.IMAGE_PULL_FAILED, "check the image's name and the node's access to its registry"),
    "ImagePullBackOff": (Reason.IMAGE_PULL_FAILED, "check the image's name and the node's access to its registry"),
    "InvalidImageName": (Reason.IMAGE_PULL_FAILED, "correct the image's name in the operator's flags"),
    "ErrImageNeverPull": (Reason.IMAGE_PULL_FAILED, "load the image into the node or allow it to be pulled"),
    "CreateContainerConfigError": (Reason.CONTAINER_CONFIG_INVALID, "create what is missing in this namespace"),
    "CreateContainerError": (Reason.CONTAINER_CONFIG_INVALID, "see kubectl describe pod"),
    "RunContainerError": (Reason.CONTAINER_CONFIG_INVALID, "see kubectl describe pod"),
}

_MISSING_KEY = re.compile(r"couldn't find key (\S+) in Secret (?:\S+/)?(\S+)$")
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
    if pod.unschedulable:
        return Cause(
            Reason.UNSCHEDULABLE,
            f"no node can take pod {pod.identity.name}: {_one_line(pod.unschedulable)} "
            "Lower its resource requests or add a node that fits.",
        )
    for container in pod.containers:
        if cause := _waiting_cause(pod, container):
            return cause
    return None


def _eviction_cause(pod: Pod) -> Cause:
    where, said = f"pod {pod.identity.name}", _one_line(pod.message)
    if _OWN_DISK.search(said):
        remedy = "raise its limits.ephemeral-storage, or lower what it needs"
        words = said.rstrip(".")
        return Cause(RunReason.DISK_FULL, f"{where} used more disk than it may: {words}; {remedy}.")
    return Cause(Reason.EVICTED, f"{where} was evicted from its node: {said}")


def container_exit_cause(pod: Pod, container: Container) -> Cause | None:
    """How a container ended, where it ended badly; its last words are the termination message."""
    if container.exit_code in (None, 0):
        return None
    if pod.reason == "Evicted":
        # Its containers were killed too, and their exit code 137 would be taken for a lack of memory.
        return _eviction_cause(pod)
    where = f"container {container.name} of pod {pod.identity.name}"
    if container.exit_reason == "OOMKilled" or container.exit_code == 137:
        return Cause(
            RunReason.OUT_OF_MEMORY, f"{where} was killed for memory: raise its limits.memory, or lower what it needs."
        )
    words = _one_line(container.exit_message)
    said = f": {words}" if words else ""
    return Cause(Reason.CONTAINER_FAILED, f"{where} ended with exit code {container.exit_code}{said}")


def job_cause(observed: Observed, job: Job) -> Cause | None:
    """What keeps a Job that is not finished from getting on: its newest pod, for the others had their turn."""
    pods = [pod for pod in observed.job_pods(job) if not pod.identity.deleting]
    if pods:
        return pod_cause(pods[-1]) or _waiting_for_store(observed)
    if warning := observed.job_warnings.get(job.identity.name):
        return _creation_cause(f"Job {job.identity.name}", warning)
    return None


def _waiting_for_store(observed: Observed) -> Cause | None:
    """A run waits some minutes for a store that is away: whoever looks must not take that for slow work."""
    if observed.progress is None or not observed.progress.waiting:
        return None
    return Cause(RunReason.STORE_UNREACHABLE, observed.progress.waiting)


def serving_cause(observed: Observed, number: int) -> Cause | None:
    """What keeps the pods that should serve a version from being ready."""
    waiting = [pod for pod in observed.serving_pods() if pod.number == number and not pod.ready]
    names = {pod.identity.name for pod in waiting}
    for trouble in observed.agent_troubles:
        if trouble.pod in names:
            return Cause(trouble.reason or Reason.POD_NOT_READY, f"pod {trouble.pod}: {_one_line(trouble.message)}")
    # Evicted pods lie about long after others took their place.
    for pod in [pod for pod in waiting if not pod.over] or waiting:
        if cause := pod_cause(pod) or _crash_cause(pod):
            return cause
    if observed.deployment and observed.deployment.failure:
        return _creation_cause(f"Deployment {observed.deployment.identity.name}", observed.deployment.failure)
    return None


def _waiting_cause(pod: Pod, container: Container) -> Cause | None:
    row = _WAITING.get(container.waiting_reason)
    if row is None:
        return None
    reason, remedy = row
    said = _one_line(container.waiting_message)
    if key := _MISSING_KEY.search(said):
        return Cause(Reason.SECRET_KEY_NOT_FOUND, f"Secret {key[2]} has no key {key[1]}: add it to the Secret.")
    if missing := _MISSING_OBJECT.search(said):
        reason, kind = _MISSING_KINDS[missing[1]]
        where = f"namespace {pod.identity.namespace}"
        return Cause(
            reason, f"{kind} {missing[2]} is not in {where}: create it there or correct its name in the model."
        )
    return Cause(reason, f"container {container.name} of pod {pod.identity.name} cannot start: {said}; {remedy}.")


def _crash_cause(pod: Pod) -> Cause | None:
    crashing = [c for c in pod.containers if c.restarts and not c.ready]
    for container in crashing:
        if cause := container_exit_cause(pod, container):
            reason = cause.reason if cause.reason != Reason.CONTAINER_FAILED else Reason.CRASH_LOOPING
            return Cause(reason, f"{cause.message} (restarted {container.restarts} times)")
    return None


def _creation_cause(what: str, said: str) -> Cause:
    sentence = _one_line(said)
    if "exceeded quota" in sentence:
        return Cause(
            Reason.QUOTA_EXCEEDED,
            f"{what} cannot create its pod: {sentence}. Raise the ResourceQuota or lower resources.",
        )
    if "serviceaccount" in sentence.lower() and "not found" in sentence:
        return Cause(
            Reason.SERVICE_ACCOUNT_NOT_FOUND, f"{what} cannot create its pod: {sentence}. It is made again by itself."
        )
    return Cause(
        Reason.POD_REFUSED, f"{what} cannot create its pod: {sentence}. Ask who owns the namespace's policies."
    )


def _one_line(words: str) -> str:
    """The last non-empty lines of what was said, as one bounded line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()][-3:]
    text = " | ".join(lines)
    if len(text) <= 400:
        return text
    # A log has the cause at its end, a sentence at its beginning.
    return text[:399] + "…" if len(lines) == 1 else "…" + text[-399:]
