"""The processes that train and serve, as this machine sees them: the node's containers run on it."""

from __future__ import annotations

from pathlib import Path


def work_of(model: str, worker: int | None = None) -> int:
    """The process id, on this machine, of the process that trains for `namespace/name`: its container's first's child.

    Of several workers it is that of the one with this number.
    """
    wanted = f'"model":"{model}"'.encode()
    number = b"" if worker is None else f"\0JOB_COMPLETION_INDEX={worker}\0".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            trains = b"keras-trainer\0train" in (folder / "cmdline").read_bytes()
            environment = b"\0" + (folder / "environ").read_bytes() + b"\0" if trains else b""
            if wanted in environment and number in environment:
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                found[int(folder.name)] = int(parent)
        except (FileNotFoundError, ProcessLookupError):
            continue
    (work,) = [process for process, parent in found.items() if parent in found]
    return work


def runtime_of(pod_uid: str) -> int:
    """The process id, on this machine, of the runtime of a serving pod."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            if b"/tensorflow_model_server\0--port=" in words and pod_uid in (folder / "cgroup").read_text():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    (runtime,) = found
    return runtime
