"""The kinds of cluster behind one set of commands: `CLUSTER` is `node` (default), `kwok`, `kind` or `existing`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from devcluster import nodes
from devcluster.errors import DevclusterError
from devcluster.existing import ExistingCluster
from devcluster.images import Builder, Image
from devcluster.kind import KindCluster
from devcluster.node_cluster import FakeNodesCluster, NodeCluster
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
        DevclusterError: the name is none of the four, or NODES asks for what that kind does not have.
    """
    kind = wanted if wanted is not None else os.environ.get("CLUSTER", "node")
    if nodes.wanted() > 1 and kind not in {"node", ""}:
        raise DevclusterError(f"{nodes.NODES} is for the cluster of real nodes: leave it out with CLUSTER={kind}")
    match kind:
        case "node" | "":
            return NodeCluster(places)
        case "kwok":
            return FakeNodesCluster(replace(places, fake_nodes=True))
        case "kind":
            return KindCluster(places)
        case "existing":
            return ExistingCluster()
    raise DevclusterError(f"CLUSTER is {kind!r}, which is none of node, kwok, kind, existing")
