"""Every plan that one model meets on its way, from the first look to serving, and the children those plans ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from keras_operator.api import KerasModelSpec, KerasModelVersionStatus, VersionPhase, VersionServable
from keras_operator.kinds import MODEL, VERSION
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.desired import Desired, Template
from keras_operator.plan.images import Images, Installation
from keras_operator.plan.observed import Model, Version
from keras_operator.projection import project
from keras_operator.render import Renderer

_INSTALLATION = Installation(Images("trainer:1", "server:1", "tensorflow/serving:1"), "keras-operator-system")
_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_METRICS = {"accuracy": "1", "loss": "0", "val_accuracy": "1", "val_loss": "0"}


class Life:
    """Plans for models as the API server returned them.

    Args:
        renderer: prints the children.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._before: KerasModelSpec | None = None

    def children(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The manifests that a model's plans ask for. Its predecessor in these calls is what its spec was before."""
        model = project(MODEL, body)
        assert isinstance(model, Model)
        assert model.spec is not None, f"admitted, and yet it {model.spec_error}"
        asked: list[Desired] = []
        for todo in self._plans(model, model.spec):
            for desired in (*todo.keep, *todo.create):
                if desired not in asked:
                    asked.append(desired)
                    yield self._renderer.render(desired)
        self._before = model.spec

    def _plans(self, model: Model, spec: KerasModelSpec) -> Iterator[Plan]:
        yield plan(Observed(model), _INSTALLATION, _NOW)
        # As it is without what holds it back: a pin to a version that is not there, and the pause.
        going = msgspec.structs.replace(
            spec, suspend=False, serving=msgspec.structs.replace(spec.serving, version=None)
        )
        model = dataclasses.replace(model, spec=going)
        first = plan(Observed(model), _INSTALLATION, _NOW)
        yield first
        version = self._made(first)
        measured = _METRICS if spec.training else {}
        servable = VersionServable(uri=f"{spec.store.uri}/1", digest="sha256:0", bytes=9)
        for status in (
            KerasModelVersionStatus(),
            KerasModelVersionStatus(phase=VersionPhase.TRAINING, metrics=measured),
            KerasModelVersionStatus(phase=VersionPhase.PUBLISHED, servable=servable, metrics=measured),
        ):
            seen = Observed(model, versions=(dataclasses.replace(version, status=status),))
            yield plan(seen, _INSTALLATION, _NOW)
        yield plan(Observed(model, versions=(self._with_the_inputs_before(version),)), _INSTALLATION, _NOW)

    def _made(self, todo: Plan) -> Version:
        """The version that a plan asks for, as the API server would return it."""
        due = next(desired for desired in todo.create if desired.template is Template.VERSION)
        manifest = self._renderer.render(due)
        metadata = manifest["metadata"] | {"uid": "uid-of-the-version", "creationTimestamp": _NOW.isoformat()}
        version = project(VERSION, manifest | {"metadata": metadata})
        assert isinstance(version, Version)
        return version

    def _with_the_inputs_before(self, version: Version) -> Version:
        """The version with other inputs, so that the next one is due, and says what changed."""
        before = self._before
        inputs = {"training": before.training, "source": before.source} if before else {}
        return dataclasses.replace(version, spec=msgspec.structs.replace(version.spec, inputs_hash="0" * 16, **inputs))
