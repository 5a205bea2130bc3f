"""Thousands of models made at random: what the API server admits can be planned, and its children are admitted too.

GENERATED_DOCUMENTS and GENERATED_SEED choose another number and another seed; `make documents` takes both. A failure
names seed and number; `Documents(schema, seed).spec(number)` makes that document again.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from keras_operator.api import API_VERSION, ApiError, decode_model
from keras_operator.cluster.reference import Kinds
from keras_operator.kinds import CHILDREN, VERSION
from keras_operator.render import Renderer

from tests.cluster.generated_documents import Documents
from tests.cluster.life_of_a_model import Life
from tests.cluster.raw_requests import Answer, RawRequests, raw_requests
from tests.cluster.shapes import shape

HOW_MANY = int(os.environ.get("GENERATED_DOCUMENTS", "10000"))
SEED = os.environ.get("GENERATED_SEED", "1")
# Held in memory at once.
_BATCH = 500
# A run without a cluster may use this machine's own MinIO.
_ONLY_IN_A_CLUSTER = "must not be the pod itself"


class Trial:
    """Tries documents out, and remembers what went wrong.

    Args:
        requests: the API server.
        namespace: where nothing is kept, for every request is a dry run.
    """

    def __init__(self, requests: RawRequests, namespace: str) -> None:
        self._requests = requests
        self._namespace = namespace
        self._life = Life(Renderer())
        self._kinds = Kinds((*CHILDREN, VERSION))
        self._seen: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def documents(self, specs: dict[int, Any]) -> None:
        """Ask the API server about every document, then plan those that it admits, then ask about their children."""
        path = f"/apis/{API_VERSION}/namespaces/{self._namespace}/kerasmodels"
        head = {"apiVersion": API_VERSION, "kind": "KerasModel", "metadata": {"name": "dogs"}}
        answers = await self._requests.try_to_create_all(path, (head | {"spec": spec} for spec in specs.values()))
        children: list[tuple[int, dict[str, Any]]] = []
        for (index, spec), answer in zip(specs.items(), answers, strict=True):
            self.counts[f"answered {answer.status}"] += 1
            try:
                children += self._children(index, spec, answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what this test looks for
                self.wrong.append(f"document {index} of seed {SEED}: {type(error).__name__}: {error}")
        await self._try_children(children)

    def _children(self, index: int, spec: Any, answer: Answer) -> list[tuple[int, dict[str, Any]]]:
        if not answer.admitted:
            assert answer.status in {400, 422}, f"{answer.status}: {answer.message}"
            assert _refused_here(spec) or _ONLY_IN_A_CLUSTER in answer.message, (
                f"the API server refuses what decode_model takes: {answer.message}"
            )
            return []
        fresh = []
        for manifest in self._life.children(answer.body):
            self.counts["children"] += 1
            if (alike := shape(manifest)) not in self._seen:
                self._seen.add(alike)
                fresh.append((index, manifest))
        return fresh

    async def _try_children(self, children: list[tuple[int, dict[str, Any]]]) -> None:
        paths: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for index, manifest in children:
            manifest["metadata"]["namespace"] = self._namespace
            kind = self._kinds.ref(manifest).kind
            paths.setdefault(kind.path(self._namespace), []).append((index, manifest))
            self.counts[f"different {kind.kind}s"] += 1
        for path, group in paths.items():
            answers = await self._requests.try_to_create_all(path, (manifest for _, manifest in group))
            self.wrong += [
                f"document {index} of seed {SEED}: {manifest['kind']} is refused: {answer.message}"
                for (index, manifest), answer in zip(group, answers, strict=True)
                if not answer.admitted
            ]


def _refused_here(spec: Any) -> bool:
    """Whether it is refused without an API server; one removes null where the field has a default, this does not."""
    try:
        decode_model(spec)
    except ApiError:
        return True
    return False


@pytest.mark.timeout(120 + HOW_MANY // 10)
async def test_what_the_api_server_admits_is_planned_and_its_children_are_admitted(
    cluster_env, crds, namespace, record_property
):
    schema = crds["KerasModel"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    documents = Documents(schema, SEED)
    async with raw_requests(cluster_env["KUBECONFIG"]) as requests:
        trial = Trial(requests, namespace)
        for start in range(0, HOW_MANY, _BATCH):
            numbers = range(start, min(start + _BATCH, HOW_MANY))
            await trial.documents({number: documents.spec(number) for number in numbers})

    print(dict(trial.counts))
    record_property("counts", dict(trial.counts))
    assert not trial.wrong, "\n".join([f"{len(trial.wrong)} are wrong:", *trial.wrong[:10]])
    # Seeds differ; a generator that makes nothing right, or nothing wrong, tests nothing.
    assert trial.counts["answered 201"] > HOW_MANY / 4
    assert trial.counts["answered 422"] > HOW_MANY / 10


def test_a_document_is_made_again_from_its_seed_and_number(crds):
    schema = crds["KerasModel"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    documents = Documents(schema, "again")
    numbers = range(300)

    there = {number: documents.spec(number) for number in numbers}
    back = {number: documents.spec(number) for number in reversed(numbers)}

    assert there == back
    assert there[7] != Documents(schema, "another").spec(7)
