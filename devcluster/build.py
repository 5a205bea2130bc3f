"""Build the pinned programs into the cache, once for all clones of this machine."""

import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from devcluster.commands import run
from devcluster.errors import MissingPreconditionError
from devcluster.pins import BUILD_FLAGS, PINS, Pin
from devcluster.places import Places, locked

GO_FOLDERS = ("/usr/local/go/bin", "/usr/lib/go/bin")
# Two compilers at a time keep the machine usable, and few machines gain from more than that beside the linker.
PARALLEL = "2"


def find_go() -> str | None:
    """The Go command on PATH or where its installers put it; None where there is none."""
    return shutil.which("go") or shutil.which("go", path=os.pathsep.join(GO_FOLDERS))


def built(places: Places, pin: Pin) -> Path:
    """The folder that holds, or will hold, the pin's binaries."""
    return places.binaries / f"{pin.name}-{pin.key()}"


def binary(places: Places, name: str) -> Path:
    """The path of one built program.

    Raises:
        KeyError: no pin builds it.
    """
    for pin in PINS:
        if name in pin.packages:
            return built(places, pin) / name
    raise KeyError(name)


# A killed `up` frees its lock: a compiler that went on would write into the folder of the next one's.
ENDS_WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


def build_all(places: Places, names: Collection[str] = ()) -> None:
    """Build what the cache lacks; nothing where it has everything.

    Args:
        places: where the cache is.
        names: of the pins to build; none for all that are not on demand.

    Raises:
        CommandFailedError: the compiler or a download failed.
        MissingPreconditionError: there is no compiler.
    """
    for pin in PINS:
        if pin.name not in names if names else pin.on_demand:
            continue
        if built(places, pin).is_dir():
            continue
        with locked(places.binaries / f"{pin.name}.lock"):
            # Another clone may have built it while this one waited for the lock.
            if not built(places, pin).is_dir():
                _build(places, pin)


def _build(places: Places, pin: Pin) -> None:
    go = find_go()
    if go is None:
        raise MissingPreconditionError(
            "`go` was not found on PATH or in /usr/local/go/bin; install Go 1.24 or newer from https://go.dev/dl"
        )
    target = built(places, pin)
    for leftover in places.binaries.glob(f"{pin.name}-*.tmp"):
        shutil.rmtree(leftover)
    temporary = target.with_name(f"{target.name}.tmp")
    temporary.mkdir(parents=True)
    print(f"building {pin.name} {pin.version()} …", flush=True)
    begun = time.monotonic()
    command = [
        *ENDS_WITH_ITS_PARENT,
        "nice",
        "-n",
        "10",
        go,
        "build",
        "-p",
        PARALLEL,
        *BUILD_FLAGS,
        "-ldflags",
        pin.ldflags(),
    ]
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
    if len(pin.packages) == 1:
        # Only a single package may be given another file name than its import path's last word.
        (name, package), *_ = pin.packages.items()
        run([*command, "-o", temporary / name, package], env=env, cwd=pin.directory)
    else:
        run([*command, "-o", f"{temporary}/", *pin.packages.values()], env=env, cwd=pin.directory)
    temporary.rename(target)
    print(f"built {pin.name} in {time.monotonic() - begun:.0f} s", flush=True)
