"""Who may talk to whom by the NetworkPolicies, as Kubernetes defines them; whether it is enforced is the network's.

Kubernetes itself enforces nothing: that takes a network plug-in that does. So the objects are judged here by the rules
of the API (networking.k8s.io/v1), for every pair that matters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from keras_operator.api import TensorBoard
from keras_operator.plan.desired import Template
from keras_operator.render import Renderer

from tests.unit.plan.observations import decide, kept, published, trained

MODEL = "keras-operator.dev/model"
BASE = Path(__file__).parents[3] / "manifests/base"
DOCUMENT = Path(__file__).parents[3] / "docs/runtime.md"


@dataclass(frozen=True)
class Peer:
    """A pod, or somebody outside (without a namespace)."""

    namespace: str = ""
    labels: Mapping[str, str] | None = None


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "a selector that this test does not understand"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def admits(
    policy: Mapping[str, Any], source: Peer, labels: Mapping[str, str], port: int, names: Mapping[str, int]
) -> bool:
    """Whether a policy lets `source` reach `port` of a pod with `labels`; a pod that it does not select is open."""
    spec = policy["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    if not selects(spec["podSelector"], labels):
        return True
    return any(_from(rule, source) and _port(rule, port, names) for rule in spec["ingress"])


def _from(rule: Mapping[str, Any], source: Peer) -> bool:
    if "from" not in rule:
        return True
    for peer in rule["from"]:
        assert set(peer) <= {"namespaceSelector", "podSelector"}
        if "namespaceSelector" not in peer:
            # Pods of the policy's own namespace, which is the models' here.
            if source.namespace == "vision" and selects(peer["podSelector"], source.labels or {}):
                return True
            continue
        labels = {"kubernetes.io/metadata.name": source.namespace} if source.namespace else {}
        if (
            labels
            and selects(peer["namespaceSelector"], labels)
            and selects(peer.get("podSelector", {}), source.labels or {})
        ):
            return True
    return False


def _port(rule: Mapping[str, Any], port: int, names: Mapping[str, int]) -> bool:
    return "ports" not in rule or any(names.get(one["port"], one["port"]) == port for one in rule["ports"])


def model_policy(**spec: Any) -> dict[str, Any]:
    desired = kept(decide(trained(**spec), published(1, trained())), Template.NETWORK_POLICY)
    assert desired is not None
    return Renderer().render(desired)


OPERATOR = Peer("keras-operator-system", {"app.kubernetes.io/name": "keras-operator"})
NEIGHBOUR = Peer("vision", {"app": "shop"})
ELSEWHERE = Peer("audio", {"app": "shop"})
OUTSIDE = Peer()
OF_DOGS = {"app.kubernetes.io/name": "keras-model", "app.kubernetes.io/instance": "dogs"}
SERVING = {**OF_DOGS, MODEL: "dogs", "app.kubernetes.io/component": "serving"}
TRYING = {**OF_DOGS, "keras-operator.dev/canary": "dogs", "app.kubernetes.io/component": "serving"}
TRAINING = {**OF_DOGS, MODEL: "dogs", "app.kubernetes.io/component": "train"}

SHOWN = TensorBoard(enabled=True)

REACH = [
    (NEIGHBOUR, 8501, True),
    (ELSEWHERE, 8500, True),
    (OUTSIDE, 8501, True),
    (OPERATOR, 8501, True),
    (OPERATOR, 8502, True),
    (OPERATOR, 8080, True),
    (NEIGHBOUR, 8502, False),
    (NEIGHBOUR, 8080, False),
    (ELSEWHERE, 8080, False),
    (OUTSIDE, 8502, False),
    (OPERATOR, 22, False),
    (NEIGHBOUR, 22, False),
]


@pytest.mark.parametrize(("source", "port", "may"), REACH)
@pytest.mark.parametrize("labels", [SERVING, TRYING, TRAINING], ids=["serving", "a canary's own", "training"])
def test_predictions_are_open_and_what_pods_say_is_for_the_operator_alone(source, port, may, labels):
    assert admits(model_policy(), source, labels, port, {}) is may


@pytest.mark.parametrize("source", [NEIGHBOUR, OUTSIDE], ids=["a pod", "outside"])
@pytest.mark.parametrize(("board", "may"), [(None, False), (TensorBoard(enabled=False), False), (SHOWN, True)])
def test_tensorboard_is_open_where_there_is_one(source, board, may):
    labels = {**OF_DOGS, MODEL: "dogs", "app.kubernetes.io/component": "tensorboard"}
    assert admits(model_policy(tensorboard=board), source, labels, 6006, {}) is may


OTHER_WORKER = Peer("vision", TRAINING)


@pytest.mark.parametrize(
    ("source", "may"),
    [
        (OTHER_WORKER, True),
        (Peer("vision", {**TRAINING, MODEL: "cats"}), False),
        (Peer("audio", TRAINING), False),
        (Peer("vision", SERVING), False),
        (OPERATOR, False),
        (OUTSIDE, False),
    ],
    ids=["worker", "another model's", "another namespace's", "serving", "operator", "outside"],
)
def test_workers_are_reached_by_workers_alone(source, may):
    assert admits(model_policy(workers=2), source, TRAINING, 8503, {}) is may
    assert not admits(model_policy(), source, TRAINING, 8503, {})
    assert not admits(model_policy(workers=2), source, TRAINING, 22, {})


def test_a_models_policy_is_about_its_own_pods_only():
    policy = model_policy()
    assert policy["metadata"]["namespace"] == "vision"
    assert admits(policy, OUTSIDE, {MODEL: "cats"}, 22, {})


@pytest.mark.parametrize(("port", "may"), [(8081, True), (8082, False), (6443, False)])
@pytest.mark.parametrize("source", [NEIGHBOUR, OUTSIDE, OPERATOR], ids=["a pod", "outside", "the operator"])
def test_the_operator_answers_probes_and_nothing_else(source, port, may):
    policy = yaml.safe_load((BASE / "network-policy.yaml").read_text())
    (container,) = yaml.safe_load((BASE / "deployment.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    names = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert admits(policy, source, OPERATOR.labels or {}, port, names) is may


def test_the_documented_policy_leaves_serving_pods_the_store_and_dns():
    (text,) = re.findall(r"```yaml\n(apiVersion: networking.*?)```", DOCUMENT.read_text(), re.DOTALL)
    spec = yaml.safe_load(text)["spec"]
    assert spec["policyTypes"] == ["Egress"]
    assert [selects(spec["podSelector"], labels) for labels in (SERVING, TRYING, TRAINING)] == [True, True, False]
    pod = manifest_labels()
    assert selects(spec["podSelector"], pod)
    store, names = spec["egress"]
    assert _port(store, 9000, {})
    assert [_port(names, port, {}) for port in (53, 443)] == [True, False]
    (peer,) = store["to"]
    assert selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": "minio"})
    assert not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": "vision"})


def manifest_labels() -> Mapping[str, str]:
    """The labels of a serving pod, as it is rendered."""
    desired = kept(decide(trained(), published(1, trained())), Template.DEPLOYMENT)
    assert desired is not None
    labels: Mapping[str, str] = Renderer().render(desired)["spec"]["template"]["metadata"]["labels"]
    return labels
