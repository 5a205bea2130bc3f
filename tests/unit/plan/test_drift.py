"""What is drift and what is not: defaults, injected things and other spellings are not."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_operator.plan.drift import drifted

WANTED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "dogs", "labels": {"a": "1"}, "annotations": {"hash": "x"}},
    "spec": {
        "replicas": 2,
        "paused": False,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "runtime",
                        "image": "server:1",
                        "args": ["--a", "--b"],
                        "ports": [{"containerPort": 8501, "protocol": "TCP"}],
                        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": 1}},
                    },
                    {"name": "second", "image": "other"},
                ],
                "volumes": [],
            }
        },
    },
}


def changed(value: Any, *path: Any) -> dict[str, Any]:
    """A copy of the wanted object with one value put somewhere."""
    copy: Any = msgspec.json.decode(msgspec.json.encode(WANTED))
    target = copy
    for step in path[:-1]:
        target = target[step]
    if isinstance(target, list) and path[-1] == len(target):
        target.append(value)
    else:
        target[path[-1]] = value
    return dict(copy)


def removed(*path: Any) -> dict[str, Any]:
    copy = changed(None, *path)
    target: Any = copy
    for step in path[:-1]:
        target = target[step]
    del target[path[-1]]
    return copy


def encoded(live: Any) -> bytes:
    return msgspec.json.encode(live)


POD = ("spec", "template", "spec")
FIRST = (*POD, "containers", 0)

SAME = {
    "the same": WANTED,
    "a LIST's item, without its kind": removed("kind"),
    "another apiVersion": changed("apps/v2", "apiVersion"),
    "a default": changed("RollingUpdate", "spec", "strategy"),
    "a deep default": changed("Always", *FIRST, "imagePullPolicy"),
    "somebody's label": changed("b", "metadata", "labels", "team"),
    "an injected sidecar": changed({"name": "proxy", "image": "envoy"}, *POD, "containers", 2),
    "a port's default": changed("x", *FIRST, "ports", 0, "name"),
    "another spelling of cores": changed("0.5", *FIRST, "resources", "requests", "cpu"),
    "another spelling of bytes": changed("1024Mi", *FIRST, "resources", "requests", "memory"),
    "a number as text": changed("1", *FIRST, "resources", "limits", "nvidia.com/gpu"),
    "a request that was added": changed("1Gi", *FIRST, "resources", "requests", "ephemeral-storage"),
    "the containers in another order": changed(
        list(reversed(WANTED["spec"]["template"]["spec"]["containers"])), *POD, "containers"
    ),
}

DIFFERENT = {
    "another image": changed("server:2", *FIRST, "image"),
    "another count": changed(3, "spec", "replicas"),
    "a count as text": changed("2", "spec", "replicas"),
    "a truth as a number": changed(0, "spec", "paused"),
    "another hash, as where a field was removed": changed("y", "metadata", "annotations", "hash"),
    "no annotation": removed("metadata", "annotations"),
    "no label": removed("metadata", "labels", "a"),
    "no image": removed(*FIRST, "image"),
    "no container": removed(*POD, "containers", 1),
    "no containers": changed([], *POD, "containers"),
    "containers that are none": changed(["runtime", "second"], *POD, "containers"),
    "containers as something else": changed({"name": "runtime"}, *POD, "containers"),
    "a map as something else": changed("none", "metadata", "labels"),
    "an argument more": changed("--c", *FIRST, "args", 2),
    "an argument less": removed(*FIRST, "args", 1),
    "arguments in another order": changed(["--b", "--a"], *FIRST, "args"),
    "another port": changed(8502, *FIRST, "ports", 0, "containerPort"),
    "more cores": changed("2", *FIRST, "resources", "requests", "cpu"),
    "no request": removed(*FIRST, "resources", "requests", "cpu"),
    "a request that is no quantity": changed(None, *FIRST, "resources", "requests", "cpu"),
    "something in a list that should be empty": changed({"name": "x"}, *POD, "volumes", 0),
}


@pytest.mark.parametrize("live", SAME.values(), ids=SAME.keys())
def test_what_others_add_or_spell_otherwise_is_no_drift(live):
    assert not drifted(WANTED, encoded(live))


@pytest.mark.parametrize("live", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_was_applied_and_differs_is_drift(live):
    assert drifted(WANTED, encoded(live))


def spelled(key: str) -> dict[str, Any]:
    return {"spec": {key: {"cpu": "1000m"}}}


@pytest.mark.parametrize(("key", "drift"), [("requests", False), ("limits", False), ("labels", True)])
def test_only_quantities_have_several_spellings(key, drift):
    assert drifted(spelled(key), encoded({"spec": {key: {"cpu": "1"}}})) is drift


KEYS = ["name", "uid", "containerPort", "port", "mountPath", "topologyKey"]


@pytest.mark.parametrize("key", KEYS)
def test_items_of_a_list_are_told_apart_by_their_key(key):
    one, other = {key: "a", "v": 1}, {key: "b", "v": 2}
    assert not drifted({"spec": [one, other]}, encoded({"spec": [other, "x", one]}))
    assert drifted({"spec": [one, other]}, encoded({"spec": [other, {key: "a", "v": 3}]}))


def test_items_without_a_common_key_are_told_apart_by_their_place():
    wanted = {"spec": [{"name": "a"}, {"port": 1}]}
    assert not drifted(wanted, encoded({"spec": [{"name": "a", "x": 1}, {"port": 1}]}))
    assert drifted(wanted, encoded({"spec": [{"port": 1}, {"name": "a"}]}))


def scaler(*metrics: tuple[str, int | str], policies: tuple[int, ...] = ()) -> dict[str, Any]:
    return {
        "spec": {
            "metrics": [
                {"type": "External", "external": {"target": {"type": kind, "averageValue": value}}}
                for kind, value in metrics
            ],
            "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": p} for p in policies]}},
        }
    }


ONE_METRIC = scaler(("AverageValue", "0.5"), policies=(15, 60))
SCALERS = {
    "the same": (ONE_METRIC, False),
    "another spelling of a quantity": (scaler(("AverageValue", "500m"), policies=(15, 60)), False),
    "another quantity": (scaler(("AverageValue", "600m"), policies=(15, 60)), True),
    "another type": (scaler(("Value", "0.5"), policies=(15, 60)), True),
    "one metric more": (scaler(("AverageValue", "0.5"), ("AverageValue", 1), policies=(15, 60)), True),
    "policies of one type in another order": (scaler(("AverageValue", "0.5"), policies=(60, 15)), True),
    "a policy more": (scaler(("AverageValue", "0.5"), policies=(15, 60, 90)), True),
}


@pytest.mark.parametrize(("live", "drift"), SCALERS.values(), ids=SCALERS.keys())
def test_an_autoscalers_metrics_and_policies_are_compared_as_a_whole(live, drift):
    assert drifted(ONE_METRIC, encoded(live)) is drift


def test_what_the_server_adds_to_a_behavior_is_no_drift():
    live = scaler(("AverageValue", "0.5"), policies=(15, 60))
    live["spec"]["behavior"]["scaleDown"] = {"selectPolicy": "Max"}
    live["spec"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"] = 0
    assert not drifted(ONE_METRIC, encoded(live))


def test_a_list_of_words_has_no_keys():
    assert not drifted({"spec": ["name", "uid"]}, encoded({"spec": ["name", "uid"]}))
    assert drifted({"spec": ["name"]}, encoded({"spec": ["name", "uid"]}))


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=3), trees, max_size=4))
def test_an_object_never_drifts_from_itself(tree):
    assert not drifted(tree, encoded(tree))


@given(st.dictionaries(st.sampled_from("abcd"), trees, min_size=1, max_size=4), st.data())
def test_a_field_that_is_gone_is_always_drift(tree, data):
    gone = data.draw(st.sampled_from(sorted(tree)))
    assert drifted(tree, encoded({name: value for name, value in tree.items() if name != gone}))
