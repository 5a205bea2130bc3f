import base64
import json

import pytest

from devcluster import addons, kubeconfig, namespaces, node, node_agents, pki
from devcluster.node_agents import Machine
from devcluster.places import Places
from devcluster.slots import Slot

SLOT = Slot(1)
OLD = Machine(cgroup_v1=True, may_lower_oom_score=False, cni_plugins=node_agents.CNI_FOLDERS[0])
NEW = Machine(cgroup_v1=False, may_lower_oom_score=True, cni_plugins=node_agents.CNI_FOLDERS[1])


@pytest.fixture
def places(tmp_path):
    return Places(cache=tmp_path / "cache", tree=tmp_path / "tree")


def test_kubelet_accepts_cgroup_v1_only_where_the_machine_has_it(places):
    assert node_agents.kubelet_config(places, SLOT, OLD)["failCgroupV1"] is False
    assert "failCgroupV1" not in node_agents.kubelet_config(places, SLOT, NEW)


def test_oom_scores_are_left_alone_only_without_the_capability(places):
    assert "restrict_oom_score_adj = true" in node_agents.containerd_config(OLD)
    assert "restrict_oom_score_adj = false" in node_agents.containerd_config(NEW)
    assert node_agents.kubelet_config(places, SLOT, OLD)["oomScoreAdj"] == 0
    assert "oomScoreAdj" not in node_agents.kubelet_config(places, SLOT, NEW)


def test_pods_of_each_clone_have_a_cgroup_of_their_own(places, tmp_path):
    other = Places(cache=places.cache, tree=tmp_path / "other")
    roots = {node_agents.kubelet_config(each, SLOT, OLD)["cgroupRoot"] for each in (places, other)}
    assert len(roots) == 2


def test_pods_ask_the_dns_service_that_coredns_answers(places):
    assert node_agents.kubelet_config(places, SLOT, OLD)["clusterDNS"] == [SLOT.dns_service]
    assert f"bind {SLOT.node}" in addons.corefile(places.config / "coredns.kubeconfig", SLOT)


def test_the_node_asks_coredns_too(places):
    assert namespaces.resolver(SLOT) == f"nameserver {SLOT.node}\n"


def test_the_pod_network_hands_out_the_pods_of_the_slot():
    bridge = json.loads(node_agents.pod_network(SLOT))["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": str(SLOT.pods)}]]


def test_mounts_of_the_holder_come_before_it_holds(places):
    lines = namespaces.mount_script(places, "/bin/pause").splitlines()
    assert lines[0] == "set -e"
    assert lines[-2:] == ["mount --make-rshared /", "exec /bin/pause"]
    assert f"mount --bind {places.node}/kubelet /var/lib/kubelet" in lines


def test_addons_are_rendered_with_the_addresses_of_the_slot(places):
    places.pki.mkdir(parents=True)
    (places.pki / "ca.crt").write_bytes(b"authority")
    text = addons.render(places, SLOT)
    assert "$" not in text
    assert f"clusterIP: {SLOT.dns_service}" in text
    assert f"addresses: [{SLOT.node}]" in text
    assert base64.b64encode(b"authority").decode() in text


def test_the_kubeconfig_holds_everything():
    text = kubeconfig.render("https://1.2.3.4:6443", b"ca", b"certificate", b"key")
    document = json.loads(text)
    assert document["clusters"][0]["cluster"]["server"] == "https://1.2.3.4:6443"
    assert base64.b64decode(document["users"][0]["user"]["client-key-data"]) == b"key"


def test_the_api_server_answers_to_its_addresses():
    (api,) = (identity for identity in pki.identities(SLOT) if identity.name == "apiserver")
    assert {f"IP:{SLOT.node}", f"IP:{SLOT.api_service}", "DNS:kubernetes.default.svc"} <= set(api.names)


def test_components_start_storage_first_and_agents_last(places):
    storage, api, agents = node.stages(places, SLOT)
    assert [served.component.name for served in storage] == ["etcd", "containerd", "minio"]
    assert [served.component.name for served in api] == ["kube-apiserver"]
    assert {"kubelet", "kube-proxy", "coredns"} <= {served.component.name for served in agents}


def test_the_audit_log_is_where_env_says(places):
    (api,) = node.stages(places, SLOT)[1]
    assert f"--audit-log-path={places.audit_log}" in api.component.command
