"""The real nodes of a cluster, and what each has for itself.

The first has the machine's wire, the control plane and the add-ons. A second (`NODES=2`) hangs behind it, with
namespaces, folders, addresses and a cgroup of its own; both see their folders under the same, usual paths.
"""

import os
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.places import Places
from devcluster.slots import Slot

NODES = "NODES"
FIRST_NAME = "keras-node"
MOST = 2


@dataclass(frozen=True)
class Node:
    """One node; `number` is 1 or 2."""

    places: Places
    number: int = 1

    def own(self, word: str) -> str:
        """The word, with the number of another node than the first behind it: two logs, two cgroups, two kubelets."""
        return word if self.number == 1 else f"{word}-{self.number}"

    @property
    def name(self) -> str:
        """Its name in Kubernetes."""
        return self.own(FIRST_NAME)

    @property
    def folder(self) -> Path:
        """Folders that it sees under standard paths such as /var/lib/kubelet."""
        return self.places.node.with_name(self.own(self.places.node.name))

    @property
    def cgroup(self) -> str:
        """The cgroup above all its pods."""
        return self.own(f"keras-devcluster-{self.places.name}")

    def address(self, slot: Slot) -> str:
        """Its own address."""
        return slot.node if self.number == 1 else slot.second_node

    def pods(self, slot: Slot) -> IPv4Network:
        """Addresses of its pods."""
        return slot.pods if self.number == 1 else slot.second_pods


def every(places: Places) -> list[Node]:
    """All nodes that there may be."""
    return [Node(places, number) for number in range(1, MOST + 1)]


def present(places: Places) -> list[Node]:
    """The first node, and those that have been started with it since the last `down`."""
    return [node for node in every(places) if node.number == 1 or node.folder.is_dir()]


def wanted() -> int:
    """How many nodes the environment asks for.

    Raises:
        DevclusterError: it asks for something else than 1 or 2.
    """
    value = os.environ.get(NODES) or "1"
    if value not in {str(number) for number in range(1, MOST + 1)}:
        raise DevclusterError(f"{NODES} is {value!r}, which is neither 1 nor {MOST}")
    return int(value)
