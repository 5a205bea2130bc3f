"""Debian's buildah as the image builder where there is no Docker engine: storage of its own, in the cache."""

import os
from pathlib import Path

from devcluster import base_image
from devcluster.commands import run
from devcluster.errors import CommandFailedError
from devcluster.places import Places, write_atomically

BUILD_CACHE = "/root/.cache"
BUILD_LINES = 60
# Locks and mount counts, which must not survive a boot.
RUN_ROOT = "/run/keras-operator/images"


class Buildah:
    """Commands on one image storage, which all clones of this machine share."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._storage = places.images / "storage"
        roots = ("--root", str(self._storage), "--runroot", RUN_ROOT)
        self._command = ("buildah", "--storage-driver", "overlay", *roots)

    def __call__(self, *arguments: str | Path) -> str:
        """Run one command and return its output.

        Raises:
            CommandFailedError: it ended with another status than 0.
        """
        return run([*self._command, *arguments], env=self._environment()).strip()

    def build(self, *arguments: str | Path) -> None:
        """Build in the tree. A step's long output is shown only where the build fails.

        Raises:
            CommandFailedError: the build failed.
        """
        command = ["nice", "-n", "10", *self._command, "bud", *arguments, "."]
        run(command, env=self._environment(), cwd=self._places.tree, shown=BUILD_LINES)

    def export(self, name: str, layout: Path, entry: str) -> None:
        """Write an image into an OCI layout, layers as they are: what the layout holds is neither read nor written.

        buildah's own push would compress every layer anew each time.

        Raises:
            CommandFailedError: the storage does not hold the image.
        """
        source = f"containers-storage:[overlay@{self._storage}+{RUN_ROOT}]{name}"
        command = [
            "skopeo",
            "copy",
            "--quiet",
            "--dest-oci-accept-uncompressed-layers",
            source,
            f"oci:{layout}:{entry}",
        ]
        run(command, env=self._environment())

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
            CommandFailedError: the build failed; the message ends with the last lines of its output.
        """
        cache = self._places.images / "build-cache"
        cache.mkdir(parents=True, exist_ok=True)
        dockerfile = self._places.images / f"Dockerfile.{self._places.name}"
        write_atomically(dockerfile, without_cache_mounts((self._places.tree / "Dockerfile").read_text()))
        authority = os.environ.get("SSL_CERT_FILE")
        arguments = ["--isolation", "chroot", "--layers", "--pull=ifmissing"]
        arguments += ["--volume", f"{cache}:{BUILD_CACHE}", "--build-arg", f"BASE_IMAGE={self.base()}"]
        arguments += ["--secret", f"id=ca,src={authority}"] if authority else []
        self.storage.build(*arguments, "--file", dockerfile, "--target", target, "--tag", name)

    def id(self, name: str) -> str | None:
        """What is stored under the name; None for nothing."""
        return self.storage.id(name)

    def forget(self, prefix: str, keep: str) -> None:
        """Drop names that begin with the prefix, but one; their layers go unless another image uses them."""
        names = self.storage("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
        old = [name for name in names if name.startswith(f"{prefix}:") and name != keep]
        if old:
            self.storage("rmi", *old)
