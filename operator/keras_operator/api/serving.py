"""How a published version is served."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .autoscaling import WHAT_IS_COMPARED_IS_REQUESTED, Autoscaling
from .cache import Cache
from .resources import Resources
from .rollout import Rollout, Strategy
from .rules import Rule, fully_matches, ruled
from .wire import Written

# KerasServer bounds requests by this, whatever their clients' deadlines, where no longer ones are asked for.
USUAL_TIMEOUT_SECONDS = 300


class Runtime(StrEnum):
    """The program that answers predictions; both speak the same protocol and take the same flags."""

    KERAS_SERVER = "KerasServer"
    TENSORFLOW_SERVING = "TensorFlowServing"


class Batching(Written, frozen=True, kw_only=True):
    """Requests that arrive together are computed together."""

    max_batch_size: Annotated[
        int,
        Meta(ge=2, le=65_536, description="Rows of one batch at most, from 2 to 65536.", examples=[32]),
    ] = 64
    timeout_micros: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="Microseconds, from 0 to 10000000 (10 s), that a request waits for others at most.",
            examples=[5000],
        ),
    ] = 2000


class Serving(Written, frozen=True, kw_only=True):
    """How a published version is served; a change here never trains again."""

    model_name: (
        Annotated[
            str,
            Meta(
                max_length=63,
                description="Name in /v1/models/NAME, at most 63 characters. Left out: the name of the KerasModel.",
                examples=["DogClassifier"],
                extra=ruled(
                    fully_matches(
                        r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?",
                        "must be letters, digits, '_', '-' or '.', starting and ending with a letter or digit, because "
                        "it is part of an address: for example DogClassifier",
                    )
                ),
            ),
        ]
        | None
    ) = None
    runtime: Annotated[
        Runtime,
        Meta(
            description=(
                "The program that answers predictions: KerasServer is this project's own, TensorFlowServing is "
                "Google's image; both speak the same protocol."
            ),
            examples=["TensorFlowServing"],
        ),
    ] = Runtime.KERAS_SERVER
    version: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=2_147_483_647,
                description="Serve the version of this number and no other. Left out: the newest that met its gates.",
                examples=[3],
            ),
        ]
        | None
    ) = None
    replicas: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description=(
                "Pods, from 1 to 1000, that serve; kubectl scale sets it. With autoscaling it stays 1, which is the "
                "same as leaving it out."
            ),
            examples=[2],
        ),
    ] = 1
    autoscaling: (
        Annotated[
            Autoscaling,
            Meta(
                description="Let the load decide how many pods serve. Left out: replicas decides.",
                examples=[{"minReplicas": 2, "maxReplicas": 10}],
            ),
        ]
        | None
    ) = None
    batching: (
        Annotated[
            Batching,
            Meta(
                description="Compute requests that arrive together as one batch. Left out: each by itself.",
                examples=[{"maxBatchSize": 32}],
            ),
        ]
        | None
    ) = None
    max_request_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=3600,
            description=(
                "Seconds, from 1 to 3600, that a request may take. Over REST it has failed then; over gRPC clients set "
                "deadlines of their own. A pod that is to end has this time for what it was asked, and ends as soon as "
                "that is answered."
            ),
            examples=[300],
        ),
    ] = 30
    rollout: Annotated[
        Rollout,
        Meta(
            description="How a new version gets into the pods that serve. Left out: with new pods.",
            examples=[{"strategy": "Hot"}],
        ),
    ] = Rollout()
    cache: (
        Annotated[
            Cache,
            Meta(
                description="A volume that keeps servables, so that pods start sooner. Left out: none.",
                examples=[{"claimName": "servables"}],
            ),
        ]
        | None
    ) = None
    resources: Annotated[
        Resources,
        Meta(
            description=(
                "CPU, memory and devices of the container that answers predictions. Left out: what the namespace "
                "allows."
            ),
            examples=[{"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}],
        ),
    ] = Resources()

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.autoscaling) || self.replicas == 1",
            message=(
                "replicas and autoscaling are both written: remove autoscaling for a fixed number of pods, or remove "
                "replicas and write autoscaling.minReplicas and maxReplicas"
            ),
            holds=lambda serving: serving.autoscaling is None or serving.replicas == 1,
            field=".replicas",
        ),
        *WHAT_IS_COMPARED_IS_REQUESTED,
        Rule(
            cel=(
                "!has(self.rollout) || !has(self.rollout.strategy) || self.rollout.strategy != 'Canary' || "
                "has(self.rollout.canary) && self.rollout.canary.using == 'Rolling' || "
                "(has(self.autoscaling) ? self.autoscaling.minReplicas : self.replicas) >= 2"
            ),
            message=(
                "a canary is compared with pods that keep the old version, so it needs two pods: write replicas or "
                "autoscaling.minReplicas of 2 or more, canary.using: Rolling, or another strategy"
            ),
            holds=lambda serving: (
                serving.rollout.strategy is not Strategy.CANARY
                or serving.rollout.own_pods
                or (serving.autoscaling.min_replicas if serving.autoscaling else serving.replicas) >= 2
            ),
            field=".rollout",
        ),
        Rule(
            cel=(
                "self.runtime != 'TensorFlowServing' || !has(self.rollout) || !has(self.rollout.canary) || "
                "!has(self.rollout.canary.analysis) || !has(self.rollout.canary.analysis.predictionDrift)"
            ),
            message=(
                "TensorFlow Serving does not count the classes that are predicted: write runtime: KerasServer, or "
                "remove canary.analysis.predictionDrift"
            ),
            holds=lambda serving: (
                serving.runtime is not Runtime.TENSORFLOW_SERVING
                or serving.rollout.canary is None
                or serving.rollout.canary.analysis.prediction_drift is None
            ),
            field=".rollout",
        ),
    )
