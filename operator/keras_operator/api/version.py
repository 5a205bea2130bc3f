"""`KerasModelVersion`: one immutable attempt to produce a servable, made by the operator."""

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from .evaluation import Metric
from .rules import Rule, fully_matches, ruled
from .source import Source
from .status import Condition, ObservedGeneration
from .store import Store
from .training import Training
from .wire import Reported, Time, Written


class VersionPhase(StrEnum):
    """How far a version is."""

    PENDING = "Pending"
    TRAINING = "Training"
    EXPORTING = "Exporting"
    PUBLISHED = "Published"
    REJECTED = "Rejected"
    FAILED = "Failed"


class KerasModelVersionSpec(Written, frozen=True, kw_only=True):
    """The frozen inputs of one version."""

    model_name: Annotated[
        str, Meta(min_length=1, max_length=45, description="Name of the KerasModel.", examples=["dog-classifier"])
    ]
    number: Annotated[
        int,
        Meta(ge=1, le=2_147_483_647, description="Number of the version; never used again in its store.", examples=[3]),
    ]
    inputs_hash: Annotated[
        str,
        Meta(
            min_length=16,
            max_length=16,
            description="Fingerprint of training or source; the same inputs have the same fingerprint.",
            examples=["9f86d081884c7d65"],
            extra=ruled(
                fully_matches("[0-9a-f]*", "must be 16 hexadecimal digits: the operator makes versions, people do not")
            ),
        ),
    ]
    reason: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            description="Why the version was made.",
            examples=["training.epochs changed from 5 to 10"],
        ),
    ]
    training: (
        Annotated[
            Training,
            Meta(
                description="How it is trained. Left out: it is made from source.",
                examples=[{"data": {"uri": "s3://datasets/dogs"}}],
            ),
        ]
        | None
    ) = None
    source: (
        Annotated[
            Source,
            Meta(
                description="The model that it is made from. Left out: it is trained.",
                examples=[{"uri": "s3://models/uploads/dogs"}],
            ),
        ]
        | None
    ) = None
    store: Annotated[
        Store, Meta(description="Where it is published.", examples=[{"uri": "s3://models/dog-classifier"}])
    ]

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.training) != has(self.source)",
            message="training and source are both written or both missing: a version is made from exactly one of them",
            holds=lambda spec: (spec.training is None) != (spec.source is None),
        ),
        Rule(
            cel="self == oldSelf",
            message="a version never changes: change the KerasModel, and the operator makes the next version",
        ),
    )


class VersionServable(Reported, frozen=True, kw_only=True):
    """What was published."""

    uri: Annotated[
        str, Meta(max_length=1100, description="Folder of the SavedModel.", examples=["s3://models/dog-classifier/3"])
    ]
    digest: Annotated[
        str,
        Meta(
            max_length=128,
            description="SHA-256 over sizes, names and checksums of its files.",
            examples=["sha256:9f86d081884c7d659a2feaa0c55ad015"],
        ),
    ]
    bytes: Annotated[int, Meta(ge=0, description="Size of its files together, in bytes.", examples=[31457280])]
    signatures: Annotated[
        tuple[Annotated[str, Meta(max_length=256)], ...],
        Meta(max_length=64, description="Names of its signatures.", examples=[["serving_default", "serving_bytes"]]),
    ] = ()
    inputs: Annotated[
        tuple[Annotated[str, Meta(max_length=512)], ...],
        Meta(
            max_length=64,
            description=(
                "What its signatures take: of each input the signature, name (with %20 for a blank), type and shape; "
                "-1 is any size."
            ),
            examples=[["serving_default image float32 [-1,28,28,1]"]],
        ),
    ] = ()


class ImageCounts(Reported, frozen=True, kw_only=True):
    """How many images went into each part of the split."""

    train: Annotated[int, Meta(ge=0, description="Images that were learned from.", examples=[700])]
    validation: Annotated[int, Meta(ge=0, description="Images that were measured after every epoch.", examples=[200])]
    test: Annotated[int, Meta(ge=0, description="Images that the finished version was evaluated on.", examples=[100])]


class GateResult(Reported, frozen=True, kw_only=True):
    """How a version did at one gate."""

    metric: Annotated[Metric, Meta(description="What was measured.", examples=["accuracy"])]
    of_class: (
        Annotated[str, Meta(max_length=64, description="Class that it was measured of.", examples=["beagle"])] | None
    ) = msgspec.field(name="class", default=None)
    bound: Annotated[str, Meta(max_length=64, description="Bound that was asked for.", examples=[">= 0.85"])]
    value: (
        Annotated[str, Meta(max_length=32, description="What was measured; left out: nothing was.", examples=["0.912"])]
        | None
    ) = None
    met: Annotated[bool, Meta(description="Whether the version met the gate.", examples=[True])]


class VersionComparison(Reported, frozen=True, kw_only=True):
    """The version that served when the run began, measured on the same test images."""

    version: Annotated[int, Meta(ge=1, description="Its number.", examples=[2])]
    metrics: Annotated[
        dict[str, Annotated[str, Meta(max_length=32)]],
        Meta(
            max_length=16,
            description="What was measured of it, as decimal numbers in text.",
            examples=[{"accuracy": "0.904", "loss": "0.33"}],
        ),
    ] = msgspec.field(default_factory=dict)
    problem: Annotated[
        str,
        Meta(
            max_length=1024,
            description="Why nothing could be measured of it.",
            examples=["its classes are others: boxer is missing"],
        ),
    ] = ""


class KerasModelVersionStatus(Reported, frozen=True, kw_only=True):
    """What became of the version."""

    observed_generation: ObservedGeneration | None = None
    phase: Annotated[VersionPhase, Meta(description="How far the version is.", examples=["Published"])] | None = None
    message: (
        Annotated[
            str,
            Meta(
                max_length=32_768,
                description="What is going on, and what to do if something is wrong.",
                examples=["is published at s3://models/dog-classifier/3"],
            ),
        ]
        | None
    ) = None
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            max_length=16,
            description="Statements that machines read, one of each type.",
            examples=[[{"type": "Ready", "status": "True", "reason": "Published"}]],
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    metrics: Annotated[
        dict[str, Annotated[str, Meta(max_length=32)]],
        Meta(
            max_length=64,
            description="What was measured, as decimal numbers in text.",
            examples=[{"accuracy": "0.912", "loss": "0.31"}],
        ),
    ] = msgspec.field(default_factory=dict)
    export_metrics: Annotated[
        dict[str, Annotated[str, Meta(max_length=32)]],
        Meta(
            max_length=32,
            description=(
                "What its last export measured, as decimal numbers in text: latency_ms (the median milliseconds for "
                "one image), size_mb (megabytes), and what gates ask of single classes."
            ),
            examples=[{"latency_ms": "3.1", "size_mb": "9.2", "recall of beagle": "0.93"}],
        ),
    ] = msgspec.field(default_factory=dict)
    comparison: (
        Annotated[
            VersionComparison,
            Meta(
                description="The version that served when the run began, on the same test images; none did: left out.",
                examples=[{"version": 2, "metrics": {"accuracy": "0.904"}}],
            ),
        ]
        | None
    ) = None
    servable: (
        Annotated[
            VersionServable, Meta(description="What was published.", examples=[{"uri": "s3://models/dog-classifier/3"}])
        ]
        | None
    ) = None
    images: (
        Annotated[
            ImageCounts,
            Meta(
                description="How many images went into each part.",
                examples=[{"train": 700, "validation": 200, "test": 100}],
            ),
        ]
        | None
    ) = None
    data_hash: (
        Annotated[
            str,
            Meta(
                max_length=128,
                description=(
                    "SHA-256 over the files of the whole data set and their classes: the same data, whatever the files "
                    "are called, has the same one."
                ),
                examples=["sha256:9f86d081884c7d659a2feaa0c55ad015"],
            ),
        ]
        | None
    ) = None
    bad_files: Annotated[int, Meta(ge=0, description="Unreadable images that were left out.", examples=[2])] | None = (
        None
    )
    classes: Annotated[int, Meta(ge=0, description="Number of classes.", examples=[10])] | None = None
    epochs: Annotated[int, Meta(ge=0, description="Epochs that were trained.", examples=[7])] | None = None
    ended: (
        Annotated[
            str,
            Meta(
                max_length=256,
                description="Why training ended before its last epoch. Left out: it did not.",
                examples=["val_loss has not got better since epoch 4"],
            ),
        ]
        | None
    ) = None
    parity: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description=(
                    "Largest difference between the published and the trained model's answers on images that training "
                    "never saw."
                ),
                examples=["2.4e-07"],
            ),
        ]
        | None
    ) = None
    builder: (
        Annotated[
            str,
            Meta(
                max_length=128,
                description="SHA-256 of the Python source that built the network.",
                examples=["sha256:9f86d081884c7d659a2feaa0c55ad015"],
            ),
        ]
        | None
    ) = None
    image: (
        Annotated[
            str,
            Meta(
                max_length=1024,
                description="Image of your own that trained it, as the node pulled it.",
                examples=["registry.example.com/vision/net@sha256:9f86d081884c7d659a2feaa0c55ad015"],
            ),
        ]
        | None
    ) = None
    gates: Annotated[
        tuple[GateResult, ...],
        Meta(
            max_length=32,
            description="How the version did at each gate.",
            examples=[[{"metric": "accuracy", "bound": ">= 0.85", "value": "0.912", "met": True}]],
        ),
    ] = ()
    times: Annotated[
        dict[str, Time],
        Meta(max_length=64, description="When each step was reached.", examples=[{"trained": "2026-03-01T12:00:00Z"}]),
    ] = msgspec.field(default_factory=dict)
    started_at: (
        Annotated[Time, Meta(description="When its first Job was started.", examples=["2026-03-01T12:00:00Z"])] | None
    ) = None
    finished_at: (
        Annotated[
            Time, Meta(description="When it was published, rejected or had failed.", examples=["2026-03-01T12:09:30Z"])
        ]
        | None
    ) = None
    next_number: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="Lowest free number in the store, when this version's number was taken there already.",
                examples=[7],
            ),
        ]
        | None
    ) = None
