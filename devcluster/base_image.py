"""A stand-in for python:3.11-slim-bookworm where no registry can be reached: the same Debian, from its packages."""

import shutil
from pathlib import Path
from typing import Protocol

from devcluster.commands import run
from devcluster.pins import build_key
from devcluster.places import Places, locked

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "netbase", "python3", "python3-venv", "tzdata")
# What the slim images leave out as well.
UNNEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "var/log",
)


class Storage(Protocol):
    """What is needed of buildah."""

    def __call__(self, *arguments: str | Path) -> str:
        """Run one of buildah's commands."""

    def id(self, name: str) -> str | None:
        """What is stored under a name; None for nothing."""


def key() -> str:
    """Changes with what goes into the image."""
    return build_key([SUITE.encode(), " ".join(PACKAGES).encode(), " ".join(UNNEEDED).encode()])


def reference() -> str:
    """The image's name in the local storage."""
    return f"localhost/keras-operator/base:{key()}"


def ensure(places: Places, buildah: Storage) -> str:
    """Build the image unless the storage holds it; its name.

    Raises:
        CommandFailedError: Debian's mirror could not be reached, or a tool failed.
    """
    with locked(places.images / "base.lock"):
        if buildah.id(reference()) is None:
            _build(places, buildah)
    return reference()


def _build(places: Places, buildah: Storage) -> None:
    print(f"building a {SUITE} base image …", flush=True)
    tree = places.images / "base.tmp"
    if tree.exists():
        shutil.rmtree(tree)
    tree.mkdir(parents=True)
    run(["nice", "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, tree])
    for name in UNNEEDED:
        _empty(tree / name)
    container = buildah("from", "scratch")
    try:
        buildah("add", "--quiet", container, tree, "/")
        buildah("config", "--env", "LANG=C.UTF-8", "--cmd", "python3", container)
        buildah("commit", "--quiet", container, reference())
    finally:
        buildah("rm", container)
    shutil.rmtree(tree)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
