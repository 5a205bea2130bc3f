"""Numbers and addresses in a model's status: what serves, how well, how far the training is."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from keras_operator.api import (
    Autoscaling,
    EpochProgress,
    KerasModelStatus,
    Progress,
    ProgressStage,
    Resources,
    RunStage,
    VersionPhase,
)

from tests.unit.plan.observations import (
    GOOD_METRICS,
    NOW,
    autoscaler,
    condition,
    decide,
    deployment,
    job,
    message,
    phase,
    published,
    run_pod,
    serving_pod,
    trained,
    version,
)

ONE, TWO = trained(), trained(epochs=20)
TRAINING = version(1, ONE, VersionPhase.TRAINING)
SERVES_ONE: dict[str, Any] = {"deployment": deployment(1), "pods": (serving_pod(1),)}


def training_now(stage: ProgressStage = ProgressStage.TRAINING, **told: Any) -> dict[str, Any]:
    return {"jobs": (job(1),), "progress": Progress(stage=stage, **told)}


EXPORTING = version(1, ONE, VersionPhase.EXPORTING)


EPOCHS = {
    "nothing heard": ({"jobs": (job(1),)}, None),
    "no epochs": (training_now(), None),
    "before the first": (training_now(epochs=4), EpochProgress(epoch=0, epochs=4)),
    "with time": (
        training_now(epoch=2, epochs=4, seconds_left=3.6),
        EpochProgress(epoch=2, epochs=4, seconds_left=4),
    ),
    "late": (training_now(epoch=2, epochs=4, seconds_left=-3), EpochProgress(epoch=2, epochs=4, seconds_left=0)),
}


@pytest.mark.parametrize(("seen", "progress"), EPOCHS.values(), ids=EPOCHS.keys())
def test_progress_is_counted_in_epochs(seen, progress):
    status = decide(ONE, TRAINING, **seen).status
    assert status is not None
    assert status.progress == progress


def test_progress_is_of_training_only():
    seen: dict[str, Any] = {
        "jobs": (job(1, RunStage.EXPORT),),
        "progress": Progress(stage=ProgressStage.TRAINING, epochs=3),
    }
    status = decide(ONE, EXPORTING, **seen).status
    assert status is not None
    assert status.progress is None


SERVING_NUMBERS: dict[str, tuple[dict[str, Any], int | None, int | None]] = {
    "no pods": ({"deployment": deployment(1)}, None, None),
    "a ready pod": (SERVES_ONE, None, 1),
    "a pod that is not ready": ({"deployment": deployment(1), "pods": (serving_pod(1, ready=False),)}, None, None),
    "a pod that goes away": ({"deployment": deployment(1), "pods": (serving_pod(1, deleting=True),)}, None, None),
    "a run's pod": ({"pods": (run_pod(job(1), ready=True),)}, None, None),
    "a pod without a number": ({"deployment": deployment(1), "pods": (serving_pod(0),)}, None, None),
    "two versions, rolling out": (
        {"deployment": deployment(2, updated=1, total=2), "pods": (serving_pod(1), serving_pod(2))},
        1,
        1,
    ),
    "two versions, rolled out": ({"deployment": deployment(2), "pods": (serving_pod(1), serving_pod(2))}, 1, 2),
    "only the new one is left, rollout not reported": (
        {"deployment": deployment(2, observed_generation=1), "pods": (serving_pod(2),)},
        1,
        2,
    ),
    "two versions, neither known": (
        {"deployment": deployment(3, total=9), "pods": (serving_pod(1), serving_pod(2))},
        None,
        2,
    ),
    "the Deployment is gone": ({"pods": (serving_pod(1), serving_pod(2))}, 1, 1),
    "what served is gone": ({"deployment": deployment(3, total=9), "pods": (serving_pod(2),)}, 1, 2),
}


@pytest.mark.parametrize(("seen", "before", "serves"), SERVING_NUMBERS.values(), ids=SERVING_NUMBERS.keys())
def test_the_serving_version_is_the_one_that_answers(seen, before, serves):
    status = decide(ONE, published(1, ONE), status=KerasModelStatus(serving_version=before), **seen).status
    assert status is not None
    assert status.serving_version == serves


@pytest.mark.parametrize("field", ["updated", "total", "available", "observed_generation"])
def test_a_rollout_is_done_when_every_count_says_so(field):
    assert deployment(1, 2).rolled_out
    assert deployment(1, 2, observed_generation=3).rolled_out
    assert not deployment(1, 2, **{field: 1}).rolled_out


ACCURACIES: dict[str, tuple[tuple[Any, ...], dict[str, Any], str | None]] = {
    "nothing measured": ((version(1, ONE, VersionPhase.TRAINING),), {}, None),
    "of the version that serves": (
        (published(1, ONE, metrics={"accuracy": "0.91239"}), version(2, TWO, metrics={"accuracy": "0.5"})),
        SERVES_ONE,
        "0.912",
    ),
    "of the newest while none serves": (
        (published(1, ONE), version(2, TWO, VersionPhase.EXPORTING, metrics={"accuracy": "0.5"})),
        {},
        "0.500",
    ),
    "of the newest while what serves has none": (
        (published(1, ONE, metrics={"loss": "1"}), version(2, TWO, VersionPhase.EXPORTING, metrics={"accuracy": "1"})),
        SERVES_ONE,
        "1.000",
    ),
}


@pytest.mark.parametrize(("versions", "seen", "accuracy"), ACCURACIES.values(), ids=ACCURACIES.keys())
def test_the_accuracy_is_that_of_what_serves(versions, seen, accuracy):
    status = decide(TWO, *versions, **seen).status
    assert status is not None
    assert status.accuracy == accuracy


ERRORS: dict[str, tuple[tuple[Any, ...], tuple[str | None, str | None]]] = {
    "of the version that serves": (
        (published(1, ONE, metrics={"mae": "43.7131", "r2": "0.4"}), version(2, TWO, metrics={"accuracy": "0.5"})),
        (None, "43.71"),
    ),
    "of large numbers": ((published(1, ONE, metrics={"mae": "1.5e+06"}),), (None, "1.5e+06")),
    "of none where what serves knows classes": (
        (published(1, ONE, metrics={"accuracy": "0.9"}), version(2, TWO, VersionPhase.EXPORTING, metrics={"mae": "3"})),
        ("0.900", None),
    ),
}


@pytest.mark.parametrize(("versions", "measured"), ERRORS.values(), ids=ERRORS)
def test_a_number_has_an_error_and_no_accuracy(versions, measured):
    status = decide(TWO, *versions, **SERVES_ONE).status
    assert status is not None
    assert (status.accuracy, status.mae) == measured


def test_other_tools_find_pods_and_address():
    status = decide(trained(model_name="Dogs"), published(1, ONE), deployment=deployment(1, 2, total=3)).status
    assert status is not None
    assert status.replicas == 3
    assert status.selector == "keras-operator.dev/model=dogs,app.kubernetes.io/component=serving"
    assert status.url == "http://dogs.vision.svc:8501/v1/models/Dogs"
    plain = decide(ONE).status
    assert plain is not None
    assert (plain.replicas, plain.url) == (0, "http://dogs.vision.svc:8501/v1/models/dogs")


def test_evicted_pods_are_not_counted_among_those_that_serve():
    gone = serving_pod(1, ready=False, name="gone", phase="Failed")
    todo = decide(TWO, published(1, ONE), deployment=deployment(1), pods=(serving_pod(1), gone))
    assert message(todo) == "a new version is being created; version 1 serves on 1/1 pods"


AUTOSCALED = trained(autoscaling=Autoscaling(), serving_resources=Resources(requests={"cpu": "1"}))
GRACE = timedelta(minutes=3)
PREFIX = "the HPA was unable to compute the replica count: "
NOT_YET = f"{PREFIX}unable to get metrics for resource cpu: no metrics returned from resource metrics API"

SCALERS = {
    "well": (autoscaler(), "", None),
    "new": (autoscaler(NOT_YET, NOW - GRACE + timedelta(seconds=1)), "", 1.0),
    "another way to be new": (autoscaler(f"{PREFIX}did not receive metrics for targeted pods", NOW), "", 180.0),
    "new, nobody knows since when": (autoscaler(NOT_YET), "", 180.0),
    "silent for long": (
        autoscaler(NOT_YET, NOW - GRACE),
        (
            "; the autoscaler cannot scale: unable to get metrics for resource cpu: no metrics returned from resource "
            "metrics API; see that metrics-server runs: kubectl get apiservice v1beta1.metrics.k8s.io"
        ),
        None,
    ),
    "without anybody who measures": (
        autoscaler(f"{PREFIX}unable to fetch metrics from resource metrics API: the server is away.", NOW),
        (
            "; the autoscaler cannot scale: unable to fetch metrics from resource metrics API: the server is away; see "
            "that metrics-server runs: kubectl get apiservice v1beta1.metrics.k8s.io"
        ),
        None,
    ),
    "without anybody who knows the pods' metric": (
        autoscaler(f"{PREFIX}unable to get metric qps: unable to fetch metrics from custom metrics API: no such", NOW),
        (
            "; the autoscaler cannot scale: unable to get metric qps: unable to fetch metrics from custom metrics API: "
            "no such; see that an adapter has this metric: kubectl get apiservices | grep custom.metrics"
        ),
        None,
    ),
    "without anybody who knows the external metric": (
        autoscaler(
            f"{PREFIX}unable to get external metric x: no metrics returned from external metrics API", NOW - GRACE
        ),
        (
            "; the autoscaler cannot scale: unable to get external metric x: no metrics returned from external metrics "
            "API; see that an adapter has this metric: kubectl get apiservices | grep external.metrics"
        ),
        None,
    ),
    "a container that no pod has": (
        autoscaler(f"{PREFIX}did not receive metrics for targeted pods (pods might be unready)", NOW - GRACE),
        (
            "; the autoscaler cannot scale: did not receive metrics for targeted pods (pods might be unready); see "
            "that its pods are ready, and that a container named in metrics is one of theirs"
        ),
        None,
    ),
    "for another reason": (
        autoscaler(f"{PREFIX}missing request for cpu", NOW),
        "; the autoscaler cannot scale: missing request for cpu; see kubectl describe hpa",
        None,
    ),
}


@pytest.mark.parametrize(("scaler", "words", "again"), SCALERS.values(), ids=SCALERS.keys())
def test_an_autoscaler_that_cannot_scale_is_worth_a_word_unless_it_is_new(scaler, words, again):
    live = deployment(1, owns_replicas=False)
    todo = decide(AUTOSCALED, published(1, ONE), deployment=live, pods=(serving_pod(1),), autoscaler=scaler)
    assert (phase(todo), message(todo)) == ("Serving", "version 1 serves on 1/1 pods" + words)
    assert todo.requeue_after == again


def test_what_an_old_version_was_measured_at_does_not_count_as_trained():
    todo = decide(TWO, published(1, ONE, metrics=GOOD_METRICS), version(2, TWO))
    trained_now = condition(todo, "Trained")
    assert trained_now is not None
    assert trained_now.status == "False"


def test_the_whole_status_survives_the_api_server():
    status = decide(ONE, published(1, ONE), **SERVES_ONE).status
    written = msgspec.json.encode(status)
    assert msgspec.json.decode(written, type=KerasModelStatus) == status
