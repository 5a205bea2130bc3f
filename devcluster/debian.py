"""Programs that Debian builds: fetched as packages by apt-get, unpacked into the cache, installed nowhere."""

import shutil
import tempfile
from pathlib import Path

from devcluster.commands import run
from devcluster.errors import CommandFailedError, MissingPreconditionError
from devcluster.places import default_cache, locked


def debian_program(package: str) -> Path:
    """A program that is called like its package: that of the PATH, else that of the distribution this machine runs.

    For programs that need no more than libc: a package's dependencies are not fetched. apt-get checks the signature.

    Raises:
        MissingPreconditionError: there is no apt-get.
        CommandFailedError: the package could not be had.
    """
    if installed := shutil.which(package):
        return Path(installed)
    if shutil.which("apt-get") is None:
        raise MissingPreconditionError(f"{package} is not installed, and there is no apt-get: install {package}")
    folder = default_cache() / "debian" / package
    program = folder / "usr/bin" / package
    with locked(folder.with_suffix(".lock")):
        if not program.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                unpacked = Path(made) / "unpacked"
                run(["dpkg-deb", "-x", _downloaded(package, Path(made)), unpacked])
                unpacked.rename(folder)
    return program


def _downloaded(package: str, folder: Path) -> Path:
    try:
        run(["apt-get", "download", "-qq", package], cwd=folder)
    except CommandFailedError:
        # Images of containers come without the lists of packages, and old lists name what is gone.
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "download", "-qq", package], cwd=folder)
    (archive,) = folder.glob("*.deb")
    return archive
