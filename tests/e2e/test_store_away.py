"""The object store is away for more than five minutes: in the middle of a training, and as a result is uploaded.

`make store-away` has the time for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import conditions, is_ready, message, model_url, phase, quick_model, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.tcp_proxy import TcpProxy

AWAY = 320
"""Seconds, which is longer than any call to the store is tried again."""
TRAINED = 450
"""Seconds of training: some before the store goes, and some when it is back."""
EPOCHS = 40
LEARNING, FINISHING = "learning", "finishing"


@pytest.fixture
def wires(s3: ObjectStore) -> Iterator[dict[str, TcpProxy]]:
    """A way to MinIO for each of two models."""
    with TcpProxy.before(s3.endpoint) as one, TcpProxy.before(s3.endpoint) as other:
        yield {LEARNING: one, FINISHING: other}


@pytest.mark.timeout(1800)
def test_nothing_is_lost_and_nothing_repeated(
    api: ApiServer, s3: ObjectStore, make_namespace: MakeNamespace, wires: dict[str, TcpProxy], tmp_path: Path
) -> None:
    namespace = make_namespace("away")
    for name, training in {
        # Large images for a slow pace, a checkpoint as often as may be, and an end by the clock.
        LEARNING: {
            "data": {"imageSize": [48, 48]},
            "epochs": 100_000,
            "maxDurationSeconds": TRAINED,
            "resources": {"limits": {"cpu": "500m"}},
        },
        FINISHING: {"epochs": EPOCHS},
    }.items():
        store = {"store": {"endpoint": wires[name].url}}
        api.apply(quick_model(namespace, name, {"training": training}, store))
    wires[FINISHING].cut_at(f"PUT /models/{store_prefix(namespace, FINISHING)}/.runs/1/model.".encode())
    checkpoints = f"{store_prefix(namespace, LEARNING)}/.runs/1/checkpoints"
    api.wait_for(MODEL, namespace, LEARNING, lambda _: bool(s3.listing("models", checkpoints)), "a checkpoint")
    assert wires[FINISHING].was_cut.wait(300), "no result was ever uploaded"
    wires[LEARNING].cut()
    kept, began = s3.listing("models", checkpoints), time.monotonic()

    before = _epoch(api.get(MODEL, namespace, LEARNING) or {})
    during = list(filter(None, api.watch(MODEL, namespace, LEARNING, AWAY)))
    after = _epoch(during[-1])
    assert after > before + 10, "training stood still while the store was away"
    assert {phase(model) for model in during} == {"Training"}
    assert not any("resumed" in message(model) for model in during)
    assert "Stalled" not in {kind for model in during for kind in conditions(model)}, "no person has to do anything yet"
    assert s3.listing("models", checkpoints) == kept, "the store was not away"

    for wire in wires.values():
        wire.mend()
    print(f"\nthe store was away for {time.monotonic() - began:.0f} s, in which {after - before} epochs were trained")
    for name in wires:
        api.wait_for(MODEL, namespace, name, is_ready, f"a version of {name} that serves", seconds=2 * TRAINED)
        jobs = [job["metadata"]["name"] for job in api.objects("Job", namespace, f"keras-operator.dev/model={name}")]
        assert sorted(jobs) == [f"{name}-1-export", f"{name}-1-train"]
        version = api.get(VERSION, namespace, f"{name}-1")
        assert version is not None
        history = json.loads(s3.read("models", f"{store_prefix(namespace, name)}/.runs/1/history.json"))
        epochs = list(range(1, version["status"]["epochs"] + 1))
        assert {len(values) for values in history.values()} == {len(epochs)}
        assert _steps(s3, f"{store_prefix(namespace, name)}/.runs/1/tensorboard/train", tmp_path) == epochs
        pods = api.objects("Pod", namespace, f"batch.kubernetes.io/job-name={name}-1-train")
        print(f"{name}: {len(epochs)} epochs, each trained once, by {len(pods)} pod(s)")
    learned = api.get(VERSION, namespace, f"{LEARNING}-1")
    assert learned is not None
    assert learned["status"]["epochs"] > after, "it ended while the store was away"
    assert len(api.objects("Pod", namespace, f"batch.kubernetes.io/job-name={LEARNING}-1-train")) == 1

    digits = image_sets.quick_digits(image_sets.known_and_held_out()[1])
    found = predictions.by_files(model_url(api, namespace, FINISHING), digits)
    assert predictions.accuracy(found, digits) > 0.5


def _epoch(model: Object) -> int:
    return int(((model.get("status") or {}).get("progress") or {}).get("epoch") or 0)


def _steps(s3: ObjectStore, prefix: str, folder: Path) -> list[int]:
    """Every epoch whose loss TensorBoard's log in the store has, as often as it has it."""
    # Importing TensorFlow takes seconds.
    import tensorflow as tf

    files = []
    for key in s3.listing("models", prefix):
        path = folder / key.replace("/", "-")
        path.write_bytes(s3.read("models", key))
        files.append(str(path))
    events: Any = (tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(files))
    return sorted(event.step for event in events for value in event.summary.value if value.tag == "epoch_loss")
