"""The operator of an earlier commit makes way for this one under models that serve, and no pod notices."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.life import model
from tests.chaos.operator_program import Program
from tests.chaos.pretended_node import node_templates
from tests.chaos.world import World
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.models import is_ready

ROOT = Path(__file__).resolve().parents[2]
MODELS = int(os.environ.get("UPGRADE_MODELS", "12"))
"""`make upgrade-test` sets 100."""
FROM = os.environ.get("UPGRADE_FROM", "")
"""The earlier commit; by default the one before the last change of the operator."""
_CONTENT = ("operator/keras_operator/templates", "operator/keras_operator/plan", "operator/keras_operator/render.py")
_SELECTOR = "app.kubernetes.io/component=serving"


def test_an_upgrade_restarts_no_pod_whose_content_did_not_change(world: World) -> None:
    before_ref = FROM or f"{_git('log', '-1', '--format=%H', '--', 'operator')}~1"
    tree = _checked_out(before_ref, world.folder / "before")
    namespace = world.namespace()
    _apply_crds(world.api, tree)
    old = Program(
        tree, world, namespace, node_templates(world.folder / "old", tree / "operator/keras_operator/templates")
    )
    with old:
        names = [f"model-{number:03d}" for number in range(MODELS)]
        for name in names:
            world.api.apply(model(namespace, name))
        for name in names:
            world.api.wait_for(MODEL, namespace, name, is_ready, "a model that serves before the upgrade", 600)
        before = _seen(world.api, namespace)
        with _always_served(world.api, namespace, len(names)) as gaps:
            old.end(signal.SIGTERM)
            _apply_crds(world.api, ROOT)
            with Program(ROOT, world, namespace, node_templates(world.folder / "new")) as new:
                new.wait_at_rest(len(names))
                after = _seen(world.api, namespace)
                new.end(signal.SIGTERM)
    assert gaps == []
    changed = [name for name in before if before[name].template != after[name].template]
    if changed:
        assert _git("diff", "--name-only", before_ref, "--", *_CONTENT), (
            f"{changed[0]} changed, and nothing that it is made of"
        )
    for name in before.keys() - set(changed):
        assert after[name] == before[name], name
    untouched = len(before) - len(changed)
    print(f"upgrade from {before_ref}: {untouched} of {len(before)} models untouched, {len(changed)} changed")


class Seen:
    """A Deployment and its pods: equal if no pod restarted and nobody touched the Deployment."""

    def __init__(self, deployment: Object, pods: list[Object]) -> None:
        self.template: Any = deployment["spec"]["template"]
        self.generation: int = deployment["metadata"]["generation"]
        self.pods = sorted((pod["metadata"]["uid"], _restarts(pod)) for pod in pods)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.generation)

    def __repr__(self) -> str:
        return f"generation {self.generation}, pods {self.pods}"


def _seen(api: ApiServer, namespace: str) -> dict[str, Seen]:
    pods = api.objects("Pod", namespace, _SELECTOR)
    return {
        one["metadata"]["name"]: Seen(
            one,
            [pod for pod in pods if pod["metadata"]["labels"]["keras-operator.dev/model"] == one["metadata"]["name"]],
        )
        for one in api.objects("Deployment", namespace)
    }


def _restarts(pod: Object) -> int:
    return sum(one["restartCount"] for one in pod["status"].get("containerStatuses", ()))


@contextmanager
def _always_served(api: ApiServer, namespace: str, models: int) -> Iterator[list[str]]:
    """Look, as a Service's clients do, at who answers for each model; collects those for whom nobody did."""
    gaps: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            slices = api.objects("EndpointSlice", namespace)
            ready = {one["metadata"]["labels"]["kubernetes.io/service-name"] for one in slices if _has_ready(one)}
            if len(ready) < models:
                gaps.append(f"only {sorted(ready)} have an endpoint")

    looker = threading.Thread(target=look, name="client")
    looker.start()
    try:
        yield gaps
    finally:
        ended.set()
        looker.join()


def _has_ready(endpoint_slice: Object) -> bool:
    return any(one.get("conditions", {}).get("ready") for one in endpoint_slice.get("endpoints") or ())


def _apply_crds(api: ApiServer, tree: Path) -> None:
    for file in sorted((tree / "crds").glob("keras-operator.dev_*.yaml")):
        api.apply(file.read_text())


def _checked_out(ref: str, folder: Path) -> Path:
    """The tree of a commit, without a branch or worktree of its own that somebody would have to remove."""
    folder.mkdir()
    with subprocess.Popen(["git", "archive", ref], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(folder)], stdin=archive.stdout, check=True)
    assert archive.returncode == 0, f"there is no commit {ref} in this clone: name one that it has in UPGRADE_FROM"
    return folder


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
