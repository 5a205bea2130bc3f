"""The commands on the cluster that this package runs itself."""

from pathlib import Path

from devcluster import node, node_images, nodes
from devcluster.addons import S3_ACCESS_KEY, S3_SECRET_KEY, s3_endpoint
from devcluster.build import binary
from devcluster.errors import DevclusterError
from devcluster.images import Builder, Image
from devcluster.places import Places
from devcluster.processes import log_path, tail
from devcluster.slots import Slot, recorded


class NodeCluster:
    """A control plane and one node, or two, inside namespaces of this machine."""

    start_with = "make cluster"

    def __init__(self, places: Places) -> None:
        self._places = places

    def up(self) -> None:
        """Start it, or what of it is missing."""
        node.up(self._places)

    def down(self) -> None:
        """End it and remove what it wrote."""
        node.down(self._places)

    def status(self) -> tuple[str, bool]:
        """A table of its processes and its addresses."""
        lines = node.status(self._places)
        if not lines:
            return f"no cluster of this clone is running; `{self.start_with}` starts one", False
        table = [f"{'COMPONENT':<26}{'STATE':<10}{'PID':>7}{'MiB':>6}"]
        for line in lines:
            state = "ready" if line.ready else "not ready" if line.pid else "not running"
            table.append(f"{line.name:<26}{state:<10}{line.pid or '-':>7}{line.memory_mib or '-':>6}")
        ready = node.node_ready(self._places) and all(line.ready for line in lines)
        slot = self._slot()
        table += [
            readiness(len(nodes.present(self._places)), ready=ready),
            f"API server  https://{slot.node}:6443   pods {slot.pods}   Services {slot.services}",
            *self._further_nodes(slot),
            *self._services(slot),
            f"state       {self._places.state}",
        ]
        return "\n".join(table), ready

    def _further_nodes(self, slot: Slot) -> list[str]:
        further = nodes.present(self._places)[1:]
        return [f"{one.name}   {one.address(slot)}   pods {one.pods(slot)}" for one in further]

    def _services(self, slot: Slot) -> list[str]:
        return [f"S3          {s3_endpoint(slot)}   in pods also http://minio.minio.svc:9000"]

    def logs(self, name: str | None) -> str:
        """A component's log, or the last lines of all."""
        names = sorted(path.stem for path in self._places.logs.glob("*.log"))
        if name is None:
            return "\n\n".join(f"==> {log_path(self._places, each)}\n{tail(self._places, each, 5)}" for each in names)
        if name not in names:
            raise DevclusterError(f"there is no log {name!r}; there are: {', '.join(names) or 'none'}")
        return log_path(self._places, name).read_text(errors="replace")

    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        self._slot()
        return self._places.kubeconfig

    def env(self) -> dict[str, str]:
        """Where everything is; the first words of PATH bring the kubectl that belongs to the cluster."""
        return {
            "KUBECONFIG": str(self.kubeconfig()),
            **self._object_storage(),
            "DEVCLUSTER_AUDIT_LOG": str(self._places.audit_log),
            "DEVCLUSTER_BIN": str(binary(self._places, "kubectl").parent),
        }

    def _object_storage(self) -> dict[str, str]:
        return {
            "DEVCLUSTER_S3_ENDPOINT": s3_endpoint(self._slot()),
            "DEVCLUSTER_S3_ACCESS_KEY": S3_ACCESS_KEY,
            "DEVCLUSTER_S3_SECRET_KEY": S3_SECRET_KEY,
        }

    def load(self, builder: Builder, images: list[Image]) -> None:
        """Bring images into each node's containerd."""
        node_images.load(self._places, builder, images)

    def _slot(self) -> Slot:
        slot = recorded(self._places.state)
        if slot is None:
            raise DevclusterError(f"no cluster of this clone is running; `{self.start_with}` starts one")
        return slot


class FakeNodesCluster(NodeCluster):
    """A control plane whose nodes and pods kwok plays; beside the clone's real node, with a state of its own."""

    start_with = "CLUSTER=kwok make cluster"

    def load(self, builder: Builder, images: list[Image]) -> None:
        """Nothing runs on fake nodes, so no image is needed on them."""

    def _services(self, slot: Slot) -> list[str]:
        return []

    def _object_storage(self) -> dict[str, str]:
        return {}


def readiness(count: int, *, ready: bool) -> str:
    """Whether all of so many nodes are ready, in words."""
    if count == 1:
        return f"node is {'Ready' if ready else 'not ready'}"
    return "all nodes are Ready" if ready else "not all nodes are ready"
