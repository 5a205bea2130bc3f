"""The three kinds of cluster behind one set of commands: `CLUSTER` is `node` (default), `kind` or `existing`."""

import os
from pathlib import Path
from typing import Protocol

from devcluster.errors import DevclusterError
from devcluster.existing import ExistingCluster
from devcluster.images import Builder, Image
from devcluster.kind import KindCluster
from devcluster.node_cluster import NodeCluster
from devcluster.places import Places


class Cluster(Protocol):
    """What every kind of cluster can do. Each method raises DevclusterError with what to do."""

    def up(self) -> None:
        """Start it, or what of it is missing."""

    def down(self) -> None:
        """End it and remove every trace; fine where there is none."""

    def status(self) -> tuple[str, bool]:
        """Lines for people, and whether it can be used."""

    def logs(self, name: str | None) -> str:
        """A component's log, or without a name what logs there are."""

    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    def env(self) -> dict[str, str]:
        """Variables that tests and the demo read, by name."""

    def load(self, builder: Builder, images: list[Image]) -> None:
        """Bring images to where its pods find them."""


def choose(places: Places, wanted: str | None = None) -> Cluster:
    """The cluster that `wanted`, or else the variable CLUSTER, names.

    Raises:
        DevclusterError: the name is none of the three.
    """
    kind = wanted if wanted is not None else os.environ.get("CLUSTER", "node")
    match kind:
        case "node" | "":
            return NodeCluster(places)
        case "kind":
            return KindCluster(places)
        case "existing":
            return ExistingCluster()
    raise DevclusterError(f"CLUSTER is {kind!r}, which is none of node, kind, existing")
