"""Every file of `examples/` does what it says, as it stands but for a store of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmarks.demo.kubectl import Kubectl
from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import MakeNamespace, Served
from tests.e2e.models import example, is_ready, model_url, store_prefix

# MNIST's 70,000 images take minutes: `make bench-training ROW=mnist` trains and serves that file as it stands. Irises,
# people and what they write are no digits: test_tables.py has them.
ELSEWHERE = {"mnist.yaml", "irises.yaml", "diabetes.yaml", "reviews.yaml"}
FILES = sorted(
    path.name
    for path in (Path(__file__).resolve().parents[2] / "examples").glob("*.yaml")
    if path.name not in ELSEWHERE
)
Applied = dict[str, Object]
# Those of dogs have photographs of their own, and one of them needs what the other left: see test_dogs.py.
FILES = [file for file in FILES if not file.startswith("dogs")]


@pytest.fixture(scope="module")
def applied(api: ApiServer, make_namespace: MakeNamespace, digits_model: Served) -> Applied:
    """All at once, for they do not wait for each other; digits.yaml is served already."""
    namespace = make_namespace("examples")
    documents = {name: example(name, namespace) for name in FILES if name != "digits.yaml"}
    for document in documents.values():
        if source := document["spec"].get("source"):
            theirs = store_prefix(digits_model.namespace, digits_model.name)
            source["uri"] = source["uri"].replace("s3://models/digits", f"s3://models/{theirs}")
        api.apply(document)
    return documents | {"digits.yaml": example("digits.yaml", digits_model.namespace)}


@pytest.mark.parametrize("file", FILES)
def test_an_example_is_served_and_answers(api: ApiServer, kubectl: Kubectl, applied: Applied, file: str) -> None:
    document = applied[file]
    namespace, name, spec = document["metadata"]["namespace"], document["metadata"]["name"], document["spec"]
    api.wait_for(MODEL, namespace, name, is_ready, f"{file} that serves", seconds=540)

    digits = image_sets.known_and_held_out()[1][:100]
    url = model_url(api, namespace, name).replace(f"/{name}", f"/{spec['serving'].get('modelName', name)}")
    found = predictions.by_files(url, digits)
    gates = {gate["metric"]: gate for gate in spec.get("evaluation", {}).get("gates", [])}
    assert predictions.accuracy(found, digits) >= gates.get("accuracy", {}).get("min", 0) - 0.03
    version = api.get(VERSION, namespace, f"{name}-1")
    assert version is not None
    assert {result["metric"] for result in version["status"].get("gates", [])} == gates.keys()
    assert kubectl.run("diff", "-f", "-", text_in=yaml.safe_dump(document)) == "", "a GitOps tool would see a change"


@pytest.mark.parametrize("file", FILES)
def test_what_an_example_asks_of_serving_is_there(api: ApiServer, applied: Applied, file: str) -> None:
    document = applied[file]
    namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
    serving = document["spec"]["serving"]
    api.wait_for(MODEL, namespace, name, is_ready, f"{file} that serves", seconds=540)
    deployment = api.get("Deployment", namespace, name)
    autoscaler = api.get("HorizontalPodAutoscaler", namespace, name)
    assert deployment is not None
    if bounds := serving.get("autoscaling"):
        assert autoscaler is not None
        found = (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"])
        assert found == (bounds["minReplicas"], bounds["maxReplicas"])
    else:
        assert autoscaler is None
        assert deployment["spec"]["replicas"] == serving.get("replicas", 1)
    runtime = next(c for c in deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "runtime")
    assert runtime["resources"] == serving["resources"]
