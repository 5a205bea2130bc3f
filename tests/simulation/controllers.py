"""Kubernetes' own controllers, each step of which comes a random time after what it is about.

Garbage collection by owner references, Jobs with a pod failure policy, Deployments that roll out, and the autoscaler.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from keras_operator.cluster.reference import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, JOB, POD, Ref

from tests.simulation.api_server import ApiServer
from tests.simulation.object_table import Body, Change, ObjectTable, controller_uid, labels

ACTOR = "kubernetes"
_TEMPLATE = "pod-template-hash"
Schedule = Callable[[float, Callable[[], object]], object]


class Controllers:
    """Wakes for each change that concerns one of them.

    Args:
        server: whose objects they keep.
        table: the same.
        random: decides how long each takes.
        later: calls back after so many seconds.
        step: told of what one does.
        timestamp: the wall clock.

    Attributes:
        restless: whether the autoscaler finds new loads.
        refuses_pods: why no pod is created at the moment, or empty.
    """

    def __init__(
        self,
        server: ApiServer,
        table: ObjectTable,
        random: Random,
        later: Schedule,
        step: Callable[[str], object],
        timestamp: Callable[[], str],
    ) -> None:
        self.restless = True
        self.refuses_pods = ""
        self._server = server
        self._table = table
        self._random = random
        self._later = later
        self._step = step
        self._timestamp = timestamp
        self._due: set[Ref] = set()
        self._names = 0
        table.listeners.append(self._saw)

    def _saw(self, change: Change) -> None:
        if change.after is None:
            for ref, body in self._table.owned(change.uid):
                self._collect_later(ref, body["metadata"]["uid"])
        elif change.before is None:
            for owner in change.body["metadata"].get("ownerReferences") or ():
                if self._table.named(owner["uid"]) is None:
                    self._collect_later(change.ref, change.uid)
        if change.ref.kind in {JOB, DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER} and change.after is not None:
            self._wake(change.ref)
        elif change.ref.kind == POD:
            owner_uid = controller_uid(change.body)
            owner = owner_uid and self._table.named(owner_uid)
            if owner:
                kind = JOB if owner["kind"] == "Job" else DEPLOYMENT
                self._wake(Ref(kind, owner["metadata"]["namespace"], owner["metadata"]["name"]))

    # The garbage collector.

    def _collect_later(self, ref: Ref, uid: str) -> None:
        self._later(self._random.choice((0.05, 0.5, 5.0)) * self._random.random(), lambda: self._collect(ref, uid))

    def _collect(self, ref: Ref, uid: str) -> None:
        body = self._table.get(ref)
        if body is None or body["metadata"]["uid"] != uid:
            return
        owners = body["metadata"].get("ownerReferences") or ()
        if not owners or any(self._table.named(owner["uid"]) is not None for owner in owners):
            return
        self._step(f"garbage collector removes {ref}")
        if ref.kind == POD:
            self._end_pod(ref)
        else:
            self._table.remove(ref, ACTOR)

    def _end_pod(self, ref: Ref) -> None:
        """A pod gets time to end; the kubelet takes it away."""
        body = self._table.get(ref)
        if body is not None and "deletionTimestamp" not in body["metadata"]:
            self._table.mark_deleted(ref, ACTOR)

    # Every controller's loop: once for each object that changed, a little later.

    def _wake(self, ref: Ref) -> None:
        if ref in self._due:
            return
        self._due.add(ref)
        self._later(self._random.choice((0.02, 0.2, 2.0)) * self._random.random() + 0.005, lambda: self._sync(ref))

    def _sync(self, ref: Ref) -> None:
        self._due.discard(ref)
        body = self._table.get(ref)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return
        if ref.kind == JOB:
            self._sync_job(ref, body)
        elif ref.kind == DEPLOYMENT:
            self._sync_deployment(ref, body)
        else:
            self._scale(ref, body)

    # Jobs.

    def _sync_job(self, ref: Ref, job: Body) -> None:
        if job.get("status", {}).get("conditions"):
            return
        pods = [body for _, body in self._table.owned(job["metadata"]["uid"], POD)]
        if any(_phase(pod) == "Succeeded" for pod in pods):
            self._finish(ref, "Complete", "", "")
            return
        failed = [pod for pod in pods if _phase(pod) == "Failed" and pod["status"].get("reason") != "Evicted"]
        codes = [c["state"]["terminated"]["exitCode"] for pod in failed for c in pod["status"]["containerStatuses"]]
        if any(code in {65, 137} for code in codes):
            self._finish(ref, "Failed", "PodFailurePolicy", "a container ended with an exit code that fails the Job")
        elif len(failed) > job["spec"]["backoffLimit"]:
            self._finish(ref, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif not [pod for pod in pods if _phase(pod) not in {"Succeeded", "Failed"}]:
            self._create_pod(ref, job, {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]})

    def _finish(self, ref: Ref, word: str, reason: str, message: str) -> None:
        self._step(f"{ref} is {word} {reason}")
        ended = {
            "type": word,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": self._timestamp(),
        }
        self._table.change(ref, ACTOR, status={"conditions": [ended]})

    # Deployments.

    def _sync_deployment(self, ref: Ref, deployment: Body) -> None:
        digest = _digest(deployment["spec"]["template"])
        pods = [
            (of, body)
            for of, body in self._table.owned(deployment["metadata"]["uid"], POD)
            if "deletionTimestamp" not in body["metadata"]
        ]
        new = [one for one in pods if labels(one[1]).get(_TEMPLATE) == digest]
        old = [one for one in pods if one not in new]
        ready = [one for one in pods if is_ready(one[1])]
        replicas = deployment["spec"]["replicas"]
        broken = [one for one in old if not is_ready(one[1])]
        if len(new) < replicas and len(pods) <= replicas:
            self._create_pod(ref, deployment, {_TEMPLATE: digest})
        elif broken or len(new) > replicas:
            self._step(f"{ref} ends a pod that it needs not")
            # Which of the ready ones, Kubernetes decides by their age and by how they are spread: it may be any.
            self._end_pod(self._random.choice(broken or [one for one in new if not is_ready(one[1])] or new)[0])
        elif old and len(ready) > replicas:
            self._step(f"{ref} ends an old pod")
            self._end_pod(self._random.choice(old)[0])
        counts = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(new),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
        }
        if deployment.get("status") != counts:
            self._step(f"{ref} counts {counts}")
            self._table.change(ref, ACTOR, status=counts)

    def _create_pod(self, ref: Ref, owner: Body, more_labels: dict[str, str]) -> None:
        if self.refuses_pods:
            self._server.warnings[owner["metadata"]["uid"]] = self.refuses_pods
            self._later(3.0, lambda: self._wake(ref))
            return
        self._names += 1
        pod = Ref(POD, ref.namespace, f"{ref.name}-{self._names:05d}")
        template = owner["spec"]["template"]
        body = {
            "metadata": {
                "labels": {**template["metadata"]["labels"], **more_labels},
                "annotations": dict(template["metadata"].get("annotations") or {}),
                "ownerReferences": [
                    {
                        "apiVersion": owner["apiVersion"],
                        "kind": owner["kind"],
                        "name": ref.name,
                        "uid": owner["metadata"]["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self._step(f"{ref} creates {pod}")
        self._table.put(pod, body, ACTOR)

    # The autoscaler.

    def _scale(self, ref: Ref, autoscaler: Body) -> None:
        target = Ref(DEPLOYMENT, ref.namespace, autoscaler["spec"]["scaleTargetRef"]["name"])
        deployment = self._table.get(target)
        spec = autoscaler["spec"]
        if deployment is not None:
            now = deployment["spec"]["replicas"]
            wanted = self._random.randint(spec["minReplicas"], spec["maxReplicas"]) if self.restless else now
            wanted = min(max(wanted, spec["minReplicas"]), spec["maxReplicas"])
            if wanted != now:
                self._step(f"{ref} scales from {now} to {wanted}")
                self._server.update(target, ACTOR, spec=deployment["spec"] | {"replicas": wanted})
        self._later(15.0, lambda: self._wake(ref))


def is_ready(pod: Body) -> bool:
    """Whether a pod's readiness probe succeeds and it is not on its way out."""
    conditions: list[dict[str, Any]] = pod["status"].get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions) and (
        "deletionTimestamp" not in pod["metadata"]
    )


def _phase(pod: Body) -> str:
    return str(pod["status"]["phase"])


def _digest(template: Body) -> str:
    return hashlib.sha256(msgspec.json.encode(template, order="deterministic")).hexdigest()[:10]
