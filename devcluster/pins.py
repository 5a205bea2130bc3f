"""Which programs are built, and the key that names one build of them.

The versions stand in `go/<name>/go.mod`, which Go's tools read and update; this file only says which commands to
build from each and which version strings to link in.
"""

import hashlib
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "go"
BUILD_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
BASE_LDFLAGS = "-s -w"


def _kubernetes_version(version: str) -> dict[str, str]:
    major, minor = version.removeprefix("v").split(".")[:2]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{field}": value for package in packages for field, value in values.items()}


def _minio_version(version: str) -> dict[str, str]:
    # A pseudo-version carries the commit's time; MinIO's own release names are that time.
    found = re.fullmatch(r"v0\.0\.0-(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)-[0-9a-f]{12}", version)
    if found is None:
        return {}
    year, month, day, hour, minute, second = found.groups()
    stamp = f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"
    return {"github.com/minio/minio/cmd.Version": stamp, "github.com/minio/minio/cmd.ReleaseTag": f"DEV.{stamp}"}


def _own_version(_: str) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Pin:
    """One Go module and the commands built from it; `packages` maps the binary's name to its import path.

    `on_demand` is only built for what asks for it by name.
    """

    name: str
    module: str
    packages: dict[str, str]
    linked: Callable[[str], dict[str, str]] = _own_version
    on_demand: bool = False

    @property
    def directory(self) -> Path:
        """The folder of its go.mod."""
        return SOURCES / self.name

    def version(self) -> str:
        """The pinned version, from go.mod; empty for code of this project."""
        return required_version((self.directory / "go.mod").read_text(), self.module)

    def ldflags(self) -> str:
        """The linker's flags, version strings included."""
        values = self.linked(self.version())
        return " ".join([BASE_LDFLAGS, *(f"-X {name}={value}" for name, value in sorted(values.items()))])

    def key(self) -> str:
        """Names a build: same key, same binaries."""
        sources = [path.read_bytes() for path in sorted(self.directory.iterdir()) if path.is_file()]
        flags = " ".join((*BUILD_FLAGS, self.ldflags(), *self.packages.values(), platform.machine()))
        return build_key([*sources, flags.encode()])


def required_version(go_mod: str, module: str) -> str:
    """The version that a go.mod requires of a module; empty where it requires none."""
    found = re.search(rf"^(?:require)?\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    return found.group(1) if found else ""


def build_key(parts: list[bytes]) -> str:
    """A digest over the parts, in which moving bytes from one part to the next makes another key."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]


_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")

PINS = (
    Pin(
        name="kubernetes",
        module="k8s.io/kubernetes",
        packages={command: f"k8s.io/kubernetes/cmd/{command}" for command in _KUBERNETES},
        linked=_kubernetes_version,
    ),
    Pin(name="etcd", module="go.etcd.io/etcd/server/v3", packages={"etcd": "go.etcd.io/etcd/server/v3"}),
    Pin(
        name="minio",
        module="github.com/minio/minio",
        packages={"minio": "github.com/minio/minio"},
        linked=_minio_version,
    ),
    Pin(name="coredns", module="github.com/coredns/coredns", packages={"coredns": "github.com/coredns/coredns"}),
    Pin(
        name="metrics-server",
        module="sigs.k8s.io/metrics-server",
        packages={"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
    ),
    Pin(name="pause", module="keras-operator.dev/devcluster/pause", packages={"pause": "."}),
    Pin(
        name="flux",
        module="github.com/fluxcd/kustomize-controller",
        packages={"kustomize-controller": "github.com/fluxcd/kustomize-controller"},
        on_demand=True,
    ),
    Pin(name="kstatus", module="sigs.k8s.io/cli-utils", packages={"kstatus": "."}, on_demand=True),
    Pin(name="argocd-health", module="github.com/yuin/gopher-lua", packages={"argocd-health": "."}, on_demand=True),
    Pin(
        name="kwok",
        module="sigs.k8s.io/kwok",
        packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
        linked=lambda version: {"sigs.k8s.io/kwok/pkg/consts.Version": version},
        on_demand=True,
    ),
    Pin(
        name="vegeta",
        module="github.com/tsenart/vegeta/v12",
        packages={"vegeta": "github.com/tsenart/vegeta/v12"},
        on_demand=True,
    ),
    Pin(
        name="prometheus-adapter",
        module="sigs.k8s.io/prometheus-adapter",
        packages={"prometheus-adapter": "sigs.k8s.io/prometheus-adapter/cmd/adapter"},
        on_demand=True,
    ),
    Pin(
        name="s5cmd",
        module="github.com/peak/s5cmd/v2",
        packages={"s5cmd": "github.com/peak/s5cmd/v2"},
        on_demand=True,
    ),
    Pin(name="ghz", module="github.com/bojand/ghz", packages={"ghz": "github.com/bojand/ghz/cmd/ghz"}, on_demand=True),
    Pin(name="grpc-client", module="google.golang.org/grpc", packages={"grpc-client": "."}, on_demand=True),
    Pin(
        name="h2spec",
        module="github.com/summerwind/h2spec",
        packages={"h2spec": "github.com/summerwind/h2spec/cmd/h2spec"},
        on_demand=True,
    ),
)
