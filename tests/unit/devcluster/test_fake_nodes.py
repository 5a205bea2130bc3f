import json

import pytest
import yaml

from devcluster import build, clusters, fake_nodes, node, pki
from devcluster.errors import DevclusterError
from devcluster.pins import PINS
from devcluster.places import Places
from devcluster.slots import Slot

SLOT = Slot(1)


@pytest.fixture
def places(tmp_path):
    return Places(cache=tmp_path / "cache", tree=tmp_path / "tree", fake_nodes=True)


def test_the_cluster_with_fake_nodes_lies_beside_the_clones_other_one(places):
    real = Places(cache=places.cache, tree=places.tree)
    assert places.name == f"{real.name}-kwok"
    assert places.state != real.state


def test_kwok_stands_in_for_all_that_makes_a_node(places):
    names = {served.component.name for stage in node.stages(places, SLOT) for served in stage}
    assert names == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}


def test_kwok_is_built_for_those_who_ask_for_it_only(places, monkeypatch):
    asked = []
    monkeypatch.setattr(build, "_build", lambda _, pin: asked.append(pin.name))
    build.build_all(places)
    assert set(asked) == {pin.name for pin in PINS if not pin.on_demand}
    assert "kwok" not in asked
    asked.clear()
    build.build_all(places, fake_nodes.PROGRAMS)
    assert asked == ["kubernetes", "etcd", "pause", "kwok"]


def test_only_the_cluster_with_fake_nodes_has_an_identity_for_kwok():
    assert {one.name for one in pki.identities(SLOT, fake_nodes=True)} - {one.name for one in pki.identities(SLOT)} == {
        "kwok"
    }


def test_later_flags_of_the_controller_manager_win(places):
    managers = next(s for s in fake_nodes.stages(places, SLOT)[2] if s.component.name == "kube-controller-manager")
    periods = [flag for flag in managers.component.command if "autoscaler-sync-period" in flag]
    assert periods[-1] == "--horizontal-pod-autoscaler-sync-period=10m"


def test_the_control_planes_own_requests_are_not_in_the_audit_log(places):
    (api,) = fake_nodes.stages(places, SLOT)[1]
    (policy,) = api.component.files.values()
    assert [rule["level"] for rule in yaml.safe_load(policy)["rules"]] == ["None", "None", "Metadata"]


def test_more_stages_are_read_from_the_file_that_the_environment_names(places, tmp_path, monkeypatch):
    stage = "kind: Stage\nmetadata: {name: mine}\n"
    (tmp_path / "more.yaml").write_text(stage)
    monkeypatch.setenv(fake_nodes.MORE_STAGES, str(tmp_path / "more.yaml"))
    (text,) = fake_nodes.kwok(places, SLOT).component.files.values()
    assert [document["metadata"]["name"] for document in yaml.safe_load_all(text)] == [
        "devcluster",
        "node-ready",
        "pod-ready",
        "pod-complete",
        "pod-delete",
        "mine",
    ]


def test_a_file_of_stages_that_is_not_there_is_named(places, monkeypatch):
    monkeypatch.setenv(fake_nodes.MORE_STAGES, "/nowhere/stages.yaml")
    with pytest.raises(DevclusterError, match=r"DEVCLUSTER_KWOK_STAGES names /nowhere/stages\.yaml, which cannot be"):
        fake_nodes.kwok(places, SLOT)


def test_there_are_several_fake_nodes():
    items = json.loads(fake_nodes.nodes())["items"]
    assert len({item["metadata"]["name"] for item in items}) == fake_nodes.NODES


def test_the_environment_chooses_kwok(places, monkeypatch):
    monkeypatch.setenv("CLUSTER", "kwok")
    chosen = clusters.choose(Places(cache=places.cache, tree=places.tree))
    assert "CLUSTER=kwok" in chosen.status()[0]
