"""What the operator reports about a model."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from .reasons import ConditionStatus
from .wire import Reported, Time


class Phase(StrEnum):
    """One word for people; machines read conditions."""

    PENDING = "Pending"
    TRAINING = "Training"
    EXPORTING = "Exporting"
    DEPLOYING = "Deploying"
    SERVING = "Serving"
    REJECTED = "Rejected"
    FAILED = "Failed"
    SUSPENDED = "Suspended"


class Condition(Reported, frozen=True, kw_only=True):
    """One statement about the object, as `metav1.Condition`."""

    type: Annotated[str, Meta(max_length=316, description="What the statement is about.", examples=["Ready"])]
    status: Annotated[ConditionStatus, Meta(description="Whether it holds.", examples=["True"])]
    reason: Annotated[str, Meta(max_length=1024, description="Why, in one CamelCase word.", examples=["Serving"])]
    message: Annotated[
        str,
        Meta(
            max_length=32_768,
            description="Why, in a sentence that says what to do if something is wrong.",
            examples=["version 3 serves on 2/2 pods"],
        ),
    ]
    last_transition_time: Annotated[
        Time, Meta(description="When status last changed.", examples=["2026-03-01T12:00:00Z"])
    ]
    observed_generation: Annotated[
        int, Meta(ge=0, description="Number of the metadata.generation that the statement is about.", examples=[2])
    ]


ObservedGeneration = Annotated[
    int,
    Meta(
        ge=-1,
        description="Number of the metadata.generation that this status is about; -1 before the operator has looked.",
        examples=[2],
    ),
]
UNSEEN = {"observedGeneration": -1}
"""What the API server shows before the operator has said anything, lest tools that wait take silence for success."""


class EpochProgress(Reported, frozen=True, kw_only=True):
    """How far the running training is."""

    epoch: Annotated[int, Meta(ge=0, description="Epochs that are done.", examples=[3])]
    epochs: Annotated[int, Meta(ge=1, description="Epochs that were asked for.", examples=[10])]
    seconds_left: Annotated[int, Meta(ge=0, description="Seconds that are probably left.", examples=[240])] | None = (
        None
    )


class CanaryStatus(Reported, frozen=True, kw_only=True):
    """How far a new version is on its way, or why it was taken back."""

    version: Annotated[int, Meta(ge=1, description="Number of the new version.", examples=[4])]
    step: Annotated[
        int,
        Meta(
            ge=1,
            le=11,
            description="Number of the step it is at, from 1; one more than there are: all pods.",
            examples=[1],
        ),
    ] = 1
    since: (
        Annotated[
            Time, Meta(description="When the step's pods had it; left out: not yet.", examples=["2026-03-01T12:00:00Z"])
        ]
        | None
    ) = None
    refused: (
        Annotated[
            str,
            Meta(
                max_length=1024,
                description="Why it was taken back; it is not tried again until the spec changes.",
                examples=["12.0 % of its requests ended with an error, 0.1 % with version 3"],
            ),
        ]
        | None
    ) = None
    reason: (
        Annotated[str, Meta(max_length=64, description="Why it was taken back, in one word.", examples=["CanaryWorse"])]
        | None
    ) = None
    generation: (
        Annotated[
            int,
            Meta(ge=0, description="Number of the metadata.generation for which it was taken back.", examples=[4]),
        ]
        | None
    ) = None


class KerasModelStatus(Reported, frozen=True, kw_only=True):
    """What the operator found and did."""

    observed_generation: ObservedGeneration | None = None
    phase: (
        Annotated[Phase, Meta(description="One word for people; machines read conditions.", examples=["Serving"])]
        | None
    ) = None
    message: (
        Annotated[
            str,
            Meta(
                max_length=32_768,
                description="What is going on, and what to do if something is wrong.",
                examples=["version 3 serves on 2/2 pods"],
            ),
        ]
        | None
    ) = None
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            max_length=16,
            description="Statements that machines read, one of each type.",
            examples=[[{"type": "Ready", "status": "True", "reason": "Serving"}]],
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    latest_version: Annotated[int, Meta(ge=1, description="Number of the newest version.", examples=[4])] | None = None
    serving_version: (
        Annotated[int, Meta(ge=1, description="Number of the version that answers predictions.", examples=[3])] | None
    ) = None
    accuracy: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description="Accuracy of the serving version on its test images, or of the newest while none serves.",
                examples=["0.912"],
            ),
        ]
        | None
    ) = None
    mae: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description=(
                    "Mean absolute error, in the target's unit, of that version's answers where it learned a number."
                ),
                examples=["43.7"],
            ),
        ]
        | None
    ) = None
    # None and not 0 where nothing is said: a default is left out of what is written, and 0 pods are worth a column.
    replicas: Annotated[int, Meta(ge=0, description="Pods that serve or are about to.", examples=[2])] | None = None
    selector: (
        Annotated[
            str,
            Meta(
                max_length=1024,
                description="Label selector of the serving pods, for the scale subresource.",
                examples=["keras-operator.dev/model=dog-classifier"],
            ),
        ]
        | None
    ) = None
    url: (
        Annotated[
            str,
            Meta(
                max_length=1024,
                description="Address of the model inside the cluster; append :predict to ask it.",
                examples=["http://dog-classifier.vision.svc:8501/v1/models/DogClassifier"],
            ),
        ]
        | None
    ) = None
    canary: (
        Annotated[CanaryStatus, Meta(description="The canary that is under way.", examples=[{"version": 4, "step": 1}])]
        | None
    ) = None
    progress: (
        Annotated[
            EpochProgress, Meta(description="How far the running training is.", examples=[{"epoch": 3, "epochs": 10}])
        ]
        | None
    ) = None
