"""A kind cluster, where a Docker engine and `kind` are at hand."""

import shutil
import subprocess
from pathlib import Path

from devcluster.addons import MANIFESTS, S3_ACCESS_KEY, S3_SECRET_KEY
from devcluster.commands import run, run_visibly
from devcluster.errors import DevclusterError, MissingPreconditionError
from devcluster.images import Builder, Image
from devcluster.places import Places

S3_NODE_PORT = 30900
ADDON_SECONDS = 180


class KindCluster:
    """One node in a container, with metrics-server and MinIO as ordinary Deployments."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._name = f"keras-operator-{places.name}"

    def up(self) -> None:
        """Create it unless it is there, and apply the add-ons."""
        for program in ("docker", "kind", "kubectl"):
            if shutil.which(program) is None:
                raise MissingPreconditionError(
                    f"CLUSTER=kind needs `{program}` on PATH; install it, or leave CLUSTER out"
                )
        if self._name not in run(["kind", "get", "clusters"]).split():
            config = self._places.tree / "kind-config.yaml"
            run_visibly(["kind", "create", "cluster", "--name", self._name, "--config", config, "--wait", "120s"])
        self._kubectl("apply", "--server-side", "-f", str(MANIFESTS / "kind.yaml"))
        for namespace, deployment in (("minio", "minio"), ("kube-system", "metrics-server")):
            wish = ("rollout", "status", "-n", namespace, f"deployment/{deployment}", f"--timeout={ADDON_SECONDS}s")
            self._kubectl(*wish)

    def down(self) -> None:
        """Delete it."""
        if shutil.which("kind") is not None:
            run(["kind", "delete", "cluster", "--name", self._name])

    def status(self) -> tuple[str, bool]:
        """Its nodes and add-ons."""
        if shutil.which("kind") is None or self._name not in run(["kind", "get", "clusters"]).split():
            return "no kind cluster of this clone is running; `make cluster CLUSTER=kind` starts one", False
        text = self._kubectl("get", "nodes,deployments", "-A", "-o", "wide")
        return text, " Ready " in text

    def logs(self, name: str | None) -> str:
        """The log of a static pod or add-on of kube-system, or the names of all pods there."""
        if name is None:
            return self._kubectl("get", "pods", "-n", "kube-system")
        return self._kubectl("logs", "-n", "kube-system", name, "--tail=1000")

    def kubeconfig(self) -> Path:
        """A kubeconfig of its own, so that the user's stays as it is."""
        path = self._places.state.with_name(f"{self._places.name}.kind.kubeconfig")
        path.parent.mkdir(parents=True, exist_ok=True)
        run(["kind", "export", "kubeconfig", "--name", self._name, "--kubeconfig", path])
        return path

    def env(self) -> dict[str, str]:
        """Where everything is; the node's address is reachable from this machine and from pods alike."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = run(["docker", "inspect", "--format", form, f"{self._name}-control-plane"]).strip()
        return {
            "KUBECONFIG": str(self.kubeconfig()),
            "DEVCLUSTER_S3_ENDPOINT": f"http://{address}:{S3_NODE_PORT}",
            "DEVCLUSTER_S3_ACCESS_KEY": S3_ACCESS_KEY,
            "DEVCLUSTER_S3_SECRET_KEY": S3_SECRET_KEY,
        }

    def load(self, builder: Builder, images: list[Image]) -> None:
        """Bring images into its node.

        Raises:
            DevclusterError: there is no such cluster, or kind refused an image.
        """
        del builder  # kind reads from Docker's engine, which built them
        for image in images:
            subprocess.run(["docker", "tag", image.local, image.reference], check=True)
            try:
                run(["kind", "load", "docker-image", "--name", self._name, image.reference])
            except DevclusterError as error:
                raise DevclusterError(f"image {image.target} was not loaded into {self._name}: {error}") from error

    def _kubectl(self, *arguments: str) -> str:
        return run(["kubectl", f"--kubeconfig={self.kubeconfig()}", *arguments])
