import base64
import json

import pytest

from devcluster import addons, clusters, kubeconfig, namespaces, node, node_agents, nodes, pki
from devcluster.commands import run
from devcluster.errors import DevclusterError
from devcluster.node_agents import Machine
from devcluster.nodes import Node
from devcluster.places import Places
from devcluster.slots import Slot

SLOT = Slot(1)
OLD = Machine(cgroup_v1=True, may_lower_oom_score=False, cni_plugins=node_agents.CNI_FOLDERS[0])
NEW = Machine(cgroup_v1=False, may_lower_oom_score=True, cni_plugins=node_agents.CNI_FOLDERS[1])


@pytest.fixture
def places(tmp_path):
    return Places(cache=tmp_path / "cache", tree=tmp_path / "tree")


@pytest.fixture
def first(places):
    return Node(places)


@pytest.fixture
def second(places):
    return Node(places, 2)


def test_kubelet_accepts_cgroup_v1_only_where_the_machine_has_it(first):
    assert node_agents.kubelet_config(first, SLOT, OLD)["failCgroupV1"] is False
    assert "failCgroupV1" not in node_agents.kubelet_config(first, SLOT, NEW)


def test_oom_scores_are_left_alone_only_without_the_capability(first):
    assert "restrict_oom_score_adj = true" in node_agents.containerd_config(OLD)
    assert "restrict_oom_score_adj = false" in node_agents.containerd_config(NEW)
    assert node_agents.kubelet_config(first, SLOT, OLD)["oomScoreAdj"] == 0
    assert "oomScoreAdj" not in node_agents.kubelet_config(first, SLOT, NEW)


def test_pods_of_each_clone_have_a_cgroup_of_their_own(places, tmp_path):
    other = Places(cache=places.cache, tree=tmp_path / "other")
    both = [each for clone in (places, other) for each in nodes.every(clone)]
    assert len({node_agents.kubelet_config(each, SLOT, OLD)["cgroupRoot"] for each in both}) == 4


def test_pods_ask_the_dns_service_that_coredns_answers(places, first):
    assert node_agents.kubelet_config(first, SLOT, OLD)["clusterDNS"] == [SLOT.dns_service]
    assert f"bind {SLOT.node}" in addons.corefile(places.config / "coredns.kubeconfig", SLOT)


def test_the_node_asks_coredns_too(places):
    assert namespaces.resolver(SLOT) == f"nameserver {SLOT.node}\n"


@pytest.mark.parametrize("number", [1, 2])
def test_the_pod_network_hands_out_the_pods_of_the_node(places, number):
    one = Node(places, number)
    (network,) = (
        text for path, text in node_agents.containerd(one, SLOT, OLD).component.files.items() if path.suffix != ".toml"
    )
    bridge = json.loads(network)["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": str((SLOT.pods, SLOT.second_pods)[number - 1])}]]


def test_mounts_of_the_holder_come_before_it_holds(places, first):
    lines = namespaces.mount_script(first, "/bin/pause").splitlines()
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


def test_a_second_node_shares_nothing_that_is_the_first_ones(places, first, second):
    agents = [served.component for served in node.components(first, SLOT)]
    further = [served.component for served in node.components(second, SLOT)]
    assert {component.name for component in further} == {"containerd-2", "kubelet-2", "kube-proxy-2"}
    assert not {path for one in agents for path in one.files} & {path for one in further for path in one.files}
    script = namespaces.mount_script(second, "/bin/pause")
    assert str(second.folder) in script
    assert f"{first.folder}/" not in script


def test_a_second_node_answers_at_its_own_address_under_its_own_name(second):
    kubelet, proxy = (served for served in node.further_stages(second, SLOT)[1])
    assert kubelet.ready == f"http://{SLOT.second_node}:10248/healthz"
    assert proxy.ready == f"http://{SLOT.second_node}:10256/healthz"
    assert {"--hostname-override=keras-node-2", f"--node-ip={SLOT.second_node}"} <= set(kubelet.component.command)


def test_nodes_that_have_been_started_are_present(places, first, second):
    assert nodes.present(places) == [first]
    second.folder.mkdir(parents=True)
    assert nodes.present(places) == [first, second]


def test_further_kubelets_get_their_certificates_from_the_same_authority(places, second):
    pki.create(places, SLOT)
    before = {path.name: path.read_bytes() for path in places.pki.iterdir() if path.suffix != ".srl"}
    for _ in range(2):
        pki.add_kubelet(second, SLOT)
    added = {path.name for path in places.pki.iterdir() if path.suffix != ".srl"} - set(before)
    assert added == {"kubelet-2.crt", "kubelet-2.key"}
    assert all((places.pki / name).read_bytes() == content for name, content in before.items())
    said = run(
        [
            "openssl",
            "verify",
            "-CAfile",
            places.pki / "ca.crt",
            "-verify_ip",
            SLOT.second_node,
            places.pki / "kubelet-2.crt",
        ]
    )
    assert said.strip().endswith("OK")


@pytest.mark.parametrize("value", ["", "1", "2"])
def test_one_or_two_nodes_can_be_asked_for(monkeypatch, value):
    monkeypatch.setenv(nodes.NODES, value)
    assert nodes.wanted() == int(value or 1)


@pytest.mark.parametrize("value", ["0", "3", "two"])
def test_another_number_of_nodes_is_refused(monkeypatch, places, value):
    monkeypatch.setenv(nodes.NODES, value)
    with pytest.raises(DevclusterError, match=f"NODES is '{value}', which is neither 1 nor 2"):
        clusters.choose(places, "node")


def test_a_cluster_of_another_kind_has_no_second_node(monkeypatch, places):
    monkeypatch.setenv(nodes.NODES, "2")
    with pytest.raises(DevclusterError, match="leave it out with CLUSTER=kwok"):
        clusters.choose(places, "kwok")
