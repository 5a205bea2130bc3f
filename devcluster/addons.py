"""DNS, metrics and object storage: processes beside the node's others, with a Service each."""

import base64
import hashlib
from pathlib import Path
from string import Template

from devcluster.build import binary
from devcluster.commands import run
from devcluster.control_plane import Served
from devcluster.places import Places, write_atomically
from devcluster.processes import Component
from devcluster.slots import Slot

MANIFESTS = Path(__file__).parent / "manifests"
ADDONS = ("dns", "metrics-server", "minio")
S3_PORT = 9000
# Known to everybody who can read this file: the port is reachable from this machine only.
S3_ACCESS_KEY = "devcluster"
S3_SECRET_KEY = "devcluster-secret"  # noqa: S105


def s3_endpoint(slot: Slot) -> str:
    """MinIO's URL, the same for the machine, the node and pods."""
    return f"http://{slot.node}:{S3_PORT}"


def corefile(kubeconfig: Path, slot: Slot) -> str:
    """CoreDNS's configuration. Names outside the cluster are denied at once: nothing could answer them."""
    return f"""\
cluster.local in-addr.arpa {{
    bind {slot.node}
    errors
    ready {slot.node}:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
}}
. {{
    bind {slot.node}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def coredns(places: Places, slot: Slot) -> Served:
    """Names of Services for pods."""
    path = places.config / "Corefile"
    files = {path: corefile(places.config / "coredns.kubeconfig", slot)}
    component = Component("coredns", (str(binary(places, "coredns")), "-conf", str(path)), files)
    return Served(component, f"http://{slot.node}:8181/ready")


def metrics_server(places: Places, slot: Slot) -> Served:
    """CPU and memory of pods, read from kubelet every 10 s, the shortest interval that it takes."""
    kubeconfig = places.config / "metrics-server.kubeconfig"
    command = (
        str(binary(places, "metrics-server")),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--secure-port=4443",
        f"--tls-cert-file={places.pki}/metrics-server.crt",
        f"--tls-private-key-file={places.pki}/metrics-server.key",
        f"--kubelet-certificate-authority={places.pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    )
    # Not /readyz: that waits for the first readings, two intervals after the node is there.
    return Served(Component("metrics-server", command), f"https://{slot.node}:4443/livez")


def minio(places: Places, slot: Slot) -> Served:
    """Object storage with S3's interface."""
    command = (
        str(binary(places, "minio")),
        "server",
        f"--address={slot.node}:{S3_PORT}",
        f"{places.state}/minio",
    )
    env = {
        "MINIO_ROOT_USER": S3_ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": S3_SECRET_KEY,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    return Served(Component("minio", command, env=env), f"{s3_endpoint(slot)}/minio/health/ready")


def render(places: Places, slot: Slot) -> str:
    """All add-ons' Kubernetes objects."""
    authority = base64.b64encode((places.pki / "ca.crt").read_bytes()).decode()
    values = {"node": slot.node, "dns_service": slot.dns_service, "ca_bundle": authority}
    texts = (Template((MANIFESTS / f"{name}.yaml").read_text()).substitute(values) for name in ADDONS)
    return "\n---\n".join(texts)


def apply(places: Places, slot: Slot) -> None:
    """Apply the add-ons' objects, unless these very ones have been applied to this cluster."""
    objects = render(places, slot)
    digest = hashlib.sha256(objects.encode()).hexdigest()
    record = places.state / "addons.sha256"
    if record.is_file() and record.read_text() == digest:
        return
    kubectl = (str(binary(places, "kubectl")), f"--kubeconfig={places.kubeconfig}")
    # The API server makes its own namespaces a moment after it calls itself ready.
    run([*kubectl, "wait", "--for=create", "namespace/kube-system", "--timeout=30s"])
    run([*kubectl, "apply", "--server-side", "--force-conflicts", "-f", "-"], text_in=objects)
    write_atomically(record, digest)
