"""Why a model is not ready, for each cause that Kubernetes knows: one sentence in the MESSAGE column, with the remedy.

All models are applied at once, and each test waits for the sentence of one. What a platform does to pods on their way
in, policies do here as well: so every cause arises on the real node, from the real controllers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.demo.kubectl import Kubectl
from tests.e2e.admission import Policy
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.conftest import MakeNamespace, Served
from tests.e2e.models import conditions, message, quick_model
from tests.e2e.object_store import ObjectStore
from tests.e2e.ready_versions import apply_with_version, copy_servable

NODE_TAINT = {"key": "example.com/reserved", "effect": "NoSchedule"}
METRICS = "v1beta1.metrics.k8s.io"
JUDGED = {"phase": "Training", "metrics": {"accuracy": "0.5"}}


@dataclass(frozen=True)
class Cause:
    """A model that meets trouble, and the sentence about it.

    `<pod>` stands for any pod's name, `<ns>` for the namespace, `<words>` for words that differ from run to run.
    `status` is that of a version which is there already: `published` for one in the store.
    """

    sentence: str
    reason: str
    change: Mapping[str, Any] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    version: Mapping[str, Any] | None = None
    published: bool = False

    def pattern(self, namespace: str) -> re.Pattern[str]:
        """The whole sentence as a regular expression."""
        placeholders = {"<pod>": "[a-z0-9-]+", "<ns>": re.escape(namespace), "<words>": ".+"}
        parts = re.split("(<[a-z]+>)", self.sentence)
        return re.compile("".join(placeholders.get(part) or re.escape(part) for part in parts))


def _training(**change: Any) -> dict[str, Any]:
    return {"training": change}


def _patch(path: str, value: str, op: str = "add") -> str:
    return f'JSONPatch{{op: "{op}", path: "{path}", value: {value}}}'


def _first_item(path: str, value: str) -> list[str]:
    """Patches that make a list of one object: Kubernetes 1.36.3 panics at a literal list of objects."""
    return [_patch(path, "[]"), _patch(f"{path}/-", value)]


_ENV = "Object.spec.containers.env"
_SITE_ENV = (
    f'{_ENV}{{name: "SITE", valueFrom: {_ENV}.valueFrom{{configMapKeyRef: '
    f'{_ENV}.valueFrom.configMapKeyRef{{name: "site", key: "SITE"}}}}}}'
)
_INIT = "Object.spec.initContainers"
_SETUP = (
    f'{_INIT}{{name: "setup", image: object.spec.containers[0].image, '
    'command: ["python3", "-c", "print(\'asking for a licence\'); raise SystemExit(\'no licence is left\')"], '
    'terminationMessagePolicy: "FallbackToLogsOnError", '
    f"securityContext: {_INIT}.securityContext{{allowPrivilegeEscalation: false, "
    f'capabilities: {_INIT}.securityContext.capabilities{{drop: ["ALL"]}}}}}}'
)
_AGAIN = "To try again, delete kerasmodelversion {name}-1, or change spec.training"

CAUSES = {
    # First, because this sentence does not stay: it is about a Job that has attempts left.
    "init-failure": Cause(
        "version 1 is tried again after <words> of its train Job: container setup of pod <pod> ended with exit code 1: "
        "asking for a licence | no licence is left",
        "Training",
        policies=(Policy("pods", _first_item("/spec/initContainers", _SETUP)),),
    ),
    "image-pull": Cause(
        "version 1 cannot be trained: container train of pod <pod> cannot start: "
        "<words>registry.invalid/trainer:1<words>; check the image's name in the operator's flags and the "
        "node's access to its registry",
        "ImagePullFailed",
        policies=(Policy("pods", [_patch("/spec/containers/0/image", '"registry.invalid/trainer:1"', "replace")]),),
    ),
    "too-much-cpu": Cause(
        "version 1 cannot be trained: no node can take pod <pod>: 0/1 nodes are available: 1 Insufficient cpu; "
        "lower cpu under spec.training.resources, or add a larger node",
        "Unschedulable",
        _training(resources={"requests": {"cpu": 1000}}),
    ),
    "no-gpu": Cause(
        "version 1 cannot be trained: no node can take pod <pod>: 0/1 nodes are available: 1 Insufficient "
        "nvidia.com/gpu; add a node with nvidia.com/gpu, or ask for fewer under spec.training.resources",
        "Unschedulable",
        _training(resources={"limits": {"nvidia.com/gpu": 1}}),
    ),
    "held-back": Cause(
        "version 1 cannot be trained: pod <pod> is held back by its scheduling gate example.com/queue: whoever put it "
        "there has to take it away",
        "Unschedulable",
        policies=(
            Policy(
                "pods", _first_item("/spec/schedulingGates", 'Object.spec.schedulingGates{name: "example.com/queue"}')
            ),
        ),
    ),
    "no-secret": Cause(
        "version 1 cannot be trained: Secret not-there is not in namespace <ns>: create it there or correct its name "
        "in the model",
        "SecretNotFound",
        {"store": {"credentials": {"secretName": "not-there"}}},
    ),
    "no-key-in-secret": Cause(
        "version 1 cannot be trained: Secret half has no key AWS_SECRET_ACCESS_KEY: add it to the Secret",
        "SecretKeyNotFound",
        {"store": {"credentials": {"secretName": "half"}}},
    ),
    "no-config-map": Cause(
        "version 1 cannot be trained: ConfigMap site is not in namespace <ns>: create it there or correct its name in "
        "the model",
        "ConfigMapNotFound",
        policies=(Policy("pods", [_patch("/spec/containers/0/env/-", _SITE_ENV)]),),
    ),
    "no-service-account": Cause(
        "ServiceAccount no-service-account was refused by the API server: ValidatingAdmissionPolicy <pod> refuses it: "
        "accounts are made by the platform team; ask who owns the policy",
        "ChildRefused",
        policies=(Policy("serviceaccounts", words="accounts are made by the platform team"),),
    ),
    "deployment-refused": Cause(
        "Deployment deployment-refused was refused by the API server: ValidatingAdmissionPolicy <pod> refuses it: "
        "nothing is deployed on Fridays; ask who owns the policy",
        "ChildRefused",
        policies=(Policy("deployments", words="nothing is deployed on Fridays"),),
        published=True,
    ),
    "pod-refused": Cause(
        "version 1 cannot be trained: Job pod-refused-1-train cannot create its pod: ValidatingAdmissionPolicy <pod> "
        "refuses it: no owner label; ask who owns the policy",
        "PodRefused",
        policies=(Policy("pods", words="no owner label"),),
    ),
    "serving-pod-refused": Cause(
        "version 1 cannot serve: Deployment serving-pod-refused cannot create its pod: ValidatingAdmissionPolicy <pod> "
        "refuses it: no owner label; ask who owns the policy",
        "PodRefused",
        policies=(Policy("pods", words="no owner label"),),
        published=True,
    ),
    "pod-security": Cause(
        "version 1 cannot be trained: Job pod-security-1-train cannot create its pod: the namespace's Pod Security "
        "level restricted refuses it: <words>hostNetwork=true<words>; ask who changes pods on their way, or who owns "
        "the namespace",
        "PodRefused",
        policies=(Policy("pods", [_patch("/spec/hostNetwork", "true")]),),
    ),
    "out-of-memory": Cause(
        "version 1 failed: container train of pod <pod> was killed for memory: raise "
        "spec.training.resources.limits.memory, or lower what it needs, such as spec.training.batchSize or "
        f"data.imageSize. {_AGAIN.format(name='out-of-memory')}",
        "OutOfMemory",
        _training(resources={"limits": {"memory": "60Mi"}}),
    ),
    "evicted": Cause(
        "version 1 failed: pod <pod> used more disk than it may: <words>1Ki; raise "
        "spec.training.resources.limits.ephemeral-storage, or lower what it needs. "
        f"{_AGAIN.format(name='evicted')}",
        "DiskFull",
        _training(epochs=100_000, resources={"limits": {"ephemeral-storage": "1Ki"}}),
    ),
    "crash-loop": Cause(
        "version 1 cannot serve: container runtime of pod <pod> ended with exit code 1: the model makes no sense; it "
        "was restarted <words>; see kubectl logs -n <ns> <pod> -c runtime --previous",
        "CrashLooping",
        policies=(
            Policy(
                "pods",
                [
                    _patch(
                        "/spec/containers/0/command",
                        '["python3", "-c", "raise SystemExit(\'the model makes no sense\')"]',
                        "replace",
                    )
                ],
            ),
        ),
        published=True,
    ),
    "deadline": Cause(
        "version 1 failed: Job deadline-1-train did not end within 60 s: raise spec.training.activeDeadlineSeconds, or "
        f"make the training smaller. {_AGAIN.format(name='deadline')}",
        "DeadlineExceeded",
        _training(resources={"requests": {"cpu": 1000}}, activeDeadlineSeconds=60),
    ),
    "store-away": Cause(
        "version 1 cannot be trained: <words>the store does not answer<words>:9 cannot be reached<words>check "
        "spec.store.endpoint<words>",
        "StoreUnreachable",
        {"store": {"endpoint": "http://NODE:9"}},
    ),
    "gate-missed": Cause(
        "version 1 was rejected: accuracy is 0.5, and its gate asks for >= 0.99. Ease the gate to serve it as it is, "
        "or change spec.training for another version",
        "GatesNotMet",
        {"evaluation": {"gates": [{"metric": "accuracy", "min": 0.99}]}},
        version=JUDGED,
    ),
    "stuck": Cause(
        "version 1 cannot serve: pod <pod> is still not ready: <words>example.com/balancer<words>; see kubectl "
        "describe pod -n <ns> <pod>",
        "RolloutStuck",
        policies=(
            Policy("deployments", [_patch("/spec/progressDeadlineSeconds", "5", "replace")]),
            Policy(
                "pods",
                _first_item(
                    "/spec/readinessGates", 'Object.spec.readinessGates{conditionType: "example.com/balancer"}'
                ),
            ),
        ),
        published=True,
    ),
    "no-metrics": Cause(
        "version 1 serves on 1/1 pods; the autoscaler cannot scale: <words>metrics API<words>; see that metrics-server "
        f"runs: kubectl get apiservice {METRICS}",
        "Serving",
        {
            "serving": {
                "autoscaling": {"minReplicas": 1, "maxReplicas": 2},
                "resources": {"requests": {"cpu": "50m"}},
            }
        },
        published=True,
    ),
}


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace, s3: ObjectStore, digits_model: Served) -> Iterator[str]:
    """Where everything goes wrong at once."""
    name = make_namespace("causes")
    half = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "half", "namespace": name}}
    api.apply({**half, "stringData": {"AWS_ACCESS_KEY_ID": "key"}})
    policies = [
        (f"{name}-{model}-{number}", model, policy)
        for model, cause in CAUSES.items()
        for number, policy in enumerate(cause.policies)
    ]
    try:
        with _without_metrics(api):
            for policy_name, model, policy in policies:
                for document in policy.documents(policy_name, name, model):
                    api.apply(document)
            for policy_name, model, policy in policies:
                _wait_until_heard(api, policy, name, model, policy_name)
            for model, cause in CAUSES.items():
                _apply(api, s3, digits_model, name, model, cause)
            yield name
    finally:
        for model in CAUSES:
            api.delete(MODEL, name, model)
        for policy_name, _, policy in policies:
            api.delete(f"{policy.kind}Binding", None, policy_name)
            api.delete(policy.kind, None, policy_name)


def _apply(api: ApiServer, s3: ObjectStore, served: Served, namespace: str, name: str, cause: Cause) -> None:
    model = quick_model(namespace, name, cause.change)
    store = model["spec"]["store"]
    # A port of the node that nobody listens on.
    store["endpoint"] = store["endpoint"].replace("NODE", str(urlsplit(s3.endpoint).hostname))
    if cause.published:
        copy_servable(s3, served, namespace, name)
    if cause.published or cause.version:
        apply_with_version(api, model, cause.version)
    else:
        api.apply(model)


@pytest.mark.parametrize("name", CAUSES)
def test_the_message_column_names_the_cause_and_the_remedy(
    api: ApiServer, kubectl: Kubectl, namespace: str, name: str
) -> None:
    cause = CAUSES[name]
    model = _says(api, kubectl, namespace, name, cause)
    found = conditions(model)
    assert found["Ready"]["reason"] == cause.reason
    assert ("Stalled" in found) == (cause.reason not in ("Training", "Serving"))


def test_a_quota_is_named(api: ApiServer, kubectl: Kubectl, make_namespace: MakeNamespace) -> None:
    namespace = make_namespace("quota")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": namespace}}
    api.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    api.wait_for("ResourceQuota", namespace, "team", lambda seen: "hard" in seen.get("status", {}), "a counted quota")
    api.apply(quick_model(namespace, "crowded"))
    cause = Cause(
        "version 1 cannot be trained: Job crowded-1-train cannot create its pod: it would exceed ResourceQuota team "
        "(requested: pods=1, used: pods=0, limited: pods=0); raise it, or ask for less",
        "QuotaExceeded",
    )
    _says(api, kubectl, namespace, "crowded", cause)


def test_a_taint_is_named(api: ApiServer, kubectl: Kubectl, make_namespace: MakeNamespace) -> None:
    namespace = make_namespace("taint")
    (node,) = api.objects("Node", None)
    name = node["metadata"]["name"]
    before = node["spec"].get("taints")
    api.patch("Node", None, name, {"spec": {"taints": [*(before or []), NODE_TAINT]}})
    try:
        api.apply(quick_model(namespace, "tainted"))
        cause = Cause(
            "version 1 cannot be trained: no node can take pod <pod>: 0/1 nodes are available: 1 node(s) had "
            "untolerated taint(s); remove the taint, or add a node without it",
            "Unschedulable",
        )
        _says(api, kubectl, namespace, "tainted", cause)
    finally:
        api.patch("Node", None, name, {"spec": {"taints": before}})
    api.delete(MODEL, namespace, "tainted")


def _says(api: ApiServer, kubectl: Kubectl, namespace: str, name: str, cause: Cause) -> Object:
    """The model once its message is the cause's sentence, and `kubectl get -o wide` shows it."""
    pattern = cause.pattern(namespace)

    def says(model: Object) -> bool:
        return pattern.fullmatch(message(model)) is not None

    model = api.wait_for(MODEL, namespace, name, says, cause.sentence)
    cell = _column(kubectl, namespace, name, "MESSAGE")
    assert pattern.fullmatch(cell), cell
    return model


def _column(kubectl: Kubectl, namespace: str, name: str, title: str) -> str:
    """A model's cell of a column of `kubectl get -o wide`, which pads every column to one width."""
    header, row = kubectl.run("get", "kerasmodels", name, "-n", namespace, "-o", "wide").splitlines()
    start = header.index(title)
    following = re.search(r"\S", header[start + len(title) :])
    end = start + len(title) + following.start() if following else None
    return row[start:end].strip()


@contextmanager
def _without_metrics(api: ApiServer) -> Iterator[None]:
    """The metrics API points at a Service that is not there."""
    before = api.get("APIService", None, METRICS)
    assert before is not None
    service = before["spec"]["service"]
    api.patch("APIService", None, METRICS, {"spec": {"service": {"name": "nobody"}}})
    try:
        yield
    finally:
        api.patch("APIService", None, METRICS, {"spec": {"service": {"name": service["name"]}}})


def _wait_until_heard(api: ApiServer, policy: Policy, namespace: str, model: str, name: str) -> None:
    """Policies reach the API server's admission by a watch."""
    deadline = time.monotonic() + 60
    while not policy.holds(api, namespace, model):
        assert time.monotonic() < deadline, f"{policy.kind} {name} does nothing after 60 s"
        time.sleep(0.05)
