"""How a version is trained: data, network, optimizer, and when to stop."""

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from .architectures import ArchitectureName, smallest_image
from .augmentation import Augmentation
from .course import RULES_OF_COURSE, Checkpoint, EarlyStopping, ReduceOnPlateau, StopAt
from .data import Data
from .resources import Resources
from .rules import Rule
from .scheduling import (
    GPUS_ARE_WRITTEN_ONCE,
    GpusPerWorker,
    NodeSelector,
    PriorityClassName,
    QueueName,
    Tolerations,
)
from .wire import Written


class OptimizerName(StrEnum):
    """Optimizers of Keras, by the name that `keras.optimizers.get` takes."""

    ADADELTA = "adadelta"
    ADAFACTOR = "adafactor"
    ADAGRAD = "adagrad"
    ADAM = "adam"
    ADAMAX = "adamax"
    ADAMW = "adamw"
    FTRL = "ftrl"
    LION = "lion"
    NADAM = "nadam"
    RMSPROP = "rmsprop"
    SGD = "sgd"


class Loss(StrEnum):
    """Losses of Keras that suit one class per image."""

    CATEGORICAL_CROSSENTROPY = "categorical_crossentropy"
    CATEGORICAL_FOCAL_CROSSENTROPY = "categorical_focal_crossentropy"
    KL_DIVERGENCE = "kl_divergence"
    MEAN_SQUARED_ERROR = "mean_squared_error"
    SPARSE_CATEGORICAL_CROSSENTROPY = "sparse_categorical_crossentropy"


def _images_are_large_enough() -> tuple[Rule, ...]:
    """One rule for each size that some network needs."""
    sizes: dict[int, list[ArchitectureName]] = {}
    for name in ArchitectureName:
        sizes.setdefault(smallest_image(name), []).append(name)
    return tuple(_large_enough(size, names) for size, names in sorted(sizes.items()) if size > 8)


def _large_enough(size: int, names: list[ArchitectureName]) -> Rule:
    who = " and ".join(names) if len(names) < 4 else "a network of keras.applications"
    return Rule(
        cel=(
            f"!(self.architecture.name in {[str(name) for name in names]}) || "
            f"self.data.imageSize.all(side, side >= {size})"
        ),
        message=(
            f"{who} cannot take images below {size} by {size} pixels: write [{size}, {size}] or more, or another "
            "architecture.name"
        ),
        holds=lambda training: training.architecture.name not in names or min(training.data.image_size) >= size,
        field=".data.imageSize",
        says=(
            f"'%s cannot take images below {size} by {size} pixels: write [{size}, {size}] or more, or another "
            "architecture.name'.format([self.architecture.name])"
        ),
    )


def _mixes_labels(field: str) -> Rule:
    """A class index has no half: what mixes two images needs a loss whose labels are one number for each class."""
    return Rule(
        cel=(
            f"!has(self.augmentation.{field}) || self.augmentation.{field} == 0.0 || "
            "self.loss != 'sparse_categorical_crossentropy'"
        ),
        message=(
            "gives each image a part of two labels, which sparse_categorical_crossentropy cannot take: write loss: "
            f"categorical_crossentropy, or leave {field} out"
        ),
        holds=lambda training: (
            not getattr(training.augmentation, field) or training.loss is not Loss.SPARSE_CATEGORICAL_CROSSENTROPY
        ),
        field=f".augmentation.{field}",
    )


class Architecture(Written, frozen=True, kw_only=True):
    """The network."""

    name: Annotated[
        ArchitectureName,
        Meta(
            description=(
                "SimpleCNN (two convolutions), SmallCNN (batch normalisation, dropout, a good start for small images) "
                "or a class name of keras.applications, trained from random weights."
            ),
            examples=["MobileNetV2"],
        ),
    ] = ArchitectureName.SMALL_CNN


class Optimizer(Written, frozen=True, kw_only=True):
    """The optimizer."""

    name: Annotated[OptimizerName, Meta(description="Name of a Keras optimizer.", examples=["sgd"])] = (
        OptimizerName.ADAM
    )
    learning_rate: Annotated[
        float,
        Meta(
            gt=0,
            le=10,
            description="Learning rate: the factor of each step, above 0 and at most 10.",
            examples=[0.0005],
        ),
    ] = 0.001


class Training(Written, frozen=True, kw_only=True):
    """How a version is trained; a change here makes a new version."""

    data: Annotated[
        Data,
        Meta(description="The images to learn from, and how they are split.", examples=[{"uri": "s3://datasets/dogs"}]),
    ]
    architecture: Annotated[Architecture, Meta(description="The network.", examples=[{"name": "MobileNetV2"}])] = (
        Architecture()
    )
    optimizer: Annotated[
        Optimizer,
        Meta(description="The optimizer and its learning rate.", examples=[{"name": "sgd", "learningRate": 0.01}]),
    ] = Optimizer()
    loss: Annotated[Loss, Meta(description="Name of a Keras loss.", examples=["categorical_focal_crossentropy"])] = (
        Loss.CATEGORICAL_CROSSENTROPY
    )
    epochs: Annotated[
        int, Meta(ge=1, le=100_000, description="Times that training goes through the images.", examples=[20])
    ] = 10
    batch_size: Annotated[
        int, Meta(ge=1, le=65_536, description="Images that make one step of training.", examples=[64])
    ] = 32
    seed: Annotated[
        int,
        Meta(
            ge=0,
            le=2_147_483_647,
            description=(
                "Number that seeds every random choice: the first weights, the order, the augmentation. The split "
                "depends on the files alone."
            ),
            examples=[7],
        ),
    ] = 42
    augmentation: Annotated[
        Augmentation,
        Meta(
            description="Random changes to the training images. Left out: none.",
            examples=[{"rotation": 20, "horizontalFlip": True}],
        ),
    ] = Augmentation()
    early_stopping: (
        Annotated[
            EarlyStopping,
            Meta(
                description="Stop before the last epoch when nothing gets better. Left out: every epoch is run.",
                examples=[{"monitor": "val_loss", "patience": 5}],
            ),
        ]
        | None
    ) = None
    reduce_on_plateau: (
        Annotated[
            ReduceOnPlateau,
            Meta(
                description="Lower the learning rate when nothing gets better. Left out: it stays as it is.",
                examples=[{"monitor": "val_loss", "factor": 0.5, "patience": 2}],
            ),
        ]
        | None
    ) = None
    stop_at: (
        Annotated[
            StopAt,
            Meta(
                description="Stop as soon as a metric is good enough. Left out: nothing is good enough.",
                examples=[{"monitor": "val_accuracy", "value": 0.95}],
            ),
        ]
        | None
    ) = None
    max_duration_seconds: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=2_592_000,
                description=(
                    "Seconds of training, all pods of the run together, after which it ends in good order with the "
                    "best epoch so far. Left out: every epoch is run."
                ),
                examples=[1800],
            ),
        ]
        | None
    ) = None
    checkpoint: Annotated[
        Checkpoint,
        Meta(
            description="How often the state is kept in the store, for another pod to go on with.",
            examples=[{"everySeconds": 60}],
        ),
    ] = Checkpoint()
    deterministic: Annotated[
        bool,
        Meta(
            description=(
                "Compute so that the same inputs give the same weights, bit for bit, on the same kind of machine with "
                "as many processors; slower."
            ),
            examples=[True],
        ),
    ] = False
    resources: Annotated[
        Resources,
        Meta(
            description="CPU, memory and devices of the container that trains. Left out: what the namespace allows.",
            examples=[{"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}}],
        ),
    ] = Resources()
    gpus_per_worker: GpusPerWorker = 0
    node_selector: NodeSelector = msgspec.field(default_factory=dict)
    tolerations: Tolerations = ()
    priority_class_name: PriorityClassName | None = None
    queue_name: QueueName | None = None
    active_deadline_seconds: Annotated[
        int,
        Meta(
            ge=60,
            le=2_592_000,
            description="Seconds, from 60 to 2592000 (30 days), after which the training is stopped and has failed.",
            examples=[3600],
        ),
    ] = 86_400

    RULES: ClassVar[tuple[Rule, ...]] = (
        *_images_are_large_enough(),
        *RULES_OF_COURSE,
        GPUS_ARE_WRITTEN_ONCE,
        _mixes_labels("mixup"),
        _mixes_labels("cutmix"),
    )
