"""Examples synced by Flux with drift correction every few seconds: nobody fights, and health says what is so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.demo.surroundings import Surroundings
from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.audit_log import AuditLog, Request
from tests.e2e.conftest import MakeNamespace, Served
from tests.e2e.flux import KUSTOMIZATION, USER, Flux, condition
from tests.e2e.models import example, is_ready, model_url, phase, serves
from tests.e2e.object_store import ObjectStore
from tests.e2e.operator_process import USER as OPERATOR
from tests.e2e.operator_process import Operator

NAME, BROUGHT, FOLDER = "digits", "digits-ready-made", "models"
MODELS = "keras-operator.dev/kerasmodels"
MOST_PODS = 2
SYNCS = 3
Change = dict[str, Any]


@pytest.fixture(scope="module")
def flux(
    api: ApiServer, cluster: Surroundings, s3: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flux]:
    """A controller that runs as long as this module's tests do."""
    controller = Flux(api, s3, tmp_path_factory.mktemp("flux") / "kustomize-controller.log")
    with controller.running(Path(cluster.kubeconfig)):
        yield controller


@dataclass(frozen=True)
class Repository:
    """What stands in git: two of the examples, with an overlay for this cluster."""

    namespace: str
    source: str
    """The SavedModel that the ready-made one is brought from."""

    def files(self, *changes: Change) -> dict[str, bytes]:
        """The folder, the first example's overlay ending with these changes."""
        overlay = [
            _set("store", "uri", f"s3://models/{self.namespace}/{NAME}"),
            # Less than an idle pod uses, so that the autoscaler always wants the most that it may have.
            _set("serving", "autoscaling", {"minReplicas": 1, "maxReplicas": MOST_PODS, "targetCPUUtilization": 1}),
            *changes,
        ]
        brought = [
            _set("store", "uri", f"s3://models/{self.namespace}/{BROUGHT}"),
            _set("source", "uri", self.source),
        ]
        patches = [
            {"target": {"kind": MODEL, "name": name}, "patch": yaml.safe_dump(patch)}
            for name, patch in ((NAME, overlay), (BROUGHT, brought))
        ]
        content = {"resources": ["digits.yaml", "ready-made.yaml"], "patches": patches}
        return {
            "kustomization.yaml": yaml.safe_dump(content).encode(),
            "digits.yaml": _example("digits.yaml"),
            "ready-made.yaml": _example("ready-made.yaml"),
        }


@dataclass(frozen=True)
class Synced:
    """The folder as it is after its first sync."""

    repository: Repository
    revision: str
    seen: list[tuple[str | None, str | None]]
    """Health of the folder and phase of its first model, each time that one of them changed on the way."""
    written: list[str]
    """What Flux wrote to models on the way."""

    @property
    def namespace(self) -> str:
        """Where it is synced to."""
        return self.repository.namespace


@pytest.fixture(scope="module")
def synced(api: ApiServer, audit: AuditLog, flux: Flux, make_namespace: MakeNamespace, digits_model: Served) -> Synced:
    """Both examples, in git and healthy in the cluster."""
    namespace, place = make_namespace("gitops"), audit.end()
    repository = Repository(namespace, f"s3://models/{digits_model.namespace}/{digits_model.name}/1")
    revision = flux.publish(namespace, FOLDER, repository.files())

    def look(folder: Object) -> tuple[str | None, str | None]:
        model = api.get(MODEL, namespace, NAME)
        return condition(folder, "Healthy").get("status"), phase(model) if model else None

    with api.recorded(KUSTOMIZATION, namespace, FOLDER, look) as seen:
        flux.sync(namespace, FOLDER)
        flux.wait_healthy(namespace, FOLDER, revision)
    return Synced(repository, revision, list(seen), _writes_to_models(audit, place, namespace))


@pytest.fixture
def folder(flux: Flux, synced: Synced) -> Iterator[Synced]:
    """The synced folder, for a test that commits or meddles; everything is as it was afterwards."""
    yield synced
    flux.publish(synced.namespace, FOLDER, synced.repository.files())
    flux.wait_healthy(synced.namespace, FOLDER, synced.revision)


def test_a_folder_is_healthy_when_its_models_serve_and_not_before(api: ApiServer, synced: Synced) -> None:
    assert {phase for healthy, phase in synced.seen if healthy == "True"} == {"Serving"}
    assert ("Unknown", "Training") in synced.seen, synced.seen
    for name in (NAME, BROUGHT):
        model = api.get(MODEL, synced.namespace, name)
        assert model is not None
        assert is_ready(model)


def test_neither_side_writes_while_the_autoscaler_scales(
    api: ApiServer, audit: AuditLog, flux: Flux, synced: Synced
) -> None:
    place = audit.end()

    def scaled(model: Object) -> bool:
        return is_ready(model) and f"{MOST_PODS}/{MOST_PODS} pods" in model["status"]["message"]

    api.wait_for(MODEL, synced.namespace, NAME, scaled, "the autoscaler's pods")
    before, at_rest = _specs(api, synced.namespace), audit.end()
    _wait_for_syncs(api, audit, synced.namespace, at_rest)

    created = [f"patch {MODELS} {synced.namespace}/{name} -> 201" for name in (NAME, BROUGHT)]
    assert sorted(synced.written) == created, "Flux wrote more than what stood in git"
    assert not _writes_to_models(audit, place, synced.namespace), "Flux saw drift"
    operator_wrote = [str(one) for one in audit.writes(at_rest, OPERATOR) if one.namespace == synced.namespace]
    assert not operator_wrote, "the operator wrote at rest"
    assert _specs(api, synced.namespace) == before


def test_an_edit_by_hand_is_taken_back_once(api: ApiServer, audit: AuditLog, folder: Synced) -> None:
    namespace, place = folder.namespace, audit.end()
    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"autoscaling": {"maxReplicas": MOST_PODS + 3}}}})
    api.wait_for(MODEL, namespace, NAME, lambda model: _most_pods(model["spec"]["serving"]) == MOST_PODS, "git's word")
    api.wait_for(
        "HorizontalPodAutoscaler",
        namespace,
        NAME,
        lambda scaler: bool(scaler["spec"]["maxReplicas"] == MOST_PODS),
        "the autoscaler of git's model",
    )
    _wait_for_syncs(api, audit, namespace, audit.end())

    took_back = _writes_to_models(audit, place, namespace)
    assert took_back == [f"patch keras-operator.dev/kerasmodels {namespace}/{NAME} -> 200"]


def test_a_bad_commit_is_unhealthy_and_its_revert_heals_without_training(
    api: ApiServer, flux: Flux, folder: Synced
) -> None:
    namespace = folder.namespace
    bad = flux.publish(
        namespace, FOLDER, folder.repository.files(_set("training", "data", {"uri": "s3://datasets/no-images"}))
    )

    said = flux.wait_unhealthy(namespace, FOLDER, bad)

    assert f"KerasModel/{namespace}/{NAME}" in said
    model = api.get(MODEL, namespace, NAME)
    assert model is not None
    assert (phase(model), model["status"]["servingVersion"]) == ("Failed", 1)
    digits = image_sets.known_and_held_out()[1][:20]
    assert predictions.accuracy(predictions.by_floats(model_url(api, namespace, NAME), digits), digits) > 0.5

    jobs = _uids(api, "Job", namespace)
    good = flux.publish(namespace, FOLDER, folder.repository.files())
    assert good == folder.revision
    flux.wait_healthy(namespace, FOLDER, good)
    api.wait_for(MODEL, namespace, NAME, serves(1), "version 1 again")
    assert _uids(api, "Job", namespace) <= jobs, "the revert trained something"


def test_a_model_that_nobody_has_looked_at_is_not_healthy(
    flux: Flux, operator: Operator, make_namespace: MakeNamespace
) -> None:
    namespace = make_namespace("unseen")
    with operator.stopped():
        model = yaml.safe_dump(example("digits.yaml", namespace)).encode()
        revision = flux.publish(namespace, FOLDER, {"model.yaml": model})
        flux.sync(namespace, FOLDER, timeout="6s")
        said = flux.wait_unhealthy(namespace, FOLDER, revision)
        flux.remove(namespace, FOLDER)
    assert f"KerasModel/{namespace}/{NAME}" in said
    assert "InProgress" in said


def test_what_leaves_git_leaves_the_cluster(api: ApiServer, flux: Flux, make_namespace: MakeNamespace) -> None:
    namespace = make_namespace("pruned")
    model = example("digits.yaml", namespace)
    model["spec"]["suspend"] = True
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stays"}}
    both = {"model.yaml": yaml.safe_dump(model).encode(), "other.yaml": yaml.safe_dump(other).encode()}
    flux.publish(namespace, FOLDER, both)
    flux.sync(namespace, FOLDER, wait=False)
    api.wait_for(MODEL, namespace, NAME, lambda model: phase(model) == "Suspended", "a suspended model")

    del both["model.yaml"]
    flux.publish(namespace, FOLDER, both)
    api.wait_gone(MODEL, namespace, NAME)
    assert api.get("ConfigMap", namespace, "stays") is not None


# ---- what stands in git


def _example(name: str) -> bytes:
    return (Path(__file__).resolve().parents[2] / "examples" / name).read_bytes()


def _set(part: str, field: str, value: Any) -> Change:
    """A line of an overlay."""
    return {"op": "add", "path": f"/spec/{part}/{field}", "value": value}


# ---- what happened


def _wait_for_syncs(api: ApiServer, audit: AuditLog, namespace: str, place: int) -> None:
    """Return once Flux has compared git and the cluster often enough for a fight to be seen."""

    def compared(_: Object) -> bool:
        return _checked([one for one in audit.since(place) if one.namespace == namespace]) >= SYNCS

    api.wait_for(KUSTOMIZATION, namespace, FOLDER, compared, f"{SYNCS} comparisons")


def _checked(requests: list[Request]) -> int:
    """How often Flux has asked by a dry run whether the first model is as git wants it."""
    return sum(1 for one in requests if one.user == USER and one.dry_run and (one.resource, one.name) == (MODELS, NAME))


def _writes_to_models(audit: AuditLog, place: int, namespace: str) -> list[str]:
    """What Flux has written to models after `place`, and not only tried."""
    wrote = [one for one in audit.writes(place, USER) if one.namespace == namespace]
    return [str(one) for one in wrote if one.resource == MODELS]


def _specs(api: ApiServer, namespace: str) -> dict[str, Object]:
    """What is wanted of each kind that Flux or the operator keeps."""
    kinds = (MODEL, "Deployment", "Service", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget")
    found = [(kind, content) for kind in kinds for content in api.objects(kind, namespace)]
    return {f"{kind} {content['metadata']['name']}": content["spec"] for kind, content in found}


def _most_pods(serving: Object) -> int:
    most: int = serving["autoscaling"]["maxReplicas"]
    return most


def _uids(api: ApiServer, kind: str, namespace: str) -> set[str]:
    return {content["metadata"]["uid"] for content in api.objects(kind, namespace)}
