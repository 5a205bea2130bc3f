"""The team's own image: a program that trains by itself, between the operator's data and the operator's evaluation."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from .rules import Rule, fully_matches, ruled
from .wire import Written

if TYPE_CHECKING:
    from .kerasmodel import KerasModelSpec
    from .training import Training

_PATH = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = fully_matches(
    rf"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?/)?{_PATH}(?:/{_PATH})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    "must be an image as a pod names it, such as registry.example.com/vision/net:1.4, best with its digest "
    "(@sha256: and 64 digits)",
)
_Word = Annotated[str, Meta(max_length=4096)]


class OwnContainer(Written, frozen=True, kw_only=True):
    """An image that trains by itself; docs/own-image.md says what it finds and what it has to leave."""

    image: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=512,
            description=(
                "Image that trains. It runs without the keys of the store and without a token, as user 65532, on a "
                "root file system that it cannot write to."
            ),
            examples=["registry.example.com/vision/net:1.4"],
            extra=ruled(_IMAGE),
        ),
    ]
    command: Annotated[
        tuple[_Word, ...],
        Meta(
            max_length=16,
            description="Its entrypoint, as in a pod. Left out: the image's.",
            examples=[["python", "train.py"]],
        ),
    ] = ()
    args: Annotated[
        tuple[_Word, ...],
        Meta(
            max_length=16,
            description="Arguments of the entrypoint, as in a pod. Left out: the image's.",
            examples=[["--width=64"]],
        ),
    ] = ()
    params: Annotated[
        dict[str, Any],
        Meta(
            max_length=64,
            description="What it is given as JSON in KERAS_OPERATOR_PARAMS. Left out: {}.",
            examples=[{"width": 64, "dropout": 0.3}],
        ),
    ] = msgspec.field(default_factory=dict)


_LEFT_OUT = (
    ("builder", "builder"),
    ("initial_weights", "initialWeights"),
    ("trainable_layers", "trainableLayers"),
    ("fine_tuning", "fineTuning"),
    ("jit_compile", "jitCompile"),
    ("mixed_precision", "mixedPrecision"),
    ("normalization", "normalization"),
    ("early_stopping", "earlyStopping"),
    ("reduce_on_plateau", "reduceOnPlateau"),
    ("stop_at", "stopAt"),
    ("max_duration_seconds", "maxDurationSeconds"),
)
"""Fields that have no default, by their names here and in YAML."""

_AT_REST = ("architecture", "optimizer", "label_smoothing", "augmentation", "checkpoint", "deterministic", "workers")
"""Fields that have one, which the API server writes where they are left out."""


def _trains_by_itself(training: "Training") -> bool:
    usual = {field.name: field.default for field in msgspec.structs.fields(type(training))}
    return (
        all(getattr(training, name) is None for name, _ in _LEFT_OUT)
        and all(getattr(training, name) == usual[name] for name in _AT_REST)
        and training.data.class_weights is None
    )


def _at_rest(path: str, kind: type[msgspec.Struct]) -> str:
    """CEL: nothing but defaults stands in a struct of the spec."""
    parts = []
    for field in msgspec.structs.fields(kind):
        name = f"{path}.{field.encode_name}"
        value = field.default
        if value is None or value is msgspec.NODEFAULT:
            empty = f"!has({name})"
            parts.append(empty if value is None else f"({empty} || size({name}) == 0)")
        elif isinstance(value, bool):
            parts.append(f"{'' if value else '!'}{name}")
        else:
            parts.append(f"{name} == {str(value)!r}" if isinstance(value, str) else f"{name} == {value!r}")
    return " && ".join(parts)


def rules_of_container(*structs: tuple[str, type[msgspec.Struct]]) -> tuple[Rule, ...]:
    """What must hold of `training` beside a container; `structs` are the fields with defaults, and their types."""
    return (
        Rule(
            cel="!has(self.container) || "
            + " && ".join(
                (
                    *(f"!has(self.{name})" for _, name in _LEFT_OUT),
                    "!has(self.data.classWeights)",
                    "self.labelSmoothing == 0.0",
                    "!self.deterministic",
                    "self.workers == 1",
                    *(f"(!has(self.{name}) || {_at_rest(f'self.{name}', kind)})" for name, kind in structs),
                )
            ),
            message=(
                "trains by a program of its own, to which some of what is written beside it says nothing: remove "
                "architecture, builder, initialWeights, trainableLayers, fineTuning, optimizer, labelSmoothing, "
                "jitCompile, mixedPrecision, augmentation, normalization, earlyStopping, reduceOnPlateau, stopAt, "
                "maxDurationSeconds, checkpoint, deterministic, workers and data.classWeights, or put what it needs "
                "into params"
            ),
            holds=lambda training: training.container is None or _trains_by_itself(training),
            field=".container",
        ),
    )


def _logs_nothing(spec: "KerasModelSpec") -> bool:
    return spec.training is None or spec.training.container is None or not spec.shows_trainings


NO_TENSORBOARD = Rule(
    cel="!has(self.training) || !has(self.training.container) || !has(self.tensorboard) || !self.tensorboard.enabled",
    message=(
        "shows the logs of the operator's own trainings, and an image of your own writes none there: remove "
        "tensorboard; what it leaves as history in result.json is in the version's report"
    ),
    holds=_logs_nothing,
    field=".tensorboard",
)
"""Of the whole spec."""
