"""The cgroup under which kubelet places the pods of this cluster, in both versions of cgroups."""

import errno
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# What kubelet asks of a version 2 machine; the rest may stay off.
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")


def unified(root: Path = ROOT) -> bool:
    """Whether the machine runs version 2 only."""
    return (root / "cgroup.controllers").is_file()


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The folders in which a cgroup must be made: one for version 2, one a controller for version 1."""
    if unified(root):
        return [root]
    # Links such as cpu -> cpu,cpuacct name a hierarchy a second time.
    return [path for path in sorted(root.iterdir()) if path.is_dir() and not path.is_symlink()]


def create(name: str) -> None:
    """Make the cgroup in every hierarchy, ready for children."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        if unified():
            for parent in (hierarchy, group):
                _enable(parent)
        elif (group / "cpuset.cpus").is_file():
            # Version 1 starts a cpuset empty, and no process may enter an empty one.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not (group / file).read_text().strip():
                    (group / file).write_text((hierarchy / file).read_text())


def _enable(group: Path) -> None:
    offered = (group / "cgroup.controllers").read_text().split()
    for controller in V2_CONTROLLERS:
        if controller in offered:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def remove(name: str) -> bool:
    """Remove the cgroup and those below it; False while a process inside has not ended yet."""
    groups = [hierarchy / name for hierarchy in hierarchies()]
    removed = [_remove_tree(group) for group in groups if group.is_dir()]
    return all(removed)


def _remove_tree(group: Path) -> bool:
    for child in list(group.iterdir()):
        if child.is_dir() and not _remove_tree(child):
            return False
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True
