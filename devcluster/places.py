"""Where things lie: the cache shared by all clones, and the state of this clone's cluster.

Nothing is written inside the tree. The cache is `$KERAS_OPERATOR_CACHE`, by default `~/.cache/keras-operator`.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
FAKE_NODES_SUFFIX = "-kwok"


def default_cache() -> Path:
    """The folder for everything that outlives one cluster: binaries, images, states."""
    configured = os.environ.get("KERAS_OPERATOR_CACHE")
    return Path(configured).resolve() if configured else Path.home() / ".cache" / "keras-operator"


def cluster_name(tree: Path) -> str:
    """Eight hex digits that stay the same for one path of a clone."""
    return hashlib.sha256(str(tree).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Places:
    """All paths of one clone's cluster; the one with `fake_nodes` is another, beside the clone's real node."""

    cache: Path
    tree: Path
    fake_nodes: bool = False

    @property
    def name(self) -> str:
        """The cluster's name: part of its cgroup's, its state's and its processes' marks."""
        return cluster_name(self.tree) + (FAKE_NODES_SUFFIX if self.fake_nodes else "")

    @property
    def state(self) -> Path:
        """The folder that `down` removes."""
        return self.cache / "clusters" / self.name

    @property
    def tree_record(self) -> Path:
        """Names the clone, for the day when the clone is gone and its cluster is not."""
        return self.state / "tree"

    @property
    def logs(self) -> Path:
        """One file a process, and the API server's audit log."""
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON object a line."""
        return self.logs / "audit.log"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Rendered configuration files."""
        return self.state / "config"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, self-contained."""
        return self.state / "kubeconfig"

    @property
    def node(self) -> Path:
        """Folders that the node sees under standard paths such as /var/lib/kubelet."""
        return self.state / "node"

    @property
    def binaries(self) -> Path:
        """What was built from the pins."""
        return self.cache / "bin"

    @property
    def images(self) -> Path:
        """Image storage and archives, shared by clones."""
        return self.cache / "images"


def here() -> Places:
    """The places of the clone that this module was loaded from."""
    return Places(cache=default_cache(), tree=TREE)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file; the kernel frees it when the process ends, however it ends.

    Whoever holds the lock may remove the file: who waited for it then waits for the file that took its place.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle.fileno()).st_nlink:
                yield
                return


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write through a rename, so that a reader, or a run after a kill, never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.rename(path)
