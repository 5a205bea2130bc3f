"""A cluster that somebody else runs and `KUBECONFIG` names. Nothing is installed into it or removed from it."""

import os
from pathlib import Path

from devcluster.commands import run
from devcluster.errors import DevclusterError
from devcluster.images import Builder, Image

PASSED_ON = ("DEVCLUSTER_S3_ENDPOINT", "DEVCLUSTER_S3_ACCESS_KEY", "DEVCLUSTER_S3_SECRET_KEY", "DEVCLUSTER_AUDIT_LOG")


class ExistingCluster:
    """Checks and passes on; object storage is named by the same variables that `env` prints."""

    def up(self) -> None:
        """Check that it answers and has a node.

        Raises:
            DevclusterError: it does not.
        """
        text, ready = self.status()
        if not ready:
            raise DevclusterError(f"the cluster of {self.kubeconfig()} has no Ready node:\n{text}")

    def down(self) -> None:
        """Leave it as it is: it was not started here."""

    def status(self) -> tuple[str, bool]:
        """Its nodes."""
        text = run(["kubectl", f"--kubeconfig={self.kubeconfig()}", "get", "nodes", "-o", "wide"])
        return text, " Ready " in text

    def logs(self, name: str | None) -> str:
        """There are none to be had.

        Raises:
            DevclusterError: always.
        """
        raise DevclusterError(f"the log of {name or 'any component'} is with whoever runs this cluster")

    def kubeconfig(self) -> Path:
        """The file that `KUBECONFIG` names.

        Raises:
            DevclusterError: it names none.
        """
        path = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        if not path.is_file():
            raise DevclusterError(f"CLUSTER=existing needs KUBECONFIG to name one kubeconfig; {path} is not a file")
        return path

    def env(self) -> dict[str, str]:
        """What the caller's own environment says."""
        given = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {"KUBECONFIG": str(self.kubeconfig()), **given}

    def load(self, builder: Builder, images: list[Image]) -> None:
        """Images cannot be brought to nodes that are unknown.

        Raises:
            DevclusterError: always; the message says how to go on.
        """
        del builder
        names = ", ".join(image.reference for image in images)
        raise DevclusterError(f"push {names} to a registry that this cluster's nodes can pull from")
