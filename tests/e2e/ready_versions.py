"""Models whose first version is there already: no Job has to run for a test that is about something else."""

from __future__ import annotations

from typing import Any

import msgspec
from keras_operator.api import KerasModelVersionSpec, decode_model, inputs_hash

from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.models import store_prefix
from tests.e2e.object_store import ObjectStore

PUBLISHED = {"phase": "Published", "message": "is published"}


def apply_with_version(api: ApiServer, model: Object, status: Any = None) -> None:
    """Apply a model that has a version 1 of this status; the operator sees both at once."""
    namespace, name = model["metadata"]["namespace"], model["metadata"]["name"]
    made = api.apply({**model, "spec": {**model["spec"], "suspend": True}})
    spec = decode_model(made["spec"])
    frozen = KerasModelVersionSpec(
        model_name=name,
        number=1,
        inputs_hash=inputs_hash(spec),
        reason="the first version",
        training=spec.training,
        source=spec.source,
        store=spec.store,
    )
    owner = {
        "apiVersion": made["apiVersion"],
        "kind": MODEL,
        "name": name,
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        "namespace": namespace,
        "name": f"{name}-1",
        "labels": {"app.kubernetes.io/managed-by": "keras-operator", "keras-operator.dev/model": name},
        "ownerReferences": [owner],
    }
    version = {"apiVersion": made["apiVersion"], "kind": VERSION, "metadata": metadata}
    api.apply({**version, "spec": msgspec.to_builtins(frozen)})
    api.patch(VERSION, namespace, f"{name}-1", {"status": status or PUBLISHED}, sub="status")
    api.apply(model)


def copy_servable(s3: ObjectStore, served: Served, namespace: str, name: str) -> None:
    """Publish version 1 of a model that serves as version 1 of another."""
    source, target = store_prefix(served.namespace, served.name), store_prefix(namespace, name)
    for folder in ("1", ".runs/1"):
        s3.copy("models", f"{source}/{folder}", f"{target}/{folder}")
