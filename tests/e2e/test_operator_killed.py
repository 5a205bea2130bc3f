"""The operator is killed in every phase of a model's life, and the model arrives all the same."""

from __future__ import annotations

from tests.e2e.api_server import MODEL, PATIENCE, VERSION, ApiServer
from tests.e2e.conftest import Served
from tests.e2e.models import is_ready, phase, quick_model
from tests.e2e.operator_process import Operator


def test_killed_in_every_phase_it_comes_to_the_same_end(
    api: ApiServer, operator: Operator, neighbour: Served, victim: str
) -> None:
    namespace, selector = neighbour.namespace, f"keras-operator.dev/model={victim}"
    killed_in = []
    seen = api.watch(MODEL, namespace, victim, seconds=PATIENCE)
    assert next(seen) is None, "watched from before it is there, so that no phase is over before it is seen"
    api.apply(quick_model(namespace, victim))
    for model in seen:
        now = phase(model) or "New" if model else "Gone"
        if now not in killed_in:
            operator.kill()
            killed_in.append(now)
        if now == "Serving":
            break
    operator.wait_ready()
    api.wait_for(MODEL, namespace, victim, is_ready, "a version that serves")

    # The operator that comes after the first kill may find a version made, and has no reason to say Pending any more.
    assert [one for one in killed_in if one != "Pending"] == ["New", "Training", "Exporting", "Deploying", "Serving"]
    assert [content["metadata"]["name"] for content in api.objects(VERSION, namespace, selector)] == [f"{victim}-1"]
    jobs = {job["metadata"]["name"]: job for job in api.objects("Job", namespace, selector)}
    assert sorted(jobs) == [f"{victim}-1-export", f"{victim}-1-train"]
    for name, job in jobs.items():
        assert (job["status"].get("succeeded"), job["status"].get("failed", 0)) == (1, 0), name
        pods = api.objects("Pod", namespace, f"batch.kubernetes.io/job-name={name}")
        assert len(pods) == 1, f"{name} ran {len(pods)} times"
    assert len(api.objects("ReplicaSet", namespace, selector)) == 1, "there was more than one rollout"
