"""Command lines of etcd, the API server, the controller manager and the scheduler."""

from dataclasses import dataclass

from devcluster.build import binary
from devcluster.places import Places
from devcluster.processes import Component
from devcluster.slots import Slot

ISSUER = "https://kubernetes.default.svc.cluster.local"
ETCD = "http://127.0.0.1:2379"

# Every request once, when its answer is complete: who, what, when it came and when it was answered. Never bodies.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
"""


@dataclass(frozen=True)
class Served:
    """A component and the URL that answers when it is ready."""

    component: Component
    ready: str
    seconds: float = 60.0


def etcd(places: Places, slot: Slot) -> Served:
    """The API server's database. No fsync: losing a dev cluster's last writes with the machine's power is fine."""
    command = (
        str(binary(places, "etcd")),
        f"--data-dir={places.state}/etcd",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        f"--listen-metrics-urls=http://{slot.node}:2381",
        "--unsafe-no-fsync",
        "--auto-compaction-retention=1h",
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    )
    return Served(Component("etcd", command), f"http://{slot.node}:2381/health")


def api_server(places: Places, slot: Slot, audit_policy: str = AUDIT_POLICY) -> Served:
    """The API server, with RBAC, Pod Security admission (on by default), aggregation and an audit log."""
    pki, policy = places.pki, places.config / "audit-policy.yaml"
    command = (
        str(binary(places, "kube-apiserver")),
        f"--etcd-servers={ETCD}",
        f"--advertise-address={slot.node}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={slot.services}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,PodSecurity",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        # The node's name is in no DNS: logs and exec go to its address.
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={places.audit_log}",
        "--audit-log-maxsize=500",
        "--audit-log-maxbackup=2",
        "--allow-privileged=true",
        "--profiling=false",
    )
    component = Component("kube-apiserver", command, files={policy: audit_policy})
    return Served(component, f"https://{slot.node}:6443/readyz")


def controller_manager(places: Places, slot: Slot, *more: str) -> Served:
    """The controllers, with client limits and HPA intervals that fit tests rather than a thousand nodes.

    Args:
        places: of this cluster.
        slot: of this cluster.
        more: flags; of two that say the same, the last counts.
    """
    kubeconfig = places.config / "controller-manager.kubeconfig"
    command = (
        str(binary(places, "kube-controller-manager")),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--root-ca-file={places.pki}/ca.crt",
        f"--service-account-private-key-file={places.pki}/service-account.key",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--allocate-node-cidrs=false",
        f"--cluster-cidr={slot.pods}",
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=30s",
        "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",
        "--profiling=false",
        *more,
    )
    return Served(Component("kube-controller-manager", command), f"https://{slot.node}:10257/healthz")


def scheduler(places: Places, slot: Slot, *more: str) -> Served:
    """The scheduler; `more` are flags, of two that say the same the last counts."""
    kubeconfig = places.config / "scheduler.kubeconfig"
    command = (
        str(binary(places, "kube-scheduler")),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--profiling=false",
        *more,
    )
    return Served(Component("kube-scheduler", command), f"https://{slot.node}:10259/readyz")
