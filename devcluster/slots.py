"""Which addresses a cluster uses.

All come from 198.18.0.0/15, the block reserved for benchmarks (RFC 2544), so nothing on the machine's real networks is
hidden. The block is cut into eight slots, one for each clone that runs a cluster at the same time.
"""

import ipaddress
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.places import Places, locked, write_atomically

BLOCK = ipaddress.IPv4Network("198.18.0.0/15")
# /18: 8,190 Services fit (an object a model in the largest benchmark), beside 4,094 pods.
SLOT_PREFIX = 18
COUNT = 2 ** (SLOT_PREFIX - BLOCK.prefixlen)
MACHINE_LOCK = Path("/run/lock/keras-operator-devcluster.lock")


@dataclass(frozen=True)
class Slot:
    """One share of the block; every address and interface name follows from its number."""

    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < COUNT:
            raise ValueError(f"slot {self.number} is not in 0..{COUNT - 1}")

    @property
    def network(self) -> ipaddress.IPv4Network:
        """All addresses of the slot."""
        return list(BLOCK.subnets(new_prefix=SLOT_PREFIX))[self.number]

    def _part(self, offset: int, prefix: int) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network((int(self.network.network_address) + offset, prefix))

    @property
    def link(self) -> ipaddress.IPv4Network:
        """The wire between the machine and the node."""
        return self._part(0, 30)

    @property
    def host(self) -> str:
        """The machine's end of the wire."""
        return str(self.link[1])

    @property
    def node(self) -> str:
        """The node's address: API server, MinIO and kubelet listen on it."""
        return str(self.link[2])

    @property
    def second_link(self) -> ipaddress.IPv4Network:
        """The wire between the node and a second one."""
        return self._part(4, 30)

    @property
    def second_gateway(self) -> str:
        """The first node's end of that wire."""
        return str(self.second_link[1])

    @property
    def second_node(self) -> str:
        """The second node's address."""
        return str(self.second_link[2])

    @property
    def second_pods(self) -> ipaddress.IPv4Network:
        """Addresses of pods on the second node."""
        return self._part(8 * 256, 21)

    @property
    def pods(self) -> ipaddress.IPv4Network:
        """Addresses of pods on the first node."""
        return self._part(16 * 256, 20)

    @property
    def services(self) -> ipaddress.IPv4Network:
        """Cluster addresses of Services."""
        return self._part(32 * 256, 19)

    @property
    def api_service(self) -> str:
        """The Service `kubernetes`, which the API server places first in the range."""
        return str(self.services[1])

    @property
    def dns_service(self) -> str:
        """The Service `kube-dns`."""
        return str(self.services[10])

    @property
    def host_interface(self) -> str:
        """The name of the machine's end of the wire."""
        return f"ko{self.number}"


def choose(claimed: Collection[int]) -> Slot:
    """The lowest slot that nobody claims.

    Raises:
        DevclusterError: all are claimed.
    """
    for number in range(COUNT):
        if number not in claimed:
            return Slot(number)
    raise DevclusterError(
        f"all {COUNT} address slots of {BLOCK} are taken by other clones' clusters; "
        "run `make cluster-down` in a clone that is done"
    )


def routed(routes_json: str) -> set[int]:
    """The slots that the machine's routing table already leads somewhere (`ip -json route`), whoever set that up."""
    found = set()
    for route in json.loads(routes_json or "[]"):
        destination = route.get("dst", "default")
        if destination == "default":
            continue
        network = ipaddress.ip_network(destination, strict=False)
        found |= {number for number in range(COUNT) if Slot(number).network.overlaps(network)}
    return found


def recorded(state: Path) -> Slot | None:
    """The slot that a state folder has claimed, None where it has not."""
    record = state / "slot"
    return Slot(int(record.read_text())) if record.is_file() else None


def claim(places: Places, routes_json: str) -> Slot:
    """The slot of this clone: the recorded one, or a free one that is then recorded.

    Raises:
        DevclusterError: no slot is free.
    """
    with locked(MACHINE_LOCK):
        own = recorded(places.state)
        if own is not None:
            return own
        states = (places.cache / "clusters").glob("*")
        claims = {slot.number for slot in map(recorded, states) if slot is not None}
        slot = choose(claims | routed(routes_json))
        write_atomically(places.state / "slot", f"{slot.number}\n")
        return slot
