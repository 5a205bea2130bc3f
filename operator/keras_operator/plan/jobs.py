"""The Jobs of a run: what their templates print."""

from typing import Any

import msgspec

from keras_operator.api import GPU, Cache, KerasModelSpec, RunSpec, RunStage, Training, store_digest
from keras_operator.plan.desired import Desired, Template
from keras_operator.plan.images import Images, Installation
from keras_operator.plan.observed import Model, Version
from keras_operator.plan.own_container import own_container, without_devices
from keras_operator.plan.workers import PORT, workers_name

# An export reads one trained model and writes one servable: an hour is a broken store, not a large model.
_EXPORT_DEADLINE_SECONDS = 3600
_TEMPLATES = {RunStage.TRAIN: Template.TRAIN_JOB, RunStage.EXPORT: Template.EXPORT_JOB}


def deadline_seconds(version: Version, stage: RunStage) -> int:
    """Seconds after which a stage's Job is stopped."""
    if stage is RunStage.TRAIN and version.spec.training is not None:
        return version.spec.training.active_deadline_seconds
    return _EXPORT_DEADLINE_SECONDS


def way_digest(spec: KerasModelSpec, stage: RunStage) -> str:
    """A digest of how a stage's Job reaches its store, for a Job that waits and is made anew once that is corrected."""
    return store_digest(spec.store, _data_cache(spec, stage))


def _data_cache(spec: KerasModelSpec, stage: RunStage) -> Cache | None:
    return spec.training.data.cache if spec.training and stage is RunStage.TRAIN else None


def evaluating_stage(version: Version) -> RunStage | None:
    """The stage that measures how good a version is; None for a source without test data."""
    if version.spec.source is None:
        return RunStage.TRAIN
    return None if version.spec.source.test_data is None else RunStage.EXPORT


def desired_job(
    model: Model,
    spec: KerasModelSpec,
    version: Version,
    stage: RunStage,
    installation: Installation,
    serving: int | None,
) -> Desired:
    """The Job of one stage of a version's run; `serving` is the version that serves.

    What is learned is frozen in the version; how the store is reached, and by which cache, is the model's as it is now,
    so that corrected credentials or a corrected claim help a version that waits.
    """
    identity = model.identity
    name = f"{version.identity.name}-{stage.value}"
    image = _image(version.spec.training, stage, installation.images)
    run = RunSpec(
        model=f"{identity.namespace}/{identity.name}",
        model_name=spec.serving.model_name or identity.name,
        number=version.number,
        owner=version.identity.uid,
        training=version.spec.training,
        source=version.spec.source,
        store=spec.store,
        inputs_hash=version.spec.inputs_hash,
        image=image,
        serving=serving if stage is evaluating_stage(version) else None,
        gates=spec.evaluation.gates if stage is RunStage.EXPORT else (),
    )
    training = version.spec.training
    where = _where_and_when(training, stage)
    cache = _data_cache(spec, stage)
    values: dict[str, Any] = {
        "model": identity.name,
        "namespace": identity.namespace,
        "name": name,
        "owner_kind": "KerasModelVersion",
        "owner_name": version.identity.name,
        "owner_uid": version.identity.uid,
        "number": version.number,
        "service_account": identity.name,
        "image": image,
        "run": msgspec.json.encode(run, order="deterministic").decode(),
        **where,
        "own": own_container(training, stage, run.model, version.number, where["resources"]),
        "active_deadline_seconds": deadline_seconds(version, stage),
        "builder_ref": _builder_ref(version, stage),
        "store_digest": way_digest(spec, stage),
        "cache_claim": cache.claim_name if cache else None,
        "cache_gigabytes": cache.max_gigabytes if cache else None,
        "secret_name": spec.store.credentials.secret_name if spec.store.credentials else None,
        **_world(identity.name, name, training, stage),
    }
    if values["own"]:
        values["resources"] = without_devices(where["resources"])
    return Desired(_TEMPLATES[stage], name, values)


def _image(training: Training | None, stage: RunStage, images: Images) -> str:
    """The trainer's; where a training is to use GPUs, the one that can. A container of one's own uses them itself."""
    if training is None or training.container is not None or stage is not RunStage.TRAIN or not training.gpus:
        return images.trainer
    return images.trainer_gpu or images.trainer


def _world(model: str, job: str, training: Training | None, stage: RunStage) -> dict[str, Any]:
    """How many pods work on it, and where the first one listens: Kubernetes calls it by its Job and its number."""
    workers = training.workers if training and stage is RunStage.TRAIN else 1
    service = workers_name(model)
    return {"workers": workers, "workers_service": service, "chief": f"{job}-0.{service}:{PORT}"}


def _where_and_when(training: Training | None, stage: RunStage) -> dict[str, Any]:
    """Resources, nodes and queue. An export computes little, and a version waits for it: it needs no GPU, no turn."""
    if training is None:
        return {"resources": {}, "node_selector": {}, "tolerations": [], "priority_class": None, "queue": None}
    resources = msgspec.to_builtins(training.resources)
    tolerations = msgspec.to_builtins(training.tolerations)
    trains = stage is RunStage.TRAIN
    if training.gpus_per_worker and trains:
        resources = {**resources, "limits": {**resources.get("limits", {}), GPU: training.gpus_per_worker}}
        tolerations = [*tolerations, {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return {
        "resources": resources,
        "node_selector": training.node_selector,
        "tolerations": tolerations,
        "priority_class": training.priority_class_name,
        "queue": training.queue_name if trains else None,
    }


def _builder_ref(version: Version, stage: RunStage) -> dict[str, str] | None:
    """Where the network's source lies in the namespace. An export takes what the training kept of it."""
    builder = version.spec.training.builder if version.spec.training else None
    if stage is not RunStage.TRAIN or builder is None or builder.config_map_key_ref is None:
        return None
    return {"name": builder.config_map_key_ref.name, "key": builder.config_map_key_ref.key}
