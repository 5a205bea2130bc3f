"""An operator on an API server in memory, and what Jobs, Deployments and pods do there."""

import functools
from typing import Any, cast

import msgspec
from keras_operator.api import KerasModelSpec, RunResult
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.failure import ApiFailure
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.queue import KeyedQueue
from keras_operator.cluster.reference import JOB, POD, Key, Ref
from keras_operator.handlers import Handlers
from keras_operator.kinds import CANARY_LABEL, MODEL, MODEL_LABEL
from keras_operator.projection import project
from keras_operator.reconcile import Reconciler
from keras_operator.render import Renderer
from keras_operator.settings import Settings

from tests.simulation.server_side_apply import Body
from tests.unit.plan.observations import export_result, failed_result, train_result
from tests.unit.reconcile.memory_api_server import MemoryApiServer

KEY: Key = ("vision", "dogs")
MODEL_REF = Ref(MODEL, *KEY)
SETTINGS = Settings(
    trainer_image="trainer:1",
    server_image="server:1",
    tensorflow_serving_image="tensorflow/serving:1",
    lease_namespace="keras-operator-system",
)


_renderer = functools.cache(Renderer)


class OperatorDied(BaseException):
    """The process is gone: whatever it still asks for is not heard."""


class Operator:
    """One process of the operator, started with what the API server has, and told of every change."""

    def __init__(self, server: MemoryApiServer, clock: ManualClock, settings: Settings = SETTINGS) -> None:
        self.metrics = Metrics()
        self.cache = Cache()
        queue: KeyedQueue[Key] = KeyedQueue(clock, jitter=lambda: 0.5)
        handlers = Handlers(self.cache, queue, project, lambda _kind: None, self.metrics)
        for ref, body in server.objects.items():
            handlers.observe(ref.kind, None, body)
        server.watch = handlers.observe
        self.reconcile = Reconciler(self.cache, cast("Any", server), settings, self.metrics, clock)
        # Each process compiles its templates once; here a hundred processes share them.
        self.reconcile._renderer = _renderer(settings.templates)

    async def look(self) -> float | None:
        """Reconcile the one model."""
        return await self.reconcile(KEY)


def put_model(server: MemoryApiServer, spec: KerasModelSpec) -> Body:
    """Create the model, or change its spec."""
    written = msgspec.json.decode(msgspec.json.encode(spec))
    known = server.objects.get(MODEL_REF, {})
    return server.put(MODEL_REF, known | {"spec": written})


def status(server: MemoryApiServer) -> Body:
    return dict(server.objects[MODEL_REF].get("status", {}))


def condition(server: MemoryApiServer, kind: str) -> Body | None:
    return next((one for one in status(server).get("conditions", ()) if one["type"] == kind), None)


def answers(name: str, accuracy: float = 0.91) -> RunResult:
    """What a run answers that goes well, by the name of its Job."""
    number = int(name.split("-")[1])
    return train_result(metrics={"accuracy": accuracy}) if name.endswith("train") else export_result(number)


def play(server: MemoryApiServer, *, accuracy: float = 0.91, fail: frozenset[str] = frozenset()) -> bool:
    """One step of whoever else acts in the cluster; returns whether there was one to take."""
    for name in server.names("Job"):
        job = server.body("Job", name)
        if job.get("status", {}).get("conditions"):
            continue
        pod = Ref(POD, "vision", f"{name}-x")
        if pod not in server.objects:
            start_pod(server, pod, job)
            return True
        result = answers(name, accuracy)
        if name in fail:
            result = failed_result(result.stage, "NoImages", "no images")
        end_job(server, name, result)
        return True
    return roll_out(server)


def start_pod(server: MemoryApiServer, pod: Ref, owner: Body, **status_: Any) -> None:
    """Create a pod of a Job or a Deployment."""
    template = owner["spec"]["template"]
    metadata = owner["metadata"]
    server.put(
        pod,
        {
            "metadata": {
                "labels": dict(template["metadata"]["labels"]),
                "ownerReferences": [{"uid": metadata["uid"], "controller": True, "name": metadata["name"]}],
            },
            "spec": {},
            "status": {"phase": "Running"} | status_,
        },
    )


def end_job(server: MemoryApiServer, name: str, result: RunResult, exit_code: int | None = None) -> None:
    """A Job's pod ends with a result, and the Job with it."""
    code = exit_code if exit_code is not None else 0 if result.ok else 65
    ended = {"exitCode": code, "message": msgspec.json.encode(result).decode()}
    stage = name.rpartition("-")[2]
    server.change(
        Ref(POD, "vision", f"{name}-x"),
        status={
            "phase": "Succeeded" if result.ok else "Failed",
            "containerStatuses": [{"name": stage, "state": {"terminated": ended}}],
        },
    )
    word = "Complete" if result.ok else "Failed"
    ended_at = "2026-01-01T00:00:00Z"
    server.change(
        Ref(JOB, "vision", name),
        status={"conditions": [{"type": word, "status": "True", "lastTransitionTime": ended_at}]},
    )


def roll_out(server: MemoryApiServer) -> bool:
    """The autoscaler, the Deployments' controller and the kubelet do what they have to, if anything."""
    ours = [name for name in server.names("Deployment") if _OWN_LABEL.get(name) in _pod_labels(server, name)]
    left = [
        name
        for name in server.names("Pod")
        if CANARY_LABEL in server.body("Pod", name)["metadata"]["labels"] and "dogs-canary" not in ours
    ]
    for name in left:
        server.drop(Ref(POD, "vision", name))
    return bool(left) or any(_roll_out(server, name) for name in ours)


def _pod_labels(server: MemoryApiServer, deployment: str) -> Body:
    labels: Body = server.body("Deployment", deployment)["spec"]["template"]["metadata"]["labels"]
    return labels


def _roll_out(server: MemoryApiServer, of: str) -> bool:
    deployment = server.body("Deployment", of)
    scaled = of == "dogs" and "dogs" in server.names("HorizontalPodAutoscaler")
    least = server.body("HorizontalPodAutoscaler")["spec"]["minReplicas"] if scaled else 1
    if deployment["spec"]["replicas"] < least:
        server.scale(server.ref("Deployment", "dogs"), least)
        return True
    number = deployment["spec"]["template"]["metadata"]["labels"]["keras-operator.dev/version"]
    replicas, generation = deployment["spec"]["replicas"], deployment["metadata"]["generation"]
    serving = {
        name
        for name in server.names("Pod")
        if server.body("Pod", name)["metadata"]["labels"].get(_COMPONENT) == "serving"
        and _OWN_LABEL[of] in server.body("Pod", name)["metadata"]["labels"]
    }
    wanted = {f"{of}-{number}-g{generation}-{n}" for n in range(replicas)}
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
    done = counts | {"observedGeneration": generation}
    if serving == wanted and deployment.get("status") == done:
        return False
    for name in wanted - serving:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        start_pod(server, Ref(POD, "vision", name), deployment, **ready)
    for name in serving - wanted:
        server.drop(Ref(POD, "vision", name))
    server.change(server.ref("Deployment", of), status=done)
    return True


# What the pods of each Deployment are told by.
_OWN_LABEL = {"dogs": MODEL_LABEL, "dogs-canary": CANARY_LABEL}
_COMPONENT = "app.kubernetes.io/component"


async def live(operator: Operator, server: MemoryApiServer, clock: ManualClock, **played: Any) -> None:
    """Look again and again, while others act, until nobody has anything to do.

    Raises:
        AssertionError: it does not come to rest.
    """
    quiet = 0
    for _ in range(150):
        writes = len(server.writes)
        try:
            again = await operator.look()
        except ApiFailure:
            again = 1.0
        clock.advance(1)
        if len(server.writes) > writes or again == 0.0 or play(server, **played):
            quiet = 0
            continue
        quiet += 1
        if again is None or quiet > 40:
            return
    raise AssertionError(f"still writing: {server.writes[-5:]}")
