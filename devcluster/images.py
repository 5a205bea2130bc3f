"""Which images there are, and what decides whether one must be built again."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devcluster import preconditions
from devcluster.buildah import BuildahBuilder
from devcluster.docker import DockerBuilder
from devcluster.errors import DevclusterError
from devcluster.pins import build_key
from devcluster.places import Places

TARGETS = ("operator", "trainer", "server")
RECIPE = ("Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock", "README.md", "hatch_build.py")
PACKAGES = ("operator", "model_store", "model_trainer", "model_server")
# What is made from the sources, and made anew in the image.
_COMPILED = (".pyc", ".so")


@dataclass(frozen=True)
class Image:
    """A built image: the name that pods use, the name in the builder's storage, and its content's id."""

    target: str
    reference: str
    local: str
    id: str


class Builder(Protocol):
    """Builds targets of the Dockerfile and keeps them in a storage of its own."""

    def base(self) -> str:
        """The name of the image that all targets start from, made if need be."""

    def build(self, target: str, name: str) -> None:
        """Build a target under a name."""

    def id(self, name: str) -> str | None:
        """What is stored under the name; None for nothing."""

    def forget(self, prefix: str, keep: str) -> None:
        """Drop names that begin with the prefix, but one."""


def reference(target: str) -> str:
    """The name under which the node, and so every pod, knows an image."""
    return f"docker.io/keras-operator/{target}:dev"


def sources(tree: Path) -> Iterator[Path]:
    """Every file that an image depends on, in a fixed order."""
    yield from (tree / name for name in RECIPE if (tree / name).is_file())
    for package in PACKAGES:
        files = (path for path in sorted((tree / package).rglob("*")) if path.is_file())
        yield from (path for path in files if "__pycache__" not in path.parts and path.suffix not in _COMPILED)


def source_key(tree: Path, base: str) -> str:
    """Changes with the base image's name and with the path, mode or content of any source."""
    parts = [base.encode()]
    for path in sources(tree):
        parts += [str(path.relative_to(tree)).encode(), oct(path.stat().st_mode & 0o111).encode(), path.read_bytes()]
    return build_key(parts)


def builder_here(places: Places) -> Builder:
    """Docker where its engine answers, else buildah.

    Raises:
        MissingPreconditionError: there is neither, and buildah could not be installed.
    """
    if docker_answers():
        return DockerBuilder(places)
    preconditions.ensure(preconditions.IMAGES)
    return BuildahBuilder(places)


def docker_answers() -> bool:
    """Whether a Docker engine can be used."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def build_all(places: Places, builder: Builder) -> list[Image]:
    """Build what changed since its last build, for each target.

    Raises:
        CommandFailedError: a build failed; the message ends with the last lines of its output.
    """
    key = source_key(places.tree, builder.base())
    for target in TARGETS:
        name = local_name(places, target, key)
        if builder.id(name) is None:
            print(f"building image {target} …", flush=True)
            builder.build(target, name)
            builder.forget(name.rpartition(":")[0], keep=name)
    return _find(places, builder, key)


def built(places: Places, builder: Builder) -> list[Image]:
    """The images of the sources as they are.

    Raises:
        DevclusterError: one has not been built.
    """
    return _find(places, builder, source_key(places.tree, builder.base()))


def _find(places: Places, builder: Builder, key: str) -> list[Image]:
    found = []
    for target in TARGETS:
        name = local_name(places, target, key)
        identity = builder.id(name)
        if identity is None:
            raise DevclusterError(f"image {target} of these sources has not been built; run `make images`")
        found.append(Image(target, reference(target), name, identity))
    return found


def local_name(places: Places, target: str, key: str) -> str:
    """The name in the builder's storage, in which each clone has names of its own."""
    return f"localhost/keras-operator-{places.name}/{target}:{key}"
