"""The wire between the machine and the node, and the routes to pods and Services."""

import contextlib
from pathlib import Path

from devcluster.commands import run
from devcluster.errors import CommandFailedError
from devcluster.processes import Process
from devcluster.slots import Slot

NODE_INTERFACE = "eth0"
SECOND_INTERFACE = "eth1"  # the first node's end of the wire to a second one
NODE_SYSCTLS = (
    "net.ipv4.ip_forward=1",
    # A pod that reaches itself or a neighbour through a Service comes back over the bridge: let iptables see it.
    "net.bridge.bridge-nf-call-iptables=1",
)
KERNEL_MODULES = ("overlay", "br_netfilter")


def load_modules() -> None:
    """Load what may be a module; where it is built in, or the load is refused, the next steps show it."""
    for module in KERNEL_MODULES:
        with contextlib.suppress(CommandFailedError):
            run(["modprobe", module])


def routes() -> str:
    """The machine's routing table as JSON."""
    return run(["ip", "-json", "-4", "route", "show"])


def connect(slot: Slot, holder: Process, enter: list[str]) -> None:
    """Wire the node up; each step leaves what is right as it is."""
    if not Path("/sys/class/net", slot.host_interface).exists():
        pair = ["ip", "link", "add", slot.host_interface, "type", "veth", "peer", "name", NODE_INTERFACE]
        run([*pair, "netns", str(holder.pid)])
    length = slot.link.prefixlen
    run(["ip", "addr", "replace", f"{slot.host}/{length}", "dev", slot.host_interface])
    run(["ip", "link", "set", slot.host_interface, "up"])
    run([*enter, "ip", "addr", "replace", f"{slot.node}/{length}", "dev", NODE_INTERFACE])
    for interface in ("lo", NODE_INTERFACE):
        run([*enter, "ip", "link", "set", interface, "up"])
    run([*enter, "ip", "route", "replace", "default", "via", slot.host])
    for network in (slot.pods, slot.services):
        run(["ip", "route", "replace", str(network), "via", slot.node])
    run([*enter, "sysctl", "-q", "-w", *NODE_SYSCTLS])
    _drop_lost(slot, enter)


def join(slot: Slot, first: Process, second: Process, enter: list[str]) -> None:
    """Wire a second node up behind the first one; each step leaves what is right as it is.

    Args:
        slot: of both.
        first: the first node's holder.
        second: the second node's.
        enter: the command that goes into the second node.
    """
    if not _has(first, SECOND_INTERFACE):
        pair = ["ip", "link", "add", SECOND_INTERFACE, "type", "veth", "peer", "name", NODE_INTERFACE]
        run([*_network_of(first), *pair, "netns", str(second.pid)])
    length = slot.second_link.prefixlen
    ends = (
        (_network_of(first), SECOND_INTERFACE, slot.second_gateway),
        (_network_of(second), NODE_INTERFACE, slot.second_node),
    )
    for inside, interface, address in ends:
        run([*inside, "ip", "addr", "replace", f"{address}/{length}", "dev", interface])
        run([*inside, "ip", "link", "set", interface, "up"])
    run([*_network_of(second), "ip", "link", "set", "lo", "up"])
    run([*_network_of(second), "ip", "route", "replace", "default", "via", slot.second_gateway])
    run([*_network_of(first), "ip", "route", "replace", str(slot.second_pods), "via", slot.second_node])
    for network in (slot.second_link, slot.second_pods):
        run(["ip", "route", "replace", str(network), "via", slot.node])
    run([*enter, "sysctl", "-q", "-w", *NODE_SYSCTLS])
    _drop_lost(slot, enter)


def _drop_lost(slot: Slot, enter: list[str]) -> None:
    """Drop what goes to a Service and has not been led to a pod; kube-proxy's own rules come before this one.

    kube-proxy commits its tables one after the other. What passes between "there is no pod, refuse" and "there is one"
    would leave the node by its default route; and as the kernel remembers where a connection goes, its client would ask
    there until it gives up, however soon there is a pod. What is dropped is not remembered: the next try is led to it.
    """
    rule = ["FORWARD", "--destination", str(slot.services), "--jump", "DROP"]
    try:
        run([*enter, "iptables", "--wait", "--check", *rule])
    except CommandFailedError:
        run([*enter, "iptables", "--wait", "--append", *rule])


def part(first: Process) -> None:
    """Remove the wire to a second node that has ended; the kernel removes it too, some time later."""
    if _has(first, SECOND_INTERFACE):
        with contextlib.suppress(CommandFailedError):
            run([*_network_of(first), "ip", "link", "delete", SECOND_INTERFACE])


def _network_of(holder: Process) -> list[str]:
    # Not the pid namespace: `netns PID` means a process as this program sees it.
    return ["nsenter", "--target", str(holder.pid), "--net"]


def _has(holder: Process, interface: str) -> bool:
    lines = Path(f"/proc/{holder.pid}/net/dev").read_text().splitlines()
    return any(line.strip().startswith(f"{interface}:") for line in lines)


def refuse_pods(slot: Slot, enter: list[str]) -> None:
    """Refuse calls of pods and Services at once: those of fake nodes would else wait for an answer."""
    run([*enter, "ip", "route", "replace", "unreachable", str(slot.network)])


def disconnect(slot: Slot) -> None:
    """Remove the wire; its routes go with it. The kernel removes it too, some time after the node's last process."""
    if Path("/sys/class/net", slot.host_interface).exists():
        with contextlib.suppress(CommandFailedError):
            run(["ip", "link", "delete", slot.host_interface])
