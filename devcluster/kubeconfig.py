"""Kubeconfig files: one for people, self-contained, and one for each component."""

import base64
import json
from collections.abc import Iterable

from devcluster.places import Places, write_atomically
from devcluster.slots import Slot

COMPONENTS = ("controller-manager", "scheduler", "kubelet", "proxy", "coredns", "metrics-server")


def render(server: str, authority: bytes, certificate: bytes, key: bytes) -> str:
    """A kubeconfig with everything inside. JSON, which every reader of YAML takes."""

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    cluster = {"server": server, "certificate-authority-data": encoded(authority)}
    user = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "devcluster", "cluster": cluster}],
        "users": [{"name": "devcluster", "user": user}],
        "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": "devcluster"}}],
        "current-context": "devcluster",
    }
    return json.dumps(document, indent=2) + "\n"


def write_all(places: Places, slot: Slot, more: Iterable[str] = ()) -> None:
    """Write the administrator's and every component's kubeconfig, and those of more components."""
    server = f"https://{slot.node}:6443"
    authority = (places.pki / "ca.crt").read_bytes()
    components = (*COMPONENTS, *more)
    targets = {name: places.config / f"{name}.kubeconfig" for name in components} | {"admin": places.kubeconfig}
    for name, path in targets.items():
        certificate, key = ((places.pki / f"{name}.{suffix}").read_bytes() for suffix in ("crt", "key"))
        write_atomically(path, render(server, authority, certificate, key), mode=0o600)
