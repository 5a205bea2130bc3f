"""Why a pod does not run or serve: each place where Kubernetes tells it, and the sentence made of it.

Tables on purpose as long as this: the sentences are to be read side by side.
"""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from keras_operator.api import Progress, ProgressStage, RunStage
from keras_operator.plan.causes import container_exit_cause, job_cause, pod_cause, refusal_sentence, serving_cause
from keras_operator.plan.observed import AgentTrouble, Container, Observed

from tests.unit.plan.observations import (
    EARLIER,
    NOW,
    deployment,
    ended,
    job,
    model,
    run_pod,
    serving_pod,
    trained,
)

JOB = job(1)
CHECK_IMAGE = "check the image's name in the operator's flags and the node's access to its registry"


def waiting(reason: str, said: str) -> Container:
    return Container(name="train", waiting_reason=reason, waiting_message=said)


def pod(*containers: Container, **told: Any) -> Any:
    return run_pod(JOB, *containers, **told)


WAITING = {
    "ErrImagePull": (
        "ImagePullFailed",
        f"container train of pod dogs-1-train-x cannot start: no such image; {CHECK_IMAGE}.",
    ),
    "ImagePullBackOff": (
        "ImagePullFailed",
        f"container train of pod dogs-1-train-x cannot start: no such image; {CHECK_IMAGE}.",
    ),
    "InvalidImageName": (
        "ImagePullFailed",
        (
            "container train of pod dogs-1-train-x cannot start: no such image; correct the image's name in the "
            "operator's flags."
        ),
    ),
    "ErrImageNeverPull": (
        "ImagePullFailed",
        (
            "container train of pod dogs-1-train-x cannot start: no such image; load the image into the node or allow "
            "it to be pulled."
        ),
    ),
    "CreateContainerConfigError": (
        "ContainerConfigInvalid",
        "container train of pod dogs-1-train-x cannot start: no such image; create what is missing in the namespace.",
    ),
    "CreateContainerError": (
        "ContainerConfigInvalid",
        "container train of pod dogs-1-train-x cannot start: no such image; see kubectl describe pod.",
    ),
    "RunContainerError": (
        "ContainerConfigInvalid",
        "container train of pod dogs-1-train-x cannot start: no such image; see kubectl describe pod.",
    ),
}


@pytest.mark.parametrize("reason", WAITING)
def test_a_container_that_cannot_start_is_explained(reason):
    cause = pod_cause(pod(waiting(reason, "no such image")))
    assert cause is not None
    assert (cause.reason, cause.message) == WAITING[reason]


MISSING = {
    "a Secret": (
        'secret "minio" not found',
        "SecretNotFound",
        "Secret minio is not in namespace vision: create it there or correct its name in the model.",
    ),
    "a key of a ConfigMap": (
        "couldn't find key net.py in ConfigMap vision/my-net",
        "ConfigMapKeyNotFound",
        "ConfigMap my-net has no key net.py: add it to the ConfigMap.",
    ),
    "a ConfigMap": (
        'configmap "net" not found',
        "ConfigMapNotFound",
        "ConfigMap net is not in namespace vision: create it there or correct its name in the model.",
    ),
    "a key, as the kubelet says it": (
        "couldn't find key AWS_ACCESS_KEY_ID in Secret vision/minio",
        "SecretKeyNotFound",
        "Secret minio has no key AWS_ACCESS_KEY_ID: add it to the Secret.",
    ),
    "a key, without its namespace": (
        "couldn't find key AWS_ACCESS_KEY_ID in Secret minio",
        "SecretKeyNotFound",
        "Secret minio has no key AWS_ACCESS_KEY_ID: add it to the Secret.",
    ),
}


@pytest.mark.parametrize(("said", "reason", "sentence"), MISSING.values(), ids=MISSING.keys())
def test_what_is_missing_is_named(said, reason, sentence):
    cause = pod_cause(pod(waiting("CreateContainerConfigError", said)))
    assert cause is not None
    assert (cause.reason, cause.message) == (reason, sentence)


@pytest.mark.parametrize("reason", ["", "ContainerCreating", "PodInitializing", "CrashLoopBackOff"])
def test_waiting_that_passes_by_itself_is_no_cause(reason):
    assert pod_cause(pod(waiting(reason, "soon"))) is None


def test_the_first_container_with_a_cause_is_named():
    cause = pod_cause(pod(Container(name="agent", running=True), waiting("ErrImagePull", "no")))
    assert cause is not None
    assert cause.reason == "ImagePullFailed"


def test_a_pod_that_no_node_takes_is_explained():
    cause = pod_cause(pod(waiting("ErrImagePull", "no"), unschedulable="0/3 nodes\n  are   available."))
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "Unschedulable",
        (
            "no node can take pod dogs-1-train-x: 0/3 nodes | are   available; "
            "change spec.training.resources, or add a node that fits."
        ),
    )


BESIDES = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
NO_NODE = {
    "too little of two": (
        f"0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, {BESIDES}",
        (
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory; "
            "lower cpu and memory under spec.training.resources, or add a larger node."
        ),
    ),
    "no such device": (
        f"0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu. {BESIDES}",
        (
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu; "
            "add a node with nvidia.com/gpu, or ask for fewer under spec.training.resources."
        ),
    ),
    "a taint": (
        f"0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, {BESIDES}",
        "0/1 nodes are available: 1 node(s) had untolerated taint(s); remove the taint, or add a node without it.",
    ),
}


@pytest.mark.parametrize(("said", "sentence"), NO_NODE.values(), ids=NO_NODE.keys())
def test_what_no_node_has_is_said_with_what_to_do_about_it(said, sentence):
    cause = pod_cause(pod(unschedulable=said))
    assert cause is not None
    assert (cause.reason, cause.message) == ("Unschedulable", f"no node can take pod dogs-1-train-x: {sentence}")
    serving = pod_cause(serving_pod(1, ready=False, unschedulable=said))
    assert serving is not None
    assert "spec.training" not in serving.message


UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims"
NO_VOLUME = "see kubectl get pvc -n vision, and give the claim a volume or correct spec.serving.cache"
CLAIMS = {
    "not there": (
        f'0/1 nodes are available: persistentvolumeclaim "servables" not found. {BESIDES}',
        "VolumeClaimNotFound",
        "PersistentVolumeClaim servables is not in namespace vision: create it there or correct spec.serving.cache.",
    ),
    "without a volume": (
        f"{UNBOUND}. not found",
        "VolumeClaimNotBound",
        f"the PersistentVolumeClaim of pod dogs-1-pod has no volume: {UNBOUND}; {NO_VOLUME}.",
    ),
    "no volume fits": (
        f"0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind. {BESIDES}",
        "VolumeClaimNotBound",
        (
            "the PersistentVolumeClaim of pod dogs-1-pod has no volume: 0/1 nodes are available: 1 node(s) didn't find "
            f"available persistent volumes to bind; {NO_VOLUME}."
        ),
    ),
    "goes": (
        f'0/1 nodes are available: persistentvolumeclaim "servables" is being deleted. {BESIDES}',
        "VolumeClaimNotBound",
        (
            "the PersistentVolumeClaim of pod dogs-1-pod has no volume: 0/1 nodes are available: persistentvolumeclaim "
            f'"servables" is being deleted; {NO_VOLUME}.'
        ),
    ),
    "on another node": (
        f"0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity. {BESIDES}",
        "Unschedulable",
        (
            "no node can take pod dogs-1-pod: 0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node "
            "affinity; its volume is on another node: use a ReadWriteMany claim, or correct spec.serving.cache."
        ),
    ),
}


@pytest.mark.parametrize(("said", "reason", "sentence"), CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_that_keeps_a_pod_from_every_node_is_explained(said, reason, sentence):
    cause = pod_cause(serving_pod(1, ready=False, unschedulable=said))
    assert cause is not None
    assert (cause.reason, cause.message) == (reason, sentence)


@pytest.mark.parametrize(("said", "reason", "sentence"), CLAIMS.values(), ids=CLAIMS.keys())
def test_so_is_the_claim_of_a_training(said, reason, sentence):
    cause = pod_cause(pod(unschedulable=said))
    assert cause is not None
    expected = sentence.replace("dogs-1-pod", "dogs-1-train-x").replace("spec.serving", "spec.training.data")
    assert (cause.reason, cause.message) == (reason, expected)


def test_a_volume_that_only_a_template_names_is_looked_for_there():
    cause = pod_cause(dataclasses.replace(pod(unschedulable=UNBOUND), component="export"))
    assert cause is not None
    assert cause.message.endswith("or correct its volumes in the operator's templates.")


def test_a_pod_that_is_held_back_by_a_gate_is_explained():
    cause = pod_cause(pod(gates=("example.com/queue", "other"), unschedulable="no"))
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "Unschedulable",
        (
            "pod dogs-1-train-x is held back by its scheduling gate example.com/queue: "
            "whoever put it there has to take it away."
        ),
    )


def test_the_image_that_cannot_be_pulled_is_named_once():
    said = 'Back-off pulling image "none:1": ErrImagePull: failed to pull and unpack image "none:1": no such host.'
    cause = pod_cause(pod(waiting("ImagePullBackOff", said)))
    assert cause is not None
    assert cause.message == (
        'container train of pod dogs-1-train-x cannot start: failed to pull and unpack image "none:1": no such host; '
        f"{CHECK_IMAGE}."
    )


def test_an_evicted_pod_is_explained():
    cause = pod_cause(pod(reason="Evicted", message="The node was low on resource: memory."))
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "Evicted",
        (
            "pod dogs-1-train-x was evicted from its node: The node was low on resource: memory; "
            "request what it needs under spec.training.resources.requests, and it is not the first to go."
        ),
    )


def test_only_the_last_lines_of_a_long_message_are_passed_on():
    words = "first\n\nsecond\nthird\n  fourth  \n"
    cause = container_exit_cause(pod(), ended(exit_code=1, message=words))
    assert cause is not None
    assert cause.message.endswith("ended with exit code 1: second | third | fourth")


CUT = {
    "a sentence that fits": ("x" * 400, "x" * 400),
    "a sentence that is one too long": ("x" * 401, "x" * 399 + "…"),
    "a long sentence": ("x" * 5000, "x" * 399 + "…"),
    "a log that fits": ("x\n" + "y" * 396, "x | " + "y" * 396),
    "a log that is one too long": ("x\n" + "y" * 397, "…| " + "y" * 397),
    "a long log": ("x\n" + "y" * 5000, "…" + "y" * 399),
}


@pytest.mark.parametrize(("words", "kept"), CUT.values(), ids=CUT.keys())
def test_a_long_sentence_keeps_its_beginning_and_a_long_log_its_end(words, kept):
    cause = container_exit_cause(pod(), ended(exit_code=1, message=words))
    assert cause is not None
    assert cause.message == f"container train of pod dogs-1-train-x ended with exit code 1: {kept}"


@pytest.mark.parametrize("exit_code", [None, 0])
def test_a_container_that_runs_or_succeeded_has_no_cause(exit_code):
    assert container_exit_cause(pod(), Container(name="train", exit_code=exit_code, exit_reason="OOMKilled")) is None


def seen(*pods: Any, **more: Any) -> Observed:
    return Observed(model(trained()), pods=pods, **more)


EVICTED = {"reason": "Evicted", "message": "low on memory", "phase": "Failed"}


def test_only_the_newest_pod_of_a_job_can_hold_it_up():
    old, new = pod(**EVICTED, name="a", created=EARLIER), pod(name="b", created=NOW)
    assert job_cause(seen(new, old), JOB) is None
    newest = dataclasses.replace(new, unschedulable="no node fits.")
    cause = job_cause(seen(old, newest), JOB)
    assert cause is not None
    assert cause.reason == "Unschedulable"


def test_a_pod_that_is_going_away_holds_nothing_up():
    assert job_cause(seen(pod(**EVICTED, deleting=True)), JOB) is None


def test_a_pod_whose_node_is_silent_says_how_the_run_goes_on_also_when_it_is_to_go():
    for deleting in (False, True):
        cause = job_cause(seen(pod(name="a", phase="Running", lost_with="rack-7", deleting=deleting)), JOB)
        assert cause is not None
        assert cause.reason == "NodeUnreachable"
        assert cause.message == (
            "node rack-7 does not answer, and pod a is on it: the run goes on when the node is back. If it is switched "
            "off, delete the node, or tell Kubernetes with kubectl taint node rack-7 "
            "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, and the run goes on elsewhere."
        )
    assert job_cause(seen(pod(phase="Failed", lost_with="rack-7")), JOB) is None, "the Job knows that it has ended"


CREATION = {
    "a quota": (
        'Error creating: pods "x" is forbidden: exceeded quota: team, requested: cpu=2, used: cpu=1, limited: cpu=2',
        "QuotaExceeded",
        (
            "Job dogs-1-train cannot create its pod: it would exceed ResourceQuota team (requested: cpu=2, used: "
            "cpu=1, limited: cpu=2); raise it, or ask for less."
        ),
    ),
    "no service account": (
        'error looking up service account vision/dogs: ServiceAccount "dogs" not found',
        "ServiceAccountNotFound",
        (
            "Job dogs-1-train cannot create its pod: error looking up service account vision/dogs: ServiceAccount "
            '"dogs" not found. It is made again by itself.'
        ),
    ),
    "a quota that wants something written": (
        'pods "x" is forbidden: failed quota: team: must specify limits.memory for: train',
        "QuotaExceeded",
        (
            "Job dogs-1-train cannot create its pod: team: must specify limits.memory for: train; the ResourceQuota "
            "wants it under resources."
        ),
    ),
    "a policy": (
        "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'no-pods' with binding 'here' denied request: not today",
        "PodRefused",
        (
            "Job dogs-1-train cannot create its pod: ValidatingAdmissionPolicy no-pods refuses it: not today; ask who "
            "owns the policy."
        ),
    ),
    "the Pod Security level": (
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)',
        "PodRefused",
        (
            "Job dogs-1-train cannot create its pod: the namespace's Pod Security level restricted refuses it: host "
            "namespaces (hostNetwork=true); ask who changes pods on their way, or who owns the namespace."
        ),
    ),
    "something not found": (
        'configmap "x" not found',
        "PodRefused",
        'Job dogs-1-train cannot create its pod: configmap "x" not found; ask who owns the namespace\'s policies.',
    ),
    "a service account that may not": (
        "serviceaccount dogs may not",
        "PodRefused",
        "Job dogs-1-train cannot create its pod: serviceaccount dogs may not; ask who owns the namespace's policies.",
    ),
}


@pytest.mark.parametrize(("said", "reason", "sentence"), CREATION.values(), ids=CREATION.keys())
def test_a_job_without_pods_says_who_refuses_them(said, reason, sentence):
    cause = job_cause(seen(job_warnings={"dogs-1-train": said}), JOB)
    assert cause is not None
    assert (cause.reason, cause.message) == (reason, sentence)


def test_a_refusal_is_over_once_there_is_a_pod():
    assert job_cause(seen(pod(), job_warnings={"dogs-1-train": "exceeded quota"}), JOB) is None


def test_a_refusal_of_another_job_is_not_this_ones():
    assert job_cause(seen(job_warnings={"dogs-1-export": "exceeded quota"}), JOB) is None
    assert job_cause(seen(job_warnings={"dogs-1-export": "no"}), job(1, RunStage.EXPORT)) is not None


WAITS = serving_pod(1, ready=False)
TROUBLE = AgentTrouble("dogs-1-pod", "AccessDenied", "the store refused the key;\n correct it")


def test_the_agents_own_words_come_first():
    stuck = dataclasses.replace(WAITS, unschedulable="no node fits.")
    cause = serving_cause(seen(stuck, agent_troubles=(TROUBLE,)), 1, NOW)
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "AccessDenied",
        "pod dogs-1-pod: the store refused the key; | correct it",
    )


def test_an_agent_that_gives_no_reason_still_has_one():
    cause = serving_cause(seen(WAITS, agent_troubles=(AgentTrouble("dogs-1-pod", "", "hm"),)), 1, NOW)
    assert cause is not None
    assert (cause.reason, cause.message) == ("PodNotReady", "pod dogs-1-pod: hm")


NOT_MEANT = {
    "the pod is ready": [serving_pod(1)],
    "the pod serves another version": [serving_pod(2, ready=False, name="dogs-1-pod")],
    "the pod is going away": [serving_pod(1, ready=False, deleting=True)],
    "the trouble is another pod's": [serving_pod(1, ready=False, name="other")],
}


@pytest.mark.parametrize("pods", NOT_MEANT.values(), ids=NOT_MEANT.keys())
def test_trouble_of_other_pods_is_not_this_versions(pods):
    assert serving_cause(seen(*pods, agent_troubles=(TROUBLE,)), 1, NOW) is None


def test_a_pod_that_cannot_start_keeps_its_version_from_serving():
    stuck = serving_pod(1, Container(name="runtime", waiting_reason="ErrImagePull", waiting_message="no"), ready=False)
    cause = serving_cause(seen(serving_pod(1, ready=False, name="a"), stuck), 1, NOW)
    assert cause is not None
    assert cause.reason == "ImagePullFailed"


CRASHES = {
    "for memory": (
        Container(name="runtime", restarts=3, exit_code=137, exit_reason="OOMKilled"),
        "OutOfMemory",
        (
            "container runtime of pod dogs-1-pod was killed for memory: raise spec.serving.resources.limits.memory, or "
            "lower what it needs; it was restarted 3 times."
        ),
    ),
    "for memory, in a container of nobody's spec": (
        Container(name="agent", restarts=1, exit_code=137, exit_reason="OOMKilled"),
        "OutOfMemory",
        (
            "container agent of pod dogs-1-pod was killed for memory: raise its limits.memory, or lower what it needs; "
            "it was restarted once."
        ),
    ),
    "because it hung": (
        Container(name="runtime", restarts=1, exit_code=137, exit_reason="Error"),
        "CrashLooping",
        (
            "container runtime of pod dogs-1-pod was killed: it did not answer its liveness probe any more, or its "
            "node ran out of memory; it was restarted once; see kubectl logs -n vision dogs-1-pod -c runtime "
            "--previous."
        ),
    ),
    "by itself": (
        Container(name="runtime", restarts=3, exit_code=1, exit_message="bad model"),
        "CrashLooping",
        (
            "container runtime of pod dogs-1-pod ended with exit code 1: bad model; it was restarted 3 times; see "
            "kubectl logs -n vision dogs-1-pod -c runtime --previous."
        ),
    ),
    "and runs just now, which without a readiness probe counts as ready": (
        Container(
            name="runtime",
            ready=True,
            restarts=3,
            exit_code=1,
            exit_message="bad model",
            finished=NOW - timedelta(minutes=9),
        ),
        "CrashLooping",
        (
            "container runtime of pod dogs-1-pod ended with exit code 1: bad model; it was restarted 3 times; see "
            "kubectl logs -n vision dogs-1-pod -c runtime --previous."
        ),
    ),
}


@pytest.mark.parametrize(("container", "reason", "sentence"), CRASHES.values(), ids=CRASHES.keys())
def test_a_container_that_crashes_again_and_again_is_explained(container, reason, sentence):
    cause = serving_cause(seen(serving_pod(1, Container(name="agent"), container, ready=False)), 1, NOW)
    assert cause is not None
    assert (cause.reason, cause.message) == (reason, sentence)


CALM = {
    "ended once, never restarted": Container(name="runtime", exit_code=1),
    "restarted long ago and ready": Container(
        name="runtime", restarts=2, exit_code=1, ready=True, finished=NOW - timedelta(minutes=10)
    ),
    "restarted at a time that nobody knows, and ready": Container(name="runtime", restarts=2, exit_code=1, ready=True),
    "restarted after it succeeded": Container(name="runtime", restarts=1, exit_code=0),
}


@pytest.mark.parametrize("container", CALM.values(), ids=CALM.keys())
def test_a_container_that_does_not_crash_now_is_no_cause(container):
    assert serving_cause(seen(serving_pod(1, container, ready=False)), 1, NOW) is None


def test_evicted_pods_do_not_speak_for_those_that_took_their_place():
    gone = serving_pod(1, ready=False, name="gone", **EVICTED)
    assert serving_cause(seen(gone, WAITS), 1, NOW) is None
    alone = serving_cause(seen(gone), 1, NOW)
    assert alone is not None
    assert alone.reason == "Evicted"


def test_a_deployment_that_may_not_create_pods_says_so():
    live = deployment(1, failure='pods "x" is forbidden: exceeded quota: team')
    cause = serving_cause(seen(deployment=live), 1, NOW)
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "QuotaExceeded",
        ("Deployment dogs cannot create its pod: it would exceed ResourceQuota team; raise it, or ask for less."),
    )


def test_nothing_is_in_the_way_of_a_version_that_is_on_its_way():
    assert serving_cause(seen(WAITS, deployment=deployment(1)), 1, NOW) is None
    assert serving_cause(seen(), 1, NOW) is None


OVER_ITS_LIMIT = {
    "the pod": "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
    "a container": 'Container train exceeded its local ephemeral storage limit "1Mi". ',
    "a volume": 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". ',
}


@pytest.mark.parametrize("said", OVER_ITS_LIMIT.values(), ids=OVER_ITS_LIMIT.keys())
def test_a_pod_that_fills_its_disk_is_not_called_short_of_memory(said):
    killed = ended(exit_code=137, exit_reason="Error")
    evicted = pod(killed, reason="Evicted", message=said, phase="Failed")
    cause = container_exit_cause(evicted, killed)
    assert cause is not None
    assert cause == pod_cause(evicted)
    assert cause.reason == "DiskFull"
    assert cause.message == (
        f"pod dogs-1-train-x used more disk than it may: {said.strip().rstrip('.')}; "
        "raise spec.training.resources.limits.ephemeral-storage, or lower what it needs."
    )


def test_a_pod_that_a_full_node_evicts_is_not_to_blame():
    killed = ended(exit_code=137, exit_reason="Error")
    evicted = pod(killed, reason="Evicted", message="The node was low on resource: memory. ", phase="Failed")
    cause = container_exit_cause(evicted, killed)
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "Evicted",
        (
            "pod dogs-1-train-x was evicted from its node: The node was low on resource: memory; "
            "request what it needs under spec.training.resources.requests, and it is not the first to go."
        ),
    )


def test_a_run_that_waits_for_the_store_says_so_until_it_goes_on():
    away = Progress(stage=ProgressStage.PUBLISHING, waiting="http://minio:9000 cannot be reached")
    cause = job_cause(seen(pod(), progress=away), JOB)
    assert cause is not None
    assert (cause.reason, cause.message) == ("StoreUnreachable", "http://minio:9000 cannot be reached")
    assert job_cause(seen(pod(), progress=Progress(stage=ProgressStage.PUBLISHING)), JOB) is None


def test_a_suspended_job_says_so_whatever_its_pods_did():
    cause = job_cause(seen(pod(**EVICTED)), job(1, suspended=True))
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "JobSuspended",
        "somebody suspended Job dogs-1-train: set its spec.suspend to false for it to go on.",
    )


def test_a_job_that_waits_in_a_queue_needs_nobody():
    assert job_cause(seen(), job(1, suspended=True, queue="team-vision")) is None


REFUSED = {
    "by a policy": (
        "deployments.apps \"dogs\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        "ValidatingAdmissionPolicy p refuses it: no; ask who owns the policy",
    ),
    "by a quota": (
        'services "dogs" is forbidden: exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1',
        (
            "it would exceed ResourceQuota team (requested: pods=1, used: pods=1, limited: pods=1); raise it, "
            "or ask for less"
        ),
    ),
    "for want of rights": (
        'services "dogs" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "services"',
        (
            'services "dogs" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "services"; give the '
            "operator the rights of manifests/base/cluster-role.yaml"
        ),
    ),
    "in a namespace that goes": (
        'jobs.batch "x" is forbidden: unable to create new content in namespace a because it is being terminated',
        "its namespace is being deleted; nothing is to be done",
    ),
    "by somebody else": (
        "admission webhook says no",
        "admission webhook says no; ask who owns the namespace's policies",
    ),
}


@pytest.mark.parametrize(("said", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_api_server_refuses_comes_with_a_remedy(said, sentence):
    assert refusal_sentence("Deployment dogs", said) == f"Deployment dogs was refused by the API server: {sentence}"
