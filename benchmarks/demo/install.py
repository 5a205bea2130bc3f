"""The operator and an empty namespace for the demo, both safe to ask for again."""

from __future__ import annotations

from pathlib import Path

from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl
from benchmarks.demo.surroundings import Surroundings

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = ROOT / "manifests" / "overlays" / "dev"
OPERATOR_NAMESPACE = "keras-operator-system"
OPERATOR_DEPLOYMENT = "deployment/keras-operator"
CRDS = ("crd/kerasmodels.keras-operator.dev", "crd/kerasmodelversions.keras-operator.dev")
WITHIN = "180s"


def install_operator(kubectl: Kubectl) -> None:
    """Install the CRDs and the operator, and wait until the operator is ready.

    An operator that runs already is restarted: the image behind its tag may have been built anew.
    Raises DemoError with the operator's last words if it does not become ready.
    """
    before = kubectl.run("get", OPERATOR_DEPLOYMENT, "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "-o", "name")
    # Server-side: the schemas of the CRDs are longer than the annotation that a client-side apply keeps them in.
    kubectl.run("apply", "--server-side", "--force-conflicts", "-k", str(OVERLAY))
    kubectl.run("wait", "--for=condition=Established", f"--timeout={WITHIN}", *CRDS)
    if before.strip():
        kubectl.run("rollout", "restart", OPERATOR_DEPLOYMENT, "-n", OPERATOR_NAMESPACE)
    try:
        kubectl.run("rollout", "status", OPERATOR_DEPLOYMENT, "-n", OPERATOR_NAMESPACE, f"--timeout={WITHIN}")
    except DemoError as error:
        last = kubectl.run("get", "pods", "-n", OPERATOR_NAMESPACE, "-o", "wide")
        raise DemoError(
            f"{error}\nIts pods:\n{last}Look at `kubectl -n {OPERATOR_NAMESPACE} logs {OPERATOR_DEPLOYMENT}`."
        ) from error


def remove_namespace(kubectl: Kubectl, name: str) -> None:
    """Remove what an earlier demo left, and wait until it is gone.

    The models go first, and their pods with them: Kubernetes looks after a namespace that still has pods only as often
    as their grace periods allow, which makes 40 seconds of the 8 that the pods take.
    """
    if not kubectl.run("get", "namespace", name, "--ignore-not-found", "-o", "name").strip():
        return
    if kubectl.run("get", CRDS[0], "--ignore-not-found", "-o", "name").strip():
        kubectl.run("delete", "kerasmodels", "--all", "-n", name, f"--timeout={WITHIN}")
        kubectl.run("wait", "--for=delete", "pods", "--all", "-n", name, f"--timeout={WITHIN}")
    kubectl.run("delete", "namespace", name, "--ignore-not-found", "--wait", f"--timeout={WITHIN}")


def make_namespace(kubectl: Kubectl, name: str, cluster: Surroundings) -> None:
    """A namespace that admits only what meets the strictest Pod Security level, with the storage's credentials."""
    level = dict.fromkeys(("enforce", "warn", "audit"), "restricted")
    labels = {f"pod-security.kubernetes.io/{mode}": value for mode, value in level.items()}
    keys = {"AWS_ACCESS_KEY_ID": cluster.s3_access_key, "AWS_SECRET_ACCESS_KEY": cluster.s3_secret_key}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "minio", "namespace": name},
            "stringData": keys,
        },
    )
