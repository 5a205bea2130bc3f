"""What the machine must bring along, and how to get it."""

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from devcluster.commands import run, run_visibly
from devcluster.errors import CommandFailedError, MissingPreconditionError


@dataclass(frozen=True)
class Requirement:
    """Something on the machine, the Debian package that brings it, and what shows that it is there."""

    package: str
    present: Callable[[], bool]


def _command(package: str, *names: str) -> Requirement:
    return Requirement(package, lambda: all(shutil.which(name) for name in names))


def _file(package: str, *paths: str) -> Requirement:
    return Requirement(package, lambda: any(Path(path).exists() for path in paths))


CONTROL_PLANE = (
    _command("iproute2", "ip"),
    _command("util-linux", "nsenter", "unshare", "setsid"),
    _command("procps", "sysctl"),
    _command("openssl", "openssl"),
)
NODE = (
    _command("containerd", "containerd", "ctr"),
    _command("runc", "runc"),
    _file("containernetworking-plugins", "/usr/lib/cni/bridge", "/opt/cni/bin/bridge"),
    _command("conntrack", "conntrack"),
    _command("iptables", "iptables"),
    _command("ipset", "ipset"),
    *CONTROL_PLANE,
)
IMAGES = (
    _command("buildah", "buildah"),
    _command("debootstrap", "debootstrap"),
    _command("skopeo", "skopeo"),
)


def missing_packages(requirements: Iterable[Requirement]) -> list[str]:
    """The Debian packages of what is not there."""
    return [requirement.package for requirement in requirements if not requirement.present()]


def ensure(requirements: Iterable[Requirement]) -> None:
    """Install what is missing where apt-get can.

    Raises:
        MissingPreconditionError: something is missing that could not be installed; the message says what to do.
    """
    if os.geteuid() != 0:
        raise MissingPreconditionError("a node needs root: run this as root, or with CLUSTER=kind or CLUSTER=existing")
    missing = missing_packages(requirements)
    if not missing:
        return
    wish = f"apt-get install --yes {' '.join(missing)}"
    if shutil.which("apt-get") is None:
        raise MissingPreconditionError(f"this machine lacks what Debian calls {', '.join(missing)}; install these")
    print(f"installing {', '.join(missing)} …", flush=True)
    try:
        _install(missing)
    except CommandFailedError as error:
        raise MissingPreconditionError(f"this machine lacks {', '.join(missing)}; `{wish}` failed: {error}") from error
    still = missing_packages(requirements)
    if still:
        raise MissingPreconditionError(f"{', '.join(still)} is installed but does not work; try `{wish}` by hand")


def _install(packages: list[str]) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "-qq", *packages]
    try:
        run(install, env=env)
    except CommandFailedError:
        # The package lists are missing or older than the mirror.
        run_visibly(["apt-get", "update", "-qq"], env=env)
        run(install, env=env)
