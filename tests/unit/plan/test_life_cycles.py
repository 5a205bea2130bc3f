"""Whole lives of a model in a simulated cluster, with the operator crashing between any two writes."""

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_operator.api import (
    Autoscaling,
    Evaluation,
    Gate,
    KerasModelSpec,
    Metric,
    Resources,
    RunResult,
    RunStage,
    VersionPhase,
)
from keras_operator.plan import Plan
from keras_operator.plan.observed import Version

from tests.unit.plan.observations import brought, failed_result, train_result, trained
from tests.unit.plan.simulated_cluster import SimulatedCluster, succeed

ONE, TWO = trained(), trained(epochs=20)
SEEDS = range(15)


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed {seed}")
def random(request: pytest.FixtureRequest) -> Random:
    return Random(request.param)


def served(random: Random, spec: KerasModelSpec = ONE) -> SimulatedCluster:
    """A cluster in which version 1 serves."""
    cluster = SimulatedCluster(spec, random)
    cluster.live(faults=0.3, lag=0.3)
    assert says(cluster) == ("Serving", 1, 1)
    return cluster


def says(cluster: SimulatedCluster) -> tuple[str | None, int | None, int | None]:
    status = cluster.status
    return status.phase, status.serving_version, status.latest_version


def poor(version: Version, stage: RunStage) -> RunResult:
    return train_result(metrics={"accuracy": 0.3}) if stage is RunStage.TRAIN else succeed(version, stage)


def no_images(_version: Version, stage: RunStage) -> RunResult:
    return failed_result(stage, "NoImages", "no images under s3://datasets/dogs: upload some")


def test_a_trained_model_comes_to_serve(random):
    cluster = served(random)
    assert cluster.jobs_started == ["dogs-1-train", "dogs-1-export"]
    assert cluster.numbers_given == [1]
    assert cluster.status.message == "version 1 serves on 1/1 pods"
    assert cluster.status.accuracy == "0.910"


def test_a_source_comes_to_serve_without_training(random):
    cluster = served(random, brought())
    assert cluster.jobs_started == ["dogs-1-export"]


def test_at_rest_nothing_is_written(random):
    cluster = served(random)
    todo = cluster.decide()
    assert list(cluster.writes(todo)) == []
    assert (todo.create, todo.remove, todo.notices, todo.seed, todo.requeue_after) == ((), (), (), None, None)


def test_a_training_change_makes_version_2_while_version_1_serves(random):
    cluster = served(random)
    cluster.change(TWO)
    cluster.live(faults=0.3, lag=0.3)
    assert says(cluster) == ("Serving", 2, 2)
    assert cluster.numbers_given == [1, 2]
    assert sorted(set(cluster.served)) == [1, 2]


@pytest.mark.parametrize("play", [poor, no_images])
def test_a_version_that_may_not_serve_leaves_version_1_serving(random, play):
    gates = Evaluation(gates=(Gate(metric=Metric.ACCURACY, min=0.85),))
    cluster = served(random, trained(evaluation=gates))
    cluster.play = play
    cluster.change(trained(epochs=20, evaluation=gates))
    cluster.live(faults=0.3, lag=0.3)
    assert says(cluster) == ("Rejected" if play is poor else "Failed", 1, 2)
    assert set(cluster.served) == {1}
    assert "dogs-2-export" not in cluster.jobs


def test_an_eased_gate_lets_the_rejected_version_serve_without_training_it_again(random):
    strict = Evaluation(gates=(Gate(metric=Metric.ACCURACY, min=0.95),))
    cluster = SimulatedCluster(trained(evaluation=strict), random)
    cluster.live(faults=0.3)
    assert says(cluster) == ("Rejected", None, 1)
    cluster.change(ONE)
    cluster.live(faults=0.3)
    assert says(cluster) == ("Serving", 1, 1)
    assert cluster.jobs_started == ["dogs-1-train", "dogs-1-export"]


def test_a_number_that_is_taken_in_the_store_is_passed_over(random):
    cluster = SimulatedCluster(ONE, random)
    cluster.claims = {1: "somebody", 2: "somebody", 5: "somebody"}
    cluster.live(faults=0.3, lag=0.3)
    assert says(cluster) == ("Serving", 6, 6)
    assert cluster.numbers_given == [1, 6]


def test_a_serving_change_trains_nothing(random):
    cluster = served(random)
    for spec in (
        trained(replicas=3),
        trained(autoscaling=Autoscaling(min_replicas=2), serving_resources=Resources(requests={"cpu": "1"})),
        trained(model_name="Dogs"),
    ):
        cluster.change(spec)
        cluster.live(faults=0.3)
        assert says(cluster) == ("Serving", 1, 1)
    assert len(cluster.jobs_started) == 2


def test_changing_back_returns_to_the_version_that_was_there(random):
    cluster = served(random)
    cluster.change(TWO)
    cluster.live(faults=0.3)
    cluster.change(ONE)
    cluster.live(faults=0.3)
    assert says(cluster) == ("Serving", 1, 2)
    assert len(cluster.jobs_started) == 4


def test_a_spec_that_changes_while_it_trains_stops_what_is_no_longer_asked_for(random):
    cluster = SimulatedCluster(ONE, random)
    for _ in range(random.randrange(1, 12)):
        cluster.operate()
        cluster.tick()
    cluster.change(TWO)
    cluster.live(faults=0.3, lag=0.3)
    assert cluster.status.phase == "Serving"
    phases = {version.status.phase for version in cluster.versions.values()}
    assert phases <= {VersionPhase.PUBLISHED, VersionPhase.FAILED}
    current = cluster.versions[f"dogs-{cluster.status.serving_version}"]
    assert current.spec.training == TWO.training
    assert all(job.state.value != "active" for job in cluster.jobs.values())
    assert cluster.numbers_given == list(range(1, len(cluster.numbers_given) + 1))


def test_a_deleted_model_leaves_nothing_and_nothing_is_made_any_more(random):
    cluster = SimulatedCluster(ONE, random)
    for _ in range(random.randrange(1, 12)):
        cluster.operate()
        cluster.tick()
    cluster.delete_model()
    assert cluster.decide() == Plan()
    while cluster.tick():
        assert cluster.decide() == Plan()
    assert (cluster.versions, cluster.jobs, cluster.pods, cluster.children, cluster.deployment) == (
        {},
        {},
        {},
        {},
        None,
    )


ACTIONS = {
    "train otherwise": lambda spec, n: msgspec.structs.replace(spec, training=trained(epochs=1 + n).training),
    "serve otherwise": lambda spec, n: msgspec.structs.replace(spec, serving=trained(replicas=1 + n % 3).serving),
    "set a gate": lambda spec, n: msgspec.structs.replace(
        spec, evaluation=Evaluation(gates=(Gate(metric=Metric.ACCURACY, min=n / 4),))
    ),
    "suspend": lambda spec, n: msgspec.structs.replace(spec, suspend=bool(n % 2)),
}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    acts=st.lists(
        st.tuples(st.sampled_from([*ACTIONS, "delete a version", "delete a job"]), st.integers(0, 4)), max_size=5
    ),
    taken=st.sets(st.integers(1, 4)),
)
def test_whatever_people_do_it_comes_to_rest_and_no_rule_is_broken(seed, acts, taken):
    """The rules themselves are asserted by the simulated cluster at every write."""
    random = Random(seed)
    cluster = SimulatedCluster(ONE, random)
    cluster.claims = dict.fromkeys(taken, "somebody")
    for act, argument in acts:
        for _ in range(random.randrange(12)):
            cluster.operate(fault=random.random() < 0.3, lagging=random.random() < 0.3)
            cluster.tick()
        if act == "delete a version":
            cluster.delete_version(f"dogs-{argument + 1}")
        elif act == "delete a job":
            cluster.delete_job(f"dogs-{argument + 1}-train")
        elif cluster.spec is not None:
            cluster.change(ACTIONS[act](cluster.spec, argument))
    cluster.live(faults=0.2, lag=0.2)
    assert list(cluster.writes(cluster.decide())) == []
    if cluster.deployment and cluster.deployment.number:
        assert cluster.status.serving_version == cluster.deployment.number
    assert cluster.spec is not None
    if not cluster.spec.suspend:
        assert all(job.state.value != "active" for job in cluster.jobs.values())
        current = max(cluster.versions.values(), key=lambda version: version.number)
        assert current.status.phase in (VersionPhase.PUBLISHED, VersionPhase.REJECTED, VersionPhase.FAILED)
