"""How a version is trained: data, network, optimizer, and when to stop."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .architectures import ArchitectureName, smallest_image
from .augmentation import Augmentation
from .data import Data
from .resources import Resources
from .rules import Rule
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


class Monitor(StrEnum):
    """What early stopping watches; `val_` is measured on the validation images."""

    ACCURACY = "accuracy"
    LOSS = "loss"
    VAL_ACCURACY = "val_accuracy"
    VAL_LOSS = "val_loss"


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


_STOPS_BEFORE_THE_END = Rule(
    # Keras counts from the best epoch on, and the first epoch is always the best so far.
    cel=(
        "!has(self.earlyStopping) || self.earlyStopping.restoreBestWeights || "
        "self.earlyStopping.patience + 1 < self.epochs"
    ),
    message=(
        "with this patience training ends before it could stop early, and restoreBestWeights is false, so nothing "
        "would differ: lower patience below epochs - 1, raise epochs, or remove earlyStopping"
    ),
    holds=lambda training: (
        training.early_stopping is None
        or training.early_stopping.restore_best_weights
        or training.early_stopping.patience + 1 < training.epochs
    ),
    field=".earlyStopping.patience",
    says=(
        "'patience %d with %d epochs never stops early, and restoreBestWeights is false, so nothing would differ: "
        "lower patience below epochs - 1, raise epochs, or remove earlyStopping'"
        ".format([self.earlyStopping.patience, self.epochs])"
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


class EarlyStopping(Written, frozen=True, kw_only=True):
    """Stop before the last epoch when nothing gets better."""

    monitor: Annotated[
        Monitor,
        Meta(
            description="What must get better; val_… is measured on the validation images.", examples=["val_accuracy"]
        ),
    ] = Monitor.VAL_LOSS
    patience: Annotated[
        int, Meta(ge=1, le=10_000, description="Epochs to wait for something better before stopping.", examples=[5])
    ] = 3
    min_delta: Annotated[
        float,
        Meta(
            ge=0,
            le=1000,
            description="A change by a smaller number than this does not count as better.",
            examples=[0.001],
        ),
    ] = 0.0
    restore_best_weights: Annotated[
        bool,
        Meta(description="Keep the weights of the best epoch instead of the last one.", examples=[False]),
    ] = True

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(self.monitor in ['accuracy', 'val_accuracy']) || self.minDelta < 1.0",
            message="an accuracy is a fraction, which cannot get better by 1: write 0.01 for one in a hundred images",
            holds=lambda stopping: (
                stopping.monitor not in {Monitor.ACCURACY, Monitor.VAL_ACCURACY} or stopping.min_delta < 1
            ),
            field=".minDelta",
        ),
    )


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
    resources: Annotated[
        Resources,
        Meta(
            description="CPU, memory and devices of the container that trains. Left out: what the namespace allows.",
            examples=[{"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}}],
        ),
    ] = Resources()
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
        _STOPS_BEFORE_THE_END,
        _mixes_labels("mixup"),
        _mixes_labels("cutmix"),
    )
