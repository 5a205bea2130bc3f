"""TensorBoard beside a model: it shows the trainings, and goes when nobody wants it any more."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.models import is_ready, quick_model, service_address


def _is_available(deployment: Object) -> bool:
    return bool(deployment.get("status", {}).get("availableReplicas"))


def _tags_of(address: str, run: str) -> Any:
    """The scalars of a run, once TensorBoard has read it: it looks every few seconds."""
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"http://{address}/data/plugin/scalars/tags", timeout=10) as response:
            runs = json.load(response)
        if run in runs:
            return runs[run]
        assert time.monotonic() < deadline, f"TensorBoard does not show {run} but {sorted(runs)}"
        time.sleep(0.5)


def test_tensorboard_shows_the_trainings_until_nobody_wants_it(api: ApiServer, namespace: str) -> None:
    api.apply(quick_model(namespace, "seen", {"tensorboard": {"enabled": True}}))
    api.wait_for("Deployment", namespace, "seen-tensorboard", _is_available, "a TensorBoard that answers")
    api.wait_for(MODEL, namespace, "seen", is_ready, "a model that serves")
    address = service_address(api, namespace, "seen-tensorboard")
    assert "epoch_accuracy" in _tags_of(address, "1/train")

    serving = api.get("Deployment", namespace, "seen")
    assert serving is not None
    api.patch(MODEL, namespace, "seen", {"spec": {"tensorboard": None}})
    for kind in ("Deployment", "Service"):
        api.wait_gone(kind, namespace, "seen-tensorboard")
    after = api.get("Deployment", namespace, "seen")
    assert after is not None
    assert (after["metadata"]["uid"], after["spec"]) == (serving["metadata"]["uid"], serving["spec"])
