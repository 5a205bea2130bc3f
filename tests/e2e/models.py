"""KerasModel documents for tests: a right one, and changes to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.api_server import ApiServer, Object

# Small, but with everything that a larger model has.
_QUICK = """
apiVersion: keras-operator.dev/v1alpha1
kind: KerasModel
metadata: {}
spec:
  training:
    data: {uri: s3://datasets/quick, imageSize: [8, 8], colorMode: grayscale}
    architecture: {name: SmallCNN}
    optimizer: {name: adam, learningRate: 0.01}
    epochs: 6
    batchSize: 16
  store:
    endpoint: http://minio.minio.svc:9000
    credentials: {secretName: minio}
  serving:
    resources: {requests: {cpu: 50m}}
"""

_EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str, namespace: str) -> Object:
    """A document of `examples/` as it stands, but for a store of its own."""
    document: Object = yaml.safe_load((_EXAMPLES / name).read_text())
    document["metadata"]["namespace"] = namespace
    document["spec"]["store"]["uri"] = f"s3://models/{store_prefix(namespace, document['metadata']['name'])}"
    return document


def quick_model(namespace: str, name: str, *changes: Mapping[str, Any]) -> Object:
    """A model that is trained in seconds, with changes merged into its spec; None removes a field."""
    document: Object = yaml.safe_load(_QUICK)
    document["metadata"] = {"namespace": namespace, "name": name}
    document["spec"]["store"]["uri"] = f"s3://models/{store_prefix(namespace, name)}"
    for change in changes:
        document["spec"] = merged(document["spec"], change)
    return document


def store_prefix(namespace: str, name: str) -> str:
    """The prefix of a model's store in the bucket `models`."""
    return f"{namespace}/{name}"


def credentials(namespace: str, name: str, access_key: str, secret_key: str) -> Object:
    """A Secret as `store.credentials` takes it."""
    keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}


def merged(before: Any, change: Any) -> Any:
    """A JSON merge patch (RFC 7396), applied to a copy."""
    if not isinstance(before, Mapping) or not isinstance(change, Mapping):
        return change
    together = {key: value for key, value in before.items() if key not in change}
    for key, value in change.items():
        if value is not None:
            together[key] = merged(before.get(key, {}), value) if isinstance(value, Mapping) else value
    return together


# ---- where a model answers


def service_address(api: ApiServer, namespace: str, name: str, port: str = "http") -> str:
    """`host:port` of a model's Service as this machine reaches it, which has the routes but not the cluster's DNS."""
    service = api.get("Service", namespace, name)
    assert service is not None, f"there is no Service {namespace}/{name}"
    numbers = {one["name"]: one["port"] for one in service["spec"]["ports"]}
    return f"{service['spec']['clusterIP']}:{numbers[port]}"


def model_url(api: ApiServer, namespace: str, name: str) -> str:
    """The address of a model whose served name is its own; append `:predict`."""
    return f"http://{service_address(api, namespace, name)}/v1/models/{name}"


# ---- what a model's status says


def phase(model: Object) -> str | None:
    """`status.phase`, None before the operator has said anything."""
    return _status(model).get("phase")


def message(model: Object) -> str:
    """`status.message`."""
    return str(_status(model).get("message", ""))


def conditions(model: Object) -> dict[str, Object]:
    """The conditions by type."""
    return {condition["type"]: condition for condition in _status(model).get("conditions", [])}


def is_seen(model: Object) -> bool:
    """Whether the status is about the spec as it is now."""
    return bool(_status(model).get("observedGeneration") == model["metadata"]["generation"])


def is_ready(model: Object) -> bool:
    """Whether the spec as it is now is carried out."""
    return is_seen(model) and conditions(model).get("Ready", {}).get("status") == "True"


def is_stalled(model: Object) -> bool:
    """Whether the operator says that somebody has to do something about the spec as it is now."""
    return is_seen(model) and conditions(model).get("Stalled", {}).get("status") == "True"


def pod_is_ready(pod: Object) -> bool:
    """Whether requests may come to a pod."""
    ready = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", [])}.get("Ready")
    return ready == "True"


def restarts_of_runtime(pod: Object) -> int:
    """How often the runtime of a serving pod was started again."""
    (runtime,) = pod["status"]["containerStatuses"]
    return int(runtime["restartCount"])


def serves(number: int) -> Any:
    """A test for models that are ready with this version."""
    return lambda model: is_ready(model) and _status(model).get("servingVersion") == number


def _status(model: Object) -> Object:
    status: Object = model.get("status", {})
    return status
