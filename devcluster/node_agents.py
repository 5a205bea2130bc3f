"""Configuration of what makes the machine a node: containerd, the pod network, kubelet and kube-proxy."""

import json
import shutil
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from devcluster import cgroups
from devcluster.build import binary
from devcluster.control_plane import Served
from devcluster.nodes import Node
from devcluster.oci import PAUSE_IMAGE
from devcluster.processes import Component
from devcluster.slots import Slot

CAP_SYS_RESOURCE = 24
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


@dataclass(frozen=True)
class Machine:
    """What differs between machines."""

    cgroup_v1: bool
    may_lower_oom_score: bool
    cni_plugins: Path


def inspect_machine() -> Machine:
    """Look at the machine that this runs on."""
    status = Path("/proc/self/status").read_text()
    capabilities = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    folder = next((folder for folder in CNI_FOLDERS if (folder / "bridge").is_file()), CNI_FOLDERS[0])
    return Machine(
        cgroup_v1=not cgroups.unified(),
        may_lower_oom_score=bool(int(capabilities, 16) >> CAP_SYS_RESOURCE & 1),
        cni_plugins=folder,
    )


def containerd_config(machine: Machine) -> str:
    """containerd's TOML. Without CAP_SYS_RESOURCE no sandbox starts unless the OOM score is left alone."""
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = {"false" if machine.may_lower_oom_score else "true"}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{machine.cni_plugins}"
    conf_dir = "/etc/cni/net.d"
"""


def pod_network(pods: IPv4Network) -> str:
    """The CNI configuration: one bridge, the node's own addresses, no masquerading, as nothing leaves the machine."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap]}, indent=2) + "\n"


def containerd(node: Node, slot: Slot, machine: Machine) -> Served:
    """The container runtime."""
    config = node.places.config / f"{node.own('containerd')}.toml"
    files = {
        config: containerd_config(machine),
        node.folder / "cni-config" / "10-pods.conflist": pod_network(node.pods(slot)),
    }
    program = shutil.which("containerd") or "containerd"
    component = Component(node.own("containerd"), (program, "--config", str(config)), files)
    return Served(component, f"unix://{CONTAINERD_SOCKET}")


def kubelet_config(node: Node, slot: Slot, machine: Machine) -> dict[str, object]:
    """KubeletConfiguration: intervals that fit tests, evictions only when the machine is really full."""
    pki = node.places.pki
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/{node.own('kubelet')}.crt",
        "tlsPrivateKeyFile": f"{pki}/{node.own('kubelet')}.key",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        # Clusters of other clones on this machine have pods too.
        "cgroupRoot": f"/{node.cgroup}",
        "clusterDNS": [slot.dns_service],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "healthzBindAddress": node.address(slot),
        "failSwapOn": False,
        "maxPods": 110,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "8760h",
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "serializeImagePulls": False,
    }
    if machine.cgroup_v1:
        config["failCgroupV1"] = False
    if not machine.may_lower_oom_score:
        config["oomScoreAdj"] = 0
    return config


def kubelet(node: Node, slot: Slot, machine: Machine) -> Served:
    """The agent that runs pods."""
    name, address = node.own("kubelet"), node.address(slot)
    config = node.places.config / f"{name}.json"
    command = (
        str(binary(node.places, "kubelet")),
        f"--config={config}",
        f"--kubeconfig={node.places.config}/{name}.kubeconfig",
        f"--hostname-override={node.name}",
        f"--node-ip={address}",
    )
    files = {config: json.dumps(kubelet_config(node, slot, machine), indent=2) + "\n"}
    return Served(Component(name, command, files), f"http://{address}:10248/healthz")


def kube_proxy(node: Node, slot: Slot, machine: Machine) -> Served:
    """Services, by iptables inside the node."""
    name, address = node.own("kube-proxy"), node.address(slot)
    path = node.places.config / f"{name}.json"
    config: dict[str, object] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{node.places.config}/proxy.kubeconfig"},
        "mode": "iptables",
        # Whose requests to Services keep their address: the node sees those of its own pods only.
        "clusterCIDR": str(node.pods(slot)),
        "hostnameOverride": node.name,
        "healthzBindAddress": f"{address}:10256",
        # The connection table is the machine's: leave its size alone.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "iptables": {"minSyncPeriod": "100ms"},
    }
    if not machine.may_lower_oom_score:
        config["oomScoreAdj"] = 0
    files = {path: json.dumps(config, indent=2) + "\n"}
    component = Component(name, (str(binary(node.places, "kube-proxy")), f"--config={path}"), files)
    return Served(component, f"http://{address}:10256/healthz")
