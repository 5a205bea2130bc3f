"""Debian's buildah as the image builder where there is no Docker engine: storage of its own, in the cache."""

import os
from pathlib import Path

from devcluster import base_image
from devcluster.commands import run, run_visibly
from devcluster.errors import CommandFailedError
from devcluster.places import Places, write_atomically

BUILD_CACHE = "/root/.cache"


class Buildah:
    """Commands on one image storage, which all clones of this machine share."""

    def __init__(self, places: Places) -> None:
        self._places = places
        # The run root holds locks and mount counts, which must not survive a boot.
        storage = ("--root", str(places.images / "storage"), "--runroot", "/run/keras-operator/images")
        self._command = ("buildah", "--storage-driver", "overlay", *storage)

    def __call__(self, *arguments: str | Path) -> str:
        """Run one command and return its output.

        Raises:
            CommandFailedError: it ended with another status than 0.
        """
        return run([*self._command, *arguments], env=self._environment()).strip()

    def visibly(self, *arguments: str | Path) -> None:
        """Run one command with its output on the terminal.

        Raises:
            CommandFailedError: it ended with another status than 0.
        """
        run_visibly(["nice", "-n", "10", *self._command, *arguments], env=self._environment(), cwd=self._places.tree)

    def id(self, name: str) -> str | None:
        """What the storage holds under the name; None for nothing."""
        try:
            return self("inspect", "--type", "image", "--format", "{{.FromImageID}}", name)
        except CommandFailedError:
            return None

    def _environment(self) -> dict[str, str]:
        # Layers on their way are written below TMPDIR: beside the storage, as /var/tmp may be small.
        temporary = self._places.images / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        return {**os.environ, "TMPDIR": str(temporary)}


def without_cache_mounts(dockerfile: str) -> str:
    """The Dockerfile for buildah 1.28 (Debian 12), which empties the container's root after a cache mount in a chroot.

    The same folder is passed as a volume instead.
    """
    return dockerfile.replace(f"--mount=type=cache,target={BUILD_CACHE} ", "")


class BuildahBuilder:
    """Builds the Dockerfile's targets on a base image made of Debian's packages."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.storage = Buildah(places)

    def base(self) -> str:
        """`$BASE_IMAGE`, where a registry can be reached, else a base image built here."""
        return os.environ.get("BASE_IMAGE") or base_image.ensure(self._places, self.storage)

    def build(self, target: str, name: str) -> None:
        """Build a target.

        Raises:
            CommandFailedError: the build failed; its output is on the terminal.
        """
        cache = self._places.images / "build-cache"
        cache.mkdir(parents=True, exist_ok=True)
        dockerfile = self._places.images / f"Dockerfile.{self._places.name}"
        write_atomically(dockerfile, without_cache_mounts((self._places.tree / "Dockerfile").read_text()))
        authority = os.environ.get("SSL_CERT_FILE")
        arguments = ["bud", "--isolation", "chroot", "--layers", "--pull=ifmissing"]
        arguments += ["--volume", f"{cache}:{BUILD_CACHE}", "--build-arg", f"BASE_IMAGE={self.base()}"]
        arguments += ["--secret", f"id=ca,src={authority}"] if authority else []
        self.storage.visibly(*arguments, "--file", dockerfile, "--target", target, "--tag", name, ".")

    def id(self, name: str) -> str | None:
        """What is stored under the name; None for nothing."""
        return self.storage.id(name)

    def forget(self, prefix: str, keep: str) -> None:
        """Drop names that begin with the prefix, but one; their layers go unless another image uses them."""
        names = self.storage("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
        old = [name for name in names if name.startswith(f"{prefix}:") and name != keep]
        if old:
            self.storage("rmi", *old)
