"""A node whose kubelet was told of a GPU: a training is given it, and says why it cannot learn on it."""

from __future__ import annotations

from devcluster.nodes import Node
from devcluster.places import here
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.device_plugin import devices
from tests.e2e.models import conditions, message, quick_model

GPU = "nvidia.com/gpu"


def test_a_training_is_given_a_gpu_and_does_not_hold_it_where_it_cannot_use_it(
    api: ApiServer, neighbour: Served, victim: str
) -> None:
    namespace = neighbour.namespace
    (node,) = api.objects("Node", None)
    sockets = Node(here()).folder / "kubelet" / "device-plugins"
    with devices(sockets, GPU, ["GPU-0"], "NVIDIA_VISIBLE_DEVICES") as given:
        name = node["metadata"]["name"]
        api.wait_for("Node", "", name, lambda seen: _gpus(seen) == "1", "a node with a GPU")
        api.apply(quick_model(namespace, victim, {"training": {"gpusPerWorker": 1}}))
        ended = api.wait_for(MODEL, namespace, victim, lambda model: "Stalled" in conditions(model), "a run that ends")
        (pod,) = api.objects("Pod", namespace, f"batch.kubernetes.io/job-name={victim}-1-train")
        assert given == [["GPU-0"]]
    assert message(ended) == (
        "version 1 failed: spec.training asks for 1 GPU and TensorFlow finds 0; the trainer's image is the "
        "one for processors: have the operator run with --trainer-gpu-image (docs/gpus.md), or train in a container "
        "of your own; or remove gpusPerWorker to learn on processors. To try again, delete kerasmodelversion "
        f"{victim}-1, or change spec.training"
    )
    assert conditions(ended)["Ready"]["reason"] == "NoGpu"
    assert pod["spec"]["containers"][0]["resources"]["limits"][GPU] == "1"
    # Devices of a plug-in that has gone can be given to nobody.
    api.wait_for("Node", "", name, lambda seen: _gpus(seen) == "0", "a node without a GPU")


def _gpus(node: Object) -> str | None:
    allocatable: dict[str, str] = node["status"]["allocatable"]
    return allocatable.get(GPU)
