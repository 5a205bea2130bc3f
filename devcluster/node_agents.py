"""Configuration of what makes the machine a node: containerd, the pod network, kubelet and kube-proxy."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster import cgroups
from devcluster.build import binary
from devcluster.control_plane import Served
from devcluster.oci import PAUSE_IMAGE
from devcluster.pki import NODE_NAME
from devcluster.places import Places
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


def pod_network(slot: Slot) -> str:
    """The CNI configuration: one bridge, addresses from the slot, no masquerading, as nothing leaves the machine."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(slot.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap]}, indent=2) + "\n"


def containerd(places: Places, slot: Slot, machine: Machine) -> Served:
    """The container runtime."""
    config = places.config / "containerd.toml"
    files = {
        config: containerd_config(machine),
        places.node / "cni-config" / "10-pods.conflist": pod_network(slot),
    }
    program = shutil.which("containerd") or "containerd"
    return Served(Component("containerd", (program, "--config", str(config)), files), f"unix://{CONTAINERD_SOCKET}")


def kubelet_config(places: Places, slot: Slot, machine: Machine) -> dict[str, object]:
    """KubeletConfiguration: intervals that fit tests, evictions only when the machine is really full."""
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{places.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{places.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{places.pki}/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        # Clusters of other clones on this machine have pods too.
        "cgroupRoot": f"/{cgroup_name(places)}",
        "clusterDNS": [slot.dns_service],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "healthzBindAddress": slot.node,
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


def kubelet(places: Places, slot: Slot, machine: Machine) -> Served:
    """The agent that runs pods."""
    config = places.config / "kubelet.json"
    command = (
        str(binary(places, "kubelet")),
        f"--config={config}",
        f"--kubeconfig={places.config}/kubelet.kubeconfig",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={slot.node}",
    )
    files = {config: json.dumps(kubelet_config(places, slot, machine), indent=2) + "\n"}
    return Served(Component("kubelet", command, files), f"http://{slot.node}:10248/healthz")


def kube_proxy(places: Places, slot: Slot, machine: Machine) -> Served:
    """Services, by iptables inside the node."""
    path = places.config / "kube-proxy.json"
    config: dict[str, object] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{places.config}/proxy.kubeconfig"},
        "mode": "iptables",
        "clusterCIDR": str(slot.pods),
        "hostnameOverride": NODE_NAME,
        "healthzBindAddress": f"{slot.node}:10256",
        # The connection table is the machine's: leave its size alone.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "iptables": {"minSyncPeriod": "100ms"},
    }
    if not machine.may_lower_oom_score:
        config["oomScoreAdj"] = 0
    files = {path: json.dumps(config, indent=2) + "\n"}
    component = Component("kube-proxy", (str(binary(places, "kube-proxy")), f"--config={path}"), files)
    return Served(component, f"http://{slot.node}:10256/healthz")


def cgroup_name(places: Places) -> str:
    """The cgroup above all pods of this cluster."""
    return f"keras-devcluster-{places.name}"
