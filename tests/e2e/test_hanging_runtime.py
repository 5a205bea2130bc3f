"""A runtime that hangs: it is left out by those who ask, and started again by the kubelet.

`make hanging-runtime` has the time for it: a liveness probe of a runtime is patient, for one may only be overloaded.
"""

from __future__ import annotations

import os
import signal

import pytest

from devcluster.processes import until
from tests.e2e.api_server import MODEL, ApiServer
from tests.e2e.canaries import asks_about_digits
from tests.e2e.conftest import MakeNamespace, Sources
from tests.e2e.models import is_ready, message, model_url, pod_is_ready, quick_model, restarts_of_runtime
from tests.e2e.work_processes import runtime_of

NAME = "hanging"
SERVING_PODS = f"keras-operator.dev/model={NAME},app.kubernetes.io/component=serving"
# Six probes that wait for 30 s each, after the first 30 s of a container's life, and 15 s to end.
SECONDS_TO_RESTART = 300.0
SECONDS_TO_BE_LEFT_OUT = 60.0
ANSWERS = 500


@pytest.mark.timeout(900)
def test_who_asks_meets_the_other_pod_until_it_is_started_again(
    api: ApiServer, make_namespace: MakeNamespace, sources: Sources
) -> None:
    namespace = make_namespace("hanging")
    api.apply(quick_model(namespace, NAME, {"serving": {"replicas": 2}}, sources("first")))
    api.wait_for(MODEL, namespace, NAME, is_ready, "a version that serves")
    pod = api.objects("Pod", namespace, SERVING_PODS)[0]
    name, restarts = pod["metadata"]["name"], restarts_of_runtime(pod)

    os.kill(runtime_of(pod["metadata"]["uid"]), signal.SIGSTOP)
    api.wait_for("Pod", namespace, name, lambda seen: not pod_is_ready(seen), "a pod left out", SECONDS_TO_BE_LEFT_OUT)
    api.wait_for(MODEL, namespace, NAME, lambda seen: "1/2 pods are ready" in message(seen), "a model that says so")
    with asks_about_digits(model_url(api, namespace, NAME)) as client:
        assert until(lambda: client.score.right > ANSWERS, 120)
    client.check()

    started = api.wait_for(
        "Pod", namespace, name, lambda seen: restarts_of_runtime(seen) > restarts, "a restart", SECONDS_TO_RESTART
    )
    assert any("runtime failed liveness probe" in event["message"] for event in api.events(namespace, name))
    assert started["metadata"]["uid"] == pod["metadata"]["uid"]
    api.wait_for("Pod", namespace, name, pod_is_ready, "the pod as it was")
    ready = api.wait_for(MODEL, namespace, NAME, is_ready, "both pods again")
    assert "serves on 2/2 pods" in message(ready)
    with asks_about_digits(f"http://{pod['status']['podIP']}:8501/v1/models/{NAME}") as alone:
        assert until(lambda: alone.score.right > ANSWERS, 120)
    alone.check()
