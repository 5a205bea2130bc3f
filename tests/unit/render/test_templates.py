"""The children as their templates print them: complete, safe, and the same for the same values."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_operator
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_operator.api import (
    Autoscaling,
    Batching,
    Behavior,
    Builder,
    Cache,
    Canary,
    CanaryStep,
    ConfigMapKey,
    ContainerResourceSource,
    Credentials,
    Data,
    KerasModelSpec,
    MeasuredResource,
    MetricEntry,
    MetricType,
    Optimizer,
    OwnContainer,
    Resources,
    ResourceTarget,
    ResourceTargetType,
    Rollout,
    RunSpec,
    RunStage,
    Runtime,
    ScalingRules,
    Store,
    Strategy,
    TaintEffect,
    TensorBoard,
    Toleration,
    Using,
    VersionPhase,
)
from keras_operator.plan.desired import Desired, Template
from keras_operator.plan.images import Images, Installation
from keras_operator.plan.jobs import desired_job
from keras_operator.render import HASH_ANNOTATION, Renderer, TemplateError

from tests.unit.plan.observations import brought, decide, deployment, model, published, serving_pod, trained, version

RENDERER = Renderer()
PRINTER = Renderer(Path(keras_operator.__file__).parent / "templates")
STORE = Store(uri="s3://models/dogs", endpoint="http://minio:9000", credentials=Credentials(secret_name="minio"))
PLAIN = trained()
FULL = trained(
    store=STORE,
    autoscaling=Autoscaling(min_replicas=2, max_replicas=4, target_cpu_utilization=60),
    batching=Batching(max_batch_size=8),
    cache=Cache(claim_name="servables", max_gigabytes=50),
    data=Data(uri="s3://datasets/dogs", cache=Cache(claim_name="datasets", max_gigabytes=500)),
    runtime=Runtime.TENSORFLOW_SERVING,
    model_name="Dogs",
    training_resources=Resources(requests={"cpu": 2}, limits={"memory": "4Gi", "nvidia.com/gpu": 1}),
    serving_resources=Resources(requests={"cpu": "500m"}),
    tensorboard=TensorBoard(enabled=True),
    workers=3,
)
HOT = brought(rollout=Rollout(strategy=Strategy.HOT), batching=Batching(max_batch_size=8))
WRITTEN_ONCE = {Template.VERSION, Template.TRAIN_JOB, Template.EXPORT_JOB}


def children(spec: KerasModelSpec) -> dict[Template, Desired]:
    """Every child that a model of this spec ever has."""
    plans = [decide(spec), decide(spec, version(7, spec)), decide(spec, published(7, spec))]
    return {one.template: one for todo in plans for one in (*todo.create, *todo.keep)}


def manifests(spec: KerasModelSpec) -> dict[Template, dict[str, Any]]:
    return {template: RENDERER.render(desired) for template, desired in children(spec).items()}


def test_the_two_examples_cover_every_template():
    assert set(children(FULL)) | set(children(HOT)) == set(Template)


KINDS = {
    Template.SERVICE_ACCOUNT: ("v1", "ServiceAccount", "dogs"),
    Template.SERVICE: ("v1", "Service", "dogs"),
    Template.NETWORK_POLICY: ("networking.k8s.io/v1", "NetworkPolicy", "dogs"),
    Template.DEPLOYMENT: ("apps/v1", "Deployment", "dogs"),
    Template.START: ("v1", "ConfigMap", "dogs"),
    Template.AUTOSCALER: ("autoscaling/v2", "HorizontalPodAutoscaler", "dogs"),
    Template.DISRUPTION_BUDGET: ("policy/v1", "PodDisruptionBudget", "dogs"),
    Template.VERSION: ("keras-operator.dev/v1alpha1", "KerasModelVersion", "dogs-1"),
    Template.TRAIN_JOB: ("batch/v1", "Job", "dogs-7-train"),
    Template.EXPORT_JOB: ("batch/v1", "Job", "dogs-7-export"),
    Template.BOARD: ("apps/v1", "Deployment", "dogs-tensorboard"),
    Template.BOARD_SERVICE: ("v1", "Service", "dogs-tensorboard"),
    Template.WORKERS_SERVICE: ("v1", "Service", "dogs-workers"),
}


@pytest.mark.parametrize("spec", [PLAIN, FULL, brought(), HOT], ids=["plain", "full", "source", "hot"])
def test_every_child_is_known_labelled_and_owned(spec):
    for template, manifest in manifests(spec).items():
        metadata = manifest["metadata"]
        assert (manifest["apiVersion"], manifest["kind"], metadata["name"]) == KINDS[template]
        assert metadata["namespace"] == "vision"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "keras-operator"
        assert metadata["labels"]["keras-operator.dev/model"] == "dogs"
        owners = metadata["ownerReferences"]
        run = template in (Template.TRAIN_JOB, Template.EXPORT_JOB)
        assert owners == [
            {
                "apiVersion": "keras-operator.dev/v1alpha1",
                "kind": "KerasModelVersion" if run else "KerasModel",
                "name": "dogs-7" if run else "dogs",
                "uid": "uid-dogs-7" if run else "uid-dogs",
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]


@pytest.mark.parametrize(
    ("template", "component", "number"),
    [
        (Template.VERSION, None, "1"),
        (Template.TRAIN_JOB, "train", "7"),
        (Template.DEPLOYMENT, "serving", None),
        (Template.SERVICE, "serving", None),
        (Template.NETWORK_POLICY, None, None),
    ],
)
def test_component_and_version_are_labels_where_they_say_something(template, component, number):
    labels = manifests(PLAIN)[template]["metadata"]["labels"]
    assert labels.get("app.kubernetes.io/component") == component
    assert labels.get("keras-operator.dev/version") == number


@pytest.mark.parametrize("template", [Template.TRAIN_JOB, Template.DEPLOYMENT])
def test_pods_bear_what_the_operator_finds_them_by(template):
    labels = manifests(PLAIN)[template]["spec"]["template"]["metadata"]["labels"]
    assert labels["keras-operator.dev/version"] == "7"
    assert labels["keras-operator.dev/model"] == "dogs"
    assert labels["app.kubernetes.io/managed-by"] == "keras-operator"
    assert labels["app.kubernetes.io/component"] in ("train", "serving")


@pytest.mark.parametrize("spec", [PLAIN, FULL, brought(), HOT], ids=["plain", "full", "source", "hot"])
def test_every_pod_is_as_restricted_as_pod_security_asks(spec):
    for manifest in manifests(spec).values():
        pod = manifest.get("spec", {}).get("template", {}).get("spec")
        if pod is None:
            continue
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}


def environment(container: dict[str, Any]) -> dict[str, object]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


@pytest.mark.parametrize(
    ("spec", "stage", "template"),
    [(FULL, "train", Template.TRAIN_JOB), (brought(), "export", Template.EXPORT_JOB)],
    ids=["train", "export"],
)
def test_a_job_runs_its_stage_and_fails_for_good_where_trying_again_is_no_use(spec, stage, template):
    job = manifests(spec)[template]["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert (container["name"], container["command"], container["args"]) == (stage, ["keras-trainer"], [stage])
    rule = job["podFailurePolicy"]["rules"][1]
    assert rule == {
        "action": "FailJob",
        "onExitCodes": {"containerName": stage, "operator": "In", "values": [65, 137]},
    }
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    run = msgspec.json.decode(str(environment(container)["KERAS_RUN"]), type=RunSpec)
    assert (run.number, run.owner, run.store) == (7, "uid-dogs-7", spec.store)


@pytest.mark.parametrize("spec", [PLAIN, FULL], ids=["one worker", "three"])
def test_a_node_that_goes_away_costs_a_training_no_attempt(spec):
    """The rule comes before those about exit codes: the first that fits counts."""
    job = manifests(spec)[Template.TRAIN_JOB]["spec"]
    assert job["podFailurePolicy"]["rules"][0] == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }


def test_resources_are_passed_on_as_they_are_written():
    made = manifests(FULL)
    trainer = made[Template.TRAIN_JOB]["spec"]["template"]["spec"]["containers"][0]
    assert trainer["resources"] == {"requests": {"cpu": 2}, "limits": {"memory": "4Gi", "nvidia.com/gpu": 1}}
    runtime = made[Template.DEPLOYMENT]["spec"]["template"]["spec"]["containers"][0]
    assert runtime["resources"] == {"requests": {"cpu": "500m"}}
    assert "resources" not in manifests(PLAIN)[Template.TRAIN_JOB]["spec"]["template"]["spec"]["containers"][0]


SCHEDULED = trained(
    gpus_per_worker=1,
    training_resources=Resources(limits={"memory": "4Gi"}),
    node_selector={"disktype": "ssd"},
    tolerations=(Toleration(key="dedicated", value="training", effect=TaintEffect.NO_SCHEDULE),),
    priority_class_name="batch-low",
    queue_name="team-vision",
)


def test_a_training_runs_where_and_when_it_is_asked_to():
    job = manifests(SCHEDULED)[Template.TRAIN_JOB]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-vision"
    assert job["spec"]["suspend"] is True
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"limits": {"memory": "4Gi", "nvidia.com/gpu": 1}}
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"disktype": "ssd"}, "batch-low")
    assert pod["tolerations"] == [
        {"key": "dedicated", "value": "training", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    ]


def test_an_export_needs_no_gpu_and_no_turn():
    (desired,) = decide(SCHEDULED, version(7, SCHEDULED, VersionPhase.EXPORTING)).create
    assert desired.template is Template.EXPORT_JOB
    job = RENDERER.render(desired)
    assert "kueue.x-k8s.io/queue-name" not in job["metadata"]["labels"]
    assert "suspend" not in job["spec"]
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"limits": {"memory": "4Gi"}}
    assert [one["key"] for one in pod["tolerations"]] == ["dedicated"]


def test_a_training_with_gpus_runs_the_image_that_can_use_them():
    images = Images("trainer:1", "server:1", "tensorflow/serving:1", "trainer-gpu:1")

    def of(spec: KerasModelSpec, stage: RunStage, images: Images = images) -> str:
        at = version(7, spec, VersionPhase.TRAINING)
        values = desired_job(model(spec), spec, at, stage, Installation(images, "system"), None).values
        assert json.loads(values["run"])["image"] == values["image"]
        return str(values["image"])

    assert of(SCHEDULED, RunStage.TRAIN) == "trainer-gpu:1"
    assert of(SCHEDULED, RunStage.EXPORT) == "trainer:1"
    assert of(SCHEDULED, RunStage.TRAIN, replace(images, trainer_gpu="")) == "trainer:1"
    assert of(PLAIN, RunStage.TRAIN) == "trainer:1"
    by_limits = trained(training_resources=Resources(limits={"nvidia.com/gpu": 1}))
    assert of(by_limits, RunStage.TRAIN) == "trainer-gpu:1"
    of_ones_own = trained(
        container=OwnContainer(image="registry.example.com/team@sha256:" + "0" * 64), gpus_per_worker=2
    )
    assert of(of_ones_own, RunStage.TRAIN) == "trainer:1"


def test_what_is_not_asked_for_is_not_in_the_job():
    job = manifests(PLAIN)[Template.TRAIN_JOB]["spec"]
    assert "suspend" not in job
    assert not {"nodeSelector", "tolerations", "priorityClassName"} & job["template"]["spec"].keys()


@pytest.mark.parametrize("template", [Template.TRAIN_JOB, Template.DEPLOYMENT, Template.BOARD])
def test_keys_for_the_store_come_from_the_secret_and_only_where_there_is_one(template):
    def keys(spec: KerasModelSpec) -> dict[str, object]:
        pod = manifests(spec)[template]["spec"]["template"]["spec"]
        container = (*pod.get("initContainers", ()), *pod["containers"])[0]
        return {name: value for name, value in environment(container).items() if name.startswith("AWS_")}

    assert keys(FULL) == {
        "AWS_ACCESS_KEY_ID": {"secretKeyRef": {"name": "minio", "key": "AWS_ACCESS_KEY_ID"}},
        "AWS_SECRET_ACCESS_KEY": {"secretKeyRef": {"name": "minio", "key": "AWS_SECRET_ACCESS_KEY"}},
        "AWS_SESSION_TOKEN": {"secretKeyRef": {"name": "minio", "key": "AWS_SESSION_TOKEN", "optional": True}},
    }
    assert keys(trained(tensorboard=TensorBoard(enabled=True))) == {}


def test_tensorboard_is_told_where_the_logs_are():
    pod = manifests(FULL)[Template.BOARD]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["image"], container["command"]) == ("trainer:1", ["keras-tensorboard"])
    assert container["args"] == [
        "--store-uri=s3://models/dogs",
        "--endpoint=http://minio:9000",
        "--logdir=/logs",
        "--port=6006",
    ]
    assert {one["name"]: one["containerPort"] for one in container["ports"]} == {"http": 6006}


def test_the_services_lead_to_pods_of_their_own():
    made = manifests(FULL)
    for service, leads_to in ((Template.SERVICE, Template.DEPLOYMENT), (Template.BOARD_SERVICE, Template.BOARD)):
        selector = made[service]["spec"]["selector"]
        assert selector.items() <= made[leads_to]["spec"]["template"]["metadata"]["labels"].items()
    assert made[Template.SERVICE]["spec"]["selector"] != made[Template.BOARD_SERVICE]["spec"]["selector"]


def canary_manifest() -> dict[str, Any]:
    canary = Canary(using=Using.ROLLING, steps=(CanaryStep(pods="50%", hold="5m"),))
    rollout = Rollout(strategy=Strategy.CANARY, canary=canary)
    spec, before = trained(rollout=rollout, epochs=20, replicas=4), trained(rollout=rollout, replicas=4)
    looks: dict[str, Any] = {"deployment": deployment(7, 4), "pods": (serving_pod(7),)}
    todo = decide(spec, published(7, before), published(8, spec), **looks)
    return next(RENDERER.render(one) for one in todo.keep if one.name == "dogs-canary")


def test_a_canarys_own_pods_are_behind_the_service_and_none_of_the_main_deployments():
    """Nor of the autoscaler's, which counts the pods that the main Deployment's selector finds."""
    made, canary = manifests(FULL), canary_manifest()
    main, budget = made[Template.DEPLOYMENT]["spec"], made[Template.DISRUPTION_BUDGET]["spec"]
    own = canary["spec"]["template"]["metadata"]["labels"].items()
    usual = main["template"]["metadata"]["labels"].items()
    service, alike = made[Template.SERVICE]["spec"]["selector"], budget["selector"]["matchLabels"]
    for selector in (service, made[Template.NETWORK_POLICY]["spec"]["podSelector"]["matchLabels"]):
        assert selector.items() <= own
        assert selector.items() <= usual
    training = made[Template.TRAIN_JOB]["spec"]["template"]["metadata"]["labels"].items()
    assert not any(selector.items() <= training for selector in (service, alike))
    # A canary that never gets ready must not keep the others on their nodes.
    assert (alike.items() <= usual, alike.items() <= own) == (True, False)
    ours, theirs = (one["selector"]["matchLabels"].items() for one in (canary["spec"], main))
    assert (ours <= own, ours <= usual, theirs <= usual, theirs <= own) == (True, False, True, False)
    # It is found by what every child is found by.
    assert canary["metadata"]["labels"] == made[Template.DEPLOYMENT]["metadata"]["labels"]
    assert canary["metadata"]["ownerReferences"] == made[Template.DEPLOYMENT]["metadata"]["ownerReferences"]
    assert canary["spec"]["replicas"] == 2


def test_a_canarys_own_pods_are_what_those_of_the_main_deployment_are():
    canary = canary_manifest()["spec"]
    main = manifests(PLAIN)[Template.DEPLOYMENT]["spec"]
    agent = canary["template"]["spec"]["initContainers"][0]
    assert "--version=8" in agent["args"]
    agent["args"] = main["template"]["spec"]["initContainers"][0]["args"]
    spread = canary["template"]["spec"].pop("topologySpreadConstraints")
    usual = main["template"]["spec"].pop("topologySpreadConstraints")
    assert canary["template"]["spec"] == main["template"]["spec"]
    assert spread[0]["labelSelector"] == canary["selector"]
    assert usual[0]["labelSelector"] == main["selector"]
    assert canary["strategy"] == main["strategy"]


def test_the_agent_is_told_what_to_fetch():
    agent = manifests(FULL)[Template.DEPLOYMENT]["spec"]["template"]["spec"]["initContainers"][0]
    assert (agent["name"], agent["image"], agent["restartPolicy"]) == ("agent", "server:1", "Always")
    assert agent["args"] == [
        "--store-uri=s3://models/dogs",
        "--endpoint=http://minio:9000",
        "--model-name=Dogs",
        "--version=7",
        "--models-dir=/models",
        "--config-file=/models/models.config",
        "--cache-dir=/cache",
        "--cache-gigabytes=50",
        "--runtime-url=http://127.0.0.1:8501",
        "--port=8502",
    ]
    plain = manifests(PLAIN)[Template.DEPLOYMENT]["spec"]["template"]["spec"]["initContainers"][0]
    assert not any(argument.startswith("--endpoint") for argument in plain["args"])


def test_batching_is_configured_where_it_is_asked_for():
    full, plain = (manifests(spec)[Template.DEPLOYMENT]["spec"]["template"] for spec in (FULL, PLAIN))
    assert full["metadata"]["annotations"] == {
        "keras-operator.dev/batching-parameters": "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 2000 }\n"
    }
    assert "--enable_batching" in full["spec"]["containers"][0]["args"]
    assert {volume["name"] for volume in full["spec"]["volumes"]} == {"models", "tmp", "serving", "cache"}
    assert "annotations" not in plain["metadata"]
    assert "--enable_batching" not in plain["spec"]["containers"][0]["args"]
    assert {volume["name"] for volume in plain["spec"]["volumes"]} == {"models", "tmp"}


def test_the_cache_is_the_agents_alone():
    pod = manifests(FULL)[Template.DEPLOYMENT]["spec"]["template"]["spec"]
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "servables"}} in pod["volumes"]
    mount = {"name": "cache", "mountPath": "/cache"}
    assert mount in pod["initContainers"][0]["volumeMounts"]
    assert mount not in pod["containers"][0]["volumeMounts"]
    assert pod["securityContext"]["fsGroup"] == 65532
    unbounded = manifests(trained(cache=Cache(claim_name="servables")))[Template.DEPLOYMENT]
    (agent,) = unbounded["spec"]["template"]["spec"]["initContainers"]
    assert [argument for argument in agent["args"] if argument.startswith("--cache")] == ["--cache-dir=/cache"]


CACHE_MOUNT = {"name": "cache", "mountPath": "/cache"}


def test_the_data_cache_is_the_training_containers():
    pod = manifests(FULL)[Template.TRAIN_JOB]["spec"]["template"]["spec"]
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "datasets"}} in pod["volumes"]
    assert CACHE_MOUNT in pod["containers"][0]["volumeMounts"]
    told = environment(pod["containers"][0])
    assert (told["KERAS_CACHE"], told["KERAS_CACHE_GIGABYTES"]) == ("/cache", "500")
    assert pod["securityContext"]["fsGroup"] == 65532
    unbounded = manifests(trained(data=Data(uri="s3://b/x", cache=Cache(claim_name="datasets"))))[Template.TRAIN_JOB]
    told = environment(unbounded["spec"]["template"]["spec"]["containers"][0])
    assert ("KERAS_CACHE" in told, "KERAS_CACHE_GIGABYTES" in told) == (True, False)
    for other in (manifests(brought())[Template.EXPORT_JOB], manifests(PLAIN)[Template.TRAIN_JOB]):
        pod = other["spec"]["template"]["spec"]
        assert [volume["name"] for volume in pod["volumes"]] == ["scratch"]
        assert "KERAS_CACHE" not in environment(pod["containers"][0])


def test_of_an_own_image_the_data_cache_is_with_the_container_that_fetches():
    data = Data(uri="s3://datasets/dogs", cache=Cache(claim_name="datasets"))
    spec = trained(data=data, container=OwnContainer(image="vision/net:1"))
    pod = manifests(spec)[Template.TRAIN_JOB]["spec"]["template"]["spec"]
    having = [one["name"] for one in (*pod["initContainers"], *pod["containers"]) if CACHE_MOUNT in one["volumeMounts"]]
    told = [one["name"] for one in (*pod["initContainers"], *pod["containers"]) if "KERAS_CACHE" in environment(one)]
    assert having == told == ["prepare"]


def test_the_count_of_pods_is_the_autoscalers_where_there_is_one():
    assert manifests(PLAIN)[Template.DEPLOYMENT]["spec"]["replicas"] == 1
    assert "replicas" not in manifests(FULL)[Template.DEPLOYMENT]["spec"]
    scaler = manifests(FULL)[Template.AUTOSCALER]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 4)
    assert scaler["metrics"][0]["containerResource"]["target"]["averageUtilization"] == 60


def test_an_autoscaler_says_what_was_written_of_metrics_and_behavior():
    target = ResourceTarget(type=ResourceTargetType.UTILIZATION, average_utilization=80)
    source = ContainerResourceSource(name=MeasuredResource.MEMORY, container="runtime", target=target)
    entry = MetricEntry(type=MetricType.CONTAINER_RESOURCE, container_resource=source)
    slow = Behavior(scale_down=ScalingRules(stabilization_window_seconds=600))
    spec = trained(
        autoscaling=Autoscaling(metrics=(entry, entry), behavior=slow),
        serving_resources=Resources(requests={"memory": "1Gi"}),
    )
    scaler = manifests(spec)[Template.AUTOSCALER]["spec"]
    written = {
        "type": "ContainerResource",
        "containerResource": {
            "name": "memory",
            "container": "runtime",
            "target": {"type": "Utilization", "averageUtilization": 80},
        },
    }
    assert scaler["metrics"] == [written, written]
    assert scaler["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 600}}
    assert "behavior" not in manifests(FULL)[Template.AUTOSCALER]["spec"]


def test_only_children_kept_by_apply_bear_a_hash():
    for template, manifest in manifests(FULL).items():
        assert (HASH_ANNOTATION in manifest["metadata"].get("annotations", {})) is (template not in WRITTEN_ONCE)


def applied_hash(spec: KerasModelSpec) -> str:
    return str(manifests(spec)[Template.DEPLOYMENT]["metadata"]["annotations"][HASH_ANNOTATION])


def test_the_hash_changes_with_the_content_and_only_with_it():
    assert applied_hash(PLAIN) == applied_hash(trained(epochs=99))
    assert applied_hash(PLAIN) != applied_hash(trained(replicas=2))
    assert applied_hash(PLAIN) != applied_hash(trained(serving_resources=Resources(requests={"cpu": "1"})))


def test_a_rendered_manifest_may_be_changed_without_changing_the_next():
    desired = children(PLAIN)[Template.DEPLOYMENT]
    first = RENDERER.render(desired)
    first["spec"].clear()
    assert RENDERER.render(desired)["spec"]


@pytest.mark.parametrize("rate", [1e-05, 2.5e-07, 1e-10, 0.01, 1.0, 3e-7])
def test_small_numbers_stay_numbers(rate):
    """YAML 1.1 takes 1e-05, as JSON writes it, for a word."""
    spec = trained(optimizer=Optimizer(learning_rate=rate))
    made = manifests(spec)[Template.VERSION]["spec"]["training"]
    assert made["optimizer"] == {"learningRate": rate}


def with_uri(uri: str) -> KerasModelSpec:
    return trained(data=Data(uri=uri), store=Store(uri=uri))


NASTY = [
    "s3://b/: {injected: true}",
    's3://b/"\n  evil: true',
    "s3://b/{{ 7 * 7 }}{% include 'x' %}",
    "s3://b/#no-comment",
    "s3://b/ä€日本",
    "s3://b/🐕",
    "s3://b/\x7f\x85\u2028\ufeff",
    "s3://b/<&>'\\",
    "s3://b/null",
    "s3://b/*&!|>%@`",
]


@pytest.mark.parametrize("uri", NASTY)
def test_nothing_that_people_write_changes_a_manifests_structure(uri):
    made = manifests(with_uri(uri))
    assert made[Template.VERSION]["spec"]["training"]["data"]["uri"] == uri
    agent = made[Template.DEPLOYMENT]["spec"]["template"]["spec"]["initContainers"][0]
    assert agent["args"][0] == f"--store-uri={uri}"
    assert set(made[Template.DEPLOYMENT]["metadata"]) == set(manifests(PLAIN)[Template.DEPLOYMENT]["metadata"])


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_comes_out_as_it_went_in(text):
    values = dict(children(PLAIN)[Template.SERVICE].values) | {"model": text, "owner_uid": text}
    manifest = RENDERER.render(Desired(Template.SERVICE, "dogs", values))
    assert manifest["spec"]["selector"]["app.kubernetes.io/instance"] == text
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == text


WORDS = st.one_of(
    st.text("abcXYZ019.:/@+=-_", max_size=12),
    st.sampled_from(
        ["null", "true", "1e5", "0x1f", "2026-01-02", "1:30", "-", "=", "s3://b/$x", "\ue0000\ue001", "🐕"]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_words_that_are_put_in_later_make_what_printing_them_makes(data):
    """The renderer that a team gives a folder prints everything; the other only what it has not printed before."""
    for desired in (*children(FULL).values(), *children(PLAIN).values()):
        words = {name: data.draw(WORDS) for name, value in desired.values.items() if isinstance(value, str)}
        # One that is empty counts as not given: then it stays what it is in both.
        given_words = {name: word for name, word in words.items() if word or name != "secret_name"}
        other = Desired(desired.template, desired.name, {**desired.values, **given_words})
        assert RENDERER.render(other) == PRINTER.render(other)


@pytest.mark.parametrize("uri", ["s3://b/$(AWS_SECRET_ACCESS_KEY)", "s3://b/$$(HOME)", "s3://b/$", "s3://b/a$b"])
def test_the_kubelet_puts_no_variable_into_what_people_wrote(uri):
    """The kubelet replaces $(NAME) and makes one $ of two, so a key could be read out of an address."""
    made = manifests(with_uri(uri))
    agent = made[Template.DEPLOYMENT]["spec"]["template"]["spec"]["initContainers"][0]
    trainer = made[Template.TRAIN_JOB]["spec"]["template"]["spec"]["containers"][0]
    assert agent["args"][0] == "--store-uri=" + uri.replace("$", "$$")
    run = str(environment(trainer)["KERAS_RUN"])
    assert msgspec.json.decode(run.replace("$$", "$"), type=RunSpec).store.uri == uri
    assert "$(" not in run.replace("$$", "")


def test_a_value_that_is_missing_is_an_error():
    values = {name: value for name, value in children(PLAIN)[Template.SERVICE].values.items() if name != "owner_uid"}
    with pytest.raises(TemplateError, match=r"template service\.yaml\.j2 cannot be printed: 'owner_uid' is undefined"):
        RENDERER.render(Desired(Template.SERVICE, "dogs", values))


SERVICE = """\
{%- from "_labels.j2" import labels, owner with context -%}
apiVersion: v1
kind: Service
metadata:
  name: {{ name | tojson }}
  namespace: {{ namespace | tojson }}
  labels:
    {{ labels(4) }}
  annotations: {team: "yes"}
  ownerReferences:
    {{ owner(4) }}
"""


def test_a_team_can_put_its_own_template_in_the_place_of_one(tmp_path):
    (tmp_path / "service.yaml.j2").write_text(SERVICE)
    renderer = Renderer(tmp_path)
    own = renderer.render(children(PLAIN)[Template.SERVICE])
    assert own["metadata"]["annotations"]["team"] == "yes"
    assert HASH_ANNOTATION in own["metadata"]["annotations"]
    assert own["metadata"]["ownerReferences"][0]["uid"] == "uid-dogs"
    assert renderer.render(children(PLAIN)[Template.NETWORK_POLICY])["kind"] == "NetworkPolicy"


BROKEN = {
    "no YAML": ("a: [", "while parsing a flow node"),
    "no template": ("{% if %}", "Expected an expression"),
    "no object": ("just words", "it must be an object with apiVersion, kind and metadata.name"),
    "no name": ("kind: Service\nmetadata: {}\n", "it must be an object with apiVersion, kind and metadata.name"),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_template_is_named(tmp_path, text, words):
    (tmp_path / "service.yaml.j2").write_text(text)
    with pytest.raises(TemplateError, match=r"template service\.yaml\.j2 cannot be printed: ") as refused:
        Renderer(tmp_path).render(children(PLAIN)[Template.SERVICE])
    assert words in str(refused.value)


def test_a_hot_pod_is_told_its_version_by_a_folder_and_its_template_never_changes_with_it():
    one, two = (RENDERER.render(children_of(HOT, number)[Template.DEPLOYMENT]) for number in (7, 8))
    assert one == two
    template = one["spec"]["template"]
    assert "keras-operator.dev/version" not in template["metadata"]["labels"]
    assert template["metadata"]["annotations"]["keras-operator.dev/renewal"] == "0"
    agent = template["spec"]["initContainers"][0]
    assert "--rollout-dir=/etc/rollout" in agent["args"]
    assert not [word for word in agent["args"] if word.startswith("--version")]
    (mount,) = [one for one in agent["volumeMounts"] if one["mountPath"] == "/etc/rollout"]
    (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == mount["name"]]
    config, annotation = volume["projected"]["sources"]
    assert config["configMap"] == {"name": "dogs", "items": [{"key": "version", "path": "start"}]}
    assert annotation["downwardAPI"]["items"] == [
        {"path": "wish", "fieldRef": {"fieldPath": "metadata.annotations['keras-operator.dev/version']"}}
    ]
    assert RENDERER.render(children_of(HOT, 7)[Template.START])["data"] == {"version": "7"}


def children_of(spec: KerasModelSpec, number: int) -> dict[Template, Desired]:
    return {one.template: one for one in decide(spec, published(number, spec)).keep}


def test_the_builders_source_is_a_variable_that_waits_for_its_config_map():
    spec = trained(builder=Builder(config_map_key_ref=ConfigMapKey(name="my-net", key="net.py")))
    (container,) = manifests(spec)[Template.TRAIN_JOB]["spec"]["template"]["spec"]["containers"]
    reference = {"configMapKeyRef": {"name": "my-net", "key": "net.py"}}
    assert {"name": "KERAS_BUILDER", "valueFrom": reference} in container["env"]
    (plain,) = manifests(PLAIN)[Template.TRAIN_JOB]["spec"]["template"]["spec"]["containers"]
    assert "KERAS_BUILDER" not in [variable["name"] for variable in plain["env"]]


def test_workers_are_one_indexed_job_and_find_the_first_by_its_name():
    job = manifests(FULL)[Template.TRAIN_JOB]["spec"]
    counts = {name: job[name] for name in ("completionMode", "completions", "parallelism")}
    assert counts == {"completionMode": "Indexed", "completions": 3, "parallelism": 3}
    assert (job["backoffLimitPerIndex"], job["maxFailedIndexes"], "backoffLimit" in job) == (4, 0, False)
    assert job["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    last = job["podFailurePolicy"]["rules"][-1]
    assert (last["action"], last["onExitCodes"]["values"]) == ("Ignore", [76])
    pod = job["template"]["spec"]
    container = pod["containers"][0]
    service = manifests(FULL)[Template.WORKERS_SERVICE]["spec"]
    assert pod["subdomain"] == "dogs-workers"
    assert {"name": "KERAS_CHIEF", "value": "dogs-7-train-0.dogs-workers:8503"} in container["env"]
    assert {"name": "workers", "containerPort": 8503, "protocol": "TCP"} in container["ports"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert service["selector"].items() <= job["template"]["metadata"]["labels"].items()


def test_a_training_of_one_worker_says_nothing_of_workers():
    job = manifests(PLAIN)[Template.TRAIN_JOB]
    assert (job["spec"]["backoffLimit"], len(job["spec"]["podFailurePolicy"]["rules"])) == (4, 2)
    text = str(job) + str(manifests(PLAIN)[Template.NETWORK_POLICY])
    assert not [word for word in ("orkers", "Index", "8503", "CHIEF", "subdomain", "successPolicy") if word in text]
