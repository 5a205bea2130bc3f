"""Docker's engine as the image builder."""

import os
import subprocess

from devcluster.commands import run, run_visibly
from devcluster.places import Places

BASE_IMAGE = "python:3.11-slim-bookworm"


class DockerBuilder:
    """Builds the Dockerfile's targets with buildx."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def base(self) -> str:
        """`$BASE_IMAGE`, by default the Dockerfile's own."""
        return os.environ.get("BASE_IMAGE", BASE_IMAGE)

    def build(self, target: str, name: str) -> None:
        """Build a target.

        Raises:
            CommandFailedError: the build failed; its output is on the terminal.
        """
        authority = os.environ.get("SSL_CERT_FILE")
        secret = ["--secret", f"id=ca,src={authority}"] if authority else []
        arguments = ["--load", "--build-arg", f"BASE_IMAGE={self.base()}", "--target", target, "--tag", name]
        run_visibly(["docker", "buildx", "build", *secret, *arguments, "."], cwd=self._places.tree)

    def id(self, name: str) -> str | None:
        """What is stored under the name; None for nothing."""
        command = ["docker", "image", "inspect", "--format", "{{.Id}}", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def forget(self, prefix: str, keep: str) -> None:
        """Drop names that begin with the prefix, but one."""
        names = run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", prefix]).splitlines()
        old = [name for name in names if name != keep]
        if old:
            run(["docker", "image", "rm", *old])
