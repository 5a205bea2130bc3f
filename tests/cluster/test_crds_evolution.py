"""A release's CRDs are installed, objects are made, and this tree's CRDs are applied over them: nothing is lost.

It happens in an API group of its own, so that whatever else is in the cluster goes on with the CRDs that it has.
"""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from keras_operator.api import GROUP, KINDS, VERSION
from keras_operator.api.crd import crd

from tests.cluster.conftest import CRDS, ApiServer, Refused

RELEASES = sorted((Path(__file__).parents[1] / "fixtures/crds").iterdir())
MERGE = "application/merge-patch+json"
Object = dict[str, Any]


def with_a_new_field(document: Object) -> Object:
    """A CRD with what the next release may add: an optional field of the spec that is filled in where it is left out.

    It also tells when the API server works by the new CRD, which it does a moment after it has taken it.
    """
    grown = copy.deepcopy(document)
    spec = grown["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["added"] = {"type": "integer", "default": 7}
    return grown


class Group:
    """The two kinds in an API group that nobody else uses, nor did before: a CRD takes a while to go."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._name = f"evolution-{uuid.uuid4().hex[:8]}.{GROUP}"
        self._root = f"/apis/{self._name}/{VERSION}/namespaces/{namespace}"

    def of(self, document: Object) -> Object:
        """A CRD or an object, moved to this group."""
        moved = copy.deepcopy(document)
        if moved["kind"] == "CustomResourceDefinition":
            moved["metadata"]["name"] = f"{moved['spec']['names']['plural']}.{self._name}"
            moved["spec"]["group"] = self._name
        else:
            moved["apiVersion"] = f"{self._name}/{VERSION}"
        return moved

    def install(self, document: Object) -> None:
        """Apply a CRD."""
        self._api.apply(f"{CRDS}/{document['metadata']['name']}", document)

    def remove(self, document: Object) -> None:
        """Delete a CRD, and every object with it."""
        self._api.request("DELETE", f"{CRDS}/{document['metadata']['name']}")

    def make(self, one: Object) -> Object:
        """Create an object with its status; what the API server holds then."""
        create = {key: one[key] for key in ("apiVersion", "kind", "metadata", "spec")}
        collection = self._path(one).rpartition("/")[0]
        made = eventually(lambda: self._api.request("POST", collection, create, fieldValidation="Strict"))
        return self.report(one) if "status" in one else made

    def report(self, one: Object) -> Object:
        """Write an object's status; what the API server holds then."""
        status = {"status": one["status"]}
        return self._api.request("PATCH", f"{self._path(one)}/status", status, content_type=MERGE)

    def get(self, one: Object) -> Object:
        """What the API server holds of an object."""
        return self._api.request("GET", self._path(one))

    def label(self, one: Object) -> Object:
        """Change something about an object that has nothing to do with its spec."""
        return self._api.request("PATCH", self._path(one), {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)

    def _path(self, one: Object) -> str:
        plural = next(kind.plural for kind in KINDS if kind.name == one["kind"])
        return f"{self._root}/{plural}/{one['metadata']['name']}"


def eventually(call: Callable[[], Object], holds: Callable[[Object], bool] = lambda answer: True) -> Object:
    """The answer once it holds: the API server works by a CRD a moment after it has taken it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if holds(answer := call()):
                return answer
            found = f"{answer.get('spec')}"
        except Refused as refused:
            if refused.status != 404:
                raise
            found = str(refused)
        assert time.monotonic() < deadline, f"not after 60 s: {found}"
        time.sleep(0.1)


@pytest.fixture
def group(api, namespace) -> Group:
    return Group(api, namespace)


@pytest.fixture(params=RELEASES, ids=lambda folder: folder.name)
def release(request, group) -> Iterator[list[Object]]:
    """Objects of a release, under its own CRDs."""
    folder: Path = request.param
    files = sorted(folder.glob("keras-operator.dev_*.yaml"))
    crds = [group.of(yaml.safe_load(file.read_text())) for file in files]
    for document in crds:
        group.install(document)
    objects = [group.of(one) for one in yaml.safe_load_all((folder / "objects.yaml").read_text())]
    yield [group.make(one) for one in objects]
    for document in crds:
        group.remove(document)


def without_what_is_new(stored: Object) -> str:
    """What is compared before and after: spec and status, and that nothing was written."""
    spec = {name: value for name, value in stored["spec"].items() if name != "added"}
    version = stored["metadata"]["resourceVersion"]
    return json.dumps([spec, stored.get("status"), version], sort_keys=True)


def test_objects_of_a_release_are_valid_and_unchanged_under_these_crds(group, release):
    for kind in KINDS:
        group.install(with_a_new_field(group.of(crd(kind))))

    for before in release:
        now = eventually(partial(group.get, before), lambda stored: stored["spec"].get("added") == 7)
        assert without_what_is_new(now) == without_what_is_new(before)
        # Not even a version, whose spec never changes, is held up by a field that was filled in for it.
        assert group.label(before)["metadata"]["labels"] == {"a": "b"}
        if "status" in before:
            assert group.report(before)["status"] == before["status"]
