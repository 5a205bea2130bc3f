"""Nodes and pods that kwok plays: what runs in place of containerd, kubelet and the add-ons.

Pods become Ready and Jobs end as soon as kwok sees them, without a container. `manifests/kwok.yaml` says how: a Job's
pod of a model's run ends with the termination message of a run that went well. `DEVCLUSTER_KWOK_STAGES` names a file
with more Stages (https://kwok.sigs.k8s.io/docs/user/stages-configuration/); one with a `weight` goes before those.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from devcluster.build import binary
from devcluster.control_plane import AUDIT_POLICY, Served, api_server, controller_manager, etcd, scheduler
from devcluster.errors import DevclusterError
from devcluster.places import Places
from devcluster.processes import Component
from devcluster.slots import Slot

PROGRAMS = ("kubernetes", "etcd", "pause", "kwok")
STAGES = Path(__file__).parent / "manifests" / "kwok.yaml"
MORE_STAGES = "DEVCLUSTER_KWOK_STAGES"
NODES = 10
PORT = 10247
READY_SECONDS = 60

# Who the control plane itself is: at thousands of pods its own requests would be most of the log.
_CONTROL_PLANE = """\
- level: None
  users: [kwok, "system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
"""
_CLIENT_LIMITS = ("--kube-api-qps=1000", "--kube-api-burst=2000")


def stages(places: Places, slot: Slot) -> tuple[tuple[Served, ...], ...]:
    """All components in the order in which they start."""
    audit_policy = AUDIT_POLICY.replace("rules:\n", f"rules:\n{_CONTROL_PLANE}")
    managers = controller_manager(
        places,
        slot,
        *_CLIENT_LIMITS,
        # A machine that is full delays heartbeats: a fake node must not be given up for that, with all its pods.
        "--node-monitor-grace-period=20m",
        # There are no metrics here, and thousands of autoscalers that look for some keep two cores busy.
        "--horizontal-pod-autoscaler-sync-period=10m",
    )
    return (
        (etcd(places, slot),),
        (api_server(places, slot, audit_policy),),
        (managers, scheduler(places, slot, *_CLIENT_LIMITS), kwok(places, slot)),
    )


def configuration(slot: Slot, more: str = "") -> str:
    """kwok's configuration: its options, the Stages of this project, and more of them."""
    options = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "metadata": {"name": "devcluster"},
        "options": {
            "manageAllNodes": True,
            "cidr": str(slot.pods),
            "nodeIP": slot.node,
            "serverAddress": f"{slot.node}:{PORT}",
            "nodePlayStageParallelism": 4,
            "nodeLeaseDurationSeconds": 40,
            "nodeLeaseParallelism": 4,
            "podPlayStageParallelism": 8,
            "podsOnNodeSyncParallelism": 1,
        },
    }
    return "\n---\n".join(part for part in (json.dumps(options, indent=2), STAGES.read_text(), more) if part)


def kwok(places: Places, slot: Slot) -> Served:
    """The player of nodes and pods.

    Raises:
        DevclusterError: the file with more Stages cannot be read.
    """
    path = places.config / "kwok.yaml"
    command = (
        str(binary(places, "kwok")),
        f"--kubeconfig={places.config}/kwok.kubeconfig",
        f"--config={path}",
    )
    files = {path: configuration(slot, _more_stages())}
    return Served(Component("kwok", command, files), f"http://{slot.node}:{PORT}/healthz")


def _more_stages() -> str:
    name = os.environ.get(MORE_STAGES)
    if not name:
        return ""
    try:
        return Path(name).read_text()
    except OSError as error:
        raise DevclusterError(f"{MORE_STAGES} names {name}, which cannot be read: {error.strerror}") from error


def nodes() -> str:
    """The fake nodes as a list of manifests in JSON; kwok gives them room for any number of pods."""
    items = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"kwok-{number}",
                "labels": {"kubernetes.io/hostname": f"kwok-{number}", "type": "kwok"},
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
        }
        for number in range(NODES)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def apply(places: Places, kubectl: Callable[..., str]) -> None:
    """Make the fake nodes and wait until pods can run on them.

    Args:
        places: of this cluster.
        kubectl: runs kubectl on it as the administrator.

    Raises:
        CommandFailedError: they did not become Ready.
    """
    path = places.config / "nodes.json"
    path.write_text(nodes())
    wait = f"--timeout={READY_SECONDS}s"
    kubectl(places, "apply", "--server-side", "--force-conflicts", "-f", str(path))
    kubectl(places, "wait", "--for=condition=Ready", "nodes", "-l", "type=kwok", wait)
    kubectl(places, "wait", "--for=create", "serviceaccount/default", "-n", "default", wait)
