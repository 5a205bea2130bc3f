"""A node: one process that holds a network, a pid and a mount namespace.

Everything of the cluster runs inside. When the holder ends, the kernel ends every process in its pid namespace, and the
mounts and interfaces go with the last of them: so nothing can be left behind, however the cluster ends. The mount
namespace also lets each node have its own /var/lib/kubelet, /run/containerd and so on, under their usual names.

A second node's pid namespace lies inside the first one's, so that it ends with that, too.
"""

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

from devcluster.build import binary
from devcluster.errors import NotReadyError
from devcluster.nodes import Node
from devcluster.places import Places, write_atomically
from devcluster.processes import Process, alive, environment, log_path, of_cluster, tail, until
from devcluster.slots import Slot

HOLDER = "node"
START_SECONDS = 10.0
KILL_SECONDS = 15.0

# Path inside the node: folder in the state. Kubelet, containerd and the CNI plug-ins have these paths built in.
PERSISTENT = {
    "/var/lib/kubelet": "kubelet",
    "/var/lib/containerd": "containerd",
    "/var/lib/cni": "cni",
    "/etc/cni/net.d": "cni-config",
    "/var/log/pods": "pod-logs",
    "/var/log/containers": "container-logs",
}
# What describes running processes must not outlive them.
VOLATILE = ("/run/containerd", "/run/netns")


def resolver(slot: Slot) -> str:
    """The node's resolv.conf. The node has no way out: CoreDNS denies every foreign name at once, so that pulling an
    image that was not loaded fails in milliseconds and not after a time-out.
    """
    return f"nameserver {slot.node}\n"


def mount_script(node: Node, pause: str) -> str:
    """What the holder does before it holds: mounts of its own, which all processes inside share."""
    lines = ["set -e", "mount -t proc proc /proc"]
    lines += [f"mount --bind {shlex.quote(str(_resolver_path(node.places)))} /etc/resolv.conf"]
    for target, source in PERSISTENT.items():
        lines += [
            f"mkdir -p {target} {shlex.quote(str(node.folder / source))}",
            f"mount --bind {shlex.quote(str(node.folder / source))} {target}",
        ]
    lines += [f"mkdir -p {target} && mount -t tmpfs tmpfs {target}" for target in VOLATILE]
    # Kubelet and containerd see each other's mounts (secrets, volumes); the machine sees none of them.
    lines += ["mount --make-rshared /", f"exec {shlex.quote(pause)}"]
    return "\n".join(lines)


def _resolver_path(places: Places) -> Path:
    return places.config / "resolv.conf"


def find_holder(node: Node) -> Process | None:
    """The process that holds the node, None where there is none or it has not finished its mounts."""
    name, running = node.own(HOLDER), of_cluster(node.places.name)
    found = (p for p in running if p.name == name and p.innermost_pid == 1 and p.program == "pause")
    return next(found, None)


def start_holder(node: Node, slot: Slot, first: Process | None = None) -> Process:
    """Make the namespaces; those of a second node inside the pid namespace of the first one's holder.

    Raises:
        NotReadyError: the machine does not let this user make them.
    """
    places, name = node.places, node.own(HOLDER)
    places.logs.mkdir(parents=True, exist_ok=True)
    write_atomically(_resolver_path(places), resolver(slot))
    script = mount_script(node, str(binary(places, "pause")))
    within = ["nsenter", "--target", str(first.pid), "--pid"] if first else []
    command = [*within, "setsid", "--fork", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    with log_path(places, name).open("wb") as log:
        subprocess.run(
            [*command, "sh", "-c", script],
            env=environment(places, name, {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )
    if not until(lambda: find_holder(node) is not None, START_SECONDS):
        raise NotReadyError(f"the node's namespaces could not be made:\n{tail(places, name, 12)}")
    holder = find_holder(node)
    if holder is None:
        raise NotReadyError(f"the node's first process ended:\n{tail(places, name, 12)}")
    return holder


def enter(holder: Process) -> list[str]:
    """The command that runs what follows it inside the node. (`ip netns exec` remounts /sys: the cgroups vanish.)"""
    return ["nsenter", "--target", str(holder.pid), "--mount", "--net", "--pid"]


def kill_all(places: Places) -> None:
    """End every process of the cluster, pods included.

    Raises:
        NotReadyError: some do not end (they hang in the kernel).
    """
    for process in of_cluster(places.name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    if not until(lambda: not of_cluster(places.name), KILL_SECONDS):
        left = ", ".join(f"{process.pid} ({process.program})" for process in of_cluster(places.name) if alive(process))
        raise NotReadyError(f"these processes do not end: {left}; they wait in the kernel, try `down` again later")
