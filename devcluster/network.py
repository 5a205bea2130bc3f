"""The wire between the machine and the node, and the routes to pods and Services."""

import contextlib
from pathlib import Path

from devcluster.commands import run
from devcluster.errors import CommandFailedError
from devcluster.processes import Process
from devcluster.slots import Slot

NODE_INTERFACE = "eth0"
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


def refuse_pods(slot: Slot, enter: list[str]) -> None:
    """Refuse calls of pods and Services at once: those of fake nodes would else wait for an answer."""
    run([*enter, "ip", "route", "replace", "unreachable", str(slot.network)])


def disconnect(slot: Slot) -> None:
    """Remove the wire; its routes go with it. The kernel removes it too, some time after the node's last process."""
    if Path("/sys/class/net", slot.host_interface).exists():
        with contextlib.suppress(CommandFailedError):
            run(["ip", "link", "delete", slot.host_interface])
