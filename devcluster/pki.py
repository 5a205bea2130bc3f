"""Keys and certificates of one cluster, made with openssl."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster.commands import run
from devcluster.places import Places
from devcluster.slots import Slot

# A dev cluster lives days; ten years only keep a forgotten one from failing with an expired certificate.
DAYS = "3650"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
NODE_NAME = "keras-node"


@dataclass(frozen=True)
class Identity:
    """A certificate: file name, subject, and the names a server with it answers to."""

    name: str
    subject: str
    names: tuple[str, ...] = ()
    authority: str = "ca"


def identities(slot: Slot, *, fake_nodes: bool = False) -> tuple[Identity, ...]:
    """Everybody who needs a certificate; kwok only where it stands for the nodes."""
    api_names = (
        "DNS:localhost",
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        "DNS:kubernetes.default.svc.cluster.local",
        "IP:127.0.0.1",
        f"IP:{slot.node}",
        f"IP:{slot.api_service}",
    )
    return (
        Identity("apiserver", "/CN=kube-apiserver", api_names),
        Identity("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
        Identity("front-proxy", "/CN=front-proxy-client", authority="front-proxy-ca"),
        Identity("admin", "/O=system:masters/CN=kubernetes-admin"),
        Identity("controller-manager", "/CN=system:kube-controller-manager"),
        Identity("scheduler", "/CN=system:kube-scheduler"),
        Identity("kubelet", f"/O=system:nodes/CN=system:node:{NODE_NAME}", (f"DNS:{NODE_NAME}", f"IP:{slot.node}")),
        Identity("proxy", "/CN=system:kube-proxy"),
        Identity("coredns", "/CN=system:coredns"),
        Identity(
            "metrics-server",
            "/CN=system:metrics-server",
            ("DNS:metrics-server.kube-system.svc", f"IP:{slot.node}"),
        ),
        *((Identity("kwok", "/O=system:masters/CN=kwok"),) if fake_nodes else ()),
    )


def create(places: Places, slot: Slot) -> None:
    """Make all keys and certificates; nothing where they are there. A killed run leaves none, not some."""
    if places.pki.is_dir():
        return
    folder = places.pki.with_name("pki.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    for authority in ("ca", "front-proxy-ca"):
        _authority(folder, authority)
    for identity in identities(slot, fake_nodes=places.fake_nodes):
        _certificate(folder, identity)
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "service-account.key"])
    run(
        ["openssl", "ec", "-in", folder / "service-account.key", "-pubout", "-out", folder / "service-account.pub"],
    )
    folder.rename(places.pki)


def _authority(folder: Path, name: str) -> None:
    out = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    run(["openssl", "req", "-x509", *CURVE, *out, "-days", DAYS, "-subj", f"/CN={name}"])


def _certificate(folder: Path, identity: Identity) -> None:
    key, request, extensions = (folder / f"{identity.name}.{suffix}" for suffix in ("key", "csr", "ext"))
    lines = ["extendedKeyUsage=serverAuth,clientAuth"]
    if identity.names:
        lines.append(f"subjectAltName={','.join(identity.names)}")
    extensions.write_text("\n".join(lines) + "\n")
    run(["openssl", "req", *CURVE, "-keyout", key, "-out", request, "-subj", identity.subject])
    signer = ("-CA", folder / f"{identity.authority}.crt", "-CAkey", folder / f"{identity.authority}.key")
    out = ("-CAcreateserial", "-days", DAYS, "-out", folder / f"{identity.name}.crt", "-extfile", extensions)
    run(["openssl", "x509", "-req", "-in", request, *signer, *out])
    request.unlink()
    extensions.unlink()
