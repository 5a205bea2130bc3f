"""The rules that hold whatever was observed, however odd: checked on states that hypothesis makes up."""

import dataclasses
from typing import Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st
from keras_operator.api import (
    Autoscaling,
    Credentials,
    Evaluation,
    Gate,
    KerasModelStatus,
    KerasModelVersionSpec,
    KerasModelVersionStatus,
    Metric,
    Phase,
    Progress,
    ProgressStage,
    Resources,
    RunReason,
    RunStage,
    Store,
    VersionPhase,
)
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.desired import Template
from keras_operator.plan.observed import AgentTrouble, Container, JobState, Version
from keras_operator.render import Renderer

from tests.unit.plan.observations import (
    EARLIER,
    GOOD_METRICS,
    INSTALLATION,
    NOW,
    answer,
    autoscaler,
    brought,
    child,
    deployment,
    ended,
    export_result,
    failed_result,
    identity,
    job,
    model,
    run_pod,
    serving_pod,
    train_result,
    trained,
    version,
)

RENDERER = Renderer()
SCALED: dict[str, Any] = {
    "autoscaling": Autoscaling(min_replicas=2, max_replicas=4),
    "serving_resources": Resources(requests={"cpu": "1"}),
}
SECRET = Store(uri="s3://models/dogs", credentials=Credentials(secret_name="minio"))
STRICT = Evaluation(gates=(Gate(metric=Metric.ACCURACY, min=0.95),))

specs = st.builds(
    msgspec.structs.replace,
    st.sampled_from(
        [
            trained(),
            trained(epochs=20),
            trained(version=2),
            trained(replicas=3),
            trained(**SCALED),
            brought(),
            brought(tested=True),
        ]
    ),
    suspend=st.booleans(),
    store=st.sampled_from([Store(uri="s3://models/dogs"), SECRET]),
)
gated_specs = specs.flatmap(
    lambda spec: st.sampled_from(
        [spec]
        if spec.source and not spec.source.test_data
        else [spec, msgspec.structs.replace(spec, evaluation=STRICT)]
    )
)
moments = st.sampled_from([EARLIER, NOW])
phases = st.none() | st.sampled_from(VersionPhase)
words = st.sampled_from(["", "low on memory", 'secret "minio" not found', "exceeded quota: team", "x" * 900])
containers = st.one_of(
    st.just(answer(train_result())),
    st.just(answer(train_result(metrics={}))),
    st.just(answer(export_result())),
    st.just(answer(export_result(evaluation={"accuracy": 0.91}))),
    st.just(answer(export_result(evaluation={"accuracy": 0.5}, servable=None, parity=None))),
    st.builds(
        lambda n: answer(failed_result(RunStage.TRAIN, RunReason.NUMBER_TAKEN, "taken", n), 65), st.integers(1, 9)
    ),
    st.builds(
        Container,
        name=st.sampled_from(["train", "agent", "runtime"]),
        ready=st.booleans(),
        running=st.booleans(),
        restarts=st.integers(0, 2),
        waiting_reason=st.sampled_from(["", "ErrImagePull", "CreateContainerConfigError", "PodInitializing"]),
        waiting_message=words,
        exit_code=st.sampled_from([None, 0, 1, 65, 75, 137]),
        exit_message=words,
    ),
    st.just(ended(message="{")),
)


@st.composite
def versions(draw: st.DrawFn) -> tuple[Version, ...]:
    numbers = draw(st.lists(st.integers(1, 5), unique=True, max_size=3))
    reasons = st.sampled_from(["", "NoImages", "NumberTaken", "Superseded"])
    return tuple(
        version(
            number,
            draw(specs),
            draw(phases),
            reason=draw(reasons),
            deleting=draw(st.integers(0, 9)) == 0,
            metrics=draw(st.sampled_from([{}, GOOD_METRICS])),
            next_number=draw(st.none() | st.integers(1, 9)),
        )
        for number in sorted(numbers)
    )


@st.composite
def worlds(draw: st.DrawFn) -> Observed:
    made = draw(versions())
    numbers = [one.number for one in made] or [1]
    jobs = [
        job(
            number,
            stage,
            draw(st.sampled_from(JobState)),
            finished=draw(st.none() | moments),
            deleting=draw(st.booleans()),
        )
        for number in [one.number for one in made]
        for stage in RunStage
        if draw(st.booleans())
    ]
    run_pods = [
        run_pod(of, *draw(st.lists(containers, max_size=2)), name=f"{of.identity.name}-{n}", created=draw(moments))
        for of in jobs
        for n in range(draw(st.integers(0, 2)))
    ]
    serving_pods = [
        serving_pod(
            draw(st.sampled_from([0, *numbers])),
            *draw(st.lists(containers, max_size=2)),
            ready=draw(st.booleans()),
            name=f"p{n}",
            phase=draw(st.sampled_from(["Running", "Failed", "Pending"])),
        )
        for n in range(draw(st.integers(0, 3)))
    ]
    live = draw(
        st.none()
        | st.builds(
            deployment,
            st.sampled_from([0, *numbers]),
            st.integers(1, 3),
            total=st.integers(0, 3),
            stuck=st.booleans(),
            failure=words,
            owns_replicas=st.booleans(),
        )
    )
    status = KerasModelStatus(
        phase=draw(st.none() | st.sampled_from(Phase)),
        latest_version=draw(st.none() | st.integers(1, 6)),
        serving_version=draw(st.none() | st.integers(1, 6)),
    )
    kinds = draw(st.sets(st.sampled_from(["HorizontalPodAutoscaler", "PodDisruptionBudget", "Service"])))
    return Observed(
        model(draw(gated_specs), status),
        versions=made,
        jobs=tuple(jobs),
        pods=(*run_pods, *serving_pods),
        deployment=live,
        autoscaler=draw(st.none() | st.builds(autoscaler, words, st.none() | moments)),
        children={kind: child(kind) for kind in kinds},
        progress=draw(
            st.none()
            | st.builds(
                Progress,
                stage=st.sampled_from(ProgressStage),
                epochs=st.none() | st.integers(0, 9),
                seconds_left=st.none() | st.floats(-1, 1e6),
            )
        ),
        agent_troubles=tuple(
            AgentTrouble(f"p{n}", "Corrupt", "a file differs") for n in draw(st.sets(st.integers(0, 3)))
        ),
        job_warnings={one.identity.name: draw(words) for one in jobs if draw(st.booleans())},
        refusals=draw(st.sampled_from([(), ("Service dogs is in the way",)])),
        behind=draw(st.booleans()),
        foreign_numbers=frozenset(draw(st.sets(st.integers(1, 7), max_size=2))),
    )


def decide(seen: Observed) -> Plan:
    return plan(seen, INSTALLATION, NOW)


def made_true(seen: Observed, todo: Plan) -> Observed:
    """What is seen once a plan was carried out and nobody else did anything."""
    assert seen.model is not None
    assert todo.status is not None
    made = list(seen.versions)
    jobs = [one for one in seen.jobs if one.identity.uid not in {removal.uid for removal in todo.remove}]
    for desired in todo.create:
        number = int(str(desired.values["number"]))
        if desired.template is Template.VERSION:
            spec = msgspec.convert(desired.values["spec"], KerasModelVersionSpec)
            who = identity(desired.name, owner_uid="uid-dogs", generation=1)
            made.append(Version(who, spec, KerasModelVersionStatus()))
        else:
            jobs.append(job(number, RunStage(desired.name.rpartition("-")[2]), created=NOW))
    removed = {removal.kind for removal in todo.remove}
    return dataclasses.replace(
        seen,
        model=dataclasses.replace(seen.model, status=todo.status),
        versions=tuple(
            dataclasses.replace(one, status=todo.version_statuses.get(one.identity.name, one.status)) for one in made
        ),
        jobs=tuple(jobs),
        children={kind: one for kind, one in seen.children.items() if kind not in removed},
    )


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_every_rule_holds(seen: Observed) -> None:
    todo = decide(seen)
    assert decide(seen) == todo, "the same observation gave two plans"
    _serving_is_never_taken_away(seen, todo)
    _numbers_are_never_given_twice(seen, todo)
    _jobs_are_never_doubled(seen, todo)
    _conditions_make_sense(todo)
    _everything_fits_its_type(todo)


def _serving_is_never_taken_away(seen: Observed, todo: Plan) -> None:
    published = {
        one.number
        for one in seen.versions
        if todo.version_statuses.get(one.identity.name, one.status).phase is VersionPhase.PUBLISHED
    }
    desired = next((one for one in todo.keep if one.template is Template.DEPLOYMENT), None)
    if seen.deployment and seen.deployment.number:
        assert desired is not None
        assert desired.values["number"] in {seen.deployment.number, *published}
    elif desired is not None:
        assert desired.values["number"] in published
        event("a first deployment")
    assert not any(removal.kind == "Deployment" for removal in todo.remove)


def _numbers_are_never_given_twice(seen: Observed, todo: Plan) -> None:
    assert seen.model is not None
    known = {one.number for one in seen.versions} | seen.foreign_numbers | {seen.model.status.latest_version or 0}
    new = [one.values["number"] for one in todo.create if one.template is Template.VERSION]
    assert len(new) <= 1
    assert all(number > max(known) for number in new)


def _jobs_are_never_doubled(seen: Observed, todo: Plan) -> None:
    names = [one.name for one in todo.create]
    assert not {one.identity.name for one in seen.jobs} & set(names)
    assert len(names) <= 1
    for one in todo.create:
        if one.template is not Template.VERSION:
            owner = next(v for v in seen.versions if v.identity.uid == one.values["owner_uid"])
            assert owner.status.phase not in (VersionPhase.PUBLISHED, VersionPhase.FAILED)
            event("a job is created")


def _conditions_make_sense(todo: Plan) -> None:
    assert todo.status is not None
    states = {one.type: one.status for one in todo.status.conditions}
    assert len(states) == len(todo.status.conditions)
    assert {"Ready", "Available"} <= set(states)
    assert states.get("Stalled", "True") == states.get("Reconciling", "True") == "True"
    assert not {"Stalled", "Reconciling"} <= set(states)
    at_rest = not {"Stalled", "Reconciling"} & set(states)
    assert at_rest or states["Ready"] == "False"
    assert not at_rest or states["Ready"] == "True" or todo.status.phase == "Suspended"
    assert all(one.reason and one.message for one in todo.status.conditions)
    assert todo.status.message


def _everything_fits_its_type(todo: Plan) -> None:
    for status in (todo.status, *todo.version_statuses.values()):
        assert status is not None
        assert msgspec.json.decode(msgspec.json.encode(status), type=type(status)) == status
    for desired in (*todo.keep, *todo.create):
        manifest = RENDERER.render(desired)
        owner = manifest["metadata"]["ownerReferences"][0]
        labels = manifest["metadata"]["labels"]
        assert (owner["uid"], owner["controller"]) == (desired.values["owner_uid"], True)
        assert labels["app.kubernetes.io/managed-by"] == "keras-operator"
        assert labels["keras-operator.dev/model"] == "dogs"
        assert manifest["metadata"]["namespace"] == "vision"


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(seen: Observed) -> None:
    for _ in range(5):
        todo = decide(seen)
        after = made_true(seen, todo)
        if after == seen:
            assert not todo.create
            assert not todo.notices
            return
        seen = after
    raise AssertionError("five plans in a row found something to do")
