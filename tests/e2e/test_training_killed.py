"""A training pod is deleted, and another one's work is killed: the run goes on where it was, in one Job."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.models import is_ready, message, phase, quick_model, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.work_processes import work_of

EPOCHS = 400


def test_a_training_goes_on_where_it_was_killed(
    api: ApiServer, s3: ObjectStore, neighbour: Served, victim: str
) -> None:
    namespace, prefix = neighbour.namespace, store_prefix(neighbour.namespace, victim)
    api.apply(quick_model(namespace, victim, {"training": {"epochs": EPOCHS}}))
    pods = f"batch.kubernetes.io/job-name={victim}-1-train"

    api.wait_for(MODEL, namespace, victim, _beyond(3), "some epochs")
    (first,) = api.objects("Pod", namespace, pods)
    # SIGTERM: what was done is saved, and nothing of it is done again.
    api.delete("Pod", namespace, first["metadata"]["name"])
    resumed = api.wait_for(MODEL, namespace, victim, lambda model: "resumed from epoch" in message(model), "a resume")
    assert phase(resumed) == "Training"
    start = _epoch(resumed)
    assert start >= 3, "the epochs of the deleted pod were lost"

    api.wait_for(MODEL, namespace, victim, _beyond(start + 3), "more epochs")
    # SIGKILL: the last checkpoint counts.
    os.kill(work_of(f"{namespace}/{victim}"), signal.SIGKILL)
    api.wait_for(MODEL, namespace, victim, is_ready, "a version that serves")

    (version,) = api.objects(VERSION, namespace, f"keras-operator.dev/model={victim}")
    assert (version["status"]["phase"], version["status"]["epochs"]) == ("Published", EPOCHS)
    jobs = [job["metadata"]["name"] for job in api.objects("Job", namespace, f"keras-operator.dev/model={victim}")]
    assert sorted(jobs) == [f"{victim}-1-export", f"{victim}-1-train"]
    history = json.loads(s3.read("models", f"{prefix}/.runs/1/history.json"))
    assert {name: len(values) for name, values in history.items()} == dict.fromkeys(
        ("accuracy", "loss", "val_accuracy", "val_loss"), EPOCHS
    )
    left = s3.listing("models", f"{prefix}/.runs/1")
    assert not [key for key in left if "/checkpoints/" in key], "checkpoints of a finished run"
    assert [key for key in left if "/tensorboard/train/" in key]


def _epoch(model: Object) -> int:
    return int(((model.get("status") or {}).get("progress") or {}).get("epoch") or 0)


def _beyond(epoch: int) -> Callable[[Object], bool]:
    return lambda model: _epoch(model) >= epoch
