"""Keys and certificates of one cluster, made with openssl."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster.commands import run
from devcluster.nodes import FIRST_NAME, Node
from devcluster.places import Places
from devcluster.slots import Slot

# A dev cluster lives days; ten years only keep a forgotten one from failing with an expired certificate.
DAYS = "3650"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


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
        _kubelet("kubelet", FIRST_NAME, slot.node),
        Identity("proxy", "/CN=system:kube-proxy"),
        Identity("coredns", "/CN=system:coredns"),
        Identity(
            "metrics-server",
            "/CN=system:metrics-server",
            ("DNS:metrics-server.kube-system.svc", f"IP:{slot.node}"),
        ),
        *((Identity("kwok", "/O=system:masters/CN=kwok"),) if fake_nodes else ()),
    )


def _kubelet(name: str, node: str, address: str) -> Identity:
    return Identity(name, f"/O=system:nodes/CN=system:node:{node}", (f"DNS:{node}", f"IP:{address}"))


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
        _certificate(folder, identity, folder)
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "service-account.key"])
    run(
        ["openssl", "ec", "-in", folder / "service-account.key", "-pubout", "-out", folder / "service-account.pub"],
    )
    folder.rename(places.pki)


def add_kubelet(node: Node, slot: Slot) -> None:
    """Make the key and the certificate of a further node's kubelet; nothing where they are there."""
    pki = node.places.pki
    identity = _kubelet(node.own("kubelet"), node.name, node.address(slot))
    if (pki / f"{identity.name}.crt").is_file():
        return
    folder = pki.with_name("pki.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    _certificate(folder, identity, pki)
    # The certificate goes last, as it says that both are there.
    for suffix in ("key", "crt"):
        (folder / f"{identity.name}.{suffix}").rename(pki / f"{identity.name}.{suffix}")
    folder.rmdir()


def _authority(folder: Path, name: str) -> None:
    out = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    run(["openssl", "req", "-x509", *CURVE, *out, "-days", DAYS, "-subj", f"/CN={name}"])


def _certificate(folder: Path, identity: Identity, authorities: Path) -> None:
    key, request, extensions = (folder / f"{identity.name}.{suffix}" for suffix in ("key", "csr", "ext"))
    lines = ["extendedKeyUsage=serverAuth,clientAuth"]
    if identity.names:
        lines.append(f"subjectAltName={','.join(identity.names)}")
    extensions.write_text("\n".join(lines) + "\n")
    run(["openssl", "req", *CURVE, "-keyout", key, "-out", request, "-subj", identity.subject])
    authority = authorities / identity.authority
    signer = ("-CA", authority.with_suffix(".crt"), "-CAkey", authority.with_suffix(".key"))
    out = ("-CAcreateserial", "-days", DAYS, "-out", folder / f"{identity.name}.crt", "-extfile", extensions)
    run(["openssl", "x509", "-req", "-in", request, *signer, *out])
    request.unlink()
    extensions.unlink()
