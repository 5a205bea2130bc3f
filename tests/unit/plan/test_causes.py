"""Why a pod does not run or serve: each place where Kubernetes tells it, and the sentence made of it."""

import dataclasses
from typing import Any

import pytest
from keras_operator.api import Progress, ProgressStage, RunStage
from keras_operator.plan.causes import container_exit_cause, job_cause, pod_cause, serving_cause
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
CHECK_IMAGE = "check the image's name and the node's access to its registry"


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
        "container train of pod dogs-1-train-x cannot start: no such image; create what is missing in this namespace.",
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
            "no node can take pod dogs-1-train-x: 0/3 nodes | are   available. "
            "Lower its resource requests or add a node that fits."
        ),
    )


def test_an_evicted_pod_is_explained():
    cause = pod_cause(pod(reason="Evicted", message="The node was low on resource: memory."))
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "Evicted",
        "pod dogs-1-train-x was evicted from its node: The node was low on resource: memory.",
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


CREATION = {
    "a quota": (
        'pods "x" is forbidden: exceeded quota: team, requested: cpu=2',
        "QuotaExceeded",
        (
            "Job dogs-1-train cannot create its pod: "
            'pods "x" is forbidden: exceeded quota: team, requested: cpu=2. Raise the ResourceQuota or lower resources.'
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
    "a policy": (
        "violates PodSecurity restricted",
        "PodRefused",
        (
            "Job dogs-1-train cannot create its pod: violates PodSecurity restricted. Ask who owns the namespace's "
            "policies."
        ),
    ),
    "something not found": (
        'configmap "x" not found',
        "PodRefused",
        'Job dogs-1-train cannot create its pod: configmap "x" not found. Ask who owns the namespace\'s policies.',
    ),
    "a service account that may not": (
        "serviceaccount dogs may not",
        "PodRefused",
        "Job dogs-1-train cannot create its pod: serviceaccount dogs may not. Ask who owns the namespace's policies.",
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
    cause = serving_cause(seen(stuck, agent_troubles=(TROUBLE,)), 1)
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "AccessDenied",
        "pod dogs-1-pod: the store refused the key; | correct it",
    )


def test_an_agent_that_gives_no_reason_still_has_one():
    cause = serving_cause(seen(WAITS, agent_troubles=(AgentTrouble("dogs-1-pod", "", "hm"),)), 1)
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
    assert serving_cause(seen(*pods, agent_troubles=(TROUBLE,)), 1) is None


def test_a_pod_that_cannot_start_keeps_its_version_from_serving():
    stuck = serving_pod(1, Container(name="runtime", waiting_reason="ErrImagePull", waiting_message="no"), ready=False)
    cause = serving_cause(seen(serving_pod(1, ready=False, name="a"), stuck), 1)
    assert cause is not None
    assert cause.reason == "ImagePullFailed"


CRASHES = {
    "for memory": (
        Container(name="runtime", restarts=3, exit_code=137, exit_reason="OOMKilled"),
        "OutOfMemory",
        (
            "container runtime of pod dogs-1-pod was killed for memory: raise its limits.memory, or lower what it "
            "needs. (restarted 3 times)"
        ),
    ),
    "by itself": (
        Container(name="runtime", restarts=3, exit_code=1, exit_message="bad model"),
        "CrashLooping",
        "container runtime of pod dogs-1-pod ended with exit code 1: bad model (restarted 3 times)",
    ),
}


@pytest.mark.parametrize(("container", "reason", "sentence"), CRASHES.values(), ids=CRASHES.keys())
def test_a_container_that_crashes_again_and_again_is_explained(container, reason, sentence):
    cause = serving_cause(seen(serving_pod(1, Container(name="agent"), container, ready=False)), 1)
    assert cause is not None
    assert (cause.reason, cause.message) == (reason, sentence)


CALM = {
    "ended once, never restarted": Container(name="runtime", exit_code=1),
    "restarted long ago and ready": Container(name="runtime", restarts=2, exit_code=1, ready=True),
    "restarted after it succeeded": Container(name="runtime", restarts=1, exit_code=0),
}


@pytest.mark.parametrize("container", CALM.values(), ids=CALM.keys())
def test_a_container_that_does_not_crash_now_is_no_cause(container):
    assert serving_cause(seen(serving_pod(1, container, ready=False)), 1) is None


def test_evicted_pods_do_not_speak_for_those_that_took_their_place():
    gone = serving_pod(1, ready=False, name="gone", **EVICTED)
    assert serving_cause(seen(gone, WAITS), 1) is None
    alone = serving_cause(seen(gone), 1)
    assert alone is not None
    assert alone.reason == "Evicted"


def test_a_deployment_that_may_not_create_pods_says_so():
    live = deployment(1, failure='pods "x" is forbidden: exceeded quota: team')
    cause = serving_cause(seen(deployment=live), 1)
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "QuotaExceeded",
        (
            'Deployment dogs cannot create its pod: pods "x" is forbidden: exceeded quota: team. Raise the '
            "ResourceQuota or lower resources."
        ),
    )


def test_nothing_is_in_the_way_of_a_version_that_is_on_its_way():
    assert serving_cause(seen(WAITS, deployment=deployment(1)), 1) is None
    assert serving_cause(seen(), 1) is None


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
        "raise its limits.ephemeral-storage, or lower what it needs."
    )


def test_a_pod_that_a_full_node_evicts_is_not_to_blame():
    killed = ended(exit_code=137, exit_reason="Error")
    evicted = pod(killed, reason="Evicted", message="The node was low on resource: memory. ", phase="Failed")
    cause = container_exit_cause(evicted, killed)
    assert cause is not None
    assert (cause.reason, cause.message) == (
        "Evicted",
        "pod dogs-1-train-x was evicted from its node: The node was low on resource: memory.",
    )


def test_a_run_that_waits_for_the_store_says_so_until_it_goes_on():
    away = Progress(stage=ProgressStage.PUBLISHING, waiting="http://minio:9000 cannot be reached")
    cause = job_cause(seen(pod(), progress=away), JOB)
    assert cause is not None
    assert (cause.reason, cause.message) == ("StoreUnreachable", "http://minio:9000 cannot be reached")
    assert job_cause(seen(pod(), progress=Progress(stage=ProgressStage.PUBLISHING)), JOB) is None
