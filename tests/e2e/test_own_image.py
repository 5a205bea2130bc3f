"""An image of a team's own: its loop trains, and the rest is as with any other model."""

from __future__ import annotations

import json
from typing import Any

from devcluster.images import reference
from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.models import is_ready, is_stalled, message, model_url, quick_model, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.own_program import program

# Any image with Keras in it does, and the node has this one.
IMAGE = reference("trainer")

# What a program could want to know that is not its own; it ends with what it has found, for the status to tell.
CURIOUS = """\
import json, os, sys
def tried(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.strerror
    return "written"
keys = [name for name in os.environ if name.startswith("AWS")]
there = [path for path in ("/prepared", "/scratch", "/var/run/secrets/kubernetes.io") if os.path.exists(path)]
folders = ["", os.environ["KERAS_OPERATOR_DATA"], os.environ["KERAS_OPERATOR_WORK"]]
writes = [tried(folder + "/x") for folder in folders]
print(json.dumps({"user": os.getuid(), "keys": keys, "there": there, "writes": writes}))
sys.exit(3)
"""


def own(namespace: str, name: str, source: str, **spec: Any) -> dict[str, Any]:
    container = {"image": IMAGE, "command": ["python", "-c", source], "params": {"filters": 8}}
    training = {"architecture": None, "optimizer": None, "container": container, "epochs": 20}
    return quick_model(namespace, name, {"training": training, **spec})


def test_a_loop_of_ones_own_is_judged_published_and_served(api: ApiServer, s3: ObjectStore, namespace: str) -> None:
    gates = {"gates": [{"metric": "accuracy", "min": 0.5}]}
    api.apply(own(namespace, "own", program(), evaluation=gates))
    api.wait_for(MODEL, namespace, "own", is_ready, "a model of an image of its own that serves")
    version = api.get(VERSION, namespace, "own-1")
    assert version is not None
    status = version["status"]
    assert status["gates"][0]["met"] is True
    assert (status["epochs"], status["images"]["test"] > 0) == (20, True)
    assert "sha256:" in status["image"]
    assert float(status["parity"]) <= 1e-5
    history = json.loads(s3.read("models", f"{store_prefix(namespace, 'own')}/.runs/1/history.json"))
    assert len(history["val_loss"]) == 20
    digits = image_sets.quick_digits()
    found = predictions.by_files(model_url(api, namespace, "own"), digits)
    assert predictions.accuracy(found, digits) > 0.5


def test_its_end_is_told_with_its_last_words_and_it_sees_nothing_that_is_not_its_own(
    api: ApiServer, namespace: str
) -> None:
    api.apply(own(namespace, "curious", CURIOUS))
    model = api.wait_for(MODEL, namespace, "curious", is_stalled, "a sentence about the exit code")
    before, _, said = message(model).partition("ended with exit code 3: ")
    assert "container own of pod curious-1-train-" in before
    assert json.loads(said[: said.index("}") + 1]) == {
        "user": 65532,
        "keys": [],
        "there": [],
        "writes": ["Read-only file system", "Read-only file system", "written"],
    }
    assert len(api.objects("Pod", namespace)) == 1, "it was not tried again"
