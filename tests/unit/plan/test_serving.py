"""Which version serves, and the children that serve it."""

import dataclasses

import pytest
from keras_operator.api import (
    Autoscaling,
    Batching,
    Behavior,
    ContainerResourceSource,
    Credentials,
    KerasModelStatus,
    MeasuredResource,
    MetricEntry,
    MetricType,
    Resources,
    ResourceTarget,
    ResourceTargetType,
    RunStage,
    Runtime,
    ScalingRules,
    Store,
    VersionPhase,
)
from keras_operator.plan.desired import Removal, Seed, Template
from keras_operator.plan.observed import JobState

from tests.unit.plan.observations import (
    answer,
    brought,
    child,
    condition,
    decide,
    deployment,
    export_result,
    job,
    kept,
    message,
    phase,
    published,
    run_pod,
    serving_pod,
    trained,
    version,
)

ONE, TWO = trained(), trained(epochs=20)
CPU = Resources(requests={"cpu": "500m"})
SCALED = {"serving_resources": CPU}

WANTED = {
    "nothing is published": (ONE, [version(1, ONE, VersionPhase.TRAINING)], None, None),
    "the first version is published": (ONE, [published(1, ONE)], None, 1),
    "the current version is published": (TWO, [published(1, ONE), published(2, TWO)], 1, 2),
    "an older version is asked for again": (ONE, [published(1, ONE), published(2, TWO)], 2, 1),
    "the current version trains": (TWO, [published(1, ONE), version(2, TWO, VersionPhase.TRAINING)], 1, 1),
    "the current version was rejected": (TWO, [published(1, ONE), version(2, TWO, VersionPhase.REJECTED)], 1, 1),
    "the current version failed": (TWO, [published(1, ONE), version(2, TWO, VersionPhase.FAILED, reason="X")], 1, 1),
    "the next version is still to be made": (TWO, [published(1, ONE)], 1, 1),
    "what serves is no longer listed": (TWO, [version(2, TWO, VersionPhase.TRAINING)], 1, 1),
    "the Deployment was deleted meanwhile": (
        trained(epochs=30),
        [published(1, ONE), published(2, TWO)],
        None,
        2,
    ),
    "the Deployment was deleted, and nothing had served": (trained(epochs=30), [published(3, TWO)], None, 3),
    "the Deployment lost its label": (trained(epochs=30), [published(1, ONE)], 0, 1),
    "pinned": (trained(epochs=20, version=1), [published(1, ONE), published(2, TWO)], 2, 1),
    "pinned to what is not there": (trained(epochs=20, version=9), [published(1, ONE), published(2, TWO)], 1, 1),
    "pinned to what was rejected": (
        trained(epochs=20, version=2),
        [published(1, ONE), version(2, TWO, VersionPhase.REJECTED)],
        1,
        1,
    ),
    "pinned to what is not there, nothing serves": (trained(version=9), [published(1, ONE)], None, 1),
}


@pytest.mark.parametrize(("spec", "versions", "serving", "wanted"), WANTED.values(), ids=WANTED.keys())
def test_only_a_published_version_starts_to_serve_and_what_serves_goes_on(spec, versions, serving, wanted):
    live = None if serving is None else deployment(serving)
    desired = kept(decide(spec, *versions, deployment=live), Template.DEPLOYMENT)
    assert (desired and desired.values["number"]) == wanted


LAST_SERVED = {
    "an older one": (1, 1),
    "the newest": (2, 2),
    "one that is gone": (7, 2),
    "one that was never published": (3, 2),
    "none": (None, 2),
}


@pytest.mark.parametrize(("last", "wanted"), LAST_SERVED.values(), ids=LAST_SERVED.keys())
def test_what_served_last_comes_back_when_somebody_deletes_the_deployment(last, wanted):
    """The spec had been changed back to the first version, and now asks for a fourth, which trains."""
    versions = (published(1, ONE), published(2, TWO), version(3, trained(epochs=25), VersionPhase.REJECTED))
    status = KerasModelStatus(serving_version=last)
    desired = kept(decide(trained(epochs=30), *versions, status=status), Template.DEPLOYMENT)
    assert desired is not None
    assert desired.values["number"] == wanted


def test_a_version_that_is_published_now_is_rolled_out_now():
    done = job(1, RunStage.EXPORT, JobState.COMPLETE)
    todo = decide(
        ONE,
        version(1, ONE, VersionPhase.EXPORTING),
        jobs=(done,),
        pods=(run_pod(done, answer(export_result())),),
    )
    desired = kept(todo, Template.DEPLOYMENT)
    assert desired is not None
    assert desired.values["number"] == 1
    assert (phase(todo), message(todo)) == ("Deploying", "version 1 is being rolled out")


PINS = {
    "not there": (
        9,
        "VersionNotFound",
        (
            "serving.version is 9, and there is no version 9: name a published version in serving.version, or remove "
            "it to serve the newest; version 1 serves on 1/1 pods"
        ),
    ),
    "not published": (
        2,
        "VersionNotPublished",
        (
            "serving.version is 2, and version 2 is rejected, not published: name a published version in "
            "serving.version, or remove it to serve the newest; version 1 serves on 1/1 pods"
        ),
    ),
    "not even begun": (
        3,
        "VersionNotPublished",
        (
            "serving.version is 3, and version 3 is pending, not published: name a published version in "
            "serving.version, or remove it to serve the newest; version 1 serves on 1/1 pods"
        ),
    ),
}


@pytest.mark.parametrize(("pin", "reason", "sentence"), PINS.values(), ids=PINS.keys())
def test_a_pin_that_cannot_be_followed_is_explained(pin, reason, sentence):
    spec = trained(version=pin)
    todo = decide(
        spec,
        published(1, ONE),
        version(2, TWO, VersionPhase.REJECTED),
        version(3, trained(epochs=30), None),
        deployment=deployment(1),
        pods=(serving_pod(1),),
    )
    stalled = condition(todo, "Stalled")
    assert stalled is not None
    assert (phase(todo), message(todo), stalled.reason) == ("Serving", sentence, reason)


def test_without_a_version_the_address_is_there_already():
    todo = decide(ONE)
    assert [one.template for one in todo.keep] == [
        Template.SERVICE_ACCOUNT,
        Template.SERVICE,
        Template.NETWORK_POLICY,
    ]
    assert {one.name for one in todo.keep} == {"dogs"}
    assert todo.keep[0].values == {
        "model": "dogs",
        "namespace": "vision",
        "name": "dogs",
        "owner_kind": "KerasModel",
        "owner_name": "dogs",
        "owner_uid": "uid-dogs",
        "operator_namespace": "keras-operator-system",
    }
    assert (todo.remove, todo.seed) == ((), None)


def deployed(**changes: object) -> dict[str, object]:
    spec = trained(**changes)
    desired = kept(decide(spec, published(1, spec)), Template.DEPLOYMENT)
    assert desired is not None
    return dict(desired.values)


def test_a_deployment_of_defaults():
    values = deployed()
    shared = {"model", "namespace", "name", "owner_kind", "owner_name", "owner_uid", "operator_namespace"}
    assert shared < set(values)
    assert {name: value for name, value in values.items() if name not in shared} == {
        "canary": False,
        "number": 1,
        "renewal": None,
        "cache_claim": None,
        "cache_gigabytes": None,
        "replicas": 1,
        "service_account": "dogs",
        "agent_image": "server:1",
        "runtime_image": "server:1",
        "keras_server": True,
        "request_ms": 30_000,
        "timeout_ms": 300_000,
        "grace_seconds": 45,
        "served_name": "dogs",
        "store_uri": "s3://models/dogs",
        "store_endpoint": None,
        "secret_name": None,
        "batching_parameters": "",
        "resources": {},
    }


def test_a_deployment_with_everything():
    store = Store(uri="s3://models/x", endpoint="http://minio:9000", credentials=Credentials(secret_name="minio"))
    values = deployed(
        replicas=3,
        runtime=Runtime.TENSORFLOW_SERVING,
        model_name="Dogs",
        batching=Batching(max_batch_size=8, timeout_micros=500),
        serving_resources=Resources(requests={"cpu": "1"}, limits={"memory": "1Gi"}),
        store=store,
    )
    assert values["replicas"] == 3
    assert values["agent_image"] == "server:1"
    assert values["runtime_image"] == "tensorflow/serving:1"
    assert values["served_name"] == "Dogs"
    assert values["batching_parameters"] == "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 500 }\n"
    assert values["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    assert (values["store_uri"], values["store_endpoint"], values["secret_name"]) == (
        "s3://models/x",
        "http://minio:9000",
        "minio",
    )


def templates(spec: object, **seen: object) -> set[Template]:
    return {one.template for one in decide(spec, published(1, ONE), **seen).keep}  # type: ignore[arg-type]


AUTOSCALED = trained(autoscaling=Autoscaling(min_replicas=2, max_replicas=6, target_cpu_utilization=55), **SCALED)


def test_an_autoscaler_gets_its_bounds_and_the_deployment_leaves_the_count_to_it():
    todo = decide(AUTOSCALED, published(1, ONE))
    desired, live = kept(todo, Template.AUTOSCALER), kept(todo, Template.DEPLOYMENT)
    assert desired is not None
    assert live is not None
    assert live.values["replicas"] is None
    told = {"min_replicas": 2, "max_replicas": 6, "target_cpu_utilization": 55, "metrics": [], "behavior": None}
    assert desired.values == {**dict(todo.keep[0].values), **told}


def test_an_autoscaler_goes_by_the_metrics_that_were_written_and_as_fast_as_they_say():
    memory = ContainerResourceSource(
        name=MeasuredResource.MEMORY,
        container="runtime",
        target=ResourceTarget(type=ResourceTargetType.AVERAGE_VALUE, average_value="1Gi"),
    )
    written = Autoscaling(
        metrics=(MetricEntry(type=MetricType.CONTAINER_RESOURCE, container_resource=memory),),
        behavior=Behavior(scale_down=ScalingRules(stabilization_window_seconds=0)),
    )
    desired = kept(decide(trained(autoscaling=written), published(1, ONE)), Template.AUTOSCALER)
    assert desired is not None
    target = {"type": "AverageValue", "averageValue": "1Gi"}
    source = {"name": "memory", "container": "runtime", "target": target}
    assert desired.values["metrics"] == [{"type": "ContainerResource", "containerResource": source}]
    assert desired.values["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 0}}


def test_without_a_word_an_autoscaler_goes_by_cpu():
    desired = kept(decide(trained(autoscaling=Autoscaling(), **SCALED), published(1, ONE)), Template.AUTOSCALER)
    assert desired is not None
    assert (desired.values["target_cpu_utilization"], desired.values["metrics"]) == (70, [])


def test_an_autoscaler_never_has_a_maximum_below_its_minimum():
    spec = trained(autoscaling=Autoscaling(min_replicas=9, max_replicas=3), **SCALED)
    desired = kept(decide(spec, published(1, ONE)), Template.AUTOSCALER)
    assert desired is not None
    assert desired.values["max_replicas"] == 9


def test_without_autoscaling_there_is_no_autoscaler():
    assert Template.AUTOSCALER not in templates(trained(replicas=5))


BUDGETS = {
    "one pod": (trained(), False),
    "two pods": (trained(replicas=2), True),
    "autoscaled from one": (trained(autoscaling=Autoscaling(min_replicas=1, max_replicas=9), **SCALED), False),
    "autoscaled from two": (AUTOSCALED, True),
}


@pytest.mark.parametrize(("spec", "budget"), BUDGETS.values(), ids=BUDGETS.keys())
def test_a_disruption_budget_needs_two_pods(spec, budget):
    assert (Template.DISRUPTION_BUDGET in templates(spec)) is budget


EXTRAS = {kind: child(kind) for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Service")}


def test_what_is_no_longer_wanted_is_removed_by_its_uid():
    todo = decide(ONE, published(1, ONE), children=EXTRAS)
    assert todo.remove == (
        Removal("HorizontalPodAutoscaler", "dogs", "uid-HorizontalPodAutoscaler"),
        Removal("PodDisruptionBudget", "dogs", "uid-PodDisruptionBudget"),
    )


def test_every_child_bears_the_models_name_and_what_all_of_them_share():
    todo = decide(AUTOSCALED, published(1, ONE))
    assert len(todo.keep) == 6
    shared = dict(todo.keep[0].values)
    for desired in todo.keep:
        assert desired.name == "dogs"
        assert shared.items() <= dict(desired.values).items()


def test_what_is_wanted_is_not_removed():
    assert decide(AUTOSCALED, published(1, ONE), children=EXTRAS).remove == ()


def test_what_is_on_its_way_out_is_not_removed_again():
    going = {
        kind: dataclasses.replace(one, identity=dataclasses.replace(one.identity, deleting=True))
        for kind, one in EXTRAS.items()
    }
    assert decide(ONE, published(1, ONE), children=going).remove == ()


SEEDS = {
    "no autoscaling": (trained(replicas=4), deployment(1, 4), None),
    "a new Deployment, one pod at least": (
        trained(autoscaling=Autoscaling(min_replicas=1), **SCALED),
        None,
        None,
    ),
    "a new Deployment, two pods at least": (AUTOSCALED, None, Seed(2)),
    "autoscaling is switched on": (AUTOSCALED, deployment(1, 4), Seed(4)),
    "the autoscaler has it already": (AUTOSCALED, deployment(1, 4, owns_replicas=False), None),
}


@pytest.mark.parametrize(("spec", "live", "seed"), SEEDS.values(), ids=SEEDS.keys())
def test_the_autoscaler_starts_from_the_pods_that_are_there(spec, live, seed):
    assert decide(spec, published(1, ONE), deployment=live).seed == seed


def test_nothing_is_handed_over_before_there_is_a_deployment():
    assert decide(AUTOSCALED).seed is None


def test_a_source_is_served_like_any_other_version():
    spec = brought()
    desired = kept(decide(spec, published(1, spec)), Template.DEPLOYMENT)
    assert desired is not None
    assert desired.values["number"] == 1
