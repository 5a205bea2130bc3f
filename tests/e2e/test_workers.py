"""Two workers train one network; one of them is killed, and both go on from the last checkpoint, in the same Job."""

from __future__ import annotations

import json
import os
import signal

from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.models import is_ready, message, quick_model, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.work_processes import work_of

EPOCHS = 150
INDEX = "batch.kubernetes.io/job-completion-index"


def test_two_workers_train_on_after_one_of_them_was_killed(
    api: ApiServer, s3: ObjectStore, neighbour: Served, victim: str
) -> None:
    namespace, prefix = neighbour.namespace, store_prefix(neighbour.namespace, victim)
    training = {"epochs": EPOCHS, "workers": 2, "resources": {"requests": {"cpu": "100m"}}}
    api.apply(quick_model(namespace, victim, {"training": training}))
    of_job = f"batch.kubernetes.io/job-name={victim}-1-train"

    api.wait_for(MODEL, namespace, victim, _beyond_five_epochs, "some epochs")
    assert sorted(_index(pod) for pod in api.objects("Pod", namespace, of_job)) == ["0", "1"]
    os.kill(work_of(f"{namespace}/{victim}", worker=1), signal.SIGKILL)
    # Whoever was not killed ends, too, and says why; then both begin again.
    again = api.wait_for(MODEL, namespace, victim, lambda model: "resumed from epoch" in message(model), "a resume")
    assert "epoch 0/" not in message(again)
    codes = {
        (_index(pod), status["state"]["terminated"]["exitCode"])
        for pod in api.objects("Pod", namespace, of_job)
        for status in pod["status"]["containerStatuses"]
        if "terminated" in status["state"]
    }
    assert codes == {("0", 76), ("1", 75)}
    api.wait_for(MODEL, namespace, victim, is_ready, "a version that serves")

    (version,) = api.objects(VERSION, namespace, f"keras-operator.dev/model={victim}")
    assert (version["status"]["phase"], version["status"]["epochs"]) == ("Published", EPOCHS)
    (job,) = api.objects("Job", namespace, f"keras-operator.dev/model={victim},app.kubernetes.io/component=train")
    assert job["status"]["succeeded"] >= 1
    history = json.loads(s3.read("models", f"{prefix}/.runs/1/history.json"))
    assert {len(values) for values in history.values()} == {EPOCHS}


def _beyond_five_epochs(model: Object) -> bool:
    return int(((model.get("status") or {}).get("progress") or {}).get("epoch") or 0) >= 5


def _index(pod: Object) -> str:
    return str(pod["metadata"]["labels"][INDEX])
